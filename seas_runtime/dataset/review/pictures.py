"""Pictures as a page shows them: small JPEGs, masks as tinted overlays, and masks as arrays."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageFilter

from seas_runtime.errors import DataError

Mask = npt.NDArray[np.bool_]
MOST_PIXELS = 100_000_000
PNG = b"\x89PNG\r\n\x1a\n"
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
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
        if image.width * image.height > MOST_PIXELS:
            raise DataError(
                f"{name}: {image.width} x {image.height} pixels found, at most {MOST_PIXELS} expected; make it smaller"
            )
        image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{name}: cannot be read (damaged or no image); generate it again") from error
    return image


def mask_of(image: Image.Image) -> Mask:
    """A mask (H, W) bool from its picture: at least 128 of 255 is marked, in one of mode "1" every white pixel."""
    return np.asarray(image.convert("L")) >= 128


def small(image: Image.Image, side: int) -> Image.Image:
    """RGB of at most `side` pixels a side; a smaller picture keeps its size."""
    picture = image.convert("RGB")
    picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return picture


def jpeg(picture: Image.Image, quality: int = 85) -> bytes:
    """The bytes of an RGB picture as JPEG, colours at full resolution."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality, subsampling=0)
    return stream.getvalue()


def mask_png(mask: Mask) -> bytes:
    """A mask as `seas-gen` writes it: PNG of one channel, 0 or 255."""
    stream = io.BytesIO()
    Image.fromarray(np.where(mask, np.uint8(255), np.uint8(0))).save(stream, "PNG")
    return stream.getvalue()


def overlay_png(mask: Mask, side: int) -> bytes:
    """What a mask lays over its picture: a light red fill and a red line around it, the rest transparent.

    Args:
        mask: (H, W).
        side: largest side in pixels; a marked part stays visible however small.

    Returns:
        PNG with a palette of three colours.
    """
    full = Image.fromarray(np.where(mask, np.uint8(255), np.uint8(0)))
    cover = full.copy()
    cover.thumbnail((side, side), Image.Resampling.BOX)
    least = min(_SEEN, max(int(np.asarray(cover).max()), 1))
    marked = cover.point([255 * (level >= least) for level in range(256)])
    line = ImageChops.subtract(marked.filter(ImageFilter.MaxFilter(3)), marked)
    levels = np.asarray(marked) // 255 * _FILL + np.asarray(line) // 255 * _LINE
    picture = Image.fromarray(levels.astype(np.uint8), "P")
    picture.putpalette([value for colour in _TINT.values() for value in colour[:3]])
    stream = io.BytesIO()
    picture.save(stream, "PNG", transparency=bytes(colour[3] for colour in _TINT.values()))
    return stream.getvalue()
