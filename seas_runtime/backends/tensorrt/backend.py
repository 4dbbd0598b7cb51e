"""Native engines of TensorRT and TensorRT-RTX, run through cuda.core: no copy that nobody asked for, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from seas_runtime.backends import Backend, BatchJob
from seas_runtime.backends.tensorrt.cuda import missing_cuda
from seas_runtime.backends.tensorrt.device_loop import Loop, storage_of
from seas_runtime.backends.tensorrt.engine_set import EngineSet, read_engines
from seas_runtime.backends.tensorrt.graph_engine import shape_of
from seas_runtime.backends.tensorrt.library import Library, Variant, load
from seas_runtime.backends.tensorrt.session import Session, memory_of
from seas_runtime.bundle.graphs import GraphName
from seas_runtime.bundle.reader import Bundle
from seas_runtime.bundle.schema import ENGINES
from seas_runtime.device import NO_GPU, Gpu, current_gpu, driver_version
from seas_runtime.errors import BackendError
from seas_runtime.kernels.loader import load_kernels

CUDA = (13, 0)  # the packages in pyproject.toml are those of CUDA 13


def open_graphs(name: str, bundle: Bundle, threads: int) -> Backend:  # threads are of no use to a GPU
    """Open the engines of a bundle that fit; see `seas_runtime.backends.BackendModule`.

    Raises:
        BackendError: package, driver or GPU missing; no engines in the bundle, or for another GPU or version.
        BundleError: engines that are damaged, or of another bundle.
    """
    if reason := missing(name):
        raise BackendError(reason)
    library = load(cast("Variant", name))
    device = current_gpu()
    if device is None:
        raise BackendError(NO_GPU)
    engines = fitting_engines(bundle, library, device)
    session = Session(bundle, library, engines, device.capability)
    facts = {
        "name": name,
        "engine": library.title,
        "precision": " ".join(sorted({entry.precision for entry in engines.facts.graphs.values()})),
        "device": f"{device.name} ({device.capability})",
    }
    try:
        kernels = load_kernels(storage_of(bundle.manifest))
    except BackendError as error:  # slower, and as good
        return TrtBackend(session, facts | {"loop": f"host ({error.message})"})
    return LoopBackend(session, facts | {"loop": "device"}, Loop(session, kernels))


def missing(name: str) -> str | None:
    """Why engines of variant `name` cannot run here; see `seas_runtime.backends.BackendModule`."""
    try:
        load(cast("Variant", name))
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


def fitting_engines(bundle: Bundle, library: Library, device: Gpu) -> EngineSet:
    """The bundle's engine set for the installed library and the GPU of this machine, verified.

    Raises:
        BackendError: there is none for this version, or it is for other GPUs.
        BundleError: it is damaged, or of another bundle.
    """
    build = f"seas-engine build {bundle.path} --variant {library.variant}"
    wanted = f"{library.variant}-{library.version}"
    folder = bundle.path / ENGINES
    if not (folder / wanted).exists():
        others = sorted(path.name for path in folder.glob(f"{library.variant}-*") if path.is_dir())
        found = f"engines {', '.join(others)}" if others else f"no {library.variant} engines"
        raise BackendError(f"{bundle.path}: {found} found, {wanted} expected; run: {build}")
    engines = read_engines(bundle, library.variant, library.version)
    facts = engines.facts
    if device.capability not in facts.gpus or facts.device not in (None, device.name):
        built = f"{' '.join(facts.gpus)}{f' ({facts.device})' if facts.device else ''}"
        gpu = f" --gpu {device.capability}" if library.variant == "rtx" else ""
        raise BackendError(
            f"{engines.path}: engines for {built} found, {device.capability} ({device.name}) expected; run: {build}{gpu} --replace"
        )
    return engines


class TrtBackend:
    """A bundle's engines on the GPU, see `seas_runtime.backends.Backend`; `facts` is what it says of itself."""

    def __init__(self, session: Session, facts: dict[str, str]) -> None:
        self.name, self.workers = facts["name"], 1
        self._session, self._facts = session, facts

    def run(self, graph: GraphName, feeds: Mapping[str, NDArray[Any]], outputs: tuple[str, ...]) -> dict[str, NDArray[np.float32]]:
        """Run one graph on n rows, see `Backend.run`; float32 in and out, whatever precision its tensors have."""
        gpu, specs = self._session.gpu, self._session.graph(graph)
        rows = len(feeds[specs.inputs[0].name])
        asked = [spec for spec in specs.outputs if spec.name in outputs]
        with self._session.ready([(graph, rows)]) as engines:
            for spec in specs.inputs:
                gpu.upload(memory_of(spec), np.ascontiguousarray(feeds[spec.name], spec.dtype))
            engines[graph, rows].launch()
            results = gpu.download({memory_of(spec): (shape_of(spec, rows), np.dtype(spec.dtype)) for spec in asked})
        return {spec.name: results[memory_of(spec)].astype(np.float32, copy=False) for spec in asked}

    def describe(self) -> dict[str, str]:
        """Engine, version, precision, device, and where the sampler's loop runs."""
        return dict(self._facts)


class LoopBackend(TrtBackend):
    """The same, with the sampler's loop on the GPU; see `seas_runtime.backends.BatchBackend`."""

    def __init__(self, session: Session, facts: dict[str, str], loop: Loop) -> None:
        super().__init__(session, facts)
        self._loop = loop

    def sample_batch(self, job: BatchJob) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        """From start latents (n, C, h, w) to images, masks and the masks of each step, see `BatchBackend`."""
        return self._loop.run(job)
