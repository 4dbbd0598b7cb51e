"""Supervisely: NAME.jpg.json for each picture, `ann` beside `img`, with outlines and bitmaps."""

from __future__ import annotations

import base64
import binascii
import zlib
from functools import partial
from pathlib import Path

from seas_runtime.dataset.importers import documents
from seas_runtime.dataset.importers.folder import Finder
from seas_runtime.dataset.importers.formats.labelme import png_mask
from seas_runtime.dataset.importers.records import BrokenError, Findings, Mark, Picture, Shape
from seas_runtime.dataset.importers.settings import ImportSettings
from seas_runtime.dataset.importers.shapes import MOST_PIXELS, Bitmap, Polygon, box, line, points, size_of
from seas_runtime.dataset.importers.words import shown
from seas_runtime.fit import Bits, Size

TITLE = "Supervisely"
Fields = dict[str, object]


def claims(document: object) -> bool:
    """Whether a JSON file is Supervisely's, of a picture."""
    return isinstance(document, dict) and {"size", "objects"} <= document.keys()


def read(document: object, file: Path, finder: Finder, settings: ImportSettings, found: Findings) -> None:
    """Add the file's picture to `found`; raises BrokenError, and then its picture cannot be used."""
    fields = documents.mapping(document, "the file")
    size = documents.mapping(fields["size"], "size")
    picture = finder.find(_named(file), file)
    try:
        frame = size_of(size.get("width"), size.get("height"))
        objects = documents.array(fields["objects"], "objects")
        marks = tuple(_mark(documents.mapping(one, "an object"), frame, settings.line_width) for one in objects)
        found.pictures.append(Picture(picture, marks))
    except BrokenError as error:
        found.leave(picture, f"{shown(file.name)}: {error}", loses=True)


def _named(file: Path) -> str:
    """The picture's path: `ds/ann/x.jpg.json` means `ds/img/x.jpg`."""
    return "/".join((*file.parts[:-2], "img", file.name.removesuffix(".json")))


def _mark(fields: Fields, frame: Size, line_width: float | None) -> Mark:
    title = documents.title(fields.get("classTitle"), "a classTitle")
    kind = fields.get("geometryType") or ("bitmap" if fields.get("bitmap") else "polygon")
    if kind == "bitmap":
        bitmap = documents.mapping(fields.get("bitmap"), "a bitmap")
        origin = points([bitmap.get("origin")], 1).astype(int)[0]
        return Mark(title, Bitmap(partial(_decode, bitmap.get("data")), (int(origin[0]), int(origin[1]))), frame)
    drawn = documents.mapping(fields.get("points"), "points")
    outer = drawn.get("exterior")
    return Mark(title, _drawn(kind, outer, drawn.get("interior") or [], line_width), frame, coarse=kind == "rectangle")


def _drawn(kind: object, outer: object, inner: object, line_width: float | None) -> Shape:
    if kind == "polygon":
        holes = [points(hole) for hole in documents.array(inner, "interior")]
        return Polygon((points(outer), *holes))
    if kind == "rectangle":
        (left, top), (right, bottom) = points(outer, 2)[:2]
        return box(left, top, right, bottom)
    if kind in ("line", "point"):
        return line(points(outer, 1), line_width, str(kind))
    raise BrokenError(f"an object of the kind {shown(kind)[:40]}, expected an outline or a bitmap")


def _decode(data: object) -> Bits:
    """A bitmap's data: a PNG file, compressed by zlib once more, in base64."""
    if not isinstance(data, str):
        raise BrokenError("a bitmap without data")
    try:
        inflate = zlib.decompressobj()
        png = inflate.decompress(base64.b64decode(data), MOST_PIXELS)
    except (zlib.error, binascii.Error, ValueError):
        raise BrokenError("a bitmap whose data are damaged") from None
    return png_mask(png)
