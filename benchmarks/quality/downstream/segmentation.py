"""A segmentation network trained on image-mask pairs and tested on held-out real images (tab. 2, 3, 9, 10, 19, 31, 32)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from benchmarks.quality.downstream import segmenters
from benchmarks.quality.downstream.fitting import (
    FitSettings,
    Images,
    Maps,
    Masks,
    channels_first,
    device_of,
    normalise,
    optimise,
    predict,
    require_squares,
)
from benchmarks.quality.metrics.segmentation import Scores, score
from seas_runtime.errors import DataError
from seas_train.data.dataset import augment, draw, step_generator


class Source(NamedTuple):
    """Pairs of one origin and the weight with which a batch draws from it, relative to other sources."""

    images: Images
    masks: Masks
    weight: float = 1.0


@dataclass(frozen=True)
class Task:
    """One product: what a network learns from, and the real images it is tested on.

    Attributes:
        sources: Pairs to learn from, mixed by weight.
        normals: (p, s, s, 3) normal images to learn from.
        test_images: (t, s, s, 3) held-out anomalies and normal images; no network has seen them.
        test_masks: (t, s, s) of these, all false for a normal image.
    """

    sources: tuple[Source, ...]
    normals: Images
    test_images: Images
    test_masks: Masks


class SegmenterSettings(FitSettings):
    """How a segmentation network is trained."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "smoke": {"steps": 20, "batch": 8},
        "small": {},
        "paper": {"network": "bisenet", "steps": 40_000, "lr": 5e-4, "dice": 0.0},  # A.7 names the network alone
    }

    network: Literal["small", "efficientnet", "bisenet", "upernet", "lfd"] = Field("small", description="Which network.")
    scope: Literal["unified", "each"] = Field(
        "unified", description="One network for all products together, or one for each (tab. 19)."
    )
    jitter: float = Field(0.1, ge=0, lt=1, description="Brightness, contrast and colour of an image change by up to this share.")
    dice: float = Field(1.0, ge=0, description="Weight of the Dice loss beside the cross-entropy.")
    order: Literal["mixed", "in-turn"] = Field(
        "mixed", description="Sources mixed in every batch by weight, or in turn, each for its share of the steps."
    )
    weights: Path | None = Field(
        None, description="File of the ResNet's weights, for upernet and lfd; without one they are random."
    )


def segment(tasks: Mapping[str, Task], settings: SegmenterSettings, seed: int) -> dict[str, Maps]:
    """Train as the settings' scope says and predict the test images of every product: maps (t, s, s) in [0, 1].

    In a unified network every product is drawn with the same chance, its sources by their weights.

    Raises:
        DataError, SettingsError, TrainError: as `train`.
    """
    if settings.scope == "each":
        networks = {name: train(task.sources, task.normals, settings, seed) for name, task in tasks.items()}
    else:
        sources = [source for task in tasks.values() for source in _balanced(task.sources)]
        shared = train(sources, np.concatenate([task.normals for task in tasks.values()]), settings, seed)
        networks = dict.fromkeys(tasks, shared)
    return {name: predict(networks[name], task.test_images) for name, task in tasks.items()}


def evaluate(tasks: Mapping[str, Task], maps: Mapping[str, Maps]) -> dict[str, Scores]:
    """Scores of each product's maps (t, s, s) on its test images; the paper averages them over products.

    Raises:
        DataError: a product's test images are of one class only; it is named.
    """
    found = {}
    for name, task in tasks.items():
        try:
            found[name] = score(maps[name], task.test_masks)
        except DataError as error:
            raise DataError(f"{name}: {error.message}") from error
    return found


def _balanced(sources: Sequence[Source]) -> list[Source]:
    """The sources with weights that add up to one."""
    total = sum(source.weight for source in sources)
    return [source._replace(weight=source.weight / total) for source in sources]


def train(sources: Sequence[Source], normals: Images, settings: SegmenterSettings, seed: int) -> nn.Module:
    """Train a network of `segmenters.NETWORKS`.

    A batch has round(batch * normal_share) normal images (none where there are none, never all). Every other place draws a
    source by weight, then a pair of it, uniform and with replacement; where the order is "in-turn", of the source whose turn it is.

    Args:
        sources: Pairs to learn from, at least one, all squares of one size; several are mixed by weight.
        normals: (p, s, s, 3) uint8, may be empty.
        settings: What `SegmenterSettings` says.
        seed: Of initial weights, dropout, order and augmentation: the same seed gives the same network on the
            same machine.

    Returns:
        The network in evaluation mode, on the device it was trained on.

    Raises:
        DataError: arrays do not fit one another, or the file of weights does not fit the network.
        SettingsError: weights are given to a network without ResNet, or ImageNet's are not installed.
        TrainError: the loss is not finite.
    """
    device, network = device_of(settings), segmenters.build(settings.network, seed, settings.weights)
    network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    tensors, weights = _tensors(sources, normals), torch.tensor([source.weight for source in sources])

    def loss_of(step: int) -> Tensor:
        now = weights if settings.order == "mixed" else in_turn(weights, step / settings.steps)
        images, masks = _batch(tensors, now, settings, step_generator(seed, step))
        logits = network(images.to(device))
        return segmentation_loss(logits, masks.to(device), settings.dice, network.auxiliary_weight)

    optimise(network, settings, seed, loss_of)
    return network


