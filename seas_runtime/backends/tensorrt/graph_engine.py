"""One graph's TensorRT engine: loaded, checked against the manifest, and made ready for a number of rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from seas_runtime.backends.tensorrt.cuda import CudaDevice, explained, failure
from seas_runtime.backends.tensorrt.engine_set import Engine
from seas_runtime.backends.tensorrt.jit_cache import JitCache
from seas_runtime.backends.tensorrt.library import Library
from seas_runtime.bundle.graphs import Graph, GraphName, TensorSpec
from seas_runtime.errors import BackendError


class GraphEngine:
    """A graph's engine in the memory of the GPU.

    Raises:
        BackendError: TensorRT does not load it, or its tensors are not the manifest's.
        DeviceMemoryError: it does not fit into the GPU's memory.
    """

    def __init__(
        self,
        library: Library,
        runtime: Any,
        name: GraphName,
        graph: Graph,
        entry: Engine,
        path: Path,
        cache: JitCache | None,
    ) -> None:
        self.name, self.graph, self.entry = name, graph, entry
        self._library = library
        library.logger.errors.clear()
        self._engine = runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            raise self._failure(f"loading {path.name}")
        self._check(path.name)
        self._config = self._engine.create_runtime_config()
        self._config.set_execution_context_allocation_strategy(library.trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        if library.variant == "rtx":
            self._set_up_jit(cache)

    def scratch(self, profile: int) -> int:
        """Bytes of memory that the engine works in under a profile."""
        return int(self._engine.get_device_memory_size_for_profile_v2(profile))

    def context(self, rows: int, addresses: Mapping[str, int], scratch: tuple[int, int], gpu: CudaDevice) -> Ready:
        """Make the engine ready for a number of rows.

        One context serves one shape: a captured CUDA graph must not see its context change.

        Args:
            rows: that many, in the profile that takes them.
            addresses: device memory of every tensor.
            scratch: address and size of the memory to work in, at least `scratch(profile)`.
            gpu: where it will run.

        Raises:
            BackendError: more rows than the engine was built for; TensorRT refuses.
            DeviceMemoryError: the GPU has too little memory.
        """
        profile = self.entry.profile(rows)
        self._library.logger.errors.clear()
        context = self._engine.create_execution_context(self._config)
        if context is None:
            raise self._failure(f"{self.name}: making a context for {rows} rows")
        good = context.set_optimization_profile_async(profile, gpu.handle)
        context.set_device_memory(*scratch)  # after the profile, whose need is less than that of the largest
        for spec in self.graph.inputs:
            good = good and context.set_input_shape(spec.name, shape_of(spec, rows))
        for spec in (*self.graph.inputs, *self.graph.outputs):
            good = good and context.set_tensor_address(spec.name, addresses[spec.name])
        if not good or context.infer_shapes():
            raise self._failure(f"{self.name}: setting {rows} rows")
        for spec in self.graph.outputs:
            if (found := tuple(context.get_tensor_shape(spec.name))) != shape_of(spec, rows):
                raise BackendError(
                    f"{self.entry.file}: {spec.name} has shape {found}, the manifest says "
                    f"{shape_of(spec, rows)}; build the engines again"
                )
        gpu.sync()  # a profile is set by copies on the stream
        return Ready(self, context, gpu)

    def enqueue(self, context: Any, stream: int) -> bool:
        """Put a run on a stream; False if TensorRT refuses."""
        self._library.logger.errors.clear()
        return bool(context.execute_async_v3(stream))

    def failed(self) -> BackendError:
        """The error for a run that TensorRT refused."""
        return self._failure(f"{self.name}: running")

    def _set_up_jit(self, cache: JitCache | None) -> None:
        trt, config = self._library.trt, self._config
        # The default, LAZY, changes kernels, and with them the last bits, whenever a thread has compiled them.
        config.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
        config.cuda_graph_strategy = trt.CudaGraphStrategy.DISABLED  # graphs are captured here
        if cache is not None:
            cache.attach(config)

    def _check(self, file: str) -> None:
        """Names, types and directions of the tensors must be the manifest's: memory is sized by it."""
        trt, engine = self._library.trt, self._engine
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        found = {
            name: (
                engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT,
                np.dtype(trt.nptype(engine.get_tensor_dtype(name))).name,
            )
            for name in names
        }
        wanted = {spec.name: (True, spec.dtype) for spec in self.graph.inputs}
        wanted |= {spec.name: (False, spec.dtype) for spec in self.graph.outputs}
        if found != wanted:
            odd = sorted(name for name in found | wanted if found.get(name) != wanted.get(name))
            raise BackendError(f"{file}: tensors {', '.join(odd)} are not those of the manifest; build the engines again")

    def _failure(self, deed: str) -> BackendError:
        errors = self._library.logger.errors
        return failure(deed, errors[-1] if errors else f"{self._library.title} gives no reason")


class Ready:
    """An engine ready for one number of rows: run plainly once, then captured as a CUDA graph and replayed."""

    def __init__(self, engine: GraphEngine, context: Any, gpu: CudaDevice) -> None:
        self._engine, self._context, self._gpu = engine, context, gpu
        self._graph: Any = None
        self._warm = False
        self._capturable = True

    @property
    def warm(self) -> bool:
        """Whether it has run, and so compiled what it needs."""
        return self._warm

    def launch(self) -> None:
        """Put one run on the GPU's stream.

        Raises:
            BackendError: TensorRT or CUDA refuses.
        """
        if self._warm and self._graph is None and self._capturable:
            self._capture()
        if self._graph is not None:
            with explained(f"{self._engine.name}: running"):
                self._graph.launch(self._gpu.stream)
        elif not self._engine.enqueue(self._context, self._gpu.handle):
            raise self._engine.failed()
        self._warm = True

    def _capture(self) -> None:
        """Try once; where it is refused, runs stay plain."""
        ask = getattr(self._context, "is_stream_capturable", None)  # not in every TensorRT
        if ask is None or ask(self._gpu.handle):
            self._graph = self._gpu.capture(lambda stream: self._engine.enqueue(self._context, stream))
        self._capturable = self._graph is not None


def shape_of(spec: TensorSpec, rows: int) -> tuple[int, ...]:
    """A tensor's shape for a number of rows."""
    return tuple(rows if isinstance(side, str) else side for side in spec.shape)
