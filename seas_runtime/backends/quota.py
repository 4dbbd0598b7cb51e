"""The processor time that a container may use, as Linux's control groups say it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

PROC = Path("/proc/self")


def cpu_quota(proc: Path = PROC) -> float | None:
    """Processor seconds per second that this process may use, 1.5 for one and a half cores; None where nothing limits them.

    Groups lie in each other, and the smallest quota counts. Version 2 has it in `cpu.max`, version 1 in `cpu.cfs_quota_us` and
    `cpu.cfs_period_us`, see Linux's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.

    Args:
        proc: where Linux tells a process of itself: `cgroup` has its groups, `mountinfo` where they are to be seen.
    """
    quotas = [quota for folder in _groups(proc) for quota in (_version_2(folder), _version_1(folder)) if quota is not None]
    return min(quotas, default=None)


def _groups(proc: Path) -> Iterator[Path]:
    """The folders of this process's group and of all groups that it lies in."""
    with suppress(OSError, ValueError, IndexError):
        groups: dict[str, str] = {}  # controller, "" of version 2 -> group
        for line in (proc / "cgroup").read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            groups.update(dict.fromkeys(controllers.split(","), group))
        for line in (proc / "mountinfo").read_text().splitlines():
            before, _, after = line.partition(" - ")
            root, mount = before.split()[3:5]
            kind, _, options = after.split()[:3]
            controller = "" if kind == "cgroup2" else "cpu"
            seen = kind == "cgroup2" or (kind == "cgroup" and "cpu" in options.split(","))
            if seen and controller in groups:
                yield from _upwards(Path(mount), root, groups[controller])


def _upwards(mount: Path, root: str, group: str) -> Iterator[Path]:
    """From a group's folder up to the mount; a container often sees its own group as the root."""
    path = PurePosixPath(group)
    below = path.relative_to(root) if path.is_relative_to(root) else PurePosixPath()
    for part in (below, *below.parents):
        yield mount / part


def _version_2(folder: Path) -> float | None:
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    return None


def _version_1(folder: Path) -> float | None:
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        return quota / period if quota > 0 else None
    return None
