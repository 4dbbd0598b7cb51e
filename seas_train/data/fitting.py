"""How a product's photographs are fitted to the model's square (`seas_runtime.fit`), and which way keeps the defects visible."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from seas_runtime.dataset.shapes.widths import CELL, width
from seas_runtime.fit import OVERLAP, Fit, Size, View, views, window
from seas_train.data.images import read_mask, read_size
from seas_train.data.layouts.records import Record

Asked = Literal["auto", "stretch", "pad", "crop", "tile"]
BY_CHANGE: tuple[Fit, ...] = ("stretch", "crop", "tile")
"""What "auto" chooses from, the paper's way first; padding shrinks as stretching does and wastes a part of the square."""
MOST_TILES = 20_000  # normal tiles of a base: 1 GB at 128 pixels
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Defect:
    """What a mask marks of its photograph.

    Attributes:
        mask: Its file.
        width: How wide the anomaly is, in pixels.
        size: (width, height) of the photograph.
        extent: (width, height) of the box around all that is marked.
    """

    mask: Path
    width: float
    size: Size
    extent: Size

    @classmethod
    def of(cls, file: Path, mask: Mask) -> Defect:
        """Measure a mask (H, W) that marks something."""
        columns, rows = (np.flatnonzero(mask.any(axis=axis)) for axis in (0, 1))
        extent = int(columns[-1] - columns[0]) + 1, int(rows[-1] - rows[0]) + 1
        return cls(file, width(mask), (mask.shape[1], mask.shape[0]), extent)

    def fitted(self, fit: Fit, side: int) -> float:
        """How wide it is in a picture of the model's side, in pixels."""
        scales = {"stretch": side / max(self.size), "pad": side / max(self.size), "crop": side / min(self.size), "tile": 1.0}
        return self.width * scales[fit]

    def is_cut(self, fit: Fit) -> bool:
        """Whether a part of it is cut off."""
        return fit == "crop" and max(self.extent) > min(self.size)

    def visible(self, fit: Fit, side: int) -> float:
        """How much of a latent cell's width it has, at most 1; 0 where it is cut off."""
        return 0.0 if self.is_cut(fit) else min(1.0, self.fitted(fit, side) / CELL)


def choose(asked: Asked, defects: Sequence[Defect], side: int) -> Fit:
    """The fit asked for; of "auto" the one that keeps defects most visible, of several the one that changes the least."""
    if asked != "auto":
        return asked
    return max(BY_CHANGE, key=lambda fit: sum(defect.visible(fit, side) for defect in defects))


def measured(records: Iterable[Record]) -> dict[str, list[Defect]]:
    """The defects of anomaly records by their type.

    Raises:
        DataError: `images.read_mask` refuses a mask.
    """
    found: dict[str, list[Defect]] = {}
    for record in records:
        if record.mask is not None and record.defect is not None:
            found.setdefault(record.defect, []).append(Defect.of(record.mask, read_mask(record.mask, record.mask_kind)))
    return found


def told(asked: Asked, fit: Fit, types: Mapping[str, Sequence[Defect]], side: int) -> Iterator[str]:
    """What "auto" chose and why, where it is not the paper's way."""
    if asked != "auto" or fit == "stretch":
        return
    defects = [defect for some in types.values() for defect in some]
    small = [defect for defect in defects if defect.visible("stretch", side) < 1]
    worst = min(small, key=lambda defect: defect.fitted("stretch", side))
    what = "squares cut out of photographs" if fit == "crop" else "tiles of photographs"
    yield (
        f"fit {fit}, chosen by --fit auto: stretched to {side} x {side}, {len(small)} of {len(defects)} defects would be narrower "
        f"than a latent cell ({CELL} pixels), one of {worst.width:.3g} px would become {worst.fitted('stretch', side):.2g} px, now "
        f"{worst.fitted(fit, side):.2g} px. The model learns and makes {what}; --fit stretch takes them whole"
    )


