"""Where and how a training step is computed: device, precision and processes, optimiser, latent cache."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from accelerate import PartialState
from accelerate.utils import reduce
from diffusers import AutoencoderKL
from torch import Tensor, nn

from seas_runtime.errors import SettingsError
from seas_runtime.versions import extra
from seas_train.config import FineSettings
from seas_train.data.dataset import SYMMETRIES, ImageSet, view
from seas_train.models import components
from seas_train.training.batches import View

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_WITH_BF16 = ("amx_bf16", "avx512_bf16")


@dataclass(frozen=True)
class Machine:
    """What a training computes on; as it stands, one CPU in fp32.

    device; precision of the networks' arithmetic, weights stay fp32; scaler, the loss scale of fp16; rank of this process of
    so many `processes`.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    scaler: torch.amp.GradScaler | None = None
    rank: int = 0
    processes: int = 1

    @property
    def imitates(self) -> bool:
        """Whether PyTorch has to imitate the precision, which can take a hundred times as long: bf16 on a processor without it."""
        return self.precision == "bf16" and self.device.type == "cpu" and not has_bf16()

    @property
    def main(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def autocast(self) -> torch.autocast:
        """The context that losses are computed in."""
        return torch.autocast(self.device.type, _DTYPES[self.precision], enabled=self.precision != "fp32")

    def mean(self, value: Tensor) -> Tensor:
        """Mean of a tensor over all processes."""
        return value if self.processes == 1 else reduce(value, "mean")

    def wait(self) -> None:
        """Until all processes have come here."""
        if self.processes > 1:
            PartialState().wait_for_everyone()


def has_bf16() -> bool:
    """Whether this processor computes in bf16 (AMX or AVX-512 BF16)."""
    able = torch.cpu.get_capabilities()
    return any(able.get(name) for name in _WITH_BF16)


def machine(settings: FineSettings) -> Machine:
    """The device, precision and processes of a training; under `torchrun` there are several processes.

    accelerate joins the processes, once in the life of this one. Its `Accelerator` would fix the precision as well, which
    differs from one training to the next; what we need of that, an autocast and a loss scale, is torch's.

    Raises:
        SettingsError: a precision that the device has not, or joined processes that compute elsewhere.
    """
    on_cpu = settings.device == "cpu" or not torch.cuda.is_available()
    if settings.precision == "fp16" and on_cpu:
        raise SettingsError("precision fp16 needs a GPU and this training runs on the CPU; use bf16 or fp32")
    if settings.precision == "bf16" and not on_cpu and not torch.cuda.is_bf16_supported():
        raise SettingsError(f"precision bf16 needs a newer GPU than {torch.cuda.get_device_name()}; use fp16 or fp32")
    state = PartialState(cpu=on_cpu)
    if state.num_processes == 1:  # alone, a process may train on one device and then on another
        device = torch.device("cpu" if on_cpu else "cuda")
    elif (state.device.type == "cpu") == on_cpu:
        device = state.device
    else:
        raise SettingsError(f"device {settings.device} found, {state.device.type} expected: these processes were joined for it")
    scaler = torch.amp.GradScaler(device.type) if settings.precision == "fp16" else None
    return Machine(device, settings.precision, scaler, state.process_index, state.num_processes)


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
            f"optimizer adamw8bit needs bitsandbytes, which is not installed; run {extra('adamw8bit')}, or use adamw"
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

    So a cached training does the same whatever order its images come in.
    """

    def __init__(self, vae: AutoencoderKL, cached: bool = False) -> None:
        self.vae = vae
        self.cached = cached
        self.kept: dict[View, tuple[Tensor, Tensor]] = {}
        self.device: torch.device | None = None  # where latents go once the VAE is elsewhere

    def __call__(self, images: Tensor, views: Sequence[View]) -> tuple[Tensor, Tensor]:
        """Mean and spread of the scaled latents of images (n, 3, H, W), which show these views: see `encode_moments`."""
        if not self.cached:
            return components.encode_moments(self.vae, images)
        means, spreads = zip(*(self._one(*pair) for pair in zip(images, views, strict=True)), strict=True)
        device = self.device or self.vae.device
        return torch.stack(means).to(device), torch.stack(spreads).to(device)

    def fill(self, images: Iterable[ImageSet], augmented: bool) -> None:
        """Keep every view of these images that can be drawn, and put the VAE off the GPU: nothing more is asked of it."""
        for of in images:
            for index, record in enumerate(of.records):
                for symmetry in range(SYMMETRIES if augmented else 1):
                    self._one(view(of[index][0], symmetry), (record, symmetry))
        self.device, _ = self.vae.device, self.vae.cpu()

    def _one(self, image: Tensor, view: View) -> tuple[Tensor, Tensor]:
        if view not in self.kept:
            mean, spread = components.encode_moments(self.vae, image[None])
            self.kept[view] = mean[0].cpu(), spread[0].cpu()
        return self.kept[view]
