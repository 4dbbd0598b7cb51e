"""Every known format by its name, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from seas_runtime.dataset.importers.folder import Finder, Folder
from seas_runtime.dataset.importers.formats import (
    class_masks,
    coco,
    cvat,
    label_studio,
    labelme,
    loose_masks,
    supervisely,
    trees,
    via,
    voc,
    yolo,
)
from seas_runtime.dataset.importers.formats.tree_table import TREES
from seas_runtime.dataset.importers.records import Findings
from seas_runtime.dataset.importers.settings import ImportSettings


@dataclass(frozen=True)
class DocumentFormat:
    """Annotations in files of their own, each of which says by itself of which format it is."""

    title: str
    claims: Callable[[object], bool]
    read: Callable[[object, Path, Finder, ImportSettings, Findings], None]
    suffixes: tuple[str, ...] = (".json",)


DOCUMENTS: dict[str, DocumentFormat] = {
    "labelme": DocumentFormat(labelme.TITLE, labelme.claims, labelme.read),
    "supervisely": DocumentFormat(supervisely.TITLE, supervisely.claims, supervisely.read),
    "coco": DocumentFormat(coco.TITLE, coco.claims, coco.read),
    "label_studio": DocumentFormat(label_studio.TITLE, label_studio.claims, label_studio.read),
    "via": DocumentFormat(via.TITLE, via.claims, via.read, (".json", ".csv")),
    "cvat": DocumentFormat(cvat.TITLE, cvat.claims, cvat.read, (".xml",)),
    "voc": DocumentFormat(voc.TITLE, voc.claims, voc.read, (".xml",)),
}
NAMES: dict[str, str] = {
    **{name: tree.title for name, tree in TREES.items()},
    **{name: format_.title for name, format_ in DOCUMENTS.items()},
    "class_masks": class_masks.TITLE,
    "yolo": yolo.TITLE,
    "masks": loose_masks.TITLE,
}
"""Name of a format -> what people call it."""


def folder_format(folder: Folder) -> str | None:
    """The name of the first format that a folder's arrangement fits; documents are not opened."""
    for name, tree in TREES.items():
        if trees.matches(tree, folder):
            return name
    return "class_masks" if class_masks.matches(folder) else None


def late_format(folder: Folder) -> str | None:
    """As `folder_format`, of those that count where there is neither a tree nor a document."""
    for name, matches in (
        ("yolo", yolo.matches),
        ("masks", loose_masks.matches),
    ):
        if matches(folder):
            return name
    return None
