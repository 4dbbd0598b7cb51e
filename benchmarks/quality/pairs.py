"""Any generator's folder -> records of image-mask pairs by product -> arrays.

A product's folder is found from its tree, or by the name of its layout:

    mvtec       test/DEFECT/NAME.png, ground_truth/DEFECT/NAME_mask.png (seas-gen, MVTec AD; NAME.png: VisA by type)
    image-mask  DEFECT/image/NAME.png, DEFECT/mask/NAME.png (AnomalyDiffusion, published SeaS), or without DEFECT;
                the folders may be called images and masks
    dfmgan      DEFECT/N_img.png, DEFECT/N_mask.png, or without DEFECT
    sample      DEFECT/NAME.png, DEFECT/NAME_mask.png, or without DEFECT (seas-train sample)
    images      DEFECT/NAME.png, or without DEFECT: no masks; images of SDGAN, CDC and Defect-GAN are arranged so by hand

The name of its folder is the product's; a folder of product folders is read too. Real data sets come from
`seas_train.data.layouts`; both give the same records, which `load_pairs` turns into arrays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from seas_runtime.dataset.records import Journal
from seas_runtime.dataset.series import PAIRS
from seas_runtime.errors import DataError, SettingsError
from seas_train.data.dataset import resize_mask
from seas_train.data.images import read_levels, read_mask, read_rgb
from seas_train.data.kinds import MaskKind
from seas_train.data.layouts import Record
from seas_train.data.layouts.files import Pairs, images, subfolders
from seas_train.data.layouts.folders import ONLY_TYPE

Products = dict[str, tuple[Record, ...]]
"""Records by the name of their product, in file order by defect type."""
Progress = Callable[[int], object]
_JPEG = (".jpg", ".jpeg")
_NOT_GENERATED = "good"
_IMAGE_END, _MASK_END = "_img", "_mask"
_IMAGE_FOLDERS, _MASK_FOLDERS = ("image", "images"), ("mask", "masks")


class LoadedPairs(NamedTuple):
    """Images (n, s, s, 3) uint8 RGB and masks (n, s, s) bool, true = anomaly, in the order of their records."""

    images: npt.NDArray[np.uint8]
    masks: npt.NDArray[np.bool_]


def read_pairs(folder: Path, layout: str = "auto") -> Products:
    """List a generator's pairs; no image is opened.

    Args:
        folder: A product's folder, or a folder of product folders.
        layout: One of `LAYOUTS`, which goes before what the tree looks like; "auto" takes the first that fits.

    Raises:
        DataError: The folder is missing, fits no layout, or an image or mask is without its partner; the
            first is told.
        SettingsError: No layout has this name.
    """
    if layout != "auto" and layout not in LAYOUTS:
        raise SettingsError(f"unknown layout '{layout}', expected one of: auto, {', '.join(LAYOUTS)}")
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "no such folder"
        raise DataError(f"{folder}: {what}, expected a folder of generated pairs; check the path")
    readers = list(LAYOUTS.values()) if layout == "auto" else [LAYOUTS[layout]]
    for reader in readers:
        if (found := reader(folder)) is not None:
            return {folder.resolve().name: _complete(found, folder)}
        inside = {name: reader(folder / name) for name in sorted(subfolders(folder))}
        products = {name: _complete(found, folder / name) for name, found in inside.items() if found is not None}
        if products:
            return products
    raise DataError(
        f"{folder}: no pairs recognised ({layout}), expected test and ground_truth, DEFECT/image and DEFECT/mask, "
        "DEFECT/N_img.png and DEFECT/N_mask.png, or images; arrange the files so or check the path"
    )


def read_normals(folder: Path) -> list[Record]:
    """List generated normal images: in the folder, in its train/good, or in that of its only product.

    Raises:
        DataError: There are none.
    """
    inside = sorted(subfolders(folder)) if folder.is_dir() else []
    for place in (folder, folder / "train" / "good", *(folder / name / "train" / "good" for name in inside)):
        if place.is_dir() and (found := images(place)):
            return [Record(image) for image in found]
    raise DataError(f"{folder}: holds no image, expected normal images in it or in its train/good; check the path")


def require_same_products(generated: Mapping[str, object], real: Mapping[str, object]) -> None:
    """Refuse two sides that do not hold the same products.

    Raises:
        DataError: A product, the first by name, is missing on one side.
    """
    for here, there, side in ((generated, real, "real images"), (real, generated, "generated pairs")):
        missing = sorted(set(here) - set(there))
        if missing:
            raise DataError(
                f"{missing[0]}: has no {side}, expected every product on both sides "
                f"(found {', '.join(sorted(there)) or 'none'}); add them or leave the product out"
            )


def by_type(records: Iterable[Record]) -> dict[str, tuple[Record, ...]]:
    """Anomaly records by defect type, types sorted; normal ones are passed over."""
    found: dict[str, list[Record]] = {}
    for record in records:
        if record.defect is not None:
            found.setdefault(record.defect, []).append(record)
    return {defect: tuple(found[defect]) for defect in sorted(found)}


def read_refused(records: Sequence[Record]) -> dict[str, Counter[str]]:
    """Verdicts of the pairs that `seas-gen` refused when it made these of one product, by defect type.

    They have a line in OUT/refused.jsonl and no files. Records that are not in OUT/PRODUCT/test/DEFECT have none.
    """
    place = records[0].image.parent
    found: dict[str, Counter[str]] = {}
    if place.parent.name == "test":
        for line in Journal(place / "../../.." / PAIRS.refused):
            found.setdefault(line["defect"], Counter())[line.get("verdict", "refused")] += 1
    return found


def load_pairs(records: Sequence[Record], side: int, progress: Progress | None = None) -> LoadedPairs:
    """Decode and resize pairs: images antialiased (Lanczos), masks as `resize_mask` says.

    A record without mask gets an empty one. Masks may be empty or full: that is for `copies` to count.

    Args:
        records: What to load.
        side: Side of the square arrays in pixels.
        progress: Called with 1 after each record (tqdm's `update` fits).

    Raises:
        DataError: A file cannot be read, a mask has other values, or another size than its image.
    """
    pixels = np.empty((len(records), side, side, 3), dtype=np.uint8)
    masks = np.zeros((len(records), side, side), dtype=np.bool_)
    for i, record in enumerate(records):
        image = read_rgb(record.image)
        pixels[i] = np.asarray(image.resize((side, side), Image.Resampling.LANCZOS))
        if record.mask is not None:
            mask = read_generated_mask(record.mask, record.mask_kind)
            if mask.shape != (image.height, image.width):
                raise DataError(
                    f"{record.mask}: the mask is {mask.shape[1]} x {mask.shape[0]} pixels, expected "
                    f"{image.width} x {image.height} as {record.image}; save it at its image's size"
                )
            masks[i] = resize_mask(mask, side)
        if progress is not None:
            progress(1)
    return LoadedPairs(pixels, masks)


def read_generated_mask(path: Path, kind: MaskKind = "binary") -> npt.NDArray[np.bool_]:
    """Read a mask (H, W) bool as `read_mask` does, empty and full ones too.

    A mask saved as JPEG (AnomalyDiffusion's are) has levels that nobody drew: true is 128 and above.

    Raises:
        DataError: The file cannot be read, is coloured, or holds other levels.
    """
    if path.suffix.lower() in _JPEG:
        return np.asarray(np.asarray(read_rgb(path)).mean(axis=2) >= 127.5)
    levels = read_levels(path, kind)
    level = int(levels[0, 0])
    if (levels == level).all() and (level in (0, 1, 255, 65535) or kind == "classes"):
        return np.full(levels.shape, level > 0)
    return read_mask(path, kind)


_Found = tuple[list[Record], list[str]]
"""Records, and a line for each thing that does not fit."""


def _mvtec(root: Path) -> _Found | None:
    test, truth = root / "test", root / "ground_truth"
    if not (test.is_dir() or truth.is_dir()):
        return None
    defects = (subfolders(test) | subfolders(truth)) - {_NOT_GENERATED}
    return _join(Pairs(test / d, truth / d, d, (_MASK_END, "")).scan() for d in sorted(defects))


def _image_mask(root: Path) -> _Found | None:
    types = _type_folders(root, lambda folder: bool(subfolders(folder) & {*_IMAGE_FOLDERS, *_MASK_FOLDERS}))
    if types is None:
        return None
    parts = {d: [_one_of(at, names) for names in (_IMAGE_FOLDERS, _MASK_FOLDERS)] for d, at in types.items()}
    return _join(Pairs(image, mask, d, ("", _MASK_END)).scan() for d, (image, mask) in parts.items())


def _dfmgan(root: Path) -> _Found | None:
    types = _type_folders(root, lambda folder: any(file.stem.endswith(_IMAGE_END) for file in images(folder)))
    return None if types is None else _join(_suffixed(at, d, _IMAGE_END) for d, at in types.items())


def _sample(root: Path) -> _Found | None:
    types = _type_folders(root, lambda folder: any(file.stem.endswith(_MASK_END) for file in images(folder)))
    return None if types is None else _join(_suffixed(at, d, "") for d, at in types.items())


def _images(root: Path) -> _Found | None:
    types = _type_folders(root, lambda folder: bool(images(folder)))
    if types is None:
        return None
    return [Record(file, None, d) for d, at in types.items() for file in images(at)], []


LAYOUTS: dict[str, Callable[[Path], _Found | None]] = {
    "mvtec": _mvtec,
    "image-mask": _image_mask,
    "dfmgan": _dfmgan,
    "sample": _sample,
    "images": _images,
}
"""Readers of a product's folder by name, in the order in which "auto" tries them; None where the tree does not fit."""


def _type_folders(root: Path, matches: Callable[[Path], bool]) -> dict[str, Path] | None:
    """The folders of a product's defect types, or itself as that of the only one."""
    if matches(root):
        return {ONLY_TYPE: root}
    return {name: root / name for name in sorted(subfolders(root)) if matches(root / name)} or None


def _one_of(folder: Path, names: tuple[str, ...]) -> Path:
    """The folder of the first of these names that is there, else of the first."""
    return folder / next((name for name in names if (folder / name).is_dir()), names[0])


def _suffixed(folder: Path, defect: str, image_end: str) -> _Found:
    """Pairs NAME + `image_end` and NAME_mask in one folder; other files are no pairs."""
    found = {file.stem: file for file in images(folder)}
    records, problems = [], []
    for stem, file in found.items():
        if stem.endswith(_MASK_END):
            if stem.removesuffix(_MASK_END) + image_end not in found:
                expected = f"{stem.removesuffix(_MASK_END)}{image_end}.png"
                problems.append(f"{file}: has no image, expected {expected} beside it; add it or remove the mask")
        elif stem.endswith(image_end):
            name = stem.removesuffix(image_end) + _MASK_END
            if name in found:
                records.append(Record(file, found[name], defect))
            else:
                problems.append(f"{file}: has no mask, expected {folder / name}.png; add it or remove the image")
    return records, problems


def _join(parts: Iterable[_Found]) -> _Found:
    records, problems = [], []
    for some, lines in parts:
        records += some
        problems += lines
    return records, problems


def _complete(found: _Found, folder: Path) -> tuple[Record, ...]:
    records, problems = found
    if problems:
        raise DataError(problems[0])
    if not records:
        raise DataError(f"{folder}: holds no pairs, expected at least one; generate some or check the path")
    return tuple(records)
