"""The depthwise convolution, against what its name says: a convolution of each channel by itself. And against PyTorch
and differences."""

import numpy as np
import pytest

from pvt_numpy.layers.depthwise import depthwise_conv2d, depthwise_conv2d_backward
from tests.layers.helpers import Case, Layer, on_map, proofs, weights
from tests.layers.test_convolution import MAP, slow_conv2d


def slow_depthwise_conv2d(x, weight, bias=None):
    bias = np.zeros(len(weight)) if bias is None else bias
    channels = [np.s_[c : c + 1] for c in range(len(weight))]
    return np.concatenate([slow_conv2d(x[..., c], weight[c], bias[c], padding=1) for c in channels], axis=-1)


def torch_depthwise_conv2d(F, x, weight, bias=None):
    return on_map(F.conv2d, x, weight, bias, padding=1, groups=x.shape[-1])


DEPTHWISE = Layer("depthwise.depthwise_conv2d", slow_depthwise_conv2d, torch_depthwise_conv2d)
CASES = [
    Case(DEPTHWISE, {"x": MAP, **weights(6, 1, 3, 3)}),
    Case(DEPTHWISE, {"x": (1, 1, 4, 2), **weights(2, 1, 3, 3, bias=False)}, label="one-row"),
]
MISTAKES = {"no bias": ("depthwise_conv2d", "depthwise.depthwise_conv2d", lambda right, bias, **rest: right(**rest))}
test_loops, test_pytorch, test_gradients, test_mistakes = proofs(CASES, MISTAKES)


@pytest.mark.parametrize("shape", [(6, 1, 5, 5), (6, 1, 1, 9), (6, 3, 3, 1), (6, 1, 2, 2), (6, 6, 3, 3), (1, 1, 3, 3),
                                   (3, 2, 3, 3), (6, 9), (6, 3, 3)])  # fmt: skip
def test_kernels_of_another_shape_are_refused(shape):
    x, weight = np.ones(MAP), np.ones(shape)
    for call in (lambda: depthwise_conv2d(x, weight), lambda: depthwise_conv2d_backward(x, x, weight)):
        with pytest.raises(ValueError, match="^weight: found shape .*; expected .6, 1, 3, 3.$"):
            call()
