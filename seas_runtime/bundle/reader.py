"""A bundle `NAME.plan` on disk: reading with every check before an engine opens it, and sealing.

The core is `manifest.json`, the ONNX graphs over `weights.bin`, and `conditioning.safetensors`; the folder
`engines/` lies beside the core and is not read here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from seas_runtime.bundle.conditioning import Conditioning, read_conditioning
from seas_runtime.bundle.manifest import (
    CONDITIONING,
    ENGINES,
    FORMAT,
    MANIFEST,
    FileEntry,
    Graph,
    GraphName,
    Manifest,
    Precision,
    TensorSpec,
    canonical_digest,
    stored_form,
)
from seas_runtime.bundle.onnx_wire import Value, external_paths, graph_values
from seas_runtime.errors import BundleError
from seas_runtime.files import write_atomic

MAX_MANIFEST_BYTES = 16 << 20


@dataclass(frozen=True)
class Bundle:
    """A verified bundle."""

    path: Path
    manifest: Manifest
    conditioning: Conditioning

    def graph_path(self, name: GraphName, precision: Precision = "fp32") -> Path:
        """Path of a graph's ONNX file.

        Raises:
            BundleError: the bundle has no such graph in this precision.
        """
        graph = self.manifest.graphs.get(name)
        if graph is None or precision not in graph.files:
            raise BundleError(f"{self.path}: no {precision} graph {name!r}; export the bundle with it")
        return self.path / graph.files[precision]


def read_bundle(path: Path | str, expect: str | None = None) -> Bundle:
    """Read and verify the core of a bundle.

    Args:
        path: the folder `NAME.plan`.
        expect: the digest the bundle must have: the only proof of origin, since whoever changes a file can
            compute its hash again.

    Raises:
        BundleError: missing folder or file, unknown format, a file too many, wrong size or hash, a path or
            link that leaves the folder, shapes that disagree with the manifest, another digest than `expect`.
    """
    folder = Path(path)
    try:
        manifest = _read_manifest(folder)
        if expect is not None and expect.strip().lower() != manifest.digest:
            raise BundleError(f"{folder}: digest {manifest.digest} found, {expect} expected; this is another bundle")
        contents = _verify_files(folder, manifest)
        for graph in manifest.graphs.values():
            for file in graph.files.values():
                _verify_onnx(folder, manifest, graph, file)
    except OSError as error:
        raise BundleError(f"{folder}: {error.strerror or error}; check the bundle and its permissions") from error
    return Bundle(folder, manifest, read_conditioning(folder / CONDITIONING, contents, manifest))


def write_manifest(folder: Path | str, fields: Mapping[str, Any]) -> Manifest:
    """Seal a bundle: hash every core file in `folder`, compute the digest, write `manifest.json` atomically.

    Args:
        folder: holds all other core files already.
        fields: the manifest (models or plain values) without `files` and `digest`; `format` may be left out.

    Raises:
        BundleError: fields that do not fit the schema or the files.
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    names = sorted(name for name in _core_files(folder) if name != MANIFEST)
    files = {name: _entry(folder / name) for name in names}
    try:
        draft = Manifest.model_validate({"format": FORMAT, **fields, "files": files, "digest": "0" * 64})
        content = draft.model_dump(mode="json")
        content["digest"] = canonical_digest(content)
        data = stored_form(content)
    except ValueError as error:
        raise BundleError(f"{folder}: {_first(error)}") from error
    write_atomic(folder / MANIFEST, data)
    return Manifest.model_validate(content)


def _read_manifest(folder: Path) -> Manifest:
    file = folder / MANIFEST
    if not folder.is_dir():
        what = "is a file, a bundle is a folder" if folder.exists() else "no such bundle folder"
        raise BundleError(f"{folder}: {what}; give the path of a NAME.plan made by seas-export")
    if file.is_symlink() or not file.is_file():
        raise BundleError(f"{folder}: no {MANIFEST} in it; give the path of a NAME.plan made by seas-export")
    if file.stat().st_size > MAX_MANIFEST_BYTES:
        raise BundleError(f"{file}: larger than {MAX_MANIFEST_BYTES} bytes, so not a manifest")
    data = file.read_bytes()
    try:
        content = json.loads(data)
        if not isinstance(content, dict):
            raise TypeError("not a JSON object")
        if content.get("format") != FORMAT:
            raise BundleError(f"{file}: format {content.get('format')!r} found, {FORMAT} expected; update seas")
        manifest = Manifest.model_validate(content)
        same = stored_form(content) == data and canonical_digest(content) == manifest.digest
    except (ValueError, TypeError, RecursionError) as error:
        raise BundleError(f"{file}: {_first(error)}; fetch or export the bundle again") from error
    if not same:
        raise BundleError(f"{file}: does not match its own digest; it was changed, fetch the bundle again")
    return manifest


