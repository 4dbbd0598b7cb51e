"""DRAEM's anomalies (Zavrtanik et al. 2021, sec. 3.3): foreign textures blended in where Perlin noise is high."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageOps

from benchmarks.quality.downstream.comparators.protocol import (
    Images,
    Masks,
    Pairs,
    check_normals,
    collect,
    stream,
)

CELLS = (1, 2, 4, 8, 16, 32)
"""Grid cells along a side of the noise, drawn for each axis alone; none smaller than `CELL_SIDE` pixels."""
CELL_SIDE = 8
THRESHOLD = 0.5
OPACITY = (0.2, 1.0)
"""Range of the texture's share where it is blended in; DRAEM's beta is one less this."""
TILES = 8
"""Tiles along a side of a normal image whose texture is torn up."""


def make(normals: Images, anomalies: Images, masks: Masks, count: int, seed: int, textures: Images | None = None) -> Pairs:
    """Blend textures into `count` normal images; see `protocol.Comparator`. Anomalies are not used.

    Args:
        normals: as the protocol says.
        anomalies: not used.
        masks: not used.
        count: as the protocol says.
        seed: as the protocol says.
        textures: (m, h, w, 3) uint8 of any size. DRAEM takes the Describable Textures data set; without a
            set of textures, the normal images themselves are torn into tiles that change places (MemSeg,
            Yang et al. 2023).
    """
    del anomalies, masks
    check_normals(normals)
    if textures is not None:
        check_normals(textures)
    found = []
    for index in range(count):
        rng = stream(seed, index)
        normal = normals[rng.integers(len(normals))]
        foreign = _tear(normals[rng.integers(len(normals))], rng) if textures is None else textures[rng.integers(len(textures))]
        found.append(_blend(normal, _recolour(foreign, rng), perlin_mask(normal.shape[0], normal.shape[1], rng), rng))
    return collect(found, normals)


def perlin_noise(height: int, width: int, cells: tuple[int, int], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Gradient noise (Perlin 1985, with the smoother fade of 2002).

    Args:
        height: H.
        width: W.
        cells: grid cells along rows and columns.
        rng: draws the gradients' directions.

    Returns:
        (H, W) within -1 to 1, near 0 on the grid's points.
    """
    angle = rng.uniform(0, 2 * np.pi, (cells[0] + 1, cells[1] + 1))
    rows, columns = ((np.arange(side) + 0.5) * number / side for side, number in zip((height, width), cells, strict=True))
    top, left = rows.astype(int)[:, None], columns.astype(int)[None, :]
    y, x = rows[:, None] - top, columns[None, :] - left

    def corner(down: int, right: int) -> npt.NDArray[np.float64]:
        direction = angle[top + down, left + right]
        return np.asarray(np.cos(direction) * (x - right) + np.sin(direction) * (y - down))

    across, along = _fade(x), _fade(y)
    upper = corner(0, 0) + across * (corner(0, 1) - corner(0, 0))
    lower = corner(1, 0) + across * (corner(1, 1) - corner(1, 0))
    return np.asarray(np.sqrt(2) * (upper + along * (lower - upper)))


def perlin_mask(height: int, width: int, rng: np.random.Generator) -> Masks:
    """A mask (height, width) of noise above the threshold, turned by any angle; drawn again while it is empty."""
    while True:
        rows, columns = (int(rng.choice([n for n in CELLS if n == 1 or n * CELL_SIDE <= side])) for side in (height, width))
        noise = perlin_noise(height, width, (rows, columns), rng)
        centre = ((width - 1) / 2, (height - 1) / 2)
        move = cv2.getRotationMatrix2D(centre, rng.uniform(-90, 90), 1.0)
        mask: Masks = cv2.warpAffine(noise, move, (width, height)) > THRESHOLD
        if mask.any():
            return mask


def _fade(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return x**3 * (x * (6 * x - 15) + 10)


def _tear(image: Images, rng: np.random.Generator) -> Images:
    """Cut an image (H, W, 3) into tiles that change places."""
    height, width = image.shape[:2]
    side = cv2.resize(image, (-(-width // TILES) * TILES, -(-height // TILES) * TILES))
    h, w = side.shape[0] // TILES, side.shape[1] // TILES
    tiles = side.reshape(TILES, h, TILES, w, 3).swapaxes(1, 2).reshape(TILES**2, h, w, 3)
    torn = rng.permutation(tiles).reshape(TILES, TILES, h, w, 3).swapaxes(1, 2).reshape(side.shape)
    return np.asarray(cv2.resize(torn, (width, height)), dtype=np.uint8)


def _recolour(texture: Images, rng: np.random.Generator) -> Images:
    """A texture (H, W, 3) after three of the changes DRAEM draws from, in random order."""
    picture = Image.fromarray(texture)
    changes = (
        lambda p: ImageOps.solarize(p, int(rng.integers(32, 128))),
        lambda p: ImageOps.posterize(p, int(rng.integers(2, 6))),
        ImageOps.invert,
        ImageOps.autocontrast,
        ImageOps.equalize,
        lambda p: ImageEnhance.Sharpness(p).enhance(rng.uniform(0, 3)),
        lambda p: ImageEnhance.Brightness(p).enhance(rng.uniform(0.6, 1.4)),
        lambda p: ImageEnhance.Color(p).enhance(rng.uniform(0, 2)),
        lambda p: p.rotate(rng.uniform(-45, 45), Image.Resampling.BILINEAR),
    )
    for chosen in rng.choice(len(changes), 3, replace=False):
        picture = changes[chosen](picture)
    return np.asarray(picture)


def _blend(normal: Images, texture: Images, mask: Masks, rng: np.random.Generator) -> tuple[Images, Masks]:
    height, width = mask.shape
    foreign = cv2.resize(texture, (width, height), interpolation=cv2.INTER_AREA).astype(np.float64)
    opacity = rng.uniform(*OPACITY) * mask[..., None]
    return (normal + opacity * (foreign - normal) + 0.5).astype(np.uint8), mask
