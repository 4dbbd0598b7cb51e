"""One image file or mask file -> pixels, whatever its format, depth and colour mode."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from seas_runtime.errors import DataError
from seas_runtime.files import open_regular
from seas_train.data.kinds import MaskKind

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF")  # what is inside a file, whatever its name says
_WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")  # "I": 16-bit PNG in older Pillow
_MOST_CLASSES = 16  # a mask saved as JPEG or antialiased holds more levels and is none of classes
_ORIENTATION, _SWAPPING = 274, (5, 6, 7, 8)  # the EXIF tag, and its values that exchange width and height
_DAMAGED = (OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, struct.error)  # as Pillow raises them


def read_rgb(path: Path) -> Image.Image:
    """Read an image as 8-bit RGB, upright according to its EXIF orientation.

    16-bit grey is scaled by the full range of the format (65535 is white), so that brightness stays
    comparable between images. Grey and palette become colour, CMYK is converted, transparency is
    composited on white.

    Raises:
        DataError: The file is missing, truncated, no image, or holds floating-point values.
    """
    image = _load(path)
    if image.mode not in _WIDE_MODES:
        return _flatten(image, "white")
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise DataError(
            f"{path}: holds grey levels from {values.min()} to {values.max()}, expected 0 to 65535; save it as 8-bit or 16-bit PNG"
        )
    return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")


def read_size(path: Path) -> tuple[int, int]:
    """(width, height) of an image as `read_rgb` gives it; no pixel is decoded.

    Raises:
        DataError: The file is missing or no image.
    """
    with _opened(path) as image:
        turned = image.getexif().get(_ORIENTATION, 1) in _SWAPPING
        return (image.height, image.width) if turned else (image.width, image.height)


def read_mask(path: Path, kind: MaskKind = "binary") -> npt.NDArray[np.bool_]:
    """Read a mask (H, W) bool, true where the anomaly is, upright according to its own EXIF orientation.

    A binary mask has two grey levels: 0 and 255, 0 and 1, or 0 and 65535 in a 16-bit file. Palette masks
    count by their colours; transparency counts as 0. A mask of classes holds 0 where nothing is wrong and
    class numbers elsewhere; in a palette file the number is the palette's index.

    Raises:
        DataError: The file cannot be read, is empty (all 0) or full (no 0), coloured, or holds other levels.
    """
    values = read_levels(path, kind)
    levels = np.unique(values).tolist()
    if levels == [0]:
        raise DataError(f"{path}: the mask is empty, expected a pixel of 255; mark the anomaly or remove the pair")
    named = ", ".join(map(str, levels[:5])) + (", ..." if len(levels) > 5 else "")
    if kind == "classes" and len(levels) > _MOST_CLASSES:
        raise DataError(
            f"{path}: the mask holds the {len(levels)} values {named}, expected 0 and at most "
            f"{_MOST_CLASSES - 1} class numbers; save it without smoothing, as PNG"
        )
    if kind == "binary" and (levels[-1] not in (1, 255, 65535) or not set(levels) <= {0, levels[-1]}):
        raise DataError(
            f"{path}: the mask holds the values {named}, expected only 0 and 255 (or 0 and 1); threshold it and save it as PNG"
        )
    if 0 not in levels:
        raise DataError(f"{path}: the mask is full, expected a pixel of 0; mark the anomaly alone or remove the pair")
    return values > 0


def require_blank(path: Path) -> None:
    """Refuse a mask of a normal image that marks something.

    Raises:
        DataError: The file cannot be read, or a pixel is not 0.
    """
    if read_levels(path, "classes").any():
        raise DataError(
            f"{path}: marks an anomaly on a normal image, expected only 0; clear or remove the mask, or move "
            "image and mask to a defect type"
        )


def read_levels(path: Path, kind: MaskKind = "binary") -> npt.NDArray[np.integer]:
    """Read a mask's levels (H, W) as they count for `read_mask`, whatever they are.

    Raises:
        DataError: The file cannot be read or is coloured.
    """
    image = _load(path)
    as_stored = image.mode in _WIDE_MODES or (kind == "classes" and image.mode == "P")
    return np.asarray(image) if as_stored else _grey(image, path)


def _load(path: Path) -> Image.Image:
    with _opened(path) as image:
        image.load()
        upright = ImageOps.exif_transpose(image)
    if upright.mode == "F":
        raise DataError(f"{path}: holds floating-point values, expected 8 or 16 bits; save it as PNG")
    return upright


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image file that must be a plain one, and say in one line that it is no whole image."""
    try:
        with warnings.catch_warnings(action="ignore"), open_regular(path) as stream, Image.open(stream, formats=_FORMATS) as image:
            yield image
    except UnidentifiedImageError:
        raise DataError(f"{path}: is no image, expected PNG, JPEG, BMP or TIFF; replace or remove it") from None
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: is too large ({error}); save it smaller") from None
    except _DAMAGED as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise DataError(f"{path}: cannot be read ({reason}), expected a complete image file; copy it again or remove it") from None


def _flatten(image: Image.Image, background: str) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    canvas = Image.new("RGBA", image.size, background)
    return Image.alpha_composite(canvas, image.convert("RGBA")).convert("RGB")


def _grey(image: Image.Image, path: Path) -> npt.NDArray[np.uint8]:
    rgb = np.asarray(_flatten(image, "black"))
    if (rgb != rgb[..., :1]).any():
        raise DataError(f"{path}: the mask is coloured, expected only 0 and 255 (black and white); save it so as PNG")
    return rgb[..., 0]


def png(image: Image.Image) -> bytes:
    """An image as a PNG file."""
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
