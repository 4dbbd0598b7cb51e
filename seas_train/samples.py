"""Pairs of the reference sampler as pictures: pair i depends on the seed and i alone, whatever the batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from seas_runtime.dataset import sheet
from seas_train import reference
from seas_train.data.dataset import draw, step_generator
from seas_train.reference import SampleSettings
from seas_train.run_folder import Run

COLUMNS = 8


@dataclass(frozen=True)
class Order:
    """How many pairs of which defect types, in turn; `threshold` is the probability above which a pixel is anomalous."""

    defects: Sequence[str]
    count: int
    seed: int
    batch: int
    threshold: float


@dataclass(frozen=True)
class Pair:
    """image RGB; mask grey, 0 or 255, same size."""

    index: int
    defect: str
    image: Image.Image
    mask: Image.Image


def write(run: Run, out: Path, order: Order, settings: SampleSettings) -> None:
    """Write OUT/DEFECT/000000.png and 000000_mask.png for every pair, and the first of each type into OUT/sheet.png.

    Raises:
        DataError: the run has no mask branch.
    """
    rows: dict[str, list[tuple[Image.Image, Image.Image]]] = {defect: [] for defect in order.defects}
    for pair in pairs(run, order, settings):
        _save(pair.image, out / pair.defect / f"{pair.index:06}.png")
        _save(pair.mask, out / pair.defect / f"{pair.index:06}_mask.png")
        rows[pair.defect] = [*rows[pair.defect], (pair.image, pair.mask)][:COLUMNS]
    _save(sheet.by_type(rows), out / "sheet.png")


def pairs(run: Run, order: Order, settings: SampleSettings) -> Iterator[Pair]:
    """The pairs in order, `order.batch` of them computed together.

    Raises:
        DataError: the run has no mask branch.
    """
    for first in range(0, order.count, order.batch):
        indices = range(first, min(first + order.batch, order.count))
        defects = [order.defects[i % len(order.defects)] for i in indices]
        normal, noise = (torch.stack(part) for part in zip(*(_start(run, order.seed, i) for i in indices), strict=True))
        made = reference.sample(run, defects, normal, noise, settings)
        pixels = ((made.images.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
        levels = ((made.probability[:, 0] > order.threshold).byte() * 255).numpy()
        for k, i in enumerate(indices):
            yield Pair(i, defects[k], Image.fromarray(pixels[k]), Image.fromarray(levels[k]))


def _start(run: Run, seed: int, index: int) -> tuple[Tensor, Tensor]:
    """Latents (C, h, w) of a random normal image, and noise of the same shape."""
    generator = step_generator(seed, index)
    (chosen,) = draw(len(run.normal_mean), 1, generator)
    posterior, noise = torch.randn(2, *run.normal_mean.shape[1:], generator=generator)
    return run.normal_mean[chosen] + run.normal_std[chosen] * posterior, noise


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_suffix(".tmp")
    image.save(temporary, "PNG")
    temporary.replace(path)
