"""A GPU whose memory is the host's and whose engines compute in NumPy, behind the interfaces of the real modules.

Everything that the code under test calls is checked by `strict`. Where the real thing has rules, so has this one: copies
take buffers of one size, an engine runs only with a profile that takes its rows, all addresses and enough scratch, and
what is captured runs when it is replayed and not before.
"""

import ctypes
import math
from types import SimpleNamespace

import cuda.core
import numpy as np
import pytest
import tensorrt_rtx as trt
from cuda.core import Buffer as RealBuffer
from cuda.core import Device as RealDevice
from cuda.core import LegacyPinnedMemoryResource as RealPinned
from cuda.core import Stream as RealStream
from cuda.core.graph import Graph, GraphBuilder

from seas_runtime.backends.tensorrt import backend, library
from seas_runtime.backends.tensorrt.library import Library
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.device import Gpu
from seas_runtime.kernels import reference
from seas_runtime.kernels.loader import Kernels
from tests.runtime import small_bundle
from tests.runtime.engine_sets import CONTENTS, ROWS, description, write_set
from tests.runtime.strict import Strict, check_call

DEVICE = Gpu("sm120", "NVIDIA GeForce RTX 5090")
SCRATCH = {"unet": (1000, 4000), "decoder": (300, 600), "mask_branch": (200, 500), "finish": (400, 900)}  # bytes, by profile
ARITHMETIC = {
    "unet": (small_bundle.unet, ("sample", "timestep", "prompt"), ("noise", "up2", "up3")),
    "decoder": (small_bundle.decoder, ("latent",), ("image",)),
    "mask_branch": (small_bundle.mask_branch, ("latent", "up2", "up3"), ("probability",)),
    "finish": (small_bundle.finish, ("latent", "up2", "up3"), ("image", "probability")),
}
SHAPES = {
    "sample": small_bundle.LATENT,
    "latent": small_bundle.LATENT,
    "timestep": ("n",),
    "prompt": ("n", small_bundle.LENGTH, small_bundle.WIDTH),
    "noise": small_bundle.LATENT,
    "up2": small_bundle.UP2,
    "up3": small_bundle.UP3,
    "image": small_bundle.PICTURE,
    "probability": small_bundle.PROBABILITY,
}


