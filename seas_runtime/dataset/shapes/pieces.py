"""Connected pieces of a mask, as runs along its columns (the order of COCO's run lengths)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Piece:
    """A set of pixels of an image of `height` x `width`.

    `runs` (n, 2) int64, rising: first pixel and the one after the last of each run, counted down the columns,
    x * height + y. No two runs touch.
    """

    height: int
    width: int
    runs: NDArray[np.int64]

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int((self.runs[:, 1] - self.runs[:, 0]).sum())

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(x, y, width, height) in pixels of the smallest box around them."""
        first, last = self.runs[:, 0], self.runs[:, 1] - 1
        left, right = int(first[0]) // self.height, int(last[-1]) // self.height
        top, bottom = int((first % self.height).min()), int((last % self.height).max())
        if np.any(first // self.height != last // self.height):  # a run that goes on in the next column
            top, bottom = 0, self.height - 1
        return left, top, right - left + 1, bottom - top + 1

    def crop(self) -> NDArray[np.bool_]:
        """The pixels as a mask of their box, (its height, its width)."""
        left, top, width, height = self.box
        lengths = self.runs[:, 1] - self.runs[:, 0]
        before = np.cumsum(lengths) - lengths
        pixels = np.arange(lengths.sum()) + np.repeat(self.runs[:, 0] - before, lengths)
        filled = np.zeros((height, width), np.bool_)
        filled[pixels % self.height - top, pixels // self.height - left] = True
        return filled


def whole(mask: NDArray[np.generic]) -> Piece:
    """All pixels of a mask (H, W) that are not zero, connected or not."""
    height, width = mask.shape
    return Piece(height, width, _runs(np.ravel(mask != 0, order="F")))


def pieces(mask: NDArray[np.generic]) -> list[Piece]:
    """The pieces of a mask (H, W) whose pixels touch by a side or a corner, by their leftmost, then topmost pixel."""
    height, width = mask.shape
    below = np.zeros((width, height + 1), np.bool_)  # a column ends with a zero, so that no run goes on in the next
    below[:, :height] = (mask != 0).T
    columns, runs = _by_column(_runs(below.ravel()), height + 1)
    owner = _join(columns, runs)
    flat = runs + (columns * height)[:, None]
    order = np.argsort(owner, kind="stable")
    cuts = np.flatnonzero(np.diff(owner[order])) + 1
    return [Piece(height, width, _merge(flat[chosen])) for chosen in np.split(order, cuts) if len(chosen)]


def _runs(line: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Runs (n, 2) of true values of a line."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], line, [False]))))
    return edges.reshape(-1, 2).astype(np.int64)


def _by_column(runs: NDArray[np.int64], stride: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Column of each run, and the runs as rows from that column's top."""
    columns = runs[:, 0] // stride
    return columns, runs - (columns * stride)[:, None]


def _join(columns: NDArray[np.int64], runs: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each run the first run of its piece: neighbours in the next column are joined, corners count."""
    owner = list(range(len(runs)))

    def root(run: int) -> int:
        while owner[run] != run:
            owner[run] = owner[owner[run]]
            run = owner[run]
        return run

    column, top, bottom = columns.tolist(), runs[:, 0].tolist(), runs[:, 1].tolist()
    left = 0
    for right in range(len(owner)):
        while column[left] < column[right] - 1 or (column[left] < column[right] and bottom[left] < top[right]):
            left += 1
        other = left
        while column[other] < column[right] and top[other] <= bottom[right]:
            first, second = sorted((root(other), root(right)))
            owner[second] = first
            other += 1
    return np.array([root(run) for run in range(len(owner))], np.int64)


def _merge(runs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rising runs with those that touch made one: a column full to its end goes on in the next."""
    starts = np.concatenate(([True], runs[1:, 0] != runs[:-1, 1]))
    return np.stack([runs[starts, 0], runs[np.roll(starts, -1), 1]], axis=1)
