"""axe-core finds nothing to complain of in any view of the explorer, at either size, light and dark."""

import pytest

from pvt_numpy.explorer.page import explore
from tests.explorer.browser import click, settle
from tests.explorer.explorer_pages import model_of
from tests.processes import BALL

pytestmark = pytest.mark.browser
VIEWS = ("overview", "stage", "block", "attention", "formula")


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_no_view_shuts_anybody_out(view, axe, width, dark):
    """With a class token, a chooser, the offer of the tour, and something pinned."""
    driver = view(explore([BALL, BALL], model_of("v1")), width=width, dark=dark)
    for name in VIEWS:
        driver.execute_script("location.hash = arguments[0]", f"view={name}&stage=3&block=1&head=2&pin=2,2")
        settle(driver)
        assert driver.execute_script("return state.view") == name
        assert axe(driver) == [], name


def test_the_tour_shuts_nobody_out(view, axe):
    driver = view("v2")
    click(driver, "#tour-start")
    assert axe(driver) == []
