"""Practice: right answers are right, each known mistake is named and no other, and what else is wrong is said in words.

The right answers are the loops of the layers' own tests. Beside the mistakes of the list, which check that no two give
the same numbers, stand some that are written anew, as a learner would write them.
"""

import json
import math
from itertools import combinations

import numpy as np
import pytest

from pvt_numpy.fast import plain
from pvt_numpy.practice import check
from pvt_numpy.practice.__main__ import main
from pvt_numpy.practice.diagnosis import agree, outcomes
from pvt_numpy.practice.exercises import BACKWARD, EXERCISES, FORWARD
from pvt_numpy.reference.mistakes import MISTAKES, in_place
from tests.layers import test_activations, test_attention, test_head, test_mlp, test_patch_embed, test_position
from tests.layers.test_convolution import CONV
from tests.layers.test_layernorm import NORM
from tests.layers.test_linear import LINEAR
from tests.layers.test_softmax import SOFTMAX
from tests.processes import run


def twins():
    """name -> the loops of every layer that a test file has them for."""
    files = test_activations, test_attention, test_head, test_mlp, test_patch_embed, test_position
    layers = [case.layer for file in files for case in file.CASES] + [CONV, NORM, LINEAR, SOFTMAX]
    return {layer.name.partition(".")[2]: layer for layer in layers}


@pytest.mark.parametrize("name", [exercise.name for exercise in FORWARD])
def test_right_answers_are_right(name):
    assert check(twins()[name], name) == (name, True, "right", ())


def test_a_right_answer_that_a_learner_writes_is_right():
    assert check(sra, "attention").right


@pytest.mark.parametrize("exercise", BACKWARD, ids=lambda exercise: exercise.name)
def test_the_packages_own_gradients_are_right(exercise):
    assert check(exercise.right) == (exercise.name, True, "right", ())


def with_mistakes(exercise, *names):
    """The right layer with these mistakes in it, as a function of its own."""

    def layer(*args, **options):
        with in_place(**{MISTAKES[name].layer: MISTAKES[name].wrong for name in names}):
            return exercise.right(*args, **options)

    return layer


def told(exercise):
    """The results of every mistake that makes an exercise's numbers wrong."""
    with plain(), np.errstate(all="ignore"):
        right = outcomes(exercise, exercise.right)
        found = {name: outcomes(exercise, with_mistakes(exercise, name)) for name in MISTAKES}
        return {name: results for name, results in found.items()
                if any(isinstance(one, dict) for one in results) and not agree(results, right)}  # fmt: skip


def test_no_two_mistakes_give_the_same_numbers_and_each_is_told_somewhere():
    missed = set(MISTAKES) - {"class-token"}  # the exercise is the other head
    for exercise in EXERCISES.values():
        found = told(exercise)
        missed -= found.keys()
        for one, other in combinations(found, 2):
            assert not agree(found[one], found[other]), (exercise.name, one, other)
    assert missed == set()
    assert len(MISTAKES) >= 40


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=lambda exercise: exercise.name)
def test_a_mistake_is_named(exercise):
    *_, last = told(exercise)
    verdict = check(with_mistakes(exercise, last), exercise.name)
    assert (verdict.right, verdict.mistakes) == (False, (last,))
    assert MISTAKES[last].text in verdict.text


@pytest.mark.parametrize(("name", "two"), [
    ("attention", ("kv", "softmax-axis")), ("attention", ("no-sr-norm", "merge")),
    ("dwconv_mlp", ("gelu", "dw-flipped")), ("linear_attention", ("no-gelu", "softmax-axis")),
    ("overlapping_patch_embed", ("flipped", "columns")), 
    ("attention_backward", ("one-path", "no-average"))])  # fmt: skip
def test_two_mistakes_at_once_are_both_named(name, two):
    assert set(check(with_mistakes(EXERCISES[name], *two), name).mistakes) == set(two)


