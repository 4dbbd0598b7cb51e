"""ResNets of transformers as backbones, with random weights or those of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import ResNetBackbone, ResNetConfig

from seas_runtime.errors import DataError, SettingsError

CLASSIFIER = "resnet."
"""What a classifier's file puts before the names of its backbone."""


def config(layer: Literal["basic", "bottleneck"], widths: tuple[int, ...], depths: tuple[int, ...]) -> ResNetConfig:
    """A ResNet cut after as many stages as there are widths; every stage is an output."""
    stages = [f"stage{i + 1}" for i in range(len(widths))]
    return ResNetConfig(layer_type=layer, hidden_sizes=list(widths), depths=list(depths), out_features=stages)


def load_backbones(network: nn.Module, path: Path) -> None:
    """Give every ResNet in `network` the weights of a file.

    Args:
        network: changed in place.
        path: safetensors of a transformers ResNet, such as the `model.safetensors` of microsoft/resnet-50 (UPerNet)
            or microsoft/resnet-18 (LFD) on the Hugging Face hub; stages that a network lacks are passed over.

    Raises:
        SettingsError: the network has no ResNet.
        DataError: the file cannot be read, or does not hold these weights.
    """
    backbones = [module for module in network.modules() if isinstance(module, ResNetBackbone)]
    if not backbones:
        raise SettingsError(f"{type(network).__name__} has no ResNet to load {path} into; leave the weights out")
    try:
        found = {name.removeprefix(CLASSIFIER): values for name, values in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: cannot be read ({error}), expected safetensors of a ResNet; check the path") from None
    for backbone in backbones:
        wanted = {name: values.shape for name, values in backbone.state_dict().items() if "num_batches" not in name}
        missing = [name for name, shape in wanted.items() if name not in found or found[name].shape != shape]
        if missing:
            raise DataError(
                f"{path}: holds no {missing[0]} of shape {tuple(wanted[missing[0]])}, expected the weights of "
                f"a {backbone.config.layer_type} ResNet as transformers names them; give another file"
            )
        backbone.load_state_dict({name: found[name] for name in wanted}, strict=False)
