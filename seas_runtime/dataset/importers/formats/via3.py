"""Projects of VGG Image Annotator 3: pictures, views, attributes and marks in tables of their own, each by its number."""

from __future__ import annotations

from seas_runtime.dataset.importers import documents
from seas_runtime.dataset.importers.records import BrokenError
from seas_runtime.dataset.importers.shapes import number
from seas_runtime.dataset.importers.words import shown

Fields = dict[str, object]
_IMAGE = 2  # among the types of files; 4 is a video, 8 a sound
_ADVICE = "export its frames as pictures, or VIA 2's JSON"
_SIZED = {1: ("point", "cx", "cy"), 2: ("rect", "x", "y", "width", "height"), 3: ("circle", "cx", "cy", "r")}
_SIZED[4] = ("ellipse", "cx", "cy", "rx", "ry")
_LISTED = {5: "polyline", 6: "polyline", 7: "polygon"}


def is_project(document: object) -> bool:
    """Whether a JSON document is a project of version 3."""
    return isinstance(document, dict) and {"project", "file", "view", "metadata"} <= document.keys()


def entries(document: object) -> list[tuple[object, list[Fields]]]:
    """Names of the pictures, each with its regions as version 2 writes them.

    Raises:
        BrokenError: It cannot be understood, or is of a video or a sound.
    """
    whole = documents.mapping(document, "the file")
    files, views, marks = (documents.mapping(whole.get(name), name) for name in ("file", "view", "metadata"))
    attributes = documents.mapping(whole.get("attribute", {}), "attribute")
    regions: dict[str, list[Fields]] = {key: [] for key in files}
    names: dict[str, object] = {}
    for key, file in files.items():
        fields = documents.mapping(file, "a file's entry")
        if fields.get("type", _IMAGE) != _IMAGE:
            raise BrokenError(f"holds a video or a sound, expected pictures; {_ADVICE}")
        names[key] = fields.get("fname")
    for entry in marks.values():
        fields = documents.mapping(entry, "an entry of metadata")
        if fields.get("z"):
            raise BrokenError(f"holds times of a video or a sound, expected marks on pictures; {_ADVICE}")
        drawn = documents.array(fields.get("xy", []), "xy")
        if drawn:  # else it is said of the picture as a whole
            shape, words = _shape(drawn), _words(fields.get("av", {}), attributes)
            regions[_file_of(fields.get("vid"), views, files)].append({"shape_attributes": shape, "region_attributes": words})
    return [(names[key], some) for key, some in regions.items()]


def _file_of(view: object, views: Fields, files: Fields) -> str:
    """The number of the picture that a view shows."""
    shows = documents.array(documents.mapping(views.get(str(view)), "the view of a mark").get("fid_list"), "fid_list")
    if len(shows) != 1 or str(shows[0]) not in files:
        raise BrokenError(f"a mark on a view of {len(shows)} pictures, expected one; export VIA 2's JSON")
    return str(shows[0])


def _shape(drawn: list[object]) -> Fields:
    """A mark's shape as version 2 writes it."""
    kind, *values = (number(value, "xy") for value in drawn)
    if (names := _SIZED.get(int(kind))) is not None and len(values) == len(names) - 1:
        return {"name": names[0], **dict(zip(names[1:], values, strict=True))}
    if (name := _LISTED.get(int(kind))) is not None and len(values) % 2 == 0:
        return {"name": name, "all_points_x": values[::2], "all_points_y": values[1::2]}
    raise BrokenError(f"a mark of the kind {shown(drawn[0])[:20]} with {len(values)} numbers, expected a shape of VIA 3")


def _words(values: object, attributes: Fields) -> Fields:
    """A mark's attributes by their names, options by what they stand for."""
    found: Fields = {}
    for key, value in documents.mapping(values, "av").items():
        about = documents.mapping(attributes.get(key, {}), "an attribute")
        options = documents.mapping(about.get("options") or {}, "the options of an attribute")
        chosen = [option for option in str(value).split(",") if option in options]
        words = ", ".join(shown(options[option]) for option in chosen) if chosen else value
        found[shown(about.get("aname", key))] = words
    return found
