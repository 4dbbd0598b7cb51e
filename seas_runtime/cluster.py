"""Pairs from a Ray cluster: a pool of actors that each hold the bundle open, and one process, this one, that writes.

Ray Core and not Ray Data: batches are told apart by their numbers, come back in any order and go to one writer, which is a loop
around `ray.wait`; Ray Data would need a sink of its own and shuffle what is known before.
"""

from __future__ import annotations

import itertools
import logging
import socket
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from seas_runtime.bundle.reader import Bundle
from seas_runtime.cluster_worker import Asked, Batch, Worker
from seas_runtime.errors import BackendError, SeasError
from seas_runtime.sampling.pairs import Pair
from seas_runtime.sampling.recipe import Plan, Sampling
from seas_runtime.versions import extra, own_version

Log = Callable[[str], None]
AHEAD = 2
"""Batches that an actor has been given and not given back: one that it makes, one that waits for it."""
POLL = 0.5
KNOCK = 10.0
"""Seconds for a cluster's address to answer."""


@dataclass(frozen=True)
class Pool:
    """The actors that are asked for.

    Attributes:
        address: Of the cluster; "auto" for the one that runs here, "local" for one that is started here and ends with this process.
        workers: How many; 0 for as many as fit.
        cores: Of each, and threads of its engine.
        gpus: Of each.
        patience: Seconds to wait for a cluster to be as large as that.
        losses: How many actors may be lost before the run is given up.
    """

    address: str = "auto"
    workers: int = 0
    cores: int = 1
    gpus: float = 0
    patience: float = 60
    losses: int = 100


class ClusterBackend:
    """What stands for a backend in the record of a run: the name and facts that all actors gave."""

    workers = 1

    def __init__(self, name: str, facts: dict[str, str]) -> None:
        self.name, self.facts = name, facts

    def describe(self) -> dict[str, str]:
        """As the actors' backend does."""
        return dict(self.facts)


