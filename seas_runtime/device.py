"""The GPU of this machine, asked of its driver without any package."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass

_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR of cuda.h
_NAME_BYTES = 256

NO_GPU = "no NVIDIA GPU with a driver found; check nvidia-smi, or use --backend cpu"


@dataclass(frozen=True)
class Gpu:
    """A GPU's compute capability, as "sm90", and name, as "NVIDIA H200"."""

    capability: str
    name: str


def current_gpu() -> Gpu | None:
    """The GPU that CUDA programs of this process use by default; None without a GPU or driver."""
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        return None
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(_NAME_BYTES)
    failed = (  # each call gives 0, or the number of an error
        driver.cuInit(0)
        or driver.cuDeviceGet(ctypes.byref(device), 0)
        or driver.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, device)
        or driver.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, device)
        or driver.cuDeviceGetName(name, _NAME_BYTES, device)
    )
    if failed:
        return None
    return Gpu(f"sm{major.value}{minor.value}", name.value.decode(errors="replace"))


def driver_version() -> tuple[int, int] | None:
    """The newest CUDA that the driver runs, as (13, 0); None without a driver."""
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        return None
    version = ctypes.c_int()
    if driver.cuDriverGetVersion(ctypes.byref(version)):
        return None
    return version.value // 1000, version.value % 1000 // 10
