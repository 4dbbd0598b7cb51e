"""LabelMe: a JSON file beside each picture."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from seas_runtime.dataset.importers import documents, pixels
from seas_runtime.dataset.importers.folder import Finder
from seas_runtime.dataset.importers.records import BrokenError, Findings, Mark, Picture, Shape
from seas_runtime.dataset.importers.settings import ImportSettings
from seas_runtime.dataset.importers.shapes import Bitmap, Ellipse, Polygon, box, line, points, size_of
from seas_runtime.dataset.importers.words import shown
from seas_runtime.fit import Bits, Size

TITLE = "LabelMe"
_BACKGROUND = frozenset(("__ignore__", "_background_"))  # LabelMe's own words for what is no mark
_LINES = {"line": 2, "linestrip": 2, "point": 1, "points": 1}


def claims(document: object) -> bool:
    """Whether a JSON file is LabelMe's."""
    return isinstance(document, dict) and "shapes" in document and not {"categories", "file"} & document.keys()


def read(document: object, file: Path, finder: Finder, settings: ImportSettings, found: Findings) -> None:
    """Add the file's picture to `found`; raises BrokenError, and then its picture cannot be used."""
    fields = documents.mapping(document, "the file")
    width, height = fields.get("imageWidth"), fields.get("imageHeight")
    frame = None if width is None or height is None else size_of(width, height)
    picture, embedded = _picture(fields, file, finder)
    try:
        marks = [
            mark
            for shape in documents.array(fields["shapes"], "shapes")
            if (mark := _mark(documents.mapping(shape, "a shape"), frame, settings.line_width)) is not None
        ]
    except BrokenError as error:
        found.leave(picture, f"{shown(file.name)}: {error}", loses=True)
        return
    found.pictures.append(Picture(picture, tuple(marks), embedded=embedded))


def embedded_picture(file: Path) -> bytes:
    """The picture inside of a LabelMe file; raises BrokenError."""
    return _base64(documents.mapping(documents.load_json(file), "the file").get("imageData"), "imageData")


def _picture(fields: dict[str, object], file: Path, finder: Finder) -> tuple[Path, bool]:
    """The file's picture, by the name it gives or by its own; where there is none, the one inside of it."""
    try:
        return finder.find(fields.get("imagePath"), file), False
    except BrokenError as error:
        try:
            return finder.find_stem(file.stem, file), False
        except BrokenError:
            if isinstance(fields.get("imageData"), str):
                return file, True
            raise error from None


def _mark(shape: dict[str, object], frame: Size | None, line_width: float | None) -> Mark | None:
    title = documents.title(shape.get("label"), "a label")
    if title.casefold() in _BACKGROUND:
        return None
    kind = shape.get("shape_type") or "polygon"
    return Mark(title, _shape(shape, kind, line_width), frame, coarse=kind == "rectangle")


def _shape(shape: dict[str, object], kind: object, line_width: float | None) -> Shape:
    given = shape.get("points")
    if kind in ("polygon", "oriented_rectangle"):
        return Polygon((points(given),))
    if kind == "rectangle":
        corners = points(given, 2)
        low, high = corners.min(axis=0), corners.max(axis=0)
        return Polygon((corners,)) if len(corners) == 4 else box(low[0], low[1], high[0], high[1])
    if kind == "circle":
        centre, edge = points(given, 2)[:2]
        radius = math.dist(centre, edge)
        return Ellipse((float(centre[0]), float(centre[1])), (radius, radius))
    if isinstance(kind, str) and kind in _LINES:
        return line(points(given, _LINES[kind]), line_width, kind)
    if kind == "mask":
        corner = points(given, 2).astype(int).min(axis=0)
        return Bitmap(_decoder(shape.get("mask")), (int(corner[0]), int(corner[1])))
    raise BrokenError(f"a shape of the kind {shown(kind)[:40]}, expected an outline or a mask")


def _decoder(text: object) -> Callable[[], Bits]:
    return partial(png_mask, _base64(text, "a mask"))


def png_mask(data: bytes) -> Bits:
    """A PNG file's bytes -> (h, w) bool: true where it is opaque and not 0; raises BrokenError."""
    image, _ = pixels.read(Path("a mask"), data)
    return opaque(image)


def opaque(image: Image.Image) -> Bits:
    """Where a picture of a mask is opaque and, unless alpha alone says where the mask is, not 0."""
    if not image.has_transparency_data:
        return np.asarray(image.convert("L") if image.mode in ("RGB", "P") else image) > 0
    values = np.asarray(image.convert("RGBA"))
    alpha = values[..., 3] > 127
    coloured = values[..., :3].any(axis=2)
    return alpha if not (coloured & alpha).any() else alpha & coloured


def _base64(text: object, what: str) -> bytes:
    if not isinstance(text, str):
        raise BrokenError(f"{what} is missing, expected base64 text")
    try:
        return base64.b64decode(text, validate=False)
    except (binascii.Error, ValueError):
        raise BrokenError(f"{what} is damaged, expected base64 text") from None
