"""The notebooks' questions: each slip is told from the right answer and from every other, and is named."""

import numpy as np
import pytest

from pvt_numpy import RECIPES, SAMPLE_PICTURE, forward, load_model, plots, preprocess
from pvt_numpy.practice import check
from pvt_numpy.practice.diagnosis import agree, outcomes
from pvt_numpy.practice.questions import questions

ALL = [pytest.param(name, text, id=f"{name}: {text}") for name, question in questions().items()
       for text in question.slips]  # fmt: skip


@pytest.mark.parametrize("name", questions())
def test_a_right_answer_is_right_and_is_no_slip(name):
    question = questions()[name]
    assert check(question.right, name) == (name, True, "right", ())
    wrongs = list(question.slips.values())
    if question.calls:
        found = [outcomes(question, wrong) for wrong in [question.right, *wrongs]]
        assert all(isinstance(one, dict) for results in found for one in results)
        assert not any(agree(a, b) for i, a in enumerate(found) for b in found[:i])
    else:
        assert len({question.right, *wrongs}) == 1 + len(wrongs)


@pytest.mark.parametrize(("name", "text"), ALL)
def test_a_slip_is_named(name, text):
    verdict = check(questions()[name].slips[text], name)
    assert (verdict.right, verdict.text) == (False, f"wrong: that is what comes out if {text}")


def not_written(x):
    raise NotImplementedError


@pytest.mark.parametrize(("answer", "name", "said"), [
    (..., "1.3", "not answered yet"), (None, "1.2", "not answered yet"), (5, "1.3", "5 is too small"),
    (9e9, "1.3", "9,000,000,000.0 is too large"), (True, "1.3", "found a bool; expected a number"),
    ("many", "1.3", "found a str; expected a number"), (3, "6.3", "found a int; expected a name"),
    ("logits", "6.3", "found 'logits'"), (3, "1.2", "found a int; expected a function"),
    (not_written, "1.2", "not written yet"), (lambda x: x.T, "1.2", "wrong shape: the result is (5, 4, 3, 2); "),
    (lambda x: x["a"], "1.2", "raises IndexError"), (lambda y: y, "1.2", "raises TypeError"),
    (lambda x: x, "1.2", "wrong numbers: ")])  # fmt: skip
def test_what_else_is_wrong_is_said(answer, name, said):
    verdict = check(answer, name)
    assert not verdict.right
    assert verdict.text.startswith(said)


def test_the_numbers_are_the_shipped_models():
    """Counted from its arrays, where the questions count from its configuration."""
    model = load_model()
    sizes = [sum(np.size(a) for a in arrays(stage)) for stage in model.params["stages"]]
    assert questions()["1.1"].right == sizes[3]
    slips = list(questions()["1.1"].slips.values())
    assert slips == [sizes[2], sum(sizes) + sum(map(np.size, arrays(model.params["head"]))),
                     len(list(arrays(model.params["stages"][3])))]  # fmt: skip
    top, _, bottom, _ = plots.seen_pixels(model.config, 2, (5, 5))
    assert bottom - top == questions()["2.1"].right


def arrays(nested):
    for part in nested.values() if isinstance(nested, dict) else nested:
        yield from (arrays(part) if isinstance(part, dict | list) else [part])


def test_what_is_measured_on_the_sample_picture():
    model = load_model()
    one, other = (forward(preprocess(SAMPLE_PICTURE, **recipe), model.params, model.config).logits
                  for recipe in (model.preprocessing, RECIPES["hf-bilinear"]))  # fmt: skip
    moved = np.abs(other - one)
    assert check(float(moved.max()), "6.1").right
    assert check(float(moved.mean()), "6.1").text.startswith("wrong: ")
