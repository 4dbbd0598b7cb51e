"""Mending masks in a real browser: strokes and keys, and what they leave in the PNG."""

import time

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from .browsing import SIDE, expect
from .fabricated import decided, square

pytestmark = pytest.mark.ecosystem


def mask_of(out, index):
    return np.asarray(Image.open(out / "review" / f"{index:06d}_mask.png")) == 255


def screen_of(page, x, y):
    """Where pixel (x, y) of the picture is, from the middle of the stage, while it is fitted."""
    width, height = page.js("const c = document.querySelector('#stage'); return [c.clientWidth, c.clientHeight]")
    scale = min(width, height) / SIDE
    return round((x + 0.5 - SIDE / 2) * scale), round((y + 0.5 - SIDE / 2) * scale)


def stroke(page, begin, to):
    stage = page.find("#stage canvas")
    (x, y), (u, v) = screen_of(page, *begin), screen_of(page, *to)
    actions = ActionChains(page.driver, duration=20)
    actions.move_to_element_with_offset(stage, x, y).click_and_hold().move_to_element_with_offset(stage, u, v).release().perform()


def edit(page, index, width):
    page.click(f"#pair-{index} .frame")
    page.press(Keys.ENTER)
    page.wait(
        lambda: page.js(
            "return document.querySelector('#stage canvas').width > 0 && !document.querySelector('#stage-note').offsetHeight"
        )
    )
    time.sleep(0.3)
    page.click("#loupe [data-do=edit]")
    page.wait(lambda: page.find("#brush-bar").is_displayed())
    page.js("const w = document.getElementById('width'); w.value = arguments[0]", width)


def saved(page):
    page.wait(lambda: page.js("return document.getElementById('saved').value") in {"Saved", "As generated"})


def along(begin, to, radius):
    """Distance of every pixel to a line: those within `radius`, by a loop over its points."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    near = np.full((SIDE, SIDE), np.inf)
    for t in np.linspace(0, 1, 400):
        x, y = (b + (e - b) * t for b, e in zip(begin, to, strict=True))
        near = np.minimum(near, np.hypot(columns - x, rows - y))
    return near <= radius


def test_a_brush_stroke_lands_in_the_mask(page, many):
    generated = square(6, SIDE)
    edit(page, 6, width=60)
    radius = round((59 / 99) ** 2 * SIDE / 12)
    stroke(page, (40, 20), (55, 50))
    saved(page)
    mask = mask_of(many, 6)
    assert mask.shape == (SIDE, SIDE)
    added = mask & ~generated
    assert not (generated & ~mask).any()
    assert added[along((40, 20), (55, 50), radius - 1)].all()
    assert not added[~along((40, 20), (55, 50), radius + 1.5)].any()
    assert decided(many)[-1] | {"time": 0} == {
        "index": 6,
        "decision": "undecided",
        "mask": "review/000006_mask.png",
        "time": 0,
    }


def test_an_eraser_and_undo(page, many):
    generated = square(9, SIDE)
    top, left = np.argwhere(generated)[0]
    edit(page, 9, width=40)
    page.press("e")
    stroke(page, (left - 2, top + 1), (left + 8, top + 1))
    saved(page)
    erased = mask_of(many, 9)
    assert erased.sum() < generated.sum()
    assert not (erased & ~generated).any()
    page.press("b")
    stroke(page, (50, 50), (52, 50))
    page.wait(lambda: mask_of(many, 9)[50, 51])
    page.press("u")
    page.wait(lambda: np.array_equal(mask_of(many, 9), erased))
    page.press("u")  # as generated: no mended mask any more
    page.wait(lambda: decided(many)[-1]["mask"] is None)
    assert not (many / "review" / "000009_mask.png").exists()
    page.press("r")
    page.wait(lambda: decided(many)[-1]["mask"] is not None)
    assert np.array_equal(mask_of(many, 9), erased)
    page.press("g")
    page.wait(lambda: decided(many)[-1]["mask"] is None)


def test_the_brush_by_keys_alone(page, many):
    page.press(Keys.ARROW_RIGHT, Keys.ENTER)
    page.wait(lambda: page.find("#loupe").is_displayed())
    time.sleep(0.5)
    page.press("e")
    page.wait(lambda: page.find("#brush-bar").is_displayed())
    page.press(*("[" * 20), *(Keys.ARROW_RIGHT,) * 3, Keys.ARROW_DOWN, Keys.SPACE)  # from the middle, one pixel wide
    saved(page)
    expected = square(0, SIDE)
    expected[SIDE // 2 + 1, SIDE // 2 + 3] = True
    assert np.array_equal(mask_of(many, 0), expected)
    page.press(Keys.ESCAPE)
    page.wait(lambda: not page.find("#brush-bar").is_displayed())
    page.press("a")
    expect(page, many, {0: "accept"})
    assert decided(many)[-1]["mask"] == "review/000000_mask.png"


def test_a_zoomed_picture_is_painted_where_the_pointer_is(page, many):
    edit(page, 3, width=1)
    page.press("+", "+", "+")
    stage = page.find("#stage canvas")
    ActionChains(page.driver).move_to_element_with_offset(stage, 1, 1).click().perform()  # zoomed about the middle
    saved(page)
    added = np.argwhere(mask_of(many, 3) & ~square(3, SIDE))
    assert added.tolist() == [[SIDE // 2, SIDE // 2]]
