"""A time limit for the first run of each graph: a stranger's bundle, which can be made to compute for ever, holds no command up."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from seas_runtime.backends import Backend, BatchBackend, BatchJob
from seas_runtime.errors import BackendError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from seas_runtime.bundle.graphs import GraphName

LIMIT = 1800.0
"""Seconds; a U-Net step of Stable Diffusion takes some ten for each pair of a batch on two cores."""


class Guarded:
    """A backend that ends this process where the first run of a graph is not over in time; see `guard`."""

    def __init__(self, backend: Backend, seconds: float) -> None:
        self._backend, self._seconds = backend, seconds
        self._done: set[str] = set()

    @property
    def name(self) -> str:
        """See `Backend.name`."""
        return self._backend.name

    @property
    def workers(self) -> int:
        """See `Backend.workers`."""
        return self._backend.workers

    def run(self, graph: GraphName, feeds: Mapping[str, NDArray[Any]], outputs: tuple[str, ...]) -> dict[str, NDArray[np.float32]]:
        """See `Backend.run`."""
        if graph in self._done:
            return self._backend.run(graph, feeds, outputs)
        with _limited(f"the first run of {graph}", self._seconds):
            results = self._backend.run(graph, feeds, outputs)
        self._done.add(graph)
        return results

    def describe(self) -> dict[str, str]:
        """See `Backend.describe`."""
        return self._backend.describe()


class GuardedBatches(Guarded):
    """The same, of a backend that runs the sampler's loop itself."""

    def __init__(self, backend: BatchBackend, seconds: float) -> None:
        super().__init__(backend, seconds)
        self._batches = backend

    def sample_batch(self, job: BatchJob) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        """See `BatchBackend.sample_batch`."""
        if "batch" in self._done:
            return self._batches.sample_batch(job)
        with _limited("the first batch", self._seconds):
            results = self._batches.sample_batch(job)
        self._done.add("batch")
        return results


def guard(backend: Backend, seconds: float) -> Backend:
    """A backend under a time limit; with 0 seconds it stays as it is.

    A graph that runs in an engine cannot be stopped from outside, so the process ends: one line, the exit code of an engine that
    fails, and what is written stays valid, as after a kill. For commands; a library does not end its user's process.
    """
    if not seconds:
        return backend
    return GuardedBatches(backend, seconds) if isinstance(backend, BatchBackend) else Guarded(backend, seconds)


@contextmanager
def _limited(what: str, seconds: float) -> Iterator[None]:
    timer = threading.Timer(seconds, _end, (what, seconds))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _end(what: str, seconds: float) -> None:
    error = BackendError(f"{what} is not over after {seconds:g} s; give --first-run-limit more seconds, or do not use this bundle")
    with suppress(OSError, ValueError):
        error.show()
        sys.stderr.flush()
    os._exit(error.exit_code)
