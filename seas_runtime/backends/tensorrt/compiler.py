"""One ONNX graph -> one serialized engine, in whichever TensorRT is loaded."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seas_runtime.backends.tensorrt.engine_set import BuildSettings, Profile
from seas_runtime.backends.tensorrt.library import Library
from seas_runtime.bundle.graphs import GraphName, TensorSpec
from seas_runtime.errors import BackendError, BundleError
from seas_runtime.files import write_atomic

_QUOTED_NODE = re.compile(r"'([^']+)'|\[ONNX Layer: ([^\]]+)\]")
_MAX_REASON = 300


@dataclass(frozen=True)
class Source:
    """A graph to compile: its ONNX file and its inputs."""

    name: GraphName
    path: Path
    inputs: tuple[TensorSpec, ...]


@dataclass(frozen=True)
class Unsupported:
    """A node that TensorRT's parser refuses; `node` is its name, or its number where it has none."""

    graph: GraphName
    node: str
    operator: str
    reason: str

    def __str__(self) -> str:
        return f"{self.graph}: node {self.node!r} ({self.operator}{module_of(self.node)}): {self.reason}"


def module_of(node: str) -> str:
    """What a node's name says of the module it came from: ", module a.b" for "a.b/Conv_1", else nothing."""
    module = node.rpartition("/")[0].strip("/")
    return f", module {module}" if module else ""


def find_unsupported(library: Library, source: Source) -> list[Unsupported]:
    """The nodes of a graph that the parser refuses.

    Raises:
        BackendError: there is no parser here (variant tensorrt without its GPU).
    """
    with _late_interrupt():
        builder = _builder(library)
        return _parse(library, source, _network(library, builder))[1]


