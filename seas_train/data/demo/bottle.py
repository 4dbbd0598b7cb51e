"""The bottle: amber glass seen from above, lit by a ring, on a light table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seas_train.data.demo.canvas import (
    Canvas,
    Picture,
    Plane,
    bump,
    facets,
    grey,
    jagged,
    lerp,
    lobe,
    outline,
    rounded,
    smooth,
)
from seas_train.data.demo.product import Damage, Palette, Product, Scene, colour

_STEPS = 2048


@dataclass(frozen=True)
class Rings:
    """Where the bottle stands: centre, outer radius, and `r` (1 at the outer edge) and `theta` everywhere.

    `rim` and `mouth` are the middle of the bright rim and the edge of the dark centre, in units of `r`.
    """

    cx: float
    cy: float
    radius: float
    rim: float
    mouth: float
    r: Plane
    theta: Plane


def _profile(palette: Palette, rim: float, mouth: float, edge: float, tint: float) -> Picture:
    """(_STEPS, 3) colours along r = 0..2 before the light's direction is added."""
    r = np.linspace(0, 2, _STEPS, dtype=np.float32)
    body, accent = (np.asarray(c, np.float32) for c in (palette.body, palette.accent))
    ring = np.clip((r - rim) / (1 - rim), 0, 1)
    glass = 0.16 + 0.55 * np.exp(-ring * 5.5) + 0.30 * bump(ring, 0.52, 0.09) - 0.10 * bump(ring, 0.30, 0.06)
    glass = np.where(r < rim, 0.18 + 0.62 * smooth(r, mouth, rim), glass) * tint
    rows = glass[:, None] * body
    rows = lerp(rows, accent, 0.92 * bump(r, rim, 0.030) + 0.45 * bump(r, mouth + 0.02, 0.012))
    centre = body * np.float32(0.20) + np.float32(0.02)
    rows = lerp(rows, centre, 1 - smooth(r, mouth - 0.04, mouth + 0.02))
    table = np.asarray(palette.background, np.float32)
    outside = table * (1 - 0.22 * np.exp(-np.maximum(r - 1, 0) * 22)[:, None])
    return np.asarray(lerp(rows, outside, smooth(r, 1 - edge, 1 + edge)), np.float32)


def paint(canvas: Canvas, palette: Palette, rng: np.random.Generator) -> Scene:
    """Paint one bottle."""
    shape = palette.shape
    cx, cy = rng.normal(0, 0.012, 2)
    radius = 0.74 + 0.22 * shape[0] + rng.normal(0, 0.005)
    rim, mouth = 0.56 + 0.20 * shape[1] + rng.normal(0, 0.003), 0.40 + 0.20 * shape[2]
    mouth = min(mouth, rim - 0.08) + rng.normal(0, 0.003)
    light = palette.light + rng.normal(0, 0.10)
    x, y = canvas.local(cx, cy)
    theta = np.arctan2(y, x)
    r = np.hypot(x, y) / np.float32(radius)
    r *= 1 + np.float32(rng.normal(0, 0.002)) * np.cos(2 * theta + np.float32(rng.uniform(0, 6.3)))
    table = _profile(palette, rim, mouth, canvas.sample / radius, 1 + rng.normal(0, 0.06))
    wave = r + canvas.field(rng, 10) * np.float32(0.004) * (r < 0.97)
    picture = table[np.minimum(wave * np.float32(_STEPS / 2), _STEPS - 1).astype(np.int32)]
    picture = _light(canvas, palette, picture, (r, theta), (rim, mouth, light), rng)
    return Scene(picture, Rings(cx, cy, radius, rim, mouth, r, theta))


def _light(
    canvas: Canvas,
    palette: Palette,
    picture: Picture,
    polar: tuple[Plane, Plane],
    rings: tuple[float, float, float],
    rng: np.random.Generator,
) -> Picture:
    """Highlights of the lamp, reflections in the glass, the uneven table."""
    (r, theta), (rim, mouth, light) = polar, rings
    accent = np.asarray(palette.accent, np.float32)
    inside = r < 1
    shade = 1 + np.float32(0.16) * np.cos(theta - np.float32(light)) * smooth(r, 0.2, 0.6)
    shade += np.float32(0.05) * canvas.fractal(rng, 6, 3) * inside
    falloff = 1 + np.float32(0.03) * canvas.field(rng, 2)
    picture = picture * (np.where(inside, shade, 1) * falloff)[..., None]
    glow = np.zeros_like(r)
    for radius, width, angle, spread, power in (
        (0.93, 0.016, light, 0.45, 0.75),
        (0.93, 0.014, light + 2.6, 0.30, 0.45),
        (rim + 0.42 * (1 - rim), 0.02, light + 0.5, 0.5, 0.35),
        (mouth - 0.09, 0.022, light + np.pi, 0.55, 0.35),
        (mouth - 0.20, 0.035, light + 0.3, 0.50, 0.16),
    ):
        turn, strength = rng.normal(0, 0.08), power * rng.uniform(0.8, 1.2)
        glow += np.float32(strength) * bump(r, radius, width) * lobe(theta, angle + turn, spread)
    glow += np.float32(0.06) * np.exp(-(r * r) * 30)
    return np.asarray(lerp(picture, accent, np.clip(glow, 0, 1)), np.float32)


def _on_ring(rings: Rings, at: float, theta: float) -> tuple[Plane, Plane]:
    """Coordinates along and across the ring of radius `at`, origin at the angle `theta`."""
    turn = np.remainder(rings.theta - np.float32(theta) + np.float32(np.pi), np.float32(2 * np.pi)) - np.float32(np.pi)
    return turn * np.float32(at * rings.radius), (rings.r - np.float32(at)) * np.float32(rings.radius)


