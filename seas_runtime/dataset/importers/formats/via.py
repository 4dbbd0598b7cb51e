"""VGG Image Annotator: a project's JSON (of version 3 see `via3`), the JSON of its annotations, or their CSV."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from pathlib import Path

from seas_runtime.dataset.importers import documents
from seas_runtime.dataset.importers.folder import Finder
from seas_runtime.dataset.importers.formats import via3
from seas_runtime.dataset.importers.pairing import ONLY_TYPE
from seas_runtime.dataset.importers.raster import Points
from seas_runtime.dataset.importers.records import BrokenError, Findings, Mark, Picture
from seas_runtime.dataset.importers.settings import ImportSettings
from seas_runtime.dataset.importers.shapes import Ellipse, Polygon, box, line, number, points
from seas_runtime.dataset.importers.words import shown

TITLE = "VIA"
Fields = dict[str, object]
_TYPE_NAMES = ("type", "class", "label", "defect", "category", "name", "kind")
_COLUMNS = {"filename", "region_shape_attributes", "region_attributes"}


def claims(document: object) -> bool:
    """Whether a JSON file is VIA's, or the text of a CSV file is."""
    if isinstance(document, str):
        return set((document.partition("\n")[0]).strip().replace('"', "").lstrip("#").split(",")) >= _COLUMNS
    if not isinstance(document, dict):
        return False
    if via3.is_project(document):
        return True
    entries = document.get("_via_img_metadata", document)
    first = next(iter(entries.values()), None) if isinstance(entries, dict) else None
    return "_via_img_metadata" in document or (isinstance(first, dict) and {"filename", "regions"} <= first.keys())


def read(document: object, file: Path, finder: Finder, settings: ImportSettings, found: Findings) -> None:
    """Add the file's pictures to `found`; raises BrokenError where the file as a whole cannot be understood."""
    entries = _rows(document) if isinstance(document, str) else _entries(document)
    attribute = _attribute(entries, found)
    for name, regions in entries:
        try:
            picture = finder.find(name, file)
        except BrokenError as error:
            found.leave(file, error, loses=True)
            continue
        try:
            marks = tuple(_mark(region, attribute, settings.line_width) for region in regions)
            found.pictures.append(Picture(picture, marks))
        except BrokenError as error:
            found.leave(picture, f"{shown(file.name)}: {error}", loses=True)


def _entries(document: object) -> list[tuple[object, list[Fields]]]:
    if via3.is_project(document):
        return via3.entries(document)
    whole = documents.mapping(document, "the file")
    entries = documents.mapping(whole.get("_via_img_metadata", whole), "_via_img_metadata")
    found = []
    for entry in entries.values():
        fields = documents.mapping(entry, "a picture's entry")
        regions = fields.get("regions", [])
        listed = list(regions.values()) if isinstance(regions, dict) else documents.array(regions, "regions")
        found.append((fields.get("filename"), [documents.mapping(region, "a region") for region in listed]))
    return found


def _rows(text: str) -> list[tuple[object, list[Fields]]]:
    entries: dict[str, list[Fields]] = {}
    try:
        for row in csv.DictReader(io.StringIO(text.lstrip("#"), newline="")):
            regions = entries.setdefault(row.get("filename") or "", [])
            shape, attributes = (json.loads(row.get(f"region_{part}attributes") or "{}") for part in ("shape_", ""))
            if shape:
                regions.append({"shape_attributes": shape, "region_attributes": attributes})
    except (csv.Error, ValueError, RecursionError) as error:
        raise BrokenError(f"is damaged: {str(error)[:80]}") from None
    return list(entries.items())


def _attribute(entries: list[tuple[object, list[Fields]]], found: Findings) -> str | None:
    """The attribute of regions that is their type: the only one, or the one called so."""
    used: Counter[str] = Counter()
    for _, regions in entries:
        for region in regions:
            attributes = region.get("region_attributes")
            used.update(attributes if isinstance(attributes, dict) else ())
    if len(used) < 2:
        return next(iter(used), None)
    known = [name for wanted in _TYPE_NAMES for name in used if name.casefold() == wanted]
    chosen = known[0] if known else used.most_common(1)[0][0]
    names = ", ".join(map(shown, sorted(used)))
    (found.notes if known else found.doubts).append(f"of the attributes {names}, {shown(chosen)} is taken for the type")
    return chosen


def _mark(region: Fields, attribute: str | None, line_width: float | None) -> Mark:
    shape = documents.mapping(region.get("shape_attributes"), "shape_attributes")
    title = _title(region, attribute)
    kind = shape.get("name")
    if kind == "polygon":
        return Mark(title, Polygon((_points(shape),)))
    if kind == "rect":
        x, y, width, height = (number(shape.get(key), key) for key in ("x", "y", "width", "height"))
        return Mark(title, box(x, y, x + width, y + height), coarse=True)
    if kind in ("circle", "ellipse", "point"):
        centre = number(shape.get("cx"), "cx"), number(shape.get("cy"), "cy")
        if kind == "point":
            return Mark(title, line(points([centre], 1), line_width, "point"))
        radii = [shape.get("r")] * 2 if kind == "circle" else [shape.get("rx"), shape.get("ry")]
        rx, ry = (number(radius, "a radius") for radius in radii)
        return Mark(title, Ellipse(centre, (rx, ry), number(shape.get("theta", 0), "theta")))
    if kind == "polyline":
        return Mark(title, line(_points(shape, 1), line_width, "polyline"))
    raise BrokenError(f"a region of the kind {shown(kind)[:40]}, expected an outline")


def _title(region: Fields, attribute: str | None) -> str:
    if attribute is None:
        return ONLY_TYPE
    value = documents.mapping(region.get("region_attributes"), "region_attributes").get(attribute)
    if isinstance(value, dict):  # check boxes: {"scratch": true}
        value = ", ".join(sorted(str(name) for name, chosen in value.items() if chosen))
    return documents.title(value, f"the attribute {shown(attribute)[:40]} of a region")


def _points(shape: Fields, least: int = 3) -> Points:
    xs, ys = (documents.array(shape.get(f"all_points_{axis}"), f"all_points_{axis}") for axis in "xy")
    if len(xs) != len(ys):
        raise BrokenError(f"an outline of {len(xs)} x and {len(ys)} y")
    return points(list(zip(xs, ys, strict=True)), least)
