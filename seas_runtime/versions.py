"""Versions of what a run was made with."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

DISTRIBUTION = "seas-gen"
"""Of this project, as pip knows it; "seas" on PyPI is somebody else's."""


def own_version() -> str:
    """Version of this project."""
    return package_version(DISTRIBUTION)


def extra(*names: str) -> str:
    """The command that installs extras of this project, such as "train"."""
    return f'pip install "{DISTRIBUTION}[{",".join(names)}]"'


def package_version(package: str) -> str:
    """Version of an installed package, or "not installed"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def run_versions() -> dict[str, str]:
    """Python, system, and the packages that decide a run's bytes."""
    packages = {name: package_version(name) for name in ("numpy", "pillow")}
    return {"python": platform.python_version(), "system": platform.platform(), "seas": own_version(), **packages}
