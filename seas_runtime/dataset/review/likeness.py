"""How much a generated defect looks like a real one: a cheap distance of the two where their masks are.

A look is the square around a mask, with some margin, at `SIDE` x `SIDE` pixels. The distance of two looks is their root
mean square difference in [0, 1], the smallest over the eight turned and flipped views of the real one; likeness is one
minus that. A pair is a suspected copy if it is nearer to a real anomaly of its type than any two of those are to each
other: the rule of `benchmarks.quality`, there with a perceptual distance of whole pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from seas_runtime.dataset.review.pictures import Mask

SIDE = 16
MARGIN = 0.25  # of the mask's larger side, on each side
LEAST = 8  # pixels, of the square's side
Look = npt.NDArray[np.float32]


class Nearest(NamedTuple):
    """The real anomaly that looks most like a generated one: its number, likeness in [0, 1], whether a copy is suspected."""

    real: int
    likeness: float
    copy: bool


def look(image: Image.Image, mask: Mask) -> Look | None:
    """The look (SIDE, SIDE, 3) float32 in [0, 1] of a defect; None for an empty mask.

    Args:
        image: RGB.
        mask: (H, W), of the same size.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows) or mask.shape != (image.height, image.width):
        return None
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    side = max(bottom - top, right - left)
    side = max(side + 2 * ceil(MARGIN * side), LEAST)
    y, x = int(top + bottom - side) // 2, int(left + right - side) // 2
    square = image.crop((x, y, x + int(side), y + int(side)))
    pixels = np.asarray(square.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float32)
    return pixels / np.float32(255)


class Likeness:
    """Real anomalies of one type, and how near generated ones are to them.

    Args:
        numbers: of the real anomalies.
        looks: theirs, at least one.
    """

    def __init__(self, numbers: Sequence[int], looks: Sequence[Look]) -> None:
        self.numbers = list(numbers)
        self._views = np.stack([view.ravel() for real in looks for view in _views(real)])
        apart = [np.delete(self._distances(real), i).min() for i, real in enumerate(looks)] if len(looks) > 1 else []
        self.threshold = float(min(apart)) if apart else None
        """The smallest distance of two real anomalies; None for a single one."""

    def nearest(self, found: Look) -> Nearest:
        """The real anomaly with the smallest distance."""
        distances = self._distances(found)
        i = int(distances.argmin())
        distance = float(distances[i])
        return Nearest(self.numbers[i], 1 - distance, self.threshold is not None and distance < self.threshold)

    def _distances(self, found: Look) -> Look:
        apart: Look = np.sqrt(np.square(self._views - found.ravel()).mean(axis=1))
        nearest: Look = apart.reshape(-1, 8).min(axis=1)
        return nearest


def _views(real: Look) -> Iterator[Look]:
    for turns in range(4):
        turned = np.rot90(real, turns)
        yield turned
        yield turned[:, ::-1]
