"""The paper's tables, from `paper.json`: facts to lay beside our own."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from benchmarks.quality.tables import Table

FILE = Path(__file__).with_name("paper.json")
ORDER = (
    "The paper's figures are of its own products, 1000 pairs of each type, and networks of full size and training: compare the "
    "order of the rows, not the figures."
)
THOUSANDTHS = ("12", "22")
"""Tables with figures of three decimals."""


class Published(NamedTuple):
    """A table of the paper: `rows` hold a figure for each column, None where it is not known."""

    number: str
    title: str
    data: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[float | None, ...]]

    def figure(self, row: str, column: str) -> float | None:
        """One figure; None where there is none."""
        return self.rows[row][self.columns.index(column)] if row in self.rows and column in self.columns else None


@functools.cache
def table(number: str) -> Published:
    """A table by its number; KeyError for one that is not in the file."""
    found = json.loads(FILE.read_text(encoding="utf-8"))["tables"][number]
    rows = {name: tuple(values) for name, values in found["rows"].items()}
    return Published(number, found["title"], found["data"], tuple(found["columns"]), rows)


def shown(*numbers: str) -> list[Table]:
    """Tables of the paper, for a reader to compare with ours."""
    found = []
    for number in numbers:
        title, data, columns, rows = table(number)[1:]
        lines = tuple((name, *values) for name, values in rows.items())
        digits = 3 if number in THOUSANDTHS else 2
        found.append(Table(f"The paper's table {number}: {title}, {data}", ("", *columns), lines, (ORDER,), digits))
    return found


def unlike(side: int, splits: int, counts: Iterable[int]) -> list[str]:
    """What differs from how the paper's IS and IC-LPIPS were measured (tab. 1, 8, 30), such as "side 64, not 256".

    Args:
        side: Of the images, pixels.
        splits: Of the Inception Score.
        counts: Images of each type.
    """
    ours = {"side": {side}, "splits": {splits}, "images of a type": set(counts)}
    theirs = {"side": 256, "splits": 10, "images of a type": 1000}
    differ = {name: sorted(values) for name, values in ours.items() if values != {theirs[name]}}
    return [f"{name} {', '.join(map(str, values))}, not {theirs[name]}" for name, values in differ.items()]
