"""OpenVINO: fp32 on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from queue import SimpleQueue
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seas_runtime.bundle import Bundle
from seas_runtime.errors import BackendError
from seas_runtime.lanes import Share, borrowed, share_cores
from seas_runtime.manifest import REQUIRED_GRAPHS, GraphName

MEND = "pip install openvino"
DEVICE = "CPU"
_FAILURES = (RuntimeError, ValueError, TypeError)


def open_graphs(name: str, bundle: Bundle, threads: int) -> OpenvinoBackend:  # one name, one engine
    """Open a bundle in OpenVINO; see `seas_runtime.backends.BackendModule`."""
    return OpenvinoBackend(bundle, share_cores(bundle.manifest, threads))


def missing(name: str) -> str | None:
    """Why OpenVINO cannot be used; see `seas_runtime.backends.BackendModule`."""
    try:
        module = load_openvino()
    except BackendError as error:
        return error.message
    if DEVICE not in module.Core().available_devices:
        return f"OpenVINO {module.__version__} has no {DEVICE} plug-in; run: {MEND} --force-reinstall"
    return None


def load_openvino() -> ModuleType:
    """The module `openvino`.

    Raises:
        BackendError: it is not installed or does not load.
    """
    try:
        import openvino  # noqa: PLC0415  # an optional package
    except (ImportError, OSError) as error:
        raise BackendError(f"OpenVINO is not installed ({error}); run: {MEND}") from error
    module: ModuleType = openvino
    return module


class OpenvinoBackend:
    """A bundle's fp32 graphs, or some of them, as OpenVINO requests; see `seas_runtime.backends.Backend`.

    Each lane is one of OpenVINO's streams; a graph has a request for each. With one lane, which large models have, a graph gives
    back the memory of its intermediate results before another one runs.

    Compiled models are not kept on the disk: OpenVINO would open a cached one without a hash of its content.

    Raises:
        BackendError: the package is missing, or a graph does not compile.
    """

    name = "openvino"

    def __init__(self, bundle: Bundle, share: Share, graphs: Sequence[GraphName] = REQUIRED_GRAPHS) -> None:
        self._openvino = load_openvino()
        # A table that the first call makes; two lanes whose first calls meet wait for each other for ever (2026.4).
        self._openvino.Type.f32.to_dtype()
        self._share, self.lanes = share, share.lanes
        self._graphs = {graph: bundle.manifest.graphs[graph] for graph in graphs}
        core = self._openvino.Core()
        settings = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": str(share.lanes)}
        if share.threads:
            settings["INFERENCE_NUM_THREADS"] = str(share.lanes * share.threads)
        self._models: dict[GraphName, Any] = {}
        self._requests: dict[GraphName, SimpleQueue[Any]] = {}
        for graph in graphs:
            self._models[graph], self._requests[graph] = _compile(core, bundle, graph, settings, share.lanes)
        self._ran: GraphName | None = None

    def run(
        self, graph: GraphName, feeds: Mapping[str, NDArray[Any]], outputs: tuple[str, ...]
    ) -> dict[str, NDArray[np.float32]]:
        """Run one graph; all its outputs are computed, `outputs` are copied out."""
        typed = {
            spec.name: np.ascontiguousarray(feeds[spec.name], dtype=spec.dtype)
            for spec in self._graphs[graph].inputs
        }
        try:
            if self.lanes == 1 and self._ran not in (None, graph):
                self._models[self._ran].release_memory()  # of one of Stable Diffusion's size, 0.6 to 1.8 GB
            self._ran = graph
            with borrowed(self._requests[graph]) as request:
                request.infer(typed, share_inputs=True)
                return {name: np.array(request.get_tensor(name).data, np.float32) for name in outputs}
        except _FAILURES as error:
            raise BackendError(
                f"{graph} failed on backend openvino: {_line(error)}; try a smaller --batch"
            ) from error

    def describe(self) -> dict[str, str]:
        """Engine, version, precision and device."""
        engine = f"OpenVINO {self._openvino.__version__}"
        facts = {"name": self.name, "engine": engine, "precision": "fp32", "device": DEVICE}
        return {**facts, **self._share.facts()}


def _compile(
    core: Any, bundle: Bundle, graph: GraphName, settings: dict[str, str], lanes: int
) -> tuple[Any, SimpleQueue[Any]]:
    """A graph's compiled model, and its requests, from which a call takes one."""
    path = bundle.graph_path(graph)
    requests: SimpleQueue[Any] = SimpleQueue()
    try:
        model = core.compile_model(core.read_model(path), DEVICE, settings)
        for _ in range(lanes):
            requests.put(model.create_infer_request())
    except _FAILURES as error:
        raise BackendError(f"{path}: backend openvino cannot load it: {_line(error)}") from error
    return model, requests


def _line(error: Exception) -> str:
    """OpenVINO's reason, without the places in its source that come first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    places = ("Exception from ", "Check '", "FrontEnd API failed")
    reasons = [line for line in lines if not line.startswith(places)]
    return " ".join((reasons or lines or [type(error).__name__])[:3])[:300]
