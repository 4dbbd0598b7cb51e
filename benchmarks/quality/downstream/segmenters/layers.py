"""Parts that several networks share."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution without bias, then batch norm; the side is kept but for the stride."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


def conv_relu(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution without bias, batch norm, ReLU."""
    return conv(inputs, outputs, kernel, stride, groups).append(nn.ReLU(inplace=True))


def group_conv(inputs: int, outputs: int) -> nn.Sequential:
    """3x3 convolution, group norm over 8 groups, ReLU."""
    layer = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(layer, nn.GroupNorm(8, outputs), nn.ReLU(inplace=True))


def head(inputs: int, width: int, depth: int = 1) -> nn.Sequential:
    """A fully convolutional head: `depth` 3x3 convolutions, dropout, and 2 logits."""
    layers = [conv_relu(inputs if i == 0 else width, width) for i in range(depth)]
    return nn.Sequential(*layers, nn.Dropout2d(0.1), nn.Conv2d(width, 2, 1))


def resize(x: Tensor, like: Tensor) -> Tensor:
    """Maps (n, C, h, w) at the side of `like` (n, D, H, W), bilinear."""
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)
