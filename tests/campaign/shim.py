"""The preloaded library of `fault.c`: what a process changes below a folder is counted, killed at, or made to fail."""

from __future__ import annotations

import ctypes
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("fault.c")


@dataclass(frozen=True)
class Fault:
    """What happens to a process.

    Attributes:
        at: The change of a file or folder that it happens at, counted from 1; 0 for none.
        error: Number of the error that the change ends in; 0 for a kill, in the middle of every second write.
        alone: Whether later changes succeed again.
        room: Bytes that can be written before the disk is full; -1 for any number.
        after: Seconds after which the process is killed, wherever it is; 0 for never.
    """

    at: int = 0
    error: int = 0
    alone: bool = True
    room: int = -1
    after: float = 0.0


def build(folder: Path) -> Path:
    """Compile the library into `folder`."""
    library = folder / "fault.so"
    subprocess.run(
        ["cc", "-O1", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o", library, SOURCE, "-ldl"], check=True, timeout=60
    )
    return library


def arm(root: Path, fault: Fault) -> None:
    """Begin to count what this process changes below `root`, an absolute path."""
    loaded = ctypes.CDLL(None)
    loaded.seas_fault_arm(str(root).encode(), ctypes.c_long(fault.at), fault.error, int(fault.alone), ctypes.c_long(fault.room))


def counted() -> int:
    """Changes since `arm`."""
    count = ctypes.CDLL(None).seas_fault_count
    count.restype = ctypes.c_long
    return int(count())
