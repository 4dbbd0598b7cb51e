"""A bundle of links made one of plain files: a hub's cache, DVC, git-annex, Nix and Kubernetes hand out links."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from seas_runtime.bundle.manifest import MANIFEST, FileEntry
from seas_runtime.bundle.reader import Bundle, parse_manifest, read_bundle
from seas_runtime.errors import BundleError, OutputError
from seas_runtime.files import TEMPORARY_SUFFIX, flush_folder, open_regular

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
    if os.path.lexists(target):
        raise OutputError(f"{target}: exists already; give the name of a new folder")
    try:
        manifest = parse_manifest(source / MANIFEST)
    except OSError as error:
        raise BundleError(
            f"{source / MANIFEST}: {error.strerror or error}; give the path of a NAME.plan made by seas-export"
        ) from error
    partial = target.with_name(target.name + TEMPORARY_SUFFIX)
    try:
        shutil.rmtree(partial, ignore_errors=True)  # of a copy that was killed
        partial.mkdir(parents=True)
        for name, entry in manifest.files.items():
            _copy(source / name, partial / name, entry)
        shutil.copyfile(source / MANIFEST, partial / MANIFEST)
        read_bundle(partial, expect)
        flush_folder(partial)
        partial.rename(target)
    except OSError as error:
        raise OutputError(f"{error.filename or target}: {error.strerror or error}; fix that and copy again") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return read_bundle(target, expect)


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
