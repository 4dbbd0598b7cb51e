"""ONNX Runtime: the CPU and CUDA execution providers."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seas_runtime.backends import Backend
from seas_runtime.bundle import Bundle
from seas_runtime.errors import BackendError
from seas_runtime.manifest import REQUIRED_GRAPHS, Graph, GraphName

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_MEND = {
    "cpu": "pip install onnxruntime",
    "cuda": "pip uninstall -y onnxruntime && pip install onnxruntime-gpu",
}
_ERRORS_ONLY = 3
_TYPES = {"float32": "tensor(float)", "float16": "tensor(float16)", "int64": "tensor(int64)"}


def load_onnxruntime() -> ModuleType:
    """The module `onnxruntime`.

    Raises:
        BackendError: it is not installed or does not load.
    """
    try:
        import onnxruntime  # noqa: PLC0415  # an optional package
    except ImportError as error:
        raise BackendError(f"no inference engine is installed ({error}); run: {_MEND['cpu']}") from error
    module: ModuleType = onnxruntime
    return module


def open_graphs(name: str, bundle: Bundle, threads: int) -> Backend:
    """Open a bundle with the provider called `name`; see `seas_runtime.backends.BackendModule`."""
    return OrtBackend(bundle, name, threads)


def missing(name: str) -> str | None:
    """Why the provider called `name` cannot be used; see `seas_runtime.backends.BackendModule`."""
    try:
        return missing_provider(name)
    except BackendError as error:
        return error.message


def missing_provider(name: str) -> str | None:
    """Why backend `name` cannot run with what is installed, with its mend; None if it can.

    Raises:
        BackendError: onnxruntime is not installed.
    """
    available = load_onnxruntime().get_available_providers()
    if PROVIDERS[name] in available:
        return None
    return f"{PROVIDERS[name]} is not in the installed onnxruntime; run: {_MEND[name]}"


class OrtBackend:
    """A bundle's fp32 graphs in ONNX Runtime sessions; see `seas_runtime.backends.Backend`.

    Raises:
        BackendError: engine or provider missing, a graph that does not load or whose tensors are not the
            manifest's.
    """

    def __init__(self, bundle: Bundle, name: str, threads: int = 0) -> None:
        self.name = name
        self._ort = load_onnxruntime()
        if reason := missing_provider(name):
            raise BackendError(reason)
        if name == "cuda" and hasattr(self._ort, "preload_dlls"):
            self._ort.preload_dlls()  # finds CUDA libraries that pip installed
        self._failures = _exceptions()
        self._graphs = {graph: bundle.manifest.graphs[graph] for graph in REQUIRED_GRAPHS}
        self._sessions = {graph: self._open(bundle, graph, threads) for graph in REQUIRED_GRAPHS}

    def run(
        self, graph: GraphName, feeds: Mapping[str, NDArray[Any]], outputs: tuple[str, ...]
    ) -> dict[str, NDArray[np.float32]]:
        """Run one graph; float32 in and out, whatever precision its tensors have."""
        typed = {
            spec.name: np.ascontiguousarray(feeds[spec.name], dtype=spec.dtype)
            for spec in self._graphs[graph].inputs
        }
        try:
            results = self._sessions[graph].run(list(outputs), typed)
        except self._failures as error:
            raise BackendError(
                f"{graph} failed on backend {self.name}: {_line(error)}; try a smaller --batch"
            ) from error
        return {name: np.asarray(result, np.float32) for name, result in zip(outputs, results, strict=True)}

    def describe(self) -> dict[str, str]:
        """Engine, version, precision and provider."""
        package = "onnxruntime-gpu" if self.name == "cuda" else "onnxruntime"
        return {
            "name": self.name,
            "engine": f"{package} {self._ort.__version__}",
            "precision": "fp32",
            "provider": PROVIDERS[self.name],
        }

    def _open(self, bundle: Bundle, graph: GraphName, threads: int) -> Any:
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = _ERRORS_ONLY
        provider = PROVIDERS[self.name]
        settings = {"use_tf32": "0"} if self.name == "cuda" else {}  # TF32 would cost three decimal digits
        path = bundle.graph_path(graph)
        try:
            session = self._ort.InferenceSession(str(path), options, providers=[(provider, settings)])
        except self._failures as error:
            raise BackendError(f"{path}: backend {self.name} cannot load it: {_line(error)}") from error
        if session.get_providers()[0] != provider:  # ONNX Runtime falls back to the CPU without an error
            raise BackendError(
                f"backend {self.name}: no usable device here; use --backend cpu, see seas-engine doctor"
            )
        _check(path.name, session, self._graphs[graph])
        return session


def _check(file: str, session: Any, graph: Graph) -> None:
    for specs, found in ((graph.inputs, session.get_inputs()), (graph.outputs, session.get_outputs())):
        wanted = [(spec.name, _TYPES[spec.dtype]) for spec in specs]
        if (got := [(value.name, value.type) for value in found]) != wanted:
            raise BackendError(
                f"{file}: the engine sees {got}, the manifest says {wanted}; export the bundle again"
            )


def _exceptions() -> tuple[type[Exception], ...]:
    """ONNX Runtime's own exceptions, which share no base but Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state  # noqa: PLC0415  # an optional package

    own = [kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*own, RuntimeError, ValueError)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
