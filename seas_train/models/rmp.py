"""Refined Mask Prediction (paper sec. 3.3, fig. 4): U-Net taps and VAE features -> anomaly mask."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from typing import Literal

import torch
from diffusers import Transformer2DModel
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it
from torch.utils.checkpoint import checkpoint


class RmpConfig(BaseModel):
    """Sizes of the branch; channel counts of taps and features come from the networks it is grafted on.

    `fuse`, `align_corners` and `norm` tell a branch of the published implementation: no fuse convolution; how the
    mask refinement modules upsample; batch norms whose statistics became constants, "folded" into the convolutions.

    The last five fields are ablations of the paper: channels of the taps up-1 and up-4, 0 where they are not used
    (tab. 25); where the VAE features come from (tab. 26); the blocks of a mask refinement module (tab. 28); how many of
    these there are (tab. 5).
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
    up1_channels: int = 0
    up4_channels: int = 0
    features: Literal["decoder", "encoder"] = "decoder"
    mrm: Literal["a", "b", "c"] = "c"
    refinement: Literal["progressive", "single", "none"] = "progressive"

    @property
    def width(self) -> int:
        """Channels of the coarse feature, 192 in the paper; up-1 is compressed as up-2, up-4 as up-3."""
        low = self.up2_width * (2 if self.up1_channels else 1)
        return low + self.up3_width * (2 if self.up4_channels else 1)

    @property
    def taps(self) -> tuple[int, ...]:
        """U-Net decoder levels that are read, (2, 3) in the paper."""
        return (1,) * bool(self.up1_channels) + (2, 3) + (4,) * bool(self.up4_channels)


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
        more = ((config.up1_channels, config.up2_width), (config.up4_channels, config.up3_width))
        self.more = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels, width in more if channels)
        self.fuse = Transformer2DModel(
            num_attention_heads=config.heads,
            attention_head_dim=config.width // config.heads,
            in_channels=config.width,
            num_layers=config.layers,
            norm_num_groups=math.gcd(config.width, config.groups),
        )

    def forward(self, up2: Tensor, up3: Tensor, *more: Tensor) -> Tensor:
        """up2 (n, C2, h/2, w/2) and up3 (n, C3, h, w), then up1 and up4 if they are used -> (n, width, h, w)."""
        parts = [_double(self.up2(up2), align_corners=False), self.up3(up3)]
        for conv, tap in zip(self.more, more, strict=True):
            part = conv(tap)
            parts.append(part if part.shape[-2:] == up3.shape[-2:] else _double(_double(part, False), False))
        x = torch.cat(parts, dim=1)
        return self.fuse(x, return_dict=False)[0]


class MaskRefinement(nn.Module):
    """One mask refinement module: d at side r and the VAE feature v at side 2r -> refined d at side 2r.

    Case c of tab. 28; case b has one block, case a none. `scale` is 8 where one module does all (tab. 5, w/o PM). With `recomputes`
    training keeps what leaves each block of convolutions, and computes what is inside again for the gradients.
    """

    recomputes = False

    def __init__(self, config: RmpConfig, feature_channels: int, scale: int = 2) -> None:
        super().__init__()
        width = config.width
        self.align_corners, self.scale = config.align_corners, scale

        def block() -> nn.Sequential:
            return nn.Sequential(*(_conv(width, width, kernel, config) for kernel in (1, 3, 1)))

        if config.mrm != "a":
            self.first = block()
        if config.mrm == "c":
            self.second = block()
        self.blocks = {"a": (), "b": ("first",), "c": ("first", "second")}[config.mrm]
        self.local = _conv(width, width, 1, config)
        self.feature = _conv(feature_channels, width, 1, config)
        self.fuse = nn.Conv2d(width, width, 3, padding=1) if config.fuse else nn.Identity()

    def upsample(self, d: Tensor) -> Tensor:
        """Bilinear, (n, width, r, r) -> (n, width, 2r, 2r)."""
        return F.interpolate(d, scale_factor=self.scale, mode="bilinear", align_corners=self.align_corners)

    def forward(self, d: Tensor, v: Tensor) -> Tensor:
        """D (n, width, r, r), v (n, C, 2r, 2r) -> (n, width, 2r, 2r)."""
        up = self.upsample(d)
        parts, x = [], up
        for name in self.blocks:  # chained: each block takes the one before
            x = self._through(self.get_submodule(name), x)
            parts.append(x)
        total = functools.reduce(operator.add, [*parts, self._through(self.local, up)])
        return self.fuse(self._through(self.feature, v) * total + up)

    def _through(self, block: nn.Module, x: Tensor) -> Tensor:
        found: Tensor = checkpoint(block, x, use_reentrant=False) if self.recomputes and torch.is_grad_enabled() else block(x)
        return found


def _refinement(config: RmpConfig) -> nn.ModuleList:
    """Three modules, one that reads the last feature alone, or none (tab. 5)."""
    channels = config.feature_channels
    if config.refinement == "progressive":
        return nn.ModuleList(MaskRefinement(config, c) for c in channels)
    return nn.ModuleList([MaskRefinement(config, channels[-1], scale=8)] if config.refinement == "single" else [])


class RefinedMaskPredictor(nn.Module):
    """The whole branch; `forward` gives the refined anomaly probability, the parts serve its training."""

    def __init__(self, config: RmpConfig) -> None:
        super().__init__()
        self.config = config
        self.coarse = CoarseFeatures(config)
        self.refine = _refinement(config)
        self.fine_norm, self.coarse_norm = _head_norm(config), _head_norm(config)
        self.head = nn.Conv2d(config.width, 2, 3, padding=1)

    def enable_gradient_checkpointing(self) -> None:
        """Let training keep less of the refinement, which at the image's side is most of its memory, and compute it twice."""
        for module in self.modules():
            if isinstance(module, MaskRefinement):
                module.recomputes = True

    def refined_logits(self, coarse: Tensor, features: Sequence[Tensor]) -> Tensor:
        """F_hat (n, width, h, w) and three VAE features -> logits (n, 2, 8h, 8w)."""
        x = coarse
        for module, feature in zip(self.refine, features[len(features) - len(self.refine) :], strict=True):
            x = module(x, feature)
        logits = self.head(F.relu(self.fine_norm(x)))
        if self.refine:
            return logits
        return F.interpolate(logits, scale_factor=8, mode="bilinear", align_corners=self.config.align_corners)

    def coarse_logits(self, coarse: Tensor) -> Tensor:
        """The same convolution on the coarse feature, at whatever side it has: (n, 2, r, r)."""
        return self.head(F.relu(self.coarse_norm(coarse)))

    def forward(self, up2: Tensor, up3: Tensor, *features: Tensor, more: Sequence[Tensor] = ()) -> Tensor:
        """Taps, `more` of them as `CoarseFeatures` says, and VAE features -> anomaly probability (n, 1, 8h, 8w) in [0, 1]."""
        logits = self.refined_logits(self.coarse(up2, up3, *more), features)
        return logits.softmax(dim=1)[:, 1:]
