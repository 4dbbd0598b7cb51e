"""Foreign matter on a surface: blobs, smears and crumbs that stand out from what they lie on."""

from __future__ import annotations

import numpy as np

from seas_train.data.demo.canvas import Canvas, Picture, Plane, grey, lerp, relief, smooth
from seas_train.data.demo.outlines import depth_in, rounded
from seas_train.data.demo.product import Damage, colour

# (hue range), (saturation range), lightest value of: lint or plaster, wax, rust, grease, dye
_KINDS = (
    ((0.08, 0.16), (0.00, 0.10), 0.97),
    ((0.10, 0.15), (0.15, 0.40), 0.92),
    ((0.03, 0.08), (0.45, 0.75), 0.80),
    ((0.06, 0.13), (0.25, 0.55), 0.75),
    ((0.25, 0.62), (0.10, 0.40), 0.85),
)


def foreign(
    canvas: Canvas,
    clean: Picture,
    centre: tuple[float, float],
    length: float,
    *,
    light: float,
    rng: np.random.Generator,
) -> Damage:
    """A blob, smear or crumb at `centre`, about `length` across (in coordinates)."""
    part = canvas.near(*centre, length * 0.8)
    clean = clean[part.area]
    depth = _shape(part, centre, length / 2, rng)
    cover = part.cover(depth)
    matter = _stuff(clean, cover, rng)
    height = smooth(depth, 0.0, 0.05) + np.float32(0.22) * part.fractal(rng, 18, 3)
    shade = 1 + np.float32(0.13) * np.clip(relief(height, light, max(1, part.side // 128)), -2, 2)
    tone = (shade * (1 + np.float32(0.05) * part.field(rng, 30)))[..., None] * matter
    opacity = np.float32(rng.uniform(0.72, 0.9)) + np.float32(0.28) * smooth(depth, 0.0, 0.06)
    return Damage(part.area, cover, lerp(clean, tone, np.minimum(opacity, 1)))


def _shape(canvas: Canvas, centre: tuple[float, float], half: float, rng: np.random.Generator) -> Plane:
    flat = rng.uniform(0.4, 1.0)
    u, v = canvas.local(*centre, rng.uniform(-np.pi, np.pi))
    v = v + np.float32(rng.uniform(-0.6, 0.6) * (1 - flat) / half) * u * u
    across = np.float32(max(half * flat, 0.105))
    u, v = u / np.float32(half), v / across
    rough = rng.uniform(0.15, 0.5)
    return depth_in(u, v, rounded(rng, rough)) * across + np.float32(0.011) * canvas.fractal(rng, 14, 3)


def _stuff(clean: Picture, cover: Plane, rng: np.random.Generator) -> Picture:
    """(3,) a colour clearly lighter or darker than what it covers."""
    under = float((grey(clean) * cover).sum() / max(float(cover.sum()), 1e-6))
    (hue, saturation, lightest) = _KINDS[int(rng.integers(len(_KINDS)))]
    dark = under > 0.38 and (under > 0.55 or rng.random() < 0.6)
    value = rng.uniform(0.03, under - 0.3) if dark else rng.uniform(min(under + 0.35, lightest - 0.05), lightest)
    return np.asarray(colour(rng.uniform(*hue), rng.uniform(*saturation), value), np.float32)
