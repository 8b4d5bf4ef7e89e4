"""Every twin of `fast/` gives its formula's numbers, at the edges of its blocks and for any layout of its inputs, and
takes the formula's place unless asked not to. A twin that is wrong in the tenth digit is seen."""

from importlib import import_module
from inspect import signature
from itertools import product

import numpy as np
import pytest

from pvt_numpy import plain
from pvt_numpy.fast.pieces import BLOCK
from pvt_numpy.fast.switch import REGISTERED
from pvt_numpy.layers.softmax import softmax
from pvt_numpy.layers.twins import TWINS
from pvt_numpy.parameters import flatten
from tests import processes
from tests.layers.helpers import DTYPES, Case, Layer, as_tuple, check_loops

EACH_TWIN = pytest.mark.parametrize("name", REGISTERED)
ROWS = [(1,), (5,), (0, 5), (3, 1), (4, 7), (2, 3, 7), (2, 3, 5, 7)]
SHAPES = {
    "activations": [(), (0,), (1,), (BLOCK - 1,), (BLOCK,), (BLOCK + 1,), (70, 1001), (2, 3, 5, 7)],
    "depthwise": [(1, 1, 1, 1), (0, 2, 3, 4), (3, 1, 5, 2), (2, 7, 9, 6)],
} | dict.fromkeys(("layernorm", "linear", "softmax"), ROWS)


def check_twin(name, dtype):
    """What runs under this name is the formula itself: with and without a bias, and in both orders of memory."""
    module = REGISTERED[name].__module__.rpartition(".")[2]
    formula = getattr(import_module(f"pvt_numpy.layers.{module}"), name).__wrapped__
    takes, rng = signature(formula).parameters, np.random.default_rng(0)
    assert takes == signature(REGISTERED[name]).parameters
    for shape, order, with_bias in product(SHAPES[module], "CF", (True, False)):
        C = (1, *shape)[-1]
        weight = {"linear": (3, C), "layernorm": (C,), "depthwise": (C, 1, 3, 3)}.get(module, ())
        shapes = {"dy": shape, "x": shape, "y": shape, "weight": weight, "bias": weight[:1]}
        given = [n for n, p in takes.items() if n in shapes and (with_bias or p.default is p.empty)]
        arrays = {n: np.array(rng.normal(size=shapes[n]), order=order) for n in given}
        options = {"eps": 1e-5} if "eps" in takes else {}
        check_loops(Case(Layer(f"{module}.{name}", formula), arrays, options), dtype)


@EACH_TWIN
@DTYPES
def test_the_twin_is_its_formula(name, dtype):
    check_twin(name, dtype)


@EACH_TWIN
def test_whole_numbers_and_mixed_types_are_the_formulas(name):
    """The same numbers of the same type, whichever way runs."""
    module = REGISTERED[name].__module__.rpartition(".")[2]
    layer, C = getattr(import_module(f"pvt_numpy.layers.{module}"), name), 2
    shapes = dict.fromkeys(("dy", "x", "y"), (1, 3, 4, C)) | {"weight": (C,), "bias": (C,)}
    shapes["weight"] = {"linear": (C, C), "depthwise": (C, 1, 3, 3)}.get(module, (C,))
    takes, rng = signature(layer).parameters, np.random.default_rng(0)
    numbers = {n: rng.normal(size=shapes[n]) * 3 for n in takes if n in shapes}
    options = {"eps": 1e-5} if "eps" in takes else {}
    mixtures = [np.float32, np.float64], [np.float64, np.float32], [np.float32, np.int64], [np.int64, np.int64]
    for odd, types in product(numbers, mixtures):
        arrays = {n: array.astype(types[n == odd]) for n, array in numbers.items()}
        if len(arrays) == 1 and types[1] != np.int64:
            continue  # no mixture
        found = flatten(list(as_tuple(layer(**arrays, **options))))
        expected = flatten(list(as_tuple(layer.__wrapped__(**arrays, **options))))
        assert found.keys() == expected.keys()
        for n, array in expected.items():
            assert (found[n].dtype, found[n].tolist()) == (array.dtype, array.tolist()), (odd, types, n)


@EACH_TWIN
def test_a_wrong_twin_is_seen(name, monkeypatch):
    def wrong(**arguments):
        first, array = next(iter(arguments.items()))
        return REGISTERED[name](**arguments | {first: array + 1e-10 * np.arange(array.size).reshape(array.shape)})

    monkeypatch.setitem(TWINS, name, wrong)
    with pytest.raises(AssertionError):
        check_twin(name, np.float64)


def test_the_twin_runs_unless_asked_not_to(monkeypatch):
    for table in (REGISTERED, TWINS):
        monkeypatch.setitem(table, "softmax", lambda x: "the twin")
    assert softmax(np.zeros(2)) == "the twin"
    with plain():
        with plain():
            pass
        assert softmax(np.zeros(2)).tolist() == [0.5, 0.5]
    assert softmax(np.zeros(2)) == "the twin"


def with_plain(value, *arguments):
    """(status, stdout, stderr) of Python with PVT_NUMPY_PLAIN set to this."""
    return processes.run(*arguments, env={"PVT_NUMPY_PLAIN": value})


@pytest.mark.parametrize("values", [("", "0", "false", "No", "FALSE"), ("1", "true", "Yes", "TRUE")])
def test_the_environment_can_ask_too(values):
    script = "import pvt_numpy; from pvt_numpy.layers.twins import TWINS; print(len(TWINS))"
    for value in values:
        assert with_plain(value, "-c", script) == (0, f"{0 if '1' in values else len(REGISTERED)}\n", ""), value


@pytest.mark.parametrize("value", ["2", "maybe", " ", "formulas"])
def test_what_the_environment_cannot_ask_is_refused_in_one_line(value):
    said = f"PVT_NUMPY_PLAIN: found {value!r}; expected 1, true or yes for the formulas, or 0, false, no or nothing\n"
    assert with_plain(value, "-m", "pvt_numpy.summary", "pvt_v2_b0") == (1, "", f"error: {said}")
    status, out, err = with_plain(value, "-c", "import pvt_numpy")
    assert (status, out, err.endswith(f"\nValueError: {said}")) == (1, "", True)
