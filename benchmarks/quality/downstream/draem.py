"""The replaced-generator test (tab. 33): a DRAEM-like detector learns from Perlin anomalies, or from generated pairs.

DRAEM (Zavrtanik et al. 2021) repairs an image and compares it with its repair. To learn that it needs each anomaly's image
without the anomaly. A generated pair has none, so both methods get theirs alike (`triplets`): the normal image that is nearest
outside the mask, with the anomaly's pixels pasted in. A Perlin anomaly comes back as it was made; a generated one
loses what the generator changed outside its mask.
"""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from benchmarks.quality.downstream.comparators import perlin
from benchmarks.quality.downstream.comparators.protocol import check_anomalies, check_normals
from benchmarks.quality.downstream.fitting import (
    STD,
    FitSettings,
    Images,
    Masks,
    channels_first,
    device_of,
    normalise,
    optimise,
    predict,
    require_squares,
)
from benchmarks.quality.downstream.segmenters.layers import group_conv
from benchmarks.quality.downstream.segmenters.small import SmallUNet
from benchmarks.quality.metrics.segmentation import Scores, score
from seas_train.data.dataset import augment, draw, step_generator
from seas_train.losses import focal_loss

WIDTHS = (8, 24, 48, 96, 128)
"""Channels of the repairing network at the image's side and at 1/2 to 1/16 of it."""
WINDOW = 11
"""Side of SSIM's windows, pixels."""
RANGE = 1 / float(np.mean(STD))
"""From black to white in normalised images, which SSIM's constants refer to."""


class DraemSettings(FitSettings):
    """How the detector is trained."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "smoke": {"steps": 20, "batch": 4},
        "small": {"steps": 400, "batch": 8, "lr": 1e-3},
        "paper": {"steps": 40_000, "batch": 8, "lr": 1e-3, "normal_share": 0.5},
    }


class Repair(nn.Module):
    """An autoencoder without skips, 0.7 M parameters: an anomaly does not pass its bottleneck."""

    def __init__(self) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(WIDTHS))
        self.stem = group_conv(3, WIDTHS[0])
        self.down = nn.ModuleList(nn.Sequential(group_conv(a, b), group_conv(b, b)) for a, b in pairs)
        self.up = nn.ModuleList(nn.Sequential(group_conv(b, a), group_conv(a, a)) for a, b in reversed(pairs))
        self.head = nn.Conv2d(WIDTHS[0], 3, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, 3, H, W), normalised, sides multiples of 16 -> the same, without anomalies."""
        x = self.stem(images)
        for down in self.down:
            x = down(F.max_pool2d(x, 2))
        for up in self.up:
            x = up(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))
        return self.head(x)