def in_turn(weights: Tensor, part: float) -> Tensor:
    """Weights (n,) of a step: 1 for the origin whose turn it is when a `part` of the steps, in [0, 1), is done."""
    ends = torch.cumsum(weights / weights.sum(), dim=0)
    turn = int((ends[:-1] <= part + 1e-6).sum())
    return F.one_hot(torch.tensor(turn), len(weights)).float()


def segmentation_loss(logits: Sequence[Tensor], masks: Tensor, dice: float, auxiliary: float) -> Tensor:
    """Cross-entropy plus Dice of the prediction, and of the auxiliary heads with their weight.

    Args:
        logits: (n, 2, H, W) of each head, the prediction first.
        masks: (n, H, W) int64 of 0 and 1.
        dice: weight of the Dice loss.
        auxiliary: weight of each head but the first.
    """
    losses = [F.cross_entropy(x, masks) + dice * dice_loss(x, masks) for x in logits]
    return losses[0] + auxiliary * sum(losses[1:], start=losses[0].new_zeros(()))


def dice_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """One minus the soft Dice coefficient of the anomaly channel over the batch as a whole (Milletari et al. 2016).

    Args:
        logits: (n, 2, H, W).
        masks: (n, H, W) of 0 and 1.
    """
    p = logits.softmax(dim=1)[:, 1]
    return 1 - (2 * (p * masks).sum() + 1) / (p.sum() + masks.sum() + 1)


def jitter(image: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast and colour of an image (3, H, W), 0 to 255, each by a factor in 1 -+ strength."""
    brightness, contrast, colour = (1 + strength * (2 * torch.rand(3, generator=generator) - 1)).tolist()
    grey = image.mean(dim=0)
    level = brightness * contrast
    rest = level * (1 - colour) * grey + brightness * (1 - contrast) * grey.mean()  # the three in one pass over the image
    return image.mul(level * colour).add_(rest).clamp_(0, 255)


def _tensors(sources: Sequence[Source], normals: Images) -> list[tuple[Tensor, Tensor]]:
    """Images (n, 3, H, W) uint8 and masks (n, H, W) bool of every source, then of the normals."""
    blank = np.zeros(normals.shape[:3], dtype=np.bool_)
    found = [*((source.images, source.masks) for source in sources), (normals, blank)]
    if not sources or not all(len(source.images) for source in sources):
        raise DataError("found no pairs to train on, expected at least one of every source; add pairs")
    if not all(source.weight > 0 for source in sources):
        raise DataError("found a source of weight 0 or less, expected more; leave the source out")
    require_squares(*(images for images, _ in found))
    for images, masks in found:
        if images.shape[:3] != masks.shape or images.shape[3:] != (3,) or images.dtype != np.uint8:
            raise DataError(
                f"found images {images.shape} {images.dtype} and masks {masks.shape}, expected "
                "(n, H, W, 3) uint8 and (n, H, W); convert them"
            )
    return [(channels_first(images).contiguous(), torch.from_numpy(np.asarray(masks, bool))) for images, masks in found]


def _batch(
    tensors: list[tuple[Tensor, Tensor]],
    weights: Tensor,
    settings: SegmenterSettings,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Images (batch, 3, H, W), normalised, and masks (batch, H, W) int64."""
    *pairs, normals = tensors
    clean = min(round(settings.batch * settings.normal_share), settings.batch - 1) if len(normals[0]) else 0
    origins = torch.multinomial(weights, settings.batch - clean, replacement=True, generator=generator)
    chosen = [*(pairs[i] for i in origins.tolist()), *[normals] * clean]
    items = []
    for images, masks in chosen:
        (index,) = draw(len(images), 1, generator)
        image, mask = images[index], masks[index]
        if settings.augment:
            image, mask = augment(image, mask, generator)
        items.append((jitter(image.float(), settings.jitter, generator), mask))
    return normalise(torch.stack([image for image, _ in items])), torch.stack([mask for _, mask in items]).long()
