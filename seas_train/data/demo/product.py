"""What a demo product is: a palette, a painter, and one painter for each kind of defect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from seas_train.data.demo.canvas import Canvas, Picture, Plane

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Palette:
    """The look of one production line; `draw` adds the small variation from piece to piece.

    Colours are RGB in 0..1, `light` is the direction the light comes from in radians (0 right, pi/2 below),
    `shape` holds the product's proportions, each in 0..1, 0.5 in the middle.
    """

    body: Colour
    accent: Colour
    background: Colour
    light: float
    shape: tuple[float, ...] = (0.5,) * 6


@dataclass(frozen=True)
class Scene:
    """A painted piece: `picture` (S, S, 3), and `place`, the geometry its defects refer to."""

    picture: Picture
    place: Any


@dataclass(frozen=True)
class Damage:
    """`cover` 0..1 of the defect region and `picture`, what is seen in it, over `area` of the canvas."""

    area: tuple[slice, slice]
    cover: Plane
    picture: Picture


Painter = Callable[[Canvas, Palette, np.random.Generator], Scene]
DefectPainter = Callable[[Canvas, Palette, Scene, np.random.Generator], Damage]


@dataclass(frozen=True)
class Product:
    """A product line: its house palette, its wild palettes, its painters."""

    house: Palette
    wild: Callable[[np.random.Generator], Palette]
    paint: Painter
    defects: Mapping[str, DefectPainter]


def colour(hue: float, saturation: float, value: float) -> Colour:
    """HSV (each 0..1) to RGB."""
    rgb = [value * (1 - saturation * min(max(2 - abs((hue * 6 - k) % 6 - 3), 0), 1)) for k in (0, 2, 4)]
    return rgb[0], rgb[1], rgb[2]


def blend(house: Palette, wild: Palette, variety: float) -> Palette:
    """The palette `variety` (0..1) of the way from `house` to `wild`."""

    def mix(a: tuple[float, ...], b: tuple[float, ...]) -> Any:
        return tuple(p + (q - p) * variety for p, q in zip(a, b, strict=True))

    return Palette(
        body=mix(house.body, wild.body),
        accent=mix(house.accent, wild.accent),
        background=mix(house.background, wild.background),
        light=house.light + (wild.light - house.light) * variety,
        shape=mix(house.shape, wild.shape),
    )
