"""What goes wrong with a bottle: a large break, a chip, foreign matter."""

from __future__ import annotations

import numpy as np

from seas_train.data.demo.bottle import Bottle, paint
from seas_train.data.demo.canvas import Canvas, Picture, Plane, bump, lerp, ramp, smooth
from seas_train.data.demo.matter import foreign
from seas_train.data.demo.outlines import depth_in, facets, jagged
from seas_train.data.demo.product import Damage, Palette, Product, Scene, colour

_FULL_TURN = np.float32(2 * np.pi)


def broken_large(canvas: Canvas, palette: Palette, scene: Scene, rng: np.random.Generator) -> Damage:
    """A chunk broken out of the wall down to the bright rim: 30 to 60 of 128 pixels long."""
    bottle: Bottle = scene.place
    half, theta = rng.uniform(0.36, 0.56), rng.uniform(-np.pi, np.pi)
    deep = rng.uniform(1.1, 1.5) * (1 - bottle.rim) * bottle.radius
    part = canvas.near(*bottle.at(0.99, theta), 1.5 * max(half, deep))
    bottle = bottle.within(part.area)
    u, v = _along_wall(bottle, 0.99, theta, half, deep)
    u = u + np.float32(rng.uniform(-0.35, 0.35)) * v
    depth = depth_in(u, v, jagged(rng, int(rng.integers(9, 14)), 0.42))
    surface = _fracture(part, palette, (u, v), depth, rng)
    if rng.random() < 0.85:
        gone = depth_in(u, v, jagged(rng, int(rng.integers(9, 14)), 0.35) * rng.uniform(0.55, 0.8))
        surface = _hole(part, palette, surface, np.minimum(gone, depth - np.float32(0.12)), r=bottle.r, rng=rng)
    return Damage(part.area, _on_glass(part, bottle, depth * np.float32(min(half, deep))), surface)


def broken_small(canvas: Canvas, palette: Palette, scene: Scene, rng: np.random.Generator) -> Damage:
    """A chip on the bright rim or the outer edge: 10 to 20 of 128 pixels across."""
    bottle: Bottle = scene.place
    half, deep, theta = rng.uniform(0.12, 0.16), rng.uniform(0.115, 0.135), rng.uniform(-np.pi, np.pi)
    at = bottle.rim + 0.02 if rng.random() < 0.6 else 0.92
    part = canvas.near(*bottle.at(at, theta), 1.3 * half)
    bottle = bottle.within(part.area)
    u, v = _along_wall(bottle, at, theta, half, deep)
    depth = depth_in(u, v, jagged(rng, int(rng.integers(6, 9)), 0.3))
    surface = _fracture(part, palette, (u, v), depth, rng)
    return Damage(part.area, _on_glass(part, bottle, depth * np.float32(min(half, deep))), surface)


def contamination(canvas: Canvas, palette: Palette, scene: Scene, rng: np.random.Generator) -> Damage:
    """A blob or smear of foreign matter on the inner area or the rim: 10 to 35 of 128 pixels across."""
    del palette
    bottle: Bottle = scene.place
    centre = bottle.at(bottle.rim * np.sqrt(rng.random()), rng.uniform(-np.pi, np.pi))
    return foreign(canvas, scene.picture, centre, rng.uniform(0.28, 0.52), light=bottle.light, rng=rng)


def _along_wall(bottle: Bottle, at: float, theta: float, half: float, deep: float) -> tuple[Plane, Plane]:
    """Coordinates along (per `half`) and across (per `deep`, outwards) the wall, from (`at`, `theta`)."""
    turn = np.remainder(bottle.theta - np.float32(theta) + _FULL_TURN / 2, _FULL_TURN) - _FULL_TURN / 2
    scale = bottle.radius
    return turn * np.float32(at * scale / half), (bottle.r - np.float32(at)) * np.float32(scale / deep)


def _on_glass(canvas: Canvas, bottle: Bottle, depth: Plane) -> Plane:
    return np.minimum(canvas.cover(depth), canvas.cover((1 - bottle.r) * np.float32(bottle.radius)))


def _fracture(canvas: Canvas, palette: Palette, at: tuple[Plane, Plane], depth: Plane, rng: np.random.Generator) -> Picture:
    """The broken face: glossy facets with conchoidal ripples, a bright line where the break begins."""
    u, v = at
    body, accent = np.asarray(palette.body, np.float32), np.asarray(palette.accent, np.float32)
    aim = rng.uniform(-np.pi, np.pi)
    slope = u * np.float32(np.cos(aim)) + v * np.float32(np.sin(aim))
    waves = np.sin((depth + np.float32(0.3) * slope) * np.float32(rng.uniform(14, 24)))
    shade = facets(u, v, rng, int(rng.integers(8, 13))) + np.float32(0.10) * waves + np.float32(0.22) * slope + np.float32(0.06)
    shade += np.float32(0.05) * canvas.field(rng, 44)
    np.maximum(shade, np.float32(0.95) * bump(depth, 0.05, 0.035) * smooth(slope, -0.9, 0.5), out=shade)
    glint = np.minimum(accent * np.float32(1.04), 1)
    return ramp(
        shade,
        [
            body * np.float32(0.25),
            body * np.float32(0.75),
            (body * np.float32(1.3) + glint) / 2,
            glint,
            glint,
        ],
    )


def _hole(canvas: Canvas, palette: Palette, surface: Picture, gone: Plane, *, r: Plane, rng: np.random.Generator) -> Picture:
    """The table seen where the glass is missing, in the shadow of the broken edge."""
    table = np.asarray(palette.background, np.float32)
    lit = np.float32(0.96) - np.float32(0.30) * bump(gone, 0.0, 0.10) + np.float32(0.015) * canvas.field(rng, 8)
    lit -= np.float32(0.15) * np.exp(np.minimum(r - 1, 0) * 20)
    return lerp(surface, table * lit[..., None], smooth(gone, 0.0, 0.04))


def wild(rng: np.random.Generator) -> Palette:
    """Another bottle: any glass, proportions, table and light."""
    bright_table = rng.random() < 0.75
    table = rng.uniform(0.65, 0.97) if bright_table else rng.uniform(0.1, 0.6)
    return Palette(
        body=colour(rng.random(), rng.uniform(0.2, 0.9), rng.uniform(0.35, 0.9)),
        accent=colour(rng.random(), rng.uniform(0.0, 0.22), rng.uniform(0.8, 1.0)),
        background=colour(rng.random(), rng.uniform(0.0, 0.2), table),
        light=rng.uniform(-np.pi, np.pi),
        shape=tuple(rng.random(6)),
    )


BOTTLE = Product(
    house=Palette((0.60, 0.33, 0.11), (0.97, 0.92, 0.82), (0.88, 0.88, 0.86), -2.2),
    wild=wild,
    paint=paint,
    defects={"broken_large": broken_large, "broken_small": broken_small, "contamination": contamination},
)
