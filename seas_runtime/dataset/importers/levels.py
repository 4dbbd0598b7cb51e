"""Pictures of masks: what their values are, and which of them are anomalies."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from seas_runtime.dataset.importers import pixels
from seas_runtime.dataset.importers.shapes import nearest
from seas_runtime.fit import Bits, Size

COLOUR = 1 << 24
"""Added to a colour's 0xRRGGBB, so that it is no grey level."""
MOST_VALUES = 64  # of a mask without smoothing; what holds more is JPEG or was drawn with soft edges
_WIDE = ("I", "I;16", "I;16B", "I;16L", "I;16N")
Values = npt.NDArray[np.uint32]


def values(file: Path) -> Values:
    """What a picture of a mask holds, (H, W): grey levels, or `COLOUR` + 0xRRGGBB where a pixel is coloured.

    What is transparent is 0. Where all that is opaque is black, alpha is the mask and counts as grey.

    Raises:
        BrokenError: The file cannot be read.
    """
    image, _ = pixels.read(file)
    if image.mode in _WIDE:
        wide: Values = np.asarray(image).astype(np.int64).clip(0, (1 << 24) - 1).astype(np.uint32)
        return wide
    if image.mode == "1":
        return np.asarray(image).astype(np.uint32) * 255
    if not image.has_transparency_data:
        return _packed(image)
    seen = np.asarray(image.convert("RGBA"))
    if not (seen[..., :3].any(axis=2) & (seen[..., 3] > 127)).any():
        return seen[..., 3].astype(np.uint32)
    return np.where(seen[..., 3] > 127, _packed(image.convert("RGB")), 0).astype(np.uint32)


def _packed(image: Image.Image) -> Values:
    if image.mode == "L":
        return np.asarray(image).astype(np.uint32)
    if image.mode == "P" and _palette_says_nothing(image):
        return np.asarray(image).astype(np.uint32)
    red, green, blue = (channel.astype(np.uint32) for channel in np.moveaxis(np.asarray(image.convert("RGB")), 2, 0))
    grey = (red == green) & (green == blue)
    packed: Values = np.where(grey, red, COLOUR + (red << 16) + (green << 8) + blue).astype(np.uint32)
    return packed


def _palette_says_nothing(image: Image.Image) -> bool:
    """Whether several of the numbers in use have one colour: then the numbers are meant."""
    used = np.unique(np.asarray(image))
    colours = image.getpalette("RGB") or []
    return len({tuple(colours[3 * int(number) : 3 * int(number) + 3]) for number in used}) < len(used)


@dataclass(frozen=True)
class Survey:
    """What one picture of a mask holds.

    Attributes:
        counts: Pixels of each value, or of the commonest 64.
        distinct: How many values there are.
        border: Pixels of each value on the picture's outermost rows and columns, of those in `counts`.
        size: (width, height).
        lossy: The file is JPEG.
    """

    counts: dict[int, int]
    distinct: int
    border: dict[int, int]
    size: Size
    lossy: bool

    @property
    def coloured(self) -> bool:
        """Whether a value is a colour."""
        return any(value >= COLOUR for value in self.counts)


def survey(file: Path) -> Survey:
    """Count the values of a picture of a mask; raises BrokenError where it cannot be read."""
    held = values(file)
    found, counts = _counted(held)
    order = np.argsort(-counts, kind="stable")[:MOST_VALUES]
    edge = Counter(np.concatenate((held[0], held[-1], held[1:-1, 0], held[1:-1, -1])).tolist())
    kept = {int(found[i]): int(counts[i]) for i in order}
    border = {value: edge[value] for value in kept if value in edge}
    lossy = file.suffix.lower() in (".jpg", ".jpeg", ".jpe", ".jfif")
    return Survey(kept, len(found), border, (held.shape[1], held.shape[0]), lossy)


