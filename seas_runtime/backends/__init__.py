"""Inference engines behind one protocol, and the table of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from seas_runtime.backends.workers import is_small
from seas_runtime.errors import BackendError, BundleError, SeasError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from seas_runtime.bundle.manifest import GraphName
    from seas_runtime.bundle.reader import Bundle

# Name -> module of this package that has it (see `BackendModule`); "auto" takes the first that works.
TABLE = {
    "tensorrt": "tensorrt.backend",
    "rtx": "tensorrt.backend",
    "cuda": "ort",
    "openvino+mnn": "mixed",
    "openvino": "openvino",
    "cpu+mnn": "mixed",
    "cpu": "ort",
    "mnn": "mnn",
    "openvino-bf16": "openvino",
}
# By name alone, never by "auto": it rounds to two or three digits, and pairs are others than every other backend's.
ROUNDS = ("openvino-bf16",)
# Their place is that of large models. For a small one "auto" takes them last: they start later and are no faster, or by 6 % at
# most (`benchmarks/README.md`).
FOR_LARGE = ("openvino+mnn", "openvino", "cpu+mnn")
BACKENDS = tuple(TABLE)
# Those that read nothing but the bundle's core. Engines lie beside it, MNN's models in a cache: whoever can write there can
# swap one and its hash. So "auto" does not take them where a digest is asked for (--expect); by name they are used.
OF_CORE = tuple(name for name, module in TABLE.items() if module in {"ort", "openvino"})


class Backend(Protocol):
    """The graphs of one bundle, ready to run."""

    @property
    def name(self) -> str:
        """The name `--backend` knows it by."""

    @property
    def workers(self) -> int:
        """How many calls of `run` may be made at the same time, each from a thread of its own."""

    def run(self, graph: GraphName, feeds: Mapping[str, NDArray[Any]], outputs: tuple[str, ...]) -> dict[str, NDArray[np.float32]]:
        """Run one graph on all its inputs (float32, timestep int64) and return `outputs` as float32.

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
    `kernels.reference.step_table`; timesteps (s,) int64; mask_steps, the last steps that give masks; threshold.
    """

    latents: NDArray[np.float32]
    prompts: NDArray[np.float32]
    table: NDArray[np.float32]
    timesteps: NDArray[np.int64]
    mask_steps: int
    threshold: float


@runtime_checkable
class BatchBackend(Backend, Protocol):
    """A backend that runs the sampler's loop itself, so that nothing leaves the device before the pixels."""

    def sample_batch(self, job: BatchJob) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Images (n, H, W, 3) and masks (n, H, W) of 0 and 255: what the sampler's own loop gives with this backend.

        Raises:
            BackendError: the engine refuses or fails, or numbers are not finite.
            DeviceMemoryError: there is no memory for that many pairs; fewer may do.
        """


class BackendModule(Protocol):
    """What a module in `TABLE` offers."""

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
    candidates: Sequence[str] = BACKENDS,
    say: Callable[[str], None] | None = None,
) -> Backend:
    """Open a bundle in an engine.

    Args:
        name: one of `BACKENDS`, or "auto" for the first of `candidates` that works here.
        bundle: a verified bundle.
        threads: CPU threads at most, see `seas_runtime.backends.workers.share_cores`; 0 leaves it to the engine.
        candidates: what "auto" tries, best first; those in `ROUNDS` it does not.
        say: called with one line that says what "auto" took and why.

    Raises:
        BackendError: the engine is not installed, or cannot run here.
    """
    if name != "auto":
        return backend_module(name).open_graphs(name, bundle, threads)
    if is_small(bundle.manifest):
        candidates = sorted(candidates, key=FOR_LARGE.__contains__)
    candidates = [candidate for candidate in candidates if candidate not in ROUNDS]
    passed: list[tuple[str, SeasError]] = []
    for candidate in candidates:
        try:
            backend = backend_module(candidate).open_graphs(candidate, bundle, threads)
        except (BackendError, BundleError) as error:  # the latter: engines beside the core that are damaged
            passed.append((candidate, error))
            continue
        if say is not None:
            reasons = "; ".join(f"{other}: {_cause(error)}" for other, error in passed)
            facts = backend.describe()
            workers = f", workers: {facts['lanes']}" if "lanes" in facts else ""
            graphs = f": {facts['graphs']}" if "graphs" in facts else ""
            say(f"backend {backend.name}{workers}{graphs}{f' (not {reasons})' if reasons else ''}")
        return backend
    reasons = "; ".join(f"{other}: {_cause(error)}" for other, error in passed)
    raise BackendError(f"no backend works here ({reasons}); run: pip install onnxruntime, see seas-engine doctor")


def backend_module(name: str) -> BackendModule:
    """The module of a backend, loaded now."""
    return cast("BackendModule", import_module(f"{__name__}.{TABLE[name]}"))


def _cause(error: SeasError) -> str:
    """What went wrong, without the hint."""
    return error.message.split("; ")[0]
