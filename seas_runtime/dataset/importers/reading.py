"""A folder -> what is in it, by whichever format it has."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from seas_runtime.dataset.importers import documents
from seas_runtime.dataset.importers.folder import Finder, Folder
from seas_runtime.dataset.importers.formats import class_masks, label_studio, loose_masks, trees, yolo
from seas_runtime.dataset.importers.formats.registry import (
    DOCUMENTS,
    NAMES,
    folder_format,
    late_format,
)
from seas_runtime.dataset.importers.formats.tree_table import TREES
from seas_runtime.dataset.importers.records import BrokenError, Findings, Picture
from seas_runtime.dataset.importers.settings import ImportSettings
from seas_runtime.dataset.importers.words import counted, shown
from seas_runtime.errors import DataError, SettingsError

_DOCUMENTS = (".json", ".xml", ".csv")
_ORPHAN = "a mask of Label Studio says its task and not its picture; export JSON as well, and put it beside the masks"


def detect(folder: Folder) -> str | None:
    """The name of the format of a folder; None where none fits.

    Raises:
        DataError: It holds several products.
    """
    if (name := folder_format(folder)) is not None:
        return name
    for file in folder.ending(_DOCUMENTS):
        try:
            if (name := format_of(load(file), file)) is not None:
                return name
        except BrokenError:
            continue
    if products := _products(folder):
        raise DataError(
            f"{shown(folder.root)}: holds the products {', '.join(map(shown, products))}, expected one; "
            f"give its folder, such as {shown(folder.root / products[0])}"
        )
    return late_format(folder)


def format_of(document: object, file: Path) -> str | None:
    """The name of the format of a document's content."""
    suffix = file.suffix.lower()
    return next(
        (name for name, one in DOCUMENTS.items() if suffix in one.suffixes and one.claims(document)), None
    )


def load(file: Path) -> object:
    """The content of a document: of JSON its value, of XML its root, of CSV its text; raises BrokenError."""
    suffix = file.suffix.lower()
    if suffix == ".json":
        return documents.load_json(file)
    return documents.load_xml(file) if suffix == ".xml" else documents.load_text(file)


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
    name = settings.format if settings.format != "auto" else detect(folder)
    if name is None:
        if label_studio.orphans(folder.pictures):
            raise DataError(f"{shown(folder.root)}: {_ORPHAN}")
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
            _read_documents(name, folder, finder, settings, found)
        elif name in TREES:
            trees.read(TREES[name], folder, found)
        elif name == "yolo":
            yolo.read(folder, finder, settings, found)
        else:
            (class_masks if name == "class_masks" else loose_masks).read(folder, settings, found, pool)
    except BrokenError as error:
        raise DataError(f"{shown(folder.root)}: {error}") from None
    _note_others(name, folder, found)
    _unite(found)
    if name in DOCUMENTS or name == "yolo":
        _judge_unmarked(folder, settings, found)
    _sort_rest(folder, settings, found)
    return found


def _products(folder: Folder) -> list[str]:
    """The folders in it that are trees of public data sets, or hold one."""
    below: dict[str, list[Path]] = {}
    for file in folder.files:
        parts = folder.path(file).parts
        if len(parts) > 1:
            below.setdefault(parts[0], []).append(file)
    return [
        name
        for name, files in below.items()
        if folder_format(Folder(folder.root / name, tuple(files))) is not None
    ]


def _read_documents(
    name: str, folder: Folder, finder: Finder, settings: ImportSettings, found: Findings
) -> None:
    format_ = DOCUMENTS[name]
    for file in folder.ending(_DOCUMENTS):
        try:
            document = load(file)
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


def _note_others(name: str, folder: Folder, found: Findings) -> None:
    """Doubt a tree of masks in which annotation files lie as well: which of the two is newer nobody can see."""
    if name in DOCUMENTS:
        return
    kinds = {kind for file in folder.ending((".json", ".xml"))[:20] if (kind := _kind(file)) is not None}
    if kinds:
        names = ", ".join(sorted(NAMES[kind] for kind in kinds))
        found.doubts.append(
            f"holds {names} files as well, which are not read; --format {min(kinds)} takes them instead"
        )


def _kind(file: Path) -> str | None:
    try:
        return format_of(load(file), file)
    except BrokenError:
        return None


def _unite(found: Findings) -> None:
    """One entry for each picture; those that several annotations name have the marks of all."""
    by_file: dict[Path, Picture] = {}
    twice: set[Path] = set()
    for picture in found.pictures:
        other = by_file.get(picture.file)
        if other is None:
            by_file[picture.file] = picture
        else:
            twice.add(picture.file)
            by_file[picture.file] = replace(other, marks=other.marks + picture.marks)
    spoiled = {left.file for left in found.left_out}
    found.pictures = [picture for file, picture in by_file.items() if file not in spoiled or picture.embedded]
    if twice:
        first = shown(min(twice).name)
        found.doubts.append(
            f"{counted(len(twice), 'picture')} named more than once, such as {first}: the marks are united"
        )


def _judge_unmarked(folder: Folder, settings: ImportSettings, found: Findings) -> None:
    """Pictures that an annotation file names without a mark: perhaps faultless, perhaps not looked at."""
    unmarked = {
        picture.file
        for picture in found.pictures
        if not picture.marks and not _in_normal_folder(folder, picture.file)
    }
    if not unmarked or settings.unmarked == "normal":
        return
    if settings.unmarked == "leave":
        found.pictures = [picture for picture in found.pictures if picture.file not in unmarked]
        for file in unmarked:
            found.leave(file, "its annotation marks nothing", loses=False)
        return
    said = f"{counted(len(unmarked), 'picture')} whose annotations mark nothing"
    found.doubts.append(
        f"{said}, taken as normal ones; --unmarked normal says so too, --unmarked leave leaves them out"
    )


def _in_normal_folder(folder: Folder, file: Path) -> bool:
    return file.is_relative_to(folder.root) and folder.is_normal(file)


def _sort_rest(folder: Folder, settings: ImportSettings, found: Findings) -> None:
    """Pictures that nothing was said of: normal ones where the user or their folder says so; the others are left out."""
    known = (
        {picture.file for picture in found.pictures} | found.consumed | {left.file for left in found.left_out}
    )
    pictures = set(folder.pictures)
    orphans = label_studio.orphans(folder.pictures)
    for file in folder.files:
        if file in known:
            continue
        if file not in pictures:
            found.leave(file, "neither a picture nor an annotation of this format", loses=False)
        elif file in orphans:
            found.leave(file, _ORPHAN, loses=True)
        elif settings.unmarked == "normal" or (settings.unmarked == "auto" and folder.is_normal(file)):
            found.pictures.append(Picture(file))
        else:
            asked = settings.unmarked == "leave"
            found.leave(
                file,
                "has no annotation; --unmarked normal takes such pictures as normal ones",
                loses=not asked,
            )