# What a learner might write, with one mistake each, without a line of the package
def sra(x, grid, q, kv, proj, sr=None, norm=None, *, heads, ratio, eps, root=None, values_first=False, axis=-1):
    (B, N, C), (H, W) = x.shape, grid
    reduced = x
    if ratio > 1:
        squares = x.reshape(B, H // ratio, ratio, W // ratio, ratio, C)
        reduced = np.einsum("bhiwjc,ocij->bhwo", squares, sr["weight"]).reshape(B, -1, C) + sr["bias"]
        reduced = reduced - reduced.mean(-1, keepdims=True)
        reduced = reduced / np.sqrt(reduced.var(-1, keepdims=True) + eps) * norm["weight"] + norm["bias"]
    queries = (x @ q["weight"].T + q["bias"]).reshape(B, N, heads, -1).swapaxes(1, 2)
    both = (reduced @ kv["weight"].T + kv["bias"]).reshape(B, -1, 2, heads, C // heads).transpose(2, 0, 3, 1, 4)
    values, keys = both if values_first else both[::-1]
    scores = queries @ keys.swapaxes(-1, -2) / math.sqrt(root or C // heads)
    probs = np.exp(scores) / np.exp(scores).sum(axis, keepdims=True)
    return (probs @ values).swapaxes(1, 2).reshape(B, N, C) @ proj["weight"].T + proj["bias"], probs


def changed(function, **more):
    return lambda *args, **options: function(*args, **options, **more)


def no_bias_conv(x, weight, bias=None, *, stride, padding=0):
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    k = weight.shape[-1]
    H, W = ((n - k) // stride + 1 for n in x.shape[1:3])
    y = np.zeros((len(x), H, W, len(weight)))
    for i, j in np.ndindex(k, k):
        y += x[:, i : i + H * stride : stride, j : j + W * stride : stride][:, :H, :W] @ weight[:, :, i, j].T
    return y


def norm_backward_without_mean(dy, x, weight, bias, *, eps):
    s = np.sqrt(x.var(-1, keepdims=True) + eps)
    xhat, g = (x - x.mean(-1, keepdims=True)) / s, dy * weight
    dx = (g - xhat * (g * xhat).mean(-1, keepdims=True)) / s
    return dx, {"weight": (dy * xhat).sum((0, 1)), "bias": dy.sum((0, 1))}


WRITTEN = [
    ("softmax", lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True), ("overflow",)),
    ("layer_norm", lambda x, weight, bias, *, eps: (x - x.mean(-1, keepdims=True))
     / np.sqrt(x.var(-1, ddof=1, keepdims=True) + eps) * weight + bias, ("variance",)),
    ("layer_norm", lambda x, weight, bias, *, eps: (x - x.mean(-1, keepdims=True))
     / np.sqrt((x * x).mean(-1, keepdims=True) - x.mean(-1, keepdims=True) ** 2 + eps) * weight + bias, ("one-pass",)),
    ("gelu", lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))), ("gelu",)),
    ("linear", lambda x, weight, bias=None: x @ weight if bias is None else x @ weight + bias, ("transposed",)),
    ("linear", lambda x, weight, bias=None: x @ weight.T, ("bias",)),
    ("conv2d", no_bias_conv, ("bias",)),
    ("attention", changed(sra, root=10), ("sqrt-C",)),
    ("attention", changed(sra, root=1), ("no-sqrt",)),
    ("attention", changed(sra, values_first=True), ("kv",)),
    ("attention", changed(sra, axis=-2), ("softmax-axis",)),
    ("layer_norm_backward", norm_backward_without_mean, ("no-mean-term",)),
    ("mean_pool_head", lambda x, weight=None, bias=None: (
        (x.sum(1) if weight is None else x.sum(1) @ weight.T + bias), x.sum(1)), ("sum",)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "function", "mistake"), WRITTEN)
def test_what_a_learner_writes(name, function, mistake):
    verdict = check(function, name)
    assert not verdict.right
    assert verdict.mistakes == mistake


def conv_raises(x, weight, bias=None, *, stride, padding=0):
    return x["a"]