def decide(anomalies: Iterable[Record], asked: Asked, side: int, say: Callable[[str], None]) -> Fit:
    """The fit of a training on these anomalies; what a person should know of it is said.

    Raises:
        DataError: A mask cannot be read.
    """
    types = measured(anomalies)
    fit = choose(asked, [defect for some in types.values() for defect in some], side)
    for line in told(asked, fit, types, side):
        say(line)
    for defect, some in types.items():
        if warning := narrow(defect, some, fit, side):
            say(f"Warning: {warning}")
    return fit


def strange(base: str | None, fit: Fit) -> str | None:
    """A warning where a base has learned photographs by another `--fit` than the one that it is shown now."""
    if base is None or base == fit:
        return None
    return (
        f"the base has learned photographs by --fit {base}, and now sees them by --fit {fit}, which makes worse pictures; train "
        f"the base with --fit {fit}, or give --fit {base}"
    )


def narrow(title: str, defects: Sequence[Defect], fit: Fit, side: int) -> str | None:
    """A warning with figures where defects of a type become narrower than a latent cell, or are cut off."""
    small = [defect for defect in defects if defect.fitted(fit, side) < CELL]
    if small:
        worst = min(small, key=lambda defect: defect.fitted(fit, side))
        tiles = any(defect.fitted("tile", side) > defect.fitted(fit, side) for defect in small)
        return (
            f"{title}: {len(small)} of {len(defects)} are narrower than a latent cell ({CELL} pixels) at {side}: one of "
            f"{worst.width:.3g} px becomes {worst.fitted(fit, side):.2g} px ({worst.mask.name}); a model of a larger side keeps "
            f"them{', or --fit tile' if tiles else ''}"
        )
    if cut := [defect for defect in defects if defect.is_cut(fit)]:
        return f"{title}: {len(cut)} of {len(defects)} are longer than a square of their photograph and are cut off by --fit crop"
    return None


def fitted(records: Iterable[Record], fit: Fit, side: int) -> tuple[Record, ...]:
    """The records with the part of their photograph that the model sees; a photograph gives as many as it has tiles.

    Of an anomaly's tiles those are taken on which enough of it lies: all of it, or as much as covers a latent cell.

    Raises:
        DataError: A file cannot be read.
    """
    if fit == "stretch":
        return tuple(records)
    return tuple(replace(record, view=view) for record in records for view in _views(record, fit, side))


def pictures(normals: Sequence[Record], fit: Fit, side: int, count: int, seed: int) -> tuple[Record, ...]:
    """What the model sees of normal photographs: of their tiles as many as photographs were asked for.

    Raises:
        DataError: A file cannot be read.
    """
    found = fitted(normals, fit, side)
    return take(found, count, seed) if fit == "tile" else found


def _views(record: Record, fit: Fit, side: int) -> Sequence[View]:
    size = read_size(record.image)
    if record.mask is None:
        return views(size, fit, side, OVERLAP, None)
    mask = read_mask(record.mask, record.mask_kind)
    all_views = views(size, fit, side, OVERLAP, mask)
    if fit != "tile":
        return all_views
    counts = [int(np.count_nonzero(window(mask, view.box))) for view in all_views]
    enough = min(CELL * CELL, int(np.count_nonzero(mask)))
    kept = [view for view, count in zip(all_views, counts, strict=True) if enough <= count < side * side]
    return kept or [all_views[int(np.argmax(counts))]]


def take(records: Sequence[Record], count: int, seed: int) -> tuple[Record, ...]:
    """So many of the records, in their order: the same ones on every machine."""

    def rank(record: Record) -> bytes:
        box = record.view.box if record.view is not None else ()
        return hashlib.sha256(f"{seed}/{record.image.name}/{box}".encode()).digest()

    chosen = set(sorted(records, key=rank)[:count])
    return tuple(record for record in records if record in chosen)


def commonest(records: Iterable[Record]) -> Size:
    """The size that most photographs have, of several the largest.

    Raises:
        DataError: A file cannot be read.
    """
    counts = Counter(read_size(file) for file in dict.fromkeys(record.image for record in records))
    return max(counts, key=lambda size: (counts[size], size[0] * size[1], size))