class Draem(nn.Module):
    """A repairing network, and a small U-Net that looks at the image and its repair."""

    def __init__(self) -> None:
        super().__init__()
        self.repair = Repair()
        self.tell = SmallUNet(inputs=6)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, 3, H, W), normalised -> logits (n, 2, H, W), channel 1 = anomaly, and repaired images."""
        repaired = self.repair(images)
        return self.tell(torch.cat([images, repaired], dim=1))[0], repaired


def compare(
    pairs: tuple[Images, Masks],
    normals: Images,
    test: tuple[Images, Masks],
    settings: DraemSettings,
    seed: int,
) -> dict[str, Scores]:
    """Scores of two detectors that differ in their anomalies alone: "perlin", as many as there are pairs, and "generated".

    Args:
        pairs: generated images (n, s, s, 3) uint8 and masks (n, s, s).
        normals: (p, s, s, 3) uint8.
        test: real images, normal ones too, and their masks.
        settings: of both.
        seed: of both.

    Raises:
        DataError: arrays do not fit one another, or the test images are of one class only.
        TrainError: a loss is not finite.
    """
    blends = perlin.make(normals, *pairs, len(pairs[0]), seed)
    scores = {}
    for name, (images, masks) in {"perlin": blends, "generated": pairs}.items():
        detector = train(images, masks, normals, settings, seed)
        scores[name] = score(predict(detector, test[0]), test[1])
    return scores


def train(images: Images, masks: Masks, normals: Images, settings: DraemSettings, seed: int) -> Draem:
    """Train a detector; a batch has round(batch * normal_share) normal images, which are their own repair.

    Args:
        images: (n, s, s, 3) uint8 anomalies, s a multiple of 32.
        masks: (n, s, s) bool of these.
        normals: (p, s, s, 3) uint8.
        settings: what `DraemSettings` says.
        seed: of initial weights, order and augmentation.

    Raises:
        DataError: arrays do not fit one another.
        TrainError: the loss is not finite.
    """
    inputs, targets = (channels_first(x) for x in triplets(images, masks, normals))
    marks, clean = torch.from_numpy(np.asarray(masks, bool)), channels_first(normals)
    device = device_of(settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        detector = Draem().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss_of(step: int) -> Tensor:
        generator = step_generator(seed, step)
        whole = min(round(settings.batch * settings.normal_share), settings.batch - 1)
        items = [(inputs[i], targets[i], marks[i]) for i in draw(len(inputs), settings.batch - whole, generator)]
        items += [(clean[i], clean[i], torch.zeros_like(marks[0])) for i in draw(len(clean), whole, generator)]
        turned = [_turn(*item, settings, generator) for item in items]
        image, target, mask = (torch.stack(part).to(device) for part in zip(*turned, strict=True))
        logits, repaired = detector(normalise(image))
        return repair_loss(repaired, normalise(target)) + focal_loss(logits, mask[:, None])

    optimise(detector, settings, seed, loss_of)
    return detector


def triplets(images: Images, masks: Masks, normals: Images) -> tuple[Images, Images]:
    """Give every anomaly its image without the anomaly.

    Args:
        images: (n, s, s, 3) uint8.
        masks: (n, s, s) bool, none empty.
        normals: (p, s, s, 3) uint8.

    Returns:
        What the detector sees and what it should repair it to, both (n, s, s, 3) uint8: the latter is the normal
        image with the smallest mean difference outside the mask, the former has the anomaly's pixels in it.

    Raises:
        DataError: arrays do not fit one another.
    """
    check_normals(normals)
    check_anomalies(images, masks)
    require_squares(images, normals)
    targets = np.empty_like(images)
    levels = normals.astype(np.int16)
    for target, image, mask in zip(targets, images, masks, strict=True):
        apart = np.abs(levels - image).sum(axis=3)[:, ~mask].sum(axis=1)
        target[:] = normals[np.argmin(apart)]
    return np.where(masks[..., None], images, targets), targets


def repair_loss(repaired: Tensor, target: Tensor) -> Tensor:
    """Mean squared error plus one less the structural similarity (DRAEM, eq. 1 and 2)."""
    return F.mse_loss(repaired, target) + 1 - ssim(repaired, target)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean structural similarity of normalised images (n, 3, H, W), over flat windows (Wang et al. 2004)."""
    sums = torch.cat([a, b, a * a, b * b, a * b])
    rows = F.avg_pool2d(sums, (WINDOW, 1), stride=1)  # one side after the other: 22 additions a window, not 121
    mean_a, mean_b, square_a, square_b, product = F.avg_pool2d(rows, (1, WINDOW), stride=1).chunk(5)
    var_a, var_b, cov = square_a - mean_a**2, square_b - mean_b**2, product - mean_a * mean_b
    c1, c2 = (0.01 * RANGE) ** 2, (0.03 * RANGE) ** 2
    light = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return (light * (2 * cov + c2) / (var_a + var_b + c2)).mean()


def _turn(
    image: Tensor, target: Tensor, mask: Tensor, settings: DraemSettings, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    if not settings.augment:
        return image, target, mask
    both, mask = augment(torch.stack([image, target]), mask, generator)
    return both[0], both[1], mask
