"""The engines of a bundle on one GPU, with the memory that they share."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from seas_runtime.backends.tensorrt.cuda import CudaDevice
from seas_runtime.backends.tensorrt.engine_set import EngineSet
from seas_runtime.backends.tensorrt.graph_engine import GraphEngine, Ready, shape_of
from seas_runtime.backends.tensorrt.jit_cache import JitCache, cache_file
from seas_runtime.backends.tensorrt.library import Library
from seas_runtime.bundle.graphs import Graph, GraphName, TensorSpec
from seas_runtime.bundle.reader import Bundle
from seas_runtime.errors import DeviceMemoryError

Sized = tuple[GraphName, int]  # a graph and its number of rows
_SCRATCH = "scratch"


class Session:
    """Engines that take turns on one stream.

    They share one scratch memory and, by name, the memory of their tensors: where one graph's output is another's input,
    it is the same memory ("latent" is the start of "sample"). Memory grows to the largest number of rows asked for and
    stays.

    Raises:
        BackendError: an engine does not load, or is not the manifest's graph.
        DeviceMemoryError: the engines do not fit into the GPU's memory.
    """

    def __init__(self, bundle: Bundle, library: Library, engines: EngineSet, capability: str) -> None:
        self.gpu = CudaDevice()
        self._cache: JitCache | None = None
        if library.variant == "rtx":
            self._cache = JitCache(cache_file(library.version, capability, engines.facts.core))
        self._runtime = runtime = library.trt.Runtime(library.logger)  # engines need it as long as they live
        graphs = bundle.manifest.graphs
        self._engines = {
            name: GraphEngine(library, runtime, name, graphs[name], entry, engines.file(name), self._cache)
            for name, entry in engines.facts.graphs.items()
        }
        self._ready: dict[Sized, Ready] = {}

    @property
    def names(self) -> tuple[GraphName, ...]:
        """The graphs that there are engines of."""
        return tuple(self._engines)

    def graph(self, name: GraphName) -> Graph:
        """The tensors of a graph."""
        return self._engines[name].graph

    @contextmanager
    def ready(self, sizes: Collection[Sized], more: Mapping[str, int] | None = None) -> Iterator[dict[Sized, Ready]]:
        """Engines ready for their numbers of rows, for the time of a block.

        Args:
            sizes: each graph that will run in the block, with a number of rows.
            more: device memory beside that of the tensors, bytes by name.

        Raises:
            BackendError: more rows than an engine was built for; TensorRT refuses.
            DeviceMemoryError: here or in the block; all memory is given back then, so that fewer rows find room.
        """
        try:
            self._reserve(sizes, more or {})
            engines = {(name, rows): self._prepare(name, rows) for name, rows in sizes}
            new = any(not engine.warm for engine in engines.values())
            yield engines
        except DeviceMemoryError:
            self._ready.clear()
            self.gpu.release()
            raise
        if new and self._cache is not None:
            self._cache.save()

    def _reserve(self, sizes: Collection[Sized], more: Mapping[str, int]) -> None:
        memory = dict(more)
        for name, rows in sizes:
            engine = self._engines[name]
            needs = {memory_of(spec): size_of(spec, rows) for spec in _tensors(engine.graph)}
            needs[_SCRATCH] = max(1, engine.scratch(engine.entry.profile(rows)))
            memory |= {key: max(size, memory.get(key, 0)) for key, size in needs.items()}
        if not self.gpu.holds(memory):
            self.gpu.sync()
            self._ready.clear()  # they know addresses that will no longer be right
            self.gpu.reserve(memory)

    def _prepare(self, name: GraphName, rows: int) -> Ready:
        if (name, rows) not in self._ready:
            engine = self._engines[name]
            addresses = {spec.name: self.gpu.address(memory_of(spec)) for spec in _tensors(engine.graph)}
            scratch = (self.gpu.address(_SCRATCH), self.gpu.size(_SCRATCH))
            self._ready[name, rows] = engine.context(rows, addresses, scratch, self.gpu)
        return self._ready[name, rows]


def memory_of(spec: TensorSpec) -> str:
    """The name of a tensor's device memory: tensors of one name and type share it, whatever their graph."""
    name = "sample" if spec.name == "latent" else spec.name
    return f"{name} {spec.dtype}"


def size_of(spec: TensorSpec, rows: int) -> int:
    """A tensor's bytes for a number of rows."""
    return int(np.prod(shape_of(spec, rows))) * np.dtype(spec.dtype).itemsize


def _tensors(graph: Graph) -> tuple[TensorSpec, ...]:
    return (*graph.inputs, *graph.outputs)
