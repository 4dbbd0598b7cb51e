"""Inception v3 as Inception Score and FID know it: the network of 2015-12-05, with 1008 classes.

It differs from today's in three things, kept here: average pooling leaves padding out of its mean, the last block
pools by maximum, and images are resized as TensorFlow 1 did. Modules are called as in the published weights.
Source: Szegedy et al. 2016 (arXiv:1512.00567), and the weights that torch-fidelity and pytorch-fid publish.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

SIDE, CLASSES, FEATURES = 299, 1008, 2048
Pool = Literal["average", "maximum", "halve"]


class Activations(NamedTuple):
    """Logits (n, classes) and features (n, d) of images, both float32."""

    logits: Tensor
    features: Tensor


@dataclass(frozen=True)
class _Conv:
    """One convolution: its name, output channels, kernel (rows, columns). A stride of 2 goes without padding."""

    name: str
    out: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1


_Chain = tuple[_Conv, ...]
_ROW, _COLUMN = (1, 7), (7, 1)


class Inception(nn.Module):
    """(n, 3, H, W) uint8 -> `Activations`; logits are without the last layer's bias ("unbiased"), as the score has it."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Block(3, _Conv("", 32, (3, 3), 2))
        self.Conv2d_2a_3x3 = _Block(32, _Conv("", 32, (3, 3)), padded=False)
        self.Conv2d_2b_3x3 = _Block(32, _Conv("", 64, (3, 3)))
        self.Conv2d_3b_1x1 = _Block(64, _Conv("", 80))
        self.Conv2d_4a_3x3 = _Block(80, _Conv("", 192, (3, 3)), padded=False)
        for name, (channels, chains, pool, pooled) in _cells().items():
            self.add_module(name, _Cell(channels, chains, pool, pooled))
        self.fc = nn.Linear(FEATURES, CLASSES)
        self.eval().requires_grad_(False)

    @torch.inference_mode()
    def forward(self, images: Tensor) -> Activations:
        """Classify images (n, 3, H, W) of any size."""
        x = (resize_as_tensorflow_1(images.float(), SIDE) - 128) / 128
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = F.max_pool2d(x, 3, 2)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = F.max_pool2d(x, 3, 2)
        for name in _cells():
            x = self.get_submodule(name)(x)
        features = x.mean(dim=(2, 3))
        return Activations(features @ self.fc.weight.T, features)


def resize_as_tensorflow_1(images: Tensor, side: int) -> Tensor:
    """Bilinear (n, 3, H, W) -> (n, 3, side, side) where output i samples input i * H / side, corners not aligned."""
    rows, columns = (_taps(length, side).to(images) for length in images.shape[2:])
    return rows @ images @ columns.T


def _taps(length: int, side: int) -> Tensor:
    """Weights (side, length) of a line's pixels."""
    at = torch.arange(side, dtype=torch.float32) * (length / side)
    low = at.long()
    weights = torch.zeros(side, length)
    lines = torch.arange(side)
    weights[lines, low] = 1 - (at - low)
    weights[lines, (low + 1).clamp_max(length - 1)] += at - low
    return weights


