"""NSA's anomalies (Schlüter et al. 2022): patches of one normal image, blended into another by Poisson editing."""

from __future__ import annotations

import cv2
import numpy as np

from benchmarks.quality.downstream.comparators.protocol import (
    Images,
    Masks,
    Pairs,
    check_normals,
    collect,
    stream,
)
from seas_runtime.errors import DataError

PATCHES = 3
"""Most patches of an image; one more follows with a chance of one half each."""
SIDES = (0.06, 0.5)
"""Range of a patch's sides, shares of the image's; drawn from a gamma distribution, most of them small."""
RESIZE = (0.7, 1.3)
"""Range of the factor by which a patch's content grows."""
GRAIN = 2.0
"""How many times the images' own grain a change must be to be marked. NSA sets a level for each product by hand."""
FAINTEST = 4.0
"""Change of brightness, of 255, that is marked at least."""
SMALLEST = 6
"""Pixels that a mask has at least."""
FRAME = 2
"""Pixels at each edge of a patch that OpenCV leaves as they were."""
TRIES = 200


def make(normals: Images, anomalies: Images, masks: Masks, count: int, seed: int) -> Pairs:
    """Blend patches between normal images into `count` of them; see `protocol.Comparator`. Anomalies are not used.

    The mask is where the image has changed by more than `level` says, smoothed by a median: NSA's logistic label cut at one
    half. Patches that change next to nothing are drawn again.

    Raises:
        DataError: as the protocol says, or normal images so alike that no patch changes anything.
    """
    del anomalies, masks
    check_normals(normals)
    above = level(normals)
    return collect([_pair(normals, above, stream(seed, index)) for index in range(count)], normals)


def level(normals: Images) -> float:
    """Change of brightness above which a pixel is marked: `GRAIN` times the mean difference from a median of 5 x 5 pixels.

    Args:
        normals: (p, H, W, 3) uint8.
    """
    grain = np.mean([np.abs(image - cv2.medianBlur(image, 5).astype(np.float32)).mean() for image in normals])
    return max(FAINTEST, GRAIN * float(grain))


def _pair(normals: Images, above: float, rng: np.random.Generator) -> tuple[Images, Masks]:
    for _ in range(TRIES):
        target = image = normals[rng.integers(len(normals))]
        for _ in range(PATCHES):
            image = clone_patch(image, normals[rng.integers(len(normals))], rng)
            if rng.random() < 0.5:
                break
        mask = changed(target, image, above)
        if mask.sum() >= SMALLEST:
            return image, mask
    raise DataError(
        f"found no patch that changes a normal image by more than {above:.0f} of 255 in {TRIES} tries, expected normal images "
        "with texture; use another comparator"
    )


def clone_patch(target: Images, source: Images, rng: np.random.Generator) -> Images:
    """Blend a random patch of `source` (H, W, 3) into `target` (H, W, 3) at another place; returns the new image."""
    whole = np.array(target.shape[:2])
    low, high = (np.maximum(4, (share * whole).astype(int)) for share in SIDES)
    size = np.clip((whole * rng.gamma(2, 0.06, 2)).astype(int), low, high) + 2 * FRAME
    factor = rng.uniform(*RESIZE)
    cut = np.clip((size / factor).astype(int), 2, whole)
    top, left = rng.integers(0, whole - cut + 1)
    patch = cv2.resize(source[top : top + cut[0], left : left + cut[1]], (int(size[1]), int(size[0])))
    row, column = rng.integers(1, whole - size - 1)
    centre = (int(column + size[1] // 2), int(row + size[0] // 2))
    mode = cv2.MIXED_CLONE if rng.random() < 0.5 else cv2.NORMAL_CLONE
    everything = np.full(patch.shape[:2], 255, np.uint8)
    return np.asarray(cv2.seamlessClone(patch, np.ascontiguousarray(target), everything, centre, mode), dtype=np.uint8)


def changed(before: Images, after: Images, above: float) -> Masks:
    """Where two images (H, W, 3) differ by more than `above`, on average over colours, after a median of 5 x 5 pixels."""
    difference = np.abs(after.astype(np.float32) - before).mean(axis=2)
    return np.asarray(cv2.medianBlur(difference, 5) > above)
