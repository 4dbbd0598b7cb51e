"""A bundle of links made one of plain files: a hub's cache, DVC, git-annex, Nix and Kubernetes hand out links."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from seas_runtime.bundle.manifest import FileEntry
from seas_runtime.bundle.reader import Bundle, parse_manifest, read_bundle
from seas_runtime.bundle.schema import MANIFEST
from seas_runtime.errors import BundleError, OutputError
from seas_runtime.files import open_regular
from seas_runtime.staging import replaced, settle

_CHUNK = 1 << 20


def copy_bundle(source: Path, target: Path, expect: str | None = None) -> Bundle:
    """Copy what the manifest lists, and nothing else; `target` appears whole and verified, or not at all.

    Links are followed for the time of the copy. A file counts by its hash, so what a link leads to can be nothing but what the
    manifest says. Engines beside the core stay behind.

    Args:
        source: a bundle whose files, or which itself, may be links.
        target: a folder that does not exist.
        expect: the digest it must have.

    Raises:
        BundleError: `source` is no bundle, or one of its files is missing or another one.
        OutputError: `target` exists, or cannot be written.
    """
    _require_new(target)
    try:
        manifest = parse_manifest(source / MANIFEST)
    except OSError as error:
        raise BundleError(
            f"{source / MANIFEST}: {error.strerror or error}; give the path of a NAME.plan made by seas-export"
        ) from error
    try:
        with replaced(target) as fresh:
            _require_new(target)  # another copy may just have ended
            for name, entry in manifest.files.items():
                _copy(source / name, fresh / name, entry)
            shutil.copyfile(source / MANIFEST, fresh / MANIFEST)
            read_bundle(fresh, expect)
    except OSError as error:
        raise OutputError(f"{error.filename or target}: {error.strerror or error}; fix that and copy again") from error
    return read_bundle(target, expect)


def _require_new(target: Path) -> None:
    settle(target)  # what a killed copy left beside it
    if os.path.lexists(target):
        raise OutputError(f"{target}: exists already; give the name of a new folder")


def _copy(source: Path, target: Path, wanted: FileEntry) -> None:
    """Copy as many bytes as there are to be; one byte too many is noticed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, left = hashlib.sha256(), wanted.bytes + 1
    try:
        stream = open_regular(source)
    except OSError as error:
        raise BundleError(f"{source}: {error.strerror or error}; fetch the bundle again") from error
    with stream, target.open("xb") as copied:
        while left > 0 and (data := stream.read(min(_CHUNK, left))):
            left -= len(data)
            digest.update(data)
            copied.write(data)
        copied.flush()
        os.fsync(copied.fileno())
    if left != 1 or digest.hexdigest() != wanted.sha256:
        raise BundleError(f"{source}: has another size or hash than the manifest says; fetch the bundle again")
