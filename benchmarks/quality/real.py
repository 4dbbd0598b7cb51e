"""Real images of products, divided into what may be learned from and what tests; nothing is on both sides."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.quality.downstream.fitting import Images
from benchmarks.quality.pairs import LoadedPairs, Products, by_type, load_pairs, require_same_products
from seas_runtime.errors import DataError, OutputError
from seas_train.config import TuneSettings
from seas_train.data import layouts
from seas_train.data.images import read_mask
from seas_train.data.layouts import Product, Record
from seas_train.data.layouts.files import subfolders
from seas_train.data.layouts.folders import ONLY_TYPE
from seas_train.run_folder import Facts


@dataclass(frozen=True)
class Real:
    """The real images of one product.

    Attributes:
        product: All of them.
        few: Anomalies to learn from, the same that a generator is trained on.
        normals: Normal images to learn from.
        held_out: Anomalies of the test; nothing has learned from them.
        test_normals: Normal images of the test.
    """

    product: Product
    few: tuple[Record, ...]
    normals: tuple[Record, ...]
    held_out: tuple[Record, ...]
    test_normals: tuple[Record, ...]


@dataclass(frozen=True)
class Material:
    """The same as arrays of one side: `few` and `test` with masks, the test's anomalies before its normal images."""

    few: LoadedPairs
    normals: Images
    test: LoadedPairs
    names: tuple[str, ...]
    """Files of the test images, below the product's folder."""


def read_products(folder: Path, layout: str = "auto") -> dict[str, Product]:
    """Read a product's folder, or every product in a folder of several, by name.

    Raises:
        DataError, SettingsError: as `layouts.read`.
    """
    known = [found for name, found in layouts.LAYOUTS.items() if layout in ("auto", name)]
    inside: list[str] = []
    if folder.is_dir() and not any(found.matches(folder) for found in known):
        inside = [name for name in sorted(subfolders(folder)) if any(f.matches(folder / name) for f in known)]
    products = [layouts.read(folder / name, layout) for name in inside] or [layouts.read(folder, layout)]
    return {product.name: product for product in products}


