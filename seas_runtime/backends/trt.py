"""Native engines of TensorRT and TensorRT-RTX, run through cuda.core: no copy that nobody asked for, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from seas_runtime.backends import Backend
from seas_runtime.backends.gpu import Gpu, missing_cuda
from seas_runtime.backends.jit_cache import JitCache, cache_file
from seas_runtime.backends.trt_engine import GraphEngine, Ready, shape_of
from seas_runtime.bundle import Bundle
from seas_runtime.device import NO_GPU, current_gpu, driver_version
from seas_runtime.device import Gpu as Device
from seas_runtime.engines import EngineSet, read_engines
from seas_runtime.errors import BackendError, DeviceMemoryError
from seas_runtime.flavours import Flavour, Library, load
from seas_runtime.manifest import ENGINES, GraphName, TensorSpec

CUDA = (13, 0)  # the packages in pyproject.toml are those of CUDA 13
_SCRATCH = "scratch"


def open_graphs(name: str, bundle: Bundle, threads: int) -> Backend:  # threads are of no use to a GPU
    """Open the engines of a bundle that fit; see `seas_runtime.backends.BackendModule`.

    Raises:
        BackendError: package, driver or GPU missing; no engines in the bundle, or for another GPU or version.
        BundleError: engines that are damaged, or of another bundle.
    """
    if reason := missing(name):
        raise BackendError(reason)
    library = load(cast("Flavour", name))
    device = current_gpu()
    if device is None:
        raise BackendError(NO_GPU)
    return TrtBackend(bundle, library, fitting_engines(bundle, library, device), device)


def missing(name: str) -> str | None:
    """Why engines of flavour `name` cannot run here; see `seas_runtime.backends.BackendModule`."""
    try:
        load(cast("Flavour", name))
    except BackendError as error:
        return error.message
    if reason := missing_cuda():
        return reason
    if current_gpu() is None:
        return NO_GPU
    if (version := driver_version()) is not None and version < CUDA:
        found, expected = (".".join(map(str, pair)) for pair in (version, CUDA))
        return f"the driver knows CUDA up to {found}, {expected} expected; update it to 580 or later, see nvidia-smi"
    return None


def fitting_engines(bundle: Bundle, library: Library, device: Device) -> EngineSet:
    """The bundle's engine set for the installed library and the GPU of this machine, verified.

    Raises:
        BackendError: there is none for this version, or it is for other GPUs.
        BundleError: it is damaged, or of another bundle.
    """
    build = f"seas-engine build {bundle.path} --flavour {library.flavour}"
    wanted = f"{library.flavour}-{library.version}"
    folder = bundle.path / ENGINES
    if not (folder / wanted).exists():
        others = sorted(path.name for path in folder.glob(f"{library.flavour}-*") if path.is_dir())
        found = f"engines {', '.join(others)}" if others else f"no {library.flavour} engines"
        raise BackendError(f"{bundle.path}: {found} found, {wanted} expected; run: {build}")
    engines = read_engines(bundle, library.flavour, library.version)
    facts = engines.facts
    if device.capability not in facts.gpus or facts.device not in (None, device.name):
        built = f"{' '.join(facts.gpus)}{f' ({facts.device})' if facts.device else ''}"
        gpu = f" --gpu {device.capability}" if library.flavour == "rtx" else ""
        raise BackendError(
            f"{engines.path}: engines for {built} found, {device.capability} ({device.name}) expected; "
            f"run: {build}{gpu} --replace"
        )
    return engines


class TrtBackend:
    """A bundle's engines on the GPU; see `seas_runtime.backends.Backend`.

    All graphs share one stream, one scratch memory and, by name, the memory of their tensors: where one graph's output
    is another's input, it is the same memory ("latent" is the start of "sample"). Memory grows to the largest number of
    rows asked for and stays.

    Raises:
        BackendError: an engine does not load, or is not the manifest's graph.
        DeviceMemoryError: the engines do not fit into the GPU's memory.
    """

    def __init__(self, bundle: Bundle, library: Library, engines: EngineSet, device: Device) -> None:
        self.name: str = library.flavour
        self._library, self._device, self._facts = library, device, engines.facts
        self._gpu = Gpu()
        self._cache: JitCache | None = None
        if library.flavour == "rtx":
            self._cache = JitCache(cache_file(library.version, device.capability, engines.facts.core))
        self._runtime = runtime = library.trt.Runtime(library.log)  # engines need it as long as they live
        graphs = bundle.manifest.graphs
        self._engines = {
            name: GraphEngine(library, runtime, name, graphs[name], entry, engines.file(name), self._cache)
            for name, entry in engines.facts.graphs.items()
        }
        self._ready: dict[tuple[GraphName, int], Ready] = {}

    def run(
        self, graph: GraphName, feeds: Mapping[str, NDArray[Any]], outputs: tuple[str, ...]
    ) -> dict[str, NDArray[np.float32]]:
        """Run one graph; float32 in and out, whatever precision its tensors have."""
        try:
            return self._run(graph, feeds, outputs)
        except DeviceMemoryError:
            self._ready.clear()
            self._gpu.release()  # so that fewer rows find room
            raise

    def describe(self) -> dict[str, str]:
        """Engine, version, precision and device."""
        precisions = sorted({entry.precision for entry in self._facts.graphs.values()})
        return {
            "name": self.name,
            "engine": self._library.title,
            "precision": " ".join(precisions),
            "device": f"{self._device.name} ({self._device.capability})",
        }

    def _run(
        self, graph: GraphName, feeds: Mapping[str, NDArray[Any]], outputs: tuple[str, ...]
    ) -> dict[str, NDArray[np.float32]]:
        specs = self._engines[graph].graph
        rows = len(feeds[specs.inputs[0].name])
        ready = self._prepare(graph, rows)
        for spec in specs.inputs:
            self._gpu.upload(memory_of(spec), np.ascontiguousarray(feeds[spec.name], spec.dtype))
        first = not ready.warm
        ready.launch()
        asked = [spec for spec in specs.outputs if spec.name in outputs]
        results = self._gpu.download(
            {memory_of(spec): (shape_of(spec, rows), np.dtype(spec.dtype)) for spec in asked}
        )
        if first and self._cache is not None:
            self._cache.save()
        return {spec.name: results[memory_of(spec)].astype(np.float32, copy=False) for spec in asked}

    def _prepare(self, graph: GraphName, rows: int) -> Ready:
        """The graph's engine, ready for these rows."""
        if (graph, rows) not in self._ready:
            engine = self._engines[graph]
            scratch = engine.scratch(engine.entry.profile(rows))
            specs = (*engine.graph.inputs, *engine.graph.outputs)
            sizes = {_SCRATCH: max(scratch, 1)} | {memory_of(spec): _bytes(spec, rows) for spec in specs}
            if not self._gpu.holds(sizes):
                self._gpu.sync()
                self._ready.clear()  # they know addresses that are no longer right
                self._gpu.reserve(sizes)
            addresses = {spec.name: self._gpu.address(memory_of(spec)) for spec in specs}
            room = (self._gpu.address(_SCRATCH), sizes[_SCRATCH])
            self._ready[graph, rows] = engine.context(rows, addresses, room, self._gpu)
        return self._ready[graph, rows]


def memory_of(spec: TensorSpec) -> str:
    """The name of a tensor's device memory: tensors of one name and type share it, whatever their graph."""
    name = "sample" if spec.name == "latent" else spec.name
    return f"{name} {spec.dtype}"


def _bytes(spec: TensorSpec, rows: int) -> int:
    return int(np.prod(shape_of(spec, rows))) * np.dtype(spec.dtype).itemsize