class _Block(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, channels: int, conv: _Conv, *, padded: bool = True) -> None:
        super().__init__()
        padding = (conv.kernel[0] // 2, conv.kernel[1] // 2) if padded and conv.stride == 1 else 0
        self.conv = nn.Conv2d(channels, conv.out, conv.kernel, conv.stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(conv.out, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        activated: Tensor = F.relu(self.bn(self.conv(x)))
        return activated


class _Cell(nn.Module):
    """Chains of convolutions side by side and a pooled branch, concatenated.

    Convolutions of a chain whose names end in "a" and "b" both read what comes before them, and their outputs are
    concatenated. `pool` "halve" is a maximum pooling of stride 2 without a convolution.
    """

    def __init__(self, channels: int, chains: tuple[_Chain, ...], pool: Pool, pooled: int) -> None:
        super().__init__()
        self.chains, self.pool = chains, pool
        for chain in chains:
            inputs = channels
            for conv in chain:
                self.add_module(conv.name, _Block(inputs, conv))
                inputs = inputs if conv.name.endswith("a") else conv.out
        if pool != "halve":
            self.branch_pool = _Block(channels, _Conv("branch_pool", pooled))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([*(self._follow(chain, x) for chain in self.chains), self._pooled(x)], dim=1)

    def _follow(self, chain: _Chain, x: Tensor) -> Tensor:
        fork: list[Tensor] = []
        for conv in chain:
            y = self.get_submodule(conv.name)(x)
            if conv.name[-1] in "ab":
                fork.append(y)
            else:
                x = y
        return torch.cat(fork, dim=1) if fork else x

    def _pooled(self, x: Tensor) -> Tensor:
        if self.pool == "halve":
            return F.max_pool2d(x, 3, 2)
        maximum = self.pool == "maximum"
        x = F.max_pool2d(x, 3, 1, 1) if maximum else F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        pooled: Tensor = self.branch_pool(x)
        return pooled


def _cells() -> dict[str, tuple[int, tuple[_Chain, ...], Pool, int]]:
    """Every cell by name: input channels, chains, pooling, channels of the pooled branch."""
    return {
        "Mixed_5b": (192, _CHAINS_35, "average", 32),
        "Mixed_5c": (256, _CHAINS_35, "average", 64),
        "Mixed_5d": (288, _CHAINS_35, "average", 64),
        "Mixed_6a": (288, _CHAINS_35_TO_17, "halve", 0),
        "Mixed_6b": (768, _chains_17(128), "average", 192),
        "Mixed_6c": (768, _chains_17(160), "average", 192),
        "Mixed_6d": (768, _chains_17(160), "average", 192),
        "Mixed_6e": (768, _chains_17(192), "average", 192),
        "Mixed_7a": (768, _CHAINS_17_TO_8, "halve", 0),
        "Mixed_7b": (1280, _CHAINS_8, "average", 192),
        "Mixed_7c": (2048, _CHAINS_8, "maximum", 192),
    }


_CHAINS_35: tuple[_Chain, ...] = (
    (_Conv("branch1x1", 64),),
    (_Conv("branch5x5_1", 48), _Conv("branch5x5_2", 64, (5, 5))),
    (
        _Conv("branch3x3dbl_1", 64),
        _Conv("branch3x3dbl_2", 96, (3, 3)),
        _Conv("branch3x3dbl_3", 96, (3, 3)),
    ),
)
_CHAINS_35_TO_17: tuple[_Chain, ...] = (
    (_Conv("branch3x3", 384, (3, 3), 2),),
    (
        _Conv("branch3x3dbl_1", 64),
        _Conv("branch3x3dbl_2", 96, (3, 3)),
        _Conv("branch3x3dbl_3", 96, (3, 3), 2),
    ),
)
_CHAINS_17_TO_8: tuple[_Chain, ...] = (
    (_Conv("branch3x3_1", 192), _Conv("branch3x3_2", 320, (3, 3), 2)),
    (
        _Conv("branch7x7x3_1", 192),
        _Conv("branch7x7x3_2", 192, _ROW),
        _Conv("branch7x7x3_3", 192, _COLUMN),
        _Conv("branch7x7x3_4", 192, (3, 3), 2),
    ),
)
_CHAINS_8: tuple[_Chain, ...] = (
    (_Conv("branch1x1", 320),),
    (
        _Conv("branch3x3_1", 384),
        _Conv("branch3x3_2a", 384, (1, 3)),
        _Conv("branch3x3_2b", 384, (3, 1)),
    ),
    (
        _Conv("branch3x3dbl_1", 448),
        _Conv("branch3x3dbl_2", 384, (3, 3)),
        _Conv("branch3x3dbl_3a", 384, (1, 3)),
        _Conv("branch3x3dbl_3b", 384, (3, 1)),
    ),
)


def _chains_17(narrow: int) -> tuple[_Chain, ...]:
    return (
        (_Conv("branch1x1", 192),),
        (
            _Conv("branch7x7_1", narrow),
            _Conv("branch7x7_2", narrow, _ROW),
            _Conv("branch7x7_3", 192, _COLUMN),
        ),
        (
            _Conv("branch7x7dbl_1", narrow),
            _Conv("branch7x7dbl_2", narrow, _COLUMN),
            _Conv("branch7x7dbl_3", narrow, _ROW),
            _Conv("branch7x7dbl_4", narrow, _COLUMN),
            _Conv("branch7x7dbl_5", 192, _ROW),
        ),
    )
