"""The files below a folder, and the picture that an annotation means."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from seas_runtime.dataset.importers.pixels import EXTENSIONS
from seas_runtime.dataset.importers.records import BrokenError, LeftOut
from seas_runtime.dataset.importers.words import shown
from seas_runtime.errors import DataError

PRODUCT_FILES = ("import.json", "titles.json")
"""What an import writes beside the pictures: its record, and the titles in the user's own words."""
_MOST_FILES = 1_000_000
_LITTER = frozenset(("__macosx", "thumbs.db", "desktop.ini"))
NORMAL = frozenset(
    (
        *("good", "ok", "normal", "normals", "io", "gut", "bon", "negative", "negatives", "faultless"),
        *("defect_free", "defect-free", "defectfree", "no_defect", "nodefect", "正常", "良品", "合格"),
    )
)
"""Names of folders that hold pictures of faultless products."""


@dataclass(frozen=True)
class Folder:
    """All files below `root`, sorted by their paths.

    Links to folders are not followed (they may lead round in circles) and stand in `passed`, as do hidden files.
    """

    root: Path
    files: tuple[Path, ...]
    passed: tuple[LeftOut, ...] = ()

    @cached_property
    def pictures(self) -> tuple[Path, ...]:
        """The files whose names end as those of pictures."""
        return self.ending(EXTENSIONS)

    def ending(self, suffixes: Iterable[str]) -> tuple[Path, ...]:
        """The files whose names end so, in any case."""
        wanted = frozenset(suffixes)
        return tuple(file for file in self.files if file.suffix.lower() in wanted)

    def path(self, file: Path) -> PurePosixPath:
        """A file's path from the root."""
        return PurePosixPath(file.relative_to(self.root).as_posix())

    def parts(self, file: Path) -> tuple[str, ...]:
        """The folders between the root and a file, in lower case."""
        return tuple(part.casefold() for part in self.path(file).parts[:-1])

    def is_normal(self, file: Path) -> bool:
        """Whether a folder on the way to the file says that its pictures are of faultless products."""
        return not NORMAL.isdisjoint(self.parts(file))


def scan(root: Path, without: Path | None = None) -> Folder:
    """List the files below `root`.

    Args:
        root: A folder.
        without: A folder inside of it that does not count: what is written there is no source.

    Raises:
        DataError: It is no folder, cannot be listed, or holds more than a million files.
    """
    if not root.is_dir():
        what = "is a file" if root.exists() else "no such folder"
        raise DataError(f"{shown(root)}: {what}, expected a folder of photographs and annotations; check the path")
    apart = without.absolute() if without is not None else None
    files: list[Path] = []
    passed: list[LeftOut] = []
    waiting = [root]
    while waiting:
        for entry in _entries(waiting.pop()):
            path = Path(entry.path)
            if entry.name.startswith(".") or entry.name.lower() in _LITTER:
                passed.append(LeftOut(path, "hidden, or made by the system", loses=False))
            elif entry.is_dir(follow_symlinks=False):
                if all((path / name).is_file() for name in PRODUCT_FILES):
                    passed.append(LeftOut(path, "a product's folder, made by an import", loses=False))
                elif path.absolute() != apart:
                    waiting.append(path)
            elif entry.is_symlink() and not path.is_file():
                passed.append(LeftOut(path, "a link to a folder or to nothing; links to files are read", loses=True))
            elif entry.is_file():
                files.append(path)
            else:
                passed.append(LeftOut(path, "neither a file nor a folder", loses=False))
        if len(files) > _MOST_FILES:
            raise DataError(f"{shown(root)}: holds more than {_MOST_FILES} files, expected a data set; give its own folder")
    return Folder(root, tuple(sorted(files, key=lambda file: file.parts)), tuple(passed))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(f"{shown(folder)}: cannot be listed ({error.strerror}); check its permissions") from None


class Finder:
    """Finds the picture that an annotation names, among those there are; no path from a file is ever opened.

    Annotations often name pictures where they lay on another machine. So the name alone counts, in any case and
    Unicode form, and of several of one name that whose folders agree the longest with what is written.
    """

    def __init__(self, folders: Sequence[Folder]) -> None:
        self._by_name: defaultdict[str, list[Path]] = defaultdict(list)
        self._by_stem: defaultdict[str, list[Path]] = defaultdict(list)
        every = {picture.absolute(): picture for folder in reversed(folders) for picture in folder.pictures}
        self.pictures = tuple(every.values())
        for picture in self.pictures:
            self._by_name[_key(picture.name)].append(picture)
            self._by_stem[_key(picture.stem)].append(picture)

    def find(self, named: object, beside: Path) -> Path:
        """The picture called so.

        Args:
            named: What the annotation says: a name or a path of any system.
            beside: The annotation's own file; of several pictures of one name the one in its folder is meant.

        Raises:
            BrokenError: There is none, or more than one.
        """
        if not isinstance(named, str) or not named.strip():
            raise BrokenError("names no picture")
        parts = [part for part in named.replace("\\", "/").split("/") if part not in ("", ".", "..")]
        if not parts:
            raise BrokenError(f"names {shown(named)[:80]}, which is no picture")
        return self._one(self._by_name[_key(parts[-1])], parts, beside, named)

    def find_stem(self, stem: str, beside: Path) -> Path:
        """The picture of this name without its ending; raises BrokenError as `find`."""
        return self._one(self._by_stem[_key(stem)], [stem], beside, stem)

    def _one(self, found: list[Path], parts: Sequence[str], beside: Path, named: str) -> Path:
        if not found:
            raise BrokenError(f"names {shown(named)[:120]}, and no picture is called so")
        if len(found) > 1:
            ranks = [(_agreement(picture, parts), picture.parent == beside.parent, picture.name == parts[-1]) for picture in found]
            found = [picture for picture, rank in zip(found, ranks, strict=True) if rank == max(ranks)]
        if len(found) > 1:
            raise BrokenError(f"names {shown(named)[:120]}, and {len(found)} pictures are called so")
        return found[0]


def _agreement(picture: Path, parts: Sequence[str]) -> int:
    """How many folders above the picture are those written, from the name upwards."""
    pairs = zip(reversed(picture.parts[:-1]), reversed(parts[:-1]), strict=False)
    count = 0
    for own, written in pairs:
        if _key(own) != _key(written):
            break
        count += 1
    return count


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