def divide(product: Product, settings: TuneSettings, facts: Facts | None = None) -> Real:
    """Divide a product's images as its generator's training did.

    Anomalies are divided as `seas-train tune` does with the same settings, or as `facts` says it did. A product without normal
    images for testing gives half of those that the generator does not use.

    Args:
        product: Its data set.
        settings: `train_share`, `split`, `shots`, `seed` and `normals` count.
        facts: What a finished run says of itself.

    Raises:
        DataError: The run is of other images, or no anomaly is left for the test.
    """
    if facts is None:
        found = layouts.split(product, settings.train_share, settings.split, settings.seed, settings.shots)
        few, held_out = found.train, found.held_out
        used = layouts.pick_normals(product, settings.normals, settings.seed)
    else:
        few, held_out, used = (_named(product, names) for names in (facts.train, facts.held_out, facts.normals))
    if not held_out:
        raise DataError(
            f"{product.root}: every anomaly is for training, expected some for the test; lower --train-share or --shots"
        )
    normals, test_normals = product.normals, product.test_normals
    if not test_normals:
        rest = tuple(record for record in normals if record not in set(used))
        test_normals = layouts.pick_normals(dataclasses.replace(product, normals=rest), len(rest) // 2, settings.seed)
        normals = tuple(record for record in normals if record not in set(test_normals))
    return Real(product, few, normals, held_out, test_normals)


def load(real: Real, side: int) -> Material:
    """Decode and resize all images of a division.

    Raises:
        DataError: A file cannot be read, the mask of an anomaly is empty, no test image is normal, or an image to learn
            from is a test image too.
    """
    if not real.test_normals:
        raise DataError(
            f"{real.product.root}: all {len(real.held_out)} test images are anomalous, expected normal ones too: "
            "AUROC, AP and F1 of images are undefined; add normal test images, or more than the generator uses"
        )
    tested = (*real.held_out, *real.test_normals)
    few, normals, test = (load_pairs(records, side) for records in (real.few, real.normals, tested))
    for record, mask in zip((*real.few, *real.held_out), (*few.masks, *test.masks[: len(real.held_out)]), strict=True):
        if not mask.any():
            raise DataError(f"{record.mask}: the mask is empty, expected a pixel of 255; mark the anomaly or remove the pair")
    names = tuple(record.image.relative_to(real.product.root).as_posix() for record in tested)
    found = Material(few, normals.images, test, names)
    for learned, what in ((few.images, "a training anomaly"), (normals.images, "a normal image for training")):
        refuse_leak(learned, found, f"{real.product.root}: {what}")
    return found


def refuse_leak(learned: Images, material: Material, what: str) -> None:
    """Refuse images to learn from (n, s, s, 3) of which one equals a test image in every pixel.

    Raises:
        DataError: The first test image of which `what` is a copy.
    """
    tested = dict(zip(map(digest, material.test.images), material.names, strict=True))
    for image in learned:
        if (name := tested.get(digest(image))) is not None:
            raise DataError(f"{what} shows the same as the test image {name}, expected images that the test has not; remove one")


def digest(*arrays: np.ndarray) -> str:
    """Of the arrays' bytes and shapes, in hexadecimal."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(repr((array.shape, array.dtype.str)).encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def write_learnable(real: Real, folder: Path) -> Path:
    """Write all that may be learned from, and nothing else, as a data set of its own in MVTec AD layout.

    Whatever is trained on this folder cannot have seen a test image. Images are links, masks are written as 0 and 255.

    Returns:
        The product's folder, `folder`/NAME.

    Raises:
        DataError: A mask cannot be read.
        OutputError: The folder cannot be written, or holds other images.
    """
    out = folder / real.product.name
    wanted = {out / "train" / "good" / record.image.name: record for record in real.normals}
    wanted |= {out / "test" / str(record.defect) / record.image.name: record for record in real.few}
    if out.is_dir():
        _require_links(out, wanted)
        return out
    partial = folder / f"{real.product.name}.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        for place, record in wanted.items():
            here = partial / place.relative_to(out)
            here.parent.mkdir(parents=True, exist_ok=True)
            here.symlink_to(record.image.resolve())
            if record.mask is not None:
                mask = partial / "ground_truth" / str(record.defect) / f"{record.image.stem}_mask.png"
                mask.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(read_mask(record.mask, record.mask_kind).astype(np.uint8) * 255).save(mask)
        partial.rename(out)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}; free space or name another folder") from error
    return out


def match(real: Mapping[str, Real], generated: Products) -> dict[str, str]:
    """The name of each real product's generated one: its own, or any where both sides have a single one.

    Raises:
        DataError: A product is missing on one side, or generated pairs are of a defect type that the product has not.
    """
    single = len(real) == len(generated) == 1
    if not single:
        require_same_products(generated, real)
    names = dict(zip(real, generated, strict=True)) if single else {name: name for name in real}
    for name, other in names.items():
        known = real[name].product.defects
        for defect in by_type(generated[other]):
            if defect not in (*known, ONLY_TYPE):
                raise DataError(
                    f"{name}: found generated images of {defect!r}, expected a defect type of the product "
                    f"({', '.join(known)}); rename the folder or leave it out"
                )
    return names


def missing_types(real: Real, generated: Sequence[Record]) -> tuple[str, ...]:
    """Defect types of the product of which nothing is generated; none for a flat folder, which is of all types."""
    found = by_type(generated)
    return () if ONLY_TYPE in found else tuple(defect for defect in real.product.defects if defect not in found)


def _named(product: Product, names: Iterable[str]) -> tuple[Record, ...]:
    known = {record.image.relative_to(product.root).as_posix(): record for record in (*product.anomalies, *product.normals)}
    found = []
    for name in names:
        if name not in known:
            raise DataError(
                f"{product.root}: has no image {name}, which the run was trained on or held out; give the data set of the run"
            )
        found.append(known[name])
    return tuple(found)


def _require_links(out: Path, wanted: Mapping[Path, Record]) -> None:
    held = {path: path.resolve() for part in ("train", "test") for path in sorted((out / part).glob("*/*"))}
    if held != {path: record.image.resolve() for path, record in wanted.items()}:
        raise OutputError(f"{out} holds other images than this division has; name another --work, or remove it to start anew")
