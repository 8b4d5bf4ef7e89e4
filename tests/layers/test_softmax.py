"""Softmax is exp(x) / sum(exp(x)) over the last axis, for huge scores too: against loops, PyTorch, and differences."""

import math

import numpy as np

from pvt_numpy.layers.softmax import softmax
from pvt_numpy.layers.twins import TWINS
from tests.layers.helpers import Case, Layer, proofs


def slow_softmax(x):
    y = np.zeros(x.shape)
    for n in np.ndindex(x.shape[:-1]):
        powers = [math.exp(v - max(x[n])) for v in x[n]]
        y[n] = [p / math.fsum(powers) for p in powers]
    return y


SOFTMAX = Layer("softmax.softmax", slow_softmax, lambda F, x: F.softmax(x, -1))
CASES = [
    Case(SOFTMAX, {"x": (2, 3, 4, 5)}),
    Case(SOFTMAX, {"x": (2, 5)}, label="large", scale=300, smooth=False),
]
MISTAKES = {
    "over queries": ("softmax", "softmax.softmax", "softmax-axis"),
    "each weight by itself": ("softmax", "softmax.softmax_backward", lambda right, dy, x: dy * softmax(x)),
}
test_loops, test_pytorch, test_gradients, test_mistakes = proofs(CASES, MISTAKES)


def test_rows_sum_to_1_even_for_huge_scores():
    x = np.array([[1e30, -1e30, 0], [88, 89, 90], [-1e4, -1e4, -1e4]], np.float32)
    assert np.allclose(softmax(x).sum(-1), 1, rtol=1e-6)
    assert (softmax(x)[0] == [1, 0, 0]).all()


def test_whole_numbers_have_shares_too():
    np.testing.assert_allclose(softmax(np.array([[0, 0], [7, 7]])), 0.5)
    assert softmax(np.array([1, 2])).dtype == np.float64


def test_every_test_here_runs_with_the_twin_and_with_the_formula(way):
    assert ("softmax" in TWINS) == (way == "twins")
