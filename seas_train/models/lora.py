"""Low-rank adapters of the U-Net's attention (peft), a lighter way to fine-tune; merged before the run is saved."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import UNet2DConditionModel

from seas_runtime.errors import SettingsError

PROJECTIONS = ["to_q", "to_k", "to_v", "to_out.0"]


def require() -> Any:
    """The class `peft.LoraConfig`.

    Raises:
        SettingsError: peft is not installed.
    """
    try:
        from peft import LoraConfig  # noqa: PLC0415 - optional
    except ImportError as error:
        raise SettingsError('unet lora needs peft, which is not installed; run pip install ".[lora]"') from error
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
