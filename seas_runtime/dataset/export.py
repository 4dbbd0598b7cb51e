"""From a folder of `seas-gen` to one that another tool reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from seas_runtime.dataset.exporters import FORMATS, exporter
from seas_runtime.dataset.exporters.job import Job, Options
from seas_runtime.dataset.read import GeneratedSet, Record, read
from seas_runtime.dataset.split import PHOTOGRAPH, train_and_test, train_and_val
from seas_runtime.errors import OutputError, SettingsError
from seas_runtime.files import beside, explained, read_regular
from seas_runtime.staging import fingerprint, replaced, settle
from seas_runtime.versions import own_version

RECORD = "export.json"


class ExportRecord(BaseModel):
    """`export.json`: what an export was made of. It holds no times and no paths, so equal exports are equal.

    bundle: digest of what made the pairs; run: which run, whatever its count; state: what was in it; content: names and
    bytes of all other files.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seas: str
    format: str
    options: Options
    product: str
    bundle: str
    run: str
    state: str
    pairs: int
    normals: int
    left_out: int
    edited: int
    splits: dict[str, int]
    content: str = ""


@dataclass(frozen=True)
class Exported:
    """An export that lies in `folder`; `made` is false if it lay there already.

    notes: what a person should know; together: pairs on one photograph are in one part.
    """

    folder: Path
    record: ExportRecord
    made: bool
    notes: tuple[str, ...]
    together: bool = False

    def facts(self) -> dict[str, object]:
        """The export as `--json` tells it."""
        record = self.record
        counts = {"pairs": record.pairs, "normals": record.normals, "splits": record.splits, "left_out": record.left_out}
        return {"into": self.folder, "format": record.format, **counts, "edited": record.edited, "made": self.made}

    def line(self) -> str:
        """The export in one line."""
        record = self.record
        normals = f" and {record.normals} normal pictures" if record.normals else ""
        splits = ", ".join(f"{name} {count}" for name, count in record.splits.items())
        together = "; pairs on one photograph stay together" if self.together else ""
        changes = (
            f"; the review left out {record.left_out}, edited masks {record.edited}" if record.left_out or record.edited else ""
        )
        done = "" if self.made else "; nothing had changed"
        return f"{self.folder}: {record.format}, {record.pairs} pairs{normals} ({splits}{together}){changes}{done}"


def export(
    data: GeneratedSet,
    name: str,
    into: Path,
    options: Options | None = None,
    step: Callable[[int], object] = lambda _: None,
) -> Exported:
    """Write a data set in another format.

    Args:
        data: what to write.
        name: of the format, a key of `FORMATS`.
        into: a folder that does not exist, is empty, or holds the same export of the same run, untouched; the latter is
            replaced if the run has other pairs or decisions by now.
        options: see `Options`.
        step: called with 1 after each picture.

    Raises:
        SettingsError: an unknown format, or something that it cannot hold.
        DataError: a picture or mask of the run is damaged, missing or does not fit.
        OutputError: `into` holds something else or cannot be written; it is as it was.
    """
    module, options = exporter(name), options or Options()
    parts = _divided(data, name, options)
    record = _record(data, name, options, {part: len(records) for part, records in parts.items()})
    notes, together = _notes(data, name), _together(data, parts)
    with explained(into, "fix that and run the same command again, nothing was written"):
        settle(into)  # what a killed export left beside it
        earlier = _earlier(into, data.out, record)
        if earlier is not None and (earlier.state, earlier.seas) == (record.state, record.seas):
            return Exported(into, record, made=False, notes=notes, together=together)
        with replaced(into) as folder:
            module.write(Job(data, folder, options, parts, step))
            record = record.model_copy(update={"content": fingerprint(folder, RECORD)})
            (folder / RECORD).write_text(record.model_dump_json(indent=1) + "\n")
    return Exported(into, record, made=True, notes=notes, together=together)


def also(out: Path, names: Sequence[str], step: Callable[[int], object] = lambda _: None) -> list[Exported]:
    """Export a run to several formats with their default options, each to a folder beside it: OUT-coco for OUT.

    Not inside OUT: that holds what the run wrote and nothing else, for those who merge, judge or load it as a whole.

    Raises:
        SeasError: as `export`; formats before the one that fails stay.
    """
    if strange := [name for name in names if name not in FORMATS]:
        raise SettingsError(f"format {strange[0]!r} found, one of {', '.join(FORMATS)} expected")
    data = read(out)
    return [export(data, name, beside(out, f"-{name}"), step=step) for name in dict.fromkeys(names)]


def _record(data: GeneratedSet, name: str, options: Options, splits: dict[str, int]) -> ExportRecord:
    return ExportRecord(
        seas=own_version(),
        format=name,
        options=options,
        product=data.facts.settings.product,
        bundle=data.facts.settings.digest,
        run=data.identity,
        state=data.state,
        pairs=data.pairs,
        normals=len(data.records) - data.pairs,
        left_out=data.left_out,
        edited=data.edited,
        splits=splits,
    )


def _divided(data: GeneratedSet, name: str, options: Options) -> dict[str, list[Record]]:
    if FORMATS[name].divides == "nothing":
        return {"all": list(data.records)}
    divide = train_and_test if FORMATS[name].divides == "test" else train_and_val
    return divide(data.records, options.val, options.seed)


def _together(data: GeneratedSet, parts: Mapping[str, Sequence[Record]]) -> bool:
    return "val" in parts and any(PHOTOGRAPH in record.facts for record in data.records)


def _notes(data: GeneratedSet, name: str) -> tuple[str, ...]:
    if FORMATS[name].divides == "test" and data.pairs == len(data.records):
        return (
            f"{name} learns from normal pictures and there are none: give --normals DIR, or see the README for a folder of yours",
        )
    return ()


def _earlier(into: Path, out: Path, record: ExportRecord) -> ExportRecord | None:
    """The export in a folder; None where there is none.

    Raises:
        OutputError: the folder holds something else.
    """
    if into.resolve().is_relative_to(out.resolve()) or out.resolve().is_relative_to(into.resolve()):
        raise OutputError(f"{into}: one of it and {out} lies in the other, expected folders apart; give another --into")
    if into.exists() and not into.is_dir():
        raise OutputError(f"{into}: is a file, a folder expected; give another --into")
    if not into.exists() or not any(into.iterdir()):
        return None
    try:
        found = ExportRecord.model_validate_json(read_regular(into / RECORD))
    except (FileNotFoundError, ValidationError):
        raise OutputError(f"{into}: holds something else than an export, expected an empty folder; give another --into") from None
    for what, there, here in (
        ("format", found.format, record.format),
        ("product", found.product, record.product),
        ("run", found.run[:8], record.run[:8]),
        *((name, getattr(found.options, name), getattr(record.options, name)) for name in Options.model_fields),
    ):
        if there != here:
            raise OutputError(f"{into}: holds an export of {what} {there}, not {here}; give another --into, or remove it")
    if fingerprint(into, RECORD) != found.content:
        raise OutputError(f"{into}: was changed after it was exported, so it is not replaced; give another --into, or remove it")
    return found