def _core_files(folder: Path) -> Iterator[str]:
    """Relative paths of all core files; a link anywhere in the core is refused."""
    for entry in folder.iterdir():
        if entry.name != ENGINES:
            yield from _files_below(entry, folder)


def _files_below(entry: Path, folder: Path) -> Iterator[str]:
    name = entry.relative_to(folder).as_posix()
    if entry.is_symlink() or not (entry.is_dir() or entry.is_file()):
        raise BundleError(f"{folder}: {name} is a link or a special file; replace it by the file itself")
    if entry.is_file():
        yield name
        return
    for child in entry.iterdir():
        yield from _files_below(child, folder)


def _entry(file: Path) -> FileEntry:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return FileEntry(bytes=file.stat().st_size, sha256=digest)


def _verify_files(folder: Path, manifest: Manifest) -> bytes:
    """Check names, sizes and hashes of the core; returns the bytes of the conditioning that were hashed."""
    found = set(_core_files(folder)) - {MANIFEST}
    listed = set(manifest.files)
    if missing := sorted(listed - found):
        raise BundleError(f"{folder}: {', '.join(missing)} missing; fetch the bundle again")
    if extra := sorted(found - listed):
        raise BundleError(f"{folder}: {', '.join(extra)} not in the manifest; remove it or fetch the bundle again")
    for name, wanted in manifest.files.items():
        size = (folder / name).stat().st_size
        if size != wanted.bytes:
            raise BundleError(f"{folder}: {name} has {size} bytes, {wanted.bytes} expected; fetch the bundle again")
        if _entry(folder / name) != wanted:
            raise BundleError(f"{folder}: {name} has another hash than the manifest says; fetch the bundle again")
    return (folder / CONDITIONING).read_bytes()


def _verify_onnx(folder: Path, manifest: Manifest, graph: Graph, file: str) -> None:
    """External data must be core files; names, dtypes and shapes must be the manifest's."""
    data = (folder / file).read_bytes()
    try:
        locations = external_paths(data)
        inputs, outputs = graph_values(data)
    except ValueError as error:
        raise BundleError(f"{folder}: {file} is not an ONNX file ({error}); export the bundle again") from error
    for location in sorted(locations):
        target = PurePosixPath(file).parent / location
        if "\\" in location or ".." in target.parts or str(target) not in manifest.files:
            raise BundleError(f"{folder}: {file} points at {location!r}, no core file; do not use this bundle")
    for specs, values in ((graph.inputs, inputs), (graph.outputs, outputs)):
        names = tuple(value.name for value in values)
        if names != tuple(spec.name for spec in specs):
            raise BundleError(f"{folder}: {file} has tensors {names}, which the manifest does not say")
        for spec, value in zip(specs, values, strict=True):
            if not _agrees(spec, value):
                raise BundleError(
                    f"{folder}: {file}: {spec.name} is {value.dtype} {value.shape}, "
                    f"the manifest says {spec.dtype} {spec.shape}; export the bundle again"
                )


def _agrees(spec: TensorSpec, value: Value) -> bool:
    """Numbers must be equal; where the file names a dimension it is free, so a symbol must stand."""
    if spec.dtype != value.dtype or len(spec.shape) != len(value.shape):
        return False
    return all(
        want == got if isinstance(got, int) else got is None or isinstance(want, str)
        for want, got in zip(spec.shape, value.shape, strict=True)
    )


def _first(error: Exception) -> str:
    """The first complaint, on one line."""
    if isinstance(error, ValidationError):
        detail = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in detail["loc"])
        return f"{place}: {detail['msg']}" if place else detail["msg"]
    return str(error).splitlines()[0] if str(error) else type(error).__name__
