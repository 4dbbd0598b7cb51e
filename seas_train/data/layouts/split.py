"""Which images are for training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from seas_runtime.errors import DataError, SettingsError
from seas_train.data.layouts.records import Product, Record


@dataclass(frozen=True)
class Split:
    """Anomaly records for training and those held out for evaluation, each in file order by defect type."""

    train: tuple[Record, ...]
    held_out: tuple[Record, ...]


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
        records = product.of_type(defect)
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


def only(product: Product, defects: Sequence[str]) -> Product:
    """The product with these defect types alone, or all of it if none is named.

    Raises:
        SettingsError: It has no such type.
    """
    if unknown := [defect for defect in defects if defect not in product.defects]:
        raise SettingsError(f"unknown defect type {unknown[0]!r}; {product.root} has {', '.join(product.defects)}")
    if not defects:
        return product
    return replace(product, anomalies=tuple(record for record in product.anomalies if record.defect in defects))


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
