"""What a training step sees: images, masks, noise and timesteps, drawn alike whether one process computes it or several."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor

from seas_train.data.dataset import ImageSet, augment, draw


@dataclass(frozen=True)
class Share:
    """Which part of a step is this process's: every process has a batch of its own, together they are one large batch."""

    rank: int = 0
    processes: int = 1

    @classmethod
    def of(cls, accelerator: Accelerator) -> Share:
        """The share of this process."""
        return cls(accelerator.process_index, accelerator.num_processes)


@dataclass(frozen=True)
class Batch:
    """Anomaly images first, normal images after them.

    images (n, 3, H, W) in [-1, 1]; masks (a, 1, H, W) of the a anomaly images; defects, their types; names of the n files;
    rows (n,) of the batch of all processes, which has `whole` images, that these are (none: it is all of them).
    """

    images: Tensor
    masks: Tensor
    defects: tuple[str, ...]
    names: tuple[str, ...] = ()
    rows: tuple[int, ...] | None = None
    whole: int | None = None


@dataclass(frozen=True)
class Draws:
    """noise and posterior (n, C, h, w), standard normal; timesteps (n,) int64."""

    noise: Tensor
    posterior: Tensor
    timesteps: Tensor


def sample_batch(
    anomalies: ImageSet,
    normals: ImageSet,
    counts: tuple[int, int],
    turn: bool,
    generator: torch.Generator,
    share: Share | None = None,
) -> Batch:
    """Draw anomaly images of any type and normal images, with replacement, each turned and flipped at random.

    Every process draws the batch of all of them, of `counts` for each, and keeps its share.
    """
    share = share or Share()
    a, n = counts
    items = [(anomalies, i) for i in draw(len(anomalies), a * share.processes, generator)]
    items += [(normals, i) for i in draw(len(normals), n * share.processes, generator)]
    pairs = [augment(*images[i], generator) if turn else images[i] for images, i in items]
    first = a * share.processes + n * share.rank
    rows = (*range(a * share.rank, a * (share.rank + 1)), *range(first, first + n))
    records = [items[row][0].records[items[row][1]] for row in rows]
    return Batch(
        images=torch.stack([pairs[row][0] for row in rows]),
        masks=torch.stack([pairs[row][1] for row in rows])[:a],
        defects=tuple(str(record.defect) for record in records[:a]),
        names=tuple(f"{record.image.parent.name}/{record.image.name}" for record in records),
        rows=rows,
        whole=len(items),
    )


def draws(batch: Batch, like: Tensor, timesteps: int, generator: torch.Generator) -> Draws:
    """Draw noise for latents shaped as `like` (n, C, h, w) and timesteps below `timesteps`, on its device."""
    whole = len(like) if batch.whole is None else batch.whole
    noise, posterior = torch.randn(2, whole, *like.shape[1:], generator=generator)
    chosen = torch.randint(timesteps, (whole,), generator=generator)
    rows = list(range(whole) if batch.rows is None else batch.rows)
    return Draws(*(part[rows].to(like.device) for part in (noise, posterior, chosen)))
