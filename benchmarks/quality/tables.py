"""Tables of figures as Markdown, CSV and JSON, and what every one of them says of its origin."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import common
from seas_runtime.errors import OutputError, SettingsError
from seas_runtime.files import write_atomic
from seas_runtime.versions import extra

MISSING = "-"
PACKAGES = ("numpy", "scipy", "scikit-learn", "opencv-python-headless", "torchmetrics", "matplotlib", "pillow")
"""Whose versions belong to every document, beside those of `machine`."""


@dataclass(frozen=True)
class Seeds:
    """The same figure for each seed; shown as mean and standard deviation (over n - 1)."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over seeds."""
        return statistics.fmean(self.values)

    @property
    def std(self) -> float | None:
        """Over seeds; None for a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


Cell = str | int | float | Seeds | None
"""None is a figure that there is not."""


@dataclass(frozen=True)
class Table:
    """Rows of cells under the names of their columns.

    Attributes:
        title: A heading.
        columns: Their names.
        rows: As many cells each.
        notes: Sentences that belong to it.
        digits: Of its fractions.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    digits: int = 2

    def text(self, cell: Cell) -> str:
        """A cell as people read it."""
        if cell is None:
            return MISSING
        if isinstance(cell, Seeds):
            spread = "" if cell.std is None else f" ± {cell.std:.{self.digits}f}"
            return f"{cell.mean:.{self.digits}f}{spread}"
        return f"{cell:.{self.digits}f}" if isinstance(cell, float) else str(cell)

    def markdown(self) -> str:
        """The table below a heading; figures to the right."""
        numeric = [any(not isinstance(row[i], str | None) for row in self.rows) for i in range(len(self.columns))]
        lines = [f"## {self.title}", "", "| " + " | ".join(self.columns) + " |"]
        lines.append("|" + "|".join("---:" if right else "---" for right in numeric) + "|")
        lines += ["| " + " | ".join(map(self.text, row)) + " |" for row in self.rows]
        return "\n".join([*lines, "", *self.notes, *([""] if self.notes else [])])

    def records(self) -> list[dict[str, Any]]:
        """A mapping for each row; a figure of several seeds is followed by its spread and the single values."""
        found = []
        for row in self.rows:
            record: dict[str, Any] = {}
            for name, cell in zip(self.columns, row, strict=True):
                record[name] = cell.mean if isinstance(cell, Seeds) else cell
                if isinstance(cell, Seeds):
                    record |= {f"{name} std": cell.std, f"{name} seeds": " ".join(f"{x:.6g}" for x in cell.values)}
            found.append(record)
        return found


@dataclass(frozen=True)
class Document:
    """What one command found: tables and pictures, and where they come from.

    Attributes:
        name: Of its files.
        title: A heading.
        opening: Paragraphs before the tables.
        tables: The tables.
        facts: Command, settings, seeds, machine, versions and commit.
        pictures: Captions by the file names of pictures that lie beside it.
    """

    name: str
    title: str
    opening: tuple[str, ...]
    tables: tuple[Table, ...]
    facts: dict[str, Any]
    pictures: dict[str, str] = field(default_factory=dict)

    def markdown(self) -> str:
        """All of it."""
        lines = [f"# {self.title}", ""]
        for paragraph in self.opening:
            lines += [paragraph, ""]
        lines += [table.markdown() for table in self.tables]
        for file, caption in self.pictures.items():
            lines += [f"![{caption}]({file})", "", caption, ""]
        lines += [f"- {key}: {value if isinstance(value, str) else json.dumps(value)}" for key, value in self.facts.items()]
        return "\n".join([*lines, ""])


def save(document: Document, folder: Path) -> list[Path]:
    """Write NAME.md, NAME.json and NAME.csv; the CSV holds all tables below one another.

    Raises:
        OutputError: The folder cannot be written.
    """
    contents = {
        "md": document.markdown(),
        "json": json.dumps({**document.facts, "tables": [_plain(table) for table in document.tables]}, indent=1) + "\n",
        "csv": _csv(document.tables),
    }
    paths = [folder / f"{document.name}.{end}" for end in contents]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in zip(paths, contents.values(), strict=True):
            write_atomic(path, text)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}; free space or name another --out") from error
    return paths


def origin(words: Sequence[str], **more: Any) -> dict[str, Any]:
    """Command, machine, versions and commit, for every document.

    Args:
        words: What followed `python -m benchmarks.quality`; of paths the last part is kept.
        more: Settings and seeds.

    Raises:
        SettingsError: A package whose version belongs here is not installed.
    """
    found, own = common.machine(), common.versions(PACKAGES)
    if missing := [name for name, number in own.items() if number == "not installed"]:
        raise SettingsError(f"{missing[0]} is not installed; run {extra('cpu', 'train', 'export', 'quality', 'judge')}")
    found["versions"] |= own
    return {"command": " ".join(["python -m benchmarks.quality", *map(_short, words)]), **more, **found}


def _short(word: str) -> str:
    name, equals, path = word.rpartition("=")
    shares = not set(path) - set("0123456789/,")
    return word if shares or "/" not in path else f"{name}{equals}{Path(path).name}"


def _plain(table: Table) -> dict[str, Any]:
    return {**asdict(table), "rows": table.records()}


def _csv(tables: Sequence[Table]) -> str:
    stream = io.StringIO()
    for table in tables:
        records = table.records()
        names = list(dict.fromkeys(name for record in records for name in record))
        writer = csv.DictWriter(stream, ["table", *names], restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({"table": table.title, **record} for record in records)
        stream.write("\n")
    return stream.getvalue()
