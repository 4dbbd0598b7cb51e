"""Where the pairs come from that a network learns from: a comparator, or folders of generated pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from benchmarks.quality.downstream.comparators import COMPARATORS
from benchmarks.quality.downstream.segmentation import Source, Task
from benchmarks.quality.pairs import LoadedPairs, load_pairs, read_pairs, read_refused
from benchmarks.quality.real import Material, Real, load, match, missing_types, refuse_leak
from seas_runtime.errors import DataError, SettingsError
from seas_train.data.layouts import Record

COUNT = 100
"""Pairs of each product where no generated ones say how many there are."""
REAL = " + few real"
"""End of a method's name whose batches hold the few real anomalies too."""
STANDARD = "standard"
"""The comparator that generates nothing."""


@dataclass(frozen=True)
class Method:
    """One way to make pairs.

    Attributes:
        name: What tables call it.
        comparator: A name of `COMPARATORS`, or None where the pairs are given.
        pairs: Generated pairs of every product, by its name among the real ones; none of the masks is empty.
        left_out: Share of the generated pairs whose mask was empty or that `seas-gen` refused: they are no pairs.
        missing: Product and defect type of which there are no pairs.
        enlarged: Sides of the smallest generated image and of what a network sees, where the former is smaller.
        real_share: Share of a batch's anomalies that are the few real ones; 0 in the paper's text, though its code has them too.
    """

    name: str
    comparator: str | None = None
    pairs: Mapping[str, LoadedPairs] | None = None
    left_out: float = 0.0
    missing: tuple[tuple[str, str], ...] = ()
    enlarged: tuple[int, int] | None = None
    real_share: float = 0.0

    @property
    def limit(self) -> int | None:
        """Most pairs that every product has; None where any number can be made."""
        return None if self.pairs is None else min(len(pairs.images) for pairs in self.pairs.values())

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what is wrong with the pairs, for the method's tables."""
        lost = f"{self.name}: {self.left_out:.1%} of its pairs had an empty mask or were refused by seas-gen, and are left out."
        found = [lost] if self.left_out else []
        if self.enlarged:
            own, shown = self.enlarged
            found.append(f"{self.name}: images of {own} pixels a side were enlarged to {shown}, and real ones were not.")
        return (*found, *(f"{self.name}: has no pairs of {product}, {defect}." for product, defect in self.missing))


class Named(NamedTuple):
    """A folder of generated pairs and what tables call it."""

    name: str
    folder: Path


def collect(
    real: Mapping[str, Real],
    side: int,
    folders: Mapping[str, Path],
    comparators: Sequence[str] = (),
    few_real: float | None = None,
) -> tuple[dict[str, Material], list[Method]]:
    """Load the images of all products, and the pairs of all folders.

    Args:
        real: The products.
        side: Of all images, pixels.
        folders: Generated pairs by the name of their method.
        comparators: Names of `COMPARATORS`.
        few_real: Every method a second time, with this share of the few real anomalies; None for not so.

    Raises:
        DataError: as `real.load` and `read_generated`.
        SettingsError: There is no method.
    """
    if not (folders or comparators):
        raise SettingsError("found neither --pairs nor --comparator, expected something to learn from; add one")
    materials = {name: load(found, side) for name, found in real.items()}
    found = [Method(name, comparator=name) for name in dict.fromkeys(comparators)]
    found += [read_generated(Named(*item), real, materials, side) for item in folders.items()]
    if few_real is not None:
        found += [with_real(method, few_real) for method in found if method.name != STANDARD]
    return materials, found


def count_of(methods: Sequence[Method]) -> int:
    """As many pairs of each product as every method has."""
    return min((method.limit for method in methods if method.limit is not None), default=COUNT)


def read_generated(given: Named, real: Mapping[str, Real], materials: Mapping[str, Material], side: int) -> Method:
    """Load a generator's pairs of all products.

    Raises:
        DataError: A product is missing on one side, a type is unknown, a file does not fit, no pair has a mask, or a pair is a
            copy of a test image.
    """
    products = read_pairs(given.folder)
    names = match(real, products)
    found, lost, count, missing = {}, 0, 0, []
    smallest = side
    for name, generated in names.items():
        found[name], dropped = load_marked(products[generated], side, given.folder)
        refuse_leak(found[name].images, materials[name], f"{given.folder}: a pair of {generated}")
        refused = sum(verdicts.total() for verdicts in read_refused(products[generated]).values())
        lost, count = lost + dropped + refused, count + len(products[generated]) + refused
        smallest = min(smallest, *(min(Image.open(record.image).size) for record in products[generated]))
        missing += [(name, defect) for defect in missing_types(real[name], products[generated])]
    enlarged = (smallest, side) if smallest < side else None
    return Method(given.name, pairs=found, left_out=lost / count, missing=tuple(missing), enlarged=enlarged)


def load_marked(records: Sequence[Record], side: int, folder: Path) -> tuple[LoadedPairs, int]:
    """Load pairs, and count those that are left out because their mask is empty.

    Raises:
        DataError: A file does not fit, or no pair is left.
    """
    unmasked = next((record for record in records if record.mask is None), None)
    if unmasked is not None:
        raise DataError(f"{unmasked.image}: has no mask, expected one for every image; a segmenter cannot learn without")
    images, masks = load_pairs(records, side)
    kept = masks.any(axis=(1, 2))
    if not kept.any():
        raise DataError(f"{folder}: the masks of all {len(records)} pairs are empty, expected marked pixels; generate others")
    return LoadedPairs(images[kept], masks[kept]), int((~kept).sum())


def with_real(method: Method, share: float) -> Method:
    """The same pairs, and the few real anomalies as that share of a batch's anomalies."""
    return replace(method, name=method.name + REAL, real_share=share)


def sources(method: Method, product: str, material: Material, count: int, seed: int) -> tuple[Source, ...]:
    """What a network learns from: `count` pairs, and the few real ones where the method has them.

    Of given pairs a random choice is taken, of which a larger count keeps what a smaller one had.

    Raises:
        DataError: There are fewer pairs, or the comparator lacks what it needs.
    """
    if method.pairs is None:
        images, masks = COMPARATORS[str(method.comparator)](material.normals, *material.few, count, seed)
    else:
        available = method.pairs[product]
        if len(available.images) < count:
            raise DataError(
                f"{method.name}: found {len(available.images)} pairs of {product} with a mask, expected {count}; "
                "generate more or lower --count"
            )
        chosen = np.random.default_rng(seed).permutation(len(available.images))[:count]
        images, masks = available.images[chosen], available.masks[chosen]
    if not method.real_share:
        return (Source(images, masks),)
    return Source(images, masks, 1 - method.real_share), Source(*material.few, method.real_share)


def tasks(method: Method, materials: Mapping[str, Material], count: int, seed: int) -> dict[str, Task]:
    """What a network learns from and is tested on, of every product.

    Raises:
        DataError: as `sources`.
    """
    return {
        name: Task(sources(method, name, material, count, seed), material.normals, *material.test)
        for name, material in materials.items()
    }
