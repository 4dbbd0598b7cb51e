"""The nut: a bright hexagonal steel nut on a dark mat, scratched or with a bent corner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seas_train.data.demo.canvas import Canvas, Picture, Plane, bump, lerp, smooth
from seas_train.data.demo.outlines import stroke, walk
from seas_train.data.demo.product import Damage, Palette, Product, Scene, colour

_SIXTH = np.pi / 3


@dataclass(frozen=True)
class Nut:
    """Where the nut lies: centre, turn of a corner, distance of the flats, radius of the hole, surface.

    `brushed` (S, S) is the grain of the steel, `mat` (S, S, 3) the table without the nut.
    """

    cx: float
    cy: float
    turn: float
    flat: float
    hole: float
    light: float
    brushed: Plane
    mat: Picture


def paint(canvas: Canvas, palette: Palette, rng: np.random.Generator) -> Scene:
    """Paint one nut on its mat."""
    shape = palette.shape
    cx, cy = rng.normal(0, 0.015, 2)
    turn = (shape[0] - 0.5) * _SIXTH + rng.normal(0, 0.05)
    flat = 0.60 + 0.16 * shape[1] + rng.normal(0, 0.005)
    hole = flat * (0.40 + 0.24 * shape[2]) + rng.normal(0, 0.004)
    light = palette.light + rng.normal(0, 0.1)
    x, y = canvas.local(cx, cy)
    brushed = np.float32(0.5) * canvas.field(rng, 9) + np.float32(0.35) * canvas.field(rng, 56)
    lamp = 1 + np.float32(0.04) * canvas.field(rng, 2) + np.float32(0.05) * canvas.field(rng, 50)
    near = np.float32(0.45) * np.exp(-np.maximum(np.hypot(x, y) - np.float32(flat), 0) * 9)
    mat = (lamp * (1 - near))[..., None] * np.asarray(palette.background, np.float32)
    nut = Nut(cx, cy, turn, flat, hole, light, brushed, mat)
    return Scene(_steel(canvas, palette, nut, x, y), nut)


def _hexagon(nut: Nut, x: Plane, y: Plane) -> Plane:
    """Depth inside the hexagon at (x, y), which are relative to the centre."""
    depth = np.full(np.broadcast_shapes(x.shape, y.shape), np.inf, np.float32)
    for side in range(6):
        normal = nut.turn + (side + 0.5) * _SIXTH
        np.minimum(
            depth,
            np.float32(nut.flat) - (x * np.float32(np.cos(normal)) + y * np.float32(np.sin(normal))),
            out=depth,
        )
    return depth


def _steel(canvas: Canvas, palette: Palette, nut: Nut, x: Plane, y: Plane) -> Picture:
    """The nut's picture where its own coordinates are (x, y), the mat round it."""
    body, accent = np.asarray(palette.body, np.float32), np.asarray(palette.accent, np.float32)
    r = np.hypot(x, y)
    facing = (x * np.float32(np.cos(nut.light)) + y * np.float32(np.sin(nut.light))) / np.maximum(r, np.float32(1e-6))
    depth, ring = _hexagon(nut, x, y), nut.flat * (0.90 + 0.08 * palette.shape[3])
    shade = np.float32(0.70) + np.float32(0.20) * facing * facing
    shade += np.float32(0.05) * nut.brushed[canvas.area]
    shade += smooth(r, ring - 0.01, ring + 0.01) * (np.float32(0.30) * facing - np.float32(0.22))
    shade += bump(depth, 0.012, 0.012) * (np.float32(0.30) * facing)
    shade -= smooth(r, nut.hole + 0.055, nut.hole + 0.035) * (np.float32(0.35) * facing + np.float32(0.30))
    turns = np.sin((r - np.float32(nut.hole)) * np.float32(2 * np.pi / 0.032))
    thread = (np.float32(0.16) + np.float32(0.10) * turns) * (1 - np.float32(0.5) * facing)
    shade += (thread - shade) * smooth(r, nut.hole + 0.012, nut.hole)
    glint = bump(r, ring - 0.012, 0.012) * np.exp((facing - 1) * 3)
    glint += bump(r, nut.hole + 0.06, 0.010) * np.exp((-facing - 1) * 3)
    picture = lerp(shade[..., None] * body, accent, np.float32(0.75) * np.minimum(glint, 1))
    seen = canvas.cover(np.minimum(depth, r - np.float32(nut.hole - 0.085)))
    under = np.float32(0.55) + np.float32(0.45) * (r > nut.hole)
    return lerp(nut.mat[canvas.area] * under[..., None], picture, seen)


