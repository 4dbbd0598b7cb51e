"""Curves, losses and the page: what is drawn lies where it should, and nothing of others becomes markup."""

import base64
import json
import math
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from seas_train.report import losses, svg
from seas_train.report.page import Page


def drawn(series):
    """Polylines of a chart by colour, and its texts."""
    root = ET.fromstring(svg.curves(series, "step"))
    lines = [[tuple(map(float, point.split(","))) for point in line.get("points").split()] for line in root.iter("polyline")]
    return lines, [text.text for text in root.iter("text")]


def test_a_curve_goes_from_the_axes_to_the_edges():
    (line,), texts = drawn({"loss": [(0, 4.0), (50, 2.0), (100, 0.0)]})
    left, right = svg.LEFT, svg.WIDTH - svg.RIGHT
    top, bottom = svg.TOP, svg.HEIGHT - svg.BOTTOM
    assert line == [(left, top), ((left + right) / 2, (top + bottom) / 2), (right, bottom)]
    assert "loss 0" in texts
    assert {"0", "1", "2", "3", "4", "50", "100"} <= set(texts)


def test_losses_that_differ_by_ten_times_are_on_a_logarithmic_scale():
    (line,), texts = drawn({"loss": [(0, 100.0), (1, 10.0), (2, 1.0)]})
    heights = [y for _, y in line]
    assert heights[1] - heights[0] == pytest.approx(heights[2] - heights[1], abs=0.11)
    assert {"1", "10", "100"} <= set(texts)


def test_labels_of_curves_that_end_together_do_not_cover_each_other_and_stay_on_the_picture():
    root = ET.fromstring(svg.curves({f"name{i}": [(0, 1.0), (9, 0.0)] for i in range(6)}, "step"))
    places = sorted(float(text.get("y")) for text in root.iter("text") if (text.text or "").startswith("name"))
    assert all(b - a >= 14.9 for a, b in pairwise(places))
    assert places[-1] <= svg.HEIGHT


def test_names_values_and_single_points_that_could_break_a_chart():
    lines, texts = drawn({"<b>&": [(3, 0.5)], "nan": [(1, math.nan), (2, math.inf)], "none": []})
    assert len(lines) == 1
    assert "<b>& 0.5" in texts
    assert svg.curves({"x": []}, "step") == "<p>no values</p>"
    drawn({"flat": [(0, 0.0), (1, 0.0)], "negative": [(0, -3.0), (1, -3.0)]})


def test_losses_are_read_by_stage_and_torn_lines_are_passed_over(tmp_path):
    lines = [
        {"stage": "tune", "step": 1, "seconds": 2.0, "loss": 3.0, "da": 1.0},
        {"stage": "tune", "step": 2, "seconds": 4.0, "loss": 2.0, "da": 0.5},
        {"stage": "masks", "step": 1, "seconds": 1.0, "loss": 0.7},
    ]
    text = "\n".join([json.dumps(lines[0]), "[1]", "{", '{"stage": "tune"}', *map(json.dumps, lines[1:]), '{"stage": "tu'])
    (tmp_path / "log.jsonl").write_text(text, encoding="utf-8")
    assert losses.read(tmp_path) == {
        "tune": {"loss": [(1, 3.0), (2, 2.0)], "da": [(1, 1.0), (2, 0.5)]},
        "masks": {"loss": [(1, 0.7)]},
    }
    assert losses.read(tmp_path / "none") == {}


@pytest.mark.parametrize("count", [0, 1, 199, 200, 201, 1000])
def test_long_curves_become_means_of_parts(count):
    points = [(i, float(i * i)) for i in range(count)]
    found = losses.binned(points)
    assert len(found) <= 200
    if count <= 200:
        assert found == points
    if count == 1000:  # parts of five
        assert found[1] == (7.0, (25 + 36 + 49 + 64 + 81) / 5)


def test_a_page_escapes_everything_and_needs_no_network():
    page = Page("<script>x</script>")
    page.heading("a & b")
    page.text("one\x1b[31m", "<img src=x onerror=y>")
    page.table(["<i>"], [["</table>"]])
    page.facts("<u>", [("<k>", "<v>")])
    page.picture(b"\x89PNG", 'a "caption"')
    text = str(page)
    for markup in ("<script", "<img src=x", "<i>", "<u>", "<k>", "<v>", "\x1b"):
        assert markup not in text
    assert base64.b64encode(b"\x89PNG").decode() in text
    assert 'alt="a &quot;caption&quot;"' in text
    assert "http" not in text
