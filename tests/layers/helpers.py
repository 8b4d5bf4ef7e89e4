"""What the layers' tests share: a layer with its twins, a case, and the proofs that every case goes through.

    loops      the forward pass is that of the slow twin in the layer's test file, loops written from the formula; the
               results have the type of the inputs
    pytorch    the forward pass is that of PyTorch's own functions, and the gradients are those of autograd
    gradients  the gradients are those of central differences; in float32 they stay float32 and are those of float64
    mistakes   a mistake that is put into the layer is seen by the proof that should see it, and by PyTorch

Upstream gradients are random: with ones, softmax's and layer norm's gradients vanish and nothing would be tested. All
inputs are read-only: a layer that writes into one fails everywhere.
"""

import zlib
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import NamedTuple

import numpy as np
import pytest

from pvt_numpy.parameters import flatten, unflatten
from pvt_numpy.reference.mistakes import MISTAKES as KNOWN

NEAR = {np.float64: 1e-12, np.float32: 2e-6}  # of a result, relative to the largest number that is expected, or to 0.1
GRADIENT_NEAR = {np.float64: 1e-8, np.float32: 1e-4}
DTYPES = pytest.mark.parametrize("dtype", NEAR)


class Layer(NamedTuple):
    """A function of `pvt_numpy.layers`, "linear.linear", and what it is compared with.

    A Layer is called as the function is. With NumPy's arrays it runs the loops, and with tensors PyTorch's form, whose
    first argument is `torch.nn.functional`. A layer that is made of others calls their Layers: one twin serves both.
    """

    name: str
    loops: Callable
    torch: Callable | None = None

    def __call__(self, *arguments, **more):
        if self.torch is None or isinstance((*arguments, *more.values())[0], np.ndarray):
            return self.loops(*arguments, **more)
        from torch.nn import functional

        return self.torch(functional, *arguments, **more)

    def ours(self, backward=""):
        """The package's function, looked up at each call, so that a mistake that is put in its place is seen."""
        module, name = self.name.split(".")
        return getattr(import_module(f"pvt_numpy.layers.{module}"), name + backward)


class Case(NamedTuple):
    """A call of a layer. arrays: those that have a gradient, the input first; each is a shape or the array itself.

    scale   of the input, and of the step of its central differences
    smooth  False if there is a kink at one of the numbers, or nothing but rounding between two steps
    """

    layer: Layer
    arrays: dict
    options: dict = {}
    label: str = ""
    scale: float = 1.0
    smooth: bool = True

    def __str__(self):
        name = self.layer.name.partition(".")[2]
        return f"{name}-{self.label}" if self.label else name

    def numbers(self, dtype=np.float64):
        """The arrays under dotted names. They are drawn from the case's name: the same ones in every run."""
        rng, found = np.random.default_rng(zlib.crc32(str(self).encode())), {}
        for name, array in flatten(self.arrays).items():
            if isinstance(array, tuple):
                array = rng.normal(size=array) * (0.5 if found else self.scale)
            found[name] = array.astype(dtype)
        for array in [*found.values(), *self.options.values()]:
            if isinstance(array, np.ndarray):
                array.setflags(write=False)
        return found

    def forward(self, numbers):
        """All results of the layer, as a tuple."""
        return as_tuple(self.layer.ours()(**unflatten(numbers), **self.options))

    def backward(self, numbers):
        """A random gradient dy of the first result, and the gradients of all arrays under their dotted names."""
        y = self.forward(numbers)[0]
        dy = np.asarray(np.random.default_rng(1).normal(size=y.shape), y.dtype)
        dy.setflags(write=False)
        dy_or_number = dy if dy.ndim else float(dy)
        dx, *grads = as_tuple(self.layer.ours("_backward")(dy_or_number, **unflatten(numbers), **self.options))
        return dy, flatten({next(iter(numbers)): dx, **(grads[0] if grads else {})})


def weights(*shape, bias=True):
    """The shapes of a layer's weight and bias; of a norm's, if there is but one number."""
    return {"weight": shape} | ({"bias": shape[:1]} if bias else {})


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


