"""Masks whose colours a list names: CVAT's "Segmentation mask" with labelmap.txt, and SegmentationClass of VOC or labelme2voc."""

from __future__ import annotations

import re
from concurrent.futures import Executor
from pathlib import Path

from seas_runtime.dataset.importers import documents, levels
from seas_runtime.dataset.importers.attempts import attempts
from seas_runtime.dataset.importers.folder import Finder, Folder
from seas_runtime.dataset.importers.levels import COLOUR, Among, MaskFile, Survey
from seas_runtime.dataset.importers.records import BrokenError, Findings, Mark, Picture
from seas_runtime.dataset.importers.settings import ImportSettings
from seas_runtime.dataset.importers.words import counted, shown

TITLE = "masks of classes"
_FOLDER = "segmentationclass"
_INSTANCES = "segmentationobject"
_LIST = "labelmap.txt"
_NAMES = "class_names.txt"
_VOID = COLOUR + 0xE0E0C0  # the edge that VOC leaves undecided
_BACKGROUND = frozenset(("background", "bg", "_background_"))
_LINE = re.compile(r"\s*(?P<title>[^#:][^:]*):\s*(?P<colour>\d+\s*,\s*\d+\s*,\s*\d+)\s*(:.*)?")


def matches(folder: Folder) -> bool:
    """Whether there are masks in a folder SegmentationClass."""
    return bool(_masks(folder))


def read(folder: Folder, _settings: ImportSettings, found: Findings, pool: Executor) -> None:
    """Add the folder's pictures to `found`; raises BrokenError where its list of colours is damaged."""
    titles = _titles(folder, found)
    masks = _masks(folder)
    found.consumed.update(file for file in folder.pictures if {_FOLDER, _INSTANCES} & set(folder.parts(file)))
    photographs = tuple(file for file in folder.pictures if file not in found.consumed)
    finder = Finder([Folder(folder.root, photographs)])
    unmarked = 0
    for mask, held in zip(masks, attempts(pool, levels.survey, masks), strict=True):
        try:
            if isinstance(held, BrokenError):
                raise held
            photograph = finder.find_stem(mask.stem, mask)
        except BrokenError as error:
            found.leave(mask, error, loses=True)
            continue
        try:
            marks = _marks(mask, held, titles)
            unmarked += not marks
            found.pictures.append(Picture(photograph, marks))
        except BrokenError as error:
            found.leave(photograph, f"{shown(mask.name)}: {error}", loses=True)
    if unmarked:
        found.doubts.append(f"{counted(unmarked, 'picture')} whose masks mark nothing, taken as normal ones")


def _masks(folder: Folder) -> list[Path]:
    return [file for file in folder.pictures if _FOLDER in folder.parts(file)]


def _marks(mask: Path, held: Survey, titles: dict[int, str]) -> tuple[Mark, ...]:
    if levels.smooth(held):
        raise BrokenError("the mask is blurred or JPEG, and its colours cannot be told apart")
    strange = [value for value in held.counts if value not in titles]
    if strange:
        red, green, blue = levels.rgb(strange[0])
        raise BrokenError(f"the mask holds the colour {red},{green},{blue}, which {_LIST} does not name")
    kinds = [(value, titles[value]) for value in sorted(held.counts) if titles[value].casefold() not in _BACKGROUND]
    return tuple(Mark(title, MaskFile(mask, Among(frozenset((value,)))), held.size) for value, title in kinds if title != "void")


def _titles(folder: Folder, found: Findings) -> dict[int, str]:
    """The title of each value, from the folder's labelmap.txt, else those of Pascal VOC."""
    lists = [file for file in folder.files if file.name.lower() == _LIST]
    if not lists:
        return _voc_titles(folder, found)
    found.consumed.update(lists)
    titles: dict[int, str] = {}
    for number, line in enumerate(documents.load_text(lists[0]).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line[:1000])
        channels = [int(channel) for channel in match["colour"].split(",")] if match else [256]
        if match is None or max(channels) > 255:
            raise BrokenError(f"line {number} of {_LIST} is {shown(line)[:40]}, expected NAME:RED,GREEN,BLUE:parts:actions")
        titles[levels.value(*channels)] = match["title"].strip()
    return titles


def _voc_titles(folder: Folder, found: Findings) -> dict[int, str]:
    """Pascal VOC's colours, with the titles of labelme2voc's list, a line for each class number, where there is one."""
    names = {number: f"class_{number}" for number in range(256)}
    lists = [file for file in folder.files if file.name.lower() == _NAMES]
    if lists:
        found.consumed.update(lists)
        names |= dict(enumerate(line.strip() for line in documents.load_text(lists[0]).splitlines()[:256]))
    else:
        found.notes.append(f"no {_LIST}: the colours are those of Pascal VOC, named by their numbers")
    return {value: names[number] for number, value in enumerate(_voc_colours())} | {
        0: "background",
        _VOID: "void",
    }


def _voc_colours() -> list[int]:
    """Pascal VOC's colour of each class number: its bits, dealt to red, green and blue in turn, the highest first."""
    colours = []
    for number in range(256):
        channels = [sum(((number >> (3 * bit + channel)) & 1) << (7 - bit) for bit in range(3)) for channel in range(3)]
        colours.append(levels.value(*channels))
    return colours
