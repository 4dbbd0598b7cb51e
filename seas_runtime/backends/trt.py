"""Native engines of TensorRT and TensorRT-RTX, run through cuda.core."""

from __future__ import annotations

from typing import cast

from seas_runtime.backends import Backend
from seas_runtime.bundle import Bundle
from seas_runtime.device import current_gpu
from seas_runtime.errors import BackendError
from seas_runtime.flavours import Flavour, load


def open_graphs(name: str, bundle: Bundle, threads: int) -> Backend:
    """Open a bundle's engines; see `seas_runtime.backends.BackendModule`."""
    raise BackendError(missing(name) or f"backend {name}: nothing runs engines yet; use --backend cpu")


def missing(name: str) -> str | None:
    """Why engines of flavour `name` cannot run here; see `seas_runtime.backends.BackendModule`."""
    try:
        load(cast("Flavour", name))
    except BackendError as error:
        return error.message
    if current_gpu() is None:
        return "no NVIDIA GPU with a driver found; check nvidia-smi, or use --backend cpu"
    return None
