"""`pvt_numpy.explore`: a user's mistakes, the command, the notebook, and one name for a module and a function."""

import html as html_module
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pvt_numpy import explore
from tests.explorer.explorer_pages import GOLF_BALL, data_of, page_of, shipped, small_model

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"size": 513}, "size is 513; expected a whole number of pixels from 1 to 512"),
     ({"size": (64, 513)}, "size is (64, 513); expected a whole number of pixels from 1 to 512"),
     ({"size": 20}, "no 8 x 8 square for a key"),
     ({"image": "nowhere.jpg"}, "nowhere.jpg: found no such file"),
     ({"image": [GOLF_BALL, GOLF_BALL]}, "found several pictures, expected one")],
)  # fmt: skip
def test_mistakes_are_named(arguments, words):
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(words)):
        explore(**{"image": GOLF_BALL, "model": shipped()} | arguments)


def test_a_recipe_that_gives_a_larger_picture_needs_a_size():
    model = replace(small_model("v2"), preprocessing={"size": {"height": 640, "width": 640}})
    with pytest.raises(ValueError, match="640 x 640 pixels; expected at most 512"):
        explore(GOLF_BALL, model)
    assert data_of(explore(GOLF_BALL, model, size=96).html)["input"] == [96, 96]
    assert data_of(explore(GOLF_BALL, model, size=(64, 96)).html)["input"] == [64, 96]


def test_outputs_that_are_no_numbers_are_refused():
    model = small_model("v2")
    head = {"weight": model.params["head"]["weight"], "bias": np.full(4, np.nan, np.float32)}
    with pytest.raises(ValueError, match=r"golf_ball\.jpg: the model's outputs are not finite"):
        explore(GOLF_BALL, replace(model, params=model.params | {"head": head}))


def test_a_file_s_name_that_is_no_text_is_shown_as_far_as_it_is(tmp_path):
    page = explore(GOLF_BALL, small_model("v2"), name="caf\udce9.jpg")
    page.save(tmp_path / "page.html")
    assert data_of((tmp_path / "page.html").read_text(encoding="utf-8"))["file"] == "caf?.jpg"


def command(*arguments, **options):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-m", "pvt_numpy.explore", *map(str, arguments)], capture_output=True,
                          text=True, encoding="utf-8", env=environment, **options)  # fmt: skip


def test_the_command_writes_a_page_and_says_so(tmp_path):
    done = command(GOLF_BALL, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")  # and no warning that a module was imported twice
    assert re.fullmatch(r"explorer\.html: 1\.\d\d MB; open it in a browser\n", done.stdout)
    assert [path.name for path in tmp_path.iterdir()] == ["explorer.html"]
    written, same = (data_of(html) for html in ((tmp_path / "explorer.html").read_text(encoding="utf-8"),
                                                page_of("shipped").html))  # fmt: skip
    assert (written["file"], written["model"], written["input"]) == (same["file"], same["model"], same["input"])
    assert written["picture"] == same["picture"]


def test_the_command_fails_in_one_line_and_leaves_the_old_page(tmp_path):
    (tmp_path / "old.html").write_text("old", encoding="utf-8")
    done = command(tmp_path / "no\npicture.jpg", "-o", tmp_path / "old.html")
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(r"explore: error: .*no picture\.jpg: found no such file; expected a picture\n", done.stderr)
    assert (tmp_path / "old.html").read_text(encoding="utf-8") == "old"
    assert command(GOLF_BALL, "--image-size", "none").returncode == 2


def test_a_page_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    page, path = page_of("v2"), tmp_path / "page.html"
    path.write_text("old", encoding="utf-8")
    monkeypatch.setattr(os, "fsync", lambda file: (_ for _ in ()).throw(OSError(28, "disk full")))
    with pytest.raises(OSError, match="disk full"):
        page.save(path)
    assert [one.name for one in tmp_path.iterdir()] == ["page.html"]
    assert path.read_text(encoding="utf-8") == "old"


def test_a_notebook_shows_the_page_in_place():
    shown = page_of("v1")._repr_html_()
    [source] = re.findall(r'srcdoc="(.*?)"', shown, re.DOTALL)
    assert html_module.unescape(source) == page_of("v1").html
    assert "<" not in source
    assert repr(page_of("v1")).startswith("<explorer page for golf_ball.jpg, ")


@pytest.mark.parametrize("order", [("function", "module"), ("module", "function")])
def test_explore_is_a_function_and_a_module_in_any_order(order):
    steps = {
        "function": f"assert pvt_numpy.explore({str(GOLF_BALL)!r}, size=64).name == 'golf_ball.jpg'",
        "module": "import pvt_numpy.explore; from pvt_numpy.explore import main, explore; "
                  "assert explore is pvt_numpy.explore.explore",
    }  # fmt: skip
    program = "; ".join(["import sys, pvt_numpy; assert 'pvt_numpy.explore' not in sys.modules",
                         *(steps[one] for one in order), "assert callable(pvt_numpy.explore)",
                         "assert not hasattr(pvt_numpy, 'nothing')"])  # fmt: skip
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
