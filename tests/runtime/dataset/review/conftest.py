"""A folder to review, what is open on it, and a browser."""

import pytest

from seas_runtime.dataset.review.gallery import Gallery
from seas_runtime.dataset.review.log import DecisionLog

from .fabricated import write_run
from .serving import end, start


@pytest.fixture
def out(tmp_path):
    return write_run(tmp_path / "out")


@pytest.fixture
def log(out):
    return DecisionLog(out)


@pytest.fixture
def gallery(out, log):
    return Gallery(out, log)


@pytest.fixture(scope="package")
def driver(tmp_path_factory):
    from .browsing import CHROMIUM, DRIVER, Browser

    if not (CHROMIUM and DRIVER):
        pytest.skip("no Chromium here: apt-get install chromium chromium-driver")
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.driver.quit()


@pytest.fixture
def browser(driver):
    """At desktop size, forgetting earlier pages; no page may complain in the console."""
    driver.driver.get("about:blank")
    driver.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    driver.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
    driver.complaints()
    yield driver
    assert driver.complaints() == []


@pytest.fixture
def many(tmp_path):
    """Thirty pairs of 64 x 64 pixels."""
    return write_run(tmp_path / "out", 30, 64)


@pytest.fixture
def page(many, browser, request):
    """The browser with the page open."""
    process, address = start(many, *getattr(request, "param", ()))
    browser.address = address
    browser.open(address, cells=12)
    yield browser
    browser.driver.get("about:blank")
    assert end(process)[0] == 0
