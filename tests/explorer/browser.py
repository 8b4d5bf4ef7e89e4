"""Chromium for tests: found, started without a window, and asked what it saw."""

import base64
import io
import json
import shutil
import tempfile
import time
from pathlib import Path

from PIL import Image

from tests.processes import BALL, do_without

FIRST = "stage=2&block=1&head=1"  # else the page begins with the sharpest head, which is another in another model
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def start():
    """A selenium driver; skips the test if there is no browser, and fails it with PVT_REQUIRE_BROWSER=1."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    chromedriver = shutil.which("chromedriver")
    try:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        do_without("BROWSER", "selenium is not installed (pip install selenium)")
    if not (browser and chromedriver):
        do_without("BROWSER", "there is no Chromium with its chromedriver on the PATH")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    # no sandbox: containers run as root, and the only pages are our own
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service(chromedriver))


def screen(driver, width, height=900, dark=False):
    """The size of the screen, a phone's below 600 pixels, and the colour scheme that the reader prefers."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def open_page(driver, path, address="view=attention"):
    """Opens a page of the explorer; with an address after the # no tour is offered."""
    driver.get("about:blank")  # else another address of the same page would not load it anew
    driver.get_log("browser"), driver.get_log("performance")  # forget what earlier pages said
    driver.get(path.as_uri() + (address and f"#{address}"))
    wait(lambda: driver.execute_script("return document.body.dataset.ready") == "yes")
    settle(driver)


def settle(driver):
    """Waits until what was ordered is drawn."""
    driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(() => arguments[0]()))")


def text(driver, selector):
    return driver.find_element("css selector", selector).text


def press(driver, *keys, on="body"):
    driver.find_element("css selector", on).send_keys(*keys)
    settle(driver)


def click(driver, selector):
    driver.find_element("css selector", selector).click()
    settle(driver)


def enter(driver, view):
    """To one of the page's five views, by its place on the map."""
    click(driver, f"#map [data-view={view}]")


def point(driver, x, y, press_too=False):
    """The mouse goes to a place of the photo, in fractions of it."""
    from selenium.webdriver import ActionChains

    photo = driver.find_element("id", "photo-canvas")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", photo)
    size = photo.size
    actions = ActionChains(driver, duration=0)
    actions.move_to_element_with_offset(photo, (x - 0.5) * size["width"], (y - 0.5) * size["height"])
    (actions.click() if press_too else actions).perform()
    settle(driver)


def wait(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the page did not get there in time"
        time.sleep(0.05)


def complaints(driver):
    """Everything the page wrote to the console: errors, violations of its policy, warnings."""
    return [entry["message"] for entry in driver.get_log("browser")]


def requested(driver):
    """The addresses that were asked for since the page was opened, data: and blob: left out."""
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    addresses = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    return [address for address in addresses if not address.startswith(("data:", "blob:"))]


def screenshot(driver, path, width, height):
    """The top of the page as a PNG of 32 shades a colour, which is small enough for a repository."""
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "clip": clip})
    with Image.open(io.BytesIO(base64.b64decode(shot["data"]))) as image:
        image.convert("RGB").point(lambda value: min(255, (value + 4) // 8 * 8)).save(path, optimize=True)


def main():
    """Takes the README's picture anew: `PYTHONPATH=. python tests/explorer/browser.py`"""
    from tests.explorer.explorer_pages import page_of

    with tempfile.TemporaryDirectory() as folder, start() as driver:
        path = Path(folder) / "page.html"
        page_of("shipped").save(path)
        screen(driver, 1280)
        open_page(driver, path)
        for x, y, pin in ((0.2, 0.8, True), (0.46, 0.43, False)):
            point(driver, x, y, press_too=pin)
        time.sleep(0.6)  # the address and the line of Python follow
        driver.execute_script("scrollTo(0, 0)")
        settle(driver)
        screenshot(driver, BALL.with_name("explorer.png"), 1280, 900)


if __name__ == "__main__":
    main()
