"""One page of several pictures or models, for a class: each as on a page of its own, and a chooser among them."""

import re

import pytest
from PIL import Image

from pvt_numpy.explorer.page import explore
from tests.explorer import browser
from tests.explorer.browser import click, press, text
from tests.explorer.explorer_pages import data_of, model_of, page_of
from tests.processes import BALL, command


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    """Another picture, whose name would break a careless page."""
    path = tmp_path_factory.mktemp("pictures") / "<b>mirrored & cut.png"
    with Image.open(BALL) as ball:
        ball.transpose(Image.Transpose.FLIP_LEFT_RIGHT).crop((0, 0, 300, 384)).save(path)
    return path


@pytest.fixture(scope="module")
def several(mirrored):
    return explore([BALL, mirrored], [model_of("v1"), model_of("v2")])


def test_each_pair_is_as_on_a_page_of_its_own(several, mirrored):
    alone = [page_of("v1"), explore(mirrored, model_of("v1")), page_of("v2"), explore(mirrored, model_of("v2"))]
    assert data_of(several.html) == [data_of(page.html) for page in alone]
    assert several.name == "golf_ball.jpg and 3 more"
    assert data_of(explore([BALL], (model_of("v1"),)).html) == data_of(page_of("v1").html)  # a list of one is no list


def test_names_are_given_one_by_one(mirrored):
    page = explore([BALL, mirrored], model_of("v2"), name=["a", "b"])
    assert [one["file"] for one in data_of(page.html)] == ["a", "b"]
    with pytest.raises(ValueError, match="name: found 1; expected 2, one for each picture"):
        explore([BALL, mirrored], model_of("v2"), name=["a"])


def test_a_page_for_a_class_stays_below_6_mb_a_picture():
    page = explore([BALL] * 3, model_of("shipped"), size=320)
    assert 3 * 2e6 < len(page.html.encode()) < 3 * 6e6


def test_the_command_takes_pictures_and_models_and_writes_one_page(tmp_path, mirrored):
    models = ["--model", "pvt_v1_nano_imagenette", "--model", "pvt_v2_b0_imagenette"]
    status, out, err = command("explore", BALL, mirrored, *models, cwd=tmp_path)
    assert (status, err) == (0, "")
    assert re.fullmatch(r"explorer\.html: \d\.\d\d MB; open it in a browser\n", out)
    data = data_of((tmp_path / "explorer.html").read_text(encoding="utf-8"))
    wanted = [(model, path.name) for model in models[1::2] for path in (BALL, mirrored)]
    assert [(one["model"]["name"], one["file"]) for one in data] == wanted
    in_python = [" ".join(one["model"]["options"]) for one in data]
    assert ["--model pvt_v1_nano_imagenette" in line for line in in_python] == [True, True, False, False]


def test_one_picture_that_fails_is_named_and_nothing_is_written(tmp_path):
    status, out, err = command("explore", BALL, "nowhere.jpg", cwd=tmp_path)
    assert (status, out, err) == (1, "", "explore: error: nowhere.jpg: found no such file; expected a picture\n")
    status, _, err = command("explore", BALL, tmp_path / "b.jpg", "-o", BALL, cwd=tmp_path)
    assert (status, "found a file that is read for it" in err) == (1, True)
    assert list(tmp_path.iterdir()) == []


# In a browser


@pytest.mark.browser
def test_the_chooser_shows_each_of_them_and_the_address_follows(view, several, mirrored):
    from selenium.webdriver.support.select import Select

    driver = view(several)
    chooser = Select(driver.find_element("id", "pictures"))
    names = [f"{path.name}, read by small <{kind}>" for kind in ("v1", "v2") for path in (BALL, mirrored)]
    assert [option.text for option in chooser.options] == [f"{n} · {name}" for n, name in enumerate(names, 1)]
    assert len(driver.find_elements("css selector", "#chooser b")) == 0
    for number, one in enumerate(data_of(several.html), 1):
        chooser.select_by_value(str(number))
        browser.wait(lambda n=number: f"#picture={n}&" in driver.current_url)
        assert text(driver, "#file") == one["file"]
        assert one["model"]["name"] in text(driver, "#model")
        best = driver.execute_script("return document.querySelector('#predictions td').textContent")
        assert best == one["predictions"][0]["label"]
        sources = driver.execute_script("return [...document.querySelectorAll('.frame img')].map((i) => i.src)")
        assert set(sources) == {one["picture"]["src"]}
        tokens = driver.execute_script("return page.stages.map(({ classToken }) => classToken)")
        assert tokens == [stage["classToken"] for stage in one["stages"]]


@pytest.mark.browser
def test_what_is_chosen_stays_when_the_picture_changes(view, several):
    from selenium.webdriver.support.select import Select

    driver = view(several, address="picture=2&stage=3&block=1&head=2&query=3,2")
    assert text(driver, "#chosen") == "Stage 3 · block 1 · head 2"
    Select(driver.find_element("id", "pictures")).select_by_value("4")
    browser.wait(lambda: "#picture=4&" in driver.current_url)
    assert text(driver, "#chosen") == "Stage 3 · block 1 · head 2"
    assert all(part in driver.current_url for part in ("stage=3", "block=1", "head=2", "query=3,2"))
    press(driver, "1")  # keys go to the page, not to a list that was chosen from before
    click(driver, "#photo-canvas")
    assert text(driver, "#chosen").startswith("Stage 1")


@pytest.mark.browser
def test_a_link_opens_its_picture_and_one_to_a_picture_that_is_not_here_says_so(view, several):
    driver = view(several, address="picture=3&stage=2&query=4,5&head=1&view=attention")
    assert driver.execute_script("return document.querySelector('#pictures').value") == "3"
    assert "small <v2>" in text(driver, "#model")
    assert text(driver, "#caption").startswith("Query row 4, column 5")
    driver.execute_script("location.hash = 'picture=9&stage=1'")
    browser.wait(lambda: text(driver, "#told") == "This page does not have picture=9, which its address asks for.")
    assert driver.execute_script("return document.querySelector('#pictures').value") == "3"
    driver.execute_script("location.hash = 'picture=2'")
    browser.wait(lambda: driver.execute_script("return document.querySelector('#pictures').value") == "2")


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390, 320])
def test_the_chooser_fits_the_screen_and_is_absent_from_a_page_of_one(view, several, width):
    driver = view(several, width=width)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    assert driver.find_element("id", "pictures").is_displayed()
    assert not view("v2", width=width).find_element("id", "pictures").is_displayed()
