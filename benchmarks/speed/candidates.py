"""What the latency benchmark compares: PyTorch as it comes, PyTorch at its best, and the runtime on each of its backends.

Every candidate answers the same requests, each for all pairs of a job, and may use all cores: `unet` (a guided step of each
pair, taps included), `mask` (the mask branch from the entering latent), `decode` (latent to image) and `pairs` (everything, as
arrays in memory).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import random_feeds
from benchmarks.speed.job import GUIDANCE, MASK_STEPS, STEPS, THRESHOLD, Candidate, Job
from benchmarks.speed.torch_candidates import Compiled, Product, Reference, Rounded, Torch, TorchWorkers
from seas_runtime import Generator, Options, Pair
from seas_runtime.backends import Backend, BatchBackend, open_backend
from seas_runtime.backends.workers import Workers
from seas_runtime.bundle.graphs import SAMPLED, GraphName
from seas_runtime.bundle.reader import Bundle, read_bundle
from seas_runtime.dataset.records import RunRecord
from seas_runtime.dataset.writer import Writer
from seas_runtime.sampling.sampler import cut
from seas_runtime.settings import resolve


class Timed:
    """A backend that adds up the seconds spent in its graphs, in all workers."""

    def __init__(self, backend: Backend) -> None:
        self.name, self.workers, self.describe = backend.name, backend.workers, backend.describe
        self.seconds = 0.0
        self._backend, self._lock = backend, Lock()

    def run(self, graph: GraphName, feeds: Mapping[str, NDArray[Any]], outputs: tuple[str, ...]) -> dict[str, NDArray[np.float32]]:
        """Run one graph; feeds and results (rows, ...) as the manifest says."""
        began = time.perf_counter()
        try:
            return self._backend.run(graph, feeds, outputs)
        finally:
            with self._lock:
                self.seconds += time.perf_counter() - began


class Canned:
    """A backend whose graphs take no time: zeros of the right shapes."""

    name = "canned"

    def __init__(self, backend: Backend, bundle: Bundle) -> None:
        self.workers, self.describe, self._graphs = backend.workers, backend.describe, bundle.manifest.graphs

    def run(self, graph: GraphName, feeds: Mapping[str, NDArray[Any]], outputs: tuple[str, ...]) -> dict[str, NDArray[np.float32]]:
        """Zeros (rows, ...) as the manifest says."""
        specs = self._graphs[graph]
        rows = len(feeds[specs.inputs[0].name])
        shapes = {spec.name: (rows, *map(int, spec.shape[1:])) for spec in specs.outputs}
        return {name: np.zeros(shapes[name], np.float32) for name in outputs}


class Runtime:
    """`seas_runtime` on one backend: what `seas-gen` runs, in its workers where it has some."""

    def __init__(self, job: Job, backend: str) -> None:
        self.bundle = read_bundle(job.work / f"{job.preset}.plan")
        opened = open_backend(backend, self.bundle)
        self.backend = Timed(opened)
        runs_the_loop = isinstance(opened, BatchBackend)  # whose graphs cannot be timed from here
        self.generator = Generator(self.bundle, opened if runs_the_loop else self.backend)
        how = Options(threshold=THRESHOLD, max_area=1.0, retries=0)
        if self.bundle.manifest.student is None:  # which has its own
            how = replace(how, steps=STEPS, guidance=GUIDANCE, mask_steps=MASK_STEPS)
        self.settings = resolve(self.bundle.manifest, backend, replace(how, count=job.count, batch=job.batch))
        self.parts = [[len(part) for part in cut(batch, self.backend.workers)] for batch in self.settings.plan().batches()]
        sizes = {size for batch in self.parts for size in batch}
        sampled = SAMPLED["steps" if self.bundle.manifest.look is None else "final"]
        self.feeds = {(graph, size): random_feeds(self.bundle, graph, size) for graph in sampled for size in sizes}
        self.made: list[list[Pair]] = []

    def unet(self) -> object:
        """The U-Net graph with taps."""
        return self._all("unet", ("noise", "up2", "up3"))

    def mask(self) -> object:
        """The mask branch's graph."""
        return self._all("mask_branch", ("probability",))

    def decode(self) -> object:
        """The decoder's graph."""
        return self._all("decoder", ("image",))

    def call(self) -> object:
        """The U-Net graph without guidance: half of a step's rows."""
        return self._all("unet", ("noise", "up2", "up3"), half=True)

    def finish(self) -> object:
        """The graph of the finished latent's image and mask."""
        return self._all("finish", ("image", "probability"))

    def pairs(self) -> object:
        """The sampler."""
        self.backend.seconds = 0.0
        self.made = self._sample(self.generator)
        return self.made

    def loop(self) -> object:
        """The sampler without its graphs."""
        return self._sample(Generator(self.bundle, Canned(self.backend, self.bundle)))

    def write(self) -> object:
        """The latest pairs, encoded and flushed to the disk; in a run this happens beside the graphs."""
        record = RunRecord(command=[], settings=self.settings, backend={}, versions={})
        with TemporaryDirectory(dir=self.bundle.path.parent) as folder, Writer(Path(folder), record) as writer:
            for pairs in self.made:
                writer.add(pairs)
        return len(self.made)

    def outside(self, seconds: float) -> float | None:
        """Share of the latest `pairs`, which took so many seconds, that its workers spent outside graphs or idle, if known."""
        known = self.generator.backend is self.backend
        return 1 - self.backend.seconds / (seconds * self.backend.workers) if known else None

    def _sample(self, generator: Generator) -> list[list[Pair]]:
        return list(generator.batches(self.settings.plan(), self.settings.sampling(self.bundle.manifest)))

    def _all(self, graph: GraphName, outputs: tuple[str, ...], half: bool = False) -> object:
        def one(pairs: int) -> object:
            feeds = self.feeds[graph, pairs]
            return self.backend.run(graph, {name: value[:pairs] for name, value in feeds.items()} if half else feeds, outputs)

        with Workers(self.backend.workers) as workers:
            return list(workers.in_order(one, self.parts))


PYTORCH: dict[str, Callable[[Job], Candidate]] = {
    "reference": Reference,
    "torch": Torch,
    "torch-compile": Compiled,
    "torch-workers": TorchWorkers,
    "torch-bf16": Rounded,
}


def make(name: str, job: Job) -> Any:
    """A `Candidate` by its name, a key of `PYTORCH` or a backend's name; or `Product`, the measure of the machine."""
    if name == "product":
        return Product(job)
    return PYTORCH[name](job) if name in PYTORCH else Runtime(job, name)
