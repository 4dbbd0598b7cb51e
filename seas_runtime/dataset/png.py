"""Whether PNG files are whole, told from their ends: a few bytes of each are read, not its pixels."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from pathlib import Path

from seas_runtime.files import open_regular

_BEGIN = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"  # signature, and the length and type of the first chunk
_END = b"\0\0\0\0IEND\xaeB`\x82"  # the last chunk, which is always this


def are_whole(files: Iterable[Path]) -> bool:
    """Whether each is a whole PNG file and all have one size.

    A file that was cut, is empty, or was never written to the disk though its name was, is not. Pixels damaged in between are
    not noticed.
    """
    sizes = {png_size(file) for file in files}
    return len(sizes) == 1 and None not in sizes


def png_size(file: Path) -> tuple[int, int] | None:
    """Width and height of a PNG file that begins and ends as one; None of any other."""
    try:
        with open_regular(file) as stream:
            head = stream.read(len(_BEGIN) + 8)
            stream.seek(-len(_END), os.SEEK_END)
            tail = stream.read()
    except OSError:  # missing, no plain file, or shorter than the end
        return None
    if not head.startswith(_BEGIN) or len(head) < len(_BEGIN) + 8 or tail != _END:
        return None
    width, height = struct.unpack(">II", head[len(_BEGIN) :])
    return (width, height) if width and height else None
