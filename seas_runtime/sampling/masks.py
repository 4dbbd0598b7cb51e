"""From mask probabilities to a mask, and the gate that says whether a pair is worth keeping."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GOOD = "ok"

Mask = NDArray[np.uint8]


@dataclass(frozen=True)
class Gate:
    """Limits on a mask: at least `min_area` pixels, at most the share `max_area` (0 to 1) of the image."""

    min_area: int
    max_area: float

    def verdict(self, mask: Mask) -> str:
        """Say "ok", or why the mask (H, W) of 0 and 255 is refused: "empty", "too small", "too large"."""
        pixels = area(mask)
        if pixels == 0:
            return "empty"
        if pixels < self.min_area:
            return "too small"
        return "too large" if pixels > self.max_area * mask.size else GOOD


def threshold_mask(probabilities: list[NDArray[np.float32]], threshold: float) -> Mask:
    """Mask (..., H, W) uint8: 255 where the mean of the probabilities (..., H, W) is above `threshold`."""
    mean = np.mean(probabilities, axis=0, dtype=np.float32)
    return np.where(mean > threshold, np.uint8(255), np.uint8(0))


def area(mask: Mask) -> int:
    """Number of anomalous pixels of a mask (H, W) of 0 and 255."""
    return int(np.count_nonzero(mask))


def bounding_box(mask: Mask) -> list[int]:
    """[x, y, width, height] in pixels of all anomalous pixels of a mask (H, W) that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    return [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1]