def broken_large(canvas: Canvas, palette: Palette, scene: Scene, rng: np.random.Generator) -> Damage:
    """A large chunk broken out of the outer wall down to the rim: 30 to 60 pixels of 128."""
    rings: Rings = scene.place
    half = rng.uniform(0.25, 0.44)
    deep = rng.uniform(0.9, 1.25) * (1 - rings.rim) * rings.radius
    u, v = _on_ring(rings, 0.98, rng.uniform(-np.pi, np.pi))
    u, v = u / np.float32(half), v / np.float32(deep)
    depth = outline(u, v, jagged(rng, int(rng.integers(13, 22)), 0.38)) * np.float32(min(half, deep))
    return _fracture(canvas, palette, scene, rng, (u, v, depth), gone=rng.uniform(0.35, 0.7))


def broken_small(canvas: Canvas, palette: Palette, scene: Scene, rng: np.random.Generator) -> Damage:
    """A chip on the rim or the outer edge: 10 to 18 pixels of 128."""
    rings: Rings = scene.place
    half, deep = rng.uniform(0.10, 0.14), rng.uniform(0.09, 0.12)
    at = rings.rim + 0.02 if rng.random() < 0.6 else 0.93
    u, v = _on_ring(rings, at, rng.uniform(-np.pi, np.pi))
    u, v = u / np.float32(half), v / np.float32(deep)
    depth = outline(u, v, jagged(rng, int(rng.integers(9, 14)), 0.28)) * np.float32(min(half, deep))
    return _fracture(canvas, palette, scene, rng, (u, v, depth), gone=-0.5)


def _fracture(
    canvas: Canvas,
    palette: Palette,
    scene: Scene,
    rng: np.random.Generator,
    region: tuple[Plane, Plane, Plane],
    gone: float,
) -> Damage:
    """Bright facets inside the outline; nearer the outer edge than `gone` the table shows."""
    rings, (u, v, depth) = scene.place, region
    body, accent, table = (np.asarray(c, np.float32) for c in (palette.body, palette.accent, palette.background))
    shade = facets(u, v, rng, int(rng.integers(7, 12)))
    shade = np.clip(shade + np.float32(0.08) * canvas.field(rng, 40), 0, 1)
    picture = lerp(np.broadcast_to(body * np.float32(0.55), (*u.shape, 3)), accent * np.float32(1.03), shade)
    if gone > 0:
        missing = smooth(depth + np.float32(0.02) * canvas.field(rng, 24), 0.11, 0.14)
        picture = lerp(picture, table * np.float32(0.93), missing * np.float32(gone + 0.3))
    picture = lerp(picture, accent, np.float32(0.85) * bump(depth, 0.018, 0.010))
    cover = np.minimum(canvas.cover(depth), canvas.cover((1 - rings.r) * np.float32(rings.radius)))
    return Damage(cover, np.clip(picture, 0, 1))


def contamination(canvas: Canvas, palette: Palette, scene: Scene, rng: np.random.Generator) -> Damage:
    """A blob or smear of foreign matter on the inner area or the rim: 10 to 35 pixels of 128 across."""
    rings: Rings = scene.place
    length = rng.uniform(0.11, 0.27)
    width = max(length * rng.uniform(0.35, 1.0), 0.08)
    at = rng.uniform(0.0, rings.rim) * rings.radius
    place, turn = rng.uniform(-np.pi, np.pi, 2)
    u, v = canvas.local(rings.cx + at * np.cos(place), rings.cy + at * np.sin(place), turn)
    v = v + np.float32(rng.normal(0, 0.8)) * u * u / np.float32(length)
    u, v = u / np.float32(length), v / np.float32(width)
    depth = outline(u, v, rounded(rng, rng.uniform(0.25, 0.5))) * np.float32(width)
    cover = canvas.cover(depth)
    under = float((grey(scene.picture) * cover).sum() / max(float(cover.sum()), 1e-6))
    dark = under > 0.42 and rng.random() < 0.7
    value = rng.uniform(0.03, 0.14) if dark else min(under + rng.uniform(0.35, 0.6), 0.97)
    matter = np.asarray(colour(rng.uniform(0.03, 0.6), rng.uniform(0.0, 0.35), value), np.float32)
    texture = 1 + np.float32(0.14) * canvas.fractal(rng, 14, 3)
    texture += np.float32(0.25) * (bump(depth, 0.02, 0.012) - np.float32(0.5) * bump(depth, 0.0, 0.008))
    opacity = np.float32(rng.uniform(0.8, 0.95)) * np.ones_like(cover)
    return Damage(cover, np.clip(lerp(scene.picture, texture[..., None] * matter, opacity), 0, 1))


def wild(rng: np.random.Generator) -> Palette:
    """Another bottle: any glass colour, proportions, table and light."""
    light_table = rng.random() < 0.75
    return Palette(
        body=colour(rng.random(), rng.uniform(0.2, 0.9), rng.uniform(0.35, 0.9)),
        accent=colour(rng.random(), rng.uniform(0.0, 0.25), rng.uniform(0.8, 1.0)),
        background=colour(rng.random(), rng.uniform(0.0, 0.2), rng.uniform(0.65, 0.97) if light_table else rng.uniform(0.1, 0.6)),
        light=rng.uniform(-np.pi, np.pi),
        shape=(rng.random(), rng.random(), rng.random(), rng.random()),
    )


BOTTLE = Product(
    house=Palette(
        body=(0.62, 0.36, 0.14), accent=(0.98, 0.93, 0.82), background=(0.87, 0.87, 0.85), light=-2.2
    ),
    wild=wild,
    paint=paint,
    defects={"broken_large": broken_large, "broken_small": broken_small, "contamination": contamination},
)
