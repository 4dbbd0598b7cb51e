"""Engine sets beside a bundle's core: `engines/<variant>-<version>/`, described by `engines.json`.

Reading checks everything that can be checked without loading an engine, and loads none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from seas_runtime.backends.tensorrt.library import Variant
from seas_runtime.bundle.graphs import REQUIRED_GRAPHS, SAMPLED, GraphName, Precision
from seas_runtime.bundle.manifest import FileEntry
from seas_runtime.bundle.reader import Bundle
from seas_runtime.bundle.schema import ENGINES
from seas_runtime.errors import BackendError, BundleError
from seas_runtime.files import LOCK, TEMPORARY_SUFFIX

FORMAT: Literal[1] = 1
DESCRIPTION = "engines.json"
MAX_DESCRIPTION_BYTES = 1 << 20

Capability = Annotated[str, Field(pattern=r"^sm[0-9]{2,3}$")]
Rows = Annotated[int, Field(ge=1, le=1 << 16)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Profile(_Model):
    """Sizes of the free dimension that an optimisation profile takes, and the one it is tuned for."""

    min: Rows
    opt: Rows
    max: Rows


class BuildSettings(_Model):
    """How an engine was built."""

    strongly_typed: bool
    refit: bool
    tf32: bool
    timing_cache: bool


class Engine(FileEntry):
    """One graph's engine: file, size, hash, and its profiles in the order of their index."""

    file: str
    precision: Precision
    profiles: Annotated[tuple[Profile, ...], Field(min_length=1)]
    settings: BuildSettings

    def profile(self, rows: int) -> int:
        """Index of the profile that takes `rows` rows.

        Raises:
            BackendError: more than the engine was built for.
        """
        for index, profile in enumerate(self.profiles):
            if profile.min <= rows <= profile.max:
                return index
        raise BackendError(
            f"{self.file}: {rows} rows asked for, at most {self.profiles[-1].max} built; "
            "use a smaller --batch, or build engines for larger ones (seas-engine build --batch)"
        )


class EngineFacts(_Model):
    """`engines.json`, format 1. `core` is the digest of the bundle; `batches` are the pairs asked for."""

    format: Literal[1]
    variant: Variant = Field(alias="flavour")  # its name in format 1
    version: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9A-Za-z]+)*$")]
    gpus: Annotated[tuple[Capability, ...], Field(min_length=1)]
    device: str | None
    core: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    batches: Annotated[tuple[Rows, ...], Field(min_length=1)]
    graphs: dict[GraphName, Engine]

    @property
    def name(self) -> str:
        """The name of the set's folder."""
        return f"{self.variant}-{self.version}"

    @model_validator(mode="after")
    def _consistent(self) -> EngineFacts:
        if set(self.graphs) not in map(set, SAMPLED.values()):
            raise ValueError(f"graphs: {sorted(self.graphs)} found, {sorted(REQUIRED_GRAPHS)} expected")
        for graph, engine in self.graphs.items():
            if engine.file != f"{graph}.engine":
                raise ValueError(f"graphs.{graph}.file: {engine.file!r} found, '{graph}.engine' expected")
            below = 0
            for profile in engine.profiles:
                if profile.min != below + 1 or not profile.min <= profile.opt <= profile.max:
                    raise ValueError(f"graphs.{graph}.profiles: not one range after the other, from 1 on")
                below = profile.max
        if (self.variant == "tensorrt") != (self.device is not None):
            raise ValueError("device: a name with variant tensorrt, and only there, expected")
        return self


@dataclass(frozen=True)
class EngineSet:
    """A verified engine set: its folder and what `engines.json` says."""

    path: Path
    facts: EngineFacts

    def file(self, graph: GraphName) -> Path:
        """Path of a graph's engine.

        Raises:
            KeyError: a graph that has no engine.
        """
        return self.path / self.facts.graphs[graph].file

    @property
    def bytes(self) -> int:
        """Size of all its engines."""
        return sum(engine.bytes for engine in self.facts.graphs.values())


@dataclass(frozen=True)
class Found:
    """Something in a bundle's `engines/`: the set, or else why it is unfit."""

    path: Path
    engines: EngineSet | None
    unfit: str = ""


