"""Small pictures in memory: the ones used last, up to a number of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable


class Cache:
    """Bytes by key; what was used longest ago goes first. Thread-safe; two threads may make the same thing at once."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.size = 0
        self._lock = threading.Lock()
        self._found: OrderedDict[Hashable, bytes] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """What is kept under `key`, else what `make` returns."""
        with self._lock:
            if (data := self._found.get(key)) is not None:
                self._found.move_to_end(key)
                return data
        data = make()
        with self._lock:
            self.size += len(data) - len(self._found.pop(key, b""))
            self._found[key] = data
            while self.size > self.most and len(self._found) > 1:
                self.size -= len(self._found.popitem(last=False)[1])
        return data
