"""Crop&Paste (Lin et al. 2021): real defects, moved, turned, scaled and flipped, on normal images."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.quality.downstream.comparators.protocol import Images, Masks, Pairs, pasted

SCALE = (0.7, 1.3)
"""Range of the factor by which a defect grows."""


def make(normals: Images, anomalies: Images, masks: Masks, count: int, seed: int) -> Pairs:
    """Paste one real defect on each of `count` normal images; arrays as in `protocol.Comparator`.

    A defect keeps its pixels. It may land anywhere in the image, also beside the product: where the product ends is not known.
    """
    return pasted(normals, anomalies, masks, count, seed, paste)


def paste(normal: Images, anomaly: Images, mask: Masks, rng: np.random.Generator) -> tuple[Images, Masks]:
    """Move the masked part of `anomaly` (H, W, 3) to a random place of `normal`, wholly inside it; returns the pair."""
    move, size = _placement(mask, rng), mask.shape[::-1]
    alone = np.where(mask[..., None], anomaly, 0).astype(np.float32)
    cover = cv2.warpAffine(mask.astype(np.float32), move, size, flags=cv2.INTER_LINEAR)
    moved = cv2.warpAffine(alone, move, size, flags=cv2.INTER_LINEAR)
    peak = cover.max()  # a defect of one pixel must not vanish between four
    image = (1 - cover / peak)[..., None] * normal + moved / peak
    return (image + 0.5).astype(np.uint8), cover >= peak / 2


def _placement(mask: Masks, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """An affine map (2, 3) of pixel coordinates that keeps the masked pixels inside the image."""
    rows, columns = np.nonzero(mask)
    points = np.stack([columns, rows]).astype(np.float64)
    centre = (points.min(axis=1) + points.max(axis=1)) / 2
    angle, factor = rng.uniform(0, 2 * np.pi), np.exp(rng.uniform(*np.log(SCALE)))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn[:, 0] *= rng.choice([-1, 1])
    moved = turn @ (points - centre[:, None])
    size = np.array(mask.shape[::-1]) - 1.0
    factor = min(factor, *(size / np.maximum(np.ptp(moved, axis=1), 1e-9)))
    low, high = factor * moved.min(axis=1), factor * moved.max(axis=1)
    target = rng.uniform(-low, np.maximum(size - high, -low))
    return np.hstack([factor * turn, (target - factor * turn @ centre)[:, None]])
