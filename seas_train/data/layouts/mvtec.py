"""MVTec AD, and what else is arranged like it: VisA sorted by defect type."""

from __future__ import annotations

from pathlib import Path

from seas_train.data.kinds import MaskKind
from seas_train.data.layouts import files
from seas_train.data.layouts.records import Product


class MVTecLayout:
    """MVTec AD: train/good/NAME.png, test/DEFECT/NAME.png, ground_truth/DEFECT/NAME_mask.png.

    Images in test/good are normal ones. An image and its mask may differ in extension. Hidden files and files
    that are no images are passed over.
    """

    name = "mvtec"
    tree = "train/good, test/DEFECT and ground_truth/DEFECT"
    suffixes: tuple[str, ...] = ("_mask",)
    mask_kind: MaskKind = "binary"

    def matches(self, root: Path) -> bool:
        """Whether train/good or ground_truth is there: either is enough to name what else is missing."""
        return (root / "train" / "good").is_dir() or (root / "ground_truth").is_dir()

    def scan(self, root: Path) -> Product:
        """List the product's files; raises DataError where a folder of the tree is missing."""
        files.require_folders(root, ("train/good", "test", "ground_truth"), self.tree)
        normals, problems = files.normals(root / "train" / "good")
        test, truth = root / "test", root / "ground_truth"
        defects = (files.subfolders(test) | files.subfolders(truth)) - {"good"}
        if not defects:
            problems.append(
                f"{test}: holds no anomaly, expected a folder for each defect type; "
                "put anomaly images into test/DEFECT and their masks into ground_truth/DEFECT"
            )
        anomalies, unpaired = files.scan_types(
            files.Pairs(test / defect, truth / defect, defect, self.suffixes, self.mask_kind) for defect in sorted(defects)
        )
        return Product(
            name=root.resolve().name,
            root=root,
            layout=self.name,
            normals=normals,
            test_normals=files.normals(test / "good")[0],
            anomalies=anomalies,
            normal_masks=tuple(files.images(truth / "good")),
            problems=(*problems, *unpaired),
        )


class VisATypesLayout(MVTecLayout):
    """VisA in the tree of MVTec AD, a folder for each defect type (or the one type "bad").

    Masks have the name of their image or NAME_mask, and hold class numbers or 255 as the official script writes
    them: all that is not 0 is anomaly.
    """

    name = "visa_types"
    tree = "train/good, test/DEFECT and ground_truth/DEFECT with masks named as their images"
    suffixes = ("", "_mask")
    mask_kind: MaskKind = "classes"

    def matches(self, root: Path) -> bool:
        """Whether there are masks and none is called NAME_mask."""
        truth = root / "ground_truth"
        masks = [mask for defect in files.subfolders(truth) for mask in files.images(truth / defect)]
        return bool(masks) and not any(mask.stem.endswith("_mask") for mask in masks)
