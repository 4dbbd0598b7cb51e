"""What an actor of a cluster is: a bundle, verified and opened where the actor runs; see `cluster`."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seas_runtime import api
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.errors import BackendError, BundleError, SeasError
from seas_runtime.sampling.pairs import Pair
from seas_runtime.sampling.recipe import Plan, Sampling
from seas_runtime.versions import own_version

Batch = tuple[int, ...]
"""Indices of pairs that are made together."""


@dataclass(frozen=True)
class Asked:
    """What an actor is to open: the bundle's path and digest, the backend, its threads, this package's version.

    `expect` as of `--expect`.
    """

    bundle: Path
    digest: str
    backend: str
    threads: int
    version: str
    expect: str | None


class Worker:
    """What an actor is: a bundle, verified and opened where the actor runs."""

    def __init__(self, asked: Asked, core: dict[str, bytes]) -> None:
        self.asked, self.core = asked, core
        self.generator: api.Generator | None = None
        self.folder = tempfile.TemporaryDirectory(prefix="seas-")

    def begin(self) -> dict[str, Any]:
        """Open the bundle: that at its path if there is one, else what was sent. Says what it computes with, or the error."""
        asked, path, here = self.asked, self.asked.bundle, own_version()
        if here != asked.version:
            reason = f"node {_node()}: seas {here} found, {asked.version} expected; install the same everywhere"
            return {"error": BackendError(reason)}
        try:
            if not (path / "manifest.json").is_file():
                path = _unpack(self.core, Path(self.folder.name) / path.name)
            candidate = read_bundle(path)
            if candidate.manifest.digest != asked.digest:
                found = f"the bundle {path} with digest {candidate.manifest.digest[:16]}... found, {asked.digest[:16]}... expected"
                return {"error": BundleError(f"node {_node()}: {found}; give the same bundle everywhere, or none there")}
            self.generator = api.open(candidate, asked.backend, threads=asked.threads, expect=asked.expect)
        except SeasError as error:
            return {"error": type(error)(f"node {_node()}: {error.message}")}
        except OSError as error:  # the bundle that was sent does not fit its disk
            return {"error": BackendError(f"node {_node()}: {error.filename}: {error.strerror or error}; free space there")}
        return {"name": self.generator.backend.name, "facts": self.generator.backend.describe(), "node": _node()}

    def make(self, plan: Plan, sampling: Sampling, batch: Batch) -> list[Pair]:
        """The pairs of a batch."""
        if self.generator is None:
            raise BackendError(f"node {_node()}: asked for pairs before the bundle was opened")
        return [pair for pairs in self.generator.batches(plan, sampling, [batch]) for pair in pairs]


def _node() -> str:
    import ray  # noqa: PLC0415  # an extra

    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]


def _unpack(core: dict[str, bytes], folder: Path) -> Path:
    for name, data in core.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder
