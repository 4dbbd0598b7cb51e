"""Keeping the background: outside the mask a pair's picture is the photograph it started from, inside it the generated one.

The start is the photograph's latent at a noise level that keeps its layout; in the last steps, where they give masks, latents
outside the grown mask are those of the photograph; at the end both pictures are joined with a soft edge.
"""

from __future__ import annotations

from math import ceil

import numpy as np
from numpy.typing import NDArray

from seas_runtime.errors import SettingsError
from seas_runtime.sampling.masks import Mask
from seas_runtime.sampling.noise import PATCH, WORD, Stream
from seas_runtime.sampling.solver import Table

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]

EDGE = 1 / 32
"""Width of the soft edge, of the image's side: 4 pixels at 128, 16 at 512."""


def first_step(table: Table, strength: float) -> int:
    """The first step whose noise level is at most that of a share `strength` of the schedule; 0 leaves nothing of the layout.

    Raises:
        SettingsError: so little strength that no step is left.
    """
    steps = np.flatnonzero(table.timesteps / table.timesteps[0] <= strength)
    if not len(steps):
        least = least_strength(table)
        raise SettingsError(f"--strength {strength} found, at least {least:.3f} expected: no step is left; give more of it")
    return int(steps[0])


def least_strength(table: Table) -> float:
    """The least share of the schedule that leaves a step, rounded up to thousandths."""
    return ceil(1000 * float(table.timesteps[-1] / table.timesteps[0])) / 1000


def grow(mask: Mask, pixels: int) -> Mask:
    """A mask (H, W) of 0 and 255 that reaches so many pixels further in every direction (a square)."""
    height, width = mask.shape
    wide = np.pad(mask, pixels)
    rows = np.maximum.reduce([wide[shift : shift + height] for shift in range(2 * pixels + 1)])
    return np.asarray(np.maximum.reduce([rows[:, shift : shift + width] for shift in range(2 * pixels + 1)]))


def edge(side: int) -> int:
    """Width of the soft edge in pixels of an image of this side."""
    return max(1, round(side * EDGE))


def soft(mask: Mask, width: int) -> Floats:
    """How much of the generated picture (H, W) float32 in [0, 1]: 1 on the mask, falling to 0 at `width` pixels from it."""
    levels = np.zeros(mask.shape, np.float32)
    for _ in range(width):  # a pixel at distance d is in the masks grown d times and more
        levels += mask > 0
        mask = grow(mask, 1)
    return np.asarray(levels / np.float32(width), np.float32)


def at_latent(mask: Mask, side: int) -> Floats:
    """A mask (H, W) at the latent side (side, side) float32: 1 in every cell that it touches."""
    cell = mask.shape[0] // side
    return np.asarray(mask.reshape(side, cell, side, cell).max(axis=(1, 3)) > 0, np.float32)


def blend(latents: Floats, kept: Floats, masks: Floats) -> Floats:
    """Latents (n, C, h, w) inside masks (n, h, w) of 0 and 1, those of the photographs, at the same noise level, outside."""
    inside = masks[:, None]
    return np.asarray(inside * latents + (1 - inside) * kept, np.float32)


def paste(image: Pixels, photograph: Pixels, amount: Floats) -> Pixels:
    """The image (H, W, 3) where `amount` (H, W) is 1, the photograph, to the bit, where it is 0, and both in between."""
    share = amount[..., None]
    mixed = share * image + (1 - share) * photograph
    return np.asarray(np.floor(mixed + np.float32(0.5)), np.uint8)


def patch(stream: Stream, side: int) -> Mask:
    """A random ellipse (side, side) of 0 and 255, where a normal picture is joined with its photograph as pairs are.

    So the joint is no sign of an anomaly. Half axes are 1/32 to 1/8 of the side, drawn with the centre from the stream's `PATCH`.
    """
    x, y, wide, high = (word / WORD for word in stream.raw(PATCH, 4).tolist())
    rows, columns = np.ogrid[:side, :side]
    half_axes = [side * (1 / 32 + share * (1 / 8 - 1 / 32)) for share in (wide, high)]
    inside = ((columns - x * side) / half_axes[0]) ** 2 + ((rows - y * side) / half_axes[1]) ** 2 <= 1
    return np.where(inside, np.uint8(255), np.uint8(0))
