"""What every comparator takes and gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from seas_runtime.errors import DataError

Images = npt.NDArray[np.uint8]
Masks = npt.NDArray[np.bool_]
Pairs = tuple[Images, Masks]
Paste = Callable[[Images, Images, Masks, np.random.Generator], Pairs]
"""From a normal image (H, W, 3), an anomaly image, its mask (H, W) and what draws: the pair, of such shapes."""


class Comparator(Protocol):
    """Makes image-mask pairs from the same data that a generator is trained on.

    Pair i depends on the data, the seed and i alone: a larger count extends a smaller one.
    """

    def __call__(self, normals: Images, anomalies: Images, masks: Masks, count: int, seed: int) -> Pairs:
        """Make pairs.

        Args:
            normals: (p, H, W, 3) uint8.
            anomalies: (k, H, W, 3) uint8, the few real ones, which a comparator may leave unused.
            masks: (k, H, W) bool of these, none empty.
            count: n, how many to make.
            seed: 0 or more.

        Returns:
            images (n, H, W, 3) uint8 and masks (n, H, W) bool, none empty.

        Raises:
            DataError: arrays do not fit one another, or what this comparator needs is missing.
        """


def check_normals(normals: Images) -> None:
    """Refuse an array that holds no images.

    Raises:
        DataError: it is empty, or not (p, H, W, 3) uint8.
    """
    if not len(normals) or normals.shape[3:] != (3,) or normals.dtype != np.uint8:
        raise DataError(
            f"found normal images {normals.shape} {normals.dtype}, expected (p, H, W, 3) uint8 with p of 1 or more; "
            "add normal images or convert them"
        )


def check_anomalies(anomalies: Images, masks: Masks) -> None:
    """Refuse arrays that hold no pairs, or pairs without an anomaly.

    Args:
        anomalies: (k, H, W, 3) uint8.
        masks: (k, H, W) bool.

    Raises:
        DataError: there are none, shapes differ, or a mask is empty.
    """
    fits = anomalies.shape[:3] == masks.shape and anomalies.shape[3:] == (3,) and anomalies.dtype == np.uint8
    if not len(anomalies) or not fits:
        raise DataError(
            f"found anomaly images {anomalies.shape} {anomalies.dtype} and masks {masks.shape}, expected "
            "(k, H, W, 3) uint8 and (k, H, W) with k of 1 or more; add anomalies or convert them"
        )
    empty = np.flatnonzero(~masks.any(axis=(1, 2)))
    if len(empty):
        raise DataError(f"the mask of anomaly {empty[0]} is empty, expected a marked pixel; remove the pair")


def check(normals: Images, anomalies: Images, masks: Masks) -> None:
    """Refuse what `check_normals` or `check_anomalies` refuses, and other sides of the one than of the other.

    Raises:
        DataError: arrays are empty or do not fit one another.
    """
    check_normals(normals)
    check_anomalies(anomalies, masks)
    if normals.shape[1:] != anomalies.shape[1:]:
        raise DataError(f"found sides {normals.shape[1:3]} and {anomalies.shape[1:3]}, expected one; resize them")


def pasted(normals: Images, anomalies: Images, masks: Masks, count: int, seed: int, paste: Paste) -> Pairs:
    """One real defect on each of `count` normal images, both drawn at random; arrays as in `Comparator`.

    Args:
        normals: as in `Comparator`, and so the next four.
        anomalies: (k, H, W, 3).
        masks: (k, H, W).
        count: n.
        seed: 0 or more.
        paste: puts a defect on a normal image.

    Raises:
        DataError: as `check`.
    """
    check(normals, anomalies, masks)
    found = []
    for index in range(count):
        rng = stream(seed, index)
        normal, chosen = normals[rng.integers(len(normals))], rng.integers(len(anomalies))
        found.append(paste(normal, anomalies[chosen], masks[chosen], rng))
    return collect(found, normals)


def stream(seed: int, index: int) -> np.random.Generator:
    """The random stream of pair `index`."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))


def collect(found: list[tuple[Images, Masks]], like: Images) -> Pairs:
    """Stack single pairs, (H, W, 3) and (H, W); none of them is an array of length 0 and `like`'s sides."""
    side = like.shape[1:3]
    images = np.array([image for image, _ in found], dtype=np.uint8).reshape(-1, *side, 3)
    return images, np.array([mask for _, mask in found], dtype=np.bool_).reshape(-1, *side)
