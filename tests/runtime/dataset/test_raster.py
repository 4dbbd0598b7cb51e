"""Outlines to pixels: against exact arithmetic, matplotlib and pycocotools."""

import time
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Outline

from seas_runtime.dataset.importers.raster import fill, fill_ellipse
from seas_runtime.dataset.importers.records import BrokenError
from seas_runtime.dataset.importers.shapes import Line, Polygon, box
from tests.runtime.dataset.truth import blob, iou, raster

HALVES = st.integers(-4, 24).map(lambda n: n / 2)
RING = st.lists(st.tuples(HALVES, HALVES), min_size=3, max_size=9)


def filled(rings, width=10, height=10):
    canvas = np.zeros((height, width), bool)
    fill(canvas, [np.array(ring, float) for ring in rings])
    return canvas


def inside(x, y, ring):
    """Even-odd in exact numbers: crossings of a ray to the left, where an edge holds its upper end and not its lower one."""
    odd = False
    for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True):
        if (y0 <= y) != (y1 <= y):
            at = Fraction(x0) + (Fraction(y) - Fraction(y0)) * (Fraction(x1) - Fraction(x0)) / (Fraction(y1) - Fraction(y0))
            odd ^= at <= x
    return odd


@given(RING)
@example([(0.0, 0.0), (10.0, 6.0), (2.5, 0.5)])  # an edge that ends at a pixel's centre
@settings(max_examples=300)
def test_a_pixel_is_marked_where_its_centre_is_inside(ring):
    expected = [[inside(Fraction(2 * j + 1, 2), Fraction(2 * i + 1, 2), ring) for j in range(10)] for i in range(10)]
    assert filled([ring]).tolist() == expected


def test_a_square_has_the_pixels_it_covers():
    expected = np.zeros((10, 10), bool)
    expected[3:7, 2:5] = True
    assert np.array_equal(filled([[(2, 3), (5, 3), (5, 7), (2, 7)]]), expected)


def test_areas_that_share_an_edge_share_no_pixel_and_leave_none_out():
    left, right = [(1, 1), (5.5, 1), (4.5, 9), (1, 9)], [(5.5, 1), (9, 1), (9, 9), (4.5, 9)]
    one, other = filled([left]), filled([right])
    assert not (one & other).any()
    assert np.array_equal(one | other, filled([[(1, 1), (9, 1), (9, 9), (1, 9)]]))


def test_an_outline_inside_of_another_is_a_hole():
    rings = [[(1, 1), (9, 1), (9, 9), (1, 9)], [(3, 3), (6, 3), (6, 6), (3, 6)]]
    assert filled(rings).sum() == 64 - 9


def test_what_lies_beyond_the_picture_is_cut_off():
    assert filled([[(-1e6, -1e6), (1e6, -1e6), (1e6, 1e6), (-1e6, 1e6)]]).all()
    assert not filled([[(20, 2), (30, 2), (30, 8)]]).any()
    assert not filled([[(-9, 2), (-3, 2), (-3, 8)]]).any()


@pytest.mark.parametrize("seed", range(8))
def test_random_outlines_are_those_of_matplotlib(seed):
    ring = np.random.default_rng(seed).uniform(-10, 130, (12, 2))
    x, y = np.meshgrid(np.arange(120) + 0.5, np.arange(100) + 0.5)
    star = blob(60, 50, 40, 4)
    for outline in (
        star,
        ring[:3],
    ):  # matplotlib fills by winding, which is the same where nothing crosses itself
        expected = Outline(outline).contains_points(np.stack((x.ravel(), y.ravel()), axis=1)).reshape(100, 120)
        assert np.array_equal(filled([outline], 120, 100), expected)


@pytest.mark.parametrize("radius", [60, 100, 160])
def test_outlines_agree_with_pycocotools(radius):
    outline = blob(240.3, 181.7, radius, 3)
    assert iou(filled([outline], 480, 360), raster([outline])) >= 0.995


def test_an_outline_of_a_million_points_is_quick():
    angle = np.linspace(0, 2 * np.pi, 1_000_000, endpoint=False)
    ring = np.stack((2000 + 1400 * np.cos(angle), 1500 + 1400 * np.sin(angle)), axis=1)
    canvas = np.zeros((3000, 4000), bool)
    began = time.process_time()
    fill(canvas, [ring])
    assert time.process_time() - began < 10
    assert canvas.sum() == pytest.approx(np.pi * 1400**2, rel=1e-4)


def test_an_outline_that_crosses_too_much_is_refused():
    ring = np.zeros((200_000, 2))
    ring[:, 0] = np.arange(200_000) % 1000
    ring[::2, 1] = 3000
    with pytest.raises(BrokenError, match="crosses 600000000 rows"):
        fill(np.zeros((3000, 1000), bool), [ring])


def test_an_ellipse_has_the_pixels_whose_centres_are_in_it():
    canvas = np.zeros((40, 60), bool)
    fill_ellipse(canvas, (30.25, 19.5), (22, 7.5), np.radians(25))
    expected = np.zeros_like(canvas)
    for i in range(40):
        for j in range(60):
            dx, dy = j + 0.5 - 30.25, i + 0.5 - 19.5
            along = dx * np.cos(np.radians(25)) + dy * np.sin(np.radians(25))
            across = -dx * np.sin(np.radians(25)) + dy * np.cos(np.radians(25))
            expected[i, j] = (along / 22) ** 2 + (across / 7.5) ** 2 <= 1
    assert np.array_equal(canvas, expected)


def test_a_line_has_the_pixels_within_half_its_width():
    points = np.array(((10.0, 8.0), (45.0, 20.0), (20.0, 35.0)))
    canvas = np.zeros((45, 60), bool)
    Line(points, 6).paint(canvas, (60, 45))
    centres = np.stack(np.meshgrid(np.arange(60) + 0.5, np.arange(45) + 0.5), axis=-1)
    distance = np.full((45, 60), np.inf)
    for start, end in pairwise(points):
        share = (((centres - start) @ (end - start)) / ((end - start) @ (end - start))).clip(0, 1)
        distance = np.minimum(distance, np.linalg.norm(centres - (start + share[..., None] * (end - start)), axis=-1))
    assert (canvas != (distance <= 3)).sum() <= 2  # rounding of centres on the line's very edge


def test_shapes_scale_from_what_they_were_drawn_on():
    canvas = np.zeros((20, 40), bool)
    Polygon((np.array(((1.0, 1.0), (4.0, 1.0), (4.0, 3.0), (1.0, 3.0))),)).paint(canvas, (10, 5))
    expected = np.zeros_like(canvas)
    expected[4:12, 4:16] = True
    assert np.array_equal(canvas, expected)


def test_a_turned_box_turns_clockwise_about_its_corner():
    canvas = np.zeros((20, 20), bool)
    box(10, 5, 16, 8, np.radians(90)).paint(canvas, (20, 20))
    expected = np.zeros_like(canvas)
    expected[5:11, 7:10] = True
    assert np.array_equal(canvas, expected)
