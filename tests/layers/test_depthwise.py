"""The depthwise convolution, against what its name says: a convolution of each channel by itself. And against PyTorch
and differences."""

import numpy as np

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
