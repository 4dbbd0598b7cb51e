"""Pairs as a PyTorch data set, made while training asks for them; the one module of the runtime that needs torch.

    from seas_runtime import Options
    from seas_runtime.torch_dataset import PairDataset

    for batch in DataLoader(PairDataset("engines/bottle.plan", Options(seed=1)), batch_size=8, num_workers=2):
        train(batch["image"], batch["mask"])

Every worker of a DataLoader, in every process of a distributed training, makes a part of the pairs, none twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor, distributed
from torch.utils.data import IterableDataset, get_worker_info

from seas_runtime import api
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.errors import SettingsError
from seas_runtime.options import Options
from seas_runtime.sampling.pairs import Pair
from seas_runtime.sampling.recipe import Plan
from seas_runtime.settings import recipe


class Sample(TypedDict):
    """image (3, H, W) float32, 0 to 1; mask (1, H, W) float32, 1 where it is anomalous; the type's name; the pair's index."""

    image: Tensor
    mask: Tensor
    defect: str
    index: int


def to_tensors(pair: Pair) -> Sample:
    """A pair as tensors that a DataLoader can put together."""
    image = torch.from_numpy(pair.image).permute(2, 0, 1).contiguous().float().div(255)
    mask = torch.from_numpy(pair.mask > 0)[None].float()
    return {"image": image, "mask": mask, "defect": pair.defect, "index": pair.index}


class PairDataset(IterableDataset[Any]):
    """Pairs of a bundle; a pass over it gives the same pairs again, and opens the bundle again in each worker.

    In worker processes the bundle is opened after they have begun, so forked ones are safe on a CPU; backends on a GPU need a
    DataLoader with multiprocessing_context="spawn". All processes need the same number of workers. Pairs that the gate refuses in
    all attempts are left out, so lengths may differ by a few pairs: without a count there is no end, and no process waits.

    Args:
        bundle: the folder NAME.plan; it is verified here, once.
        options: see `Options`; without a count there is no end. A batch is a worker's unit of work.
        start: the first pair's index.
        backend: what computes, as `--backend` of `seas-gen`.
        threads: CPU threads at most, by default one in a worker process and the engine's choice outside of any.
        expect: the digest that the bundle must have.
        transform: from a pair to what is given; it has to be picklable where workers are spawned.
        rank: number of this process, by default what torch.distributed says.
        world_size: number of processes, likewise.

    Raises:
        BundleError: see `read_bundle`.
        SettingsError: options that do not fit, or no such rank.
    """

    def __init__(
        self,
        bundle: str | Path,
        options: Options | None = None,
        *,
        start: int = 0,
        backend: str = "auto",
        threads: int | None = None,
        expect: str | None = None,
        transform: Callable[[Pair], Any] = to_tensors,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        super().__init__()
        self._bundle = read_bundle(bundle, expect)
        self._plan, self._sampling = recipe(self._bundle.manifest, options or Options(), start)
        self._backend, self._threads, self._expect, self._transform = backend, threads, expect, transform
        self._process = _process(rank, world_size)

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        worker = (0, 1) if info is None else (info.id, info.num_workers)
        plan = share_of(share_of(self._plan, self._process), worker)
        threads = self._threads if self._threads is not None else int(info is not None)
        with api.open(self._bundle, self._backend, threads=threads, expect=self._expect) as generator:
            for pair in api.Pairs(generator.batches(plan, self._sampling)):
                yield self._transform(pair)


def share_of(plan: Plan, part: tuple[int, int]) -> Plan:
    """Part k of n, 0 <= k < n, of a plan: every n-th of its batches, from the k-th on."""
    (at, step), (k, n) = plan.shard, part
    return replace(plan, shard=(at + step * k, step * n))


def _process(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """The number of this process and how many there are."""
    if rank is None and world_size is None:
        if distributed.is_available() and distributed.is_initialized():
            return distributed.get_rank(), distributed.get_world_size()
        return 0, 1
    if rank is None or world_size is None or not 0 <= rank < world_size:
        raise SettingsError(f"rank {rank} of {world_size} found, both with 0 <= rank < world_size expected")
    return rank, world_size
