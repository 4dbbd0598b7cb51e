"""How wide an anomaly is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

CELL = 8
"""Pixels of the model's side that one latent cell covers: what is narrower is lost."""
Bits = npt.NDArray[np.bool_]


def width(mask: Bits) -> float:
    """The width of what a mask (H, W) bool marks, in pixels; 0 where it marks nothing.

    The width at a pixel is the shortest of the four runs of marked pixels through it: along its row, its column and both
    diagonals, whose steps are sqrt(2) long. Of all marked pixels the median counts: of a scratch it is the width across it.
    """
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return 0.0
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    at = np.nonzero(part)
    straight = np.minimum(_runs(part)[at], _runs(part.T).T[at])
    slanted = np.minimum(_diagonal_runs(part)[at], _diagonal_runs(part[:, ::-1])[:, ::-1][at])
    return float(np.median(np.minimum(straight, slanted * np.sqrt(2))))


def _runs(mask: Bits) -> npt.NDArray[np.int32]:
    """The length of the run of marked pixels along its row that each pixel is in, 0 for unmarked ones."""
    padded = np.zeros((mask.shape[0], mask.shape[1] + 1), bool)
    padded[:, :-1] = mask
    line = padded.ravel()
    edges = np.flatnonzero(np.diff(line, prepend=False, append=False))
    starts, ends = edges[::2], edges[1::2]
    lengths = np.zeros(line.size, np.int32)
    lengths[line] = np.repeat(ends - starts, ends - starts)
    return lengths.reshape(padded.shape)[:, :-1]


def _diagonal_runs(mask: Bits) -> npt.NDArray[np.int32]:
    """The same along diagonals that go down to the right: each row moved left by its number makes them columns."""
    height, length = mask.shape
    columns = np.arange(length) - np.arange(height)[:, None] + height - 1
    rows = np.broadcast_to(np.arange(height)[:, None], mask.shape)
    moved = np.zeros((height + length - 1, height), bool)
    moved[columns, rows] = mask
    slanted: npt.NDArray[np.int32] = _runs(moved)[columns, rows]
    return slanted
