"""Inference engines behind one protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from seas_runtime.errors import BackendError
from seas_runtime.manifest import GraphName

if TYPE_CHECKING:
    from seas_runtime.bundle import Bundle

BACKENDS = ("cpu", "cuda")


class Backend(Protocol):
    """The graphs of one bundle, ready to run."""

    @property
    def name(self) -> str:
        """The name `--backend` knows it by."""

    def run(
        self, graph: GraphName, feeds: Mapping[str, NDArray[Any]], outputs: tuple[str, ...]
    ) -> dict[str, NDArray[np.float32]]:
        """Run one graph on all its inputs (float32, timestep int64) and return `outputs` as float32.

        Raises:
            BackendError: the engine refuses or fails.
        """

    def describe(self) -> dict[str, str]:
        """Engine, version, precision and device, for `run.json`."""


def open_backend(name: str, bundle: Bundle, threads: int = 0) -> Backend:
    """Open a bundle in an engine: "cpu", "cuda", or "auto", the fastest that works here.

    Args:
        name: one of `BACKENDS` or "auto".
        bundle: a verified bundle.
        threads: CPU threads of one graph; 0 leaves it to the engine.

    Raises:
        BackendError: the engine is not installed, or cannot run here.
    """
    from seas_runtime.backends.ort import OrtBackend  # noqa: PLC0415  # an engine is loaded only when asked for

    if name != "auto":
        return OrtBackend(bundle, name, threads)
    try:
        return OrtBackend(bundle, "cuda", threads)
    except BackendError:
        return OrtBackend(bundle, "cpu", threads)
