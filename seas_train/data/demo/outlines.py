"""Random outlines, polylines and broken surfaces: the geometry of defects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seas_train.data.demo.canvas import Canvas, Plane

Radii = NDArray[np.float64]


def jagged(rng: np.random.Generator, corners: int, rough: float) -> Radii:
    """(2 x corners,) radii of a fracture: teeth of random depth up to `rough` (0..1), at most 1."""
    teeth = 1 - rough * rng.random(corners)
    between = (teeth + np.roll(teeth, -1)) / 2 - rough * rng.uniform(-0.10, 0.22, corners)
    radii = np.stack([teeth, between], axis=1).ravel()
    return np.asarray(radii / radii.max())


def rounded(rng: np.random.Generator, rough: float) -> Radii:
    """(256,) radii of a soft blob: low harmonics, at most 1, `rough` (0..1) the unevenness."""
    angle = np.linspace(-np.pi, np.pi, 256, endpoint=False)
    radii = np.zeros(256)
    for k in range(1, 6):
        radii += rng.standard_normal() / k * np.cos(k * angle + rng.uniform(0, 2 * np.pi))
    radii -= radii.min()
    return np.asarray(1.0 - rough + rough * radii / radii.max())


def depth_in(u: Plane, v: Plane, radii: Radii) -> Plane:
    """Depth inside the closed outline whose radius at equally spaced angles is `radii`; negative outside."""
    knots = np.linspace(-np.pi, np.pi, len(radii) + 1)
    table = np.interp(np.linspace(-np.pi, np.pi, 2049), knots, np.append(radii, radii[0])).astype(np.float32)
    index = ((np.arctan2(v, u) + np.float32(np.pi)) * np.float32(2048 / (2 * np.pi))).astype(np.int32)
    return np.asarray(table.take(index) - np.hypot(u, v))


def facets(u: Plane, v: Plane, rng: np.random.Generator, count: int) -> Plane:
    """Brightness 0..1 of `count` flat facets (Voronoi cells over -1..1), each with its own slope."""
    best = np.full(u.shape, np.inf, np.float32)
    shade = np.zeros(u.shape, np.float32)
    for _ in range(count):
        a, b = rng.uniform(-1, 1, 2)
        level, along, across = rng.uniform(0.05, 0.95), *rng.uniform(-0.9, 0.9, 2)
        du, dv = u - np.float32(a), v - np.float32(b)
        distance = du * du + dv * dv
        nearer = distance < best
        np.copyto(best, distance, where=nearer)
        np.copyto(shade, np.float32(level) + np.float32(along) * du + np.float32(across) * dv, where=nearer)
    return np.clip(shade, 0.0, 1.0)


def walk(
    rng: np.random.Generator,
    start: NDArray[np.float64],
    heading: float,
    length: float,
    *,
    steps: int,
    bend: float,
) -> NDArray[np.float64]:
    """(steps + 1, 2) points of a path that sets out to `heading` and turns by about `bend` radians a step."""
    headings = heading + np.append(0.0, np.cumsum(rng.normal(0, bend, steps - 1)))
    strides = length / steps * rng.uniform(0.7, 1.3, steps)
    moves = np.stack([np.cos(headings), np.sin(headings)], axis=1) * strides[:, None]
    return np.concatenate([[start], start + np.cumsum(moves, axis=0)])


def stroke(canvas: Canvas, points: NDArray[np.float64], widths: NDArray[np.float64]) -> Plane:
    """Depth inside a line through `points` (k, 2) whose half width at each of them is `widths` (k,)."""
    depth = np.full_like(canvas.local(0, 0)[0], -np.inf)
    for (ax, ay), (bx, by), start, end in zip(points, points[1:], widths, widths[1:], strict=False):
        length = max(float(np.hypot(bx - ax, by - ay)), 1e-6)
        along, across = canvas.local(ax, ay, float(np.arctan2(by - ay, bx - ax)))
        t = np.clip(along, 0.0, np.float32(length))
        half = np.float32(start) + t * np.float32((end - start) / length)
        np.maximum(depth, half - np.hypot(along - t, across), out=depth)
    return depth
