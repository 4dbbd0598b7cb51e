"""What the benchmarks share: machine, versions and commit of a figure, files of results, commands, random inputs."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from seas_runtime.backends.workers import usable_cores
from seas_runtime.files import write_atomic
from seas_runtime.versions import own_version

if TYPE_CHECKING:
    from seas_runtime.bundle.graphs import GraphName
    from seas_runtime.bundle.reader import Bundle

Result = TypeVar("Result")
RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "diffusers", "transformers", "onnx", "onnxruntime", "tensorrt-rtx-cu13")
"""Whose versions belong to every figure."""


def machine() -> dict[str, Any]:
    """Machine (with its load over 1, 5 and 15 minutes), versions and commit: facts of every table."""
    load = os.getloadavg() if hasattr(os, "getloadavg") else ()
    return {
        "machine": {"cpu": cpu(), "cores": usable_cores(), "load": [round(value, 1) for value in load]},
        "versions": {"python": platform.python_version(), "seas": own_version(), **versions(PACKAGES)},
        "commit": commit(),
    }


def alone(function: Callable[..., Result], *given: Any) -> Result:
    """What a function returns in a process of its own, whose memory is then its own, and which ends with this one.

    Raises:
        MemoryError: the process was killed, as the system does when memory ends; it is the first that is.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin) as pool:
        try:
            return pool.submit(function, *given).result()
        except BrokenProcessPool:
            raise MemoryError(f"{function.__name__} was killed: it needs more memory than there is") from None


def _begin() -> None:
    mine = Path("/proc/self/oom_score_adj")
    if mine.exists():
        mine.write_text("1000", encoding="ascii")
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)


def cpu() -> str:
    """The processor's name where the system tells it, else its kind."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Versions by package; "not installed" of one that is missing."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def commit() -> str:
    """What is checked out here, "-dirty" where files have changed since."""
    asked = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def listed(facts: Mapping[str, Any], *keys: str) -> list[str]:
    """A line of Markdown for each of these facts, in JSON where it is no text."""
    return [f"- {key}: {facts[key] if isinstance(facts[key], str) else json.dumps(facts[key])}" for key in keys]


def save(stem: Path, facts: Mapping[str, Any], text: str | None = None) -> None:
    """Write STEM.json and, with a text, STEM.md, each whole or not at all; the folder is made."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(stem.with_name(f"{stem.name}.json"), json.dumps(facts, indent=1) + "\n")
    if text is not None:
        write_atomic(stem.with_name(f"{stem.name}.md"), text)


def kept(path: Path, make: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """What a JSON file holds, or what `make` gives, which is then kept there; the folder is made."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(make()) + "\n")
    return dict(json.loads(path.read_text(encoding="utf-8")))


def random_feeds(bundle: Bundle, graph: GraphName, pairs: int) -> dict[str, NDArray[Any]]:
    """Inputs (rows, ...) of one graph for a batch of pairs; the U-Net's rows come twice, as with guidance."""
    rng = np.random.default_rng(0)
    rows = 2 * pairs if graph == "unet" else pairs
    return {
        spec.name: np.full(rows, 500, np.int64)
        if spec.dtype == "int64"
        else rng.normal(size=(rows, *map(int, spec.shape[1:]))).astype(np.float32)
        for spec in bundle.manifest.graphs[graph].inputs
    }