def on_map(function, x, *arguments, **options):
    """PyTorch's function on a map with the channels last."""
    return function(x.permute(0, 3, 1, 2), *arguments, **options).permute(0, 2, 3, 1)


def assert_near(found, expected, tolerance, name=None, at_least=0.0):
    """The largest difference is small, relative to the largest number that is expected."""
    assert np.shape(found) == np.shape(expected), name
    difference = np.abs(np.asarray(found) - expected)
    assert difference.max(initial=0) <= tolerance * np.abs(expected).max(initial=at_least), name


def assert_results(found, expected, dtype):
    found, expected = flatten(list(found)), flatten(list(expected))
    assert found.keys() == expected.keys()
    for name, ours in found.items():
        assert isinstance(ours, tuple) or ours.dtype == dtype  # a tuple: the grid of a patch embedding
        assert_near(ours, np.asarray(expected[name]), NEAR[dtype], name, at_least=0.1)


def check_loops(case, dtype=np.float64):
    numbers = case.numbers(dtype)
    wide = {name: array.astype(np.float64) for name, array in numbers.items()}
    assert_results(case.forward(numbers), as_tuple(case.layer(**unflatten(wide), **case.options)), dtype)


def check_pytorch(case, dtype=np.float64):
    import torch

    numbers = case.numbers(dtype)
    leaves = {name: torch.tensor(array, requires_grad=True) for name, array in numbers.items()}
    theirs = as_tuple(case.layer(**unflatten(leaves), **case.options))
    assert_results(case.forward(numbers), [getattr(result, "data", result) for result in theirs], dtype)
    dy, grads = case.backward(numbers)
    theirs[0].backward(torch.tensor(dy))
    assert set(grads) == set(leaves)
    for name, leaf in leaves.items():
        assert_near(grads[name], leaf.grad.numpy(), GRADIENT_NEAR[dtype], name)


def check_gradients(case, dtype=np.float64):
    """Along a random direction of each array: (L(a + h u) - L(a - h u)) / 2h is the gradient's part along u."""
    numbers, rng, h = case.numbers(), np.random.default_rng(2), 1e-5 * case.scale
    dy, exact = case.backward(numbers)
    grads = case.backward(case.numbers(dtype))[1]
    assert set(grads) == set(numbers)
    for name, gradient in exact.items():
        assert grads[name].dtype == dtype, name
        assert_near(grads[name], gradient, GRADIENT_NEAR[dtype], name)
        u = rng.normal(size=gradient.shape)
        ends = [case.forward(numbers | {name: numbers[name] + step * u})[0] for step in (h, -h)]
        numeric, parts = ((ends[0] - ends[1]) * dy).sum() / (2 * h), gradient * u
        # relative to what the sum is made of; the sum itself may be near 0
        assert not case.smooth or abs(numeric - parts.sum()) <= 1e-6 * np.abs(parts).sum(), name


def proofs(cases, mistakes):
    """The four tests of a layer's file.

    mistakes: what is wrong -> the case that sees it, the function it is put in the place of, and the wrong function,
    whose first argument is the right one, or its name among the known mistakes (`reference/mistakes`). In the place of
    a backward pass it is the gradients that see it.
    """

    def each_case(check):
        @pytest.mark.parametrize("case", cases, ids=str)
        @DTYPES
        def test(case, dtype):
            check(case, dtype)

        return test

    @pytest.mark.parametrize("mistake", mistakes)
    @pytest.mark.parametrize("live", [False, pytest.param(True, marks=pytest.mark.torch)], ids=["alone", "pytorch"])
    def test_mistakes(mistake, live, monkeypatch):
        label, name, wrong = mistakes[mistake]
        wrong = KNOWN[wrong].wrong if isinstance(wrong, str) else wrong
        case = next(case for case in cases if str(case) == label)
        check = check_pytorch if live else check_gradients if name.endswith("backward") else check_loops
        check(case)
        monkeypatch.setattr(f"pvt_numpy.layers.{name}", partial(wrong, Layer(name, None).ours()))
        with pytest.raises(AssertionError):
            check(case)

    return (
        each_case(check_loops),
        pytest.mark.torch(each_case(check_pytorch)),
        each_case(check_gradients),
        test_mistakes,
    )
