"""Plain folders: anomaly images, their masks, normal images."""

from __future__ import annotations

import os
from pathlib import Path

from seas_runtime.errors import DataError
from seas_train.data.layouts import files
from seas_train.data.layouts.records import Product

ONLY_TYPE = "anomaly"
"""The defect type of a flat folder of anomaly images."""


class FoldersLayout:
    """anomalies/DEFECT/NAME.png, masks/DEFECT/NAME.png and normals/NAME.png, or flat for a single defect type.

    A mask may also be called NAME_mask. Masks in masks/good are those of normal images and must be empty.
    """

    name = "folders"
    tree = "anomalies, masks and normals"

    def matches(self, root: Path) -> bool:
        """Whether anomalies and masks are there: enough to say that normals are missing."""
        return (root / "anomalies").is_dir() and (root / "masks").is_dir()

    def scan(self, root: Path) -> Product:
        """List the product's files; raises DataError where a folder of the tree is missing."""
        files.require_folders(root, ("anomalies", "masks", "normals"), self.tree)
        return self.scan_folders(root, root / "anomalies", root / "masks", root / "normals")

    def scan_folders(self, root: Path, anomalies: Path, masks: Path, normals: Path) -> Product:
        """List the files of three folders that may lie anywhere below `root`."""
        normal_records, problems = files.normals(normals)
        flat, types = files.images(anomalies), files.subfolders(anomalies)
        if flat and types:
            problems.append(
                f"{anomalies}: holds images and folders ({', '.join(sorted(types))}), expected images alone or a "
                "folder for each defect type; move the images into folders"
            )
        named = types | files.subfolders(masks) - {"good"}
        inside = {defect: defect for defect in sorted(named)} or {ONLY_TYPE: ""}
        records, unpaired = files.scan_types(
            files.Pairs(anomalies / folder, masks / folder, defect, ("", "_mask")) for defect, folder in inside.items()
        )
        return Product(
            name=root.resolve().name or "product",
            root=root,
            layout=self.name,
            normals=normal_records,
            test_normals=(),
            anomalies=records,
            normal_masks=tuple(files.images(masks / "good")),
            problems=(*problems, *unpaired),
        )


def scan_folders(anomalies: Path, masks: Path, normals: Path) -> Product:
    """List the files of three folders given one by one; what they have in common is the product's folder.

    Raises:
        DataError: One is no folder.
    """
    given = [folder.absolute() for folder in (anomalies, masks, normals)]
    for folder in given:
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder, expected a folder of images; check the path")
    root = Path(os.path.commonpath(given))
    return FoldersLayout().scan_folders(root, *given)
