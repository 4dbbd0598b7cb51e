"""The outline of a piece of a mask: one polygon that follows its pixels' sides and has its holes joined to it.

A hole is joined by a cut as wide as nothing, which leads straight left from its leftmost pixel to the next border, so it
crosses pixels of the piece alone. Rasterisers that count a pixel by its centre (or by parity, as COCO's) and those that
also draw the border itself (OpenCV, Pillow: YOLO, LabelMe) then give the very mask again, the latter if corners are moved
into the piece by an `inset`, so that cutting off decimals leads to one of its pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seas_runtime.dataset.shapes.pieces import Piece

_RIGHT, _DOWN, _LEFT, _UP = range(4)  # a border runs with the piece on its right hand; y points down
_STEP = ((1, 0), (0, 1), (-1, 0), (0, -1))
_CUT = 7 / 16  # where in a pixel's height a cut runs: within every inset, on no centre

Point = tuple[float, float]


def outline(piece: Piece, inset: float = 0.0) -> NDArray[np.float64]:
    """The polygon of a connected piece.

    Args:
        piece: its pixels touch by a side or a corner.
        inset: how far corners are moved into the piece, at most 3/8 of a pixel.

    Returns:
        corners (n, 2), n >= 4, x and y in pixels from the image's upper left corner, clockwise, not closed;
        pixel (x, y) covers x to x + 1, y to y + 1.
    """
    corners = np.array(_walk(_trace(piece.crop()), inset), np.float64)
    corners += piece.box[:2]
    return corners


@dataclass(frozen=True)
class _Borders:
    """Unit sides of a piece's border pixels, by number.

    x, y: where each begins; way: its direction; after, before: its neighbours along the border; pinched: two borders
    meet where it begins. out: sides with a cut to a hole's side; back: the latter to the former.
    """

    x: list[int]
    y: list[int]
    way: list[int]
    after: list[int]
    before: list[int]
    pinched: list[bool]
    out: dict[int, int]
    back: dict[int, int]


def _trace(mask: NDArray[np.bool_]) -> _Borders:
    """The borders of a mask (h, w) of one piece; side 0 is the topmost one of its outer border."""
    padded = np.pad(mask, 1)
    north_west, north_east = padded[:-1, :-1], padded[:-1, 1:]
    south_west, south_east = padded[1:, :-1], padded[1:, 1:]
    begins = np.stack(
        [
            south_east & ~north_east,
            south_west & ~south_east,
            north_west & ~south_west,
            north_east & ~north_west,
        ]
    )
    way, y, x = np.nonzero(begins)
    number = np.cumsum(begins.ravel()).reshape(begins.shape) - 1
    step = np.array(_STEP)[way]
    end_x, end_y = x + step[:, 0], y + step[:, 1]
    turn = np.full(len(way), -1)
    for change in (
        1,
        0,
        -1,
    ):  # the last that fits wins: to the left, so that pixels meeting at a corner stay together
        there = (way + change) % 4
        turn = np.where(begins[there, end_y, end_x], there, turn)
    after = number[turn, end_y, end_x]
    before = np.empty_like(after)
    before[after] = np.arange(len(after))
    pinched = begins.sum(axis=0)[y, x] == 2
    out = _cuts(padded, number, way, y, x, after.tolist())
    return _Borders(
        x=x.tolist(),
        y=y.tolist(),
        way=way.tolist(),
        after=after.tolist(),
        before=before.tolist(),
        pinched=pinched.tolist(),
        out=out,
        back={hole: side for side, hole in out.items()},
    )


def _cuts(
    padded: NDArray[np.bool_],
    number: NDArray[np.int64],
    way: NDArray[np.int64],
    y: NDArray[np.int64],
    x: NDArray[np.int64],
    after: list[int],
) -> dict[int, int]:
    """For each hole: the side of the border to its left, and the side of its own leftmost pixel that faces it."""
    ring = _rings(after)
    leftmost: dict[int, int] = {}
    downward = np.flatnonzero(way == _DOWN)
    for side in downward[np.lexsort((y[downward], x[downward]))].tolist():
        if ring[side] != ring[0]:
            leftmost.setdefault(ring[side], side)
    cuts: dict[int, int] = {}
    for hole in leftmost.values():
        row, column = int(y[hole]), int(x[hole])
        start = column - int(np.argmin(padded[row + 1, : column + 1][::-1]))
        cuts[int(number[_UP, row + 1, start])] = hole
    return cuts


def _rings(after: list[int]) -> list[int]:
    """For each side the first side of its border."""
    ring = [-1] * len(after)
    for first in range(len(after)):
        side = first
        while ring[side] < 0:
            ring[side] = first
            side = after[side]
    return ring


def _walk(borders: _Borders, inset: float) -> list[Point]:
    """The corners along the outer border, and through each cut around its hole and back."""
    points: list[Point] = []
    side = 0
    while True:
        points += _corner(borders, side, inset)
        joined = borders.out.get(side, borders.back.get(side))
        if joined is None:
            side = borders.after[side]
        else:
            points += [_middle(borders, side, inset), _middle(borders, joined, inset)]
            side = borders.after[joined]
        if side == 0:
            return points


def _corner(borders: _Borders, side: int, inset: float) -> list[Point]:
    """Where the border turns at the beginning of a side: a point, two where it crosses to a pixel that only meets it."""
    came, goes = borders.way[borders.before[side]], borders.way[side]
    if came == goes:
        return []
    x, y = borders.x[side], borders.y[side]
    ahead, right = _STEP[came], _STEP[(came + 1) % 4]
    if borders.pinched[side]:
        across = (inset * (ahead[0] - right[0]), inset * (ahead[1] - right[1]))
        crossing = [(x - across[0], y - across[1]), (x + across[0], y + across[1])]
        return crossing if inset else crossing[:1]
    inward = _STEP[(goes + 1) % 4]
    return [(x + inset * (right[0] + inward[0]), y + inset * (right[1] + inward[1]))]


def _middle(borders: _Borders, side: int, inset: float) -> Point:
    """Where a cut meets an upright side, in the row of pixels beside it."""
    upward = borders.way[side] == _UP
    row = borders.y[side] - 1 if upward else borders.y[side]
    return borders.x[side] + (inset if upward else -inset), row + _CUT
