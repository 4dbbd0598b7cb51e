"""Small products with the exact folders and file names of each known data set."""

import csv
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 24, 32
CANDLE_LABELS = (  # as image_anno.csv has them
    "chunk of wax missing",
    "different colour spot",
    "weird candle wick",
    "chunk of wax missing",
    "wax melded out of the candle,foreign particals on candle",
    "different colour spot, extra wax in candle,different colour spot",
)


def photograph(path: Path, height: int = HEIGHT, width: int = WIDTH) -> Path:
    """A picture that no other path has."""
    rng = np.random.default_rng(list(str(path).encode()))
    return save(path, rng.integers(0, 256, (height, width, 3)))


def mask(path: Path, level: int = 255, height: int = HEIGHT, width: int = WIDTH, side: int = 6) -> Path:
    """A square of this level on 0; level 0 is an empty mask."""
    values = np.zeros((height, width))
    values[5 : 5 + side, 7 : 7 + side] = level
    return save(path, values)


def save(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)
    return path


def mvtec(parent: Path) -> Path:
    """MVTec AD's bottle: three digits, _mask, licence and readme beside."""
    root = parent / "bottle"
    for i in range(4):
        photograph(root / "train" / "good" / f"{i:03}.png")
    for i in range(2):
        photograph(root / "test" / "good" / f"{i:03}.png")
    for defect in ("broken_large", "broken_small", "contamination"):
        for i in range(3):
            photograph(root / "test" / defect / f"{i:03}.png")
            mask(root / "ground_truth" / defect / f"{i:03}_mask.png")
    for name in ("license.txt", "readme.txt"):
        (root / name).write_text("x")
    return root


def mvtec3d(parent: Path) -> Path:
    """MVTec 3D AD's tire: rgb, xyz and gt side by side, class numbers from 255 downwards, empty masks of normals."""
    root = parent / "tire"
    (root / "calibration").mkdir(parents=True)
    (root / "calibration" / "camera_parameters.json").write_text("{}")
    classes = {"255": "contamination", "254": "cut", "253": "hole", "0": "good"}
    (root / "class_ids.json").write_text(json.dumps(classes, indent=2))
    for part, count in (("train", 4), ("validation", 2)):
        for i in range(count):
            photograph(root / part / "good" / "rgb" / f"{i:03}.png")
            _points(root / part / "good" / "xyz" / f"{i:03}.tiff")
    for i in range(2):
        _scan(root / "test" / "good", i, 0)
    for level, defect in classes.items():
        for i in range(3 if defect != "good" else 0):
            _scan(root / "test" / defect, i, int(level))
    _scan(root / "test" / "combined", 0, 254)
    values = np.zeros((HEIGHT, WIDTH))
    values[2:6, 3:9], values[10:14, 3:9] = 255, 253
    save(root / "test" / "combined" / "gt" / "000.png", values)
    return root


def _scan(folder: Path, i: int, level: int) -> None:
    photograph(folder / "rgb" / f"{i:03}.png")
    _points(folder / "xyz" / f"{i:03}.tiff")
    mask(folder / "gt" / f"{i:03}.png", level)


def _points(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"a point cloud, which nobody here opens")


def visa(parent: Path) -> Path:
    """VisA's candle (and a row of cashew): .JPG and .png, 1cls.csv in no order, image_anno.csv with several labels."""
    top = parent / "VisA"
    root = top / "candle"
    rows = [("cashew", "train", "normal", "cashew/Data/Images/Normal/000.JPG", "")]
    labels = []
    for i, part in ((3, "train"), (0, "train"), (2, "test"), (1, "train")):
        image = f"candle/Data/Images/Normal/{i:04}.JPG"
        photograph(top / image)
        rows.append(("candle", part, "normal", image, ""))
        labels.append((image, "normal", ""))
    for i, label in enumerate(CANDLE_LABELS):
        image, truth = f"candle/Data/Images/Anomaly/{i:03}.JPG", f"candle/Data/Masks/Anomaly/{i:03}.png"
        photograph(top / image)
        mask(top / truth, level=i + 1)
        rows.append(("candle", "test", "anomaly", image, truth))
        labels.append((image, label, truth))
    write_csv(top / "split_csv" / "1cls.csv", ("object", "split", "label", "image", "mask"), rows)
    write_csv(root / "image_anno.csv", ("image", "label", "mask"), labels)
    (top / "LICENSE-DATASET").write_text("x")
    return root


def write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])


def visa_types(parent: Path) -> Path:
    """VisA's capsules in MVTec AD's tree by type: .JPG, masks of the image's name, class numbers or 255."""
    root = parent / "capsules"
    for i in range(4):
        photograph(root / "train" / "good" / f"{i:03}.JPG")
    photograph(root / "test" / "good" / "600.JPG")
    for level, defect in ((1, "bubble"), (4, "leak"), (255, "combined")):
        for i in range(3):
            photograph(root / "test" / defect / f"{10 * level + i:03}.JPG")
            mask(root / "ground_truth" / defect / f"{10 * level + i:03}.png", level)
    return root


def folders(parent: Path) -> Path:
    """anomalies/TYPE, masks/TYPE and normals, with both ways to call a mask."""
    root = parent / "valve"
    for i in range(4):
        photograph(root / "normals" / f"IMG_{i}.jpg")
    for defect, end in (("dent", ""), ("scratch", "_mask")):
        for i in range(3):
            photograph(root / "anomalies" / defect / f"IMG_{i}.jpg")
            mask(root / "masks" / defect / f"IMG_{i}{end}.png")
    return root


TREES: dict[str, Callable[[Path], Path]] = {
    "mvtec": mvtec,
    "mvtec3d": mvtec3d,
    "visa": visa,
    "visa_types": visa_types,
    "folders": folders,
}
