"""The files of a bundle's core on the disk: which there are, how large they may be, their hashes."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator
from pathlib import Path

from seas_runtime.bundle.manifest import CONDITIONING, FileEntry, Manifest
from seas_runtime.bundle.schema import ENGINES, MANIFEST
from seas_runtime.errors import BundleError
from seas_runtime.files import open_regular

MAX_NORMALS = 10_000  # normal images in a conditioning
MAX_HEADER_BYTES = 16 << 20  # of safetensors
MAX_WEIGHTS_BYTES = 32 << 30
MAX_OTHER_BYTES = 256 << 20  # of a graph or a photograph
_MAX_DEPTH = 8
_MAX_ENTRIES = 20_000


def core_files(folder: Path) -> Iterator[str]:
    """Relative paths of all files of the core, the manifest among them.

    Raises:
        BundleError: a link or a special file among them, too many files, or folders too deep in each other.
    """
    todo = [(entry, 1) for entry in folder.iterdir() if entry.name != ENGINES]
    seen = 0
    while todo:
        entry, depth = todo.pop()
        seen += 1
        name = entry.relative_to(folder).as_posix()
        kind = entry.lstat().st_mode
        if stat.S_ISREG(kind):
            yield name
        elif stat.S_ISLNK(kind):
            raise BundleError(f"{folder}: {name} is a link; make a bundle of plain files: {copy_hint(folder)}")
        elif not stat.S_ISDIR(kind):
            raise BundleError(f"{folder}: {name} is neither a file nor a folder; remove it or fetch the bundle again")
        elif depth >= _MAX_DEPTH:
            raise BundleError(f"{folder}: folders more than {_MAX_DEPTH} deep, no bundle has them; fetch the bundle again")
        else:
            todo += [(child, depth + 1) for child in entry.iterdir()]
        if seen > _MAX_ENTRIES:
            raise BundleError(f"{folder}: more than {_MAX_ENTRIES} files in it, no bundle has them; fetch the bundle again")


def copy_hint(folder: Path) -> str:
    """The command that makes plain files of links."""
    return f"seas-engine copy {folder} NAME.plan"


def entry_of(file: Path) -> FileEntry:
    """Size and hash of a file.

    Raises:
        OSError: it cannot be read.
    """
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return FileEntry(bytes=stream.tell(), sha256=digest)


def check_names(folder: Path, manifest: Manifest) -> None:
    """Compare the files that are there with those of the manifest: names, sizes, and sizes with what can be.

    Raises:
        BundleError: they differ, or one is larger than any such file.
    """
    found, listed = set(core_files(folder)) - {MANIFEST}, set(manifest.files)
    if missing := sorted(listed - found):
        raise BundleError(f"{folder}: {', '.join(missing)} missing; fetch the bundle again")
    if extra := sorted(found - listed):
        raise BundleError(f"{folder}: {', '.join(extra)} not in the manifest; remove it or fetch the bundle again")
    inner = set(manifest.pictures).union(*(graph.files.values() for graph in manifest.graphs.values()))
    for name, wanted in manifest.files.items():
        size = (folder / name).stat().st_size
        if size != wanted.bytes:
            raise BundleError(f"{folder}: {name} has {size} bytes, {wanted.bytes} expected; fetch the bundle again")
        most = MAX_OTHER_BYTES if name in inner else MAX_WEIGHTS_BYTES
        most = _conditioning_bytes(manifest) if name == CONDITIONING else most
        if size > most:
            raise BundleError(f"{folder}: {name} has {size} bytes, at most {most} expected; do not use this bundle")


def read_listed(folder: Path, name: str, wanted: FileEntry) -> bytes:
    """The bytes of a core file; what is given is what was hashed.

    Raises:
        BundleError: they are not those of the manifest.
        OSError: it cannot be read.
    """
    with open_regular(folder / name) as stream:
        data = stream.read(wanted.bytes + 1)
    if len(data) != wanted.bytes or hashlib.sha256(data).hexdigest() != wanted.sha256:
        raise BundleError(f"{folder}: {name} has another hash than the manifest says; fetch the bundle again")
    return data


def check_listed(folder: Path, name: str, wanted: FileEntry) -> None:
    """Compare a core file with the manifest without holding it in memory.

    Raises:
        BundleError: it is another file.
        OSError: it cannot be read.
    """
    if entry_of(folder / name) != wanted:
        raise BundleError(f"{folder}: {name} has another hash than the manifest says; fetch the bundle again")


def _conditioning_bytes(manifest: Manifest) -> int:
    """How large the conditioning may be, in float32 and with as many normal images as there may be."""
    geometry = manifest.geometry
    prompts = (len(manifest.defects) + 2) * geometry.prompt_length * geometry.prompt_width
    normals = 2 * MAX_NORMALS * geometry.latent_channels * geometry.latent_size**2
    return 8 + MAX_HEADER_BYTES + 4 * (prompts + normals)
