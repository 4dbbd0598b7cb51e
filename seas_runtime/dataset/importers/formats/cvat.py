"""CVAT's own XML, "CVAT for images": outlines, boxes, ellipses, lines and masks."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element

from seas_runtime.dataset.importers import documents, rle
from seas_runtime.dataset.importers.folder import Finder
from seas_runtime.dataset.importers.raster import Points
from seas_runtime.dataset.importers.records import BrokenError, Findings, Mark, Picture
from seas_runtime.dataset.importers.settings import ImportSettings
from seas_runtime.dataset.importers.shapes import (
    Bitmap,
    Ellipse,
    Polygon,
    box,
    line,
    number,
    points,
    shortened,
    size_of,
)
from seas_runtime.dataset.importers.words import shown
from seas_runtime.fit import Size

TITLE = "CVAT XML"
_PASSED = frozenset(("tag", "attribute"))


def claims(document: object) -> bool:
    """Whether an XML file is CVAT's."""
    return isinstance(document, Element) and document.tag == "annotations"


def read(document: object, file: Path, finder: Finder, settings: ImportSettings, found: Findings) -> None:
    """Add the file's pictures to `found`; raises BrokenError where the file as a whole cannot be understood."""
    if not isinstance(document, Element):
        raise BrokenError("is no XML")
    if document.find("track") is not None:
        raise BrokenError('holds the tracks of a video, expected pictures; export "CVAT for images" or COCO')
    for image in document.iter("image"):
        try:
            picture = finder.find(image.get("name"), file)
        except BrokenError as error:
            found.leave(file, error, loses=True)
            continue
        try:
            frame = size_of(_value(image, "width"), _value(image, "height"))
            marks = (_mark(element, frame, settings.line_width) for element in image if element.tag not in _PASSED)
            found.pictures.append(Picture(picture, tuple(marks)))
        except BrokenError as error:
            found.leave(picture, f"{shown(file.name)}: {error}", loses=True)


def _mark(element: Element, frame: Size, line_width: float | None) -> Mark:
    title = documents.title(element.get("label"), "a label")
    if element.tag == "polygon":
        return Mark(title, Polygon((_points(element),)), frame)
    if element.tag == "box":
        low, high = ((_value(element, f"x{end}"), _value(element, f"y{end}")) for end in ("tl", "br"))
        angle = math.radians(_value(element, "rotation", 0))
        middle = (low[0] + high[0]) / 2, (low[1] + high[1]) / 2
        return Mark(title, _turned(box(*low, *high), middle, angle), frame, coarse=True)
    if element.tag == "ellipse":
        centre, radii = ((_value(element, f"{one}x"), _value(element, f"{one}y")) for one in "cr")
        return Mark(title, Ellipse(centre, radii, math.radians(_value(element, "rotation", 0))), frame)
    if element.tag in ("polyline", "points"):
        return Mark(title, line(_points(element, 1), line_width, element.tag), frame)
    if element.tag == "mask":
        size = size_of(_value(element, "width"), _value(element, "height"))
        runs = [_number(run, "a run") for run in (element.get("rle") or "").split(",")]
        origin = int(_value(element, "left")), int(_value(element, "top"))
        return Mark(title, Bitmap(partial(rle.rows, runs, size), origin), frame)
    raise BrokenError(f"a {shown(element.tag)[:40]}, expected an outline or a mask")


def _turned(shape: Polygon, middle: tuple[float, float], angle: float) -> Polygon:
    """A box turned about its middle, clockwise on the screen."""
    cos, sin = math.cos(angle), math.sin(angle)
    turned = (shape.rings[0] - middle) @ ((cos, sin), (-sin, cos)) + middle
    return Polygon((turned,))


def _points(element: Element, least: int = 3) -> Points:
    pairs = [pair.split(",") for pair in (element.get("points") or "").split(";")]
    return points([[_number(value, "a coordinate") for value in pair] for pair in pairs], least)


def _value(element: Element, name: str, default: float | None = None) -> float:
    text = element.get(name)
    if text is None and default is not None:
        return default
    return _number(text, f"{shown(element.tag)[:40]} {name}")


def _number(text: str | None, what: str) -> float:
    try:
        return number(float(text or ""), what)
    except ValueError:
        raise BrokenError(f"{what} is {shortened(text)}, expected a number") from None
