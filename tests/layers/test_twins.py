"""Every twin of `fast/` gives its formula's numbers, at the edges of its blocks and for any layout of its inputs, and
takes the formula's place unless asked not to. A twin that is wrong in the tenth digit is seen."""

import functools
import inspect
import os
import subprocess
import sys
from importlib import import_module
from itertools import product

import numpy as np
import pytest
from pvt_numpy.layers.twins import TWINS, plain

from pvt_numpy.layers.softmax import softmax
from pvt_numpy.parameters import flatten
from tests.layers.helpers import DTYPES, NEAR, as_tuple, assert_near

BLOCK = 65536  # numbers, in fast/activations.py
ROWS = [(1,), (5,), (0, 5), (3, 1), (4, 7), (2, 3, 7), (2, 3, 5, 7)]
SHAPES = {
    "activations": [(), (0,), (1,), (BLOCK - 1,), (BLOCK,), (BLOCK + 1,), (2, 3, 5, 7)],
    "depthwise": [(1, 1, 1, 1), (0, 2, 3, 4), (3, 1, 5, 2), (2, 7, 9, 6)],
} | dict.fromkeys(("layernorm", "linear", "softmax"), ROWS)
LAYOUTS = [np.copy, lambda array: np.copy(array, order="F"), np.flip]


def check_twin(name, dtype):
    module, function = name.split(".")
    twin, formula = TWINS[name], getattr(import_module(f"pvt_numpy.layers.{module}"), function).__wrapped__
    takes = inspect.signature(formula).parameters
    assert takes == inspect.signature(twin).parameters
    for shape, layout, with_bias in product(SHAPES[module], LAYOUTS, (True, False)):
        C, rng = (1, *shape)[-1], np.random.default_rng(0)
        weight = {"linear": (3, C), "layernorm": (C,), "depthwise": (C, 1, 3, 3)}.get(module, ())
        shapes = {"dy": shape, "x": shape, "y": shape, "weight": weight, "bias": weight[:1]}
        given = [n for n, p in takes.items() if n in shapes and (with_bias or p.default is p.empty)]
        arrays = {n: layout(rng.normal(size=shapes[n]).astype(dtype)) for n in given}
        for array in arrays.values():
            array.setflags(write=False)
        options = {"eps": 1e-5} if "eps" in takes else {}
        found = flatten(list(as_tuple(twin(**arrays, **options))))
        with plain():
            expected = formula(**{n: array.astype(np.float64) for n, array in arrays.items()}, **options)
        for key, wanted in flatten(list(as_tuple(expected))).items():
            assert found[key].dtype == dtype
            assert_near(found[key], wanted, NEAR[dtype], (shape, key))


@pytest.mark.parametrize("name", sorted(TWINS))
@DTYPES
def test_the_twin_is_its_formula(name, dtype):
    check_twin(name, dtype)


@pytest.mark.parametrize("name", sorted(TWINS))
def test_a_wrong_twin_is_seen(name, monkeypatch):
    @functools.wraps(right := TWINS[name])
    def wrong(**arguments):
        first, array = next(iter(arguments.items()))
        return right(**arguments | {first: array + 1e-10 * np.random.default_rng(1).normal(size=array.shape)})

    monkeypatch.setitem(TWINS, name, wrong)
    with pytest.raises(AssertionError):
        check_twin(name, np.float64)


def test_the_twin_runs_unless_asked_not_to(monkeypatch):
    monkeypatch.setitem(TWINS, "softmax.softmax", lambda x: "the twin")
    assert softmax(np.zeros(2)) == "the twin"
    with plain():
        with plain():
            pass
        assert softmax(np.zeros(2)).tolist() == [0.5, 0.5]
    assert softmax(np.zeros(2)) == "the twin"


@pytest.mark.parametrize(("value", "runs"), [("", "the twin"), ("0", "the twin"), ("1", "[0.5 0.5]")])
def test_the_environment_can_ask_too(value, runs):
    script = ("import numpy; from pvt_numpy.layers import softmax, twins; "
              "twins.TWINS['softmax.softmax'] = lambda x: 'the twin'; print(softmax.softmax(numpy.zeros(2)))")  # fmt: skip
    environment = os.environ | {"PVT_NUMPY_PLAIN": value}
    assert subprocess.check_output([sys.executable, "-c", script], text=True, env=environment).strip() == runs
