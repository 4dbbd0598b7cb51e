"""The photographs of the normal images, and what composites change of them, where a bundle has them: PNG files of its core."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
from dataclasses import dataclass

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
    return np.stack([_read(bundle, name, "RGB") for name in names])


@dataclass(frozen=True)
class Patch:
    """What a composite changes of its photograph: pixels (h, w, 4) uint8 RGBA from a row and a column on, alpha 0 or 255."""

    row: int
    column: int
    pixels: NDArray[np.uint8]

    def on(self, photograph: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The composite (H, W, 3) of a photograph like that."""
        height, width = self.pixels.shape[:2]
        made = photograph.copy()
        place = made[self.row : self.row + height, self.column : self.column + width]
        np.copyto(place, self.pixels[..., :3], where=self.pixels[..., 3:] > 0)
        return made


def read_patches(bundle: Bundle) -> dict[str, list[Patch]]:
    """The patches of every type's composites, in their order; none where the bundle has none.

    Raises:
        BundleError: one is no RGBA picture of the bundle's side.
    """
    names, count = bundle.manifest.patches or (), bundle.manifest.composites or 0
    found = [_cut(_read(bundle, name, "RGBA")) for name in names]
    starts = range(0, len(found), count or 1)
    return {defect: found[start : start + count] for defect, start in zip(bundle.manifest.defect_names, starts, strict=False)}


def _cut(pixels: NDArray[np.uint8]) -> Patch:
    """The part of a picture (H, W, 4) that is not transparent."""
    rows, columns = (np.flatnonzero(pixels[..., 3].any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return Patch(0, 0, pixels[:0, :0])
    box = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Patch(int(rows[0]), int(columns[0]), box.copy())


def _read(bundle: Bundle, name: str, mode: str) -> NDArray[np.uint8]:
    """One picture, from bytes that are hashed again: what is decoded is what was verified."""
    try:
        data = (bundle.path / name).read_bytes()
    except OSError as error:
        raise BundleError(f"{bundle.path}: {name}: {error.strerror or error}; fetch the bundle again") from error
    if hashlib.sha256(data).hexdigest() != bundle.manifest.files[name].sha256:
        raise BundleError(f"{bundle.path}: {name} has changed since it was verified; fetch the bundle again")
    side = bundle.manifest.geometry.image_size
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if (image.size, image.mode) != ((side, side), mode):
                found = f"{image.mode} {image.size[0]} x {image.size[1]} found, {mode} {side} x {side} expected"
                raise BundleError(f"{bundle.path}: {name}: {found}; export the bundle again")
            return np.asarray(image)
    except _DAMAGED as error:
        reason = "not a PNG file" if isinstance(error, UnidentifiedImageError) else error  # which would show an address
        raise BundleError(f"{bundle.path}: {name} is no picture ({reason}); export the bundle again") from error
