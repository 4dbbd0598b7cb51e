"""The GPU of this process through cuda.core: one stream, memory that only grows, captured graphs.

CUDA's Python packages are loaded when a `CudaDevice` is made.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seas_runtime.errors import BackendError, DeviceMemoryError, SeasError
from seas_runtime.kernels.loader import HINT

if TYPE_CHECKING:
    from cuda.core import Buffer, Stream
    from cuda.core.graph import Graph

_NO_MEMORY = re.compile(r"out[ _]?of[ _]?memory|failed_allocation", re.IGNORECASE)
_MAX_REASON = 300


def missing_cuda() -> str | None:
    """Why cuda.core cannot be loaded, with the hint; None if it can."""
    try:
        import_module("cuda.core")
    except ImportError as error:
        return f"the CUDA packages for Python are not installed ({error}); run: {HINT}"
    return None


class CudaDevice:
    """The first GPU, made current for this thread, and one stream on which everything happens in order.

    Raises:
        BackendError: CUDA's Python packages are missing or there is no driver.
    """

    def __init__(self) -> None:
        if reason := missing_cuda():
            raise BackendError(reason)
        from cuda.core import Device, LegacyPinnedMemoryResource  # noqa: PLC0415

        with explained("opening the GPU"):
            self._device = Device(0)
            self._device.set_current()
            self.stream: Stream = self._device.create_stream()
            self._pinned = LegacyPinnedMemoryResource()
        self._memory: dict[str, Buffer] = {}
        self._staging: dict[str, Buffer] = {}

    @property
    def handle(self) -> int:
        """Address of the stream, as TensorRT takes it."""
        return int(self.stream.handle)

    def holds(self, sizes: Mapping[str, int]) -> bool:
        """Whether there is that much device memory of each name already."""
        return all(name in self._memory and self._memory[name].size >= size for name, size in sizes.items())

    def reserve(self, sizes: Mapping[str, int]) -> None:
        """Have at least that many bytes of device memory of each name; what has to grow moves, and is empty then.

        Raises:
            DeviceMemoryError: there is not so much.
        """
        small = [name for name, size in sizes.items() if not self.holds({name: size})]
        for name in small:  # before the larger ones are asked for: both at once might not fit
            if held := self._memory.pop(name, None):
                held.close(self.stream)
        for name in small:
            with explained(f"taking {sizes[name] / 1e6:.0f} MB of GPU memory for {name}"):
                self._memory[name] = self._device.allocate(sizes[name], stream=self.stream)

    def release(self) -> None:
        """Give all device memory back."""
        while self._memory:
            self._memory.popitem()[1].close(self.stream)
        with suppress(Exception):  # whatever failed has been reported
            self.stream.sync()

    def address(self, name: str) -> int:
        """Address of the device memory called `name`."""
        return int(self._memory[name].handle)

    def size(self, name: str) -> int:
        """Bytes of the device memory called `name`."""
        return int(self._memory[name].size)

    def upload(self, name: str, values: NDArray[Any]) -> None:
        """Put `values`, of any shape, at the start of the device memory called `name`; they may be changed right after."""
        staging = self._stage(f"up {name}", values.nbytes)
        self.stream.sync()  # until the last copy from the same staging memory is over
        _host_view(staging, values.shape, values.dtype)[...] = values
        with explained(f"copying {name} to the GPU"):
            self._part(staging, values.nbytes).copy_to(self._part(self._memory[name], values.nbytes), stream=self.stream)

    def download(self, wanted: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> dict[str, NDArray[Any]]:
        """Wait for the stream and bring back arrays of these shapes and types, by name of their memory.

        Raises:
            BackendError: something that was on the stream failed.
        """
        staged = {}
        with explained("copying results from the GPU"):
            for name, (shape, dtype) in wanted.items():
                size = int(np.prod(shape)) * dtype.itemsize
                staged[name] = self._stage(f"down {name}", size)
                self._part(self._memory[name], size).copy_to(self._part(staged[name], size), stream=self.stream)
            self.stream.sync()
        return {name: _host_view(staged[name], *wanted[name]).copy() for name in wanted}

    def clear(self, name: str, size: int) -> None:
        """Set the first `size` bytes of the memory called `name` to zero."""
        with explained(f"clearing {name}"):
            self._part(self._memory[name], size).fill(0, stream=self.stream)

    def sync(self) -> None:
        """Wait until everything on the stream is done.

        Raises:
            BackendError: some of it failed.
        """
        with explained("running on the GPU"):
            self.stream.sync()

    def capture(self, work: Callable[[int], bool]) -> Graph | None:
        """Record what `work` puts on a stream, whose address it is given, as a CUDA graph.

        Gives None where work says False or does something that cannot be captured; nothing has run then.
        """
        builder = self.stream.create_graph_builder()
        good = False
        try:
            builder.begin_building()
            try:
                good = work(int(builder.stream.handle))
            finally:
                builder.end_building()
            return builder.complete() if good else None
        except Exception:  # noqa: BLE001  # cuda.core does not publish its own error types
            return None
        finally:
            with suppress(Exception):
                builder.close()

    def _stage(self, name: str, size: int) -> Buffer:
        """Pinned host memory, from and to which the GPU copies without the CPU."""
        held = self._staging.get(name)
        if held is None or held.size < size:
            with explained(f"taking {size / 1e6:.0f} MB of pinned host memory for {name}"):
                self.stream.sync()  # nothing may still copy from or to the old one
                held = self._staging[name] = self._pinned.allocate(size)
        return held

    def _part(self, buffer: Buffer, size: int) -> Buffer:
        """The first bytes of a buffer: a copy takes two of one size."""
        from cuda.core import Buffer  # noqa: PLC0415

        return Buffer.from_handle(int(buffer.handle), size, owner=buffer)


@contextmanager
def explained(deed: str) -> Iterator[None]:
    """Any error in the block becomes one line that says what was being done.

    Raises:
        DeviceMemoryError: the GPU has too little memory.
        BackendError: anything else went wrong.
    """
    try:
        yield
    except SeasError:
        raise
    except Exception as error:  # cuda.core does not publish its own error types
        raise failure(deed, str(error) or type(error).__name__) from error


def failure(deed: str, reason: str) -> BackendError:
    """The error for a deed that failed for a reason in CUDA's or TensorRT's words."""
    line = " ".join(reason.replace("\0", "").split())[:_MAX_REASON]
    if _NO_MEMORY.search(reason):
        return DeviceMemoryError(f"{deed} failed: {line}; use a smaller --batch or free the GPU's memory")
    return BackendError(f"{deed} failed: {line}; see seas-engine doctor, or use --backend cpu")


def _host_view(buffer: Buffer, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Pinned memory as an array, valid as long as the buffer."""
    count = int(np.prod(shape))
    raw = (ctypes.c_ubyte * (count * dtype.itemsize)).from_address(int(buffer.handle))
    return np.ctypeslib.as_array(raw).view(dtype).reshape(shape)
