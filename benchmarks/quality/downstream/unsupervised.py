"""The table of detection from normal images alone (beside tab. 12): what generated normal images are worth beside real ones."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.common import kept
from benchmarks.quality.downstream import patchcore
from benchmarks.quality.downstream.fitting import Images
from benchmarks.quality.downstream.patchcore import PatchcoreSettings
from benchmarks.quality.downstream.replaced import COLUMNS
from benchmarks.quality.metrics import efficientnet
from benchmarks.quality.metrics.segmentation import Scores, score_images, score_pixels
from benchmarks.quality.pairs import load_pairs, read_normals
from benchmarks.quality.real import Material, digest, refuse_leak
from benchmarks.quality.tables import Cell, Seeds, Table
from seas_runtime.errors import DataError, SettingsError
from seas_train.pipeline.stages import Log

ALL = 0
"""A number of real normal images that stands for all of them."""
NONE = -1
"""One that stands for none: generated ones alone."""


@dataclass(frozen=True)
class Bank:
    """What a detector knows: so many real normal images, `ALL` or `NONE` of them, and the generated ones or not."""

    real: int
    generated: bool

    @property
    def name(self) -> str:
        """What tables call it."""
        parts = [] if self.real == NONE else ["all real" if self.real == ALL else f"{self.real} real"]
        return " + ".join([*parts, *(["generated"] if self.generated else [])])


Found = dict[Bank, list[dict[str, dict[str, float]]]]
"""By bank and seed, the scores of each product."""


class _Described:
    """A product's images as patches, computed when they are needed."""

    def __init__(self, material: Material, generated: Images) -> None:
        self.material, self.generated = material, generated

    @cached_property
    def known(self) -> Tensor:
        """Of the real normal images, then of the generated ones, (n, h, w, d)."""
        parts = (self.material.normals, self.generated)
        return torch.cat([patchcore.patches(encoder(), images) for images in parts if len(images)])

    @cached_property
    def tested(self) -> Tensor:
        """Of the test images."""
        return patchcore.patches(encoder(), self.material.test.images)


def read_generated(folder: Path, materials: Mapping[str, Material], side: int) -> dict[str, Images]:
    """Load generated normal images of every product.

    Args:
        folder: That of `seas-gen --normals`, of one product or of several: in it, in its train/good, or in NAME/train/good.
        materials: The products by name.
        side: Of the images, pixels.

    Raises:
        DataError: A product has none, or one is a copy of a test image.
    """
    found = {}
    for name, material in materials.items():
        own = folder / name if len(materials) > 1 or (folder / name).is_dir() else folder
        found[name] = load_pairs(read_normals(own), side).images
        refuse_leak(found[name], material, f"{own}: a normal image of {name}")
    return found


def banks(counts: Sequence[int], materials: Mapping[str, Material], generated: bool, log: Log) -> list[Bank]:
    """What is compared, with and without the generated images.

    Args:
        counts: Numbers of real normal images, `ALL` for all of them.
        materials: The products; a number that is not less than what the smallest of them has is left out.
        generated: Whether there are generated ones.
        log: Told which numbers are left out.

    Raises:
        SettingsError: A number is below 0.
        DataError: A product has no normal image to learn from.
    """
    if min(counts) < 0:
        raise SettingsError(f"--real: found {min(counts)}, expected numbers of images, 0 for all; change it")
    for name, material in materials.items():
        if not len(material.normals):
            raise DataError(f"{name}: has no normal images to learn from, expected some in train/good; add them")
    fewest = min(len(material.normals) for material in materials.values())
    possible = [count for count in dict.fromkeys(counts) if count == ALL or count < fewest]
    if lost := [count for count in counts if count not in possible]:
        log(f"{', '.join(map(str, lost))} real normal images are left out: there are {fewest}")
    found = [Bank(count, extra) for count in possible for extra in ((False, True) if generated else (False,))]
    return [*found, Bank(NONE, True)] if generated else found


