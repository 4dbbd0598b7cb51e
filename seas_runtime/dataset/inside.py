"""Files of a folder that a stranger may have written: nothing outside it is read or written, nothing huge is read."""

from __future__ import annotations

import stat
from pathlib import Path, PurePosixPath
from typing import TypeGuard

from seas_runtime.errors import DataError
from seas_runtime.files import lies_in, open_regular

MOST_BYTES = 1 << 27  # of a picture
_LONGEST = 1000  # of a name, characters
_FORBIDDEN = frozenset('\\:"')


def is_plain(name: object) -> TypeGuard[str]:
    """Whether `name` is a relative path with forward slashes that goes down only, as "bottle/test/crack/000001.png"."""
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST or not name.isprintable():
        return False
    parts = name.split("/")
    return not any(part in {"", ".", ".."} or set(part) & _FORBIDDEN for part in parts)


def place(root: Path, name: str) -> Path:
    """Where the regular file `name` lies in `root`.

    Raises:
        DataError: the name or a link leads out of `root`, or there is no such file.
    """
    path = root / PurePosixPath(name)
    if not is_plain(name) or not lies_in(path, root):
        raise DataError(f"{name!r} found, a file inside {root} expected; a link or a name must not lead out of it")
    try:
        if stat.S_ISREG(path.stat().st_mode):
            return path
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); generate it again") from None
    raise DataError(f"{path}: a file expected, something else found; generate it again")


def read_file(root: Path, name: str, most: int = MOST_BYTES) -> bytes:
    """The bytes of `name` in `root`.

    Raises:
        DataError: as `place`, or it cannot be read, or has more than `most` bytes.
    """
    path = place(root, name)
    try:
        with open_regular(path) as stream:
            data = stream.read(most + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); mend that") from None
    if len(data) > most:
        raise DataError(f"{path}: has more than {most} bytes, a picture of fewer expected; make it smaller")
    return data


def refuse_link(path: Path) -> None:
    """Refuse to write where a link could lead elsewhere.

    Raises:
        DataError: `path` is a link.
    """
    if path.is_symlink():
        raise DataError(f"{path}: is a link, expected no link where decisions are written; remove it")
