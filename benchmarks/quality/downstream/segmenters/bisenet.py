"""BiSeNet V2 (Yu et al. 2021): a wide shallow branch for detail, a narrow deep one for meaning, each guiding the other."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from benchmarks.quality.downstream.segmenters.layers import conv, conv_relu, head, resize

DETAIL = (64, 64, 128)
SEMANTIC = (16, 32, 64, 128)
EXPANSION = 6
HEAD = 1024
AUXILIARY = (16, 64, 256, 1024)
"""Widths of the heads on the stages of the semantic branch, two convolutions deep, as in MMSegmentation."""


class Stem(nn.Module):
    """Image -> (n, 16, H/4, W/4): a strided convolution and a pooling side by side (fig. 4a of the paper)."""

    def __init__(self) -> None:
        super().__init__()
        width = SEMANTIC[0]
        self.first = conv_relu(3, width, stride=2)
        self.left = nn.Sequential(conv_relu(width, width // 2, kernel=1), conv_relu(width // 2, width, stride=2))
        self.right = nn.MaxPool2d(3, stride=2, padding=1)
        self.fuse = conv_relu(2 * width, width)

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, 3, H, W) -> (n, 16, H/4, W/4)."""
        x = self.first(images)
        return self.fuse(torch.cat([self.left(x), self.right(x)], dim=1))


class GatherExpand(nn.Module):
    """Gather-and-expansion layer (fig. 5): 3x3, depthwise 3x3 to six times the channels, 1x1 back, and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        wide = EXPANSION * inputs
        layers = [conv_relu(inputs, inputs)]
        if stride == 1:
            layers.append(conv_relu(inputs, wide, groups=inputs))
            self.shortcut: nn.Module = nn.Identity()
        else:
            layers += [conv(inputs, wide, stride=stride, groups=inputs), conv_relu(wide, wide, groups=wide)]
            self.shortcut = nn.Sequential(conv(inputs, inputs, stride=stride, groups=inputs), conv(inputs, outputs, kernel=1))
        self.layers = nn.Sequential(*layers, conv(wide, outputs, kernel=1))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, inputs, h, w) -> (n, outputs, h / stride, w / stride)."""
        return F.relu(self.layers(x) + self.shortcut(x))


class ContextEmbedding(nn.Module):
    """Context embedding block (fig. 4b): the mean over all places is added to each."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mean = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(width), conv_relu(width, width, kernel=1))
        self.last = conv_relu(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, C, h, w) to the same shape."""
        return self.last(x + self.mean(x))


class GuidedAggregation(nn.Module):
    """Bilateral guided aggregation (fig. 6): each branch is gated by the other, at its own side."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.detail_keep = self._separable(width)
        self.detail_down = nn.Sequential(conv(width, width, stride=2), nn.AvgPool2d(3, stride=2, padding=1))
        self.semantic_up = conv(width, width)
        self.semantic_keep = self._separable(width)
        self.fuse = conv_relu(width, width)

    @staticmethod
    def _separable(width: int) -> nn.Sequential:
        return nn.Sequential(conv(width, width, groups=width), nn.Conv2d(width, width, 1, bias=False))

    def forward(self, detail: Tensor, semantic: Tensor) -> Tensor:
        """Detail (n, C, H, W) and semantic (n, C, H/4, W/4) -> (n, C, H, W)."""
        large = self.detail_keep(detail) * resize(self.semantic_up(semantic), detail).sigmoid()
        small = self.detail_down(detail) * self.semantic_keep(semantic).sigmoid()
        return self.fuse(large + resize(small, detail))


class BiSeNetV2(nn.Module):
    """3.341 M parameters without the auxiliary heads, as the paper of SeaS counts them."""

    auxiliary_weight = 1.0

    def __init__(self) -> None:
        super().__init__()
        a, b, c = DETAIL
        self.detail = nn.Sequential(
            *(conv_relu(3, a, stride=2), conv_relu(a, a)),
            *(conv_relu(a, b, stride=2), conv_relu(b, b), conv_relu(b, b)),
            *(conv_relu(b, c, stride=2), conv_relu(c, c), conv_relu(c, c)),
        )
        self.stages = nn.ModuleList([Stem()])
        for inputs, outputs, depth in zip(SEMANTIC[:-1], SEMANTIC[1:], (2, 2, 4), strict=True):
            deeper = [GatherExpand(outputs, outputs, 1) for _ in range(depth - 1)]
            self.stages.append(nn.Sequential(GatherExpand(inputs, outputs, 2), *deeper))
        self.context = ContextEmbedding(SEMANTIC[-1])
        self.aggregate = GuidedAggregation(DETAIL[-1])
        self.head = head(DETAIL[-1], HEAD)
        pairs = zip(SEMANTIC, AUXILIARY, strict=True)
        self.auxiliary = nn.ModuleList(head(inputs, width, depth=2) for inputs, width in pairs)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images (n, 3, H, W), sides multiples of 32 -> logits (n, 2, H, W) of one head, of five in training."""
        x, stages = images, []
        for stage in self.stages:
            x = stage(x)
            stages.append(x)
        logits = [self.head(self.aggregate(self.detail(images), self.context(x)))]
        if self.training:
            logits += [head(stage) for head, stage in zip(self.auxiliary, stages, strict=True)]
        return tuple(resize(x, images) for x in logits)
