"""VisA as it is distributed."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from seas_runtime.errors import DataError
from seas_runtime.files import open_regular
from seas_train.data.layouts import files
from seas_train.data.layouts.records import Product, Record

COMBINED = "combined"
"""The defect type of an image with several kinds of defects, as in MVTec AD and in the paper's data."""

Row = dict[str, str]


class VisALayout:
    """VisA: PRODUCT/Data/Images/Normal/NNNN.JPG and Anomaly/NNN.JPG, with masks in PRODUCT/Data/Masks/Anomaly/NNN.png.

    VISA/split_csv/1cls.csv, beside the products, says which normal images are for training and which mask belongs
    to which image; PRODUCT/image_anno.csv names the kinds of defects of each anomaly image, with commas
    between them. Masks hold class numbers. The folder to give is PRODUCT.
    """

    name = "visa"
    tree = "Data/Images, Data/Masks and image_anno.csv, with split_csv/1cls.csv beside the product"

    def matches(self, root: Path) -> bool:
        """Whether Data/Images or image_anno.csv is there."""
        return (root / "Data" / "Images").is_dir() or (root / "image_anno.csv").is_file()

    def scan(self, root: Path) -> Product:
        """List the files that 1cls.csv lists; raises DataError where a list is missing or cannot be read."""
        name = root.resolve().name
        split = root.resolve().parent / "split_csv" / "1cls.csv"
        every = _rows(split, ("object", "split", "label", "image", "mask"))
        rows = sorted((row for row in every if row["object"] == name), key=lambda row: row["image"])
        if not rows:
            known = ", ".join(sorted({row["object"] for row in every}))
            raise DataError(
                f"{split}: lists nothing for {name}, expected one of its products ({known}); give the folder its name again"
            )
        problems: list[str] = []
        types = _types(root, problems)
        normals: dict[str, list[Record]] = {"train": [], "test": []}
        anomalies, normal_masks = [], []
        for row in rows:
            image, mask = _path(root, row["image"]), _path(root, row["mask"]) if row["mask"] else None
            if not image.is_file():
                problems.append(f"{image}: no such file, expected it because {split} lists it; copy the data set again")
            elif row["label"] == "normal":
                normals["train" if row["split"] == "train" else "test"].append(Record(image))
                normal_masks += [mask] if mask is not None else []
            elif mask is None or not mask.is_file():
                problems.append(f"{image}: has no mask, expected {_expected_mask(root, image)}; add it or remove the row")
            elif image not in types:
                problems.append(f"{image}: has no defect type, expected a row in {root / 'image_anno.csv'}; add it")
            else:
                anomalies.append(Record(image, mask, types[image], "classes"))
        problems += _missing_kinds(root, normals["train"], anomalies)
        return Product(
            name=name,
            root=root,
            layout=self.name,
            normals=tuple(normals["train"]),
            test_normals=tuple(normals["test"]),
            anomalies=tuple(sorted(anomalies, key=lambda record: str(record.defect))),
            normal_masks=tuple(normal_masks),
            problems=tuple(problems),
            warnings=tuple(_unlisted(root, rows, split)),
        )


def _rows(path: Path, columns: tuple[str, ...]) -> list[Row]:
    try:
        with io.TextIOWrapper(open_regular(path), encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            missing = [column for column in columns if column not in (reader.fieldnames or ())]
            rows = [{column: (row[column] or "").strip() for column in columns} for row in reader if not missing]
    except FileNotFoundError:
        raise DataError(f"{path}: no such file, expected it as VisA is distributed; copy it from there") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({error}), expected a CSV file; copy it again") from None
    if missing:
        raise DataError(f"{path}: has no column {missing[0]}, expected {','.join(columns)}; copy it again")
    return rows


def _types(root: Path, problems: list[str]) -> dict[Path, str]:
    """The defect type of each anomaly image."""
    path = root / "image_anno.csv"
    types: dict[Path, str] = {}
    for row in _rows(path, ("image", "label")):
        kinds = {_slug(label) for label in row["label"].split(",")} - {""}
        if not kinds:
            problems.append(f"{path}: has no label for {row['image']}, expected normal or kinds of defects; add it")
        elif kinds != {"normal"}:
            types[_path(root, row["image"])] = kinds.pop() if len(kinds) == 1 else COMBINED
    return types


def _slug(label: str) -> str:
    """A label as the name of a folder: "chunk of wax missing" is chunk_of_wax_missing."""
    return re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_")


def _path(root: Path, listed: str) -> Path:
    """A listed path, PRODUCT/Data/Images/Normal/0000.JPG, below the product's folder."""
    return root.joinpath(*PurePosixPath(listed).parts[1:])


def _expected_mask(root: Path, image: Path) -> Path:
    return root / "Data" / "Masks" / "Anomaly" / f"{image.stem}.png"


def _missing_kinds(root: Path, normals: list[Record], anomalies: list[Record]) -> Iterable[str]:
    for kind, records in (("normal", normals), ("anomaly", anomalies)):
        if not records:
            yield f"{root}: holds no {kind} image for training, expected the files that 1cls.csv lists; copy the data set again"


def _unlisted(root: Path, rows: list[Row], split: Path) -> Iterable[str]:
    listed = {_path(root, row[column]) for row in rows for column in ("image", "mask") if row[column]}
    for part in ("Images/Normal", "Images/Anomaly", "Masks/Anomaly"):
        folder = root / "Data" / part
        others = [file.name for file in files.images(folder) if file not in listed]
        if others:
            yield f"{folder}: holds {len(others)} files that {split} does not list, such as {others[0]}; they are not used"
