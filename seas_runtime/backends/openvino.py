"""OpenVINO on the CPU: in fp32, or in bf16 where the processor computes in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from queue import SimpleQueue
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seas_runtime.backends.registry import BACKENDS
from seas_runtime.backends.results import checked
from seas_runtime.backends.workers import CoreSplit, borrowed, split_cores
from seas_runtime.bundle.graphs import GraphName
from seas_runtime.bundle.reader import Bundle
from seas_runtime.bundle.verified import verify_again
from seas_runtime.errors import BackendError

DEVICE = "CPU"
PRECISIONS = {"openvino": "f32", "openvino-bf16": "bf16"}
_IN_WORDS = {"f32": "fp32", "bf16": "bf16"}
NO_BF16 = "this processor does not compute in bf16 (AMX or AVX-512 BF16); use --backend openvino"
_FAILURES = (RuntimeError, ValueError, TypeError)


def open_graphs(name: str, bundle: Bundle, threads: int) -> OpenvinoBackend:
    """Open a bundle in OpenVINO; see `seas_runtime.backends.BackendModule`."""
    return OpenvinoBackend(bundle, split_cores(bundle.manifest, threads), name=name)


def missing(name: str) -> str | None:
    """Why OpenVINO cannot be used; see `seas_runtime.backends.BackendModule`."""
    try:
        module = load_openvino()
    except BackendError as error:
        return error.message
    core = module.Core()
    if DEVICE not in core.available_devices:
        return f"OpenVINO {module.__version__} has no {DEVICE} plug-in; run: {BACKENDS['openvino'].hint} --force-reinstall"
    return None if _computes(core, PRECISIONS[name]) else NO_BF16


def load_openvino() -> ModuleType:
    """The module `openvino`.

    Raises:
        BackendError: it is not installed or does not load.
    """
    try:
        import openvino  # noqa: PLC0415  # an optional package
    except (ImportError, OSError) as error:
        raise BackendError(f"OpenVINO is not installed ({error}); run: {BACKENDS['openvino'].hint}") from error
    module: ModuleType = openvino
    return module


class OpenvinoBackend:
    """A bundle's fp32 graphs, or some of them, as OpenVINO requests; see `seas_runtime.backends.Backend`.

    `openvino-bf16` rounds products and what lies between the graphs' layers to bf16, eight bits, and is faster for it.

    Each worker is one of OpenVINO's streams; a graph has a request for each. With one worker, which large models have, a graph
    gives back the memory of its intermediate results before another one runs.

    Compiled models are not kept on the disk: OpenVINO would open a cached one without a hash of its content.

    OpenVINO opens graphs and weights by their paths alone, so they are hashed once more right before: what remains is a file
    that somebody replaces within that moment, see `seas_runtime.bundle.verified.verify_again`.

    Raises:
        BackendError: the package is missing, a graph does not compile, or the processor does not compute in bf16.
        BundleError: the bundle has changed since it was read.
    """

    def __init__(self, bundle: Bundle, split: CoreSplit, graphs: Sequence[GraphName] = (), name: str = "openvino") -> None:
        self.name, self._precision = name, PRECISIONS[name]
        self._openvino = load_openvino()
        # A table that the first call makes; two workers whose first calls meet wait for each other for ever (2026.4).
        self._openvino.Type.f32.to_dtype()
        self._split, self.workers = split, split.workers
        graphs = graphs or bundle.manifest.sampled
        self._graphs = {graph: bundle.manifest.graphs[graph] for graph in graphs}
        core = self._openvino.Core()
        if not _computes(core, self._precision):
            raise BackendError(NO_BF16)
        settings = {"INFERENCE_PRECISION_HINT": self._precision, "NUM_STREAMS": str(split.workers)}
        if split.threads:
            settings["INFERENCE_NUM_THREADS"] = str(split.workers * split.threads)
        self._models: dict[GraphName, Any] = {}
        self._requests: dict[GraphName, SimpleQueue[Any]] = {}
        verify_again(bundle, [(graph, "fp32") for graph in graphs])
        for graph in graphs:
            self._models[graph], self._requests[graph] = _compile(core, bundle, graph, settings, split.workers)
        self._ran: GraphName | None = None

    def run(self, graph: GraphName, feeds: Mapping[str, NDArray[Any]], outputs: tuple[str, ...]) -> dict[str, NDArray[np.float32]]:
        """Run one graph on n rows, see `Backend.run`; all its outputs are computed, `outputs` are copied out."""
        typed = {spec.name: np.ascontiguousarray(feeds[spec.name], dtype=spec.dtype) for spec in self._graphs[graph].inputs}
        try:
            if self.workers == 1 and self._ran not in (None, graph):
                self._models[self._ran].release_memory()  # of one of Stable Diffusion's size, 0.6 to 1.8 GB
            self._ran = graph
            with borrowed(self._requests[graph]) as request:
                request.infer(typed, share_inputs=True)
                results = {name: np.array(request.get_tensor(name).data) for name in outputs}
        except _FAILURES as error:
            raise BackendError(f"{graph} failed on backend {self.name}: {_line(error)}; try a smaller --batch") from error
        return checked(self.name, graph, self._graphs[graph], feeds, results)

    def describe(self) -> dict[str, str]:
        """Engine, version, precision and device."""
        engine = f"OpenVINO {self._openvino.__version__}"
        facts = {"name": self.name, "engine": engine, "precision": _IN_WORDS[self._precision], "device": DEVICE}
        return {**facts, **self._split.facts()}


def _computes(core: Any, precision: str) -> bool:
    """Whether the processor has instructions for a precision."""
    return precision == "f32" or precision.upper() in core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")


def _compile(core: Any, bundle: Bundle, graph: GraphName, settings: dict[str, str], workers: int) -> tuple[Any, SimpleQueue[Any]]:
    """A graph's compiled model, and its requests, from which a call takes one."""
    path = bundle.graph_path(graph)
    requests: SimpleQueue[Any] = SimpleQueue()
    try:
        model = core.compile_model(core.read_model(path), DEVICE, settings)
        for _ in range(workers):
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
