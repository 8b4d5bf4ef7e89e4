"""The convolution: against a sum over each window, PyTorch, and differences, with gaps, overlaps, padding and tails."""

import numpy as np
import pytest

from pvt_numpy.layers.convolution import conv2d
from tests.layers.helpers import Case, Layer, assert_near, on_map, proofs, weights


def slow_conv2d(x, weight, bias=None, stride=1, padding=0):
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    out, _, size, _ = weight.shape
    rows, columns = ((n - size) // stride + 1 for n in padded.shape[1:3])
    y = np.zeros((len(x), rows, columns, out))
    for b, i, j, c in np.ndindex(y.shape):
        for di, dj in np.ndindex(size, size):
            y[b, i, j, c] += padded[b, i * stride + di, j * stride + dj] @ weight[c, :, di, dj]
        y[b, i, j, c] += 0 if bias is None else bias[c]
    return y


def torch_conv2d(F, x, weight, bias=None, stride=1, padding=0):
    return on_map(F.conv2d, x, weight, bias, stride, padding)


CONV = Layer("convolution.conv2d", slow_conv2d, torch_conv2d)
MAP = (2, 7, 9, 6)
CASES = [
    Case(CONV, {"x": MAP, **weights(5, 6, 2, 2)}, {"stride": 2}, "tail"),
    Case(CONV, {"x": MAP, **weights(5, 6, 3, 3)}, {"stride": 2, "padding": 1}, "pad"),
    Case(CONV, {"x": MAP, **weights(3, 6, 2, 2, bias=False)}, {"stride": 3}, "gaps"),
    Case(CONV, {"x": MAP, **weights(5, 6, 1, 1)}, {"stride": 1}, "1x1"),
    Case(CONV, {"x": (2, 7, 8, 3), **weights(4, 3, 3, 3)}, {"stride": 1, "padding": 1}, "stride-1"),
    Case(CONV, {"x": (2, 4, 4, 3), **weights(5, 3, 4, 4)}, {"stride": 4}, "whole"),
]
MISTAKES = {"no bias": ("conv2d-pad", "convolution.linear", "bias")}
test_loops, test_pytorch, test_gradients, test_mistakes = proofs(CASES, MISTAKES)


def test_the_backward_pass_against_loops():
    """The slow, obvious way: every output number hands its gradient to the k x k x C numbers it was made of."""
    x, weight, _ = (numbers := CASES[1].numbers()).values()
    dy, grads = CASES[1].backward(numbers)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    dx, dweight = np.zeros_like(padded), np.zeros_like(weight)
    for b, i, j, c in np.ndindex(dy.shape):
        square = np.s_[b, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
        dx[square] += dy[b, i, j, c] * weight[c].transpose(1, 2, 0)
        dweight[c] += dy[b, i, j, c] * padded[square].transpose(2, 0, 1)
    assert_near(grads["x"], dx[:, 1:-1, 1:-1], 1e-12)
    assert_near(grads["weight"], dweight, 1e-12)


def test_a_picture_without_one_window_is_refused():
    with pytest.raises(ValueError, match="map: found 3 x 9; expected at least 4 x 4"):
        conv2d(np.ones((1, 3, 9, 2)), np.ones((5, 2, 4, 4)), stride=4)
