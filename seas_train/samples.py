"""Pairs of the reference sampler as pictures: pair i depends on the seed and i alone, and begins as pair i of `seas-gen` does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from seas_runtime import voice
from seas_runtime.dataset import sheet
from seas_runtime.files import inside, write_atomic
from seas_runtime.sampling.noise import RENOISE, Stream, draw_latents, draw_normal
from seas_train import reference
from seas_train.data.images import png
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
class Start:
    """What a pair starts from: a normal image's number, that image's scaled latent and noise (C, h, w).

    `stream` gives what later steps add.
    """

    normal: int
    latent: Tensor
    noise: Tensor
    stream: Stream


@dataclass(frozen=True, kw_only=True)
class Draw(Start):
    """The same of pair `index` of a defect type."""

    index: int
    defect: str


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
        OSError: a file cannot be written.
    """
    rows: dict[str, list[tuple[Image.Image, Image.Image]]] = {defect: [] for defect in order.defects}
    with voice.progress(order.count, "sampling", "pair") as bar:
        for pair in pairs(run, order, settings):
            _save(pair.image, inside(out, f"{pair.defect}/{pair.index:06}.png"))  # a run folder may be a stranger's
            _save(pair.mask, inside(out, f"{pair.defect}/{pair.index:06}_mask.png"))
            rows[pair.defect] = [*rows[pair.defect], (pair.image, pair.mask)][:COLUMNS]
            bar.update()
    _save(sheet.by_type(rows), out / "sheet.png")


def pairs(run: Run, order: Order, settings: SampleSettings) -> Iterator[Pair]:
    """The pairs in order, `order.batch` of them computed together.

    Raises:
        DataError: the run has no mask branch.
    """
    for first in range(0, order.count, order.batch):
        drawn = [draw(run, order, index) for index in range(first, min(first + order.batch, order.count))]
        normal, noise, fresh = together(drawn, settings.steps)
        made = reference.sample(run, [d.defect for d in drawn], normal, noise, settings, fresh)
        pixels = ((made.images.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
        levels = ((made.probability[:, 0] > order.threshold).byte() * 255).numpy()
        for d, picture, mask in zip(drawn, pixels, levels, strict=True):
            yield Pair(d.index, d.defect, Image.fromarray(picture), Image.fromarray(mask))


def draw(run: Run, order: Order, index: int) -> Draw:
    """Draw pair `index` by the runtime's rules: the first attempt of `seas-gen` at it, with the same seed and types."""
    return Draw(index=index, defect=order.defects[index % len(order.defects)], **vars(start(run, order.seed, index)))


def start(run: Run, seed: int, index: int) -> Start:
    """Draw what number `index` of a seed starts from."""
    stream = Stream(seed, index)
    normal = draw_normal(stream, len(run.normal_mean))
    latent, noise = draw_latents(stream, run.normal_mean[normal].numpy(), run.normal_std[normal].numpy())
    return Start(normal, torch.from_numpy(latent), torch.from_numpy(noise), stream)


def together(starts: Sequence[Start], steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Latents of the normal images and noise, each (n, C, h, w), and what all steps but the first add, (steps - 1, n, C, h, w)."""
    normal, noise = (torch.stack(part) for part in zip(*((each.latent, each.noise) for each in starts), strict=True))
    again = (steps - 1, *normal.shape[1:])
    return normal, noise, torch.stack([torch.from_numpy(each.stream.normals(RENOISE, again)) for each in starts], dim=1)


def final_latents(run: Run, kinds: Sequence[str | None], indices: Sequence[int], seed: int, settings: SampleSettings) -> Tensor:
    """Latents (n, C, h, w), on the CPU, that sampling ends with, of these numbers of a seed; kinds in turn, None for no defect."""
    starts = together([start(run, seed, index) for index in indices], settings.steps)
    *_, last = reference.trajectory(run, [kinds[index % len(kinds)] for index in indices], *starts[:2], settings, starts[2])
    return last.leaving.cpu().clone()


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    write_atomic(path, png(image))
