"""Parts of a run side by side on a CPU, each on one thread, in place of one part over all threads.

The operators of a small model are too short to be worth splitting: with two threads each graph of the shipped engine takes 1.2 to
1.6 times the processor time it takes with one (`benchmarks/README.md`). A large model's scale well, and several of them at once
would need several times the memory.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from math import ceil
from queue import SimpleQueue
from threading import Event
from types import TracebackType
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from seas_runtime.backends.quota import cpu_quota

if TYPE_CHECKING:
    from seas_runtime.bundle.manifest import Manifest

# Bytes of a bundle times pixels of a latent, roughly the work of a U-Net step: 4e9 of the shipped engine, 8e12 of Stable Diffusion
# v1. Nothing between the two has been measured.
SMALL = 1e11

P = ParamSpec("P")
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class CoreSplit:
    """How a CPU is used: `workers` graphs at the same time, each on `threads` threads, 0 for the engine's choice."""

    workers: int
    threads: int

    def facts(self) -> dict[str, str]:
        """The workers in words, for `Backend.describe`; nothing where there is but one."""
        return {"lanes": f"{self.workers}, one thread each"} if self.workers > 1 else {}


def split_cores(manifest: Manifest, threads: int) -> CoreSplit:
    """How to use the cores for a bundle: decided by its size and never by a race, so that equal runs give equal bytes.

    Args:
        manifest: the bundle's.
        threads: at most so many in all; 0 for as many as there are cores.
    """
    usable = usable_cores()
    cores = min(threads or usable, usable)
    if cores > 1 and is_small(manifest):
        return CoreSplit(cores, 1)
    whole_machine = not threads and usable == os.cpu_count()
    return CoreSplit(1, 0 if whole_machine else cores)  # engines count cores that they may not use


def is_small(manifest: Manifest) -> bool:
    """Whether a graph is too small to be worth more than one thread."""
    return sum(entry.bytes for entry in manifest.files.values()) * manifest.geometry.latent_size**2 < SMALL


def usable_cores() -> int:
    """Cores that this process may use: a container's quota of processor time counts as so many whole cores, rounded up."""
    if sys.platform != "linux":
        return os.cpu_count() or 1
    cores = len(os.sched_getaffinity(0))
    quota = cpu_quota()
    return cores if quota is None else min(cores, max(1, ceil(quota)))


@contextmanager
def borrowed(free: SimpleQueue[Item]) -> Iterator[Item]:
    """One of the things that lie in a queue, for one thread alone; waits while there is none."""
    item = free.get()
    try:
        yield item
    finally:
        free.put(item)


class Workers:
    """A number of threads that work side by side; one worker is the caller's own thread.

    A context manager: leaving it forgets what has not begun and ends the rest at its next `check`.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._pool = ThreadPoolExecutor(number, thread_name_prefix="worker") if number > 1 else None
        self._left = Event()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._left.set()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def in_order(self, function: Callable[[Item], Result], groups: Iterable[Sequence[Item]]) -> Iterator[list[Result]]:
        """Call `function` with every item and give the results a group at a time, in order.

        Groups are taken from `groups` until two items for each worker are on their way, and no more before the oldest group has
        been given: however many groups there are, few are in memory.
        """
        if self._pool is None:
            for group in groups:
                yield [function(item) for item in group]
            return
        begun: deque[list[Future[Result]]] = deque()
        for group in groups:
            begun.append([self._pool.submit(function, item) for item in group])
            while sum(map(len, begun)) >= 2 * self.number:
                yield [future.result() for future in begun.popleft()]
        while begun:
            yield [future.result() for future in begun.popleft()]

    def beside(self, function: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Callable[[], Result]:
        """Have a call made by a worker that is idle; what is returned gives its result, making the call now if none was idle.

        The call is made once, however often its result is asked for.
        """
        if self._pool is None:
            result = function(*args, **kwargs)
            return lambda: result
        future = self._pool.submit(function, *args, **kwargs)
        return cache(lambda: function(*args, **kwargs) if future.cancel() else future.result())

    def check(self) -> None:
        """End the work of a worker that nobody waits for any more.

        Raises:
            CancelledError: the workers have been left.
        """
        if self._left.is_set():
            raise CancelledError
