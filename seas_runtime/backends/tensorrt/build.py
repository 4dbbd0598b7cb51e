"""A bundle's ONNX graphs -> TensorRT-RTX or TensorRT engines beside its core; needs that package alone."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seas_runtime.backends.cache import cache_root
from seas_runtime.backends.tensorrt.compiler import Source, Unsupported, compile_graph, find_unsupported
from seas_runtime.backends.tensorrt.engine_set import (
    DESCRIPTION,
    FORMAT,
    BuildSettings,
    Engine,
    EngineFacts,
    EngineSet,
    Profile,
    read_engines,
)
from seas_runtime.backends.tensorrt.library import Library, Variant, load
from seas_runtime.bundle.digest import stored_form
from seas_runtime.bundle.graphs import Graph, GraphName, Precision
from seas_runtime.bundle.reader import Bundle, read_bundle
from seas_runtime.bundle.schema import ENGINES
from seas_runtime.bundle.verified import verify_again
from seas_runtime.device import current_gpu
from seas_runtime.errors import BackendError, OutputError, SettingsError
from seas_runtime.files import TEMPORARY_SUFFIX, flush_folder, locked, write_atomic

BATCHES = (1, 4, 8, 16)
MAX_BATCH = 256
ALL = "all"
TURING = "sm75"  # made only when asked for: it slows an engine down on the others (RTX support matrix)
SHOWN = 5

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Target:
    """What to build for: compute capabilities, and the device's name where there is only this one."""

    gpus: tuple[str, ...]
    device: str | None


def build(
    bundle: Path | str,
    variant: Variant = "rtx",
    gpus: Sequence[str] = (),
    batches: Sequence[int] = BATCHES,
    progress: Progress | None = None,
    *,
    replace: bool = False,
) -> EngineSet:
    """Build the engines of the graphs that a bundle's sampler runs into its `engines/<variant>-<version>/`.

    A graph that the bundle has in fp16 is built from that, else from fp32. Nothing is left behind by a build
    that fails or is interrupted.

    Args:
        bundle: the folder `NAME.plan`; it is verified first.
        variant: "rtx" builds ahead of time, without GPU or driver; "tensorrt" on the GPU that will run it.
        gpus: compute capabilities, as "sm89", or "all"; none stands for Ampere and later with "rtx", for the GPU
            of this machine with "tensorrt".
        batches: pairs for which an engine is tuned. Any number of pairs up to the largest runs.
        progress: called with a line before and after each graph.
        replace: build again where the bundle has engines of this variant and version.

    Raises:
        SettingsError: an unknown GPU, a batch outside 1..256.
        BundleError: see `read_bundle`.
        BackendError: the package or the GPU is missing; a node is not supported; TensorRT fails.
        OutputError: there are such engines already; the bundle's folder cannot be written, the disk is full.
    """
    sizes = _batches(batches)
    library = load(variant)
    target = _target(library, gpus)
    job = _Job(library, read_bundle(bundle), target, sizes, progress or _silent)
    folder = job.bundle.path / ENGINES / f"{variant}-{library.version}"
    if folder.exists() and not replace:
        raise OutputError(f"{folder}: exists already; --replace builds it again")
    job.preflight()
    with _place(folder) as partial:
        content = job.engines(partial).model_dump(mode="json", by_alias=True)
        write_atomic(partial / DESCRIPTION, stored_form(content))
    return read_engines(job.bundle, variant, library.version)


def require(variant: Variant = "rtx", gpus: Sequence[str] = ()) -> None:
    """Refuse now what `build` would refuse after a long export: a missing package, an unknown GPU.

    Raises:
        SettingsError, BackendError: as `build`.
    """
    _target(load(variant), gpus)


def preflight(bundle: Bundle, variant: Variant = "rtx") -> tuple[Unsupported, ...]:
    """Parse every graph of a bundle, and name the nodes that TensorRT does not support.

    Raises:
        BackendError: the package is missing (variant tensorrt: the GPU too).
    """
    library = load(variant)
    return tuple(node for name in bundle.manifest.graphs for node in find_unsupported(library, _source(bundle, name)))


def profiles(graph: GraphName, batches: Sequence[int]) -> tuple[Profile, ...]:
    """Profiles that together take every number of pairs up to the largest batch, each tuned for its batch.

    Under guidance the U-Net runs two rows a pair, the conditional and the empty prompt, and is tuned for that;
    without guidance n rows lie in the profile of a smaller batch.
    """
    rows_of_a_pair = 2 if graph == "unet" else 1
    ends = [rows_of_a_pair * batch for batch in batches]
    starts = [1, *(end + 1 for end in ends[:-1])]
    return tuple(Profile(min=start, opt=end, max=end) for start, end in zip(starts, ends, strict=True))


def precision_of(graph: Graph) -> Precision:
    """The precision that engines are built in."""
    return "fp16" if "fp16" in graph.files else "fp32"


def _silent(_line: str) -> None:
    pass


def _batches(batches: Sequence[int]) -> tuple[int, ...]:
    sizes = tuple(sorted(set(batches)))
    if not sizes or sizes[0] < 1 or sizes[-1] > MAX_BATCH:
        raise SettingsError(f"batches {list(batches)} found, numbers from 1 to {MAX_BATCH} expected")
    return sizes


