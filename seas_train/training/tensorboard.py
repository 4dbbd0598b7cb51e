"""TensorBoard: losses as scalars, and what the U-Net attends to as pictures."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from seas_runtime.dataset.sheet import sheet
from seas_runtime.errors import SettingsError
from seas_train.losses import min_max

if TYPE_CHECKING:
    from accelerate import Accelerator

    from seas_train.config import FineSettings, TuneSettings
    from seas_train.training.batches import Batch
    from seas_train.tune import Learner


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
            raise SettingsError(
                'watch every needs tensorboard, which is not installed; run pip install ".[tensorboard]"'
            ) from error
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
    run: Path, stage: str, settings: FineSettings, accelerator: Accelerator, picture: Callable[[], Image.Image | None]
) -> Callable[[int, Mapping[str, float]], None] | None:
    """What shows a step's losses and a picture of its batch; None where nothing is to be watched, and in all processes but one.

    Raises:
        SettingsError: tensorboard is not installed.
    """
    if not settings.watch_every or not accelerator.is_main_process:
        return None
    board = Board(run, stage)
    return lambda step, values: board.show(step, values, picture())


def attention_sheet(learner: Learner, batch: Batch, settings: TuneSettings) -> Image.Image | None:
    """Each anomaly image of the latest batch: the image, its mask, and level by level where <ob> and <df> look.

    None where the batch has no anomaly.
    """
    rows = []
    for i, defect in enumerate(batch.defects):
        row = [_rgb(batch.images[i]), _grey(batch.masks[i, 0])]
        places = learner.product_positions[defect], learner.anomaly_positions[defect]
        for level in settings.levels:
            maps = learner.maps.level(level)[i].detach().cpu()
            both = (maps[..., tokens].mean(dim=-1) for tokens in places)
            row += [_grey(min_max(attention[None])[0]) for attention in both]
        rows.append(row)
    headings = ["image", "mask", *(f"{token} {level}" for level in settings.levels for token in ("<ob>", "<df>"))]
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
