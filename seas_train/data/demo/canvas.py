"""A supersampled drawing surface: coordinates, soft edges, smooth random fields and outlines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
"""(S, S) float32, S the supersampled side."""
Picture = NDArray[np.float32]
"""(S, S, 3) float32, RGB in 0..1 (display values)."""

SUPERSAMPLING = 2


@dataclass(frozen=True)
class Canvas:
    """A square surface of `side` = size x supersampling samples, coordinates -1..1, y down."""

    size: int

    @property
    def side(self) -> int:
        """Samples along one side."""
        return self.size * SUPERSAMPLING

    @property
    def sample(self) -> float:
        """Width of one sample in coordinates."""
        return 2.0 / self.side

    @cached_property
    def axis(self) -> NDArray[np.float32]:
        """(S,) sample centres."""
        return ((np.arange(self.side) + 0.5) * self.sample - 1.0).astype(np.float32)

    def local(self, cx: float, cy: float, angle: float = 0.0) -> tuple[Plane, Plane]:
        """Coordinates relative to (cx, cy), the first axis turned to `angle`."""
        x, y = self.axis[None, :] - np.float32(cx), self.axis[:, None] - np.float32(cy)
        cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        return x * cos + y * sin, y * cos - x * sin

    def cover(self, depth: Plane) -> Plane:
        """Coverage 0..1 of the region where the signed `depth` (in coordinates) is positive."""
        return np.clip(depth * np.float32(1.0 / self.sample) + np.float32(0.5), 0.0, 1.0)

    def field(self, rng: np.random.Generator, cells: int) -> Plane:
        """Smooth random field, mean about 0, deviation about 1, features of 2 / `cells`."""
        knots = rng.standard_normal((cells + 3, cells + 3)).astype(np.float32)
        weights = _spline(self.side, cells)
        return (weights @ knots @ weights.T) * np.float32(2.1)

    def fractal(self, rng: np.random.Generator, cells: int, octaves: int = 3) -> Plane:
        """Sum of fields, each twice as fine and half as strong as the one before."""
        total = self.field(rng, cells)
        for octave in range(1, octaves):
            total += self.field(rng, cells << octave) * np.float32(0.5**octave)
        return total

    def reduce(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mean over the samples of each pixel: (S, S, ...) -> (size, size, ...)."""
        k = SUPERSAMPLING
        total = samples[0::k, 0::k].copy()
        for i in range(1, k * k):
            total += samples[i // k :: k, i % k :: k]
        return total / np.float32(k * k)


@lru_cache(maxsize=64)
def _spline(side: int, cells: int) -> NDArray[np.float32]:
    """(side, cells + 3) uniform cubic B-spline weights of each sample over the knots."""
    at = (np.arange(side) + 0.5) / side * cells
    first = np.minimum(at.astype(int), cells - 1)
    t = at - first
    basis = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    weights = np.zeros((side, cells + 3))
    for k, values in enumerate(basis):
        weights[np.arange(side), first + k] = values / 6
    return weights.astype(np.float32)


def lerp(a: NDArray[np.float32], b: NDArray[np.float32], t: NDArray[np.float32]) -> NDArray[np.float32]:
    """`a` where t is 0, `b` where t is 1; t (S, S) is spread over colour channels."""
    return a + (b - a) * t[..., None]


def bump(x: NDArray[np.float32], centre: float, width: float) -> NDArray[np.float32]:
    """Gaussian bell of height 1."""
    return np.exp(-0.5 * ((x - np.float32(centre)) / np.float32(width)) ** 2)


def smooth(x: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    """Smooth step, 0 at `low` and 1 at `high`."""
    t = np.clip((x - np.float32(low)) / np.float32(high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def relief(height: Plane, light: float, reach: int) -> Plane:
    """Shading of a bumpy surface, about -1..1: its rise towards `light` over `reach` samples."""
    rise = (height - np.roll(height, reach, 1)) * np.float32(-np.cos(light))
    rise += (height - np.roll(height, reach, 0)) * np.float32(-np.sin(light))
    return rise / np.float32(2 * np.abs(rise).mean() + 1e-6)


def grey(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of the colour channels."""
    return (picture[..., 0] + picture[..., 1] + picture[..., 2]) * np.float32(1 / 3)
