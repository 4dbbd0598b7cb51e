"""Kinds of marks: boxes, lines, circles, holes, and such that mark nothing or all."""

import json
import shutil

import numpy as np
import pytest

from tests.runtime.dataset.truth import HEIGHT, TRUTH, WIDTH, dump, edit, iou, shapes
from tests.runtime.dataset.written_sources import WRITERS

ONE = TRUTH[0]


def test_pictures_without_a_mark_are_doubted(source, run, product):
    edit(source / "a1.json", shapes=[])
    assert "1 picture whose annotations mark nothing, taken as normal ones" in run(code=3)
    run("--unmarked", "leave")
    assert product.names("test/scratch") == ["a3.jpg"]
    shutil.rmtree(product.root)
    run("--unmarked", "normal")
    assert product.names("train/good") == ["a1.jpg", "n1.jpg", "n2.jpg"]


def test_boxes_are_doubted(source, run, product):
    shapes(source / "a1.json", ("scratch", "rectangle", [[300, 200], [100, 50]]))
    assert "1 picture marked by boxes, which cover more than the anomaly: a1.jpg" in run(code=3)
    run("--yes")
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[50:200, 100:300] = True
    assert np.array_equal(product.mask("scratch/a1"), expected)


def test_lines_need_a_width(source, run, product):
    shapes(source / "a1.json", ("scratch", "linestrip", [[100, 100], [300, 100]]))
    assert "a1.json: a linestrip has no area, expected outlines; --line-width PIXELS draws lines and points" in run(code=3)
    run("--line-width", 7)
    assert product.mask("scratch/a1")[:, 200].sum() == 7


def test_circles(source, run, product):
    shapes(source / "a1.json", ("scratch", "circle", [[200, 150], [240, 180]]))
    run()
    assert product.mask("scratch/a1").sum() == pytest.approx(np.pi * 50**2, rel=0.01)


def test_a_picture_marked_wholly_is_left_out(source, run):
    shapes(source / "a1.json", ("scratch", "polygon", [[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]]))
    assert "a1.jpg: its mask covers every pixel" in run(code=3)


def test_a_mark_beyond_the_picture_is_left_out(source, run):
    shapes(source / "a1.json", ("scratch", "polygon", [[900, 900], [950, 900], [950, 950]]))
    assert "a1.jpg: its marks cover no pixel" in run(code=3)


def test_holes_of_supervisely(tmp_path, run, product):
    WRITERS["supervisely"](tmp_path / "source")
    file = tmp_path / "source/ds0/ann/a1.jpg.json"
    fields = json.loads(file.read_text())
    hole = [[180, 150], [220, 150], [220, 190], [180, 190]]
    fields["objects"][0]["points"]["interior"] = [hole]
    dump(file, fields)
    run()
    expected = ONE.mask.copy()
    expected[150:190, 180:220] = False
    assert iou(product.mask("scratch/a1"), expected) >= 0.995
