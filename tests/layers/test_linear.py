"""The linear layer is y = x Wᵀ + b: against sums over single numbers, PyTorch, and differences.

The matrix is (C', C), transposed in the forward pass and as it is in the backward pass. Only a square one can be taken
the wrong way round without an error, so one case is square.
"""

import math

import numpy as np

from pvt_numpy.layers.linear import linear
from tests.layers.helpers import Case, Layer, proofs, weights


def slow_linear(x, weight, bias=None):
    y = np.zeros((*x.shape[:-1], len(weight)))
    for n in np.ndindex(x.shape[:-1]):
        for c, row in enumerate(weight):
            y[n][c] = math.fsum(a * b for a, b in zip(x[n], row, strict=True)) + (0 if bias is None else bias[c])
    return y


def transposed(right, dy, x, weight):
    return dy @ weight.T, right(dy, x, weight)[1]


LINEAR = Layer("linear.linear", slow_linear, lambda F, *arrays, **weights: F.linear(*arrays, **weights))
CASES = [
    Case(LINEAR, {"x": (2, 5, 6), **weights(4, 6)}),
    Case(LINEAR, {"x": (3, 6), **weights(4, 6, bias=False)}, label="no-bias"),
    Case(LINEAR, {"x": (2, 3), **weights(3, 3, bias=False)}, label="square"),
]
MISTAKES = {
    "no bias": ("linear", "linear.linear", "bias"),
    "matrix not transposed": ("linear-square", "linear.linear", "transposed"),
    "matrix transposed on the way back": ("linear-square", "linear.linear_backward", transposed),
}
test_loops, test_pytorch, test_gradients, test_mistakes = proofs(CASES, MISTAKES)


def test_the_type_of_a_mixture_is_numpys():
    x, weight, bias = (np.ones(shape, np.float32) for shape in ((3, 4), (2, 4), 2))
    assert linear(x, weight, bias).dtype == np.float32
    assert linear(x, weight, bias.astype(np.float64)).dtype == np.float64