def at(address, shape, dtype):
    """The array that lies at an address."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = (ctypes.c_ubyte * size).from_address(address)
    return np.frombuffer(raw, dtype).reshape(shape)


class Machine:
    """What the test sees: names of calls in order, copies by size, memory in use; and the levers to make things fail."""

    def __init__(self):
        self.calls, self.copied, self.allocated = [], [], []
        self.recording = None
        self.capturable, self.refuse_capture = True, False
        self.limit = 1 << 30  # bytes of device memory
        self.in_use = 0
        self.log = library.load("rtx").logger
        self.caches = []

    def strict(self, real, inner):
        return Strict(real, inner, self.calls)

    def do(self, deed):
        """Now, or when what is being captured is replayed."""
        if self.recording is None:
            deed()
        else:
            self.recording.append(deed)


class Buffer:
    def __init__(self, machine, handle, size, keep):
        self.machine, self.handle, self.size, self.keep = machine, handle, size, keep

    def copy_to(self, dst, *, stream):
        assert dst.size == self.size, "the real one copies between buffers of one size"
        self.machine.copied.append(self.size)
        ctypes.memmove(dst.handle, self.handle, self.size)

    def fill(self, value, *, stream):
        ctypes.memset(self.handle, value, self.size)

    def close(self, stream):
        self.machine.in_use -= self.size


def buffer(machine, size, counted):
    if counted:
        if machine.in_use + size > machine.limit:
            raise RuntimeError("CUDA_ERROR_OUT_OF_MEMORY: The API call failed because it was unable to allocate")
        machine.in_use += size
        machine.allocated.append(size)
    memory = np.full(size, 0xFF, np.uint8)  # NaN for who reads what was not written
    return machine.strict(RealBuffer, Buffer(machine, memory.ctypes.data, size, memory))


class Stream:
    handle = 77

    def __init__(self, machine):
        self.machine = machine

    def sync(self):
        assert self.machine.recording is None, "waiting inside a capture breaks it"

    def create_graph_builder(self):
        return self.machine.strict(GraphBuilder, Builder(self.machine, self))


class Builder:
    def __init__(self, machine, stream):
        self.machine, self.stream, self.deeds = machine, stream, None

    def begin_building(self):
        if self.machine.refuse_capture:
            raise RuntimeError("CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED")
        self.machine.recording = self.deeds = []

    def end_building(self):
        self.machine.recording = None

    def complete(self):
        deeds = self.deeds
        return self.machine.strict(Graph, SimpleNamespace(launch=lambda _stream: [deed() for deed in deeds]))

    def close(self):
        self.machine.recording = None


class Context:
    def __init__(self, machine, graph):
        self.machine, self.graph = machine, graph
        self.profile, self.shapes, self.addresses, self.memory = 0, {}, {}, (0, 0)

    def set_device_memory(self, memory, size):
        assert size >= SCRATCH[self.graph][self.profile]
        self.memory = (memory, size)

    def set_optimization_profile_async(self, index, _stream):
        self.profile = index
        return index < len(ROWS[self.graph])

    def set_input_shape(self, name, shape):
        low, _, high = ROWS[self.graph][self.profile]
        self.shapes[name] = shape
        return low <= shape[0] <= high

    def set_tensor_address(self, name, address):
        self.addresses[name] = address
        return True

    def infer_shapes(self):
        return [name for name in ARITHMETIC[self.graph][1] if name not in self.shapes]

    def get_tensor_shape(self, name):
        return trt.Dims((self.rows, *SHAPES[name][1:]))

    def is_stream_capturable(self, _stream):
        return self.machine.capturable

    @property
    def rows(self):
        (rows,) = {shape[0] for shape in self.shapes.values()}
        return rows

    def execute_async_v3(self, stream):
        assert stream == Stream.handle
        assert self.memory[0], "no scratch memory"
        if self.machine.log.errors:
            return False
        try:
            self.machine.do(self.compute)
        except RuntimeError as error:
            self.machine.log.errors.append(str(error))
        return not self.machine.log.errors

    def compute(self):
        function, inputs, outputs = ARITHMETIC[self.graph]
        read = [at(self.addresses[name], self.shapes[name], np.int64 if name == "timestep" else np.float32) for name in inputs]
        results = function(*read)
        for name, values in zip(outputs, results if len(outputs) > 1 else [results], strict=True):
            at(self.addresses[name], values.shape, np.float32)[...] = values


class Cache:
    """TensorRT-RTX's runtime cache; a blob that fits begins with "jit"."""

    def __init__(self):
        self.content = b"jit"

    def deserialize(self, blob):
        good = bytes(blob).startswith(b"jit")
        self.content = bytes(blob) if good else self.content
        return good

    def serialize(self):
        return self.content


class Config(SimpleNamespace):
    def __init__(self, machine):
        super().__init__()
        self.machine = machine

    def set_execution_context_allocation_strategy(self, strategy):
        self.strategy = strategy

    def create_runtime_cache(self):
        self.machine.caches.append(Cache())
        return self.machine.strict(trt.IRuntimeCache, self.machine.caches[-1])

    def set_runtime_cache(self, cache):
        self.cache = cache
        return True


class Engine:
    def __init__(self, machine, graph):
        self.machine, self.graph = machine, graph
        self.names = [name for names in ARITHMETIC[graph][1:] for name in names]
        self.num_io_tensors = len(self.names)

    def get_tensor_name(self, index):
        return self.names[index]

    def get_tensor_mode(self, name):
        return trt.TensorIOMode.INPUT if name in ARITHMETIC[self.graph][1] else trt.TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name):
        return trt.DataType.INT64 if name == "timestep" else trt.DataType.FLOAT

    def get_device_memory_size_for_profile_v2(self, index):
        return SCRATCH[self.graph][index]

    def create_runtime_config(self):
        self.config = Config(self.machine)
        return self.machine.strict(trt.IRuntimeConfig, self.config)

    def create_execution_context(self, runtime_config):
        assert runtime_config.inner is self.config
        assert self.config.strategy == trt.ExecutionContextAllocationStrategy.USER_MANAGED
        for cache in self.machine.caches:
            cache.content += self.graph.encode()
        return self.machine.strict(trt.IExecutionContext, Context(self.machine, self.graph))


class Runtime:
    def __init__(self, machine):
        self.machine = machine

    def deserialize_cuda_engine(self, serialized_engine):
        graphs = {data: graph for graph, data in CONTENTS.items()}
        if serialized_engine not in graphs:
            self.machine.log.errors.append("Error Code 1: Serialization (magic tag\nmismatch)")
            return None
        return self.machine.strict(trt.ICudaEngine, Engine(self.machine, graphs[serialized_engine]))


