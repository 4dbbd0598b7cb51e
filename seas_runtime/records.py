"""The text files of a run: `metadata.jsonl`, `refused.jsonl` and `run.json`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from seas_runtime.atomic import write_atomic
from seas_runtime.errors import OutputError
from seas_runtime.settings import Settings

Line = dict[str, Any]


class RunRecord(BaseModel):
    """`run.json`: enough to make the same data again. It holds no times, so equal runs give equal files."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: list[str]
    settings: Settings
    backend: dict[str, str]
    versions: dict[str, str]


class Journal:
    """A JSON Lines file with a line per pair, each with its `index`, in rising order."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Line]:
        """All whole lines; what a killed run left half-written is passed over."""
        if not self.path.exists():
            return []
        lines: list[Line] = []
        for text in self.path.read_bytes().split(b"\n")[:-1]:  # a line counts once its end is written
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict) and type(line.get("index")) is int:
                lines.append(line)
        return lines

    def append(self, lines: Iterable[Line]) -> None:
        """Add lines and flush them to the disk."""
        if not (data := _encode(lines)):
            return
        with self.path.open("ab") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())

    def replace(self, lines: Iterable[Line]) -> None:
        """Hold exactly these lines, sorted, one per pair; without any the file goes."""
        by_index = {int(line["index"]): line for line in lines}
        data = _encode(by_index[index] for index in sorted(by_index))
        if not data:
            self.path.unlink(missing_ok=True)
        elif not self.path.exists() or self.path.read_bytes() != data:
            write_atomic(self.path, data)


def write_record(path: Path, record: RunRecord) -> None:
    """Write `run.json` atomically."""
    write_atomic(path, json.dumps(record.model_dump(mode="json"), indent=1).encode() + b"\n")


def check_same_run(path: Path, settings: Settings) -> None:
    """Refuse to continue a run whose settings are not these; the count may differ.

    Raises:
        OutputError: other settings, or a `run.json` that cannot be read.
    """
    try:
        before = RunRecord.model_validate_json(path.read_bytes()).settings.model_dump()
    except ValidationError as error:
        raise OutputError(f"{path}: not the record of a run; give another --out") from error
    for name, now in settings.model_dump().items():
        if name != "count" and before[name] != now:
            raise OutputError(
                f"{path.parent}: holds a run with {name} {_show(before[name])}, not {_show(now)}; "
                "use the same settings to continue it, or give another --out"
            )


def _encode(lines: Iterable[Line]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def _show(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
