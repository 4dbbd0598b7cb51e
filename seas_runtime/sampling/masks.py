"""From mask probabilities to a mask, and the gate that says whether a pair is worth keeping."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GOOD = "ok"

Mask = NDArray[np.uint8]


@dataclass(frozen=True)
class Gate:
    """Limits on a mask: at least `min_area` pixels, at most the share `max_area` (0 to 1) of the image.

    The masks of the last steps, taken together, must have at least the IoU `agreement` (0 to 1).
    """

    min_area: int
    max_area: float
    agreement: float = 0.0

    def verdict(self, mask: Mask, agreement: float = 1.0) -> str:
        """Say "ok", or why the mask (H, W) of 0 and 255 is refused: "empty", "too small", "too large", "unsure"."""
        pixels = area(mask)
        if pixels == 0:
            return "empty"
        if pixels < self.min_area:
            return "too small"
        if pixels > self.max_area * mask.size:
            return "too large"
        return "unsure" if agreement < self.agreement else GOOD


@dataclass(frozen=True)
class MaskRule:
    """How the masks of a defect type are made and judged.

    Attributes:
        threshold: of the mean probability.
        gate: what is kept.
        smallest: pieces and holes of fewer pixels are cleaned away, see `cleaning.clean`.
    """

    threshold: float
    gate: Gate
    smallest: int = 0


def threshold_mask(probabilities: list[NDArray[np.float32]], threshold: float) -> Mask:
    """Mask (..., H, W) uint8: 255 where the mean of the probabilities (..., H, W) is above `threshold`."""
    mean = np.mean(probabilities, axis=0, dtype=np.float32)
    return np.where(mean > threshold, np.uint8(255), np.uint8(0))


def agreement(masks: NDArray[np.uint8]) -> float:
    """IoU of masks (s, H, W) of 0 and 255 all together: what all of them mark over what any of them marks; 1 if none does."""
    some = np.count_nonzero(masks.any(axis=0))
    return float(np.count_nonzero(masks.all(axis=0)) / some) if some else 1.0


def area(mask: Mask) -> int:
    """Number of anomalous pixels of a mask (H, W) of 0 and 255."""
    return int(np.count_nonzero(mask))


def bounding_box(mask: Mask) -> list[int]:
    """[x, y, width, height] in pixels of all anomalous pixels of a mask (H, W) that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    return [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1]
