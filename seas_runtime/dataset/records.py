"""The text files of a run: `metadata.jsonl`, `refused.jsonl` and `run.json`."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from seas_runtime.bundle.manifest import Place
from seas_runtime.errors import OutputError
from seas_runtime.files import open_regular, write_atomic
from seas_runtime.settings import Settings

RUN = "run.json"
Line = dict[str, Any]
LONGEST_LINE = 1 << 20
_MOST_RECORD = 16 << 20


class RunRecord(BaseModel):
    """`run.json`: enough to make the same data again. It holds no times, so equal runs give equal files.

    `places` say where on which photograph pictures lie, by the number of the normal image they start from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: list[str]
    settings: Settings
    backend: dict[str, str]
    versions: dict[str, str]
    licence: str = ""  # of what the bundle learned from
    places: tuple[Place, ...] = ()


class Entry(BaseModel):
    """What every line of a journal says; keys that are not named here are kept as they are."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    index: Annotated[int, Field(ge=0, lt=1 << 63)]
    defect: str
    seed: Annotated[int, Field(ge=0, lt=1 << 64)]
    attempt: Annotated[int, Field(ge=0, lt=1 << 32)]
    file_name: str | None = None
    mask_file_name: str | None = None
    verdict: str | None = None


class Journal:
    """A JSON Lines file with a line per pair, each with its `index`, in rising order."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self) -> Iterator[Line]:
        """All whole lines; what a killed run left half-written, or is no `Entry`, is passed over."""
        return (entry.model_dump(exclude_unset=True) for entry, _ in self._lines())

    def read(self) -> dict[int, bytes]:
        """The text of each whole line by its index: a tenth of the memory of the lines themselves."""
        return {entry.index: text for entry, text in self._lines()}

    def append(self, lines: Iterable[Line]) -> None:
        """Add lines and flush them to the disk."""
        if not (data := b"".join(map(text_of, lines))):
            return
        with self.path.open("ab") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())

    def replace(self, texts: Mapping[int, bytes]) -> None:
        """Hold exactly these lines, by their indices, sorted; without any the file goes."""
        data = b"".join(texts[index] for index in sorted(texts))
        if not data:
            self.path.unlink(missing_ok=True)
        elif not self.path.exists() or self.path.read_bytes() != data:
            write_atomic(self.path, data)

    def _lines(self) -> Iterator[tuple[Entry, bytes]]:
        try:
            stream = open_regular(self.path)
        except FileNotFoundError:
            return
        with stream:
            while text := stream.readline(LONGEST_LINE):
                if not text.endswith(b"\n"):  # a line counts once its end is written
                    if len(text) == LONGEST_LINE:
                        raise OSError(errno.EFBIG, f"has a line of more than {LONGEST_LINE} bytes", str(self.path))
                    return
                with suppress(ValidationError):
                    yield Entry.model_validate_json(text), text


def text_of(line: Line) -> bytes:
    """A line as it stands in a journal."""
    return json.dumps(line).encode() + b"\n"


def read_record(path: Path) -> RunRecord | None:
    """A run's record; None where there is none.

    Raises:
        OutputError: it cannot be understood.
        OSError: it cannot be read.
    """
    try:
        with open_regular(path) as stream:
            return RunRecord.model_validate_json(stream.read(_MOST_RECORD))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise OutputError(f"{path}: not the record of a run; give another --out") from error


def write_record(path: Path, record: RunRecord) -> None:
    """Write `run.json` atomically."""
    unsaid = set() if record.places else {"places"}
    write_atomic(path, json.dumps(record.model_dump(mode="json", exclude=unsaid), indent=1).encode() + b"\n")


def check_same_run(out: Path, begun: Settings, settings: Settings) -> None:
    """Refuse to continue the run in `out` where its settings are not these; the counts may differ.

    Raises:
        OutputError: other settings.
    """
    before = begun.model_dump()
    for name, now in settings.model_dump().items():
        if name not in ("count", "normals") and before[name] != now:
            raise OutputError(
                f"{out}: holds a run with {name} {_show(before[name])}, not {_show(now)}; "
                "use the same settings to continue it, or give another --out"
            )


def _show(value: Any) -> str:
    if isinstance(value, dict):
        value = tuple(f"{name} {held}" for name, held in value.items())
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
