"""Perceptual distance of images: LPIPS (Zhang et al. 2018, arXiv:1801.03924, eq. 1), on VGG-16 or any other network.

An image becomes `Layers`: of each layer of the network the feature vectors at all places, scaled to unit length, their
channels weighted by the square roots of the layer's head. The distance of two images is the sum over layers of the
mean over places of the squared difference of these vectors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from benchmarks.quality.downstream.fitting import Images, channels_first
from seas_runtime.errors import DataError

Layers = list[Tensor]
"""Of each layer (n, c * h * w) float32, divided by the root of h * w: 32 MiB an image in VGG-16 at 256 x 256."""

_VGG_16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of images in [-1, 1], as LPIPS has them
_TINY = 1e-10


class Perceptual:
    """Images -> `Layers`.

    Attributes:
        network: (n, 3, H, W) uint8 -> the maps (n, c, h, w) of its layers.
        heads: The weights (c,) of each layer's channels, none below 0.
    """

    def __init__(self, network: Callable[[Tensor], list[Tensor]], heads: Sequence[Tensor]) -> None:
        self.network = network
        self.heads = tuple(heads)

    @torch.inference_mode()
    def layers(self, images: Images, batch: int = 8) -> Layers:
        """Embed images (n, H, W, 3) uint8 RGB."""
        parts = [self._embed(images[i : i + batch]) for i in range(0, len(images), batch)]
        return [torch.cat(layer) for layer in zip(*parts, strict=True)]

    def _embed(self, images: Images) -> Layers:
        maps = self.network(channels_first(images))
        return [weighted(x, head) for x, head in zip(maps, self.heads, strict=True)]


def unweighted(maps: Sequence[Tensor]) -> Layers:
    """Embed images by their feature maps (n, c, h, w), all channels alike: LPIPS without learned weights, 0 to 4 a layer."""
    return [weighted(x, x.new_ones(x.shape[1])) for x in maps]


def distances(first: Layers, second: Layers) -> Tensor:
    """Distances (n, m) float32, 0 or more, between n and m embedded images; correct to about 1e-6."""
    total = torch.zeros(len(first[0]), len(second[0]))
    for x, y in zip(first, second, strict=True):
        total += x.square().sum(dim=1)[:, None] + y.square().sum(dim=1) - 2 * x @ y.T
    return total.clamp_min(0)


def select(layers: Layers, indices: Iterable[int]) -> Layers:
    """Those of the embedded images that `indices` name."""
    return [layer[list(indices)] for layer in layers]


class Vgg16(nn.Module):
    """The convolutions of VGG-16 (Simonyan & Zisserman 2015), (n, 3, H, W) uint8 -> the last map before each pooling.

    Modules are called as in the published weights: features.0 to features.28.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for widths in _VGG_16:
            for width in widths:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers[:-1])
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Maps (n, c, h, w) of 64, 128, 256, 512 and 512 channels, each half the side of the one before."""
        x = images.float() / 127.5 - 1
        x = (x - x.new_tensor(_SHIFT)[:, None, None]) / x.new_tensor(_SCALE)[:, None, None]
        maps = []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                maps.append(x)
            x = layer(x)
        return [*maps, x]


def lpips_heads(state: Mapping[str, Tensor]) -> list[Tensor]:
    """Heads from the published file, whose entries are lin0.model.1.weight (1, c, 1, 1) to lin4.

    Raises:
        DataError: The file holds something else.
    """
    heads = [state[f"lin{i}.model.1.weight"].flatten() for i in range(len(_VGG_16)) if f"lin{i}.model.1.weight" in state]
    if [len(head) for head in heads] != [widths[-1] for widths in _VGG_16]:
        raise DataError(f"found {len(heads)} heads of LPIPS, expected those of VGG-16 (vgg.pth, version 0.1)")
    return heads


def weighted(x: Tensor, head: Tensor) -> Tensor:
    """A layer of `Layers` from its maps (n, c, h, w) and its head (c,)."""
    unit = x / (x.square().sum(dim=1, keepdim=True).sqrt() + _TINY)
    return (unit * head.sqrt()[:, None, None]).flatten(1) / math.sqrt(x.shape[2] * x.shape[3])
