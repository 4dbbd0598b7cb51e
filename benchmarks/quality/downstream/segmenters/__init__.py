"""Segmentation networks that learn from image-mask pairs; what they reach tells what the pairs are worth.

All share one protocol: images (n, 3, H, W) float32, normalised as `downstream.normalise` does, give a tuple of logits
(n, 2, H, W) at the image's side, channel 1 = anomaly. The first entry is the prediction; auxiliary heads follow it in
training mode only, and `auxiliary_weight` is that of each one's loss. Sides are multiples of 32.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from benchmarks.quality.downstream.segmenters.bisenet import BiSeNetV2
from benchmarks.quality.downstream.segmenters.efficientnet import EfficientUNet
from benchmarks.quality.downstream.segmenters.lfd import LFD
from benchmarks.quality.downstream.segmenters.resnet import load_backbones
from benchmarks.quality.downstream.segmenters.small import SmallUNet
from benchmarks.quality.downstream.segmenters.upernet import UPerNet
from benchmarks.quality.metrics import efficientnet

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "small": SmallUNet,
    "efficientnet": EfficientUNet,
    "bisenet": BiSeNetV2,
    "upernet": UPerNet,
    "lfd": LFD,
}
"""Every network by name."""


def build(name: str, seed: int, weights: Path | None = None) -> nn.Module:
    """Build a network of `NETWORKS`; the encoder of "efficientnet" has ImageNet's weights.

    Args:
        name: its name.
        seed: random weights are drawn from it; the global random state stays as it was.
        weights: a file of the ResNet's weights, for upernet and lfd (`resnet.load_backbones`).

    Raises:
        SettingsError, DataError: as `resnet.load_backbones` and `efficientnet.load`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = NETWORKS[name]()
    if isinstance(network, EfficientUNet):
        efficientnet.load(network.encoder)
    if weights is not None:
        load_backbones(network, weights)
    return network
