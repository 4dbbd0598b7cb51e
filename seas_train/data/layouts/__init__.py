"""A folder tree -> the records of one product: normal images, and anomaly images with their masks."""

from __future__ import annotations

from pathlib import Path

from seas_runtime.dataset.importers.hint import hint
from seas_runtime.errors import DataError, SettingsError
from seas_train.data.layouts.files import subfolders
from seas_train.data.layouts.folders import FoldersLayout, scan_folders
from seas_train.data.layouts.mvtec import MVTecLayout, VisATypesLayout
from seas_train.data.layouts.mvtec3d import MVTec3DLayout
from seas_train.data.layouts.records import Layout, Product, Record
from seas_train.data.layouts.split import Split, only, pick_normals, require_batch, split
from seas_train.data.layouts.visa import VisALayout

__all__ = [
    "LAYOUTS",
    "Layout",
    "Product",
    "Record",
    "Split",
    "faultless",
    "only",
    "pick_normals",
    "read",
    "require_batch",
    "scan",
    "scan_folders",
    "split",
]

_KNOWN: tuple[Layout, ...] = (
    VisALayout(),
    MVTec3DLayout(),
    VisATypesLayout(),
    MVTecLayout(),
    FoldersLayout(),
)
LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in _KNOWN}
"""Every known layout by name, in the order in which "auto" tries them."""


def scan(root: Path, layout: str = "auto") -> Product:
    """List the files of the product in the folder `root`, with everything that does not fit; no image is opened.

    Args:
        root: The product's folder.
        layout: Its name, which goes before what the tree looks like; "auto" takes the first layout that matches.

    Raises:
        DataError: The folder is missing, fits no layout, holds several products, or lacks a part of its layout.
        SettingsError: No layout has this name.
    """
    if layout != "auto" and layout not in LAYOUTS:
        raise SettingsError(f"unknown layout '{layout}', expected one of: auto, {', '.join(LAYOUTS)}")
    if not root.is_dir():
        what = "is a file" if root.exists() else "no such folder"
        raise DataError(f"{root}: {what}, expected the folder of one product; check the path")
    candidates = list(LAYOUTS.values()) if layout == "auto" else [LAYOUTS[layout]]
    for candidate in candidates:
        if candidate.matches(root):
            return _scan(candidate, root)
    inside = [name for name in sorted(subfolders(root)) if any(c.matches(root / name) for c in candidates)]
    if inside:
        raise DataError(
            f"{root}: holds the products {', '.join(inside)}, expected the folder of one product; "
            f"give that folder, such as {root / inside[0]}"
        )
    if layout != "auto":
        return _scan(LAYOUTS[layout], root)
    if command := hint(root):
        raise DataError(f"{root}: annotated pictures found, expected a product's folder with masks; import them first: {command}")
    trees = " or ".join(f"{candidate.tree} ({candidate.name})" for candidate in candidates)
    raise DataError(f"{root}: no layout recognised, expected {trees}; arrange the files so or check the path")


def _scan(layout: Layout, root: Path) -> Product:
    """List the files as a layout says; what lacks a part of it may be annotated pictures."""
    try:
        return layout.scan(root)
    except DataError as error:
        if command := hint(root):
            raise DataError(f"{error.message}, or import the annotated pictures: {command}") from error
        raise


def read(root: Path, layout: str = "auto") -> Product:
    """List the files of the product in the folder `root`; no image is opened (see `check.check`).

    Raises:
        DataError: As `scan`, and the first thing that does not fit.
        SettingsError: No layout has this name.
    """
    return faultless(scan(root, layout))


def faultless(product: Product) -> Product:
    """The product itself.

    Raises:
        DataError: Something does not fit; the first is told.
    """
    if product.problems:
        raise DataError(product.problems[0])
    return product
