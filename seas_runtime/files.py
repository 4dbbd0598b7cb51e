"""Files that appear whole or not at all, and folders that one run at a time writes to."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from seas_runtime.errors import DataError, OutputError

TEMPORARY_SUFFIX = ".seas-tmp"
LOCK = ".seas-lock"
_HELD = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK}  # what systems say of a lock that another has


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write `data` (text as UTF-8) beside `path`, flush it to the disk, then rename it into place.

    A link at `path` is replaced, not followed.

    Raises:
        OSError: whatever the file system says; no temporary is left behind, nor by an interrupt.
    """
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    try:
        temporary.unlink(missing_ok=True)  # of a run that was killed, or somebody's link to another file
        with temporary.open("xb") as stream:
            stream.write(data.encode() if isinstance(data, str) else data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:  # an interrupt, too
        temporary.unlink(missing_ok=True)
        raise


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading that must be a plain one: a pipe would keep its reader waiting for ever.

    Raises:
        OSError: it cannot be opened, or is no plain file.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is no plain file", str(path))
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path) -> bytes:
    """All bytes of a plain file.

    Raises:
        OSError: as `open_regular`.
    """
    with open_regular(path) as stream:
        return stream.read()


def require_plain(folder: Path) -> None:
    """Refuse a folder with anything below it but files, folders and links to them: a pipe keeps its reader waiting for ever.

    Raises:
        DataError: a pipe, a socket or a device is in it, or it cannot be looked through.
    """
    try:
        for root, names, files in os.walk(folder, onerror=_raise):
            for path in (Path(root, name) for name in (*names, *files)):
                if path.exists() and not (path.is_file() or path.is_dir()):
                    raise DataError(f"{path}: is no plain file, expected files and folders alone; remove it")
    except OSError as error:
        raise DataError(f"{error.filename or folder}: cannot be read ({error.strerror}); check its permissions") from error


def _raise(error: OSError) -> None:
    raise error


def inside(folder: Path, name: str | Path) -> Path:
    """`folder / name`, proven to lie in `folder` once all links are followed; neither need exist.

    Ask before anything is written or removed under a name that was read from a file.

    Raises:
        OutputError: it leads out of the folder.
    """
    path = folder / name
    if not lies_in(path, folder):
        raise OutputError(f"{path}: leads out of {folder}, where all of it must lie; remove the link or give another folder")
    return path


def beside(folder: Path, ending: str) -> Path:
    """The folder beside this one that is called as it is, and then the ending: out/tile-coco for out/tile and "-coco"."""
    place = folder if folder.name.strip(".") else folder.resolve()
    return place.with_name(f"{place.name}{ending}")


def lies_in(path: Path, folder: Path) -> bool:
    """Whether `path` lies in `folder` once all links are followed; what leads nowhere, as a ring of links, lies nowhere."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        return False


def flush_folder(folder: Path) -> None:
    """Make the renames inside `folder` survive a power cut (nothing to do where folders cannot be opened)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def explained(place: Path, advice: str) -> Iterator[None]:
    """Turn what the file system says below `place` into one line that ends in the advice.

    Raises:
        OutputError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(f"{error.filename or place}: {error.strerror or error}; {advice}") from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` until the block ends.

    Raises:
        OutputError: another run holds it, or its lock is a link that leads out of it.
        OSError: the lock file cannot be made, or the file system has no locks.
    """
    path = inside(folder, LOCK)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
    try:
        if not _take(descriptor) or not _still_there(path, descriptor):
            raise OutputError(f"{folder}: another run is writing here; wait until it ends, or write elsewhere")
        try:
            yield
        finally:
            with suppress(OSError):  # Windows removes no open file; what is left says nothing by itself
                path.unlink()  # while it is still held, so that nobody's fresh lock is removed
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415  # exists on this system only

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl  # noqa: PLC0415  # exists on such systems only

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        raise
    return True


def _still_there(path: Path, descriptor: int) -> bool:
    """False where the run before removed the file between our opening and our locking it."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
