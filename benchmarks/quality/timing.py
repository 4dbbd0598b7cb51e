"""How fast this machine trains, from a few steps of random networks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.quality.downstream import segmenters
from benchmarks.quality.downstream.comparators import COMPARATORS
from benchmarks.quality.downstream.segmentation import SegmenterSettings, segmentation_loss
from benchmarks.quality.report import CURVE, OURS, PASTED, PLACED
from seas_train.base import vae
from seas_train.base.settings import BaseSettings
from seas_train.config import resolve
from seas_train.models import components

MORE = len(COMPARATORS) + len(PASTED) + 2 * len((OURS, PLACED))
"""Segmenters of each seed in the largest number of pairs: comparators and our kinds of pairs, some beside the few real ones too."""
TRAININGS = MORE + len(CURVE) * len((OURS, PLACED))
"""The same of the first network, which learns from smaller numbers of our pairs too."""


@dataclass(frozen=True)
class Speed:
    """Seconds of a training step on this machine: of the autoencoder, the U-Net, and each segmenter by its name."""

    vae: float
    unet: float
    segmenters: Mapping[str, float]

    def segmenting(self, seeds: int) -> float:
        """Seconds of a step of every segmenter that is trained."""
        first, *others = self.segmenters.values()
        return seeds * (TRAININGS * first + MORE * sum(others))


def measure(side: int, networks: Sequence[str]) -> Speed:
    """Time a few steps of random networks of the demo geometry and of the named segmenters."""
    settings = resolve(BaseSettings, "demo", None, {})
    model = components.build(components.GEOMETRIES["demo"], ["a part"])
    generator = torch.Generator().manual_seed(0)
    crops = torch.rand(settings.vae_batch, 3, settings.vae_crop, settings.vae_crop, generator=generator) * 2 - 1
    noise = torch.randn(settings.vae_batch, model.latent_shape[0], *[settings.vae_crop // 8] * 2, generator=generator)
    latents = torch.randn(settings.batch, *model.latent_shape, generator=generator)
    prompt = torch.zeros(settings.batch, 24, model.text_encoder.config.hidden_size)
    times = torch.full((settings.batch,), 500)
    return Speed(
        _seconds(lambda: vae.losses(model.vae, crops, torch.zeros_like(crops[:, :1]), noise, settings)["loss"]),
        _seconds(lambda: model.unet(latents, times, prompt).sample.square().mean()),
        of_segmenters(side, networks),
    )


def of_segmenters(side: int, networks: Sequence[str]) -> dict[str, float]:
    """Seconds of a step of each of these segmenters at a side."""
    return {name: _of_segmenter(name, side) for name in networks}


def _of_segmenter(name: str, side: int) -> float:
    generator = torch.Generator().manual_seed(0)
    settings = SegmenterSettings()
    network = segmenters.build(name, 0).train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.rand(settings.batch, 3, side, side, generator=generator).contiguous(memory_format=torch.channels_last)
    masks = torch.zeros(settings.batch, side, side, dtype=torch.int64)
    return _seconds(lambda: segmentation_loss(network(images), masks, settings.dice, network.auxiliary_weight))


def _seconds(loss: Callable[[], Tensor], steps: int = 4) -> float:
    """Median of a few steps forward and backward; the first is not counted."""
    taken = []
    for _ in range(steps + 1):
        began = time.perf_counter()
        loss().backward()
        taken.append(time.perf_counter() - began)
    return float(np.median(taken[1:]))
