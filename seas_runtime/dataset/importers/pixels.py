"""A picture file -> its size, its orientation, its pixels; nothing is guessed and nothing outside of it is opened."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from seas_runtime.dataset.importers.records import BrokenError
from seas_runtime.dataset.importers.shapes import MOST_PIXELS
from seas_runtime.fit import Size
from seas_runtime.versions import extra

EXTENSIONS = frozenset((".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".heic", ".heif"))
KEPT = {"PNG": ".png", "JPEG": ".jpg", "BMP": ".bmp", "TIFF": ".tif"}
"""Formats that training reads, each with its ending: such a file is copied as it is."""
_FORMATS = (*KEPT, "WEBP", "GIF")
_HEIF = frozenset((".heic", ".heif"))
_WIDE = frozenset(("I", "I;16", "I;16B", "I;16L", "I;16N"))
_DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    IndexError,
    struct.error,
    OverflowError,
    MemoryError,
)  # Pillow's
_SWAPPED = frozenset((5, 6, 7, 8))  # orientations that exchange width and height
ORIENTATION = 274  # the EXIF tag
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what makes the picture upright."""


@dataclass(frozen=True)
class Header:
    """What a file says of its picture.

    Attributes:
        stored: (width, height) as it is stored.
        size: The same, upright.
        orientation: EXIF's, 1 to 8; 1 is upright.
        copied: The ending under which the file can be used as it is; "" where it must be written anew.
    """

    stored: Size
    size: Size
    orientation: int
    copied: str


def header(file: Path, data: bytes | None = None) -> Header:
    """Read what a file says of its picture, without decoding it.

    Args:
        file: The picture; its ending tells HEIC apart.
        data: Its bytes, where they are not those of the file.

    Raises:
        BrokenError: It is none, or too large.
    """
    with _open(file, data) as image:
        return _header(image)


def read(file: Path, data: bytes | None = None) -> tuple[Image.Image, Header]:
    """Decode a picture fully, upright.

    Raises:
        BrokenError: As `header`, or it is damaged, or holds floating-point values.
    """
    with _open(file, data) as image:
        told = _header(image)
        try:
            image.load()
            upright = ImageOps.exif_transpose(image)
        except _DAMAGED as error:
            raise BrokenError(f"is damaged ({_reason(error)})") from None
    if upright.mode == "F":
        raise BrokenError("holds floating-point values, expected 8 or 16 bits")
    return upright, told


def rgb(image: Image.Image) -> Image.Image:
    """A picture of any mode as 8-bit RGB: 16 bits scaled by their full range, transparency on white."""
    if image.mode in _WIDE:
        values = np.asarray(image).astype(np.int64).clip(0, 65535)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA")).convert("RGB")


def _open(file: Path, data: bytes | None) -> Image.Image:
    formats = _FORMATS
    if file.suffix.lower() in _HEIF and data is None:
        _know_heif()
        formats = (*_FORMATS, "HEIF")
    try:
        image = Image.open(file if data is None else io.BytesIO(data), formats=formats)
    except UnidentifiedImageError:
        raise BrokenError("is no picture, whatever its name says") from None
    except Image.DecompressionBombError:
        raise BrokenError(f"has more than {MOST_PIXELS} pixels") from None
    except _DAMAGED as error:
        raise BrokenError(f"cannot be opened ({_reason(error)})") from None
    if image.width * image.height > MOST_PIXELS:
        image.close()
        raise BrokenError(f"has {image.width} x {image.height} pixels, expected at most {MOST_PIXELS}")
    return image


def _header(image: Image.Image) -> Header:
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except _DAMAGED:  # EXIF that nobody can read turns nothing
        orientation = 1
    orientation = orientation if orientation in TURNS else 1
    size = image.size[::-1] if orientation in _SWAPPED else image.size
    single = getattr(image, "n_frames", 1) == 1 or image.format != "TIFF"
    kept = KEPT.get("JPEG" if image.format == "MPO" else image.format or "", "")
    return Header(image.size, size, orientation, kept if orientation == 1 and single else "")


def _know_heif() -> None:
    try:
        from pillow_heif import register_heif_opener  # noqa: PLC0415  # an extra, for those who have such files
    except ImportError:
        raise BrokenError(f"is HEIC, which needs one more package: {extra('heic')}") from None
    register_heif_opener()


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or " ".join(str(error).split())[:80] or type(error).__name__