class TwinKernels:
    """The kernels' twins on the memory that the kernels are given."""

    def __init__(self, machine):
        self.machine = machine

    def flag(self, broken, values):
        if not np.isfinite(values).all():
            at(broken, (1,), np.int32)[0] = 1

    def begin_step(self, stream, *, table, timesteps, counter, step, timestep, steps, rows):
        now = at(counter, (1,), np.int32)
        rows_of = at(table, (steps, 6), np.float32), at(timesteps, (steps,), np.int64)
        row, times, now[0] = reference.begin_step(*rows_of, int(now[0]), rows)
        at(step, (6,), np.float32)[...] = row
        at(timestep, (rows,), np.int64)[...] = times

    def update(self, stream, *, noise, latents, before, step, next_latents, clean, broken, count, halves, copies):
        shape = (count // (2 * 4 * 4), 2, 4, 4)
        given = at(noise, (halves * shape[0], *shape[1:]), np.float32)
        self.flag(broken, given)
        taken = (at(address, shape, np.float32) for address in (latents, before))
        results = reference.guided_update(given, *taken, at(step, (6,), np.float32), copies)
        for address, values in zip((next_latents, clean), results, strict=True):
            at(address, values.shape, np.float32)[...] = values

    def to_pixels(self, stream, *, images, pixels, broken, n, plane):
        side = math.isqrt(plane)
        values = at(images, (n, 3, side, side), np.float32)
        self.flag(broken, values)
        at(pixels, (n, side, side, 3), np.uint8)[...] = reference.to_pixels(values)

    def accumulate(self, stream, *, probability, total, broken, count):
        values, sums = at(probability, (count,), np.float32), at(total, (count,), np.float32)
        self.flag(broken, values)
        sums[...] = reference.accumulate(values, sums)

    def threshold(self, stream, *, total, mask, count, steps, limit):
        at(mask, (count,), np.uint8)[...] = reference.threshold(at(total, (count,), np.float32), steps, limit)


class Module:
    """TensorRT-RTX, but for its runtime."""

    def __init__(self, machine):
        self.machine = machine

    def __getattr__(self, name):
        return getattr(trt, name)

    def Runtime(self, log):  # noqa: N802  # the module's name
        assert log is self.machine.log, "the one logger of the process"
        return self.machine.strict(trt.Runtime, Runtime(self.machine))


def install(monkeypatch, cache):
    """Put a GPU into this process, with `cache` as the user's cache."""
    it = Machine()
    it.log.errors.clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    device = SimpleNamespace(
        set_current=lambda: None,
        create_stream=lambda: it.strict(RealStream, Stream(it)),
        allocate=lambda size, *, stream: buffer(it, size, counted=True),
    )
    pinned = SimpleNamespace(allocate=lambda size: buffer(it, size, counted=False))

    def part(*arguments, **named):
        check_call(RealBuffer.from_handle, *arguments, **named)
        address, size = arguments
        return it.strict(RealBuffer, Buffer(it, address, size, named["owner"]))

    monkeypatch.setattr(cuda.core, "Buffer", SimpleNamespace(from_handle=part))
    monkeypatch.setattr(cuda.core, "Device", lambda _index: it.strict(RealDevice, device))
    monkeypatch.setattr(cuda.core, "LegacyPinnedMemoryResource", lambda: it.strict(RealPinned, pinned))
    monkeypatch.setattr(backend, "load", lambda variant: Library(variant, Module(it), it.log))
    monkeypatch.setattr(backend, "current_gpu", lambda: DEVICE)
    monkeypatch.setattr(backend, "driver_version", lambda: (13, 0))
    kernels = it.strict(Kernels, TwinKernels(it))
    monkeypatch.setattr(backend, "load_kernels", lambda storage: {"float32": kernels}[storage])
    return it


def with_engines(plan_folder):
    """The bundle, with engines for the stand-in beside it."""
    bundle = read_bundle(plan_folder)
    write_set(bundle, description(bundle))
    return bundle


def feeds(rows, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "sample": rng.normal(size=(rows, 2, 4, 4)).astype(np.float32),
        "timestep": rng.integers(0, 99, rows),
        "prompt": rng.normal(size=(rows, 3, 5)).astype(np.float32),
    }


def refused(error, function, *words):
    with pytest.raises(error) as caught:
        function()
    assert "\n" not in caught.value.message
    for word in words:
        assert word in caught.value.message, caught.value.message
    return caught.value
