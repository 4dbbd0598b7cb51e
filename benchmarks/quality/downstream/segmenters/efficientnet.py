"""A U-Net on EfficientNet-Lite0: the kind of network that people fine-tune, with an encoder that has seen ImageNet."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from benchmarks.quality.downstream.segmenters.layers import group_conv, resize
from benchmarks.quality.metrics.efficientnet import WIDTHS, Encoder

DECODED = (128, 64, 40, 24, 8)
"""Channels of the decoder at 1/16, 1/8, 1/4, 1/2 of the image's side and at the side itself."""


class EfficientUNet(nn.Module):
    """3.6 M parameters; weights are random until `metrics.efficientnet.load` gives the encoder ImageNet's.

    The encoder learns at a tenth of the decoder's rate, so that a few hundred steps do not undo what it knows. The image
    itself is the first skip: thin defects are narrower than the encoder's first stride.
    """

    auxiliary_weight = 0.0
    rates: ClassVar[dict[str, float]] = {"encoder": 0.1}

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        skips = (*WIDTHS[-2::-1], 3)
        inputs = (WIDTHS[-1], *DECODED[:-1])
        self.up = nn.ModuleList(group_conv(a + b, c) for a, b, c in zip(inputs, skips, DECODED, strict=True))
        self.head = nn.Conv2d(DECODED[-1], 2, 1)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Images (n, 3, H, W), sides multiples of 32 -> logits (n, 2, H, W)."""
        *skips, x = images, *self.encoder.maps(images)
        for up, skip in zip(self.up, reversed(skips), strict=True):
            x = up(torch.cat([resize(x, skip), skip], dim=1))
        return (self.head(x),)
