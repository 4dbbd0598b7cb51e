"""A small U-Net that two CPU cores train in minutes at 128 x 128 pixels."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from benchmarks.quality.downstream.segmenters.layers import group_conv

WIDTHS = (8, 24, 48, 64, 96)
"""Channels at the image's side and at 1/2, 1/4, 1/8 and 1/16 of it: few where pixels are many."""


class SmallUNet(nn.Module):
    """U-Net (Ronneberger et al. 2015) of 0.40 M parameters, with group norms: any batch size trains alike."""

    auxiliary_weight = 0.0

    def __init__(self, inputs: int = 3) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(WIDTHS))
        self.stem = group_conv(inputs, WIDTHS[0])
        self.down = nn.ModuleList(nn.Sequential(group_conv(a, b), group_conv(b, b)) for a, b in pairs)
        self.up = nn.ModuleList(group_conv(a + b, a) for a, b in reversed(pairs))
        self.head = nn.Conv2d(WIDTHS[0], 2, 1)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Images (n, inputs, H, W), sides multiples of 16 -> logits (n, 2, H, W)."""
        x = self.stem(images)
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(F.max_pool2d(x, 2))
        for up in self.up:
            large = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = up(torch.cat([skips.pop(), large], dim=1))
        return (self.head(x),)
