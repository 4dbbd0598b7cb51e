"""What is left to say when all annotations are read: of pictures named twice, without a mark, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from seas_runtime.dataset.importers.folder import Folder
from seas_runtime.dataset.importers.formats import label_studio
from seas_runtime.dataset.importers.records import Findings, Picture
from seas_runtime.dataset.importers.settings import ImportSettings
from seas_runtime.dataset.importers.words import counted, shown

ORPHAN = "a mask of Label Studio says its task and not its picture; export JSON as well, and put it beside the masks"
_UNMARKED = "has no annotation; --unmarked normal takes such pictures as normal ones"


def unite(found: Findings) -> None:
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
        found.doubts.append(f"{counted(len(twice), 'picture')} named more than once, such as {first}: the marks are united")


def judge_unmarked(folders: Sequence[Folder], settings: ImportSettings, found: Findings) -> None:
    """Pictures that an annotation file names without a mark: perhaps faultless, perhaps not looked at."""
    unmarked = {one.file for one in found.pictures if not one.marks and not _is_normal(one.file, folders)}
    if not unmarked or settings.unmarked == "normal":
        return
    if settings.unmarked == "leave":
        found.pictures = [picture for picture in found.pictures if picture.file not in unmarked]
        for file in unmarked:
            found.leave(file, "its annotation marks nothing", loses=False)
        return
    said = f"{counted(len(unmarked), 'picture')} whose annotations mark nothing"
    found.doubts.append(f"{said}, taken as normal ones; --unmarked normal says so too, --unmarked leave leaves them out")


def _is_normal(file: Path, folders: Sequence[Folder]) -> bool:
    return any(file.is_relative_to(folder.root) and folder.is_normal(file) for folder in folders)


def sort(folders: Sequence[Folder], settings: ImportSettings, found: Findings) -> None:
    """Pictures that nothing was said of: normal ones where the user or their folder says so; the others are left out."""
    used = {picture.file for picture in found.pictures} | found.consumed | {left.file for left in found.left_out}
    known = {file.absolute() for file in used}
    for folder in folders:
        pictures = set(folder.pictures)
        orphans = label_studio.orphans(folder.pictures)
        for file in folder.files:
            if file.absolute() in known:
                continue
            known.add(file.absolute())
            if file not in pictures:
                found.leave(file, "neither a picture nor an annotation of this format", loses=False)
            elif file in orphans:
                found.leave(file, ORPHAN, loses=True)
            elif settings.unmarked == "normal" or (settings.unmarked == "auto" and folder.is_normal(file)):
                found.pictures.append(Picture(file))
            else:
                found.leave(file, _UNMARKED, loses=settings.unmarked != "leave")
