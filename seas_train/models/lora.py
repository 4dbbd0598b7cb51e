"""Low-rank adapters: those of the U-Net's attention that `tune` may learn (peft), and files of them added to a base.

Both are merged into the weights: what a run holds are stock networks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders import StableDiffusionLoraLoaderMixin
from safetensors import SafetensorError
from torch import Tensor, nn

from seas_runtime.errors import DataError, SettingsError
from seas_runtime.versions import extra
from seas_train.models import weights

PROJECTIONS = ["to_q", "to_k", "to_v", "to_out.0"]


def require() -> Any:
    """The class `peft.LoraConfig`.

    Raises:
        SettingsError: peft is not installed.
    """
    try:
        from peft import LoraConfig  # noqa: PLC0415 - optional
    except ImportError as error:
        raise SettingsError(f"unet lora needs peft, which is not installed; run {extra('lora')}") from error
    return LoraConfig


def attach(unet: UNet2DConditionModel, rank: int, seed: int) -> None:
    """Put adapters on every attention projection; they alone learn and change nothing yet.

    Raises:
        SettingsError: peft is not installed.
    """
    config = require()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet.add_adapter(config(r=rank, lora_alpha=rank, target_modules=PROJECTIONS))


def merge(unet: UNet2DConditionModel) -> None:
    """Add the adapters to the weights and take them off: a stock U-Net again."""
    unet.fuse_lora()
    unet.unload_lora()


ABOUT = "lora_adapter_metadata"
ODD = ("alpha_pattern", "rank_pattern", "use_dora", "use_rslora")
EVERY_LAYER = ""
Place = tuple[str, str]
"""A network's name and that of a layer in it."""
_HALVES = re.compile(
    r"(?:(?P<net>unet|text_encoder)\.)?(?P<module>.+?)"
    r"(?:(?:\.processor)?\.(?P<projection>to_[a-z]+)_lora|\.lora(?:_linear_layer)?)?"
    r"(?:\.(?P<half>up|down)|\.lora_(?P<letter>[AB])(?:\.default)?)\.weight"
)
"""Names of a LoRA's tensors, as diffusers and peft have written them over the years."""


def add(networks: Mapping[str, nn.Module], file: Path, weight: float) -> int:
    """Add a file of LoRA weights to U-Net and text encoder: W + weight * alpha / rank * up @ down; returns how many layers changed.

    Names as other trainers write them are turned into diffusers' by its own conversion.

    Args:
        networks: "unet" and "text_encoder".
        file: safetensors or a pickle without code.
        weight: 1 as it was trained.

    Raises:
        DataError: the file cannot be read, is no plain LoRA, or was made for other networks; nothing is changed then.
    """
    require_file(file)
    try:
        state, alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(
            str(file.parent), weight_name=file.name, local_files_only=True, unet_config=networks["unet"].config
        )
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError, IndexError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"{file}: cannot be read as a LoRA ({reason}); give one for Stable Diffusion") from error
    known = {**_stated(file), **_alphas({**state, **(alphas or {})})}
    changes = [_change(networks, file, name, halves, known) for name, halves in _halves(file, state).items()]
    with torch.no_grad():
        for layer, change in changes:
            layer.add_(change.view_as(layer), alpha=weight)
    return len(changes)


def require_file(file: Path) -> None:
    """Refuse a file that is missing or not whole, before hours of loading.

    Raises:
        DataError: it is.
    """
    if not file.is_file():
        raise DataError(f"{file}: no such LoRA file; give --lora FILE or --lora FILE:WEIGHT")
    if wrong := weights.fault(file):
        raise DataError(f"{file}: {wrong}")


def _halves(file: Path, state: Mapping[str, Tensor]) -> dict[Place, dict[str, Tensor]]:
    """Both halves by network and layer."""
    found: dict[Place, dict[str, Tensor]] = {}
    for name, value in state.items():
        match = _HALVES.fullmatch(name)
        if match is None:
            if name.endswith(".alpha"):
                continue
            raise DataError(f"{file}: found the tensor {name}, expected pairs of a plain LoRA; give one without DoRA, LoHa or LoKr")
        half = match["half"] or {"A": "down", "B": "up"}[match["letter"]]
        found.setdefault(_place(match), {})[half] = value.float()
    if not found:
        raise DataError(f"{file}: found no LoRA in it; give one for Stable Diffusion")
    return found


def _place(match: re.Match[str]) -> Place:
    """Network and layer that a tensor's name speaks of; a text encoder's projections may be called by the U-Net's names."""
    network, projection = match["net"] or "unet", match["projection"]
    if projection is not None and network == "text_encoder":
        projection = projection.removeprefix("to_") + "_proj"
    return network, match["module"] + (f".{projection}" if projection else "")


def _change(
    networks: Mapping[str, nn.Module],
    file: Path,
    name: Place,
    halves: Mapping[str, Tensor],
    alphas: Mapping[Place, float],
) -> tuple[Tensor, Tensor]:
    """A layer's weight, and what is added to it."""
    network, module = name
    modules = dict(networks[network].named_modules())
    short = module.removeprefix("text_model.")  # the text encoder's names, before and since transformers 5.6
    layer = next((modules[known] for known in (module, short, f"text_model.{short}") if known in modules), None)
    if module.endswith(".to_out"):
        layer = modules.get(f"{module}.0", layer)
    if halves.keys() != {"up", "down"}:
        raise DataError(f"{file}: found one half of {network}.{module}, expected both; copy the file again")
    up, down = halves["up"].flatten(1), halves["down"].flatten(1)
    weight: Tensor | None = getattr(layer, "weight", None)
    if weight is None or up.shape[1] != down.shape[0] or (up.shape[0], down.shape[1]) != weight.flatten(1).shape:
        found = "no such layer" if weight is None else f"a layer of {tuple(weight.shape)}"
        raise DataError(
            f"{file}: was made for another model ({network}.{module} of {tuple(up.shape)} x {tuple(down.shape)}, {found} in this "
            "base); give a LoRA for this kind of Stable Diffusion"
        )
    alpha = alphas.get(name, alphas.get((network, EVERY_LAYER), len(down)))
    return weight, alpha / len(down) * (up @ down)


def _stated(file: Path) -> dict[Place, float]:
    """Alphas of whole networks, as diffusers describes what peft trained.

    Raises:
        DataError: layers are scaled in other ways than by one alpha.
    """
    try:
        about = json.loads(weights.metadata(file).get(ABOUT, "{}")) if file.suffix == weights.SAFETENSORS else {}
        told = {str(key): value for key, value in about.items()}
        if odd := [key for key, value in told.items() if value and key.rpartition(".")[2] in ODD]:
            raise DataError(f"{file}: found {odd[0]}, expected a plain LoRA of one alpha; give one trained without it")
        return {(k.partition(".")[0], EVERY_LAYER): float(v) for k, v in told.items() if k.endswith(".lora_alpha")}
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{file}: its {ABOUT} cannot be read ({error}); give another LoRA") from error


def _alphas(found: Mapping[str, Any]) -> dict[Place, float]:
    """Alphas by network and layer; of their names diffusers takes those of either half, or of the layer."""
    named = {}
    for key, value in found.items():
        if not key.endswith(".alpha"):
            continue
        name = key.removesuffix(".alpha")
        match = _HALVES.fullmatch(name) or _HALVES.fullmatch(f"{name}.lora.down.weight")
        if match is not None:
            named[_place(match)] = float(value)
    return named