def compile_graph(
    library: Library,
    source: Source,
    profiles: Sequence[Profile],
    gpus: Sequence[str],
    settings: BuildSettings,
    timing_cache: Path | None = None,
) -> Any:
    """Compile a graph.

    Args:
        library: the TensorRT to use.
        source: the graph.
        profiles: ranges of the free dimension "n" of every input.
        gpus: compute capabilities to build for; ignored with variant tensorrt, which builds for its own GPU.
        settings: see `BuildSettings`; TensorRT is told of `tf32`, the others are always so.
        timing_cache: a file of kernel timings, read if it fits and written again (variant tensorrt).

    Returns:
        The serialized engine, an object with the buffer protocol.

    Raises:
        BackendError: TensorRT refuses a node or fails; the line names the node.
        KeyboardInterrupt: as soon as TensorRT listens; compiling a large graph it may not for half a minute.
        BundleError: an input has a free dimension other than "n".
    """
    with _late_interrupt() as stop:
        builder = _builder(library)
        network = _network(library, builder)
        _parser, refused = _parse(library, source, network)  # the parser owns the weights of the network
        if refused:
            raise BackendError(f"{library.title} cannot read {refused[0]}")
        config = builder.create_builder_config()
        monitor = _monitor(library, stop)
        config.progress_monitor = monitor  # which has to live as long as the build
        for profile in profiles:
            config.add_optimization_profile(_profile(builder, source, profile))
        if not settings.tf32:
            config.clear_flag(library.trt.BuilderFlag.TF32)
        if library.variant == "rtx":
            _set_gpus(library, config, gpus)
            # Its engines may else take memory while they run, which a CUDA graph cannot capture.
            config.set_flag(library.trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
        if timing_cache is not None:
            _attach_cache(config, timing_cache)
        library.logger.errors.clear()
        engine = builder.build_serialized_network(network, config)
        if engine is None and not stop.is_set():
            raise BackendError(_failure(library, source, gpus))
        if timing_cache is not None:
            _save_cache(config, timing_cache)
        return engine


@contextmanager
def _late_interrupt() -> Iterator[threading.Event]:
    """An interrupt in the block sets the event, and is raised when the block ends.

    Raised at once, it would come out of a callback of the C++ builder and end the process.
    """
    stop = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield stop  # no interrupt is raised here
        return
    signal.signal(signal.SIGINT, lambda _number, _frame: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
    if stop.is_set():
        raise KeyboardInterrupt


def _builder(library: Library) -> Any:
    library.logger.errors.clear()
    try:
        return library.trt.Builder(library.logger)
    except TypeError as error:  # how the bindings say that there is no object
        raise BackendError(
            f"{library.title} does not start here: {_reason(library)}; check the GPU's driver (nvidia-smi)"
        ) from error


def _network(library: Library, builder: Any) -> Any:
    return builder.create_network(1 << int(library.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))


def _parse(library: Library, source: Source, network: Any) -> tuple[Any, list[Unsupported]]:
    """Fill the network; gives the parser, which must outlive it, and the nodes that were refused."""
    parser = library.trt.OnnxParser(network, library.logger)
    if parser.parse_from_file(str(source.path)):
        return parser, []
    unsupported = library.trt.ErrorCode.UNSUPPORTED_NODE
    refused = []
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        node = error.node_name() or f"number {error.node()}"
        reason = "not supported" if error.code() == unsupported else _short(error.desc())
        refused.append(Unsupported(source.name, node, error.node_operator() or "no operator", reason))
    return parser, refused or [Unsupported(source.name, "?", "unknown", "the parser gives no reason")]


def _profile(builder: Any, source: Source, profile: Profile) -> Any:
    made = builder.create_optimization_profile()
    for spec in source.inputs:
        shapes = (_shape(spec, rows) for rows in (profile.min, profile.opt, profile.max))
        made.set_shape(spec.name, *shapes)
    return made


def _shape(spec: TensorSpec, rows: int) -> tuple[int, ...]:
    shape = tuple(rows if side == "n" else side for side in spec.shape)
    if any(isinstance(side, str) for side in shape):
        raise BundleError(f"{spec.name}: shape {spec.shape} found, only 'n' may be free in an engine")
    return shape  # type: ignore[return-value]  # what mypy does not see in the line above


def _set_gpus(library: Library, config: Any, gpus: Sequence[str]) -> None:
    config.num_compute_capabilities = len(gpus)
    for index, gpu in enumerate(gpus):
        config.set_compute_capability(library.trt.ComputeCapability.__members__[gpu.upper()], index)


def _monitor(library: Library, stop: threading.Event) -> Any:
    base: Any = library.trt.IProgressMonitor

    class Monitor(base):  # type: ignore[misc]  # the module has no types
        """Ends the build soon after `stop` is set."""

        def __init__(self) -> None:
            base.__init__(self)

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            pass

        def phase_finish(self, phase: str) -> None:
            pass

        def step_complete(self, _phase: str, _step: int) -> bool:
            return not stop.is_set()

    return Monitor()


def _attach_cache(config: Any, path: Path) -> None:
    try:
        stored = path.read_bytes()
    except OSError:
        stored = b""
    if not config.set_timing_cache(config.create_timing_cache(stored), False):
        config.set_timing_cache(config.create_timing_cache(b""), False)


def _save_cache(config: Any, path: Path) -> None:
    cache = config.get_timing_cache()
    if cache is None:
        return
    with suppress(OSError):  # one that cannot be kept only costs time
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, bytes(cache.serialize()))


def _failure(library: Library, source: Source, gpus: Sequence[str]) -> str:
    reason = _reason(library)
    module = ""
    if match := _QUOTED_NODE.search(reason):
        module = module_of(match[1] or match[2])
    hint = "use --backend cuda or cpu for this bundle"
    if "Turing" in reason:
        hint = "leave sm75 out of --gpu, or export with --fp16"
    return f"{source.name}{module}: {library.title} cannot build it for {' '.join(gpus)}: {reason}; {hint}"


def _reason(library: Library) -> str:
    return _short(library.logger.errors[-1]) if library.logger.errors else "no reason given"


def _short(text: str) -> str:
    return " ".join(text.split())[:_MAX_REASON]
