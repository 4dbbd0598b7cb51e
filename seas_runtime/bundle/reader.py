"""A bundle `NAME.plan` on disk: reading with every check before an engine opens it, and sealing.

The core is `manifest.json`, the ONNX graphs over `weights.bin`, and `conditioning.safetensors`; the folder
`engines/` lies beside the core and is not read here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from seas_runtime.bundle.conditioning import Conditioning, check_header, read_conditioning
from seas_runtime.bundle.core_files import check_listed, check_names, copy_hint, core_files, entry_of, read_listed
from seas_runtime.bundle.digest import canonical_digest, stored_form
from seas_runtime.bundle.graph_rules import verify_ends, verify_graph
from seas_runtime.bundle.graphs import GraphName, Precision
from seas_runtime.bundle.manifest import CONDITIONING, FORMAT, Manifest
from seas_runtime.bundle.schema import MANIFEST
from seas_runtime.errors import BundleError
from seas_runtime.files import open_regular, write_atomic

MAX_MANIFEST_BYTES = 16 << 20


@dataclass(frozen=True)
class Bundle:
    """A verified bundle; `graphs` has the bytes of its ONNX files by their names."""

    path: Path
    manifest: Manifest
    conditioning: Conditioning
    graphs: Mapping[str, bytes]

    def graph(self, name: GraphName, precision: Precision = "fp32") -> bytes:
        """A graph's ONNX file as it was verified, whatever lies at its path now.

        Raises:
            BundleError: the bundle has no such graph in this precision.
        """
        return self.graphs[self.graph_path(name, precision).relative_to(self.path).as_posix()]

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
        graphs, conditioning = _verify_files(folder, manifest)
    except OSError as error:
        raise BundleError(f"{folder}: {error.strerror or error}; check the bundle and its permissions") from error
    return Bundle(folder, manifest, conditioning, graphs)


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
    names = sorted(name for name in core_files(folder) if name != MANIFEST)
    files = {name: entry_of(folder / name) for name in names}
    try:
        draft = Manifest.model_validate({"format": FORMAT, **fields, "files": files, "digest": "0" * 64})
        content = draft.model_dump(mode="json")
        content["digest"] = canonical_digest(content)
        data = stored_form(content)
        manifest = Manifest.model_validate_json(data, strict=True)  # as it will be read
    except ValueError as error:
        raise BundleError(f"{folder}: {_first(error)}") from error
    write_atomic(folder / MANIFEST, data)
    return manifest


def _read_manifest(folder: Path) -> Manifest:
    file = folder / MANIFEST
    if not folder.is_dir():
        what = "is a file, a bundle is a folder" if folder.exists() else "no such bundle folder"
        raise BundleError(f"{folder}: {what}; give the path of a NAME.plan made by seas-export, or bottle.plan, which comes along")
    if file.is_symlink():
        raise BundleError(f"{folder}: {MANIFEST} is a link; make a bundle of plain files: {copy_hint(folder)}")
    if not file.is_file():
        raise BundleError(f"{folder}: no {MANIFEST} in it; give the path of a NAME.plan made by seas-export")
    return parse_manifest(file)


def parse_manifest(file: Path) -> Manifest:
    """Read `manifest.json` itself, links followed; no other file is looked at.

    Raises:
        BundleError: it is too large, of another format, or not as it was sealed.
        OSError: it cannot be read.
    """
    with open_regular(file) as stream:
        data = stream.read(MAX_MANIFEST_BYTES + 1)
    if len(data) > MAX_MANIFEST_BYTES:
        raise BundleError(f"{file}: larger than {MAX_MANIFEST_BYTES} bytes, so not a manifest")
    try:
        content = json.loads(data)
        if not isinstance(content, dict):
            raise TypeError("not a JSON object")
        if content.get("format") != FORMAT or type(content["format"]) is not int:
            raise BundleError(f"{file}: format {content.get('format')!r} found, {FORMAT} expected; update seas")
        manifest = Manifest.model_validate_json(data, strict=True)
        same = stored_form(content) == data and canonical_digest(content) == manifest.digest
    except (ValueError, TypeError, RecursionError) as error:
        raise BundleError(f"{file}: {_first(error)}; fetch or export the bundle again") from error
    if not same:
        raise BundleError(f"{file}: does not match its own digest; it was changed, fetch the bundle again")
    return manifest


def _verify_files(folder: Path, manifest: Manifest) -> tuple[dict[str, bytes], Conditioning]:
    """Check all of the core, small files first, so that nothing large is read on account of what is wrong.

    Returns:
        The graphs by their files, and the conditioning, from the bytes that were hashed.
    """
    check_names(folder, manifest)
    graphs: dict[str, bytes] = {}
    ends: dict[str, int] = {}
    for graph in manifest.graphs.values():
        for name in graph.files.values():
            graphs[name] = read_listed(folder, name, manifest.files[name])
            for file, end in verify_graph(folder, name, graphs[name], graph, manifest.files).items():
                ends[file] = max(ends.get(file, 0), end)
    verify_ends(folder, ends, manifest.files)
    check_header(folder / CONDITIONING, manifest)
    conditioning = read_listed(folder, CONDITIONING, manifest.files[CONDITIONING])
    for name in manifest.files.keys() - graphs.keys() - {CONDITIONING}:
        check_listed(folder, name, manifest.files[name])
    return graphs, read_conditioning(folder / CONDITIONING, conditioning, manifest)


def _first(error: Exception) -> str:
    """The first complaint, on one line."""
    if isinstance(error, ValidationError):
        detail = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in detail["loc"])
        return f"{place}: {detail['msg']}" if place else detail["msg"]
    return str(error).splitlines()[0] if str(error) else type(error).__name__
