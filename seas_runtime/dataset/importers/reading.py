"""A folder -> what is in it, by whichever format it has."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path

from seas_runtime.dataset.importers import documents, rest
from seas_runtime.dataset.importers.folder import Finder, Folder
from seas_runtime.dataset.importers.formats import class_masks, label_studio, loose_masks, trees, yolo
from seas_runtime.dataset.importers.formats.registry import (
    DOCUMENTS,
    NAMES,
    folder_format,
    late_format,
)
from seas_runtime.dataset.importers.formats.tree_table import TREES
from seas_runtime.dataset.importers.records import BrokenError, Findings
from seas_runtime.dataset.importers.settings import ImportSettings
from seas_runtime.dataset.importers.words import counted, shown
from seas_runtime.errors import DataError, SettingsError

_DOCUMENTS = (".json", ".xml", ".csv")


class Opener:
    """Opens documents, and holds the last one: what tells the format is read again at once."""

    def __init__(self) -> None:
        self._last: tuple[Path, object] | None = None
        self.broken: list[tuple[Path, BrokenError]] = []

    def load(self, file: Path) -> object:
        """The content of a document: of JSON its value, of XML its root, of CSV its text; raises BrokenError."""
        if self._last is None or self._last[0] != file:
            self._last = None  # two large ones at a time would be one too many
            suffix = file.suffix.lower()
            read = {".json": documents.load_json, ".xml": documents.load_xml}.get(suffix, documents.load_text)
            self._last = file, read(file)
        return self._last[1]


def detect(folder: Folder, opener: Opener) -> str | None:
    """The name of the format of a folder; None where none fits.

    Raises:
        DataError: It holds several products.
    """
    if (name := folder_format(folder)) is not None:
        return name
    for file in folder.ending(_DOCUMENTS):
        try:
            if (name := format_of(opener.load(file), file)) is not None:
                return name
        except BrokenError as error:
            opener.broken.append((file, error))
    if products := _products(folder):
        raise DataError(
            f"{shown(folder.root)}: holds the products {', '.join(map(shown, products))}, expected one; "
            f"give its folder, such as {shown(folder.root / products[0])}"
        )
    return late_format(folder)


def format_of(document: object, file: Path) -> str | None:
    """The name of the format of a document's content."""
    suffix = file.suffix.lower()
    return next((name for name, one in DOCUMENTS.items() if suffix in one.suffixes and one.claims(document)), None)


def read(folder: Folder, more: tuple[Folder, ...], settings: ImportSettings, pool: Executor) -> Findings:
    """Read a folder's pictures and marks.

    Args:
        folder: The source.
        more: Other folders in which annotated pictures may lie.
        settings: What the user asks.
        pool: Where files are read.

    Raises:
        DataError: No format fits, or nothing in it can be used.
        SettingsError: No format is called so.
    """
    opener = Opener()
    name = settings.format if settings.format != "auto" else detect(folder, opener)
    if name is None:
        if label_studio.orphans(folder.pictures):
            raise DataError(f"{shown(folder.root)}: {rest.ORPHAN}")
        if opener.broken:
            file, error = opener.broken[0]
            raise DataError(f"{shown(file)}: {error}, and there is no other annotation; export or copy it again")
        raise DataError(
            f"{shown(folder.root)}: holds {counted(len(folder.pictures), 'picture')} and no annotation that is known; expected "
            f"{', '.join(NAMES.values())}, or masks called as their pictures with _mask"
        )
    if name not in NAMES:
        raise SettingsError(f"unknown format {shown(name)}, expected one of auto, {', '.join(NAMES)}")
    found = Findings(NAMES[name])
    found.left_out += [*folder.passed, *(left for other in more for left in other.passed)]
    finder = Finder([folder, *more])
    try:
        if name in DOCUMENTS:
            _read_documents(name, folder, opener, finder, settings, found)
        elif name in TREES:
            trees.read(TREES[name], folder, found)
        elif name == "yolo":
            yolo.read(folder, finder, settings, found)
        else:
            (class_masks if name == "class_masks" else loose_masks).read(folder, settings, found, pool)
    except BrokenError as error:
        raise DataError(f"{shown(folder.root)}: {error}") from None
    _note_others(name, folder, opener, found)
    rest.unite(found)
    if name in DOCUMENTS or name == "yolo":
        rest.judge_unmarked((folder, *more), settings, found)
    rest.sort((folder, *more), settings, found)
    return found


def _products(folder: Folder) -> list[str]:
    """The folders in it that are trees of public data sets, or hold one."""
    below: dict[str, list[Path]] = {}
    for file in folder.files:
        parts = folder.path(file).parts
        if len(parts) > 1:
            below.setdefault(parts[0], []).append(file)
    return [name for name, files in below.items() if folder_format(Folder(folder.root / name, tuple(files))) is not None]


def _read_documents(name: str, folder: Folder, opener: Opener, finder: Finder, settings: ImportSettings, found: Findings) -> None:
    format_ = DOCUMENTS[name]
    for file in folder.ending(_DOCUMENTS):
        try:
            document = opener.load(file)
            actual = format_of(document, file)
            if actual == name:
                found.consumed.add(file)
                format_.read(document, file, finder, settings, found)
            elif actual is not None:
                found.leave(
                    file,
                    f"is {NAMES[actual]}, not {format_.title}: import it by --format {actual}",
                    loses=True,
                )
        except BrokenError as error:
            found.leave(file, error, loses=file.suffix.lower() in format_.suffixes)
            for picture in _described(file, finder):
                found.leave(picture, f"its annotation {shown(file.name)} cannot be used", loses=True)


def _described(file: Path, finder: Finder) -> Iterator[Path]:
    """The picture that a damaged annotation is of, going by its own name: x.json or x.jpg.json of x.jpg."""
    for find in (finder.find, finder.find_stem):
        with suppress(BrokenError):
            yield find(file.stem, file)


def _note_others(name: str, folder: Folder, opener: Opener, found: Findings) -> None:
    """Doubt a tree of masks in which annotation files lie as well: which of the two is newer nobody can see."""
    if name in DOCUMENTS:
        return
    kinds = {kind for file in folder.ending((".json", ".xml"))[:20] if (kind := _kind(file, opener)) is not None}
    if kinds:
        names = ", ".join(sorted(NAMES[kind] for kind in kinds))
        found.doubts.append(f"holds {names} files as well, which are not read; --format {min(kinds)} takes them instead")


def _kind(file: Path, opener: Opener) -> str | None:
    try:
        return format_of(opener.load(file), file)
    except BrokenError:
        return None
