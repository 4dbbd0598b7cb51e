"""Curves as inline SVG: no script, no library."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

WIDTH, HEIGHT = 760, 240
LEFT, RIGHT, TOP, BOTTOM = 64, 160, 12, 34
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito's, told apart by all eyes
_STEPS = (1.0, 2.0, 5.0, 10.0)
Points = Sequence[tuple[float, float]]


def curves(series: Mapping[str, Points], x_label: str) -> str:
    """A chart of curves over one axis, its values on a logarithmic scale where all are positive and differ by ten times.

    Args:
        series: (x, y) points by the curve's name; what is not finite is left out.
        x_label: what x is.

    Returns:
        An `svg` element, or a word where there is no point.
    """
    finite = {name: [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)] for name, points in series.items()}
    finite = {name: points for name, points in finite.items() if points}
    if not finite:
        return "<p>no values</p>"
    xs, ys = ([point[axis] for points in finite.values() for point in points] for axis in (0, 1))
    logarithmic = min(ys) > 0 and max(ys) > 10 * min(ys)
    across = _Scale(0.0, max(xs), LEFT, WIDTH - RIGHT)
    up = _Scale(*_range(ys, logarithmic), HEIGHT - BOTTOM, TOP, logarithmic)
    parts = [_axes(across, up, x_label)]
    ends = _apart([up(points[-1][1]) for points in finite.values()])
    for (name, points), colour, end in zip(finite.items(), _cycled(len(finite)), ends, strict=True):
        line = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)
        if len(points) == 1:
            parts.append(f'<circle cx="{across(points[0][0]):.1f}" cy="{up(points[0][1]):.1f}" r="3" fill="{colour}"/>')
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        said = f"{html.escape(name)} {points[-1][1]:.3g}"
        parts.append(f'<text x="{WIDTH - RIGHT + 8}" y="{end + 4:.1f}" fill="{colour}">{said}</text>')
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(parts)}</svg>'


class _Scale:
    """Values to pixels."""

    def __init__(self, low: float, high: float, start: float, end: float, logarithmic: bool = False) -> None:
        self.low, self.high, self.start, self.end, self.logarithmic = low, high, start, end, logarithmic

    def __call__(self, value: float) -> float:
        low, high, here = (
            (math.log10(v) for v in (self.low, self.high, value)) if self.logarithmic else (self.low, self.high, value)
        )
        share = (here - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Some four round values between both ends."""
        if self.logarithmic:
            powers = range(math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1)
            skip = max(1, math.ceil(len(powers) / 6))
            return [10.0**power for power in powers][::skip]
        if self.high <= self.low:
            return [self.low]
        raw = (self.high - self.low) / 4
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(power * factor for factor in _STEPS if power * factor >= raw * 0.999)
        return [i * step for i in range(math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9) + 1)]


def _range(values: Sequence[float], logarithmic: bool) -> tuple[float, float]:
    low, high = min(values), max(values)
    if logarithmic:
        return 10.0 ** math.floor(math.log10(low)), 10.0 ** math.ceil(math.log10(high))
    return min(low, 0.0), high if high > min(low, 0.0) else min(low, 0.0) + 1.0


def _axes(across: _Scale, up: _Scale, x_label: str) -> str:
    lines = [
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(value):.1f}" y2="{up(value):.1f}" stroke="currentColor" opacity=".15"/>'
        f'<text x="{LEFT - 8}" y="{up(value) + 4:.1f}" text-anchor="end">{value:.4g}</text>'
        for value in up.ticks()
    ]
    lines += [
        f'<text x="{across(value):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{value:.6g}</text>'
        for value in across.ticks()
    ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    lines.append(f'<text x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">{html.escape(x_label)}</text>')
    return "".join(lines)


def _cycled(count: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(count)]


def _apart(places: Sequence[float], least: float = 15.0) -> list[float]:
    """Places of labels, in their order, moved down and up until none covers another."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = list(places)
    for above, below in pairwise(order):
        moved[below] = max(moved[below], moved[above] + least)
    over = moved[order[-1]] - (HEIGHT - BOTTOM) if order else 0.0
    return [place - over for place in moved] if over > 0 else moved
