"""The page read only, on a phone, in one file, of a stranger, and of very many pairs, in a real browser."""

import json

import pytest
from click.testing import CliRunner
from selenium.webdriver.common.keys import Keys

from seas_runtime.dataset.review.cli import review

from .browsing import SIDE, expect
from .fabricated import TYPES, append, line, write_run, write_training
from .serving import end, start

pytestmark = pytest.mark.ecosystem


@pytest.mark.parametrize("page", [("--read-only",)], indirect=True)
def test_read_only_takes_nothing(page, many):
    page.press(Keys.ARROW_RIGHT, "a", "d", Keys.ENTER)
    page.wait(lambda: page.find("#loupe").is_displayed())
    assert not page.find("#loupe-decide .accept").is_displayed()
    page.press("a", "e", Keys.ARROW_RIGHT)
    page.wait(lambda: page.text("#loupe-title").startswith("3 "))
    assert not page.find("#brush-bar").is_displayed()
    assert sorted(path.name for path in many.iterdir()) == ["metadata.jsonl", "run.json", "tile"]


def phone(browser):
    browser.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True},
    )
    browser.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})


def overflow(page):
    return page.js("return document.documentElement.scrollWidth - document.documentElement.clientWidth")


def test_a_phone_has_room_for_everything(page, many):
    phone(page)
    page.open(page.address.split("?")[0], cells=6)
    assert overflow(page) <= 0
    page.click("#pair-0 .frame")  # a tap opens
    page.wait(lambda: page.find("#loupe").is_displayed())
    assert overflow(page) <= 0
    for button in page.all("#loupe-decide button"):
        box = button.rect
        assert box["width"] >= 32
        assert box["height"] >= 40
        assert 0 <= box["x"] <= box["x"] + box["width"] <= 360
    page.click("#loupe-decide .accept")
    expect(page, many, {0: "accept"})
    page.click("#loupe-decide [data-do=edit]")
    page.wait(lambda: page.find("#brush-bar").is_displayed())
    assert overflow(page) <= 0
    for button in page.all("#brush-bar button"):
        assert 0 <= button.rect["x"] <= button.rect["x"] + button.rect["width"] <= 360


def test_real_anomalies_stand_beside_and_in_the_figures(tmp_path, many, browser):
    training = write_training(tmp_path / "data", side=SIDE)
    process, address = start(many, "--training", training)
    try:
        browser.open(address, cells=12)
        browser.wait(lambda: "most like real ones" in browser.text("#sort"))
        browser.press(Keys.ARROW_RIGHT, Keys.ENTER)
        browser.wait(lambda: "most like this pair" in browser.text("#reals figcaption"))
        assert len(browser.all("#reals .strip button")) == 2
        browser.wait(lambda: browser.js("return document.querySelector('#reals .picture').naturalWidth") == SIDE)
        browser.press("f")
        browser.wait(lambda: "30 pairs of all types, 6 real anomalies." in browser.text("#figures-of"))
        assert len(browser.all("#areas rect.real")) > 0
        browser.press(Keys.ESCAPE)
        browser.wait(lambda: not browser.find("#figures").is_displayed())
        assert browser.find("#loupe").is_displayed()
    finally:
        browser.driver.get("about:blank")
        end(process)


def test_one_file_shows_the_same_without_server(tmp_path, many, browser):
    training = write_training(tmp_path / "data", side=SIDE)
    file = tmp_path / "page.html"
    assert CliRunner().invoke(review, [str(many), "--training", str(training), "--static", str(file)]).exit_code == 0
    browser.open(file.as_uri(), cells=12)
    browser.wait(lambda: all(image.get_property("naturalWidth") == SIDE for image in browser.all(".cell:not([hidden]) .picture")))
    browser.press(Keys.ARROW_RIGHT, "a", Keys.ENTER)
    browser.wait(lambda: browser.find("#loupe").is_displayed())
    browser.press("f")
    browser.wait(lambda: "6 real anomalies" in browser.text("#figures-of"))


def test_names_of_strangers_are_text(tmp_path, browser):
    out = write_run(tmp_path / "out", 12, SIDE)
    name = "<img src=x onerror=document.title='gone'>"
    (out / "metadata.jsonl").write_text((out / "metadata.jsonl").read_text().replace(f'"{TYPES[0]}"', json.dumps(name)))
    (out / "run.json").unlink()
    process, address = start(out)
    try:
        browser.open(address, cells=12)
        assert name in [head.text for head in browser.all("h2.type span")]
        browser.press(Keys.ARROW_RIGHT, Keys.ENTER)
        browser.wait(lambda: name in browser.text("#loupe-title"))
        assert browser.driver.title == "tile, review"
    finally:
        browser.driver.get("about:blank")
        end(process)


def test_ten_thousand_pairs_are_no_more_work_than_those_in_sight(tmp_path, browser):
    out = write_run(tmp_path / "out", 12, 16)
    (out / "metadata.jsonl").unlink()
    files = [{key: line(index)[key] for key in ("file_name", "mask_file_name")} for index in range(12)]
    append(out, *(line(index, **files[index % 12]) for index in range(10_000)))
    process, address = start(out)
    try:
        browser.open(address, cells=12)
        browser.wait(lambda: "10,000" in browser.text("#status"))
        browser.press(Keys.ARROW_RIGHT, Keys.END)
        browser.wait(lambda: browser.all("#pair-9998[aria-selected=true]"))  # the last stain
        browser.wait(lambda: browser.js("return document.querySelector('#pair-9998 .picture').naturalWidth") == 16)
        assert len(browser.all(".cell")) < 200
        browser.press("a")
        expect(browser, out, {9998: "accept"})
    finally:
        browser.driver.get("about:blank")
        end(process)
