"""The kernels of sampler.cu, compiled for a GPU by NVRTC and launched through cuda.core.

A launch only puts work on a stream: it allocates nothing and waits for nothing, so it can be captured in a CUDA graph.
Nothing of CUDA is loaded before a kernel is asked for.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from seas_runtime.backends.registry import CUDA, install
from seas_runtime.device import current_gpu
from seas_runtime.errors import BackendError

if TYPE_CHECKING:
    from cuda.core import Buffer, Kernel, ObjectCode, ProgramOptions, Stream
    from cuda.core.graph import GraphBuilder

    Queue: TypeAlias = Stream | GraphBuilder
    Memory: TypeAlias = Buffer | int  # device memory, or its address

Storage = Literal["float32", "float16"]

SOURCE = Path(__file__).with_name("sampler.cu")
HINT = install(*CUDA)

UPDATES = ((1, 1), (2, 2), (1, 2))  # halves of the noise, copies of the latents that leave
_TYPES: dict[Storage, str] = {"float32": "float", "float16": "Half"}
_WIDTHS: dict[Storage, int] = {"float32": 4, "float16": 8}  # elements of a 16-byte access, WIDTH of sampler.h
_BLOCK = 256
_MAX_BLOCKS = 1 << 16  # more elements than that go round again
_MAX_REASON = 300


@cache
def compile_kernels(capability: str, storage: Storage) -> ObjectCode:
    """Compile all kernels, once per process; needs no GPU.

    Args:
        capability: the GPU's, as "sm89".
        storage: type of the graphs' inputs and outputs that the kernels read and write.

    Returns:
        The cubin, whose kernels have the names of `kernel_names`.

    Raises:
        BackendError: CUDA's Python packages are missing, or their NVRTC does not know the GPU.
    """
    try:
        from cuda.core import Program  # noqa: PLC0415  # loaded only when asked for
        from cuda.pathfinder import DynamicLibNotFoundError  # noqa: PLC0415
    except ImportError as error:
        raise BackendError(f"the CUDA packages for Python are not installed ({error}); run: {HINT}") from error
    try:
        program = Program(SOURCE.read_text(encoding="utf-8"), "c++", _options(capability))
        return program.compile("cubin", name_expressions=kernel_names(storage))
    except DynamicLibNotFoundError as error:
        raise BackendError(f"NVRTC, CUDA's run-time compiler, is not installed; run: {HINT}") from error
    except Exception as error:  # cuda.core does not publish its own error types
        raise BackendError(
            f"NVRTC cannot compile {SOURCE.name} for {capability}: {_short(error)}; GPUs from sm75 on are supported, "
            f"newer ones than NVRTC need it updated: {HINT} --upgrade"
        ) from error


def kernel_names(storage: Storage) -> tuple[str, ...]:
    """The kernels, as C++ names them."""
    element = _TYPES[storage]
    return (
        "begin_step",
        *(f"update<{element}, {halves}, {copies}>" for halves, copies in UPDATES),
        f"to_pixels<{element}>",
        f"accumulate<{element}>",
        "threshold",
    )


@cache
def load_kernels(storage: Storage) -> Kernels:
    """The kernels on the GPU of this process, compiled and loaded once; `Device().set_current()` comes first.

    Raises:
        BackendError: there is no GPU or driver, or see `compile_kernels`.
    """
    gpu = current_gpu()
    if gpu is None:
        raise BackendError("no NVIDIA GPU with a driver found; check nvidia-smi, or use --backend cpu")
    return Kernels(compile_kernels(gpu.capability, storage), storage)


class Kernels:
    """Launches of each kernel, for one storage type.

    They take a stream (or the builder of a graph that captures them) and device memory, contiguous and of the shapes
    that `reference` documents, float32 or float16 by storage where not said otherwise. Any alignment is right; 16
    bytes are fast. `broken` is one int32, set to 1 by a value that is not finite and never to 0.
    """

    def __init__(self, code: ObjectCode, storage: Storage) -> None:
        begin_step, *updates, to_pixels, accumulate, threshold = map(code.get_kernel, kernel_names(storage))
        self._width = _WIDTHS[storage]
        self._begin_step, self._to_pixels, self._accumulate = begin_step, to_pixels, accumulate
        self._update = dict(zip(UPDATES, updates, strict=True))
        self._threshold = threshold

    def begin_step(
        self,
        stream: Queue,
        *,
        table: Memory,
        timesteps: Memory,
        counter: Memory,
        step: Memory,
        timestep: Memory,
        steps: int,
        rows: int,
    ) -> None:
        """Head of a step: from the table (steps, 6) float32 and timesteps (steps,) int64 to this step's.

        Writes `step` (6,) float32 and `timestep` (rows,) int64, and moves `counter`, an int32 that starts at 0, on.
        """
        arguments = (table, timesteps, np.int32(steps), counter, step, timestep, np.int32(rows))
        _launch(stream, self._begin_step, (1, 1), 1, arguments)

    def update(
        self,
        stream: Queue,
        *,
        noise: Memory,
        latents: Memory,
        before: Memory,
        step: Memory,
        next_latents: Memory,
        clean: Memory,
        broken: Memory,
        count: int,
        halves: Literal[1, 2],
        copies: Literal[1, 2],
    ) -> None:
        """End of a step, see `reference.guided_update`; `count` = n * C * h * w, halves 2 with guidance.

        A step without guidance whose latents a guided one reads next leaves 2 copies of them.

        `next_latents` may be the memory of `latents`, and `clean` that of `before`.
        """
        arguments = (noise, latents, before, step, next_latents, clean, broken, np.int64(count))
        _launch(stream, self._update[halves, copies], self._blocks(count), _BLOCK, arguments)

    def to_pixels(self, stream: Queue, *, images: Memory, pixels: Memory, broken: Memory, n: int, plane: int) -> None:
        """Images (n, 3, plane) -> pixels (n, plane, 3) uint8, plane = H * W; n at most 65535."""
        blocks, _ = self._blocks(plane)
        _launch(stream, self._to_pixels, (blocks, n), _BLOCK, (images, pixels, broken, np.int64(plane)))

    def accumulate(self, stream: Queue, *, probability: Memory, total: Memory, broken: Memory, count: int) -> None:
        """Add `count` probabilities to `total`, float32, which is cleared before the first."""
        arguments = (probability, total, broken, np.int64(count))
        _launch(stream, self._accumulate, self._blocks(count), _BLOCK, arguments)

    def threshold(self, stream: Queue, *, total: Memory, mask: Memory, count: int, steps: int, limit: float) -> None:
        """`total` (count,) float32, the sum of `steps` probabilities -> mask (count,) uint8 of 0 and 255."""
        arguments = (total, mask, np.float32(steps), np.float32(limit), np.int64(count))
        _launch(stream, self._threshold, self._blocks(count), _BLOCK, arguments)

    def _blocks(self, elements: int) -> tuple[int, int]:
        return min(-(-elements // (self._width * _BLOCK)), _MAX_BLOCKS), 1


def _options(capability: str) -> ProgramOptions:
    from cuda.core import ProgramOptions  # noqa: PLC0415

    return ProgramOptions(
        name=SOURCE.name,
        arch=capability.replace("sm", "sm_"),
        include_path=str(SOURCE.parent),
        fma=False,  # the bits of reference.py; memory is what these kernels wait for
    )


def _launch(stream: Queue, kernel: Kernel, grid: tuple[int, int], block: int, arguments: tuple[object, ...]) -> None:
    from cuda.core import LaunchConfig, launch  # noqa: PLC0415

    launch(stream, LaunchConfig(grid=grid, block=block), kernel, *arguments)


def _short(error: Exception) -> str:
    return " ".join(str(error).replace("\0", "").split())[:_MAX_REASON]
