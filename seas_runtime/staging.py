"""A folder that appears whole or not at all, and takes the place of an older one only when it is whole."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from seas_runtime.errors import OutputError
from seas_runtime.files import TEMPORARY_SUFFIX, flush_folder, locked

_NEW, _OLD = "new", "old"
_THREADS = 8
_OF_TOOLS = (".cache",)  # what trainers leave in a data set, and make again


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """Give an empty folder; when the block ends well, it takes the place of `folder` and of all that is in it.

    It lies beside `folder`, in one called so with `.seas-tmp` after it. Nothing of it is left when the block fails; what a
    killed process leaves goes the next time, and an older `folder` that it was about to replace comes back.

    Raises:
        OutputError: another process is writing to this folder.
        OSError: what the file system says.
    """
    folder = folder.resolve()  # a link keeps its place
    yard = folder.with_name(folder.name + TEMPORARY_SUFFIX)
    new, old = yard / _NEW, yard / _OLD
    yard.mkdir(parents=True, exist_ok=True)
    try:
        with locked(yard):
            _clear(folder, new, old)
            new.mkdir()
            try:
                yield new
                _flush(new)
                _swap(folder, new, old)
            finally:
                shutil.rmtree(new, ignore_errors=True)
    finally:
        with suppress(OSError):  # another process may be at work there
            yard.rmdir()


def settle(folder: Path) -> None:
    """Remove what a killed process left beside `folder`, unless one is at work there; see `replaced`.

    An older folder that it was about to replace comes back. For who refuses a folder that exists, and so never replaces it.
    """
    yard = folder.with_name(folder.name + TEMPORARY_SUFFIX)
    if not yard.is_dir() or yard.is_symlink():
        return
    with suppress(OSError, OutputError):
        with locked(yard):
            _clear(folder, yard / _NEW, yard / _OLD)
        yard.rmdir()


def sweep(root: Path) -> None:
    """Remove what killed processes left below a folder that the caller holds; what one was about to replace comes back.

    See `replaced` and `seas_runtime.files.write_atomic`, whose leavings these are.

    Raises:
        OSError: what the file system says.
    """
    for left in sorted(root.rglob(f"*{TEMPORARY_SUFFIX}")):
        if left.is_dir() and not left.is_symlink():
            _clear(left.with_name(left.name.removesuffix(TEMPORARY_SUFFIX)), left / _NEW, left / _OLD)
            shutil.rmtree(left)
        else:
            left.unlink(missing_ok=True)


def fingerprint(folder: Path, besides: str) -> str:
    """Sha256 (hex) of the names and bytes of all files in a folder but the one called `besides` and caches of trainers."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != besides and path.suffix not in _OF_TOOLS:
            with path.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
            found.update(f"{content} {name}\n".encode("utf-8", "surrogateescape"))
    return found.hexdigest()


def _clear(folder: Path, new: Path, old: Path) -> None:
    if old.exists() and not folder.exists():
        old.rename(folder)
    for left in (new, old):
        if left.exists():
            shutil.rmtree(left)


def _flush(folder: Path) -> None:
    """Let all files reach the disk before their folder gets its name; side by side, since each takes milliseconds alone."""
    if os.name != "posix":  # where a file must be open for writing to be flushed
        return
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="flush") as pool:
        list(pool.map(_flush_file, (path for path in folder.rglob("*") if path.is_file())))
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            flush_folder(path)


def _flush_file(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _swap(folder: Path, new: Path, old: Path) -> None:
    if folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
    except BaseException:  # an interrupt, too
        if old.exists():
            old.rename(folder)
        raise
    flush_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)
