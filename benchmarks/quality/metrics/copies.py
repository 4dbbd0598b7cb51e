"""Are generated pairs new, whole, and do their masks fit? Checks that need no trained judge.

Images are (n, H, W, 3) uint8 RGB, masks (n, H, W) bool, true = anomaly. None of these figures is good or bad alone: give
the same functions real pairs that the generator has not seen, and compare.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from benchmarks.quality.downstream.fitting import Images, Masks
from benchmarks.quality.metrics.perceptual import Perceptual, distances
from benchmarks.quality.metrics.segmentation import overlaps
from benchmarks.quality.pairs import LoadedPairs

Floats = npt.NDArray[np.float64]
_DIRECTIONS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
_LENGTHS = (1.0, 1.5)  # of a displacement, in roots of the mask's area
_MOST_OVERLAP = 1 / 3  # intersection over union of a mask and itself displaced; with more, both see the same defect
_HELD = 64  # training images in memory at a time, 32 MiB each in VGG-16 at 256 x 256
_EMPTY, _FULL = ("empty", "too small"), ("too large",)  # verdicts of seas-gen


@dataclass(frozen=True)
class Shares:
    """Of `count` pairs: shares in [0, 1] with an empty mask, a full one, and the same image as an earlier pair.

    Pairs that `seas-gen` refused are among them, too small masks as empty and too large ones as full.
    """

    count: int
    empty: float
    full: float
    duplicate: float


@dataclass(frozen=True)
class Nearest:
    """The nearest training anomaly of each generated pair, arrays of length n.

    Attributes:
        index: Which.
        feature: Perceptual distance of both images, 0 for the same image.
        pixel: Root mean square difference of both images where either mask is true, in [0, 1]; of whole images where
            neither is. A defect that was copied to its old place is near 0, whatever the rest of the image shows.
        mask_iou: Intersection over union of both masks, 1 for the same mask; 0 where both are empty.
    """

    index: npt.NDArray[np.intp]
    feature: Floats
    pixel: Floats
    mask_iou: Floats


@dataclass(frozen=True)
class CopyReport:
    """Of the generated pairs of one defect type; medians over pairs.

    Attributes:
        shares: Empty, full and duplicate pairs.
        feature, pixel, mask_iou: As in `Nearest`.
        training_feature: Perceptual distances of each training anomaly to the nearest other: their median. None
            for a single one.
        near_copies: Share of pairs nearer to a training anomaly than any two training anomalies are to each other, in
            any of their views. None for a single training anomaly.
        area: Share of an image that the mask marks, in [0, 1].
        mask_fit: Mean of `mask_fit` over the pairs that have it; None where none has.
        fitted: How many have it.
    """

    shares: Shares
    feature: float
    pixel: float
    mask_iou: float
    training_feature: float | None
    near_copies: float | None
    area: float
    mask_fit: float | None
    fitted: int


def report(
    perceptual: Perceptual,
    generated: LoadedPairs,
    training: LoadedPairs,
    batch: int = 8,
    *,
    augment: bool = True,
    refused: Mapping[str, int] | None = None,
) -> CopyReport:
    """Check the generated pairs of one defect type against the training anomalies of that type, at least one of both.

    Args:
        perceptual: What sees the images.
        generated: Square pairs.
        training: Square pairs of the same side.
        batch: Images computed at a time.
        augment: Whether a turned or flipped training anomaly is one too, as it is where training turns and flips images.
        refused: Pairs that `seas-gen` refused, by verdict.
    """
    views = symmetric_views(training) if augment else training
    found = nearest(perceptual, generated, views, batch)
    apart = _apart(perceptual, training.images, views.images, batch)
    count = len(training.images)
    apart[np.arange(count)[:, None] == np.arange(len(views.images)) % count] = np.inf
    others = apart.min(axis=1)
    several = count > 1
    fits = [fit for pair in zip(*generated, strict=True) if (fit := mask_fit(*pair)) is not None]
    return CopyReport(
        shares=shares(generated, refused or {}),
        feature=float(np.median(found.feature)),
        pixel=float(np.median(found.pixel)),
        mask_iou=float(np.median(found.mask_iou)),
        training_feature=float(np.median(others)) if several else None,
        near_copies=float(np.mean(found.feature < others.min())) if several else None,
        area=float(np.median(generated.masks.mean(axis=(1, 2)))),
        mask_fit=float(np.mean(fits)) if fits else None,
        fitted=len(fits),
    )


def shares(pairs: LoadedPairs, refused: Mapping[str, int]) -> Shares:
    """Count empty and full masks, and images equal to an earlier one in every pixel, of at least one pair.

    Args:
        pairs: Those that have files.
        refused: The others by verdict.
    """
    images, masks = pairs
    digests = {hashlib.sha256(image.tobytes()).digest() for image in images}
    count = len(images) + sum(refused.values())
    empty, full = (sum(refused.get(verdict, 0) for verdict in verdicts) for verdicts in (_EMPTY, _FULL))
    return Shares(
        count=count,
        empty=(int((~masks.any(axis=(1, 2))).sum()) + empty) / count,
        full=(int(masks.all(axis=(1, 2)).sum()) + full) / count,
        duplicate=(len(images) - len(digests)) / count,
    )


def nearest(perceptual: Perceptual, generated: LoadedPairs, training: LoadedPairs, batch: int = 8) -> Nearest:
    """Find the training anomaly that looks most like each generated pair.

    Where training turns and flips images, give `symmetric_views` of them: index then counts views.
    """
    apart = _apart(perceptual, generated.images, training.images, batch)
    index = apart.argmin(axis=1)
    pixel = np.empty(len(index))
    for i, k in enumerate(index):
        pixel[i] = _difference(generated, i, training, k)
    overlap = overlaps(generated.masks, training.masks[index], both_empty=0.0)
    return Nearest(index, apart.min(axis=1), pixel, overlap)


def symmetric_views(pairs: LoadedPairs) -> LoadedPairs:
    """All 8 quarter-turned and flipped views of square pairs: view v of pair i is number v * n + i."""
    views = []
    for turns in range(4):
        turned = [np.rot90(part, turns, axes=(1, 2)) for part in pairs]
        views += [turned, [part[:, :, ::-1] for part in turned]]
    images, masks = (np.concatenate(part) for part in zip(*views, strict=True))
    return LoadedPairs(images, masks)


def mask_fit(image: Images, mask: Masks) -> float | None:
    """Whether the picture changes where the mask says so, in [0, 1].

    The contrast across the mask's edge (colour, and roughness, of a ring inside against a ring outside) is compared
    with that of the same mask displaced by about its own size in eight directions: the share of these places with less
    contrast. A mask that fits has about 1, one that has nothing to do with the picture about 0.5. Along an outline of
    the product itself the picture changes anyway: a mask there scores high without a defect, so compare with real pairs.

    Args:
        image: (H, W, 3) uint8.
        mask: (H, W).

    Returns:
        None where this cannot be said: the mask is empty, full, or too large to be displaced.
    """
    inner, outer = _rings(mask)
    if not (len(inner) and len(outer)):
        return None
    look = _look(image)
    own = _contrast(look, inner, outer)
    beaten = []
    for shift in _displacements(mask):
        moved = [_inside(ring + shift, mask.shape) for ring in (inner, outer)]
        if all(2 * len(left) >= len(ring) for left, ring in zip(moved, (inner, outer), strict=True)):
            there = _contrast(look, *moved)
            beaten.append(0.5 * (own > there) + 0.5 * (own >= there))
    return float(np.mean(beaten)) if beaten else None


def _apart(perceptual: Perceptual, first: Images, second: Images, batch: int) -> Floats:
    """Perceptual distances (n, m) of n and m images."""
    columns = []
    for k in range(0, len(second), _HELD):
        held = perceptual.layers(second[k : k + _HELD], batch)
        parts = (perceptual.layers(first[i : i + batch], batch) for i in range(0, len(first), batch))
        columns.append(np.concatenate([distances(part, held).numpy() for part in parts]))
    return np.concatenate(columns, axis=1).astype(np.float64)


def _difference(generated: LoadedPairs, i: int, training: LoadedPairs, k: np.intp) -> float:
    where = generated.masks[i] | training.masks[k]
    if not where.any():
        where = np.ones_like(where)
    difference = generated.images[i][where].astype(np.float64) - training.images[k][where]
    return float(np.sqrt(np.mean(difference**2)) / 255)


def _rings(mask: Masks) -> list[npt.NDArray[np.intp]]:
    """Places (k, 2) of the pixels inside and outside within a 64th of the side, at least 2 pixels, of the edge."""
    width = max(2, min(mask.shape) // 64)
    inner = mask & ~ndimage.binary_erosion(mask, iterations=width, border_value=1)
    outer = ~mask & ndimage.binary_dilation(mask, iterations=width)
    return [np.argwhere(ring) for ring in (inner, outer)]


def _look(image: Images) -> npt.NDArray[np.float32]:
    """(H, W, 4): colour in [0, 1], and the standard deviation of the brightness of 5 x 5 pixels."""
    colour = image.astype(np.float32) / 255
    brightness = colour.mean(axis=2)
    mean, square = (ndimage.uniform_filter(x, 5) for x in (brightness, brightness**2))
    return np.dstack([colour, np.sqrt(np.maximum(square - mean**2, 0))])


def _contrast(look: npt.NDArray[np.float32], inner: npt.NDArray[np.intp], outer: npt.NDArray[np.intp]) -> float:
    means = [look[ring[:, 0], ring[:, 1]].mean(axis=0) for ring in (inner, outer)]
    return float(np.linalg.norm(means[0] - means[1]))


def _displacements(mask: Masks) -> list[npt.NDArray[np.intp]]:
    size = max(float(np.sqrt(np.count_nonzero(mask))), 4.0)
    found = []
    for length in _LENGTHS:
        for direction in _DIRECTIONS:
            steps = length * size / np.linalg.norm(np.array(direction))
            shift = np.rint(steps * np.array(direction)).astype(np.intp)
            moved = _inside(np.argwhere(mask) + shift, mask.shape)
            both = np.count_nonzero(mask[moved[:, 0], moved[:, 1]])
            if both <= _MOST_OVERLAP * (np.count_nonzero(mask) + len(moved) - both):
                found.append(shift)
    return found


def _inside(places: npt.NDArray[np.intp], shape: tuple[int, ...]) -> npt.NDArray[np.intp]:
    return places[((places >= 0) & (places < shape)).all(axis=1)]
