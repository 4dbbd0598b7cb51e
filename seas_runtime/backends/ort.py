"""ONNX Runtime: the CPU and CUDA execution providers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seas_runtime.backends import Backend
from seas_runtime.backends.registry import BACKENDS
from seas_runtime.backends.results import checked
from seas_runtime.backends.workers import CoreSplit, split_cores
from seas_runtime.bundle.graphs import Graph, GraphName, Precision
from seas_runtime.bundle.reader import Bundle
from seas_runtime.bundle.verified import Weights
from seas_runtime.device import NO_GPU, current_gpu
from seas_runtime.errors import BackendError, DeviceMemoryError

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_ERRORS_ONLY = 3
_NO_MEMORY = re.compile(r"failed to allocate memory|out of memory|bad_alloc", re.IGNORECASE)
_TYPES = {"float32": "tensor(float)", "float16": "tensor(float16)", "int64": "tensor(int64)"}


def load_onnxruntime() -> ModuleType:
    """The module `onnxruntime`.

    Raises:
        BackendError: it is not installed or does not load.
    """
    try:
        import onnxruntime  # noqa: PLC0415  # an optional package
    except ImportError as error:
        raise BackendError(f"no inference engine is installed ({error}); run: {BACKENDS['cpu'].hint}") from error
    module: ModuleType = onnxruntime
    return module


def open_graphs(name: str, bundle: Bundle, threads: int) -> Backend:
    """Open a bundle with the provider called `name`; see `seas_runtime.backends.BackendModule`."""
    split = split_cores(bundle.manifest, threads) if name == "cpu" else CoreSplit(1, threads)
    return OrtBackend(bundle, name, split)


def missing(name: str) -> str | None:
    """Why the provider called `name` cannot be used; see `seas_runtime.backends.BackendModule`."""
    if name == "cuda" and current_gpu() is None:
        return NO_GPU
    try:
        return missing_provider(name)
    except BackendError as error:
        return error.message


def missing_provider(name: str) -> str | None:
    """Why backend `name` cannot run with what is installed, with its hint; None if it can.

    Raises:
        BackendError: onnxruntime is not installed.
    """
    available = load_onnxruntime().get_available_providers()
    if PROVIDERS[name] in available:
        return None
    return f"{PROVIDERS[name]} is not in the installed onnxruntime; run: {BACKENDS[name].hint}"


class OrtBackend:
    """A bundle's graphs in ONNX Runtime sessions; see `seas_runtime.backends.Backend`.

    On CUDA a graph that the bundle has in fp16 is run in that form, as engines are built from it; its inputs and outputs
    are those of the manifest all the same. On a CPU fp16 would be slower. All workers use the same sessions: a call runs in
    the thread that makes it, without the interpreter's lock. Graphs are loaded from the bytes that were verified, weights from a
    mapping that is, see `seas_runtime.bundle.verified.Weights`: no file is opened by its path again.

    Args:
        bundle: a verified bundle.
        name: the provider, a key of `PROVIDERS`.
        split: how a CPU is used.
        graphs: those to open, none for all that the sampler runs; the others cannot be run.

    Raises:
        BackendError: engine or provider missing, a graph that does not load or whose tensors are not the
            manifest's.
        BundleError: the weights have changed since the bundle was read.
    """

    def __init__(self, bundle: Bundle, name: str, split: CoreSplit, graphs: Sequence[GraphName] = ()) -> None:
        self.name, self.workers = name, split.workers
        self._split = split
        self._ort = load_onnxruntime()
        if reason := missing_provider(name):
            raise BackendError(reason)
        if name == "cuda" and hasattr(self._ort, "preload_dlls"):
            self._ort.preload_dlls()  # finds CUDA libraries that pip installed
        self._failures = _exceptions()
        graphs = graphs or bundle.manifest.sampled
        self._graphs = {graph: bundle.manifest.graphs[graph] for graph in graphs}
        self._precisions: dict[GraphName, Precision] = {
            name: "fp16" if self.name == "cuda" and "fp16" in graph.files else "fp32" for name, graph in self._graphs.items()
        }
        weights = Weights(bundle)
        self._held: list[Any] = []  # sessions compute with the weights where they are mapped
        self._sessions = {graph: self._open(bundle, graph, weights) for graph in graphs}

    def run(self, graph: GraphName, feeds: Mapping[str, NDArray[Any]], outputs: tuple[str, ...]) -> dict[str, NDArray[np.float32]]:
        """Run one graph on n rows, see `Backend.run`; float32 in and out, whatever precision its tensors have."""
        typed = {spec.name: np.ascontiguousarray(feeds[spec.name], dtype=spec.dtype) for spec in self._graphs[graph].inputs}
        try:
            results = self._sessions[graph].run(list(outputs), typed)  # the others are not copied from a device
        except self._failures as error:
            kind = DeviceMemoryError if _NO_MEMORY.search(str(error)) else BackendError
            raise kind(f"{graph} failed on backend {self.name}: {_line(error)}; try a smaller --batch") from error
        return checked(self.name, graph, self._graphs[graph], feeds, dict(zip(outputs, results, strict=True)))

    def describe(self) -> dict[str, str]:
        """Engine, version, precision and provider."""
        package = "onnxruntime-gpu" if self.name == "cuda" else "onnxruntime"
        return {
            "name": self.name,
            "engine": f"{package} {self._ort.__version__}",
            "precision": " ".join(sorted(set(self._precisions.values()))),
            "provider": PROVIDERS[self.name],
            **self._split.facts(),
        }

    def _open(self, bundle: Bundle, graph: GraphName, weights: Weights) -> Any:
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = self._split.threads
        options.log_severity_level = _ERRORS_ONLY
        provider = PROVIDERS[self.name]
        precision = self._precisions[graph]
        # TF32 has the range for which an fp16 graph keeps fp32 nodes; an fp32 graph would lose three digits by it.
        settings = {"use_tf32": str(int(precision == "fp16"))} if self.name == "cuda" else {}
        path = bundle.graph_path(graph, precision)
        arrays = weights.arrays(graph, precision)
        try:
            values = [self._ort.OrtValue.ortvalue_from_numpy(array) for array in arrays.values()]
            options.add_external_initializers(list(arrays), values)
            self._held += values
            session = self._ort.InferenceSession(bundle.graph(graph, precision), options, providers=[(provider, settings)])
        except self._failures as error:
            raise BackendError(f"{path}: backend {self.name} cannot load it: {_line(error)}") from error
        if session.get_providers()[0] != provider:  # ONNX Runtime falls back to the CPU without an error
            raise BackendError(
                f"backend {self.name}: {provider} does not start here, mostly for want of CUDA's libraries; "
                f"run: {BACKENDS[self.name].hint}, or use --backend cpu"
            )
        _check(path.name, session, self._graphs[graph])
        return session


def _check(file: str, session: Any, graph: Graph) -> None:
    for specs, found in ((graph.inputs, session.get_inputs()), (graph.outputs, session.get_outputs())):
        wanted = [(spec.name, _TYPES[spec.dtype]) for spec in specs]
        if (got := [(value.name, value.type) for value in found]) != wanted:
            raise BackendError(f"{file}: the engine sees {got}, the manifest says {wanted}; export the bundle again")


def _exceptions() -> tuple[type[Exception], ...]:
    """ONNX Runtime's own exceptions, which share no base but Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state  # noqa: PLC0415  # an optional package

    own = [kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*own, RuntimeError, ValueError)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
