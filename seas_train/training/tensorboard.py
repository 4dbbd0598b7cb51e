"""TensorBoard: losses as scalars, and what the U-Net attends to as pictures."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from seas_runtime.dataset.sheet import sheet
from seas_runtime.errors import SettingsError
from seas_runtime.versions import extra
from seas_train.losses import min_max

if TYPE_CHECKING:
    from seas_train.config import FineSettings
    from seas_train.training.compute import Machine

B = TypeVar("B")


class Board:
    """The event files of a stage, below RUN/tensorboard/STAGE."""

    def __init__(self, run: Path, stage: str) -> None:
        """Open them.

        Raises:
            SettingsError: tensorboard is not installed.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - optional
        except ImportError as error:
            raise SettingsError(f"watch every needs tensorboard, which is not installed; run {extra('tensorboard')}") from error
        self._open = functools.partial(SummaryWriter, str(run / "tensorboard" / stage))
        self._writer: Any = None

    def show(self, step: int, values: Mapping[str, float], picture: Image.Image | None) -> None:
        """Write every loss as a scalar, and a picture; the first step hides what a killed run wrote from there on."""
        self._writer = self._writer or self._open(purge_step=step)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        if picture is not None:
            self._writer.add_image("batch", np.asarray(picture), step, dataformats="HWC")
        self._writer.flush()


def watcher(
    run: Path, stage: str, settings: FineSettings, machine: Machine, picture: Callable[[B], Image.Image | None]
) -> Callable[[int, Mapping[str, float], B], None] | None:
    """What shows a step's losses and a picture of its batch; None where nothing is to be watched, and in all processes but one.

    Raises:
        SettingsError: tensorboard is not installed.
    """
    if not settings.watch_every or not machine.main:
        return None
    board = Board(run, stage)
    return lambda step, values, batch: board.show(step, values, picture(batch))


def attention_sheet(
    images: Tensor,
    masks: Tensor,
    maps: Mapping[int, Tensor],
    product_tokens: Sequence[Tensor],
    anomaly_tokens: Sequence[Tensor],
) -> Image.Image | None:
    """Each anomaly image of a batch: the image, its mask, and level by level where <ob> and <df> look (eq. 2).

    Args:
        images: (n, 3, H, W) in [-1, 1], the a anomaly images first.
        masks: (a, 1, H, W).
        maps: (n, r, r, L) attention by level.
        product_tokens: positions (N',) of the product's tokens in each of the a prompts.
        anomaly_tokens: positions (N,) of the anomaly's tokens.

    Returns:
        None where the batch has no anomaly.
    """
    rows = []
    for i, places in enumerate(zip(product_tokens, anomaly_tokens, strict=True)):
        row = [_rgb(images[i]), _grey(masks[i, 0])]
        for level in maps.values():
            both = (level[i].detach().cpu()[..., tokens].mean(dim=-1) for tokens in places)
            row += [_grey(min_max(attention[None])[0]) for attention in both]
        rows.append(row)
    headings = ["image", "mask", *(f"{token} {level}" for level in maps for token in ("<ob>", "<df>"))]
    return sheet(rows, headings=headings) if rows else None


def mask_sheet(images: Tensor, masks: Tensor, probability: Tensor) -> Image.Image:
    """Images (n, 3, H, W) in [-1, 1] beside their masks and predicted probabilities (n, 1, H, W)."""
    rows = [[_rgb(i), _grey(m[0]), _grey(p[0])] for i, m, p in zip(images, masks, probability, strict=True)]
    return sheet(rows, headings=["image", "mask", "predicted"])


def _rgb(image: Tensor) -> Image.Image:
    return Image.fromarray(_bytes((image + 1) / 2).permute(1, 2, 0).numpy())


def _grey(values: Tensor) -> Image.Image:
    return Image.fromarray(_bytes(values).numpy())


def _bytes(values: Tensor) -> Tensor:
    return (values.detach().float().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
