"""The shapes that annotation tools draw, and how numbers from a file become them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from seas_runtime.dataset.importers.raster import Points, fill, fill_ellipse
from seas_runtime.dataset.importers.records import BrokenError
from seas_runtime.fit import Bits, Size

FARTHEST = 1e6  # pixels from the corner; farther out no photograph reaches
_MOST_LINE_POINTS = 10_000
MOST_PIXELS = 178_956_970
"""Of a picture or mask: what Pillow takes for a decompression bomb."""


@dataclass(frozen=True)
class Polygon:
    """Outlines (n, 2) of x and y, filled by the even-odd rule: one inside of another is a hole."""

    rings: tuple[Points, ...]

    def paint(self, canvas: Bits, frame: Size) -> None:
        """As `Shape.paint`."""
        factor = _scale(canvas, frame)
        fill(canvas, [ring * factor for ring in self.rings])


@dataclass(frozen=True)
class Union:
    """Outlines that are filled one by one: where two overlap both count."""

    parts: tuple[Polygon, ...]

    def paint(self, canvas: Bits, frame: Size) -> None:
        """As `Shape.paint`."""
        for part in self.parts:
            part.paint(canvas, frame)


@dataclass(frozen=True)
class Ellipse:
    """An ellipse; `angle` of its first axis to x, clockwise on the screen, in radians."""

    centre: tuple[float, float]
    radii: tuple[float, float]
    angle: float = 0.0

    def paint(self, canvas: Bits, frame: Size) -> None:
        """As `Shape.paint`; a scale that differs between x and y takes their mean for the radii."""
        x, y = _scale(canvas, frame)
        mean = math.sqrt(x * y)
        centre = self.centre[0] * x, self.centre[1] * y
        fill_ellipse(canvas, centre, (self.radii[0] * mean, self.radii[1] * mean), self.angle)


@dataclass(frozen=True)
class Line:
    """Points joined by straight strokes of `width` pixels with round ends; a single one is a dot."""

    points: Points
    width: float

    def paint(self, canvas: Bits, frame: Size) -> None:
        """As `Shape.paint`."""
        factor = _scale(canvas, frame)
        points, radius = self.points * factor, self.width / 2 * math.sqrt(float(factor.prod()))
        for x, y in points:
            fill_ellipse(canvas, (x, y), (radius, radius))
        for start, end in pairwise(points):
            length = float(np.hypot(*(end - start)))
            if length > 0:
                side = (end - start)[::-1] * (-radius / length, radius / length)
                fill(canvas, [np.array((start + side, end + side, end - side, start - side))])


@dataclass(frozen=True)
class Bitmap:
    """A mask made when it is needed; `origin` (x, y) is where its corner lies in the frame.

    `decode` gives (h, w) bool and raises BrokenError.
    """

    decode: Callable[[], Bits]
    origin: tuple[int, int] = (0, 0)

    def paint(self, canvas: Bits, frame: Size) -> None:
        """As `Shape.paint`; scaled to the nearest pixel."""
        bits = self.decode()
        width, height = frame
        (x, y), (h, w) = self.origin, bits.shape
        if x < 0 or y < 0 or x + w > width or y + h > height:
            raise BrokenError(f"a mask of {w} x {h} pixels at {x}, {y}, expected it inside the {width} x {height} of its picture")
        if canvas.shape == (height, width):
            canvas[y : y + h, x : x + w] |= bits
            return
        whole = np.zeros((height, width), bool)
        whole[y : y + h, x : x + w] = bits
        canvas |= nearest(whole, (canvas.shape[1], canvas.shape[0]))


def nearest(mask: Bits, size: Size) -> Bits:
    """A mask (H, W) at another `size`: each pixel takes the one that lies below its centre."""
    columns, rows = ((2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(size, mask.shape[::-1], strict=True))
    scaled: Bits = mask[rows[:, None], columns[None, :]]
    return scaled


def _scale(canvas: Bits, frame: Size) -> Points:
    return np.array((canvas.shape[1] / frame[0], canvas.shape[0] / frame[1]))


def points(values: object, least: int = 3) -> Points:
    """Pairs of numbers as (n, 2) float64.

    Raises:
        BrokenError: They are no pairs of finite numbers below a million, or fewer than `least`.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise BrokenError("points that are no numbers, expected pairs of x and y") from None
    if array.ndim != 2 or array.shape[1] != 2 or len(array) < least:
        raise BrokenError(f"points of the shape {array.shape}, expected at least {least} pairs of x and y")
    if not (np.abs(array) <= FARTHEST).all():
        raise BrokenError(f"a coordinate beyond {FARTHEST:.0f} pixels, expected one in the picture")
    return array


def flat_points(values: object, least: int = 3) -> Points:
    """Numbers x, y, x, y, ... as (n, 2) float64; raises BrokenError as `points`."""
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) % 2:
        raise BrokenError("an outline that is no list of x, y, x, y and so on")
    return points([values[i : i + 2] for i in range(0, len(values), 2)], least)


def number(value: object, what: str) -> float:
    """A finite number below a million; raises BrokenError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= FARTHEST:
        raise BrokenError(f"{what} is {shortened(value)}, expected a number below {FARTHEST:.0f}")
    return float(value)


def size_of(width: object, height: object) -> Size:
    """A picture's size from a file; raises BrokenError."""
    sides = number(width, "the width"), number(height, "the height")
    if min(sides) < 1 or sides[0] * sides[1] > MOST_PIXELS or any(side != int(side) for side in sides):
        raise BrokenError(f"a picture of {width} x {height} pixels, expected at most {MOST_PIXELS} pixels")
    return int(sides[0]), int(sides[1])


def box(left: float, top: float, right: float, bottom: float, turned: float = 0.0) -> Polygon:
    """A rectangle; `turned` about its corner (left, top), clockwise on the screen, in radians."""
    corners = np.array(((left, top), (right, top), (right, bottom), (left, bottom)), dtype=np.float64)
    if turned:
        turn = np.array(((math.cos(turned), math.sin(turned)), (-math.sin(turned), math.cos(turned))))
        corners = (corners - corners[0]) @ turn + corners[0]
    return Polygon((corners,))


def line(values: Points, width: float | None, kind: str) -> Line:
    """A line as it was drawn.

    Raises:
        BrokenError: It has no width, or too many points.
    """
    if width is None:
        raise BrokenError(f"a {kind} has no area, expected outlines; --line-width PIXELS draws lines and points")
    if len(values) > _MOST_LINE_POINTS:
        raise BrokenError(f"a line of {len(values)} points, expected at most {_MOST_LINE_POINTS}")
    return Line(values, width)


def shortened(value: object) -> str:
    """A value for a message, in at most 40 characters."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of more digits than Python writes
        return "too long"
    return text if len(text) <= 40 else text[:37] + "..."
