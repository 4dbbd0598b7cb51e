"""A folder tree -> the records of one product: normal images, and anomaly images with their masks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from seas_train.data.images import EXTENSIONS, read_mask, read_rgb
from seas_train.errors import DataError, SettingsError


@dataclass(frozen=True)
class Record:
    """An image file; an anomaly also has a mask file and the name of its defect type (both None: normal)."""

    image: Path
    mask: Path | None = None
    defect: str | None = None


@dataclass(frozen=True)
class Product:
    """One product's data set; records in file order, anomalies by defect type; warnings are for the user."""

    name: str
    root: Path
    layout: str
    normals: tuple[Record, ...]
    test_normals: tuple[Record, ...]
    anomalies: tuple[Record, ...]
    warnings: tuple[str, ...] = ()

    @property
    def defects(self) -> tuple[str, ...]:
        """Names of the defect types, sorted."""
        return tuple(sorted({record.defect for record in self.anomalies if record.defect is not None}))


@dataclass(frozen=True)
class Split:
    """Anomaly records for training and those held out for evaluation, each in file order by defect type."""

    train: tuple[Record, ...]
    held_out: tuple[Record, ...]


class Layout(Protocol):
    """How one family of data sets arranges a product's files."""

    name: str
    tree: str
    """The expected tree in a few words, for error messages."""

    def matches(self, root: Path) -> bool:
        """Whether the folder looks like a product in this layout, complete or not."""

    def read(self, root: Path) -> Product:
        """List the product's files without opening them; raises DataError on the first structural problem."""


class MVTecLayout:
    """MVTec AD: train/good/NAME.png, test/DEFECT/NAME.png, ground_truth/DEFECT/NAME_mask.png.

    Images in test/good are normal ones. An image and its mask may differ in extension. Hidden files and files
    that are no images are passed over.
    """

    name = "mvtec"
    tree = "train/good, test/DEFECT and ground_truth/DEFECT"

    def matches(self, root: Path) -> bool:
        """Whether train/good or ground_truth is there: either is enough to name what else is missing."""
        return (root / "train" / "good").is_dir() or (root / "ground_truth").is_dir()

    def read(self, root: Path) -> Product:
        """List the product's files; raises DataError naming the first folder or file that does not fit."""
        for part in ("train/good", "test", "ground_truth"):
            if not (root / part).is_dir():
                raise DataError(f"{root / part}: no such folder, expected {self.tree} in {root}; add it")
        normals = _images(root / "train" / "good")
        if not normals:
            raise DataError(
                f"{root / 'train' / 'good'}: holds no image, expected normal images ({_extensions()}); "
                "put photographs of faultless products there"
            )
        defects = _subfolders(root / "test") | _subfolders(root / "ground_truth")
        defects -= {"good"}
        if not defects:
            raise DataError(
                f"{root / 'test'}: holds no anomaly, expected a folder for each defect type; "
                "put anomaly images into test/DEFECT and their masks into ground_truth/DEFECT"
            )
        pairs = {defect: self._pairs(root, defect) for defect in sorted(defects)}
        good = root / "test" / "good"
        return Product(
            name=root.resolve().name,
            root=root,
            layout=self.name,
            normals=tuple(map(Record, normals)),
            test_normals=tuple(map(Record, _images(good) if good.is_dir() else [])),
            anomalies=tuple(record for records in pairs.values() for record in records),
            warnings=tuple(
                f"{root / 'test' / defect}: holds a single image; it goes into training and none is held out"
                for defect, records in pairs.items()
                if len(records) == 1
            ),
        )

    def _pairs(self, root: Path, defect: str) -> list[Record]:
        images_in, masks_in = root / "test" / defect, root / "ground_truth" / defect
        images = _by_stem(_images(images_in) if images_in.is_dir() else [])
        masks = _by_stem(_images(masks_in) if masks_in.is_dir() else [])
        if not images:
            raise DataError(
                f"{images_in}: holds no image, expected images of this defect type ({_extensions()}); "
                "add them or remove the folder, in ground_truth too"
            )
        for stem, image in images.items():
            if f"{stem}_mask" not in masks:
                raise DataError(
                    f"{image}: has no mask, expected {masks_in / stem}_mask.png; add it or remove the image"
                )
        for stem, mask in masks.items():
            if stem.removesuffix("_mask") not in images or not stem.endswith("_mask"):
                raise DataError(
                    f"{mask}: has no image, expected {images_in}/NAME.png for a mask NAME_mask.png; "
                    "add the image or remove the mask"
                )
        return [Record(image, masks[f"{stem}_mask"], defect) for stem, image in images.items()]


LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (MVTecLayout(),)}
"""Every known layout by name, in the order in which "auto" tries them."""