def _counted(held: Values) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The values that are there, and how many pixels each has; greys are counted, as sorting them takes ten times as long."""
    low = held < 1 << 16
    levels = np.bincount(held[low], minlength=1)
    grey = np.flatnonzero(levels)
    others, counts = np.unique(held[~low], return_counts=True)
    return np.concatenate((grey, others.astype(np.int64))), np.concatenate((levels[grey], counts))


class Rule:
    """Which values of a mask are the anomaly."""

    def select(self, held: Values) -> Bits:
        """(H, W) values -> (H, W) bool."""
        raise NotImplementedError


@dataclass(frozen=True)
class Differs(Rule):
    """All that is not one of the background's values."""

    background: frozenset[int] = frozenset((0,))

    def select(self, held: Values) -> Bits:
        """As `Rule.select`."""
        return ~np.isin(held, list(self.background))


class Marked(Rule):
    """All that is not 0; where a mask has soft edges (more than 16 values), what is at least half as bright as its maximum."""

    def select(self, held: Values) -> Bits:
        """As `Rule.select`."""
        found, _ = _counted(held)
        return held >= (int(found[-1]) + 1) // 2 if len(found) > 16 else held > 0


@dataclass(frozen=True)
class Among(Rule):
    """These values alone."""

    wanted: frozenset[int]

    def select(self, held: Values) -> Bits:
        """As `Rule.select`."""
        return np.isin(held, list(self.wanted))


@dataclass(frozen=True)
class Above(Rule):
    """Grey levels from `least` on, or below it; a colour counts as its brightest channel."""

    least: int
    dark: bool = False

    def select(self, held: Values) -> Bits:
        """As `Rule.select`."""
        channels = [(held >> shift) & 255 for shift in (16, 8, 0)]
        grey = np.where(held >= COLOUR, np.maximum.reduce(channels), held)
        return (grey < self.least) if self.dark else (grey >= self.least)


@dataclass(frozen=True)
class Nearest(Rule):
    """Pixels whose colour is nearer to one of `wanted` than to any of `others`: for soft edges and JPEG."""

    wanted: tuple[int, ...]
    others: tuple[int, ...]

    def select(self, held: Values) -> Bits:
        """As `Rule.select`; colours are told apart by their upper five bits."""
        centres = np.array([rgb(value) for value in (*self.wanted, *self.others)])
        steps = np.arange(32) * 8 + 4
        cells = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 1, 3)
        chosen = ((cells - centres) ** 2).sum(axis=2).argmin(axis=1) < len(self.wanted)
        grey = held < COLOUR
        level = held >> 3
        cell = np.where(grey, level * 1057, ((held >> 19) & 31) * 1024 + ((held >> 11) & 31) * 32 + ((held >> 3) & 31))
        return cast(Bits, chosen[cell])


def value(red: int, green: int, blue: int) -> int:
    """A colour as `values` gives it."""
    return red if red == green == blue else COLOUR + (red << 16) + (green << 8) + blue


def rgb(held: int) -> tuple[int, int, int]:
    """A value of `values` as its three channels."""
    if held < COLOUR:
        return held, held, held
    return (held >> 16) & 255, (held >> 8) & 255, held & 255


@dataclass(frozen=True)
class MaskFile:
    """The mark that a picture of a mask holds, by a rule."""

    file: Path
    rule: Rule
    held: Values | None = field(default=None, repr=False, compare=False)
    """The file's values, where they have been read already."""

    def paint(self, canvas: Bits, _frame: Size) -> None:
        """As `Shape.paint`; a mask of another size is scaled to the nearest pixel."""
        bits = self.rule.select(values(self.file) if self.held is None else self.held)
        if bits.shape != canvas.shape:
            bits = nearest(bits, (canvas.shape[1], canvas.shape[0]))
        canvas |= bits


def smooth(held: Survey) -> bool:
    """Whether a mask has soft edges: more values than classes would have, or JPEG's."""
    return held.distinct > MOST_VALUES or (held.lossy and held.distinct > 2)
