"""The gallery in a real browser: clicks and keys, and what they leave in the folder."""

import json

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from .browsing import SIDE, expect
from .fabricated import append, line, square, write_pair

pytestmark = pytest.mark.ecosystem


def test_the_token_leaves_the_address_and_the_page_loads_again(page):
    page.wait(lambda: page.driver.current_url.endswith("/"))
    page.open(page.driver.current_url, cells=12)


def test_keys_decide_move_and_undo(page, many):
    page.press(Keys.ARROW_RIGHT, "a", "d", "a")  # cracks 0, 3 and 6: types are shown one after the other
    expect(page, many, {0: "accept", 3: "reject", 6: "accept"})
    page.press("u")
    expect(page, many, {0: "accept", 3: "reject", 6: "undecided"})
    page.press("u", "u", "u")
    expect(page, many, {0: "undecided", 3: "undecided", 6: "undecided"})
    assert page.find("#pair-0").get_attribute("aria-selected") == "true"
    assert "Nothing is left to undo" in page.text("#alert")


def test_several_pairs_at_once_are_one_step(page, many):
    page.press(Keys.ARROW_RIGHT)
    page.driver.switch_to.active_element.send_keys(Keys.SHIFT + Keys.ARROW_RIGHT + Keys.ARROW_RIGHT + Keys.NULL)
    page.press("d")
    expect(page, many, {0: "reject", 3: "reject", 6: "reject"})
    page.press("u")
    expect(page, many, {0: "undecided", 3: "undecided", 6: "undecided"})
    ActionChains(page.driver).key_down(Keys.CONTROL).send_keys("a").key_up(Keys.CONTROL).send_keys("a").perform()
    expect(page, many, dict.fromkeys(range(30), "accept"))
    page.wait(lambda: "30 decided" in page.text("#status"))


def test_clicks_decide(page, many):
    page.click("#pair-3 .frame")
    page.click("#grid-bar .accept")
    expect(page, many, {3: "accept"})
    assert page.find("#pair-6").get_attribute("aria-selected") == "true"
    ActionChains(page.driver).move_to_element(page.find("#pair-9")).perform()
    page.wait(lambda: page.find("#quick .reject").is_displayed())
    page.click("#quick .reject")
    expect(page, many, {3: "accept", 9: "reject"})
    page.click("#grid-bar [data-do=undo]")
    expect(page, many, {3: "accept", 9: "undecided"})


def test_what_is_decided_leaves_a_view_of_the_undecided(page, many):
    Select(page.find("#decision")).select_by_value("undecided")
    Select(page.find("#type")).select_by_value("hole")
    assert len(page.all(".cell:not([hidden])")) == 10
    page.click("#pair-4 .frame")
    page.press("a")
    page.wait(lambda: len(page.all(".cell:not([hidden])")) == 9)
    assert page.find("#pair-7").get_attribute("aria-selected") == "true"
    page.press("d")
    expect(page, many, {4: "accept", 7: "reject"})
    page.press("u")
    page.wait(lambda: len(page.all(".cell:not([hidden])")) == 9)


def test_masks_are_sorted_by_area(page, many):
    Select(page.find("#sort")).select_by_value("large")
    Select(page.find("#type")).select_by_value("crack")
    order = page.js(
        "return [...document.querySelectorAll('.cell:not([hidden])')].map(c => [Number(c.ariaPosInSet), Number(c.dataset.index)])"
    )
    shown = [index for _, index in sorted(order)]
    assert shown == sorted(range(0, 30, 3), key=lambda index: (-square(index, SIDE).sum(), index))


def test_one_pair_at_a_time_by_keys(page, many):
    page.press(Keys.ARROW_RIGHT, Keys.ENTER)
    page.wait(lambda: page.find("#loupe").is_displayed())
    assert page.text("#loupe-title").startswith("0 ")
    page.press("a", Keys.ARROW_RIGHT, "d", Keys.ARROW_LEFT)
    expect(page, many, {0: "accept", 6: "reject"})
    page.wait(lambda: page.text("#loupe-title").startswith("6 "))
    page.press("u")
    expect(page, many, {0: "accept", 6: "undecided"})
    page.press(Keys.ESCAPE)
    page.wait(lambda: not page.find("#loupe").is_displayed())
    page.press(Keys.ARROW_RIGHT, "a")  # the gallery has the keys again, at the same pair
    expect(page, many, {0: "accept", 6: "undecided", 9: "accept"})


def test_two_tabs_lose_nothing_and_see_each_other(page, many):
    first = page.driver.current_window_handle
    page.driver.switch_to.new_window("tab")
    page.open(page.address.split("?")[0], cells=12)
    page.press(Keys.ARROW_RIGHT, "a", "a")
    second = page.driver.current_window_handle
    page.driver.switch_to.window(first)
    page.click("#pair-9 .frame")
    page.press("d")
    expect(page, many, {0: "accept", 3: "accept", 9: "reject"})
    page.wait(lambda: page.find("#pair-3").get_attribute("data-verdict") == "accept")
    page.driver.switch_to.window(second)
    page.wait(lambda: page.find("#pair-9").get_attribute("data-verdict") == "reject")
    page.driver.close()
    page.driver.switch_to.window(first)


def test_pairs_appear_while_the_run_still_writes(page, many):
    record = json.loads((many / "run.json").read_text())
    record["settings"]["count"] = 36
    (many / "run.json").write_text(json.dumps(record))
    page.wait(lambda: "30 of 36 pairs so far" in page.text("#status"))
    for index in range(30, 36):
        write_pair(many, index, SIDE)
        append(many, line(index, SIDE))
    page.wait(lambda: page.text("#status").startswith("36 pairs"))
    page.press(Keys.ARROW_RIGHT, Keys.END)
    page.wait(lambda: page.all("#pair-35"))
    page.press("a")
    expect(page, many, {35: "accept"})
