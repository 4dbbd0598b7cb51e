"""Picture files, checked: a picture as PNG bytes, a mask of 0 and 255 of the same size."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from seas_runtime.errors import DataError
from seas_runtime.files import read_regular

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
_PLAIN = ("L", "RGB")
_CONVERTED = ("1", "P", "PA", "LA", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")


@dataclass(frozen=True)
class Item:
    """A picture and its mask.

    png: the picture as PNG, grey or RGB, 8 bits; width, height: its size; mask: (height, width) uint8, 0 or 255.
    image_file, mask_file: the files that hold exactly these, if any: they may be linked.
    """

    png: bytes
    width: int
    height: int
    mask: NDArray[np.uint8]
    image_file: Path | None
    mask_file: Path | None


def load(image: Path, mask: Path | None) -> Item:
    """Read a picture and its mask; without a mask nothing is anomalous.

    Raises:
        DataError: a file is missing or damaged, has levels of more than 8 bits, or the mask is no mask of this picture.
    """
    data = _read(image)
    with _explained(image):
        png, (width, height) = _as_png(image, data)
    pixels = np.zeros((height, width), np.uint8) if mask is None else _mask(mask)
    if pixels.shape != (height, width):
        raise DataError(
            f"{mask}: is {pixels.shape[1]} x {pixels.shape[0]} pixels, expected {width} x {height} as {image}; "
            "save it at its picture's size or generate the pair again"
        )
    return Item(png, width, height, pixels, image if png is data else None, mask)


def pixels_of(item: Item) -> NDArray[np.uint8]:
    """The picture of an item, (height, width, 3) uint8 RGB."""
    with Image.open(io.BytesIO(item.png)) as image:
        return np.asarray(image.convert("RGB"))


def encode(pixels: NDArray[Any]) -> bytes:
    """PNG of pixels (H, W) or (H, W, 3) uint8."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def listed(folder: Path) -> list[Path]:
    """The picture files in a folder, by name; hidden ones are passed over.

    Raises:
        DataError: there is no such folder, or no picture in it.
    """
    try:
        files = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror or error}, expected a folder of normal pictures") from error
    found = [file for file in files if file.suffix.lower() in EXTENSIONS]
    if not found:
        names = " ".join(extension.removeprefix(".") for extension in EXTENSIONS)
        raise DataError(f"{folder}: holds no picture, expected normal pictures ({names}); check the path")
    return found


def _read(path: Path) -> bytes:
    try:
        return read_regular(path)
    except FileNotFoundError:
        raise DataError(f"{path}: is missing; generate it again") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}; fix that") from error


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Name the file whose content is no whole picture."""
    try:
        yield
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        what = "no picture of a known kind" if isinstance(error, UnidentifiedImageError) else f"damaged or truncated ({error})"
        raise DataError(f"{path}: {what}, expected a whole picture; generate it again") from error


def _as_png(path: Path, data: bytes) -> tuple[bytes, tuple[int, int]]:
    """The very bytes where they are a plain PNG, whose checksums are verified; else the picture made one, turned upright."""
    with Image.open(io.BytesIO(data)) as image:
        if image.format == "PNG" and image.mode in _PLAIN and "exif" not in image.info:
            size = image.size
            image.verify()
            return data, size
        if image.mode not in _PLAIN + _CONVERTED:
            raise DataError(f"{path}: has levels of mode {image.mode}, expected 8 bits, grey or colour; convert it")
        upright = ImageOps.exif_transpose(image)
        plain = upright if upright.mode in _PLAIN else upright.convert("RGB")
    stream = io.BytesIO()
    Image.frombytes(plain.mode, plain.size, plain.tobytes()).save(stream, "PNG")  # pixels alone: no profile, no date
    return stream.getvalue(), plain.size


def _mask(path: Path) -> NDArray[np.uint8]:
    data = _read(path)
    with _explained(path), Image.open(io.BytesIO(data)) as image:
        if image.mode not in ("L", "1"):
            raise DataError(f"{path}: has mode {image.mode}, expected one channel of 0 and 255; save it so")
        pixels = np.asarray(image.convert("L"))
    between = (pixels != 0) & (pixels != 255)
    if between.any():
        raise DataError(f"{path}: holds the level {pixels[between][0]}, expected 0 and 255 alone; save it so")
    return pixels