def read(root: Path, layout: str = "auto") -> Product:
    """List the files of the product in the folder `root`; no file is opened (see `check`).

    Raises:
        DataError: The folder is missing, fits no layout, holds several products, or is incomplete.
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
            return candidate.read(root)
    inside = [name for name in sorted(_subfolders(root)) if any(c.matches(root / name) for c in candidates)]
    if inside:
        raise DataError(
            f"{root}: holds the products {', '.join(inside)}, expected the folder of one product; "
            f"give that folder, such as {root / inside[0]}"
        )
    trees = " or ".join(f"{candidate.tree} ({candidate.name})" for candidate in candidates)
    raise DataError(f"{root}: no layout recognised, expected {trees}; arrange the files so or check the path")


def check(product: Product) -> None:
    """Open every file fully, so that nothing in the data can stop a training later.

    Raises:
        DataError: The first file that cannot be read, or mask that is empty, not two-level or not of its
            image's size.
    """
    for record in (*product.normals, *product.test_normals, *product.anomalies):
        width, height = read_rgb(record.image).size
        if record.mask is None:
            continue
        mask = read_mask(record.mask)
        if mask.shape != (height, width):
            raise DataError(
                f"{record.mask}: the mask is {mask.shape[1]} x {mask.shape[0]} pixels, "
                f"expected {width} x {height} as {record.image}; draw it at its image's size"
            )


def split(
    product: Product,
    fraction: float = 1 / 3,
    order: Literal["seeded", "first"] = "seeded",
    seed: int = 0,
    shots: int | None = None,
) -> Split:
    """Divide each defect type's images: floor(`fraction` of them), at least one, go into training.

    "first" takes them in file order (as the published code), "seeded" at random. The random choice within
    a type depends on the seed and on its own file names alone; a larger share keeps what a smaller one had.

    Args:
        product: The data set.
        fraction: Share of each type, in (0, 1].
        order: How they are chosen.
        seed: Of the random choice.
        shots: This many images of each type in place of the share (tab. 22).

    Raises:
        SettingsError: `fraction` is outside (0, 1], or `shots` below 1.
        DataError: A type has fewer than `shots` images.
    """
    if not 0 < fraction <= 1:
        raise SettingsError(f"training fraction {fraction}, expected more than 0 and at most 1")
    if shots is not None and shots < 1:
        raise SettingsError(f"{shots} shots, expected 1 or more")
    train: set[Record] = set()
    for defect in product.defects:
        records = [record for record in product.anomalies if record.defect == defect]
        if len(records) < (shots or 1):
            raise DataError(
                f"{product.root}: the defect type {defect} has {len(records)} images, expected at least {shots} "
                "for as many shots; add images or ask for fewer shots"
            )
        count = shots or max(1, int(len(records) * fraction + 1e-9))  # 1e-9: 100 * 0.29 is 28.999...96
        train.update(records[:count] if order == "first" else _draw(records, count, seed))
    return Split(
        train=tuple(record for record in product.anomalies if record in train),
        held_out=tuple(record for record in product.anomalies if record not in train),
    )


def require_batch(records: Sequence[Record], batch: int, what: str) -> None:
    """Refuse to train on fewer images than one batch takes, which would repeat images within every batch.

    Args:
        records: The images of training.
        batch: How many of them a step draws.
        what: "anomaly" or "normal", for the message.

    Raises:
        DataError: There are fewer records than `batch`.
    """
    if len(records) < batch:
        raise DataError(
            f"found {len(records)} {what} images for training, expected at least {batch}, as many as a batch has; "
            f"add images or lower --{what}-batch"
        )


def pick_normals(product: Product, count: int = 60, seed: int = 0) -> tuple[Record, ...]:
    """Choose `count` of the product's normal images for training (all if there are fewer), in file order."""
    chosen = set(_draw(product.normals, count, seed))
    return tuple(record for record in product.normals if record in chosen)


def _draw(records: Iterable[Record], count: int, seed: int) -> list[Record]:
    """Draw without replacement by sorting hashes: the same on every machine, with every library version."""

    def rank(record: Record) -> bytes:
        return hashlib.sha256(f"{seed}/{record.defect}/{record.image.name}".encode()).digest()

    return sorted(records, key=rank)[:count]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror}); check its permissions") from None


def _subfolders(folder: Path) -> set[str]:
    return {entry.name for entry in _entries(folder) if entry.is_dir()}


def _images(folder: Path) -> list[Path]:
    return [entry for entry in _entries(folder) if entry.suffix.lower() in EXTENSIONS and not entry.is_dir()]


def _by_stem(files: list[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in files:
        if file.stem in found:
            raise DataError(
                f"{file}: has the name of {found[file.stem].name}, expected one file of a name; remove one"
            )
        found[file.stem] = file
    return found


def _extensions() -> str:
    return " ".join(extension.removeprefix(".") for extension in EXTENSIONS)
