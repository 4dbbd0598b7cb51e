"""LFD-RoadSeg (Zhou et al. 2024, "Exploiting Low-level Representations for Ultra-Fast Pipeline Segmentation")."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it
from transformers import ResNetBackbone

from benchmarks.quality.downstream.segmenters import resnet

WIDTH = 128


def _pointwise(inputs: int, *after: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, WIDTH, 1), nn.BatchNorm2d(WIDTH), nn.ReLU(inplace=True), *after)


class Aggregation(nn.Module):
    """A depthwise 1x5 and a depthwise 5x1 convolution, mixed by a 1x1 one and added to what came in."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        along = nn.Conv2d(WIDTH, WIDTH, (1, 5), padding=(0, 2 * dilation), dilation=(1, dilation), groups=WIDTH)
        across = nn.Conv2d(WIDTH, WIDTH, (5, 1), padding=(2, 0), groups=WIDTH)
        self.layers = nn.Sequential(along, across, _pointwise(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, 128, h, w) to the same shape."""
        return x + self.layers(x)


class LFD(nn.Module):
    """936,067 parameters, the 936 k of its paper; weights are random unless a file is loaded (`resnet.load_backbones`).

    Two branches: the first stage of a ResNet-18 sees the image (detail), its first two stages see the image at half
    its height and a quarter of its width (context: a fast, wide view). Fusion lets the context decide which details
    pass. The paper's text leaves widths open; they follow the authors' code, to which SeaS refers.
    """

    auxiliary_weight = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.detail = ResNetBackbone(resnet.config("basic", (64,), (2,)))
        self.widen = _pointwise(64)
        self.context = ResNetBackbone(resnet.config("basic", (64, WIDTH), (2, 2)))
        self.aggregate = nn.Sequential(Aggregation(dilation=2), Aggregation(dilation=1))
        self.select = _pointwise(2 * WIDTH, nn.Conv2d(WIDTH, 1, 1), nn.Sigmoid())
        self.head = _pointwise(WIDTH, nn.Conv2d(WIDTH, 2, 1))

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Images (n, 3, H, W), sides multiples of 32 -> logits (n, 2, H, W)."""
        height, width = images.shape[-2:]
        details = self.widen(self.detail(images).feature_maps[-1])
        small = _bilinear(images, (height // 2, width // 4))
        context = self.aggregate(self.context(small).feature_maps[-1])
        context = _bilinear(context, details.shape[-2:])
        passing = self.select(torch.cat([context, details], dim=1))
        return (_bilinear(self.head(passing * details + context), (height, width)),)


def _bilinear(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
