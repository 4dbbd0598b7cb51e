"""How large defects are, how many, and where: generated against real."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from benchmarks.demo.oracle import Pieces
from benchmarks.quality.downstream.fitting import Masks
from benchmarks.quality.tables import Cell, Table

GRID = 8
"""Cells along a side of an image in which places are counted."""
ALL = "all"
_EIGHT = np.ones((3, 3), np.int8)  # pixels that touch at a corner belong together
Floats = npt.NDArray[np.float64]


def table(sets: Mapping[str, Pieces], defects: Sequence[str], real: str) -> Table:
    """Sizes, numbers and places of what masks mark, by defect type.

    Args:
        sets: Pairs by what tables call them; their types are 1 and more.
        defects: Names of the types.
        real: The set that places are compared with.
    """
    rows: list[tuple[Cell, ...]] = []
    for kind, defect in enumerate((ALL, *defects)):
        truth = _of(sets[real], kind)
        for name, pieces in sets.items():
            masks = _of(pieces, kind)
            if len(masks):
                rows.append((defect, name, len(masks), *_row(masks, None if name == real else truth)))
    sizes = ("area, %", "10 %", "median", "90 %")
    names = ("type", "pairs", "number", *sizes, "defects an image", "x", "y", "same places, %")
    notes = (
        "Area: the share of an image that its mask marks; mean and percentiles. Defects: parts of a mask that do not touch.",
        "x and y: the middle of what is marked, from the left and from the top (0 to 1), mean ± standard deviation.",
        f"Same places: the overlap of where pixels are marked ({GRID} x {GRID} cells) with that of {real}; 100 % is the same "
        "distribution, which few pairs never reach.",
    )
    return Table("Sizes, numbers and places of defects", names, tuple(rows), notes)


def _of(pieces: Pieces, kind: int) -> Masks:
    """Masks (n, s, s) of a type, or of all for 0; empty ones are none."""
    masks = pieces.masks if kind == 0 else pieces.of(kind).masks
    return masks[masks.any(axis=(1, 2))]


def _row(masks: Masks, truth: Masks | None) -> tuple[Cell, ...]:
    areas = 100 * masks.mean(axis=(1, 2))
    tenth, median, ninetieth = (float(value) for value in np.percentile(areas, (10, 50, 90)))
    x, y = centres(masks)
    middle = (f"{values.mean():.2f} ± {values.std():.2f}" for values in (x, y))
    same = None if truth is None or not len(truth) else 100 * float(np.minimum(places(masks), places(truth)).sum())
    return (float(areas.mean()), tenth, median, ninetieth, numbers(masks).mean().item(), *middle, same)


def centres(masks: Masks) -> tuple[Floats, Floats]:
    """X and y (n,) of the middle of the marked pixels of masks (n, s, s), none empty, as shares of the side."""
    count, side = masks.sum(axis=(1, 2)), masks.shape[1]
    at = (np.arange(side) + 0.5) / side
    return (masks.sum(axis=1) @ at) / count, (masks.sum(axis=2) @ at) / count


def numbers(masks: Masks) -> Floats:
    """How many parts (n,) that do not touch each mask (n, s, s) has."""
    return np.array([ndimage.label(mask, structure=_EIGHT)[1] for mask in masks], np.float64)


def places(masks: Masks) -> Floats:
    """Shares (GRID * GRID,) of all marked pixels of masks (n, s, s) that lie in each cell; they add up to one."""
    side = masks.shape[1]
    cells = np.arange(side) * GRID // side
    index = (cells[:, None] * GRID + cells[None, :]).ravel()
    found = np.bincount(index, weights=masks.sum(axis=0).ravel(), minlength=GRID * GRID)
    return found / found.sum()
