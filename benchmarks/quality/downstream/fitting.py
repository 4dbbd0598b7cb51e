"""What the trainings here share: settings, the loop, and arrays of images as a network's input.

Images are numpy uint8 (n, H, W, 3) and stay so in memory; masks are bool (n, H, W), true = anomaly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor, nn

from seas_runtime.errors import DataError, TrainError
from seas_train.config import Settings
from seas_train.training.loop import cosine

Images = npt.NDArray[np.uint8]
Masks = npt.NDArray[np.bool_]
Maps = npt.NDArray[np.float32]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's colours in [0, 1], which weights from a file expect."""
MULTIPLE = 32
"""Sides that every network can halve as often as it does."""


class FitSettings(Settings):
    """What every training here has."""

    steps: int = Field(400, ge=1, description="Optimiser steps.")
    batch: int = Field(16, ge=2, description="Images per step.")
    lr: float = Field(2e-3, gt=0, description="Peak learning rate of AdamW; half a cosine down to 2 % of it.")
    weight_decay: float = Field(0.01, ge=0, description="AdamW weight decay.")
    normal_share: float = Field(0.25, ge=0, lt=1, description="Share of normal images in a batch.")
    augment: bool = Field(True, description="Random quarter-turns and flips; switch off for a fixed pose.")
    device: Literal["auto", "cpu"] = Field("auto", description="auto: a GPU where there is one.")


def require_squares(*arrays: Images) -> None:
    """Refuse images (n, H, W, 3) that networks here cannot halve or turn; an array of length 0 passes.

    Raises:
        DataError: a side is no multiple of `MULTIPLE`, or sides differ.
    """
    sides = {images.shape[1:3] for images in arrays if len(images)}
    if len(sides) > 1 or any(height != width or width % MULTIPLE for height, width in sides):
        named = " and ".join("x".join(map(str, side)) for side in sorted(sides))
        raise DataError(f"found images of {named}, expected squares of one size, a multiple of {MULTIPLE}; resize them")


def device_of(settings: FitSettings) -> torch.device:
    """Where the settings want the training."""
    return torch.device("cuda" if settings.device == "auto" and torch.cuda.is_available() else "cpu")


def optimise(network: nn.Module, settings: FitSettings, seed: int, loss_of: Callable[[int], Tensor]) -> None:
    """Move the network's weights `settings.steps` times and leave it in evaluation mode.

    Args:
        network: on its device; trained in place. Its `rates`, where it has them, are factors of the learning rate by part.
        settings: steps, learning rate and decay count.
        seed: of what draws from the global random state (dropout), which is left as it was.
        loss_of: the loss of step i, whose own randomness comes from (seed, i).

    Raises:
        TrainError: a loss is not finite.
    """
    network.train()
    optimizer = torch.optim.AdamW(_groups(network), lr=settings.lr, weight_decay=settings.weight_decay)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for step in range(settings.steps):
            for group in optimizer.param_groups:
                group["lr"] = settings.lr * cosine(step, settings.steps) * group["rate"]
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(step)
            if not torch.isfinite(loss):
                raise TrainError(f"{type(network).__name__}: the loss of step {step} is {float(loss.detach())}; lower lr")
            loss.backward()
            optimizer.step()
    network.eval()


def _groups(network: nn.Module) -> list[dict[str, Any]]:
    """The network's parameters by the factor of their learning rate."""
    rates = getattr(network, "rates", {})
    found: dict[float, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        found.setdefault(rates.get(name.partition(".")[0], 1.0), []).append(parameter)
    return [{"params": parameters, "rate": rate} for rate, parameters in found.items()]


@torch.inference_mode()
def predict(network: nn.Module, images: Images, batch: int = 16) -> Maps:
    """Probability of an anomaly in every pixel.

    Args:
        network: its first output is logits (n, 2, H, W), channel 1 = anomaly.
        images: (n, H, W, 3) uint8.
        batch: images at a time.

    Returns:
        (n, H, W) float32 in [0, 1].
    """
    device = next(network.parameters()).device
    found = np.zeros(images.shape[:3], dtype=np.float32)
    for i in range(0, len(images), batch):
        logits = network(normalise(channels_first(images[i : i + batch]).to(device)))[0]
        found[i : i + batch] = logits.softmax(dim=1)[:, 1].cpu().numpy()
    return found


def normalise(images: Tensor) -> Tensor:
    """Images (n, 3, H, W), 0 to 255 -> float32 less ImageNet's mean, by its spread."""
    mean, std = (torch.tensor(values, device=images.device)[:, None, None] for values in (MEAN, STD))
    return ((images.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def channels_first(images: Images) -> Tensor:
    """Images (n, H, W, 3) as a tensor (n, 3, H, W) of the same bytes."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
