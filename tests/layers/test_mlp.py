"""The feed-forward half: each token by itself (v1), or with a look at its neighbours (v2), after a ReLU (b2_li).
Against the twins of its parts, with loops and in PyTorch, and differences."""

from tests.layers.helpers import Case, Layer, proofs, weights
from tests.layers.test_activations import FORMS
from tests.layers.test_depthwise import DEPTHWISE
from tests.layers.test_linear import LINEAR


def twin_mlp(x, fc1, fc2, act="gelu"):
    return LINEAR(FORMS[act](LINEAR(x, **fc1)), **fc2)


def twin_dwconv_mlp(x, grid, fc1, dwconv, fc2, act="gelu", relu_first=False):
    wide = LINEAR(x, **fc1)
    seen = FORMS["relu"](wide) if relu_first else wide
    mixed = DEPTHWISE(seen.reshape(len(x), *grid, -1), **dwconv).reshape(wide.shape)
    return LINEAR(FORMS[act](mixed), **fc2)


V1, V2 = Layer("mlp.mlp", twin_mlp), Layer("mlp.dwconv_mlp", twin_dwconv_mlp)
ARRAYS = {"x": (2, 5, 4), "fc1": weights(12, 4), "fc2": weights(4, 12)}
LOCAL = {"x": (2, 12, 4), "fc1": weights(10, 4), "dwconv": weights(10, 1, 3, 3), "fc2": weights(4, 10)}
CASES = [
    Case(V1, ARRAYS),
    Case(V1, ARRAYS, {"act": "silu"}, "silu"),
    Case(V1, ARRAYS, {"act": "gelu_new"}, "tanh-gelu"),
    Case(V2, LOCAL, {"grid": (3, 4)}),
    Case(V2, LOCAL, {"grid": (4, 3), "relu_first": True}, "relu-first"),
]
MISTAKES = {
    "tanh gelu": ("mlp", "mlp.mlp", lambda right, *arrays, **weights: right(*arrays, **weights, act="gelu_new")),
    "no bias": ("dwconv_mlp", "mlp.linear", "bias"),
    "no relu in front": ("dwconv_mlp-relu-first", "mlp.relu", "no-relu"),
    "no relu on the way back": ("dwconv_mlp-relu-first", "mlp.relu_backward", "relu-mask"),
}
test_loops, test_pytorch, test_gradients, test_mistakes = proofs(CASES, MISTAKES)
