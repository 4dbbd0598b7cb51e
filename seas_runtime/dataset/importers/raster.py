"""Outlines -> pixels.

A pixel (row i, column j) covers [j, j + 1) x [i, i + 1) in the units of annotation tools and is marked where its
centre (j + 0.5, i + 0.5) lies inside, by the even-odd rule. A centre exactly on an edge belongs to what lies to the right
of it or below it, so that areas which share an edge share no pixel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from seas_runtime.dataset.importers.records import BrokenError
from seas_runtime.fit import Bits

Points = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
MOST_CROSSINGS = 50_000_000  # of edges with rows; an outline of a million points that turns at each pixel has a few
_CHUNK = 1 << 20


def fill(canvas: Bits, rings: Sequence[Points]) -> None:
    """Mark the pixels whose centres lie inside an odd number of the `rings`, (n, 2) of x and y each, closed by themselves.

    Raises:
        BrokenError: The rings cross more than 50 million pixel rows in all.
    """
    edges = np.concatenate([np.hstack((ring, np.roll(ring, -1, axis=0))) for ring in rings])
    height, width = canvas.shape
    tops, bottoms = np.minimum(edges[:, 1], edges[:, 3]), np.maximum(edges[:, 1], edges[:, 3])
    first = np.ceil(tops - 0.5).clip(0, height).astype(np.int64)
    counts = np.ceil(bottoms - 0.5).clip(0, height).astype(np.int64) - first
    crossing = counts > 0
    edges, first, counts = edges[crossing], first[crossing], counts[crossing]
    if not counts.size:
        return
    if counts.sum() > MOST_CROSSINGS:
        raise BrokenError(f"an outline that crosses {counts.sum()} rows of pixels, expected at most {MOST_CROSSINGS}")
    top, left, right = int(first.min()), *_columns(edges, width)
    if left >= right:
        return
    window = canvas[top : int((first + counts).max()), left:right]
    odd = np.zeros((window.shape[0], window.shape[1] + 1), np.uint8)
    ends = counts.cumsum()
    start = 0
    while start < len(counts):  # so many edges at a time that their crossings fit in memory
        stop = max(start + 1, int(np.searchsorted(ends, ends[start] - counts[start] + _CHUNK)))
        rows, columns = _crossings(edges[start:stop], first[start:stop], counts[start:stop])
        np.add.at(odd, (rows - top, (columns - left).clip(0, window.shape[1])), 1)
        start = stop
    window |= (np.add.accumulate(odd, axis=1, dtype=np.uint8)[:, :-1] & 1).astype(bool)


def _columns(edges: Points, width: int) -> tuple[int, int]:
    """The columns between which something may be marked."""
    xs = np.ceil(edges[:, ::2] - 0.5).clip(0, width)
    return int(xs.min()), int(xs.max())


def _crossings(edges: Points, first: Indices, counts: Indices) -> tuple[Indices, Indices]:
    """Each row that an edge crosses, and the first column whose centre is not left of the crossing."""
    edge = np.repeat(np.arange(len(counts)), counts)
    rows = np.arange(len(edge)) - np.repeat(counts.cumsum() - counts, counts) + first[edge]
    wide, high = (edges[:, 2] - edges[:, 0])[edge], (edges[:, 3] - edges[:, 1])[edge]
    # Divided last: where the crossing is a pixel's centre, so that no rounding moves it past.
    xs = edges[edge, 0] + (rows + 0.5 - edges[edge, 1]) * wide / high
    columns: Indices = np.ceil(xs - 0.5).astype(np.int64)
    return rows, columns


def fill_ellipse(canvas: Bits, centre: tuple[float, float], radii: tuple[float, float], angle: float = 0.0) -> None:
    """Mark the pixels whose centres lie inside an ellipse or on its line.

    Args:
        canvas: (H, W) bool.
        centre: x and y.
        radii: Along the ellipse's own axes; nothing is marked unless both are above 0.
        angle: Of the first axis to x, clockwise on the screen, in radians.
    """
    if min(radii) <= 0:
        return
    height, width = canvas.shape
    reach = max(radii)
    top, bottom = (int(np.clip(y, 0, height)) for y in (centre[1] - reach, centre[1] + reach + 1))
    left, right = (int(np.clip(x, 0, width)) for x in (centre[0] - reach, centre[0] + reach + 1))
    y = np.arange(top, bottom)[:, None] + 0.5 - centre[1]
    x = np.arange(left, right)[None, :] + 0.5 - centre[0]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    canvas[top:bottom, left:right] |= (along / radii[0]) ** 2 + (across / radii[1]) ** 2 <= 1
