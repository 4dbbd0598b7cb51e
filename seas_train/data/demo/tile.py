"""The tile: polished speckled stone that fills the frame, with a crack or an oil stain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seas_train.data.demo.canvas import Canvas, Picture, Plane, bump, lerp, relief, smooth
from seas_train.data.demo.outlines import depth_in, rounded, stroke, walk
from seas_train.data.demo.product import Damage, Palette, Product, Scene, colour


@dataclass(frozen=True)
class Stone:
    """The direction of the light, radians."""

    light: float


def paint(canvas: Canvas, palette: Palette, rng: np.random.Generator) -> Scene:
    """Paint one tile: clouds, then dark and light grains, then a soft lamp."""
    shape = palette.shape
    body, accent, dark = (np.asarray(c, np.float32) for c in (palette.body, palette.accent, palette.background))
    light = palette.light + rng.normal(0, 0.1)
    coarse, fine = round(14 + 24 * shape[0]), round(34 + 40 * shape[0])
    clouds = 1 + np.float32(0.02 + 0.08 * shape[1]) * canvas.fractal(rng, 5, 3)
    picture = (clouds * np.float32(1 + rng.normal(0, 0.03)))[..., None] * body
    threshold = 1.5 - 1.2 * shape[2]
    grains = smooth(canvas.field(rng, coarse) + np.float32(0.5) * canvas.field(rng, fine), threshold, threshold + 0.35)
    picture = lerp(picture, dark, np.float32(0.85) * grains)
    threshold = 1.7 - 1.0 * shape[3]
    grains = smooth(canvas.field(rng, coarse + 6), threshold, threshold + 0.35)
    picture = lerp(picture, accent, np.float32(0.75) * grains)
    x, _ = canvas.local(0, 0, light)
    lamp = 1 + np.float32(0.05) * x + np.float32(0.025) * canvas.field(rng, 2) + np.float32(0.03) * canvas.field(rng, 60)
    return Scene(picture * lamp[..., None], Stone(light))


def crack(canvas: Canvas, palette: Palette, scene: Scene, rng: np.random.Generator) -> Damage:
    """A ragged crack across much of the tile, 4 to 8 of 128 pixels wide, often with a branch."""
    stone: Stone = scene.place
    start = rng.uniform(-0.55, 0.55, 2)
    heading = float(np.arctan2(-start[1], -start[0]) + rng.normal(0, 0.7))
    paths = [walk(rng, start, heading, rng.uniform(0.8, 1.3), steps=9, bend=0.35)]
    for _ in range(int(rng.integers(0, 3))):
        turn = rng.choice([-1, 1]) * rng.uniform(0.6, 1.1)
        paths.append(walk(rng, paths[0][rng.integers(2, 7)], heading + turn, 0.5, steps=5, bend=0.35))
    part = canvas.around(np.concatenate(paths), 0.12)
    widths = [np.append(rng.uniform(0.030, 0.065, 9), 0.012)] + [np.linspace(0.035, 0.012, 6)] * 2
    depth = np.max([stroke(part, *line) for line in zip(paths, widths, strict=False)], axis=0)
    depth += np.float32(0.010) * part.field(rng, 40)
    dark = np.asarray(palette.background, np.float32) * np.float32(rng.uniform(0.2, 0.5))
    inside = lerp(scene.picture[part.area] * np.float32(0.72), dark, smooth(depth, 0.0, 0.016))
    wall = np.clip(relief(-smooth(depth, 0.0, 0.03), stone.light, max(1, part.side // 128)), 0, 2)
    glint = np.float32(0.35) * wall * bump(depth, 0.006, 0.008)
    return Damage(part.area, part.cover(depth), lerp(inside, np.asarray(palette.accent, np.float32), glint))


def oil(canvas: Canvas, palette: Palette, scene: Scene, rng: np.random.Generator) -> Damage:
    """A glossy stain, 25 to 55 of 128 pixels across, the stone dark and wet under it."""
    del palette
    cx, cy, turn = *rng.uniform(-0.5, 0.5, 2), rng.uniform(-np.pi, np.pi)
    half, flat = rng.uniform(0.30, 0.46), rng.uniform(0.6, 1.0)
    part = canvas.near(cx, cy, 1.25 * half)
    u, v = part.local(cx, cy, turn)
    radii = rounded(rng, rng.uniform(0.2, 0.55))
    depth = depth_in(u / np.float32(half), v / np.float32(half * flat), radii) * np.float32(half * flat)
    return Damage(part.area, part.cover(depth), _wet(part, scene, depth, rng))


def _wet(canvas: Canvas, scene: Scene, depth: Plane, rng: np.random.Generator) -> Picture:
    film = np.asarray(colour(rng.uniform(0.05, 0.14), rng.uniform(0.3, 0.7), rng.uniform(0.4, 0.62)), np.float32)
    picture = scene.picture[canvas.area] * film
    picture = picture * (1 + np.float32(0.12) * smooth(depth, 0.0, 0.05) + np.float32(0.05) * canvas.field(rng, 8))[..., None]
    stone: Stone = scene.place
    gloss = relief(
        np.sqrt(np.maximum(depth, 0)) + np.float32(0.04) * canvas.field(rng, 9),
        stone.light,
        max(1, canvas.side // 128),
    )
    shine = np.float32(0.55) * smooth(gloss, 1.3, 3.2) * smooth(depth, 0.004, 0.02)
    return lerp(picture, np.ones(3, np.float32), shine)


def wild(rng: np.random.Generator) -> Palette:
    """Another stone: any colour, coarser or finer, more or fewer grains."""
    hue, value = rng.random(), rng.uniform(0.4, 0.85)
    return Palette(
        body=colour(hue, rng.uniform(0.0, 0.45), value),
        accent=colour(hue + rng.normal(0, 0.1), rng.uniform(0.0, 0.3), min(1.0, value + rng.uniform(0.1, 0.3))),
        background=colour(rng.random(), rng.uniform(0.0, 0.5), value * rng.uniform(0.1, 0.6)),
        light=rng.uniform(-np.pi, np.pi),
        shape=tuple(rng.random(6)),
    )


TILE = Product(
    house=Palette((0.66, 0.65, 0.62), (0.86, 0.85, 0.82), (0.16, 0.15, 0.15), -2.0),
    wild=wild,
    paint=paint,
    defects={"crack": crack, "oil": oil},
)
