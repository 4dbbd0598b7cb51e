"""How a run is made: which pairs, in which batches, and with which settings of the sampler."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import lcm

import numpy as np
from numpy.typing import NDArray

from seas_runtime.sampling.frame import Frame
from seas_runtime.sampling.masks import MaskRule
from seas_runtime.sampling.solver import Table, begun_at


@dataclass(frozen=True)
class Plan:
    """A run's pairs `start` .. count - 1, their types in turn, cut in batches of which a shard makes some.

    Pair i is in batch i // batch, wherever the run starts. `shard` = (k, n), 0 <= k < n: the batches with number mod n = k.
    """

    defects: tuple[str, ...]
    seed: int
    count: int
    batch: int
    shard: tuple[int, int] = (0, 1)
    start: int = 0

    def batches(self) -> Iterator[tuple[int, ...]]:
        """Pair indices of each batch of this shard, in order; the first and the last batch of a run may be short."""
        part, parts = self.shard
        begun = self.start // self.batch  # number of the first batch
        first = begun + (part - begun) % parts
        for index in range(first * self.batch, self.count, parts * self.batch):
            if indices := tuple(range(max(index, self.start), min(index + self.batch, self.count))):
                yield indices

    def size(self) -> int:
        """Number of pairs in this shard."""
        return sum(self.sizes().values())

    def sizes(self) -> dict[str, int]:
        """Number of pairs of each type in this shard; which types its batches hold comes round again after some batches."""
        number, parts = len(self.defects), self.shard[1]
        period = lcm(self.batch * parts, number)
        ours = [index for batch in replace(self, start=0, count=period).batches() for index in batch]
        found = dict.fromkeys(self.defects, 0)
        for end, sign in ((self.count, 1), (self.start, -1)):
            rounds, rest = divmod(end, period)
            for index in ours:
                found[self.defects[index % number]] += sign * (rounds + (index < rest))
        return found


@dataclass(frozen=True)
class Sampling:
    """How to sample: solver table, guidance (>= 1), last steps that give masks, the rule of each defect type's masks, retries.

    guided (s,) are the steps that guidance acts on; at the others the U-Net computes the conditional half alone. With a
    `first_step`, a pair starts at that step's noise level; from a composite, if `composites`, whose mask it has if `placed_masks`;
    otherwise the mask branch's. With `keeps_background` it keeps the
    background of the photograph it starts from. With a `frame`, pictures are brought to the shape of a photograph. With a `look`,
    the mask is that of the finished latents, seen at this timestep, and no step gives one.
    """

    table: Table
    guidance: float
    guided: NDArray[np.bool_]
    mask_steps: int
    rules: Mapping[str, MaskRule]
    retries: int
    first_step: int | None = None
    composites: bool = False
    placed_masks: bool = False
    keeps_background: bool = False
    frame: Frame | None = None
    look: int | None = None

    def begun_at(self, step: int) -> Sampling:
        """The same from this step on."""
        return replace(self, table=begun_at(self.table, step), guided=self.guided[step:])
