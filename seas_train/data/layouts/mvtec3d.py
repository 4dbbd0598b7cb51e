"""MVTec 3D AD, its RGB images."""

from __future__ import annotations

from pathlib import Path

from seas_train.data.layouts import files
from seas_train.data.layouts.records import Product


class MVTec3DLayout:
    """MVTec 3D AD: train/good/rgb/NAME.png, test/DEFECT/rgb/NAME.png with its mask test/DEFECT/gt/NAME.png.

    Masks hold class numbers from 255 downwards, as the product's class_ids.json lists them; those in
    test/good/gt are empty. Point clouds (xyz) and the normal images in validation/good are not used.
    """

    name = "mvtec3d"
    tree = "train/good/rgb, test/DEFECT/rgb and test/DEFECT/gt"

    def matches(self, root: Path) -> bool:
        """Whether some folder of train or test holds a folder rgb."""
        parts = [root / part for part in ("train", "test")]
        return any((part / name / "rgb").is_dir() for part in parts for name in files.subfolders(part))

    def scan(self, root: Path) -> Product:
        """List the product's files; raises DataError where a folder of the tree is missing."""
        files.require_folders(root, ("train/good/rgb", "test"), self.tree)
        normals, problems = files.normals(root / "train" / "good" / "rgb")
        test = root / "test"
        defects = files.subfolders(test) - {"good"}
        if not defects:
            problems.append(f"{test}: holds no anomaly, expected test/DEFECT/rgb and test/DEFECT/gt; add them")
        anomalies, unpaired = files.scan_types(
            files.Pairs(test / defect / "rgb", test / defect / "gt", defect, ("",), "classes") for defect in sorted(defects)
        )
        return Product(
            name=root.resolve().name,
            root=root,
            layout=self.name,
            normals=normals,
            test_normals=files.normals(test / "good" / "rgb")[0],
            anomalies=anomalies,
            normal_masks=tuple(files.images(test / "good" / "gt")),
            problems=(*problems, *unpaired),
        )