class Cluster:
    """A pool of actors that makes batches, as `api.Generator` does: `batches` has its arguments and gives what it gives.

    A context manager; leaving it ends the actors.

    Args:
        bundle: a verified bundle, read from its path where an actor sees it, and sent where it does not.
        backend: what computes, as `--backend`; "auto" takes what the first actor takes.
        pool: the actors.
        expect: as `--expect`, for "auto".
        log: called with a line on waiting and on what was lost.

    Raises:
        BackendError: Ray is not installed, no cluster answers, or it stays smaller than asked for.
    """

    def __init__(self, bundle: Bundle, backend: str, pool: Pool, expect: str | None, log: Log) -> None:
        self.bundle, self.pool, self.expect, self.log = bundle, pool, expect, log
        self._ray = _connect(pool.address)
        self._lost = 0
        try:
            number = self._size()
            core = {name: (bundle.path / name).read_bytes() for name in ("manifest.json", *bundle.manifest.files)}
            self._core = self._ray.put(core)
            self._actors = [self._actor(backend)]
            first = self._begun(self._actors)[0]
            self.backend = ClusterBackend(first["name"], first["facts"])
            self._actors += [self._actor(self.backend.name) for _ in range(number - 1)]
            self._begun(self._actors[1:])
        except BaseException:
            self.close()
            raise
        log(f"{number} actors on {self.backend.name}, {pool.cores} cores each" + (f", {pool.gpus:g} GPU" if pool.gpus else ""))

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the actors and let go of the cluster."""
        self._ray.shutdown()

    def batches(self, plan: Plan, sampling: Sampling, chosen: Iterable[Batch] | None = None) -> Generator[list[Pair]]:
        """Pairs of a plan's batches, a batch at a time, in the order in which they are done.

        Raises:
            SeasError: what an actor's engine raises.
            BackendError: too many actors were lost.
        """
        todo, again = iter(plan.batches() if chosen is None else chosen), deque[Batch]()
        plan_ref, sampling_ref = self._ray.put(plan), self._ray.put(sampling)
        running: dict[Any, tuple[Any, Batch]] = {}

        def give(actor: Any) -> None:
            batch = again.popleft() if again else next(todo, None)
            if batch is not None:
                running[actor.make.remote(plan_ref, sampling_ref, batch)] = (actor, batch)

        for _ in range(AHEAD):
            for actor in self._actors:
                give(actor)
        while running:
            (done,), _ = self._ray.wait(list(running), num_returns=1)
            actor, batch = running.pop(done)
            try:
                pairs: list[Pair] = self._ray.get(done)
            except self._ray.exceptions.RayTaskError as error:
                raise _cause(error) from error
            except self._ray.exceptions.RayError:
                again.append(batch)
                self._replace(actor, running, again, give)
                continue
            give(actor)
            yield pairs

    def _replace(self, lost: Any, running: dict[Any, tuple[Any, Batch]], again: deque[Batch], give: Callable[[Any], None]) -> None:
        """Give all that a lost actor had in flight to another, once a new one has opened the bundle."""
        for ref, (actor, batch) in list(running.items()):
            if actor is lost:
                del running[ref]
                again.append(batch)
        self._lost += 1
        self.log(f"an actor was lost with {len(again)} batches, which are made again")
        if self._lost > self.pool.losses:
            raise BackendError(f"{self._lost} actors were lost, at most {self.pool.losses} expected; see the cluster's log")
        self._actors.remove(lost)
        fresh = self._actor(self.backend.name)
        try:
            self._begun([fresh], self.pool.patience)
            self._actors.append(fresh)
            for _ in range(AHEAD):
                give(fresh)
        except BackendError:
            if not self._actors:
                raise
            self.log(f"no place for another actor: {len(self._actors)} go on")
            self._ray.kill(fresh)
        for actor in itertools.cycle(self._actors):
            if not again:
                break
            give(actor)

    def _actor(self, backend: str) -> Any:
        path, digest = self.bundle.path.resolve(), self.bundle.manifest.digest
        asked = Asked(path, digest, backend, self.pool.cores, own_version(), self.expect)
        remote = self._ray.remote(num_cpus=self.pool.cores, num_gpus=self.pool.gpus, max_restarts=0)(Worker)
        return remote.remote(asked, self._core)

    def _begun(self, actors: list[Any], patience: float | None = None) -> list[dict[str, Any]]:
        """What actors say of themselves once their bundle is open.

        Raises:
            SeasError: that of the first that cannot.
            BackendError: one was lost, or did not find a place in time.
        """
        refs = [actor.begin.remote() for actor in actors]
        _, waiting = self._ray.wait(refs, num_returns=len(refs), timeout=patience)
        if waiting:
            raise BackendError(f"{len(waiting)} actors found no place in the cluster within {patience:.0f} s; give fewer")
        try:
            found: list[dict[str, Any]] = self._ray.get(refs)
        except self._ray.exceptions.RayError as error:
            raise BackendError(f"an actor ended before it had opened the bundle ({_line(error)}); see the cluster's log") from error
        for said in found:
            if "error" in said:
                raise said["error"]
        return found

    def _size(self) -> int:
        """How many actors there are room for; waits for as many as are asked for.

        Raises:
            BackendError: there stay fewer.
        """
        pool, until, told = self.pool, time.monotonic() + self.pool.patience, False
        while True:
            room = _room(self._ray.cluster_resources(), pool)
            if room >= max(pool.workers, 1):
                return pool.workers or room
            if time.monotonic() > until:
                what = f"{pool.cores} cores" + (f" and {pool.gpus:g} GPU" if pool.gpus else "")
                raise BackendError(
                    f"the cluster has room for {room} actors of {what}, {max(pool.workers, 1)} asked for; "
                    "start more nodes, or give --ray-workers or --ray-cores"
                )
            if not told:
                self.log(
                    f"waiting up to {pool.patience:.0f} s for room for {max(pool.workers, 1)} actors, there is some for {room}"
                )
                told = True
            time.sleep(POLL)


def _room(resources: dict[str, float], pool: Pool) -> int:
    room = int(resources.get("CPU", 0) // pool.cores)
    return min(room, int(resources.get("GPU", 0) // pool.gpus)) if pool.gpus else room


def _connect(address: str) -> Any:
    """The module ray, connected.

    Raises:
        BackendError: it is not installed, or no cluster answers.
    """
    try:
        import ray  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise BackendError(f"--ray needs Ray; run {extra('ray')} on every node") from error
    given: dict[str, Any] = {} if address == "local" else {"address": address}
    try:
        _knock(address)
        ray.init(**given, include_dashboard=False if address == "local" else None, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        with suppress(Exception):
            ray.shutdown()
        raise BackendError(
            f"--ray {address}: no cluster answers ({_line(error)}); start one with ray start --head, or give --ray local"
        ) from error
    return ray


def _knock(address: str) -> None:
    """Connect to HOST:PORT or ray://HOST:PORT once: Ray itself asks for minutes and then ends the process.

    Raises:
        OSError: nothing listens there.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), KNOCK).close()


def _cause(error: Any) -> BaseException:
    """What an actor raised, ours as it was."""
    cause = error.cause
    return cause if isinstance(cause, SeasError) else BackendError(f"an actor failed: {_line(cause)}; see the cluster's log")


def _line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