def run(
    compared: Sequence[Bank],
    materials: Mapping[str, Material],
    generated: Mapping[str, Images],
    settings: PatchcoreSettings,
    seeds: int,
    folder: Path,
    log: Log,
) -> Found:
    """Test a detector of every bank, product and seed, as far as that is not done; a file is named after all it came from.

    Args:
        compared: As `banks` makes them.
        materials: Each product's images.
        generated: (m, s, s, 3) uint8 generated normal images by product, or nothing.
        settings: Of every detector.
        seeds: Of the choice of real images, in which a larger number keeps what a smaller one had, and of the coreset.
        folder: Where scores are kept.
        log: Called with a line for each.

    Raises:
        SettingsError, DataError: as `efficientnet.load`; a product's test images are of one class only.
    """
    made = {name: generated.get(name, material.normals[:0]) for name, material in materials.items()}
    described = {name: _Described(material, made[name]) for name, material in materials.items()}
    tested = {name: digest(*material.test) for name, material in materials.items()}
    found: Found = {one: [] for one in compared}
    for seed in range(seeds):
        for one in compared:
            products = {}
            for name, material in materials.items():
                began = time.monotonic()
                numbers = _chosen(one, len(material.normals), len(made[name]), seed)
                learned = np.concatenate([material.normals, made[name]])[numbers]
                asked = f"{settings.model_dump_json()} {efficientnet.WEIGHTS.sha256} {tested[name]} {seed}"
                key = digest(np.array(asked), learned)[:12]
                path = folder / f"{name}-{one.name.replace(' ', '')}-{seed}-{key}.json"
                products[name] = kept(path, partial(_scored, described[name], numbers, settings, seed))
                log(f"{name}, {one.name}, seed {seed}: {_said(products[name])}, {time.monotonic() - began:.0f} s")
            found[one].append(products)
    return found


def table(found: Found, materials: Mapping[str, Material], generated: Mapping[str, Images], settings: PatchcoreSettings) -> Table:
    """Every bank, mean over products and spread over seeds; the arguments are those of `run`, and what it gave."""
    rows: list[tuple[Cell, ...]] = []
    for one, by_seed in found.items():
        cells = [
            Seeds(tuple(100 * float(np.mean([row[score] for row in products.values()])) for products in by_seed))
            for score in COLUMNS.values()
        ]
        rows.append((one.name, *cells))
    held = "; ".join(f"{name} {len(m.normals)} real and {len(generated.get(name, ()))} generated" for name, m in materials.items())
    notes = (
        f"Normal images: {held}. No anomaly is learned from. Mean and standard deviation over seeds, in per cent.",
        f"PatchCore on EfficientNet-Lite0 with ImageNet's weights keeps {settings.coreset:.0%} of the patches, {settings.most} at "
        "most. The score of an image is PatchCore's own, not its map's maximum.",
    )
    return Table("Detection from normal images alone", ("learns from", *COLUMNS), tuple(rows), notes)


def _chosen(one: Bank, real: int, generated: int, seed: int) -> np.ndarray:
    """Numbers of the images of a bank among the real ones and, after them, the generated ones."""
    count = {ALL: real, NONE: 0}.get(one.real, one.real)
    some = np.sort(np.random.default_rng(seed).permutation(real)[:count])
    return np.concatenate([some, real + np.arange(generated if one.generated else 0)])


def _scored(described: _Described, numbers: np.ndarray, settings: PatchcoreSettings, seed: int) -> dict[str, float]:
    images, masks = described.material.test
    known = patchcore.bank(described.known[torch.from_numpy(numbers)], settings, seed)
    found = patchcore.detect(known, described.tested, images.shape[1], settings)
    whole = np.asarray(masks.any(axis=(1, 2), keepdims=True))
    return Scores(score_pixels(found.maps, masks), score_images(found.scores[:, None, None], whole)).row()


def _said(row: Mapping[str, float]) -> str:
    figures = {"image AUROC": "image_auroc", "pixel AUROC": "pixel_auroc", "AP": "pixel_ap"}
    return ", ".join(f"{name} {100 * row[score]:.2f}" for name, score in figures.items())


@cache
def encoder() -> efficientnet.Encoder:
    """EfficientNet-Lite0 with ImageNet's weights, once for a process."""
    found = efficientnet.Encoder().eval().requires_grad_(False)
    efficientnet.load(found)
    return found
