"""What TensorRT-RTX compiled on this GPU, kept on the disk, so that the next start need not do it again."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from seas_runtime.backends.cache import cache_root
from seas_runtime.files import write_atomic


def cache_file(version: str, capability: str, digest: str) -> Path | None:
    """Where the kernels of one library version, GPU and bundle lie; None for a user without a home."""
    root = cache_root()
    return root and root / f"rtx-{version}-{capability}-{digest[:16]}.jit"


class JitCache:
    """The runtime cache of TensorRT-RTX, shared by all engines of a bundle and stored in one file.

    A file that is damaged, comes from another driver or GPU, or cannot be read or written only costs time.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._cache: Any = None
        self._stored = b""

    def attach(self, config: Any) -> None:
        """Make an `IRuntimeConfig` use the cache; CUDA must have been started in this thread."""
        if self._cache is None:
            self._cache = config.create_runtime_cache()
            if stored := self._read():
                self._cache.deserialize(stored)  # which refuses what does not fit here
        config.set_runtime_cache(self._cache)

    def save(self) -> None:
        """Store what was compiled since the last time."""
        if self._cache is None or self._path is None:
            return
        memory = self._cache.serialize()
        data = bytes(memory) if memory is not None else b""
        if not data or data == self._stored:
            return
        self._stored = data
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self._path, data)

    def _read(self) -> bytes:
        if self._path is not None:
            with suppress(OSError):
                self._stored = self._path.read_bytes()
        return self._stored
