"""No generation: the few real anomalies again and again, with standard augmentation."""

from __future__ import annotations

import cv2
import numpy as np

from benchmarks.quality.downstream.comparators.protocol import (
    Images,
    Masks,
    Pairs,
    check_anomalies,
    collect,
    stream,
)

DEGREES, GROWTH, SHIFT, LIGHT, NOISE = 15.0, 0.15, 0.06, 0.1, 4.0
"""Largest turn, change of size, move (shares of the side), change of contrast and brightness (shares), and spread of the noise
(of 255). Quarter-turns, flips and colour are the training's own, for pairs of every origin."""


def make(normals: Images, anomalies: Images, masks: Masks, count: int, seed: int) -> Pairs:
    """Turn, scale, shift and light real anomalies a little, `count` times; see `protocol.Comparator`.

    Each anomaly comes up in turn. Normal images are not used.
    """
    del normals
    check_anomalies(anomalies, masks)
    chosen = [(stream(seed, index), index % len(anomalies)) for index in range(count)]
    return collect([_vary(anomalies[i], masks[i], rng) for rng, i in chosen], anomalies)


def _vary(image: Images, mask: Masks, rng: np.random.Generator) -> tuple[Images, Masks]:
    """One augmented pair, (H, W, 3) and (H, W); what comes in over an edge repeats its pixels, in image and mask alike."""
    height, width = mask.shape
    angle, factor = rng.uniform(-DEGREES, DEGREES), np.exp(rng.uniform(-GROWTH, GROWTH))
    move = np.asarray(cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, factor), np.float64)
    move[:, 2] += rng.uniform(-SHIFT, SHIFT, 2) * (width, height)
    cover = cv2.warpAffine(mask.astype(np.float32), move, (width, height), borderMode=cv2.BORDER_REPLICATE)
    if cover.max() > 0:  # else the move would lose the anomaly: leave it where it is
        image = np.asarray(cv2.warpAffine(image, move, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)
        mask = cover >= cover.max() / 2
    gain, offset = 1 + rng.uniform(-LIGHT, LIGHT), 127.5 * rng.uniform(-LIGHT, LIGHT)
    noise = rng.normal(0, rng.uniform(0, NOISE), image.shape)
    lit = (image - 127.5) * gain + 127.5 + offset + noise
    return (np.clip(lit, 0, 255) + 0.5).astype(np.uint8), mask
