"""The kernels of sampler.h in a host library: same structs, same division of work among threads, run by g++."""

import ctypes
import subprocess
from itertools import cycle
from pathlib import Path

import numpy as np

from seas_runtime.kernels.loader import SOURCE

SHIM = """
#include "sampler.h"
#define ENTRY extern "C" __attribute__((visibility("default"))) void

template <class Job> void run(const Job& job, Long count, Long threads) {
    for (Long thread = 0; thread < threads; ++thread) share(job, count, thread, threads);
}

#define KERNELS(T, NAME)                                                                                           \\
    ENTRY update_##NAME(int halves, int copies, const T* noise, const T* latents, const T* before, const Step* step, T* next,  \\
                        T* clean, int* broken, Long count, Long threads) {                                         \\
        const auto go = [=](auto job) { run(job, count, threads); };                                               \\
        if (copies == 1) go(Update<T, 1, 1>{noise, latents, before, *step, next, clean, broken, count});           \\
        else if (halves == 1) go(Update<T, 1, 2>{noise, latents, before, *step, next, clean, broken, count});      \\
        else go(Update<T, 2, 2>{noise, latents, before, *step, next, clean, broken, count});                       \\
    }                                                                                                              \\
    ENTRY to_pixels_##NAME(const T* image, Byte* pixels, int* broken, Long plane, Long threads) {                  \\
        run(ToPixels<T>{image, pixels, broken, plane}, plane, threads);                                            \\
    }                                                                                                              \\
    ENTRY accumulate_##NAME(const T* probability, float* total, int* broken, Long count, Long threads) {           \\
        run(Accumulate<T>{probability, total, broken}, count, threads);                                            \\
    }

KERNELS(float, float32)
KERNELS(Half, float16)

ENTRY threshold(const float* total, Byte* mask, float steps, float limit, Long count, Long threads) {
    run(Threshold{total, mask, steps, limit}, count, threads);
}
ENTRY begin_step(const Step* table, const Long* timesteps, int steps, int* counter, Step* step, Long* timestep, int rows) {
    begin(table, timesteps, steps, counter, step, timestep, rows);
}
"""
# A GPU refuses an access that is not aligned, this processor may not: let it trap.
ALIGNMENT = ("-fsanitize=alignment", "-fsanitize-undefined-trap-on-error")
FLAGS = ("-O2", "-ffp-contract=off", "-shared", "-fPIC", "-Wall", "-Werror", *ALIGNMENT)
GUARD = 0x5A  # bytes that no kernel may touch


def build(folder: Path) -> "Host":
    source, library = folder / "host.cpp", folder / "host.so"
    source.write_text(SHIM)
    subprocess.run(["g++", *FLAGS, f"-I{SOURCE.parent}", source, "-o", library], check=True, timeout=60)
    return Host(ctypes.CDLL(str(library)))


class Arrays:
    """Arrays between guards, the next one offsets[i] elements past 16-byte alignment; `check` looks at the guards."""

    def __init__(self, offsets):
        self.offsets, self.held = cycle(offsets), []

    def like(self, values):
        values = np.ascontiguousarray(values)
        raw = np.full(values.nbytes + 128, GUARD, np.uint8)
        start = -raw.ctypes.data % 64 + next(self.offsets) * values.itemsize
        view = raw[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
        view[...] = values
        self.held.append((raw, start, start + values.nbytes))
        return view

    def empty(self, shape, dtype):
        return self.like(np.full(shape, 77, dtype))

    def check(self):
        for raw, start, end in self.held:
            assert (raw[:start] == GUARD).all()
            assert (raw[end:] == GUARD).all()


class Host:
    """The kernels with the signatures of their twins, and whether the input was found broken."""

    def __init__(self, library):
        self.library = library

    def call(self, name, *arguments):
        kinds = {
            np.ndarray: lambda a: ctypes.c_void_p(a.ctypes.data),
            float: ctypes.c_float,
            int: ctypes.c_longlong,
        }
        getattr(self.library, name)(*(kinds[type(argument)](argument) for argument in arguments))

    def begin_step(self, table, timesteps, counter, rows):
        step, timestep, place = (
            np.empty(6, np.float32),
            np.empty(rows, np.int64),
            np.array([counter], np.int32),
        )
        self.call("begin_step", np.ascontiguousarray(table), timesteps, len(table), place, step, timestep, rows)
        return step, timestep, int(place[0])

    def update(self, noise, latents, before, step, offsets=(0,), threads=3, in_place=False, copies=None):
        arrays, broken, halves = Arrays(offsets), np.zeros(1, np.int32), len(noise) // len(latents)
        copies = copies or halves
        if in_place:
            leaving, clean = arrays.like(np.concatenate([latents] * copies)), arrays.like(before)
            entering, last = leaving, clean
        else:
            rows = (copies * len(latents), *latents.shape[1:])
            leaving, clean = arrays.empty(rows, noise.dtype), arrays.empty(latents.shape, noise.dtype)
            entering, last = arrays.like(latents), arrays.like(before)
        name = f"update_{noise.dtype}"
        parts = (arrays.like(noise), entering, last, np.ascontiguousarray(step), leaving, clean, broken)
        self.call(name, halves, copies, *parts, latents.size, threads)
        arrays.check()
        return leaving, clean, bool(broken[0])

    def to_pixels(self, image, offsets=(0,), threads=3):
        arrays, broken = Arrays(offsets), np.zeros(1, np.int32)
        pixels = arrays.empty((*image.shape[1:], 3), np.uint8)
        self.call(f"to_pixels_{image.dtype}", arrays.like(image), pixels, broken, image[0].size, threads)
        arrays.check()
        return pixels, bool(broken[0])

    def accumulate(self, probability, total, offsets=(0,), threads=3):
        arrays, broken = Arrays(offsets), np.zeros(1, np.int32)
        result = arrays.like(total)
        self.call(f"accumulate_{probability.dtype}", arrays.like(probability), result, broken, total.size, threads)
        arrays.check()
        return result, bool(broken[0])

    def threshold(self, total, steps, limit, offsets=(0,), threads=3):
        arrays = Arrays(offsets)
        mask = arrays.empty(total.shape, np.uint8)
        self.call("threshold", arrays.like(total), mask, float(steps), float(limit), total.size, threads)
        arrays.check()
        return mask
