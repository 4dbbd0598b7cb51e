"""A real browser (Debian's Chromium), with words for what a person does."""

import shutil

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from .fabricated import decided

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
SIDE = 64
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,900",
)


class Browser:
    """A browser with words for what a person does."""

    def __init__(self, profile):
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))

    def open(self, address, cells=1):
        self.driver.get(address)
        self.wait(lambda: len(self.all(".cell:not([hidden])")) >= cells)

    def press(self, *keys):
        ActionChains(self.driver).send_keys(*keys).perform()

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def click(self, selector):
        self.find(selector).click()

    def js(self, code, *given):
        return self.driver.execute_script(code, *given)

    def text(self, selector):
        return self.js("return document.querySelector(arguments[0]).textContent", selector)

    def wait(self, condition, seconds=20):
        WebDriverWait(self.driver, seconds, poll_frequency=0.05).until(lambda _: condition())

    def complaints(self):
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]


def verdicts(out):
    found = {}
    for one in decided(out) if (out / "review.jsonl").exists() else []:
        found[one["index"]] = one["decision"]
    return found


def expect(page, out, wanted):
    page.wait(lambda: verdicts(out) == wanted)
