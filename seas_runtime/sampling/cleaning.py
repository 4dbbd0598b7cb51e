"""Specks and holes of a mask: pieces too small to be a defect are removed, holes too small to be sound material are filled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seas_runtime.sampling.masks import Mask

Bools = NDArray[np.bool_]


def clean(mask: Mask, smallest: int) -> Mask:
    """A mask (H, W) of 0 and 255 without pieces and holes of fewer than `smallest` pixels; the largest piece always stays.

    Pieces hang together over corners too, holes over edges alone, as two parts of one plane do.
    """
    marked = mask > 0
    if smallest <= 1 or not marked.any():
        return mask
    labels, areas = label(marked, corners=True)
    kept = areas >= min(smallest, int(areas[1:].max()))
    kept[0] = False
    marked = kept[labels]
    labels, areas = label(~marked, corners=False)
    filled = areas < smallest
    filled[np.concatenate((labels[0], labels[-1], labels[:, 0], labels[:, -1]))] = False  # open to the outside: no hole
    filled[0] = True  # label 0 is the anomaly itself
    return np.where(filled[labels], np.uint8(255), np.uint8(0))


def label(marked: Bools, corners: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number the connected pieces of marked pixels (H, W): labels (H, W), 0 where nothing is marked, and areas (pieces + 1,).

    Every row's runs of marked pixels are nodes; runs of neighbouring rows that touch are joined.
    """
    edges = np.diff(np.pad(marked, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(edges == 1)
    _, ends = np.nonzero(edges == -1)
    roots = _joined(marked.shape[0], rows, starts, ends, int(corners))
    _, numbers = np.unique(roots, return_inverse=True)
    lengths = ends - starts
    labels = np.zeros(marked.shape, np.int64)
    labels[marked] = np.repeat(numbers + 1, lengths)
    return labels, np.bincount(labels.ravel(), minlength=int(numbers.max(initial=-1)) + 2)


def _joined(height: int, rows: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64], reach: int) -> list[int]:
    """The root of each run (union-find); runs are in the order of rows, then columns, each [start, end)."""
    parents = list(range(len(rows)))

    def root(run: int) -> int:
        while parents[run] != run:
            parents[run] = parents[parents[run]]
            run = parents[run]
        return run

    first = np.searchsorted(rows, np.arange(height + 1)).tolist()
    for row in range(1, height):
        above, below = first[row - 1], first[row]
        while above < first[row] and below < first[row + 1]:
            if starts[above] < ends[below] + reach and starts[below] < ends[above] + reach:
                parents[root(below)] = root(above)
            if ends[above] < ends[below]:
                above += 1
            else:
                below += 1
    return [root(run) for run in range(len(rows))]
