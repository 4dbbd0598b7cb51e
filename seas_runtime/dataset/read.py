"""What `seas-gen` wrote, read back: every line checked, every picture checked when it is loaded, decisions honoured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from seas_runtime.dataset.decisions import REVIEW, Decision, read_decisions
from seas_runtime.dataset.lines import TOP_INDEX, PairLine, RunFacts, first_fault, require_pictures
from seas_runtime.dataset.pictures import Item, listed, load
from seas_runtime.dataset.records import RUN
from seas_runtime.dataset.series import PAIRS
from seas_runtime.dataset.shards import hint
from seas_runtime.errors import DataError
from seas_runtime.files import lies_in, read_regular

NORMALS = "train/good"
_FIRST_NORMAL, _FIRST_PHOTO = TOP_INDEX, 1_500_000_000  # ids of pictures: pair i has i + 1


@dataclass(frozen=True)
class Record:
    """A pair or a normal picture, not yet opened.

    key: its name in an export; id: a number of its own, from 1, that stays when others come or go; turn: its number among
    those of its type, from 0; image, mask: files, no mask for a normal picture; defect: None for a normal picture;
    facts: what else its line says.
    """

    key: str
    id: int
    turn: int
    image: Path
    mask: Path | None = None
    defect: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> Item:
        """Picture and mask.

        Raises:
            DataError: a file is missing or damaged, or the mask is no mask of this picture.
        """
        return load(self.image, self.mask)


@dataclass(frozen=True)
class GeneratedSet:
    """Everything `seas-gen` wrote to a folder that is to be used; iterating gives its records.

    classes: the defect types in the run's order; left_out: pairs that the review excludes; edited: pairs with a mask of the
    review; identity: the run, whatever its counts; state: changes when there is anything else to export.
    """

    out: Path
    facts: RunFacts
    records: tuple[Record, ...]
    classes: tuple[str, ...]
    left_out: int
    edited: int
    identity: str
    state: str

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    @property
    def pairs(self) -> int:
        """Number of image-mask pairs."""
        return sum(record.defect is not None for record in self.records)


def read(out: Path, *, normals: Path | None = None, own_normals: bool = True, accepted_only: bool = False) -> GeneratedSet:
    """List what lies in a folder of `seas-gen`; no picture is opened.

    Args:
        out: the folder.
        normals: a folder of further normal pictures.
        own_normals: take the normal pictures that the run made.
        accepted_only: leave out what a review has not accepted, too, and not only what it has rejected.

    Raises:
        DataError: no such folder or pair, a line that cannot be understood, a path that leaves the folder.
    """
    facts, identity = _run(out)
    require_pictures(out, facts.settings.per_tar)
    lines = _by_index(out / PAIRS.metadata)
    decisions = read_decisions(out, _refuse_line(out / REVIEW))
    undecided = Decision(index=0, decision="undecided")
    records, left_out, edited = [], 0, 0
    for index, line in sorted(lines.items()):
        decision = decisions.get(index, undecided)
        if decision.decision == "reject" or (accepted_only and decision.decision != "accept"):
            left_out += 1
            continue
        edited += decision.mask is not None
        records.append(_pair(out, line, decision.mask, index // len(facts.settings.defects)))
    if not records:
        if accepted_only and left_out:
            raise DataError(
                f"{out}: found no pair that is accepted ({left_out} undecided or rejected); decide with seas-data review, or leave "
                "out --accepted-only"
            )
        excluded = f" ({left_out} left out by the review)" if left_out else ""
        raise DataError(f"{out}: holds no pair{excluded}, expected at least one; generate some or check the path")
    good = _normals(out, f"{facts.settings.product}/{NORMALS}") if own_normals else []
    photos = listed(normals) if normals is not None else []
    records += [_normal("normal", _FIRST_NORMAL + i, file) for i, file in enumerate(good)]
    records += [_normal("photo", _FIRST_PHOTO + i, file) for i, file in enumerate(photos)]
    types = {record.defect for record in records if record.defect} - set(facts.settings.defects)
    return GeneratedSet(
        out=out,
        facts=facts,
        records=tuple(records),
        classes=(*facts.settings.defects, *sorted(types)),
        left_out=left_out,
        edited=edited,
        identity=identity,
        state=_state(out, records),
    )


def _run(out: Path) -> tuple[RunFacts, str]:
    """The facts of a run, and a hash of its settings but the counts."""
    if not out.is_dir():
        what = "is a file" if out.exists() else "no such folder"
        raise DataError(f"{out}: {what}, expected a folder that seas-gen wrote; check the path")
    path = out / RUN
    try:
        text = read_regular(path)
        facts = RunFacts.model_validate_json(text)
    except FileNotFoundError:
        raise DataError(f"{out}: holds no {RUN}, expected a folder that seas-gen wrote; {hint(out)}") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}; fix that") from error
    except ValidationError as error:
        raise DataError(f"{path}: {first_fault(error)}; expected the record of a run, as seas-gen writes it") from error
    settings = {key: value for key, value in json.loads(text)["settings"].items() if key not in ("count", "normals")}
    return facts, hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _lines(path: Path) -> Iterator[PairLine]:
    """The lines of a journal, none where there is no file; what a killed writer left half-written is passed over."""
    refuse = _refuse_line(path)
    try:
        text = read_regular(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}; fix that") from error
    for number, line in enumerate(text.split(b"\n")[:-1], start=1):
        try:
            yield PairLine.model_validate_json(line)
        except ValidationError as error:
            refuse(number, first_fault(error))


def _refuse_line(path: Path) -> Callable[[int, str], None]:
    """What stops at a damaged line: it could be the one that rejects a pair."""

    def refuse(number: int, reason: str) -> None:
        raise DataError(f"{path}: line {number}: {reason}; fix or remove the line")

    return refuse


def _by_index(path: Path) -> dict[int, PairLine]:
    found: dict[int, PairLine] = {}
    for line in _lines(path):
        if line.index in found:
            raise DataError(f"{path}: two lines of pair {line.index} found, one expected; remove the wrong one")
        found[line.index] = line
    return found


def _file(out: Path, name: str) -> Path:
    path = out / name
    if not lies_in(path, out):
        raise DataError(f"{path}: leads out of {out}, expected a file inside; put the file itself there")
    return path


def _pair(out: Path, line: PairLine, edited: str | None, turn: int) -> Record:
    return Record(
        key=f"{line.index:06d}",
        id=line.index + 1,
        turn=turn,
        image=_file(out, line.file_name),
        mask=_file(out, edited or line.mask_file_name),
        defect=line.defect,
        facts={"index": line.index, **(line.model_extra or {})},
    )


def _normal(kind: str, number: int, file: Path) -> Record:
    key = f"{kind}_{number % (_FIRST_PHOTO - _FIRST_NORMAL):06d}"
    return Record(key, number + 1, turn=number, image=file, facts={"source": file.name})


def _normals(out: Path, place: str) -> list[Path]:
    return [_file(out, f"{place}/{file.name}") for file in sorted((out / place).glob("*.png"))]


def _state(out: Path, records: Sequence[Record]) -> str:
    """A hash of the run's text files, and of which records are taken, normal pictures with their sizes."""
    found = hashlib.sha256()
    for name in (RUN, PAIRS.metadata, REVIEW):
        path = out / name
        found.update(read_regular(path) if path.exists() else b"")
        found.update(b"\0")
    for record in records:
        size = record.image.stat().st_size if record.defect is None else ""
        found.update(f"{record.key} {record.image.name} {size}\0".encode("utf-8", "surrogateescape"))
    return found.hexdigest()
