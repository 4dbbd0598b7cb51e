"""A supersampled drawing surface: coordinates, soft edges, smooth random fields and outlines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.floating[Any]]
"""(S, S) float32, S the supersampled side."""
Picture = NDArray[np.floating[Any]]
"""(S, S, 3) float32, RGB in 0..1 (display values)."""

SUPERSAMPLING = 2


@dataclass(frozen=True)
class Canvas:
    """A square of `side` = size x supersampling samples, coordinates -1..1, y down; or the `area` of one.

    (S, S) below stands for the area's own shape.
    """

    size: int
    area: tuple[slice, slice] = (slice(None), slice(None))

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

    def near(self, cx: float, cy: float, reach: float) -> Canvas:
        """The part within `reach` of (cx, cy), whole pixels; at least one."""

        def span(centre: float) -> slice:
            low = int((centre - reach + 1) / 2 * self.size)
            high = int((centre + reach + 1) / 2 * self.size) + 2
            low = min(max(low, 0), self.size - 1)
            return slice(low * SUPERSAMPLING, min(max(high, low + 1), self.size) * SUPERSAMPLING)

        return Canvas(self.size, (span(cy), span(cx)))

    def around(self, points: NDArray[np.float64], margin: float) -> Canvas:
        """The part within `margin` of the box round `points` (k, 2)."""
        low, high = points.min(axis=0), points.max(axis=0)
        middle, reach = (low + high) / 2, float((high - low).max()) / 2
        return self.near(float(middle[0]), float(middle[1]), reach + margin)

    def local(self, cx: float, cy: float, angle: float = 0.0) -> tuple[Plane, Plane]:
        """Coordinates relative to (cx, cy), the first axis turned to `angle`."""
        rows, cols = self.area
        x, y = self.axis[None, cols] - np.float32(cx), self.axis[rows, None] - np.float32(cy)
        cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        return x * cos + y * sin, y * cos - x * sin

    def cover(self, depth: Plane) -> Plane:
        """Coverage 0..1 of the region where the signed `depth` (in coordinates) is positive."""
        return np.asarray(np.clip(depth * np.float32(1.0 / self.sample) + np.float32(0.5), 0.0, 1.0))

    def field(self, rng: np.random.Generator, cells: int) -> Plane:
        """Smooth random field, mean about 0, deviation about 1, features of 2 / `cells`."""
        knots = rng.standard_normal((cells + 3, cells + 3)).astype(np.float32)
        first, weights = _spline(self.side, cells)
        rows, cols = self.area
        across = weights[0, cols] * knots[:, first[cols]]
        for k in range(1, 4):
            across += weights[k, cols] * knots[:, first[cols] + k]
        total = weights[0, rows, None] * across[first[rows]]
        for k in range(1, 4):
            total += weights[k, rows, None] * across[first[rows] + k]
        return total * np.float32(2.1)

    def fractal(self, rng: np.random.Generator, cells: int, octaves: int = 3) -> Plane:
        """Sum of fields, each twice as fine and half as strong as the one before."""
        total = self.field(rng, cells)
        for octave in range(1, octaves):
            total += self.field(rng, cells << octave) * np.float32(0.5**octave)
        return total

    def reduce(self, samples: Picture) -> Picture:
        """Mean over the samples of each pixel: (S, S, ...) -> (size, size, ...)."""
        k = SUPERSAMPLING
        total = samples[0::k, 0::k].copy()
        for i in range(1, k * k):
            total += samples[i // k :: k, i % k :: k]
        return total / np.float32(k * k)

    def spread(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Each pixel's value for all its samples: (size, size) -> (S, S)."""
        return pixels.repeat(SUPERSAMPLING, axis=0).repeat(SUPERSAMPLING, axis=1)


@lru_cache(maxsize=64)
def _spline(side: int, cells: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """First knot (side,) and cubic B-spline weights (4, side) of each sample.

    Four products of rows, not one of matrices: threads of a BLAS cost more than they save here.
    """
    at = (np.arange(side) + 0.5) / side * cells
    first = np.minimum(at.astype(np.intp), cells - 1)
    t = at - first
    basis = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    return first, (np.stack(basis) / 6).astype(np.float32)


def lerp(a: Picture, b: Picture, t: Plane) -> Picture:
    """`a` where t is 0, `b` where t is 1; t (S, S) is spread over the channels, a and b may be one colour."""
    mixed = (b - a) * t[..., None]
    mixed += a
    return mixed


def ramp(shade: Plane, colours: list[Picture]) -> Picture:
    """Colours for a `shade` of 0..1 along equally spaced `colours`, each (3,)."""
    at = np.linspace(0, 1, 256)
    stops = np.linspace(0, 1, len(colours))
    channels = [np.interp(at, stops, channel) for channel in np.transpose(colours)]
    table = np.stack(channels, axis=1).astype(np.float32)
    return np.asarray(table.take(np.clip(shade * np.float32(255), 0, 255).astype(np.int32), axis=0))


def bump(x: Plane, centre: float, width: float) -> Plane:
    """Gaussian bell of height 1."""
    return np.asarray(np.exp(-0.5 * ((x - np.float32(centre)) / np.float32(width)) ** 2))


def smooth(x: Plane, low: float, high: float) -> Plane:
    """Smooth step, 0 at `low` and 1 at `high`."""
    t = np.clip((x - np.float32(low)) / np.float32(high - low), 0.0, 1.0)
    return np.asarray(t * t * (3 - 2 * t))


def relief(height: Plane, light: float, reach: int) -> Plane:
    """Shading of a bumpy surface, about -1..1: its rise towards `light` over `reach` samples."""
    rise = (height - np.roll(height, reach, 1)) * np.float32(-np.cos(light))
    rise += (height - np.roll(height, reach, 0)) * np.float32(-np.sin(light))
    return np.asarray(rise / np.float32(2 * np.abs(rise).mean() + 1e-6))


def grey(picture: Plane) -> Plane:
    """Mean of the colour channels."""
    return (picture[..., 0] + picture[..., 1] + picture[..., 2]) * np.float32(1 / 3)
