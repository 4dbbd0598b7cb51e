"""Pascal VOC's XML: boxes, one file for each picture."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element

from seas_runtime.dataset.importers import documents
from seas_runtime.dataset.importers.folder import Finder
from seas_runtime.dataset.importers.records import BrokenError, Findings, Mark, Picture
from seas_runtime.dataset.importers.settings import ImportSettings
from seas_runtime.dataset.importers.shapes import Polygon, box, number, points, shortened, size_of
from seas_runtime.dataset.importers.words import shown
from seas_runtime.fit import Size

TITLE = "Pascal VOC"


def claims(document: object) -> bool:
    """Whether an XML file is VOC's."""
    return isinstance(document, Element) and document.tag == "annotation"


def read(document: object, file: Path, finder: Finder, _settings: ImportSettings, found: Findings) -> None:
    """Add the file's picture to `found`; raises BrokenError, and then its picture cannot be used."""
    if not isinstance(document, Element):
        raise BrokenError("is no XML")
    try:
        picture = finder.find(document.findtext("filename"), file)
    except BrokenError:
        picture = finder.find_stem(file.stem, file)
    try:
        size = document.find("size")
        sides = [_number(size, side) for side in ("width", "height")] if size is not None else [0, 0]
        frame = size_of(*sides) if min(sides) > 0 else None
        marks = (_mark(one, frame) for one in document.iter("object"))
        found.pictures.append(Picture(picture, tuple(marks)))
    except BrokenError as error:
        found.leave(picture, f"{shown(file.name)}: {error}", loses=True)


def _mark(entry: Element, frame: Size | None) -> Mark:
    return Mark(
        documents.title(entry.findtext("name"), "a name"),
        _outline(entry),
        frame,
        coarse=entry.find("polygon") is None,
    )


def _outline(entry: Element) -> Polygon:
    drawn = entry.find("polygon")  # as Roboflow and LabelMe's web version write it: x1, y1, x2, y2, ...
    if drawn is not None and drawn.find("x1") is not None:
        pairs = [(_number(drawn, f"x{i}"), _number(drawn, f"y{i}")) for i in range(1, len(drawn) // 2 + 1)]
        return Polygon((points(pairs),))
    sides = entry.find("bndbox")
    if sides is None:
        raise BrokenError("an object without a box")
    left, top, right, bottom = (_number(sides, side) for side in ("xmin", "ymin", "xmax", "ymax"))
    return box(left, top, right, bottom)


def _number(element: Element, name: str) -> float:
    text = element.findtext(name)
    try:
        return number(float(text or ""), name)
    except ValueError:
        raise BrokenError(f"{name} is {shortened(text)}, expected a number") from None
