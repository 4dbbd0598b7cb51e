"""COCO: one JSON file for many pictures, with outlines or run-length codes. Also what CVAT and Roboflow export as COCO."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from pathlib import Path

from seas_runtime.dataset.importers import documents, rle
from seas_runtime.dataset.importers.folder import Finder
from seas_runtime.dataset.importers.records import BrokenError, Findings, Mark, Picture
from seas_runtime.dataset.importers.settings import ImportSettings
from seas_runtime.dataset.importers.shapes import (
    Bitmap,
    Polygon,
    Union,
    box,
    flat_points,
    number,
    shortened,
    size_of,
)
from seas_runtime.dataset.importers.words import shown
from seas_runtime.fit import Size

TITLE = "COCO"
Fields = dict[str, object]


def claims(document: object) -> bool:
    """Whether a JSON file is COCO's."""
    return isinstance(document, dict) and "images" in document and bool({"annotations", "categories"} & document.keys())


def read(document: object, file: Path, finder: Finder, _settings: ImportSettings, found: Findings) -> None:
    """Add the file's pictures to `found`; raises BrokenError where the file as a whole cannot be understood."""
    fields = documents.mapping(document, "the file")
    titles = _titles(fields.get("categories", []))
    of_image: defaultdict[object, list[object]] = defaultdict(list)
    for annotation in documents.array(fields.get("annotations", []), "annotations"):
        of_image[_identity(documents.mapping(annotation, "an annotation").get("image_id"))].append(annotation)
    for image in documents.array(fields["images"], "images"):
        entry = documents.mapping(image, "an image")
        annotations = of_image.pop(_identity(entry.get("id")), [])
        try:
            picture = finder.find(entry.get("file_name"), file)
        except BrokenError as error:
            found.leave(file, f"{error}", loses=True)
            continue
        try:
            frame = _frame(entry)
            marks = tuple(_mark(documents.mapping(one, "an annotation"), frame, titles) for one in annotations)
            found.pictures.append(Picture(picture, marks))
        except BrokenError as error:
            found.leave(picture, f"{shown(file.name)}: {error}", loses=True)
    if of_image:
        found.leave(
            file,
            f"{sum(map(len, of_image.values()))} annotations of images that it does not list",
            loses=True,
        )


def _titles(categories: object) -> dict[object, str]:
    entries = [documents.mapping(entry, "a category") for entry in documents.array(categories, "categories")]
    return {_identity(entry.get("id")): documents.title(entry.get("name"), "a category's name") for entry in entries}


def _identity(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise BrokenError(f"an id is {shortened(value)}, expected a number")
    return value


def _frame(entry: Fields) -> Size | None:
    width, height = entry.get("width"), entry.get("height")
    return None if width is None or height is None else size_of(width, height)


def _mark(annotation: Fields, frame: Size | None, titles: dict[object, str]) -> Mark:
    category = _identity(annotation.get("category_id"))
    if category not in titles:
        raise BrokenError(f"an annotation of category {shortened(category)}, which the file does not name")
    title = titles[category]
    outline = annotation.get("segmentation")
    if isinstance(outline, dict):
        size = documents.array(outline.get("size"), "the size of a run-length code")
        if len(size) != 2:
            raise BrokenError("a run-length code without height and width")
        own = size_of(size[1], size[0])
        return Mark(title, Bitmap(partial(rle.coco, outline.get("counts"), own)), own)
    if isinstance(outline, list) and outline:
        rings = outline if isinstance(outline[0], list) else [outline]
        return Mark(title, Union(tuple(Polygon((flat_points(ring),)) for ring in rings)), frame)
    corner = documents.array(annotation.get("bbox"), "an annotation without segmentation; its bbox")
    if len(corner) != 4:
        raise BrokenError("an annotation without segmentation, and its bbox is no x, y, width, height")
    x, y, width, height = (number(value, "a side of bbox") for value in corner)
    return Mark(title, box(x, y, x + width, y + height), frame, coarse=True)
