"""The photographs of the normal images, where a bundle has them: PNG files of its core."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from seas_runtime.bundle.reader import Bundle
from seas_runtime.errors import BundleError

# What Pillow raises of a damaged PNG file.
_DAMAGED = (OSError, SyntaxError, ValueError, IndexError, TypeError, EOFError, struct.error, Image.DecompressionBombError)


def read_photographs(bundle: Bundle) -> NDArray[np.uint8]:
    """Photographs (P, H, W, 3) uint8 RGB, in the order of the conditioning's normal images.

    Raises:
        BundleError: the bundle has none, another number than normal images, or one that is no RGB picture of its side.
    """
    names, images = bundle.manifest.photographs, len(bundle.conditioning.mean)
    if not names:
        raise BundleError(f"{bundle.path}: holds no photographs; export it with seas-export --photographs")
    if len(names) != images:
        raise BundleError(
            f"{bundle.path}: {len(names)} photographs found, {images} expected, one of each normal image; export it again"
        )
    return np.stack([_read(bundle, name) for name in names])


def _read(bundle: Bundle, name: str) -> NDArray[np.uint8]:
    """One photograph, from bytes that are hashed again: what is decoded is what was verified."""
    try:
        data = (bundle.path / name).read_bytes()
    except OSError as error:
        raise BundleError(f"{bundle.path}: {name}: {error.strerror or error}; fetch the bundle again") from error
    if hashlib.sha256(data).hexdigest() != bundle.manifest.files[name].sha256:
        raise BundleError(f"{bundle.path}: {name} has changed since it was verified; fetch the bundle again")
    side = bundle.manifest.geometry.image_size
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if (image.size, image.mode) != ((side, side), "RGB"):
                found = f"{image.mode} {image.size[0]} x {image.size[1]} found, RGB {side} x {side} expected"
                raise BundleError(f"{bundle.path}: {name}: {found}; export the bundle again")
            return np.asarray(image)
    except _DAMAGED as error:
        reason = "not a PNG file" if isinstance(error, UnidentifiedImageError) else error  # which would show an address
        raise BundleError(f"{bundle.path}: {name} is no picture ({reason}); export the bundle again") from error
