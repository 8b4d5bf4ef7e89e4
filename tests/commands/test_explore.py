"""`pvt_numpy.explore`: a user's mistakes, the command, the notebook, and a function that is no module."""

import html as html_module
import re
from dataclasses import replace

import numpy as np
import pytest

from pvt_numpy.explorer.page import explore
from tests.explorer.explorer_pages import data_of, model_of, page_of
from tests.processes import BALL, command, run


@pytest.mark.parametrize(("arguments", "words"), [
    ({"size": 513}, "found 513 x 513 pixels for the model; expected at most 512 on a side"),
    ({"size": (64, 513)}, "found 513 x 64 pixels for the model; expected at most 512 on a side"),
    ({"size": 22.4}, "image size: found 22.4; expected n, (height, width)"),
    ({"size": 20}, "found 20 x 20 pixels for the model; expected at least 29 x 29"),
    ({"image": "nowhere.jpg"}, "nowhere.jpg: found no such file"),
    ({"image": [[BALL, BALL]]}, "image: found several pictures; expected one"),
    ({"image": []}, "image: found an empty list; expected at least one"),
    ({"model": ()}, "model: found an empty list; expected at least one"),
    ({"image": [BALL, "nowhere.jpg"]}, "nowhere.jpg: found no such file")])  # fmt: skip
def test_mistakes_are_named(arguments, words):
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(words)):
        explore(**{"image": BALL, "model": model_of("shipped")} | arguments)


def test_a_recipe_that_gives_a_larger_picture_needs_a_size():
    model = replace(model_of("v2"), preprocessing={"size": {"height": 640, "width": 640}})
    with pytest.raises(ValueError, match="found 640 x 640 pixels for the model; expected at most 512"):
        explore(BALL, model)
    assert data_of(explore(BALL, model, size=96).html)["input"] == [96, 96]
    assert data_of(explore(BALL, model, size=(64, 96)).html)["input"] == [64, 96]


def test_outputs_that_are_no_numbers_are_refused():
    model = model_of("v2")
    head = {"weight": model.params["head"]["weight"], "bias": np.full(4, np.nan, np.float32)}
    with pytest.raises(ValueError, match=r"golf_ball\.jpg: found outputs of the model that are not finite"):
        explore(BALL, replace(model, params=model.params | {"head": head}))


def test_a_file_s_name_that_is_no_text_is_shown_as_far_as_it_is(tmp_path):
    explore(BALL, model_of("v2"), name="caf\udce9.jpg").save(tmp_path / "page.html")
    assert data_of((tmp_path / "page.html").read_text(encoding="utf-8"))["file"] == "caf?.jpg"


def test_the_command_writes_a_page_and_says_so(tmp_path):
    status, out, err = command("explore", BALL, cwd=tmp_path)
    assert (status, err) == (0, "")
    assert re.fullmatch(r"explorer\.html: \d\.\d\d MB; open it in a browser\n", out)
    assert [path.name for path in tmp_path.iterdir()] == ["explorer.html"]
    written, same = data_of((tmp_path / "explorer.html").read_text(encoding="utf-8")), data_of(page_of("shipped").html)
    for name in ("file", "model", "input", "picture"):
        assert written[name] == same[name]


def test_the_command_fails_in_one_line_and_leaves_the_old_page(tmp_path):
    page = tmp_path / "old.html"
    page.write_text("old", encoding="utf-8")
    status, out, err = command("explore", tmp_path / "no\npicture.jpg", "-o", page)
    assert (status, out, page.read_text(encoding="utf-8")) == (1, "", "old")
    assert re.fullmatch(r"explore: error: .*no picture\.jpg: found no such file; expected a picture\n", err)
    assert command("explore", BALL, "--image-size", "none")[0] == 2
    status, _, err = command("explore", BALL, "--image-size", "513", "-o", page)
    assert (status, err.split("; ")[0]) == (1, "explore: error: golf_ball.jpg: found 513 x 513 pixels for the model")


def test_a_notebook_shows_the_page_in_place():
    shown = page_of("v1")._repr_html_()
    [source] = re.findall(r'srcdoc="(.*?)"', shown, re.DOTALL)
    assert html_module.unescape(source) == page_of("v1").html
    assert "<" not in source
    assert repr(page_of("v1")).startswith("<explorer page for golf_ball.jpg, ")


def test_explore_is_a_function_that_is_imported_when_it_is_asked_for():
    program = f"""if True:
        import sys, pvt_numpy
        assert not {{"pvt_numpy.explorer.page", "pvt_numpy.explore"}} & set(sys.modules)
        from pvt_numpy import explore
        assert type(explore) is type(pvt_numpy.load_model) and explore is pvt_numpy.explore
        assert pvt_numpy.explore({str(BALL)!r}, size=64).name == "golf_ball.jpg"
        assert "pvt_numpy.explore" not in sys.modules and not hasattr(pvt_numpy, "nothing")
        import pvt_numpy.explore  # the command, which Python puts in the function's place
        assert pvt_numpy.explore({str(BALL)!r}, size=64).name == "golf_ball.jpg" and pvt_numpy.explore.main"""
    assert run("-c", program) == (0, "", "")
