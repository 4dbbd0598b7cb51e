"""What a training step sees: images, masks, noise and timesteps, drawn alike whether one process computes it or several."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seas_train.data.dataset import ImageSet, draw, draw_symmetry, view
from seas_train.data.layouts import Record

View = tuple[Record, int]
"""An image seen through one of the square's symmetries (`dataset.view`)."""


@dataclass(frozen=True)
class Batch:
    """Anomaly images first, normal images after them.

    images (n, 3, H, W) in [-1, 1]; masks (a, 1, H, W) of the a anomaly images; defects, their types; views, what the n images
    show; rows (n,) of the batch of all processes, which has `whole` images, that these are (none: it is all of them).
    """

    images: Tensor
    masks: Tensor
    defects: tuple[str, ...]
    views: tuple[View, ...] = ()
    rows: tuple[int, ...] | None = None
    whole: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The images' files, for a person to find."""
        return tuple(f"{record.image.parent.name}/{record.image.name}" for record, _ in self.views)


@dataclass(frozen=True)
class Draws:
    """noise and posterior (n, C, h, w), standard normal; timesteps (n,) int64."""

    noise: Tensor
    posterior: Tensor
    timesteps: Tensor

    def to(self, device: torch.device) -> Draws:
        """The same on a device."""
        return Draws(self.noise.to(device), self.posterior.to(device), self.timesteps.to(device))


Drawn = tuple[Batch, Draws]


def sample_batch(
    anomalies: ImageSet,
    normals: ImageSet,
    counts: tuple[int, int],
    augment: bool,
    generator: torch.Generator,
    rank: int = 0,
    processes: int = 1,
) -> Batch:
    """Draw anomaly images of any type and normal images, with replacement, each turned and flipped at random.

    Every process draws the batch of all of them, of `counts` for each, and keeps its own rows.
    """
    a, n = counts
    items = [(anomalies, i) for i in draw(len(anomalies), a * processes, generator)]
    items += [(normals, i) for i in draw(len(normals), n * processes, generator)]
    symmetries = [draw_symmetry(generator) if augment else 0 for _ in items]
    first = a * processes + n * rank
    rows = (*range(a * rank, a * (rank + 1)), *range(first, first + n))
    images, masks, views = [], [], []
    for row in rows:
        (of, index), symmetry = items[row], symmetries[row]
        image, mask = of[index]
        images.append(view(image, symmetry))
        masks.append(view(mask, symmetry))
        views.append((of.records[index], symmetry))
    return Batch(
        images=torch.stack(images),
        masks=torch.stack(masks)[:a],
        defects=tuple(str(record.defect) for record, _ in views[:a]),
        views=tuple(views),
        rows=rows,
        whole=len(items),
    )


def draws(batch: Batch, latents: tuple[int, int, int], timesteps: int, generator: torch.Generator) -> Draws:
    """Draw noise for a batch whose latents are (C, h, w) each, and timesteps below `timesteps`."""
    whole = len(batch.images) if batch.whole is None else batch.whole
    noise, posterior = torch.randn(2, whole, *latents, generator=generator)
    chosen = torch.randint(timesteps, (whole,), generator=generator)
    rows = list(range(whole) if batch.rows is None else batch.rows)
    return Draws(noise[rows], posterior[rows], chosen[rows])


def named(drawn: Drawn) -> str:
    """The images of a batch, for an error message."""
    return ", ".join(drawn[0].names)