@pytest.mark.parametrize(("name", "function", "said"), [
    ("gelu", lambda x: None, "y is None; expected an array (is the `return` missing?)"),
    ("attention", lambda *a, **k: None, "returns nothing; is the `return` missing?"),
    ("gelu", lambda x: x.tolist(), "y is a list; expected an array"),
    ("gelu", lambda x: x.astype(np.float32), "y is of type float32; expected float64, as the inputs"),
    ("gelu", lambda x: x.T, "wrong shape: y is (10, 24, 3); expected (3, 24, 10)"),
    ("gelu", lambda x: np.multiply(x, 2, out=x), "writes into an array that it was given; expected a new array"),
    ("gelu", lambda: 0, "raises TypeError"),
    ("conv2d", conv_raises, 'raises IndexError: only integers'),
    ("conv2d", conv_raises, ': return x["a"])'),
    ("attention", lambda x, *a, **k: x, "returns 1 result; expected 2: y and probs"),
    ("mean_pool_head", lambda *a, **k: (1, 2, 3), "returns 3 results; expected 2: logits and the pooled features"),
    ("linear_backward", lambda dy, x, weight, *b, **k: (dy @ weight, {}), "grads holds nothing; expected weight, bias"),
    ("linear_backward", lambda dy, x, weight, *b, **k: (dy @ weight, 1), "grads is a int; expected a dict with weight"),
    ("softmax", lambda x: 2 * SOFTMAX(x), "each is 2 times what it should be"),
    ("softmax", lambda x: 0.25 + SOFTMAX(x), "each is 0.25 too large"),
    ("patch_embed", lambda *a, **k: (twins()["patch_embed"](*a, **k)[0], (5, 4)), "grid is (5, 4); expected (3, 4)"),
])  # fmt: skip
def test_what_else_is_wrong_is_said(name, function, said):
    verdict = check(function, name)
    assert not verdict.right
    assert said in verdict.text


def test_another_name_is_refused():
    with pytest.raises(ValueError, match="check: found 'my_norm'; expected a function named as a layer: linear, la"):
        check(lambda x: x, "my_norm")


def test_the_file_to_fill_in(tmp_path):
    file = tmp_path / "my pvt.py"
    assert main(["start", str(file)]) == 0
    assert run("-m", "pvt_numpy.practice", "start", str(file))[0] == 1  # nothing is written over
    status, out, _ = run("-m", "pvt_numpy.practice", "check", str(file), "--json")
    told = [json.loads(line) for line in out.splitlines()]
    assert (status, [one["name"] for one in told]) == (1, list(EXERCISES))
    assert {one["text"] for one in told} == {"not written yet"}


def test_when_all_twelve_are_right_they_are_the_model_that_ships(tmp_path, capsys):
    file = tmp_path / "my_pvt.py"
    homes = "\n".join(f"from pvt_numpy.layers.{e.layer.replace('.', ' import ')}" for e in FORWARD)
    file.write_text(homes, encoding="utf-8")
    assert main(["check", str(file), *(exercise.name for exercise in FORWARD)]) == 0
    assert "12 of 12 right" in (out := capsys.readouterr().out)
    assert out.endswith("The model that ships, run by them alone: golf ball 91.9%\n")


@pytest.mark.parametrize(("text", "said"), [
    ("def gelu(x):\n  return (x", "line 2: found '(' was never closed: return (x; expected Python"),
    ("x = 1\n1 / 0", "line 2: found ZeroDivisionError: division by zero; expected a file that runs"),
    ("exit()", "found SystemExit: None; expected a file that runs")])  # fmt: skip
def test_a_file_that_does_not_run_is_one_line(text, said, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(text, encoding="utf-8")
    status, out, err = run("-m", "pvt_numpy.practice", "check", str(file))
    assert (status, out) == (1, "")
    assert said in err
    assert len(err.splitlines()) == 1


def test_a_function_that_is_not_there_and_a_name_that_is_none(tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text("softmax = 3", encoding="utf-8")
    assert main(["check", str(file), "softmax"]) == 1
    assert "not in the file; expected a function of that name" in capsys.readouterr().out
    assert run("-m", "pvt_numpy.practice", "check", str(file), "sofmax")[0] == 2
