"""What a process has needed so far, and times and sizes in words: for commands that say beforehand what they will take."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_bytes() -> int | None:
    """The most memory that this process has had at a time, in bytes; None where the system does not say."""
    with suppress(OSError, ValueError, IndexError):  # what of Linux counts this process alone, not the one that it came from
        for line in _STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource  # noqa: PLC0415  # no such module on Windows
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def duration(seconds: float) -> str:
    """As "45 s", "12 min", "3 h 20 min", "5 days 2 h"."""
    if seconds < 90:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} days {minutes % 1440 // 60} h"


def size(number: float) -> str:
    """Bytes as "12 kB", "3.4 MB", "120 GB", in powers of 1000 as disks are sold."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 999.5:
            return f"{number:.0f} {unit}" if unit == "bytes" or number >= 100 else f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"
