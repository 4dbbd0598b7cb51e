"""Versions of what a run was made with."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version


def package_version(package: str) -> str:
    """Version of an installed package, or "not installed"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def run_versions() -> dict[str, str]:
    """Python, system, and the packages that decide a run's bytes."""
    packages = {name: package_version(name) for name in ("seas", "numpy", "pillow")}
    return {"python": platform.python_version(), "system": platform.platform(), **packages}
