"""Inference engines behind one protocol, and the choice among them; `registry` lists them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from seas_runtime.backends.registry import BACKENDS
from seas_runtime.backends.workers import is_small
from seas_runtime.errors import BackendError, BundleError, SeasError, SettingsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from seas_runtime.bundle.graphs import GraphName
    from seas_runtime.bundle.reader import Bundle


class Backend(Protocol):
    """The graphs of one bundle, ready to run."""

    @property
    def name(self) -> str:
        """The name `--backend` knows it by."""

    @property
    def workers(self) -> int:
        """How many calls of `run` may be made at the same time, each from a thread of its own."""

    def run(self, graph: GraphName, feeds: Mapping[str, NDArray[Any]], outputs: tuple[str, ...]) -> dict[str, NDArray[np.float32]]:
        """Run one graph.

        Args:
            graph: which.
            feeds: all its inputs, n rows each in the manifest's shapes: float32, timestep int64.
            outputs: names of those to give back.

        Returns:
            These outputs, n rows each in the manifest's shapes, float32.

        Raises:
            BackendError: the engine refuses or fails.
            DeviceMemoryError: there is no memory for that many rows; fewer may do.
        """

    def describe(self) -> dict[str, str]:
        """Engine, version, precision and device, for `run.json`."""


@dataclass(frozen=True)
class BatchJob:
    """A batch to sample: n pairs, s steps.

    latents (n, C, h, w) float32, those the sampler starts from; prompts (n, length, width) float32, or (2n, length,
    width) with the empty prompt second where there is guidance; table (s, 6) float32, see
    `sampling.solver.step_table`; timesteps (s,) int64; guided (s,), the steps with guidance, whose U-Net has 2n rows;
    mask_steps, the last steps that give masks; thresholds (n,) float32, of each pair's mean probability; look, the timestep of
    one look at the final latents, in place of the last steps'; fresh (s - 1, n, C, h, w) float32, the noise that each step but
    the last adds, where the solver is one that does.
    """

    latents: NDArray[np.float32]
    prompts: NDArray[np.float32]
    table: NDArray[np.float32]
    timesteps: NDArray[np.int64]
    guided: NDArray[np.bool_]
    mask_steps: int
    thresholds: NDArray[np.float32]
    look: int | None = None
    fresh: NDArray[np.float32] | None = None

    @property
    def masks(self) -> int:
        """How many masks of a pair are averaged."""
        return self.mask_steps if self.look is None else 1


@runtime_checkable
class BatchBackend(Backend, Protocol):
    """A backend that runs the sampler's loop itself, so that nothing leaves the device before the pixels."""

    def sample_batch(self, job: BatchJob) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        """What the sampler's own loop gives with this backend.

        Images (n, H, W, 3); masks (n, H, W) of 0 and 255; the masks (s, n, H, W) of each of the last s steps, or of the one look,
        by itself.

        Raises:
            BackendError: the engine refuses or fails, or numbers are not finite.
            DeviceMemoryError: there is no memory for that many pairs; fewer may do.
        """


class BackendModule(Protocol):
    """What the module of a backend offers."""

    def open_graphs(self, name: str, bundle: Bundle, threads: int) -> Backend:
        """Open a bundle in backend `name`; `threads` are at most those used on a CPU, 0 leaves it to the engine.

        Raises:
            BackendError: a package or device is missing, or the bundle has nothing for it.
        """

    def missing(self, name: str) -> str | None:
        """Why backend `name` cannot run on this machine whatever the bundle, with its hint; None if it can."""


def open_backend(
    name: str,
    bundle: Bundle,
    threads: int = 0,
    candidates: Iterable[str] = tuple(BACKENDS),
    log: Callable[[str], None] | None = None,
) -> Backend:
    """Open a bundle in an engine.

    Args:
        name: one of `BACKENDS`, or "auto" for the first of `candidates` that works here.
        bundle: a verified bundle.
        threads: CPU threads at most, see `seas_runtime.backends.workers.split_cores`; 0 leaves it to the engine.
        candidates: what "auto" tries, best first; those that round it does not.
        log: called with one line that says what "auto" took and why.

    Raises:
        SettingsError: no backend has this name.
        BackendError: the engine is not installed, or cannot run here.
    """
    if name not in ("auto", *BACKENDS):
        raise SettingsError(f"backend {name!r} found, one of auto, {', '.join(BACKENDS)} expected")
    if name != "auto":
        return backend_module(name).open_graphs(name, bundle, threads)
    chosen = [candidate for candidate in candidates if not BACKENDS[candidate].rounds]
    if is_small(bundle.manifest):
        chosen.sort(key=lambda candidate: BACKENDS[candidate].for_large)
    passed: list[tuple[str, SeasError]] = []
    for candidate in chosen:
        try:
            backend = backend_module(candidate).open_graphs(candidate, bundle, threads)
        except (BackendError, BundleError) as error:  # the latter: engines beside the core that are damaged
            passed.append((candidate, error))
            continue
        if log is not None:
            facts = backend.describe()
            workers = f", workers: {facts['lanes']}" if "lanes" in facts else ""
            graphs = f": {facts['graphs']}" if "graphs" in facts else ""
            log(f"backend {backend.name}{workers}{graphs}{f' (not {_causes(passed)})' if passed else ''}")
        return backend
    raise BackendError(f"no backend works here ({_causes(passed)}); run: {BACKENDS['cpu'].hint}, see seas-engine doctor")


def backend_module(name: str) -> BackendModule:
    """The module of a backend, loaded now."""
    return cast("BackendModule", import_module(f"{__name__}.{BACKENDS[name].module}"))


def _causes(passed: list[tuple[str, SeasError]]) -> str:
    """What went wrong with each, without the hints."""
    return "; ".join(f"{name}: {error.message.split('; ')[0]}" for name, error in passed)
