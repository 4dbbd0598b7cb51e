"""Pictures as a page shows them: small JPEGs, masks as tinted overlays, and masks as arrays."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from seas_runtime.dataset.pictures import encode
from seas_runtime.errors import DataError

Mask = npt.NDArray[np.bool_]
MOST_PIXELS = 60_000_000
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
_DAMAGED = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)  # what Pillow says of such files
_SEEN = 32  # of 255: share of a small pixel that its mask must cover
_CLEAR, _FILL, _LINE = 0, 1, 2
_TINT = {_CLEAR: (0, 0, 0, 0), _FILL: (255, 32, 32, 90), _LINE: (255, 32, 32, 255)}


def decode(data: bytes, name: str) -> Image.Image:
    """A picture from the bytes of its file.

    Args:
        data: PNG, JPEG, BMP, TIFF or WebP.
        name: names it in errors.

    Raises:
        DataError: damaged, of another format, or of more than `MOST_PIXELS`.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
        _check_size(image, name)
        image.load()
    except _DAMAGED as error:
        raise _unreadable(name) from error
    return image


def check_png(data: bytes, name: str) -> None:
    """Look at the head of a file that a browser is to decode.

    Raises:
        DataError: no PNG, or one of more than `MOST_PIXELS`.
    """
    try:
        _check_size(Image.open(io.BytesIO(data), formats=["PNG"]), name)
    except _DAMAGED as error:
        raise _unreadable(name) from error


def _check_size(image: Image.Image, name: str) -> None:
    if image.width * image.height > MOST_PIXELS:
        found = f"{image.width} x {image.height} pixels found"
        raise DataError(f"{name}: {found}, at most {MOST_PIXELS} expected; make it smaller")


def _unreadable(name: str) -> DataError:
    return DataError(f"{name}: cannot be read (damaged or no image); generate it again")


def mask_of(image: Image.Image) -> Mask:
    """A mask (H, W) bool from its picture: at least 128 of 255 is marked, in one of mode "1" every white pixel."""
    return np.asarray(image.convert("L")) >= 128


def small(image: Image.Image, side: int) -> Image.Image:
    """RGB of at most `side` pixels a side; a smaller picture keeps its size."""
    picture = image.convert("RGB")
    picture.thumbnail((side, side), Image.Resampling.HAMMING, reducing_gap=1.0)
    return picture


def jpeg(picture: Image.Image, quality: int = 85) -> bytes:
    """The bytes of an RGB picture as JPEG, colours at full resolution."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality, subsampling=0)
    return stream.getvalue()


def mask_png(mask: Mask) -> bytes:
    """A mask as `seas-gen` writes it: PNG of one channel, 0 or 255."""
    return encode(_levels(mask))


def overlay_png(mask: Mask, side: int) -> bytes:
    """What a mask lays over its picture: a light red fill and a red line around it, the rest transparent.

    Args:
        mask: (H, W).
        side: largest side in pixels; a marked part stays visible however small.

    Returns:
        PNG with a palette of three colours.
    """
    cover = Image.fromarray(_levels(mask))
    cover.thumbnail((side, side), Image.Resampling.BOX, reducing_gap=1.0)
    share = np.asarray(cover)
    marked = share >= min(_SEEN, max(int(share.max()), 1))
    levels = np.where(marked, _FILL, np.where(_grown(marked), _LINE, _CLEAR))
    picture = Image.fromarray(levels.astype(np.uint8), "P")
    picture.putpalette([value for colour in _TINT.values() for value in colour[:3]])
    stream = io.BytesIO()
    picture.save(stream, "PNG", transparency=bytes(colour[3] for colour in _TINT.values()))
    return stream.getvalue()


def _levels(mask: Mask) -> npt.NDArray[np.uint8]:
    return np.where(mask, np.uint8(255), np.uint8(0))


def _grown(mask: Mask) -> Mask:
    """A mask with all eight neighbours of what it marks."""
    rows = mask.copy()
    rows[1:] |= mask[:-1]
    rows[:-1] |= mask[1:]
    grown = rows.copy()
    grown[:, 1:] |= rows[:, :-1]
    grown[:, :-1] |= rows[:, 1:]
    return grown
