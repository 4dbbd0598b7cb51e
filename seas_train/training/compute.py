"""Where and how a training step is computed: device, precision and processes (accelerate), optimiser, latent cache."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import reduce
from diffusers import AutoencoderKL
from torch import Tensor, nn

from seas_runtime.errors import SettingsError
from seas_train.config import FineSettings
from seas_train.models import components


def accelerator(settings: FineSettings) -> Accelerator:
    """The device, precision and processes of a training; under `torchrun` there are several processes.

    Raises:
        SettingsError: fp16 without a GPU.
    """
    on_cpu = settings.device == "cpu" or not torch.cuda.is_available()
    if settings.precision == "fp16" and on_cpu:
        raise SettingsError("precision fp16 needs a GPU and this training runs on the CPU; use bf16 or fp32")
    # accelerate keeps its state for the life of the process and has no public way to begin another training with another
    # precision; the training arguments of transformers reset it so too.
    AcceleratorState._reset_state(reset_partial_state=True)
    precision = "no" if settings.precision == "fp32" else settings.precision
    return Accelerator(cpu=on_cpu, mixed_precision=precision)


def optimizer(groups: list[dict[str, Any]], settings: FineSettings) -> torch.optim.Optimizer:
    """AdamW over parameter groups, with 8-bit state where the settings say so.

    Raises:
        SettingsError: bitsandbytes is not installed.
    """
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
    try:
        from bitsandbytes.optim import AdamW8bit  # noqa: PLC0415 - optional
    except ImportError as error:
        raise SettingsError(
            'optimizer adamw8bit needs bitsandbytes, which is not installed; run pip install ".[adamw8bit]", or use adamw'
        ) from error
    return AdamW8bit(groups, weight_decay=settings.weight_decay)


def average_gradients(parameters: Iterable[nn.Parameter], processes: int) -> None:
    """Mean of every gradient over all processes, in place; nothing to do for one."""
    if processes == 1:
        return
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.copy_(reduce(parameter.grad, "mean"))


class Encoder:
    """The frozen VAE's encoder; with `cached`, every view of an image is encoded once, alone, and kept on the CPU.

    An image is known by its pixels, so a cached training does the same whatever order its images come in.
    """

    def __init__(self, vae: AutoencoderKL, cached: bool = False) -> None:
        self.vae = vae
        self.cached = cached
        self.kept: dict[bytes, tuple[Tensor, Tensor]] = {}

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and spread of the scaled latents of images (n, 3, H, W): see `components.encode_moments`."""
        if not self.cached:
            return components.encode_moments(self.vae, images)
        means, spreads = zip(*(self._one(image) for image in images), strict=True)
        return torch.stack(means).to(self.vae.device), torch.stack(spreads).to(self.vae.device)

    def _one(self, image: Tensor) -> tuple[Tensor, Tensor]:
        key = hashlib.blake2b(image.contiguous().cpu().numpy().tobytes(), digest_size=16).digest()
        if key not in self.kept:
            mean, spread = components.encode_moments(self.vae, image[None])
            self.kept[key] = mean[0].cpu(), spread[0].cpu()
        return self.kept[key]
