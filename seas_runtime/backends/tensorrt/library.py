"""The two variants of TensorRT: which packages they are, loaded only when asked for."""

from __future__ import annotations

import importlib
from collections import deque
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, Literal, get_args

from seas_runtime.backends.registry import BACKENDS
from seas_runtime.errors import BackendError

Variant = Literal["rtx", "tensorrt"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)


@dataclass(frozen=True)
class Package:
    """A variant's name for people, and its module."""

    title: str
    module: str


PACKAGES: dict[Variant, Package] = {
    "rtx": Package("TensorRT-RTX", "tensorrt_rtx"),
    "tensorrt": Package("TensorRT", "tensorrt"),
}


@dataclass(frozen=True)
class Library:
    """A loaded TensorRT.

    Its builders, parsers and runtimes must all be given `logger`: TensorRT keeps a pointer to the first logger of
    the process and crashes once that one is gone. `logger.errors` holds the latest error messages.
    """

    variant: Variant
    trt: ModuleType
    logger: Any

    @property
    def version(self) -> str:
        """The version of the library, as "1.7.1.116"."""
        return str(self.trt.__version__)

    @property
    def title(self) -> str:
        """Name and version for messages, as "TensorRT-RTX 1.7.1.116"."""
        return f"{PACKAGES[self.variant].title} {self.version}"

    @property
    def gpus(self) -> tuple[str, ...]:
        """Compute capabilities it builds for without a GPU, as "sm86"; none with variant tensorrt."""
        if self.variant != "rtx":
            return ()
        members = self.trt.ComputeCapability.__members__
        return tuple(name.lower() for name in members if name.startswith("SM"))


@cache
def load(variant: Variant) -> Library:
    """Load a variant's package, once per process.

    Raises:
        BackendError: it is not installed or does not load.
    """
    package = PACKAGES[variant]
    try:
        trt = importlib.import_module(package.module)
    except (ImportError, OSError) as error:
        raise BackendError(f"{package.title} is not installed ({error}); run: {BACKENDS[variant].hint}") from error
    return Library(variant, trt, _recorder(trt))


def _recorder(trt: Any) -> Any:
    severity = trt.ILogger.Severity

    class Recorder(trt.ILogger):  # type: ignore[misc]  # the module has no types
        """Keeps error messages and drops everything else."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: deque[str] = deque(maxlen=20)

        def log(self, level: Any, message: str) -> None:
            if level == severity.ERROR:
                self.errors.append(message)

    return Recorder()
