"""Whether annotated photographs lie in a folder that no training reads as they are."""

from __future__ import annotations

from pathlib import Path

from seas_runtime.dataset.importers import reading
from seas_runtime.dataset.importers.folder import Folder, scan
from seas_runtime.dataset.importers.formats import label_studio
from seas_runtime.dataset.importers.formats.registry import folder_format, late_format
from seas_runtime.dataset.importers.records import BrokenError
from seas_runtime.errors import SeasError

_READ_BY_TRAINING = frozenset(("mvtec", "mvtec3d", "visa"))
_MOST_LOOKED_AT = 8
_MOST_BYTES = 64 << 20


def needs_import(folder: Path) -> bool:
    """Whether something in a folder could be imported that training does not read itself.

    It looks at a few annotation files at most and raises nothing.
    """
    try:
        found = scan(folder)
        name = folder_format(found)
        if name in _READ_BY_TRAINING:
            return False
        if name is None and not _documents(found):
            name = late_format(found)
            if name is None and not label_studio.orphans(found.pictures):
                return False
    except (SeasError, OSError):
        return False
    return True


def _documents(folder: Folder) -> bool:
    """Whether one of the smallest documents is of a known format."""
    files = sorted(folder.ending((".json", ".xml", ".csv")), key=_bytes)[:_MOST_LOOKED_AT]
    return any(_is_known(file) for file in files)


def _bytes(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return _MOST_BYTES


def _is_known(file: Path) -> bool:
    try:
        return _bytes(file) < _MOST_BYTES and reading.format_of(reading.Opener().load(file), file) is not None
    except BrokenError:
        return False
