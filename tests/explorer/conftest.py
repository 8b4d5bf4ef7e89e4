"""A real browser for the tests marked `browser`."""

import pytest

from . import browser
from .explorer_pages import page_of


@pytest.fixture
def view(chrome, tmp_path):
    """Opens a page of the explorer: view("shipped"), view("v1"), or view(page) for one of the test's own."""

    def opened(page="shipped", width=1280, dark=False, address="view=attention"):
        page = page_of(page) if isinstance(page, str) else page
        page.save(tmp_path / "page.html")
        browser.screen(chrome, width, height=844 if width < 600 else 900, dark=dark)
        browser.open_page(chrome, tmp_path / "page.html", address)
        return chrome

    yield opened
    assert browser.complaints(chrome) == []  # after everything that the test did
