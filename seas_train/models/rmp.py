"""Refined Mask Prediction (paper sec. 3.3, fig. 4): U-Net taps and VAE features -> anomaly mask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from diffusers import Transformer2DModel
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it


class RmpConfig(BaseModel):
    """Sizes of the branch; channel counts of taps and features come from the networks it is grafted on.

    The last three fields tell a branch of the published implementation: no fuse convolution; `align_corners`, how the
    mask refinement modules upsample; batch norms whose statistics became constants, "folded" into the convolutions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    up2_channels: int
    up3_channels: int
    feature_channels: tuple[int, int, int]
    up2_width: int = 128
    up3_width: int = 64
    layers: int = 4
    heads: int = 8
    groups: int = 32
    fuse: bool = True
    align_corners: bool = False
    norm: Literal["group", "folded"] = "group"

    @property
    def width(self) -> int:
        """Channels of the coarse feature, 192 in the paper."""
        return self.up2_width + self.up3_width


class ChannelAffine(nn.Module):
    """A scale and a shift per channel: a batch norm with constant statistics that no convolution comes before."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, C, h, w) to the same shape."""
        return x * self.weight + self.bias


def _group_norm(channels: int, config: RmpConfig) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(channels, config.groups), channels)


def _head_norm(config: RmpConfig) -> nn.Module:
    return ChannelAffine(config.width) if config.norm == "folded" else _group_norm(config.width, config)


def _conv(inputs: int, outputs: int, kernel: int, config: RmpConfig) -> nn.Sequential:
    """Convolution, group norm, ReLU; the norm makes a bias superfluous, a folded one is weight and bias."""
    folded = config.norm == "folded"
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=folded)
    return nn.Sequential(conv, *([] if folded else [_group_norm(outputs, config)]), nn.ReLU())


def _double(x: Tensor, align_corners: bool) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=align_corners)


class CoarseFeatures(nn.Module):
    """Taps up-2 and up-3 -> the coarse feature F_hat (n, width, h, w), four transformer layers at the latent side."""

    def __init__(self, config: RmpConfig) -> None:
        super().__init__()
        self.up2 = nn.Conv2d(config.up2_channels, config.up2_width, 1)
        self.up3 = nn.Conv2d(config.up3_channels, config.up3_width, 1)
        self.fuse = Transformer2DModel(
            num_attention_heads=config.heads,
            attention_head_dim=config.width // config.heads,
            in_channels=config.width,
            num_layers=config.layers,
            norm_num_groups=math.gcd(config.width, config.groups),
        )

    def forward(self, up2: Tensor, up3: Tensor) -> Tensor:
        """up2 (n, C2, h/2, w/2) and up3 (n, C3, h, w) -> (n, width, h, w)."""
        x = torch.cat([_double(self.up2(up2), align_corners=False), self.up3(up3)], dim=1)
        return self.fuse(x, return_dict=False)[0]


class MaskRefinement(nn.Module):
    """One mask refinement module: d at side r and the VAE feature v at side 2r -> refined d at side 2r."""

    def __init__(self, config: RmpConfig, feature_channels: int) -> None:
        super().__init__()
        width = config.width
        self.align_corners = config.align_corners

        def block() -> nn.Sequential:
            return nn.Sequential(*(_conv(width, width, kernel, config) for kernel in (1, 3, 1)))

        self.first, self.second = block(), block()
        self.local = _conv(width, width, 1, config)
        self.feature = _conv(feature_channels, width, 1, config)
        self.fuse = nn.Conv2d(width, width, 3, padding=1) if config.fuse else nn.Identity()

    def upsample(self, d: Tensor) -> Tensor:
        """Bilinear, (n, width, r, r) -> (n, width, 2r, 2r)."""
        return _double(d, self.align_corners)

    def forward(self, d: Tensor, v: Tensor) -> Tensor:
        """D (n, width, r, r), v (n, C, 2r, 2r) -> (n, width, 2r, 2r)."""
        up = self.upsample(d)
        a = self.first(up)
        b = self.second(a)
        return self.fuse(self.feature(v) * (a + b + self.local(up)) + up)


class RefinedMaskPredictor(nn.Module):
    """The whole branch; `forward` gives the refined anomaly probability, the parts serve its training."""

    def __init__(self, config: RmpConfig) -> None:
        super().__init__()
        self.config = config
        self.coarse = CoarseFeatures(config)
        self.refine = nn.ModuleList(MaskRefinement(config, channels) for channels in config.feature_channels)
        self.fine_norm, self.coarse_norm = _head_norm(config), _head_norm(config)
        self.head = nn.Conv2d(config.width, 2, 3, padding=1)

    def refined_logits(self, coarse: Tensor, features: Sequence[Tensor]) -> Tensor:
        """F_hat (n, width, h, w) and three VAE features -> logits (n, 2, 8h, 8w)."""
        x = coarse
        for module, feature in zip(self.refine, features, strict=True):
            x = module(x, feature)
        return self.head(F.relu(self.fine_norm(x)))

    def coarse_logits(self, coarse: Tensor) -> Tensor:
        """The same convolution on the coarse feature, at whatever side it has: (n, 2, r, r)."""
        return self.head(F.relu(self.coarse_norm(coarse)))

    def forward(self, up2: Tensor, up3: Tensor, *features: Tensor) -> Tensor:
        """Taps and VAE features -> anomaly probability (n, 1, 8h, 8w) in [0, 1]."""
        logits = self.refined_logits(self.coarse(up2, up3), features)
        return logits.softmax(dim=1)[:, 1:]
