"""A picture's marks -> masks of its upright pixels, whatever size and turn they were drawn at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from seas_runtime.dataset.importers import pixels
from seas_runtime.dataset.importers.formats.labelme import embedded_picture
from seas_runtime.dataset.importers.levels import MaskFile, Values, values
from seas_runtime.dataset.importers.pixels import TURNS, Header
from seas_runtime.dataset.importers.records import BrokenError, Mark, Picture
from seas_runtime.fit import Bits, Size

_MOST_SKEWED = 0.01  # relative difference of proportions that rounding to whole pixels explains


def open_picture(picture: Picture) -> tuple[Image.Image, Header]:
    """Decode a picture, upright; raises BrokenError."""
    return pixels.read(picture.file, embedded_picture(picture.file) if picture.embedded else None)


def paint(picture: Picture, header: Header) -> dict[str, Bits]:
    """The masks (H, W) bool of a picture by the titles of its marks, upright as the picture is.

    Raises:
        BrokenError: A mark cannot be painted, or was drawn on a picture of other proportions.
    """
    masks: dict[str, Bits] = {}
    read: dict[Path, Values] = {}
    for mark in picture.marks:
        mask = masks.setdefault(mark.title, np.zeros(header.size[::-1], bool))
        _add(_opened(mark, read), header, mask)
    return masks


def _opened(mark: Mark, read: dict[Path, Values]) -> Mark:
    """A mark whose mask file, if it has one, is read; each file once for all marks of a picture."""
    shape = mark.shape
    if not isinstance(shape, MaskFile):
        return mark
    if shape.file not in read:
        read[shape.file] = values(shape.file)
    return replace(mark, shape=replace(shape, held=read[shape.file]))


def _add(mark: Mark, header: Header, mask: Bits) -> None:
    frame = mark.frame or header.size
    if _alike(frame, header.size):
        mark.shape.paint(mask, frame)
    elif _alike(frame, header.stored):  # the tool showed the file without turning it
        canvas = np.zeros(header.stored[::-1], bool)
        mark.shape.paint(canvas, frame)
        mask |= turned(canvas, header.orientation)
    else:
        raise BrokenError(
            f"marked at {frame[0]} x {frame[1]} pixels, and the picture has {header.size[0]} x {header.size[1]}: other proportions"
        )


def is_scaled(picture: Picture, header: Header) -> bool:
    """Whether a mark was drawn on the picture at another size."""
    return any(mark.frame is not None and sorted(mark.frame) != sorted(header.size) for mark in picture.marks)


def turned(mask: Bits, orientation: int) -> Bits:
    """A mask as EXIF turns its picture."""
    if orientation not in TURNS:
        return mask
    upright: npt.NDArray[np.uint8] = np.asarray(Image.fromarray(mask.astype(np.uint8)).transpose(TURNS[orientation]))
    return upright.astype(bool)


def _alike(one: Size, other: Size) -> bool:
    return abs(one[0] * other[1] / (one[1] * other[0]) - 1) <= _MOST_SKEWED