def _target(library: Library, gpus: Sequence[str]) -> Target:
    wanted = tuple(dict.fromkeys(gpu.strip().lower() for gpu in gpus))
    if library.variant == "rtx":
        return Target(_rtx_gpus(library.gpus, wanted), None)
    if odd := [gpu for gpu in wanted if gpu != ALL and not re.fullmatch(r"sm[0-9]{2,3}", gpu)]:
        raise SettingsError(f"GPU {odd[0]!r} found, a compute capability as sm80 or sm90 expected")
    here = current_gpu()
    if here is None:
        raise BackendError(
            "variant tensorrt builds on the GPU that will run the engines, and there is none here; "
            "run the same command on that machine, or build --variant rtx"
        )
    if others := [gpu for gpu in wanted if gpu not in (ALL, here.capability)]:
        raise BackendError(
            f"variant tensorrt builds for the GPU of this machine only, {here.capability} ({here.name}); "
            f"run the same command on a machine with {others[0]}"
        )
    return Target((here.capability,), here.name)


def _rtx_gpus(known: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[str, ...]:
    if odd := [gpu for gpu in wanted if gpu not in (ALL, *known)]:
        raise SettingsError(
            f"GPU {odd[0]!r} found, {', '.join(known)} or {ALL} expected; "
            "for sm90 and sm100 use --variant tensorrt on that GPU itself"
        )
    if ALL in wanted:
        return known
    return tuple(gpu for gpu in known if (gpu in wanted if wanted else gpu != TURING))


def _source(bundle: Bundle, name: GraphName) -> Source:
    graph = bundle.manifest.graphs[name]
    return Source(name, bundle.graph_path(name, precision_of(graph)), graph.inputs)


@dataclass(frozen=True)
class _Job:
    library: Library
    bundle: Bundle
    target: Target
    batches: tuple[int, ...]
    progress: Progress

    def preflight(self) -> None:
        self.progress("preflight")
        if refused := preflight(self.bundle, self.library.variant):
            shown = "; ".join(str(node) for node in refused[:SHOWN])
            more = f"; and {len(refused) - SHOWN} more" if len(refused) > SHOWN else ""
            raise BackendError(f"{self.library.title} cannot read this bundle: {shown}{more}; use --backend cuda or cpu for it")

    def engines(self, folder: Path) -> EngineFacts:
        return EngineFacts(
            format=FORMAT,
            flavour=self.library.variant,
            version=self.library.version,
            gpus=self.target.gpus,
            device=self.target.device,
            core=self.bundle.manifest.digest,
            batches=self.batches,
            graphs={name: self._engine(name, folder) for name in self.bundle.manifest.sampled},
        )

    def _engine(self, name: GraphName, folder: Path) -> Engine:
        precision = precision_of(self.bundle.manifest.graphs[name])
        made = profiles(name, self.batches)
        cache = _timing_cache(self.library, self.target)
        # TF32 keeps the range for which an fp16 graph has fp32 nodes; an fp32 graph would lose digits by it.
        settings = BuildSettings(strongly_typed=True, refit=False, tf32=precision == "fp16", timing_cache=cache is not None)
        self.progress(f"{name} ({precision}, {' '.join(self.target.gpus)})")
        began = time.monotonic()
        source = _source(self.bundle, name)
        verify_again(self.bundle, [(name, precision)])  # the parser opens paths
        data = compile_graph(self.library, source, made, self.target.gpus, settings, cache)
        file = f"{name}.engine"
        size, sha256 = _write(folder / file, data)
        self.progress(f"{name}: {time.monotonic() - began:.1f} s, {size / 1e6:.1f} MB")
        return Engine(file=file, bytes=size, sha256=sha256, precision=precision, profiles=made, settings=settings)


def _timing_cache(library: Library, target: Target) -> Path | None:
    """Where kernel timings are kept: they hold for one version and device, and serve bundles of one shape."""
    root = cache_root()
    if library.variant == "rtx" or root is None:  # rtx would need a GPU for them
        return None
    device = re.sub(r"\W+", "-", f"{target.gpus[0]} {target.device}")
    return root / f"tensorrt-{library.version}-{device}.timing"


def _write(path: Path, data: Any) -> tuple[int, str]:
    """Write and flush; gives size and hash."""
    view = memoryview(data)
    with path.open("xb") as stream:
        stream.write(view)
        stream.flush()
        os.fsync(stream.fileno())
    return view.nbytes, hashlib.sha256(view).hexdigest()


@contextmanager
def _place(folder: Path) -> Iterator[Path]:
    """A temporary folder that becomes `folder` when the block ends well, and otherwise vanishes."""
    parent = folder.parent
    partial = folder.with_name(folder.name + TEMPORARY_SUFFIX)
    old = folder.with_name(f"{folder.name}.old{TEMPORARY_SUFFIX}")
    try:
        if parent.is_symlink():
            raise OutputError(f"{parent}: a link; replace it by a folder")
        parent.mkdir(exist_ok=True)
        with locked(parent):
            for left in parent.glob(f"*{TEMPORARY_SUFFIX}"):  # by a build that was killed
                _remove(left)
            partial.mkdir()
            try:
                yield partial
                flush_folder(partial)
                if folder.exists():
                    folder.rename(old)
                partial.rename(folder)
                flush_folder(parent)
            finally:
                _remove(partial)
                _remove(old)
    except OSError as error:
        raise OutputError(
            f"{error.filename or folder}: {error.strerror or error}; fix that and run the same command again"
        ) from error
    finally:
        with suppress(OSError):  # there, and empty, only where the first build failed
            parent.rmdir()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
