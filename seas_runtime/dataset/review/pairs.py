"""The pairs of a folder that `seas-gen` has written, or is still writing."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from pydantic import ValidationError

from seas_runtime.dataset.lines import TOP_INDEX, AskedFacts, PairLine, RunFacts, require_pictures
from seas_runtime.dataset.records import RUN
from seas_runtime.dataset.series import PAIRS
from seas_runtime.dataset.shards import hint
from seas_runtime.errors import DataError
from seas_runtime.files import read_regular

METADATA = PAIRS.metadata
MOST_PAIRS, MOST_TYPES = 1_000_000, 1000
_BLOCK = 1 << 24
_MOST_RECORD = 1 << 24


@dataclass(frozen=True, slots=True)
class Pair:
    """A line of `metadata.jsonl`; `area` in pixels, `agreement` of picture and mask in [0, 1] where it was measured."""

    index: int
    defect: str
    image: str
    mask: str
    area: int
    attempt: int
    agreement: float | None


def require_run(out: Path) -> None:
    """Refuse what no `seas-gen` has written.

    Raises:
        DataError: `out` is no folder, or has neither pairs nor a record.
    """
    if not out.is_dir():
        what = "is a file" if out.exists() else "no such folder"
        raise DataError(f"{out}: {what}, the --out of a seas-gen run expected; check the path")
    if not ((out / METADATA).is_file() or (out / RUN).is_file()):
        raise DataError(f"{out}: holds no {METADATA}, the --out of a seas-gen run expected; {hint(out)}")
    with suppress(OSError, ValidationError):  # which a page does without
        require_pictures(out, RunFacts.model_validate_json(read_regular(out / RUN)).settings.per_tar)


class Pairs:
    """The pairs in the order of their lines, kept up to date by `refresh`. Thread-safe.

    Attributes:
        product: its name, "" where no line or record names it.
        generation: rises when a pair that was there is gone or another, as after a run that was resumed.
        types: defect types, those of the run first.
        planned: pairs the run was asked for; None where that is unknown.
        placed: they start from composites, on which training anomalies were placed, so that each is like one of those.

    Raises:
        DataError: `out` is no folder, or holds no run of `seas-gen`.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        require_run(out)
        self.product = ""
        self.types: list[str] = []
        self.planned: int | None = None
        self.placed = False
        self.generation = 0
        self._lock = threading.Lock()
        self._order: list[Pair] = []
        self._place: dict[int, int] = {}
        self._offset = 0
        self._file: tuple[int, int] | None = None
        self._record: tuple[int, int] | None = None
        self.refresh()

    def __len__(self) -> int:
        """How many there are."""
        with self._lock:
            return len(self._order)

    def slice(self, first: int, count: int) -> list[Pair]:
        """Pairs number `first` to `first + count - 1` in the order of their lines."""
        with self._lock:
            return self._order[first : first + count]

    def of(self, index: int) -> Pair:
        """The pair `index`.

        Raises:
            DataError: there is none.
        """
        with self._lock:
            if (place := self._place.get(index)) is not None:
                return self._order[place]
        raise DataError(f"pair {index} found, one of the {len(self)} pairs of {self.out} expected; load the page again")

    def refresh(self) -> None:
        """Read the lines that have been added.

        Raises:
            DataError: there are too many, or the file cannot be read.
        """
        with self._lock:
            try:
                self._refresh()
            except FileNotFoundError:  # no pair yet, or no more
                self._start(None)
            except OSError as error:
                raise DataError(f"{self.out / METADATA}: cannot be read ({error.strerror}); mend that") from None

    def _refresh(self) -> None:
        self._read_record()
        path = self.out / METADATA
        if path.exists() and not path.is_file():
            raise DataError(f"{path}: a file expected, something else found")
        with path.open("rb") as stream:
            found = os.fstat(stream.fileno())
            identity = (found.st_dev, found.st_ino)
            if identity != self._file or found.st_size < self._offset:
                self._again(stream, identity)
            else:
                stream.seek(self._offset)
                for pair in self._read(stream):
                    self._add(pair)

    def _again(self, stream: Any, identity: tuple[int, int]) -> None:
        """Read a file that took the place of the one before; the same pairs and more are no new generation."""
        before, generation = self._order, self.generation
        self._start(identity)
        for pair in self._read(stream):
            self._add(pair)
        same = self._order[: len(before)] == before
        self.generation = generation if same else generation + 1

    def _start(self, identity: tuple[int, int] | None) -> None:
        if self._order:
            self.generation += 1
        self._file, self._offset = identity, 0
        self._order, self._place = [], {}

    def _add(self, pair: Pair) -> None:
        if (place := self._place.get(pair.index)) is not None:  # the last line of an index counts
            self.generation += self._order[place] != pair
            self._order[place] = pair
        else:
            self._place[pair.index] = len(self._order)
            self._order.append(pair)
        if pair.defect not in self.types:
            self.types.append(pair.defect)
        if len(self._order) > MOST_PAIRS or len(self.types) > MOST_TYPES:
            raise DataError(f"{self.out / METADATA}: at most {MOST_PAIRS} pairs of {MOST_TYPES} types expected; review a part")
        self.product = self.product or pair.image.split("/")[0]

    def _read(self, stream: Any) -> Iterator[Pair]:
        """Whole lines from where the stream stands; notes how far they go."""
        while block := stream.read(_BLOCK):
            whole = block[: block.rfind(b"\n") + 1]
            if not whole:
                if len(block) == _BLOCK:
                    raise DataError(f"{self.out / METADATA}: has a line of {_BLOCK} bytes; it is no list of pairs")
                return
            self._offset += len(whole)
            stream.seek(self._offset)
            yield from filter(None, map(_pair, whole.splitlines()))

    def _read_record(self) -> None:
        """Types and number of pairs that the run was asked for, as far as its record says so."""
        path = self.out / RUN
        try:
            found = path.stat()
            stamp = (found.st_mtime_ns, found.st_size)
            if stamp == self._record or not path.is_file() or found.st_size > _MOST_RECORD:
                return
            self._record = stamp
            settings = AskedFacts.model_validate_json(path.read_bytes()).settings
        except (OSError, ValidationError):
            return  # a data set without record is one too
        self.types = [*dict.fromkeys(settings.defects), *(name for name in self.types if name not in settings.defects)]
        self.planned = _share(settings.count, settings.batch, *settings.shard)
        self.product = settings.product
        self.placed = settings.init == "composite"


def _share(count: int, batch: int, part: int, parts: int) -> int | None:
    """How many of `count` pairs are in this shard: the batches with number mod `parts` = `part`; None for no shard."""
    if part >= parts:
        return None
    whole, rest = divmod(count, batch * parts)
    return whole * batch + min(max(rest - part * batch, 0), batch)


def _pair(text: bytes) -> Pair | None:
    """A line's pair; None where it is damaged or its paths could lead elsewhere."""
    try:
        line = PairLine.model_validate_json(text)
    except ValidationError:
        return None
    area, attempt, agreement = map((line.model_extra or {}).get, ("area", "attempt", "agreement"))
    return Pair(
        index=line.index,
        defect=line.defect,
        image=line.file_name,
        mask=line.mask_file_name,
        area=area if _is_count(area) else 0,
        attempt=attempt if _is_count(attempt) else 0,
        agreement=float(agreement) if _is_number(agreement) else None,
    )


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= TOP_INDEX


def _is_number(value: Any) -> TypeGuard[float]:
    return type(value) in {int, float} and abs(value) <= TOP_INDEX  # which is false of NaN
