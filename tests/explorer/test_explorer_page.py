"""The explorer's page in a real browser: it asks for nothing, breaks on nothing, fits any screen, and keeps up."""

import statistics

import numpy as np
import pytest
from PIL import Image

from pvt_numpy.explorer.page import explore
from tests.explorer import browser
from tests.explorer.browser import point, press, text
from tests.explorer.explorer_pages import model_of, page_of
from tests.processes import BALL

pytestmark = pytest.mark.browser


def test_hostile_names_are_shown_and_do_nothing(view):
    name = "<script>alert(1)</script>.jpg"
    driver = view(explore(Image.open(BALL), model_of("v2"), name=name))
    assert text(driver, "#file") == name
    assert driver.title.startswith(name)
    counts = [len(driver.find_elements("css selector", tags)) for tags in ("script", "#predictions b, #facts b")]
    assert counts == [2, 0]
    assert all(words in text(driver, "#predictions") for words in ("</script><b>x", 'a "quoted" label'))


def test_nothing_but_the_file_is_ever_asked_for(view, tmp_path):
    driver = view()
    for key in "1234rhb":
        press(driver, key)
    point(driver, 0.3, 0.6, press_too=True)
    assert browser.requested(driver) == [(tmp_path / "page.html").as_uri()]
    fetching = "const done = arguments[0]; fetch('data:,x').then(() => done(true), () => done(false))"
    assert not driver.execute_async_script(fetching)  # the policy holds, even for what would need no network
    browser.complaints(driver)  # which the browser reports; that is the point


@pytest.mark.parametrize("width", [1280, 820, 390, 320])
@pytest.mark.parametrize("kind", ["shipped", "v1"])
def test_nothing_is_wider_than_the_screen(view, width, kind):
    driver = view(kind, width=width)
    for stage in "123":
        press(driver, stage)
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    photo = driver.find_element("id", "photo-canvas")
    beside = driver.find_element("id", "pinned").location
    assert beside["x"] > photo.rect["x"] if width > 700 else beside["y"] > photo.rect["y"] + photo.rect["height"]
    assert photo.size["width"] > 0.44 * width
    assert abs(photo.size["width"] / photo.size["height"] - 512 / 384) < 0.02  # in the photo's own proportions


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_shifts_while_the_query_moves_and_stages_change(view, width):
    driver = view(width=width)
    driver.execute_script("""window.shifted = 0; new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) shifted += entry.value; }).observe({type: 'layout-shift'});""")
    positions = "return ['.beside', '.arithmetic'].map((s) => find(s).getBoundingClientRect().top + scrollY)"
    before = driver.execute_script(positions)
    for x in (0.05, 0.5, 0.95):
        point(driver, x, x, press_too=True)
    for key in "1r2r3h4m":
        press(driver, key)
    assert driver.execute_script("return shifted") < 0.01
    after = driver.execute_script(positions)
    assert np.abs(np.subtract(after, before)).max() < 1  # the photo's row and what follows it stand still


def test_a_frame_is_worked_out_in_time_for_60_a_second(view):
    driver = view()
    for keys in ("1", "r", "4"):
        press(driver, keys)
        times = driver.execute_async_script(
            """const done = arguments[0]; let i = 0; frameTimes.length = 0;
            requestAnimationFrame(function frame() {
              if (i++ === 90) return done(frameTimes);
              movePlace({x: (i * 0.137) % 1, y: (i * 0.291) % 1, classToken: false});
              requestAnimationFrame(frame);
            })""")  # fmt: skip
        assert len(times) > 15
        assert statistics.median(times) < 16


def test_light_and_dark(view):
    def paper_over_ink(driver):
        found = "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
        colours = (colour[colour.index("(") + 1 : -1].split(",")[:3] for colour in driver.execute_script(found))
        paper, ink = (sum(map(float, colour)) / 765 for colour in colours)
        return paper - ink

    assert paper_over_ink(view()) > 0.7
    assert paper_over_ink(view(dark=True)) < -0.7


def test_what_can_be_used_has_a_name_and_focus_can_be_seen(view):
    from selenium.webdriver import Keys

    driver = view("v1")
    nameless = driver.execute_script(
        """return [...document.querySelectorAll('button, [role=img], [role=application], [role=group]')]
        .filter((e) => !(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || e.textContent.trim()))
        .map((e) => e.outerHTML)""")  # fmt: skip
    assert nameless == []
    assert driver.find_element("id", "live").get_attribute("aria-live") == "polite"
    seen = []
    for _ in range(12):
        press(driver, Keys.TAB, on="body") if not seen else driver.switch_to.active_element.send_keys(Keys.TAB)
        focused = driver.switch_to.active_element
        seen.append(focused.get_attribute("id") or focused.text or focused.get_attribute("aria-label"))
        assert "solid 3px" in driver.execute_script("return getComputedStyle(document.activeElement).outline")
    assert {"forward", "reverse", "pin-button", "photo-canvas"} <= set(seen)


def test_it_shows_in_a_notebook_s_frame(chrome, tmp_path):
    """The page works inside the frame that a notebook gets, under the notebook's own style."""
    html = f"<!DOCTYPE html><meta charset=utf-8><title>n</title>{page_of('v2')._repr_html_()}"
    (tmp_path / "notebook.html").write_text(html, encoding="utf-8")
    browser.screen(chrome, 1000)
    browser.complaints(chrome)
    chrome.get((tmp_path / "notebook.html").as_uri())
    chrome.switch_to.frame(chrome.find_element("css selector", "iframe"))
    try:
        browser.wait(lambda: chrome.execute_script("return document.body.dataset.ready") == "yes")
        assert text(chrome, "#caption").startswith("Query row")
    finally:
        chrome.switch_to.default_content()
    assert browser.complaints(chrome) == []
