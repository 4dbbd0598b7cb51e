"""How a photograph is fitted to the network's square: which part of it becomes a picture, at what size, and the way back.

stretch: the whole, its sides changed each by itself. pad: the whole at its own proportions, with black bars. crop: the largest
square, which holds as much of the anomaly as it can. tile: squares of the photograph's own pixels, side by side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

Fit = Literal["stretch", "pad", "crop", "tile"]
FITS: tuple[Fit, ...] = ("stretch", "pad", "crop", "tile")
OVERLAP = 0.25
"""Share of a tile that it has in common with the next."""
Bits = npt.NDArray[np.bool_]
Size = tuple[int, int]
"""(width, height) in pixels."""
Box = tuple[int, int, int, int]
"""left, top, width and height in pixels."""
Sums = npt.NDArray[np.signedinteger]


@dataclass(frozen=True)
class View:
    """Where a written picture lies in its upright photograph.

    Attributes:
        box: left, top, width and height in the photograph's pixels; what reaches beyond it is black and unmarked.
        size: (width, height) of the written picture.
        place: The row and column of a tile, from 0; None where there is one picture.
    """

    box: Box
    size: Size
    place: tuple[int, int] | None = None

    @property
    def scale(self) -> float:
        """Written pixels for one of the photograph, in the direction in which they are fewer."""
        return min(self.size[0] / self.box[2], self.size[1] / self.box[3])

    def is_whole(self, size: Size) -> bool:
        """Whether the picture is a photograph of this size as it is."""
        return self.box == (0, 0, *size) and self.size == size


def views(size: Size, fit: Fit | Literal["keep"], side: int, overlap: float, marked: Bits | None) -> tuple[View, ...]:
    """The pictures that a photograph becomes.

    Args:
        size: (width, height) of the photograph.
        fit: See above; "keep" leaves it as it is.
        side: Of the pictures, in pixels.
        overlap: Share of a tile that it has at least in common with the next.
        marked: (H, W) bool, what is marked on it; None for a normal one.
    """
    width, height = size
    if fit == "keep":
        return (View((0, 0, width, height), size),)
    if fit == "stretch":
        return (View((0, 0, width, height), (side, side)),)
    if fit == "pad":
        longest = max(size)
        return (View(((width - longest) // 2, (height - longest) // 2, longest, longest), (side, side)),)
    if fit == "crop":
        shortest = min(size)
        left, top = (_shifted(length, shortest, marked, axis) for axis, length in enumerate(size))
        return (View((left, top, shortest, shortest), (side, side)),)
    lefts, tops = (_starts(length, side, overlap) for length in size)
    return tuple(
        View((left, top, side, side), (side, side), (row, column))
        for row, top in enumerate(tops)
        for column, left in enumerate(lefts)
    )


def _shifted(length: int, window: int, marked: Bits | None, axis: int) -> int:
    """Where a window begins: in the middle, or as near to it as it has all that is marked, or the middle of that."""
    middle = (length - window) // 2
    if marked is None or length == window:
        return middle
    there = np.flatnonzero(marked.any(axis=axis))
    if not there.size:
        return middle
    first, last = int(there[0]), int(there[-1]) + 1
    if last - first > window:
        return min(max((first + last - window) // 2, 0), length - window)
    return min(max(middle, last - window), first)


def _starts(length: int, side: int, overlap: float) -> list[int]:
    """Where tiles begin: evenly, from edge to edge, with at least this share in common; a short side has one tile, centred."""
    if length <= side:
        return [(length - side) // 2]
    count = math.ceil((length - side) / (side * (1 - overlap))) + 1
    return [round(i * (length - side) / (count - 1)) for i in range(count)]


def cut(image: Image.Image, view: View) -> Image.Image:
    """A view's picture from its upright photograph, RGB; resized by Lanczos, black beyond the photograph."""
    left, top, width, height = view.box
    part = image.crop((left, top, left + width, top + height))
    return part if part.size == view.size else part.resize(view.size, Image.Resampling.LANCZOS)


def window(mask: Bits, box: Box) -> Bits:
    """What lies in a box of a mask (H, W) bool, as (height, width); unmarked beyond the mask."""
    left, top, width, height = box
    part = np.zeros((height, width), bool)
    x, y = max(left, 0), max(top, 0)
    inside = mask[y : max(top + height, 0), x : max(left + width, 0)]
    part[y - top : y - top + inside.shape[0], x - left : x - left + inside.shape[1]] = inside
    return part


def cut_mask(mask: Bits, view: View) -> Bits:
    """A view's mask (h, w) bool from its photograph's (H, W)."""
    if view.is_whole((mask.shape[1], mask.shape[0])):
        return mask
    part = window(mask, view.box)
    return part if part.shape[::-1] == view.size else shrunk(part, view.size)


def shrunk(mask: Bits, size: Size) -> Bits:
    """A mask (H, W) at another size, by exact area, as training resizes masks.

    A cell is marked where the anomaly covers at least half as much of it as of any neighbour (3 x 3 cells): a spot smaller
    than a cell never vanishes and a thin scratch stays in one piece. A side that grows takes the nearest pixel.
    """
    coverage = _resampled(_resampled(mask.astype(np.int32), size[1]).T.astype(np.int64), size[0]).T
    padded = np.pad(coverage, 1)
    rows = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:])
    around = np.maximum(np.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
    kept: Bits = (coverage > 0) & (2 * coverage >= around)
    return kept


def _resampled(values: Sums, cells: int) -> Sums:
    """Sums of rows over `cells` equal parts of their number, in units of 1 / cells of a row: whole numbers."""
    length = len(values)
    if cells > length:
        return values[(2 * np.arange(cells) + 1) * length // (2 * cells)]
    below = np.zeros((1, values.shape[1]), values.dtype)
    sums = np.concatenate((below, values.cumsum(axis=0, dtype=values.dtype)))
    whole, rest = np.divmod(np.arange(cells + 1) * length, cells)
    following = values[np.minimum(whole, length - 1)] * rest[:, None].astype(values.dtype)
    return np.diff(sums[whole] * cells + following, axis=0)
