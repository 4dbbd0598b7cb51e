"""VisA's lists: the kinds of defects of each picture, and the split of the normal ones."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from seas_runtime.dataset.importers import documents
from seas_runtime.dataset.importers.folder import Folder
from seas_runtime.dataset.importers.formats.tree_rules import Lists
from seas_runtime.dataset.importers.records import BrokenError

COMBINED = "combined"
"""The type of a picture with several kinds of defects, as in MVTec AD."""


def visa_lists(folder: Folder) -> Lists:
    """Read `image_anno.csv` of the product and `split_csv/1cls.csv` beside it, each if it is there; raises BrokenError."""
    pictures = {_key(folder.path(picture).as_posix()): picture for picture in folder.pictures}
    titles: dict[Path, str] = {}
    kinds = folder.root / "image_anno.csv"
    for row in _rows(kinds):
        named = [kind for word in (row.get("label") or "").split(",") if (kind := word.strip())]
        picture = pictures.get(_below_product(row.get("image")))
        if picture is not None and named and named != ["normal"]:
            titles[picture] = named[0] if len(named) == 1 else COMBINED
    split = folder.root.absolute().parent / "split_csv" / "1cls.csv"
    tests = {_below_product(row.get("image")) for row in _rows(split) if row.get("split") == "test" and _is_of(row, folder)}
    held_out = frozenset(picture for key, picture in pictures.items() if key in tests)
    return Lists(titles, held_out, frozenset((kinds,)))


def _rows(file: Path) -> Iterator[dict[str, str | None]]:
    if not file.is_file():
        return
    try:
        yield from csv.DictReader(io.StringIO(documents.load_text(file), newline=""))
    except csv.Error as error:
        raise BrokenError(f"{file.name} is damaged: {error}") from None


def _is_of(row: dict[str, str | None], folder: Folder) -> bool:
    return row.get("object") == folder.root.absolute().name


def _below_product(listed: str | None) -> str:
    """PRODUCT/Data/Images/Normal/0000.JPG -> data/images/normal/0000.jpg."""
    return _key((listed or "").partition("/")[2])


def _key(path: str) -> str:
    return path.casefold()
