"""Label Studio: its JSON and JSON-MIN exports, with outlines, brushes and boxes; PNG masks beside a list of tasks."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from seas_runtime.dataset.importers import documents, rle
from seas_runtime.dataset.importers.folder import Finder
from seas_runtime.dataset.importers.formats.labelme import png_mask
from seas_runtime.dataset.importers.levels import Above, MaskFile
from seas_runtime.dataset.importers.pixels import EXTENSIONS, header
from seas_runtime.dataset.importers.records import BrokenError, Findings, Mark, Picture
from seas_runtime.dataset.importers.settings import ImportSettings
from seas_runtime.dataset.importers.shapes import Bitmap, Ellipse, Polygon, box, line, number, points, size_of
from seas_runtime.dataset.importers.words import shown
from seas_runtime.fit import Bits, Size

TITLE = "Label Studio"
Fields = dict[str, object]
_LABELS = (
    "polygonlabels",
    "brushlabels",
    "rectanglelabels",
    "ellipselabels",
    "keypointlabels",
    "bitmasklabels",
    "labels",
)
_PNG = re.compile(r"task-(?P<task>\d+)-annotation-\d+-by-[^-]*-[^-]+-(?P<title>.+)-\d+")
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")  # what Label Studio puts before the name of an uploaded file


def claims(document: object) -> bool:
    """Whether a JSON file is Label Studio's: a list of tasks, or of tasks as JSON-MIN has them."""
    first = document[0] if isinstance(document, list) and document else None
    if not isinstance(first, dict):
        return False
    minimal = "id" in first and bool({"annotator", "annotation_id", "lead_time"} & first.keys())
    return minimal or (isinstance(first.get("data"), dict) and bool({"id", "annotations", "completions"} & first.keys()))


def read(document: object, file: Path, finder: Finder, settings: ImportSettings, found: Findings) -> None:
    """Add the file's pictures to `found`; raises BrokenError where the file as a whole cannot be understood."""
    exported = _exported_masks(finder)
    for entry in documents.array(document, "the file"):
        task = documents.mapping(entry, "a task")
        try:
            picture = _picture(task, finder, file)
        except BrokenError as error:
            found.leave(file, f"task {shown(task.get('id'))[:20]} {error}", loses=True)
            continue
        try:
            results = list(_results(task, found))
            marks = [mark for one in results if (mark := _mark(one, settings.line_width)) is not None]
            masks = exported.get(str(task.get("id")), [])
            found.consumed.update(mask for mask, _ in masks)
            if not results:
                marks = [Mark(title, MaskFile(mask, Above(128)), header(mask).size) for mask, title in masks]
            found.pictures.append(Picture(picture, tuple(marks)))
        except BrokenError as error:
            found.leave(picture, f"{shown(file.name)}: {error}", loses=True)


def _picture(task: Fields, finder: Finder, file: Path) -> Path:
    """The picture of a task: the first of its texts that names one, with or without what Label Studio puts before a name."""
    data = task.get("data")
    texts = [text for text in (data if isinstance(data, dict) else task).values() if isinstance(text, str)]
    problem = BrokenError("names no picture")
    named = [text for text in texts if PurePosixPath(text).suffix.lower() in EXTENSIONS]
    for text in named or texts:
        path = unquote(text).rsplit("?d=", maxsplit=1)[-1]
        name = re.split(r"[/\\]", path)[-1]
        for candidate in (path, path.removesuffix(name) + _UPLOADED.sub("", name, count=1)):
            try:
                return finder.find(candidate, file)
            except BrokenError as error:
                problem = error
    raise problem


def _results(task: Fields, found: Findings) -> Iterator[Fields]:
    """What was drawn: each with its value, type and original size."""
    if "data" not in task:
        for name, value in task.items():
            if isinstance(value, list):
                yield from ({"value": one, "from_name": name, **one} for one in value if isinstance(one, dict))
        return
    annotations = [
        documents.mapping(one, "an annotation")
        for one in documents.array(task.get("annotations") or task.get("completions") or [], "annotations")
    ]
    kept = [one for one in annotations if not (one.get("was_cancelled") or one.get("skipped"))]
    if len(kept) > 1:
        found.doubts.append(f"task {shown(task.get('id'))[:20]} has {len(kept)} annotations, of which the last counts")
    for one in kept[-1:]:
        for result in documents.array(one.get("result") or [], "a result"):
            yield documents.mapping(result, "a result")


def _mark(result: Fields, line_width: float | None) -> Mark | None:
    """The mark of one result; None for what is no mark (a choice, a relation, a text)."""
    value = result.get("value")
    kinds = [kind for kind in _LABELS if isinstance(value, dict) and kind in value]
    if not isinstance(value, dict) or not kinds:
        return None
    names = [documents.title(name, "a label") for name in documents.array(value[kinds[0]], kinds[0])]
    frame = size_of(result.get("original_width"), result.get("original_height"))
    if number(result.get("image_rotation") or 0, "image_rotation") % 360:
        raise BrokenError("a picture that was turned in Label Studio, expected it as it is; turn the file and mark it again")
    title = ", ".join(names)
    if not title:
        raise BrokenError("a mark without a label")
    return _drawn(value, title, frame, line_width)


def _drawn(value: Fields, title: str, frame: Size, line_width: float | None) -> Mark:
    """A mark from its value; coordinates and lengths are per cent of the picture."""
    scale = (frame[0] / 100, frame[1] / 100)
    if "rle" in value:
        return Mark(title, Bitmap(partial(rle.label_studio, value["rle"], frame)), frame)
    if "imageDataURL" in value:
        return Mark(title, Bitmap(partial(_data_url, value["imageDataURL"])), frame)
    if "points" in value:
        return Mark(title, Polygon((points(value["points"]) * scale,)), frame)
    x, y = number(value.get("x"), "x") * scale[0], number(value.get("y"), "y") * scale[1]
    angle = math.radians(number(value.get("rotation") or 0, "rotation"))
    if "radiusX" in value:
        radii = (
            number(value["radiusX"], "radiusX") * scale[0],
            number(value.get("radiusY"), "radiusY") * scale[1],
        )
        return Mark(title, Ellipse((x, y), radii, angle), frame)
    if "height" not in value:
        return Mark(title, line(points([(x, y)], 1), line_width, "point"), frame)
    width, height = (
        number(value.get("width"), "width") * scale[0],
        number(value["height"], "height") * scale[1],
    )
    return Mark(title, box(x, y, x + width, y + height, angle), frame, coarse=True)


def _data_url(text: object) -> Bits:
    if not isinstance(text, str) or "," not in text:
        raise BrokenError("a bitmask without data")
    try:
        data = base64.b64decode(text.partition(",")[2])
    except (binascii.Error, ValueError):
        raise BrokenError("a bitmask whose data are damaged") from None
    return png_mask(data)


def _exported_masks(finder: Finder) -> dict[str, list[tuple[Path, str]]]:
    """The PNG files that Label Studio exports for brushes, with their titles, by the number of their task."""
    masks: dict[str, list[tuple[Path, str]]] = {}
    for file in finder.pictures:
        if match := _PNG.fullmatch(file.stem):
            masks.setdefault(match["task"], []).append((file, match["title"]))
    return masks


def orphans(files: tuple[Path, ...]) -> frozenset[Path]:
    """The PNG files that Label Studio exports for brushes: without its JSON nobody knows their pictures."""
    return frozenset(file for file in files if _PNG.fullmatch(file.stem))
