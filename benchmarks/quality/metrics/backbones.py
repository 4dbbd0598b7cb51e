"""The two networks behind the generation metrics, and where their weights come from.

With the published files the results can be compared with the paper's; each file's sha256 is known and checked.
Without them a proxy takes both places, and everything it measures is labelled so: EfficientNet-Lite0 where ImageNet's weights of
it are installed, else a small network of our own.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.quality.metrics import efficientnet, proxy
from benchmarks.quality.metrics.inception import Activations, Inception
from benchmarks.quality.metrics.perceptual import Perceptual, Vgg16, lpips_heads
from benchmarks.quality.weights import Published, read, sha256
from seas_runtime.errors import SettingsError


@dataclass(frozen=True)
class Origin:
    """What computed a result: recorded and shown with it.

    Attributes:
        name: One of `PROXIES`, or the published network.
        sha256: Of each file of weights.
    """

    name: str
    sha256: tuple[str, ...]

    @property
    def comparable(self) -> bool:
        """Whether results may stand beside the paper's."""
        return self.name not in PROXIES


class Backbones(NamedTuple):
    """A classifier, images (n, 3, H, W) uint8 -> `Activations`, and a perceptual distance."""

    classifier: Callable[[Tensor], Activations]
    classifier_origin: Origin
    perceptual: Perceptual
    perceptual_origin: Origin


PROXY, PRETRAINED = "proxy", "proxy by EfficientNet-Lite0"
PROXIES = (PROXY, PRETRAINED)
INCEPTION = Published(
    "weights-inception-2015-12-05-6726825d.pth",
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    "torch-fidelity's release v0.2.0, or pytorch-fid's of the same contents",
)
VGG = Published(
    "vgg16-397923af.pth",
    "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    "torchvision's VGG16_Weights.IMAGENET1K_V1",
)
LPIPS_HEADS = Published(
    "vgg.pth",
    "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    "LPIPS version 0.1, which torchmetrics brings along",
)


def load(inception: Path | None = None, vgg: Path | None = None) -> Backbones:
    """The published networks from their files, or the best proxy that there is where no file is given.

    Args:
        inception: The file `INCEPTION`.
        vgg: The file `VGG`. The heads of LPIPS come with torchmetrics.

    Raises:
        SettingsError: Only one of the files is given.
        DataError: A file is missing, or is another than the published one.
    """
    if inception is None and vgg is None:
        return pretrained_proxy() if efficientnet.installed() else own_proxy()
    if inception is None or vgg is None:
        missing, known = ("Inception", INCEPTION) if inception is None else ("VGG", VGG)
        raise SettingsError(f"no weights of {missing} given, expected {known.name} too; give both files, or none for the proxy")
    network, vgg_16 = Inception(), Vgg16()
    network.load_state_dict(read(inception, INCEPTION))
    convolutions = {name: x for name, x in read(vgg, VGG).items() if name.startswith("features.")}
    vgg_16.load_state_dict(convolutions)
    heads = lpips_heads(read(bundled_heads(), LPIPS_HEADS))
    return Backbones(
        network,
        Origin("Inception v3 of 2015-12-05", (INCEPTION.sha256,)),
        Perceptual(vgg_16, heads),
        Origin("LPIPS 0.1 on VGG-16", (VGG.sha256, LPIPS_HEADS.sha256)),
    )


def bundled_heads() -> Path:
    """The file `LPIPS_HEADS` as torchmetrics brings it along."""
    return Path(str(importlib.resources.files("torchmetrics") / "functional/image/lpips_models" / LPIPS_HEADS.name))


def own_proxy() -> Backbones:
    """The small network of our own."""
    network = proxy.Proxy()
    network.load_state_dict(load_file(proxy.WEIGHTS))
    network.eval().requires_grad_(False)
    origin = Origin(PROXY, (sha256(proxy.WEIGHTS),))
    return Backbones(network, origin, Perceptual(network.maps, _alike(proxy.WIDTHS)), origin)


def pretrained_proxy() -> Backbones:
    """EfficientNet-Lite0, which sees images at 224 x 224: classes and pooled features, and its maps at five sides.

    Raises:
        SettingsError, DataError: as `efficientnet.load`.
    """
    network = efficientnet.Classifier().eval().requires_grad_(False)
    efficientnet.load(network)

    @torch.inference_mode()
    def classify(images: Tensor) -> Activations:
        features = network.features(efficientnet.seen(images))
        return Activations(network.classes(features), features)

    origin = Origin(PRETRAINED, (efficientnet.WEIGHTS.sha256,))
    perceptual = Perceptual(lambda images: network.maps(efficientnet.seen(images)), _alike(efficientnet.WIDTHS))
    return Backbones(classify, origin, perceptual, origin)


def _alike(widths: Sequence[int]) -> list[Tensor]:
    """Heads with which all layers count the same."""
    return [torch.full((width,), 1 / len(widths)) for width in widths]
