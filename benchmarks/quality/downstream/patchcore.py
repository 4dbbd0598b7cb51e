"""PatchCore (Roth et al. 2022, arXiv:2106.08265) on EfficientNet-Lite0: what is far from every patch of normal images is anomalous.

Nothing is trained. A patch is what two middle levels of the encoder say of a place and its neighbours; of the patches of all
normal images a coreset is kept, and a test patch's distance to the nearest of them is its score. The paper's encoder is a
WideResNet-50 of twenty times the parameters.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from benchmarks.quality.downstream.fitting import Images, Maps, channels_first, normalise, require_squares
from benchmarks.quality.downstream.segmenters.layers import resize
from benchmarks.quality.metrics.efficientnet import SIDE, Encoder
from seas_train.config import Settings

LEVELS = (2, 3)
"""Of `Encoder.maps`: 40 channels at 1/8 and 112 at 1/16 of the image's side, as the paper's second and third stage."""
AT_ONCE = 2048
"""Patches whose distances to the whole coreset are held at a time."""


class PatchcoreSettings(Settings):
    """How the detector is built."""

    coreset: float = Field(0.1, gt=0, le=1, description="Share of the patches that is kept, as in the paper.")
    most: int = Field(5000, ge=1, description="Most patches that are kept: choosing takes as many passes over all patches.")
    neighbours: int = Field(9, ge=1, description="Kept patches around the nearest one that weigh an image's score.")
    smoothing: float = Field(4.0, ge=0, description="Standard deviation of a map's blur, in pixels of an image of 224 a side.")


class Detected(NamedTuple):
    """Anomaly maps (n, s, s) and scores (n,) of images, float32, higher is more anomalous, no upper bound."""

    maps: Maps
    scores: npt.NDArray[np.float32]


@torch.inference_mode()
def patches(encoder: Encoder, images: Images, batch: int = 16) -> Tensor:
    """Describe every place of images.

    Args:
        encoder: In evaluation mode.
        images: (n, s, s, 3) uint8, s a multiple of 32.
        batch: Images at a time.

    Returns:
        (n, s / 8, s / 8, 152) float32: both levels, each the mean over 3 x 3 places, the coarser one resized to the finer.

    Raises:
        DataError: The images are no such squares.
    """
    require_squares(images)
    found = []
    for i in range(0, len(images), batch):
        maps = encoder.maps(normalise(channels_first(images[i : i + batch])))
        fine, coarse = (F.avg_pool2d(maps[k], 3, stride=1, padding=1, count_include_pad=False) for k in LEVELS)
        found.append(torch.cat([fine, resize(coarse, fine)], dim=1).permute(0, 2, 3, 1).contiguous())
    return torch.cat(found)


def coreset(points: Tensor, count: int, seed: int) -> Tensor:
    """Choose points one by one, each the farthest from all chosen so far (the greedy k-centre of the paper's algorithm 1).

    Args:
        points: (m, d) float.
        count: How many, at most m.
        seed: Of the first one.

    Returns:
        Their numbers (count,) int64 in the order in which they were chosen, none twice.
    """
    squares = points.square().sum(dim=1)
    apart = torch.full_like(squares, torch.inf)
    newest = int(np.random.default_rng(seed).integers(len(points)))
    chosen = [newest]
    while len(chosen) < count:
        to_newest = squares + squares[newest] - points @ (2 * points[newest])
        apart = torch.minimum(apart, to_newest)
        apart[newest] = -torch.inf
        newest = int(apart.argmax())
        chosen.append(newest)
    return torch.tensor(chosen)


def bank(described: Tensor, settings: PatchcoreSettings, seed: int) -> Tensor:
    """The patches (k, d) that stand for those of normal images, (n, h, w, d), at least one."""
    points = described.flatten(0, 2)
    count = min(settings.most, round(settings.coreset * len(points)))
    return points[coreset(points, min(max(count, settings.neighbours + 1), len(points)), seed)]


def detect(known: Tensor, described: Tensor, side: int, settings: PatchcoreSettings) -> Detected:
    """Score test images.

    Args:
        known: (k, d), as `bank` makes it.
        described: (n, h, w, d) of the test images, as `patches` makes them.
        side: Of the images, pixels.
        settings: What `PatchcoreSettings` says.
    """
    number, height, width, depth = described.shape
    distances, nearest = _nearest(known, described.reshape(-1, depth))
    by_image = distances.view(number, height * width)
    farthest = by_image.argmax(dim=1)
    worst = described.view(number, height * width, depth)[torch.arange(number), farthest]
    closest = known[nearest.view(number, height * width)[torch.arange(number), farthest]]
    scores = reweighted(worst, closest, known, settings.neighbours)
    maps = F.interpolate(by_image.view(number, 1, height, width), size=(side, side), mode="bilinear", align_corners=False)
    sigma = settings.smoothing * side / SIDE
    smooth = np.stack([ndimage.gaussian_filter(one, sigma) for one in maps[:, 0].numpy()])
    return Detected(smooth, scores.numpy())


def reweighted(worst: Tensor, closest: Tensor, known: Tensor, neighbours: int) -> Tensor:
    """Scores (n,) of images (eq. 7): the largest distance, less where the nearest known patch is as rare as the test patch.

    Args:
        worst: (n, d), of each image the patch that is farthest from its nearest known one.
        closest: (n, d), that known one.
        known: (k, d).
        neighbours: Of the known one, itself among them, that its weight is relative to.
    """
    distances = (worst - closest).norm(dim=1)
    around = torch.cdist(closest, known).topk(min(neighbours, len(known)), dim=1, largest=False).indices
    to_around = (worst[:, None] - known[around]).norm(dim=2)
    return (1 - (distances - to_around.logsumexp(dim=1)).exp()) * distances


def _nearest(known: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Distance (m,) of points (m, d) to the nearest of (k, d), and its number (m,)."""
    numbers = torch.cat([torch.cdist(part, known).argmin(dim=1) for part in points.split(AT_ONCE)])
    return (points - known[numbers]).norm(dim=1), numbers  # cdist rounds what is near; this does not
