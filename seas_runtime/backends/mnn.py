"""MNN: fp32 on the CPU, 3x3 convolutions by Winograd's algorithm."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from queue import SimpleQueue
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seas_runtime.backends.mnn_convert import model_file
from seas_runtime.backends.ort import OrtBackend
from seas_runtime.backends.registry import BACKENDS
from seas_runtime.backends.workers import CoreSplit, borrowed, split_cores, usable_cores
from seas_runtime.bundle.graphs import Graph, GraphName, TensorSpec
from seas_runtime.bundle.reader import Bundle
from seas_runtime.errors import BackendError

TOLERANCE = 1e-2  # as for fp16 graphs; 1e-5 to 1e-3 have been seen
_STDOUT = 1
# What MNN raises, and what is raised where it gives no result; the reason is among what it prints.
_FAILURES = (SystemError, RuntimeError, ValueError, TypeError, MemoryError)


def open_graphs(name: str, bundle: Bundle, threads: int) -> MnnBackend:  # one name, one engine
    """Open a bundle in MNN; see `seas_runtime.backends.BackendModule`."""
    return MnnBackend(bundle, split_cores(bundle.manifest, threads))


def missing(name: str) -> str | None:
    """Why MNN cannot be used; see `seas_runtime.backends.BackendModule`."""
    try:
        load_mnn()
    except BackendError as error:
        return error.message
    return None


def load_mnn() -> ModuleType:
    """The module `MNN`.

    Raises:
        BackendError: it is not installed or does not load.
    """
    try:
        with _silence():
            import MNN  # noqa: PLC0415  # an optional package
    except ImportError as error:
        raise BackendError(f"MNN is not installed ({error}); run: {BACKENDS['mnn'].hint}") from error
    module: ModuleType = MNN
    return module


class MnnBackend:
    """A bundle's fp32 graphs, or some of them, in MNN sessions; see `seas_runtime.backends.Backend`.

    Each worker has sessions of its own. MNN's modules, its newer interface, would hold the interpreter's lock while they compute.
    A newly converted graph is compared with ONNX Runtime before it is kept, since the converter takes some graphs without a
    word and computes something else.

    Raises:
        BackendError: a package is missing, or a graph cannot be converted or loaded, or is not what it was converted from.
    """

    name = "mnn"

    def __init__(self, bundle: Bundle, split: CoreSplit, graphs: Sequence[GraphName] = ()) -> None:
        load_mnn()
        self._version = version("MNN")
        self._split, self.workers = split, split.workers
        self._sessions = {graph: self._open(bundle, graph) for graph in graphs or bundle.manifest.sampled}

    def run(self, graph: GraphName, feeds: Mapping[str, NDArray[Any]], outputs: tuple[str, ...]) -> dict[str, NDArray[np.float32]]:
        """Run one graph on n rows, see `Backend.run`; all its outputs are computed, `outputs` are copied out."""
        try:
            with borrowed(self._sessions[graph]) as session:
                return session.run(feeds, outputs)
        except _FAILURES as error:
            raise BackendError(f"{graph} failed on backend mnn; try a smaller --batch, or --backend cpu") from error

    def describe(self) -> dict[str, str]:
        """Engine, version, precision and device."""
        facts = {"name": self.name, "engine": f"MNN {self._version}", "precision": "fp32", "device": "CPU"}
        return {**facts, **self._split.facts()}

    def _open(self, bundle: Bundle, graph: GraphName) -> SimpleQueue[_Session]:
        specs = bundle.manifest.graphs[graph]
        sessions: SimpleQueue[_Session] = SimpleQueue()

        def load(file: Path) -> _Session:
            try:
                return _Session(file, specs, self._split.threads or usable_cores())  # MNN's choice is always 4
            except _FAILURES as error:
                raise BackendError(f"{graph}: MNN {self._version} cannot load it; use --backend cpu") from error

        def check(file: Path) -> None:
            _compare(bundle, graph, load(file), self._split)

        with model_file(bundle, graph, self._version, check) as file:
            for _ in range(self.workers):
                sessions.put(load(file))
        return sessions


class _Session:
    """One graph, for one thread at a time; `precision` high keeps fp32 throughout.

    Raises:
        ValueError: a file that MNN cannot load.
    """

    def __init__(self, file: Path, specs: Graph, threads: int) -> None:
        self._mnn = load_mnn()
        self._specs = specs
        self._rows = 0
        settings = {"backend": "CPU", "numThread": threads, "precision": "high", "memory": "high"}
        with _silence():
            self._net = self._mnn.Interpreter(str(file))
            self._session = self._net.createSession(settings)
        self._inputs = {name: self._net.getSessionInput(self._session, name) for name in _names(specs.inputs)}

    def run(self, feeds: Mapping[str, NDArray[Any]], outputs: tuple[str, ...]) -> dict[str, NDArray[np.float32]]:
        """Outputs by name.

        Raises:
            ValueError: inputs or outputs of other shapes than the manifest's, or a failure, of which MNN gives a number.
        """
        rows = len(feeds[self._specs.inputs[0].name])
        for spec in self._specs.inputs:
            _check_shape(spec, rows, feeds[spec.name].shape)
        if rows != self._rows:
            self._resize(rows)
        for spec in self._specs.inputs:
            self._inputs[spec.name].copyFrom(self._host(feeds[spec.name], spec.dtype == "int64"))
        if status := self._net.runSession(self._session):
            raise ValueError(f"status {status}")
        return {spec.name: self._output(spec, rows) for name in outputs for spec in self._specs.outputs if spec.name == name}

    def _resize(self, rows: int) -> None:
        self._rows = 0
        for spec in self._specs.inputs:
            self._net.resizeTensor(self._inputs[spec.name], (rows, *map(int, spec.shape[1:])))
        self._net.resizeSession(self._session)
        self._rows = rows

    def _output(self, spec: TensorSpec, rows: int) -> NDArray[np.float32]:
        computed = self._net.getSessionOutput(self._session, spec.name)
        _check_shape(spec, rows, computed.getShape())
        host = self._host(np.empty(computed.getShape(), np.float32), whole=False)
        computed.copyToHostTensor(host)
        return np.array(host.getNumpyData(), np.float32)

    def _host(self, value: NDArray[Any], whole: bool) -> Any:
        """MNN has no int64; timesteps fit into 32 bits."""
        data = np.ascontiguousarray(value, np.int32 if whole else np.float32)
        kind = self._mnn.Halide_Type_Int if whole else self._mnn.Halide_Type_Float
        return self._mnn.Tensor(data.shape, kind, data, self._mnn.Tensor_DimensionType_Caffe)


def _check_shape(spec: TensorSpec, rows: int, found: tuple[int, ...]) -> None:
    if tuple(found) != (rows, *spec.shape[1:]):
        raise ValueError(f"{spec.name} has shape {tuple(found)}")


def _compare(bundle: Bundle, graph: GraphName, session: _Session, split: CoreSplit) -> None:
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
        found = session.run(feeds, outputs)
    except _FAILURES as error:
        raise BackendError(f"{graph}: MNN cannot run it; use --backend cpu") from error
    expected = OrtBackend(bundle, "cpu", split, (graph,)).run(graph, feeds, outputs)
    for name in outputs:
        with np.errstate(over="ignore"):
            distance = np.linalg.norm(found[name] - expected[name]) / np.linalg.norm(expected[name])
        if not distance <= TOLERANCE:
            raise BackendError(
                f"{graph}: MNN computes another {name} than ONNX Runtime (relative L2 {distance:.1e} found, "
                f"at most {TOLERANCE:g} expected); use --backend cpu"
            )


def _names(specs: Sequence[TensorSpec]) -> list[str]:
    return [spec.name for spec in specs]


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
