"""YOLO: NAME.txt for each picture, a class number and an outline or box in shares of the picture on each line."""

from __future__ import annotations

import json
import re
from pathlib import Path

from seas_runtime.dataset.importers import documents, pixels
from seas_runtime.dataset.importers.folder import Finder, Folder
from seas_runtime.dataset.importers.records import BrokenError, Findings, Mark, Picture
from seas_runtime.dataset.importers.settings import ImportSettings
from seas_runtime.dataset.importers.shapes import Polygon, box, flat_points, shortened
from seas_runtime.dataset.importers.words import shown
from seas_runtime.fit import Size

TITLE = "YOLO"
_LISTS = frozenset(
    (
        "classes.txt",
        "obj.names",
        "labels.txt",
        "predefined_classes.txt",
        "readme.txt",
        "train.txt",
        "val.txt",
        "test.txt",
    )
)
_LONGEST = 1000  # of a line in a list of names


def matches(folder: Folder) -> bool:
    """Whether the first label file that says anything is YOLO's, and a picture has its name."""
    stems = {picture.stem for picture in folder.pictures}
    for file in _labels(folder):
        if file.stem in stems and any(line.strip() for line in _head(file)):
            return _says_something(file)
    return False


def read(folder: Folder, finder: Finder, _settings: ImportSettings, found: Findings) -> None:
    """Add the folder's pictures to `found`; raises BrokenError where its list of classes is damaged."""
    titles = _titles(folder, found)
    for file in _labels(folder):
        found.consumed.add(file)
        try:
            picture = finder.find_stem(file.stem, _picture_of(file))
        except BrokenError as error:
            found.leave(file, error, loses=_says_something(file))
            continue
        try:
            size = pixels.header(picture).size
            text = documents.load_text(file)
            marks = tuple(_mark(line, size, titles) for line in text.splitlines() if line.strip())
            found.pictures.append(Picture(picture, marks))
        except BrokenError as error:
            found.leave(picture, f"{shown(file.name)}: {error}", loses=True)


def _labels(folder: Folder) -> list[Path]:
    return [file for file in folder.ending((".txt",)) if file.name.lower() not in _LISTS]


def _picture_of(file: Path) -> Path:
    """Where the picture of a label file lies: in `images` for `labels`, else beside it."""
    parts = list(file.parts)
    for i in range(len(parts) - 2, -1, -1):
        if parts[i].lower() == "labels":
            parts[i] = "images"
            break
    return Path(*parts)


def _head(file: Path) -> list[str]:
    try:
        with file.open(encoding="utf-8") as stream:
            return stream.read(1 << 16).splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def _numbers(line: str) -> tuple[int, list[float]] | None:
    """A line's class number and at least four other numbers; None where it is no such line."""
    words = line.split()
    if len(words) < 5 or not words[0].isascii() or not words[0].isdecimal() or len(words[0]) > 6:
        return None
    try:
        return int(words[0]), [float(word) for word in words[1:]]
    except ValueError:
        return None


def _says_something(file: Path) -> bool:
    """Whether the first line of a file that is not empty is YOLO's."""
    lines = [line for line in _head(file) if line.strip()]
    return bool(lines) and _numbers(lines[0]) is not None


def _mark(line: str, size: Size, titles: dict[int, str]) -> Mark:
    numbers = _numbers(line)
    if numbers is None:
        raise BrokenError(f"a line {shortened(line[:60])}, expected a class number and the shares of an outline or box")
    number, shares = numbers
    if not max(map(abs, shares)) <= 2:
        raise BrokenError(f"a coordinate of {max(shares, key=abs):g}, expected shares of the picture from 0 to 1")
    title = titles.get(number, f"class_{number}")
    if len(shares) <= 5:  # a box, with or without its score
        x, y, width, height = shares[:4]
        corners = (
            (x - width / 2) * size[0],
            (y - height / 2) * size[1],
            (x + width / 2) * size[0],
            (y + height / 2) * size[1],
        )
        return Mark(title, box(*corners), size, coarse=True)
    return Mark(title, Polygon((flat_points(shares) * size,)), size)


def _titles(folder: Folder, found: Findings) -> dict[int, str]:
    """Names of the classes, from `names` in data.yaml or a list with a name on each line."""
    for file in folder.files:
        if file.suffix.lower() in (".yaml", ".yml"):
            lines = documents.load_text(file).splitlines(keepends=True)
            if names := _yaml_names("".join(line for line in lines if len(line) < _LONGEST)):
                found.consumed.add(file)
                return names
    for file in folder.files:
        if file.name.lower() in ("classes.txt", "obj.names", "predefined_classes.txt"):
            found.consumed.add(file)
            return {i: line.strip() for i, line in enumerate(documents.load_text(file).splitlines()) if line.strip()}
    found.notes.append("no data.yaml or classes.txt: classes are called by their numbers; --type class_0=NAME names one")
    return {}


def _yaml_names(text: str) -> dict[int, str]:
    """The `names` of data.yaml, as YOLO's tools write them: a list in brackets, a list of dashes, or numbers with names."""
    match = re.search(r"(?m)^names:[ \t]*(.*)\n?((?:[ \t]+.*\n?|-.*\n?|\n)*)", text)
    if match is None:
        return {}
    inline, block = match[1].partition(" #")[0].strip(), match[2]
    if inline.startswith(("[", "{")):
        inside = (inline + block).strip()
        items = re.findall(r"""(?:(\d+)\s*:\s*)?(?:'((?:[^']|'')*)'|"((?:[^"\\]|\\.)*)"|([^\s,\[\]{}'"][^,\]}]*))""", inside)
        return {int(key) if key else i: _text(a, b, c) for i, (key, a, b, c) in enumerate(items)}
    names: dict[int, str] = {}
    for line in block.splitlines():
        if item := re.fullmatch(r"""\s*(?:-|(\d{1,9})\s*:)\s*(?:'(.*)'|"(.*)"|([^#]*?))\s*(?:#.*)?""", line):
            names[int(item[1]) if item[1] else len(names)] = _text(item[2], item[3], item[4])
    return names


def _text(single: str | None, double: str | None, plain: str | None) -> str:
    if double:
        try:
            return str(json.loads(f'"{double}"')).strip()
        except ValueError:
            return double.strip()
    return (single or "").replace("''", "'").strip() or (plain or "").strip()
