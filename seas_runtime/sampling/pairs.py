"""Which pair is made of what: pair index -> (defect type, normal image, noise), and the batches of a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seas_runtime.bundle.conditioning import Conditioning
from seas_runtime.bundle.manifest import Start
from seas_runtime.sampling.noise import Stream, draw_latents, draw_normal


@dataclass(frozen=True)
class Plan:
    """A run's pairs 0 .. count - 1, their types in turn, cut in batches of which a shard makes some.

    `shard` = (k, n), 0 <= k < n: the batches with number mod n = k.
    """

    defects: tuple[str, ...]
    seed: int
    count: int
    batch: int
    shard: tuple[int, int] = (0, 1)

    def batches(self) -> Iterator[tuple[int, ...]]:
        """Pair indices of each batch of this shard, in order; the last batch of a run may be short."""
        part, parts = self.shard
        for first in range(part * self.batch, self.count, parts * self.batch):
            yield tuple(range(first, min(first + self.batch, self.count)))

    def size(self) -> int:
        """Number of pairs in this shard."""
        return sum(len(batch) for batch in self.batches())


@dataclass(frozen=True)
class Pair:
    """One attempt at one pair: its defect type, its normal image's number, its random stream."""

    index: int
    defect: str
    normal: int
    stream: Stream


def draw_pair(plan: Plan, index: int, attempt: int, normals: int) -> Pair:
    """Pair `index` of a plan: types take turns, the normal image is drawn from all `normals`."""
    stream = Stream(plan.seed, index, attempt)
    defect = plan.defects[index % len(plan.defects)]
    return Pair(index, defect, draw_normal(stream, normals), stream)


def start_latent(pair: Pair, conditioning: Conditioning, start: Start) -> NDArray[np.float32]:
    """Start latent (C, h, w) float32, scaled: signal * z + noise * eps, z = mean + std * eps'.

    mean and std belong to the pair's normal image; eps' and eps come from the pair's stream (`draw_latents`).
    """
    latent, noise = draw_latents(pair.stream, conditioning.mean[pair.normal], conditioning.std[pair.normal])
    started: NDArray[np.float32] = np.float32(start.signal) * latent + np.float32(start.noise) * noise
    return started