def scratch(canvas: Canvas, palette: Palette, scene: Scene, rng: np.random.Generator) -> Damage:
    """One to three bright gouges on the steel, 20 to 55 of 128 pixels long."""
    nut: Nut = scene.place
    middle, angle, length = (nut.flat + nut.hole) / 2, rng.uniform(-np.pi, np.pi), rng.uniform(0.45, 0.85)
    heading = angle + np.pi / 2 + rng.normal(0, 0.5)
    along = np.array([np.cos(heading), np.sin(heading)])
    centre = np.array([nut.cx + middle * np.cos(angle), nut.cy + middle * np.sin(angle)])
    gouges = []
    for _ in range(int(rng.integers(1, 4))):
        reach = length * rng.uniform(0.7, 1.0)
        start = centre - along * reach / 2 + along[::-1] * [-1, 1] * rng.normal(0, 0.05)
        gouges.append(walk(rng, start, heading + rng.normal(0, 0.06), reach, steps=6, bend=0.07))
    part = canvas.around(np.concatenate(gouges), 0.1)
    x, y = part.local(nut.cx, nut.cy)
    on_steel = part.cover(np.minimum(_hexagon(nut, x, y), np.hypot(x, y) - np.float32(nut.hole)))
    taper = np.array([0.4, 0.9, 1, 1, 1, 0.8, 0.3])
    depth = np.max([stroke(part, path, rng.uniform(0.028, 0.042) * taper) for path in gouges], axis=0)
    depth += np.float32(0.005) * part.field(rng, 50)
    dark = np.asarray(palette.body, np.float32) * np.float32(0.5)
    bright = smooth(depth, 0.002, 0.016) * (1 + np.float32(0.12) * np.minimum(part.field(rng, 40), 0))
    return Damage(
        part.area,
        np.minimum(part.cover(depth), on_steel),
        lerp(dark, np.asarray(palette.accent, np.float32), bright),
    )


def bent(canvas: Canvas, palette: Palette, scene: Scene, rng: np.random.Generator) -> Damage:
    """A corner pushed in, out or aside: the steel round it is displaced and tilted against the light."""
    nut: Nut = scene.place
    angle = nut.turn + int(rng.integers(6)) * _SIXTH + rng.normal(0, 0.06)
    corner = nut.flat / np.cos(np.pi / 6)
    cx, cy = nut.cx + 0.97 * corner * np.cos(angle), nut.cy + 0.97 * corner * np.sin(angle)
    reach, amount = rng.uniform(0.30, 0.40), rng.uniform(0.16, 0.22)
    push = angle + (np.pi if rng.random() < 0.75 else 0.0) + rng.uniform(-0.6, 0.6)
    part = canvas.near(cx, cy, reach)
    du, dv = part.local(cx, cy)
    near = np.clip(1 - (du * du + dv * dv) / np.float32(reach * reach), 0, 1)
    x, y = part.local(nut.cx, nut.cy)
    weight = near * near * np.float32(amount)
    moved_x, moved_y = x - weight * np.float32(np.cos(push)), y - weight * np.float32(np.sin(push))
    steel = np.maximum(_hexagon(nut, x, y), _hexagon(nut, moved_x, moved_y))
    steel = np.minimum(steel, np.hypot(x, y) - np.float32(nut.hole + 0.07))
    picture = _steel(part, palette, nut, moved_x, moved_y)
    tilt = 1 + np.float32(rng.choice([-0.5, 0.3])) * smooth(near, 0.05, 0.5) * part.cover(_hexagon(nut, moved_x, moved_y))
    cover = np.minimum(part.cover(steel), part.cover(np.float32(0.97 * reach) - np.hypot(du, dv)))
    return Damage(part.area, cover, picture * tilt[..., None])


def wild(rng: np.random.Generator) -> Palette:
    """Another nut: steel, brass, copper or blackened; any mat; another hole and turn."""
    hue, saturation = ((rng.random(), 0.08), (0.12, 0.5), (0.06, 0.5), (rng.random(), 0.3))[int(rng.integers(4))]
    value = rng.uniform(0.45, 0.95)
    mat = rng.uniform(0.06, 0.35) if value > 0.7 or rng.random() < 0.5 else rng.uniform(0.7, 0.95)
    return Palette(
        body=colour(hue, saturation * rng.uniform(0.6, 1.2), value),
        accent=colour(hue, saturation * 0.3, 1.0),
        background=colour(rng.random(), rng.uniform(0.0, 0.5), mat),
        light=rng.uniform(-np.pi, np.pi),
        shape=tuple(rng.random(6)),
    )


NUT = Product(
    house=Palette((0.72, 0.73, 0.75), (1.0, 1.0, 1.0), (0.13, 0.14, 0.16), -2.3),
    wild=wild,
    paint=paint,
    defects={"scratch": scratch, "bent": bent},
)
