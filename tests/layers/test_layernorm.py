"""Layer norm is (x - mean) / sqrt(variance + eps) * weight + bias: against loops, PyTorch, and differences.

The variance divides by C, not C - 1; it is that of what is left when the mean is off; and eps counts.
"""

import math

import numpy as np

from pvt_numpy.layers.layernorm import layer_norm, layer_norm_backward
from tests.layers.helpers import DTYPES, KNOWN, Case, Layer, proofs, weights


def slow_layer_norm(x, weight, bias, eps):
    y = np.zeros(x.shape)
    for n in np.ndindex(x.shape[:-1]):
        mean = math.fsum(x[n]) / len(x[n])
        variance = math.fsum((v - mean) ** 2 for v in x[n]) / len(x[n])
        for c, v in enumerate(x[n]):
            y[n][c] = (v - mean) / math.sqrt(variance + eps) * weight[c] + bias[c]
    return y


NORM = Layer("layernorm.layer_norm", slow_layer_norm, lambda F, x, **more: F.layer_norm(x, x.shape[-1:], **more))
CASES = [
    Case(NORM, {"x": (2, 5, 6), **weights(6)}, {"eps": 1e-6}),
    Case(NORM, {"x": (3, 8), **weights(8)}, {"eps": 1e-5}, "eps-counts", scale=1e-3),
    Case(NORM, {"x": np.random.default_rng(0).normal(3, 1, (2, 5, 6)), **weights(6)}, {"eps": 1e-3}, "off-zero"),
]
MISTAKES = {
    "the other eps": ("layer_norm-eps-counts", "layernorm.layer_norm", "eps"),
    "mean left in": ("layer_norm", "layernorm.layer_norm_backward", "no-mean-term"),
}
test_loops, test_pytorch, test_gradients, test_mistakes = proofs(CASES, MISTAKES)


@DTYPES
def test_of_one_channel_nothing_but_the_bias_is_left(dtype):
    x, weight, bias = Case(NORM, {"x": (4, 1), **weights(1)}).numbers(dtype).values()
    y = layer_norm(x, weight, bias, eps=1e-6)
    assert (y.dtype, y.tolist()) == (dtype, [bias.tolist()] * 4)
    assert (layer_norm_backward(x, x, weight, bias, eps=1e-6)[0] == 0).all()


@DTYPES
def test_far_from_zero(dtype):
    """Mean 1000, deviation 0.1: with the one-pass variance float32 would take the square root of a negative number."""
    x = (1000 + 0.1 * np.random.default_rng(0).normal(size=(50, 64))).astype(dtype)
    one, zero, limit = np.ones(64, dtype), np.zeros(64, dtype), 1e-8 if dtype == np.float64 else 5e-3
    exact = slow_layer_norm(x.astype(np.float64), one, zero, 1e-6)
    assert np.abs(layer_norm(x, one, zero, eps=1e-6) - exact).max() < limit
    one_pass = KNOWN["one-pass"].wrong(layer_norm, x, one, zero, eps=1e-6)
    assert not np.abs(one_pass - exact).max() < limit
