"""Figures of ablations -> tables: the paper's beside ours, and which of its conclusions hold."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.quality.ablation import variants
from benchmarks.quality.ablation.variants import OURS
from benchmarks.quality.metrics import judgement
from benchmarks.quality.paper import Published
from benchmarks.quality.tables import Cell, Seeds, Table

Found = dict[str, dict[str, Seeds | None]]
"""Our figures by row and column; None where there is none."""
IMAGES = ("IS", "IC-L")
"""Columns that judge images alone."""
EMPTY, PAIRS = "empty, %", "pairs"
"""Columns of the share of masks that are empty, and of the other pairs, which the segmenters learn from."""
HOLDS, NOT, OPEN = "holds", "does not hold", "undecided"
BEHIND = " (behind)"
"""Follows a verdict where the paper's own figure is lower for ours than for the row."""


def beside(published: Published, columns: Sequence[str], found: Found, by_chance: str) -> Table:
    """The paper's figures and ours, column by column.

    Args:
        published: The paper's table.
        columns: Which of its columns.
        found: Our figures.
        by_chance: A sentence on what chance reaches.
    """
    rows: list[tuple[Cell, ...]] = []
    numbers = [column for column in (EMPTY, PAIRS) if column in found[OURS]]
    for name, own in found.items():
        cells: list[Cell] = [name]
        for column in columns:
            cells += [published.figure(name, column), own[column]]
        rows.append((*cells, *(own[column] for column in numbers)))
    names = ("", *(f"{column}, {whose}" for column in columns for whose in ("paper", "here")), *numbers)
    legend = variants.LEGEND[published.number]
    note = (
        f"The paper's figures are of {published.data} with Stable Diffusion v1-4 and BiSeNet V2: compare the order of the rows, "
        "not the figures."
    )
    unequal = "A pair with an empty mask is left out: segmenters learn from the number of pairs in the last column, row by row."
    more = (by_chance, unequal) if numbers else ()
    return Table(f"Table {published.number}: {published.title}", names, tuple(rows), (legend, note, *more))


def of_images(published: Published, found: Found, unlike: Sequence[str], backbone: str) -> Table:
    """Our IS and IC-LPIPS, alone: so few images are not comparable with the paper's thousand of each type.

    Args:
        published: The paper's table.
        found: Our figures.
        unlike: What differs from how the paper's were measured.
        backbone: Name of what saw the images.
    """
    rows = tuple((name, *(own[column] for column in IMAGES)) for name, own in found.items())
    notes = (
        variants.LEGEND[published.number],
        "IC-L: IC-LPIPS, of clusters around the training anomalies.",
        *([judgement.LABELS[backbone]] if backbone in judgement.LABELS else []),
        f"Not comparable with the paper's table: {'; '.join(unlike)}.",
    )
    return Table(f"Table {published.number}: {published.title}, images", ("", *IMAGES), rows, notes, digits=3)


def conclusions(published: Published, found: Found, seeds: int) -> Table:
    """Whether each of the paper's differences from ours holds here, by so many seeds."""
    rows: list[tuple[Cell, ...]] = []
    for name, own in found.items():
        if name == OURS:
            continue
        cells: list[Cell] = [f"{OURS} against {name}"]
        for column in published.columns:
            whole, part = published.figure(OURS, column), published.figure(name, column)
            if whole is None or part is None:
                cells.append(None)
                continue
            said = verdict(found[OURS][column], own[column], whole - part)
            cells.append(said if whole > part else f"{said}{BEHIND}")
        rows.append(tuple(cells))
    notes = (
        "Whether ours differs from the row in the paper's direction, seed by seed; - where the paper's figure is not known.",
        f"By chance alone, one figure in {2**seeds} would hold with {seeds} of {seeds} seeds, and as many would be reversed.",
        *((f"{BEHIND.strip()}: in the paper's table too ours is behind the row.",) if BEHIND in str(rows) else ()),
    )
    return Table(f"Conclusions of table {published.number}", ("", *published.columns), tuple(rows), notes)


def verdict(ours: Seeds | None, other: Seeds | None, claimed: float) -> str:
    """Whether ours differs from a row as the paper's does, seed by seed.

    Args:
        ours: Our figures with the complete method.
        other: Our figures of the row, for the same seeds.
        claimed: The paper's figure of the complete method less that of the row.

    Returns:
        "holds" or "does not hold" where all seeds agree, else "undecided".
    """
    if ours is None or other is None or len(ours.values) != len(other.values) or not claimed:
        return OPEN
    differences = [math.copysign(1, claimed) * (a - b) for a, b in zip(ours.values, other.values, strict=True)]
    if all(difference > 0 for difference in differences):
        return HOLDS
    return NOT if all(difference < 0 for difference in differences) else OPEN


def summary(made: Sequence[Table]) -> str:
    """How many of the paper's conclusions hold, in a sentence."""
    verdicts = {row for table in made if table.title.startswith("Conclusions") for row in table.rows}  # tables share rows
    cells = [str(cell).removesuffix(BEHIND) for row in verdicts for cell in row[1:]]
    counts = {name: cells.count(name) for name in (HOLDS, NOT, OPEN)}
    return (
        f"Of the {sum(counts.values())} differences that the paper reports, {counts[HOLDS]} hold here in every seed, "
        f"{counts[NOT]} are reversed in every seed, and {counts[OPEN]} are undecided: seeds disagree, or a figure is missing."
    )
