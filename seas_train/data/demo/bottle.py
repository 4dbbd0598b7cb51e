"""The bottle: amber glass seen from above on a light table, rings of light in its wall."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from seas_train.data.demo.canvas import Canvas, Picture, Plane, bump, lerp, smooth
from seas_train.data.demo.product import Palette, Scene

_STEPS = 2048
Table = NDArray[np.float32]


@dataclass(frozen=True)
class Bottle:
    """Where the bottle stands: centre, outer radius, and `r` (1 at the outer edge) and `theta` everywhere.

    `rim` is the middle of the bright rim, `mouth` the edge of the dark centre, both in units of `r`.
    """

    cx: float
    cy: float
    radius: float
    rim: float
    mouth: float
    light: float
    r: Plane
    theta: Plane

    def at(self, r: float, theta: float) -> tuple[float, float]:
        """The point (x, y) on the ring `r` at the angle `theta`."""
        return self.cx + r * self.radius * math.cos(theta), self.cy + r * self.radius * math.sin(theta)

    def within(self, area: tuple[slice, slice]) -> Bottle:
        """The same bottle, `r` and `theta` over `area` alone."""
        return replace(self, r=self.r[area], theta=self.theta[area])


def paint(canvas: Canvas, palette: Palette, rng: np.random.Generator) -> Scene:
    """Paint one bottle: the rings, then the table's and the lamp's unevenness, then the reflections."""
    bottle = _stand(canvas, palette, rng)
    turns = ((bottle.theta + np.float32(np.pi)) * np.float32(_STEPS / (2 * np.pi))).astype(np.int32)
    turns &= _STEPS - 1
    ripple = _ripple(palette, bottle.light, rng).take(turns)
    wobble = ripple * bump(bottle.r, bottle.rim - 0.03, 0.06) * np.float32(0.013)
    wobble += canvas.field(rng, 9) * np.float32(0.004) * (bottle.r < 0.95)
    rings = ((bottle.r + wobble) * np.float32(_STEPS / 2)).astype(np.int32)
    np.clip(rings, 0, _STEPS - 1, out=rings)
    tint = 1 + rng.normal(0, 0.06)
    picture = _profile(palette, bottle, canvas.sample / bottle.radius, tint).take(rings, axis=0)
    inside = bottle.r < 1
    shade = 1 + np.float32(0.17) * ripple * smooth(bottle.r, 0.45, 0.6)
    shade += np.float32(0.045) * canvas.fractal(rng, 7, 3)
    lamp = 1 + np.float32(0.03) * canvas.field(rng, 2)
    picture *= (np.where(inside, shade, 1) * lamp)[..., None]
    glow = _reflections(bottle, rings, turns, rng)
    return Scene(lerp(picture, np.asarray(palette.accent, np.float32), glow), bottle)


def _stand(canvas: Canvas, palette: Palette, rng: np.random.Generator) -> Bottle:
    shape = palette.shape
    cx, cy = rng.normal(0, 0.011, 2)
    radius = 0.76 + 0.20 * shape[0] + rng.normal(0, 0.005)
    rim = 0.56 + 0.20 * shape[1] + rng.normal(0, 0.003)
    mouth = min(0.38 + 0.22 * shape[2], rim - 0.09) + rng.normal(0, 0.003)
    light = palette.light + rng.normal(0, 0.08)
    x, y = canvas.local(cx, cy)
    theta, r = np.arctan2(y, x), np.hypot(x, y) / np.float32(radius)
    return Bottle(cx, cy, radius, rim, mouth, light, r, theta)


def _ripple(palette: Palette, light: float, rng: np.random.Generator) -> Table:
    """(_STEPS,) unevenness of the glass over the angle: the mould's own pattern, a little changed."""
    angle = np.linspace(-np.pi, np.pi, _STEPS, endpoint=False)
    ripple = np.cos(angle - light)
    for k in range(2, 7):
        phase = k * k * (0.9 + palette.shape[3]) + k * light + rng.normal(0, 0.12)
        ripple += (0.55 + rng.normal(0, 0.06)) / np.sqrt(k) * np.cos(k * angle - phase)
    return ripple.astype(np.float32)


def _profile(palette: Palette, bottle: Bottle, edge: float, tint: float) -> Picture:
    """(_STEPS, 3) colours along r = 0..2."""
    r = np.linspace(0, 2, _STEPS, endpoint=False, dtype=np.float32)
    rim, mouth, wall = bottle.rim, bottle.mouth, 1 - bottle.rim
    body, accent, table = (np.asarray(c, np.float32) for c in (palette.body, palette.accent, palette.background))
    depth = palette.shape[4]
    out = (r - rim) / wall
    glass = 0.10 + 0.26 * depth * (1 - smooth(out, 0.75, 1.0)) + 0.75 * np.exp(-np.maximum(out, 0) * 7)
    glass += 0.34 * bump(out, 0.46, 0.055) + 0.14 * bump(out, 0.62, 0.10) - 0.10 * bump(out, 0.24, 0.05)
    glass += 0.25 * bump(out, 0.90, 0.022)
    neck = 0.30 + 0.75 * smooth(r, mouth + 0.01, rim - 0.02) - 0.30 * bump(r, (mouth + rim) / 2, 0.018)
    rows: Picture = (np.where(r < rim, neck, glass) * tint)[:, None] * body
    rows = lerp(rows, accent, 0.95 * smooth(r, rim - 0.035, rim - 0.012) * (1 - smooth(r, rim + 0.008, rim + 0.055)))
    rows = lerp(rows, accent, 0.55 * bump(r, mouth + 0.015, 0.009))
    well = 0.06 + 0.58 * depth**2
    floor = well * (1 - 0.55 * smooth(r, 0.0, mouth) + 0.35 * bump(r, mouth * 0.62, 0.03)) * tint
    rows = lerp(rows, floor[:, None] * body + np.float32(0.015), 1 - smooth(r, mouth - 0.03, mouth + 0.008))
    outside = table * (1 - 0.20 * np.exp(-np.maximum(r - 1, 0) * 20))[:, None]
    return np.asarray(lerp(rows, outside, smooth(r, 1 - edge, 1 + edge)), np.float32)


def _reflections(bottle: Bottle, rings: NDArray[np.int32], turns: NDArray[np.int32], rng: np.random.Generator) -> Plane:
    """Strength 0..1 of the lamp's arcs in the wall, on the lip and down in the neck."""
    r = np.linspace(0, 2, _STEPS, endpoint=False, dtype=np.float32)
    angle = np.linspace(-np.pi, np.pi, _STEPS, endpoint=False, dtype=np.float32)
    wall, mouth, light = 1 - bottle.rim, bottle.mouth, bottle.light
    glow = np.zeros(rings.shape, np.float32)
    for radius, width, at, spread, power in (
        (1 - 0.17 * wall, 0.014, light, 0.55, 0.85),
        (1 - 0.22 * wall, 0.012, light + 2.7, 0.30, 0.55),
        (1 - 0.48 * wall, 0.016, light + 0.7, 0.40, 0.40),
        (mouth - 0.07, 0.016, light + np.pi, 0.60, 0.50),
        (mouth - 0.20, 0.032, light + 0.4, 0.50, 0.22),
        (0.06, 0.05, light + np.pi, 1.60, 0.10),
    ):
        away = (np.cos(angle - np.float32(at + rng.normal(0, 0.06))) - 1) / np.float32(spread**2)
        strength = np.float32(power * rng.uniform(0.85, 1.15))
        glow += (strength * bump(r, radius, width)).take(rings) * np.exp(-(away**2) * 2).take(turns)
    return np.clip(glow, 0, 1)