def find_engines(bundle: Bundle) -> list[Found]:
    """Everything in the bundle's `engines/`, by name; every file is hashed.

    Raises:
        BundleError: `engines/` cannot be listed.
    """
    try:
        folders = sorted(_places(bundle))
    except OSError as error:
        raise BundleError(f"{bundle.path}: {ENGINES}: {error.strerror}; check its permissions") from error
    found = []
    for folder in folders:
        try:
            found.append(Found(folder, _read(bundle, folder)))
        except BundleError as error:
            found.append(Found(folder, None, error.message.removeprefix(f"{folder}: ")))
    return found


def read_engines(bundle: Bundle, variant: Variant, version: str) -> EngineSet:
    """Read and verify the engine set of one variant and library version; this loads no engine.

    Raises:
        BundleError: there is none; engines of another bundle; a file missing, added, changed, or that is a
            link; a description that does not fit the schema.
    """
    folder = bundle.path / ENGINES / f"{variant}-{version}"
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such engines; run: seas-engine build {bundle.path} --variant {variant}")
    return _read(bundle, folder)


def _places(bundle: Bundle) -> Iterator[Path]:
    folder = bundle.path / ENGINES
    if not folder.exists():
        return
    for entry in folder.iterdir():
        if entry.name != LOCK and not entry.name.endswith(TEMPORARY_SUFFIX):
            yield entry


def _read(bundle: Bundle, folder: Path) -> EngineSet:
    try:
        files = _files(folder)
        facts = _facts(folder)
        if facts.name != folder.name:
            raise BundleError(f"{folder}: holds {facts.name}; give the folder that name or build again")
        if facts.core != bundle.manifest.digest:
            raise BundleError(
                f"{folder}: engines of another bundle (digest {facts.core[:12]}... found, "
                f"{bundle.manifest.digest[:12]}... expected); build them again"
            )
        if set(facts.graphs) != set(bundle.manifest.sampled):
            raise BundleError(f"{folder}: engines of {', '.join(facts.graphs)}, but the bundle runs others; build them again")
        _verify(folder, files - {DESCRIPTION}, facts)
    except OSError as error:
        raise BundleError(f"{folder}: {error.strerror or error}; check its permissions") from error
    return EngineSet(folder, facts)


def _files(folder: Path) -> set[str]:
    """Names in the folder, all of them plain files; no link on the way to them."""
    if folder.is_symlink() or folder.parent.is_symlink() or not folder.is_dir():
        raise BundleError(f"{folder}: a link or not a folder; replace it by the folder itself")
    names = set()
    for entry in folder.iterdir():
        if entry.is_symlink() or not entry.is_file():
            raise BundleError(f"{folder}: {entry.name} is a link or not a file; build the engines again")
        names.add(entry.name)
    return names


def _facts(folder: Path) -> EngineFacts:
    file = folder / DESCRIPTION
    if not file.is_file():
        raise BundleError(f"{folder}: no {DESCRIPTION} in it; build the engines again")
    if file.stat().st_size > MAX_DESCRIPTION_BYTES:
        raise BundleError(f"{folder}: {DESCRIPTION} is larger than {MAX_DESCRIPTION_BYTES} bytes")
    try:
        return EngineFacts.model_validate_json(file.read_bytes(), strict=True)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_context=False)[0]
        complaint = ": ".join((DESCRIPTION, *map(str, detail["loc"]), detail["msg"]))
        raise BundleError(f"{folder}: {' '.join(complaint.split())}; build the engines again") from error


def _verify(folder: Path, found: set[str], facts: EngineFacts) -> None:
    listed = {engine.file: engine for engine in facts.graphs.values()}
    if missing := sorted(listed.keys() - found):
        raise BundleError(f"{folder}: {', '.join(missing)} missing; build the engines again")
    if extra := sorted(found - listed.keys()):
        raise BundleError(f"{folder}: {', '.join(extra)} not in {DESCRIPTION}; remove it or build again")
    for name, engine in listed.items():
        if (size := (folder / name).stat().st_size) != engine.bytes:
            raise BundleError(f"{folder}: {name} has {size} bytes, {engine.bytes} expected; build the engines again")
    for name, engine in listed.items():
        with (folder / name).open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if digest != engine.sha256:
            raise BundleError(f"{folder}: {name} has another hash than {DESCRIPTION} says; build the engines again")
