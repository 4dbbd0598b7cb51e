"""MNN: fp32 on the CPU, 3x3 convolutions by Winograd's algorithm."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seas_runtime.backends.ort import OrtBackend
from seas_runtime.bundle import Bundle
from seas_runtime.errors import BackendError
from seas_runtime.manifest import REQUIRED_GRAPHS, Graph, GraphName, TensorSpec
from seas_runtime.mnn_models import model_file

MEND = "pip install MNN"
TOLERANCE = 1e-2  # as for fp16 graphs; 1e-5 to 1e-3 have been seen
_STDOUT = 1
# What MNN raises, and what is raised where it gives no result; the reason is among what it prints.
_FAILURES = (SystemError, RuntimeError, ValueError, TypeError, MemoryError)


def open_graphs(name: str, bundle: Bundle, threads: int) -> MnnBackend:  # one name, one engine
    """Open a bundle in MNN; see `seas_runtime.backends.BackendModule`."""
    return MnnBackend(bundle, threads)


def missing(name: str) -> str | None:
    """Why MNN cannot be used; see `seas_runtime.backends.BackendModule`."""
    try:
        load_mnn()
    except BackendError as error:
        return error.message
    return None


def load_mnn() -> tuple[Any, Any]:
    """MNN's modules `nn` and `expr`.

    Raises:
        BackendError: it is not installed or does not load.
    """
    try:
        with _silence():
            from MNN import expr, nn  # noqa: PLC0415  # an optional package
    except ImportError as error:
        raise BackendError(f"MNN is not installed ({error}); run: {MEND}") from error
    return nn, expr


class MnnBackend:
    """A bundle's fp32 graphs, or some of them, in MNN modules; see `seas_runtime.backends.Backend`.

    `precision` high keeps fp32 throughout. A graph is loaded without `rearrange`: that would pack the weights before the
    sizes are known, which rules Winograd out. A newly converted graph is compared with ONNX Runtime before it is kept,
    since the converter takes some graphs without a word and computes something else.

    Raises:
        BackendError: a package is missing, or a graph cannot be converted or loaded, or is not what it was converted from.
    """

    name = "mnn"

    def __init__(
        self, bundle: Bundle, threads: int = 0, graphs: Sequence[GraphName] = REQUIRED_GRAPHS
    ) -> None:
        load_mnn()
        self._version = version("MNN")
        self._modules = {graph: self._open(bundle, graph, threads or _usable_cores()) for graph in graphs}

    def run(
        self, graph: GraphName, feeds: Mapping[str, NDArray[Any]], outputs: tuple[str, ...]
    ) -> dict[str, NDArray[np.float32]]:
        """Run one graph; all its outputs are computed, `outputs` are copied out."""
        try:
            return self._modules[graph].run(feeds, outputs)
        except _FAILURES as error:
            raise BackendError(
                f"{graph} failed on backend mnn; try a smaller --batch, or --backend cpu"
            ) from error

    def describe(self) -> dict[str, str]:
        """Engine, version, precision and device."""
        return {"name": self.name, "engine": f"MNN {self._version}", "precision": "fp32", "device": "CPU"}

    def _open(self, bundle: Bundle, graph: GraphName, threads: int) -> _Module:
        specs = bundle.manifest.graphs[graph]

        def load(file: Path) -> _Module:
            try:
                return _Module(file, specs, threads)
            except _FAILURES as error:
                raise BackendError(
                    f"{graph}: MNN {self._version} cannot load it; use --backend cpu"
                ) from error

        def check(file: Path) -> None:
            _compare(bundle, graph, load(file), threads)

        with model_file(bundle, graph, self._version, check) as file:
            return load(file)


class _Module:
    """One graph, with the runtime that must live as long.

    Raises:
        SystemError: a file that MNN cannot load.
    """

    def __init__(self, file: Path, specs: Graph, threads: int) -> None:
        nn, self._expr = load_mnn()
        self._specs = specs
        self._outputs = _names(specs.outputs)
        settings = {"backend": "CPU", "numThread": threads, "precision": "high", "memory": "high"}
        with _silence():
            self._runtime = nn.create_runtime_manager((settings,))
            self._module = nn.load_module_from_file(
                str(file), _names(specs.inputs), self._outputs, runtime_manager=self._runtime
            )

    def run(
        self, feeds: Mapping[str, NDArray[Any]], outputs: tuple[str, ...]
    ) -> dict[str, NDArray[np.float32]]:
        """Outputs by name; ValueError where MNN gives none or others, which is all it says of a failure."""
        variables = [self._variable(spec, feeds[spec.name]) for spec in self._specs.inputs]
        computed = dict(zip(self._outputs, self._module.forward(variables), strict=True))
        results = {name: self._array(computed[name]) for name in outputs}
        rows = len(feeds[self._specs.inputs[0].name])
        for spec in self._specs.outputs:
            if spec.name in results and results[spec.name].shape != (rows, *spec.shape[1:]):
                raise ValueError(f"{spec.name} has shape {results[spec.name].shape}")
        return results

    def _variable(self, spec: TensorSpec, value: NDArray[Any]) -> Any:
        """MNN has no int64; timesteps fit into 32 bits."""
        whole = spec.dtype == "int64"
        data = np.ascontiguousarray(value, np.int32 if whole else np.float32)
        kind = self._expr.int if whole else self._expr.float
        return self._expr.const(data, list(data.shape), self._expr.NCHW, kind)

    def _array(self, variable: Any) -> NDArray[np.float32]:
        return np.array(self._expr.convert(variable, self._expr.NCHW).read(), np.float32)


def _compare(bundle: Bundle, graph: GraphName, module: _Module, threads: int) -> None:
    """Compare every output with ONNX Runtime's on random inputs of two rows.

    Raises:
        BackendError: they differ by more than `TOLERANCE`, or there is no ONNX Runtime.
    """
    specs = bundle.manifest.graphs[graph]
    rng = np.random.default_rng(0)
    feeds: dict[str, NDArray[Any]] = {
        spec.name: np.array([500, 20])
        if spec.dtype == "int64"
        else rng.normal(size=(2, *map(int, spec.shape[1:]))).astype(np.float32)
        for spec in specs.inputs
    }
    outputs = tuple(_names(specs.outputs))
    try:
        found = module.run(feeds, outputs)
    except _FAILURES as error:
        raise BackendError(f"{graph}: MNN cannot run it; use --backend cpu") from error
    expected = OrtBackend(bundle, "cpu", threads, (graph,)).run(graph, feeds, outputs)
    for name in outputs:
        distance = np.linalg.norm(found[name] - expected[name]) / np.linalg.norm(expected[name])
        if not distance <= TOLERANCE:
            raise BackendError(
                f"{graph}: MNN computes another {name} than ONNX Runtime (relative L2 {distance:.1e} found, "
                f"at most {TOLERANCE:g} expected); use --backend cpu"
            )


def _names(specs: Sequence[TensorSpec]) -> list[str]:
    return [spec.name for spec in specs]


def _usable_cores() -> int:
    """MNN's own choice is four threads on any machine."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _silence() -> Iterator[None]:
    """Drop what MNN prints to standard output from C."""
    sys.stdout.flush()
    kept = os.dup(_STDOUT)
    try:
        with open(os.devnull, "wb") as null:  # noqa: PTH123  # a device, not a path
            os.dup2(null.fileno(), _STDOUT)
        yield
    finally:
        ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None).fflush(None)
        os.dup2(kept, _STDOUT)
        os.close(kept)
