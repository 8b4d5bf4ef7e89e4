"""One list of calls that the layer tests and the mutation tests share: each layer at several shapes and options."""

from typing import NamedTuple

import numpy as np

from pvt_numpy.layers import (
    activations,
    attention,
    convolution,
    depthwise,
    head,
    layernorm,
    linear,
    losses,
    mlp,
    patch_embed,
    position,
    resize,
    softmax,
)


class Case(NamedTuple):
    """module and name of our function, so that a test which replaces the function is seen; the twins' keyword names.

    `arrays` are converted to the type under test, `options` are passed as they are; `twin` is the name in
    slow_layers.py and torch_layers.py where it differs, `extra` what the twins need besides.
    """

    module: object
    name: str
    arrays: dict
    options: dict = {}
    twin: str = ""
    extra: dict = {}
    label: str = ""

    def ours(self, arrays):
        """What our function returns, as a tuple of arrays."""
        result = getattr(self.module, self.name)(**arrays, **self.options)
        return result if isinstance(result, tuple) else (result,)

    def theirs(self, library, arrays):
        """What the twin in `library` returns, as a tuple of arrays."""
        result = getattr(library, self.twin or self.name)(**arrays, **self.options, **self.extra)
        return result if isinstance(result, tuple) else (result,)

    def __str__(self):
        return f"{self.name}-{self.label}" if self.label else self.name


def convert(tree, function):
    """The tree of dicts with `function` applied to its arrays; arrays of whole numbers (labels) stay whole."""
    return {
        key: convert(child, function) if isinstance(child, dict) else function(child) for key, child in tree.items()
    }


RNG = np.random.default_rng(2021)


def normal(*shape, scale=1.0):
    return scale * RNG.normal(size=shape)


def weights(*shape, bias=True):
    """A layer's weight, of the scale that keeps activations near 1, and its bias."""
    fan_in = int(np.prod(shape[1:]))
    layer = {"weight": normal(*shape, scale=fan_in**-0.5)}
    return layer | ({"bias": normal(shape[0], scale=0.3)} if bias else {})


def scales(channels):
    return {"weight": 1 + normal(channels, scale=0.3), "bias": normal(channels, scale=0.3)}


def attention_weights(C, sr=None, bias=True):
    found = {"q": weights(C, C, bias=bias), "kv": weights(2 * C, C, bias=bias), "proj": weights(C, C)}
    return found | ({"sr": weights(C, C, sr, sr), "norm": scales(C)} if sr else {})


def mlp_weights(C, hidden, local=False):
    found = {"fc1": weights(hidden, C), "fc2": weights(C, hidden)}
    return found | ({"dwconv": weights(hidden, 1, 3, 3)} if local else {})


MAP = (2, 7, 9, 6)
LAYERS = [
    Case(linear, "linear", {"x": normal(2, 5, 6), **weights(4, 6)}),
    Case(linear, "linear", {"x": normal(3, 6), **weights(4, 6, bias=False)}, label="no-bias"),
    Case(layernorm, "layer_norm", {"x": normal(2, 5, 6), **scales(6)}, {"eps": 1e-6}),
    Case(layernorm, "layer_norm", {"x": normal(3, 8, scale=1e-3), **scales(8)}, {"eps": 1e-5}, label="eps-counts"),
    Case(layernorm, "layer_norm", {"x": normal(4, 1), **scales(1)}, {"eps": 1e-6}, label="one-channel"),
    Case(softmax, "softmax", {"x": normal(2, 3, 4, 5)}),
    Case(softmax, "softmax", {"x": normal(2, 5, scale=300)}, label="large"),
    Case(convolution, "conv2d", {"x": normal(*MAP), **weights(5, 6, 2, 2)}, {"stride": 2}, label="tail"),
    Case(convolution, "conv2d", {"x": normal(*MAP), **weights(5, 6, 3, 3)}, {"stride": 2, "padding": 1}, label="pad"),
    Case(convolution, "conv2d", {"x": normal(*MAP), **weights(3, 6, 2, 2, bias=False)}, {"stride": 3}, label="gaps"),
    Case(convolution, "conv2d", {"x": normal(*MAP), **weights(5, 6, 1, 1)}, {"stride": 1}, label="1x1"),
    Case(convolution, "conv2d", {"x": normal(2, 4, 4, 3), **weights(5, 3, 4, 4)}, {"stride": 4}, label="whole"),
    Case(depthwise, "depthwise_conv2d", {"x": normal(*MAP), **weights(6, 1, 3, 3)}),
    Case(depthwise, "depthwise_conv2d", {"x": normal(1, 1, 4, 2), **weights(2, 1, 3, 3, bias=False)}, label="one-row"),
    *(Case(resize, "resize_bilinear", {"x": normal(*MAP)}, {"grid": grid}, label=f"{grid[0]}x{grid[1]}")
      for grid in [(7, 9), (14, 18), (3, 4), (10, 5), (1, 1), (8, 9)]),
    Case(resize, "resize_bilinear", {"x": normal(1, 1, 1, 3)}, {"grid": (3, 2)}, label="from-one"),
    *(Case(resize, "adaptive_average_pool", {"x": normal(2, H, W, 3)}, {"size": 7}, label=f"{H}x{W}")
      for H, W in [(7, 7), (14, 21), (10, 9), (3, 2), (16, 5)]),
    Case(patch_embed, "patch_embed", {"x": normal(2, 9, 11, 3), "proj": weights(6, 3, 4, 4), "norm": scales(6)},
         {"stride": 4, "eps": 1e-6}),
    Case(patch_embed, "patch_embed", {"x": normal(1, 9, 11, 3), "proj": weights(6, 3, 3, 3), "norm": scales(6)},
         {"stride": 2, "eps": 1e-5}, label="overlap"),
    Case(patch_embed, "overlapping_patch_embed",
         {"x": normal(2, 9, 11, 3), "proj": weights(6, 3, 7, 7), "norm": scales(6)},
         {"stride": 4, "eps": 1e-6}, "patch_embed", {"padding": 3}, "7-4"),
    Case(patch_embed, "overlapping_patch_embed",
         {"x": normal(2, 5, 6, 3), "proj": weights(6, 3, 3, 3), "norm": scales(6)},
         {"stride": 2, "eps": 1e-6}, "patch_embed", {"padding": 1}, "3-2"),
    Case(patch_embed, "overlapping_patch_embed",
         {"x": normal(2, 5, 6, 3), "proj": weights(6, 3, 4, 4), "norm": scales(6)},
         {"stride": 2, "eps": 1e-6}, "patch_embed", {"padding": 2}, "4-2"),
    Case(position, "add_positions", {"x": normal(2, 12, 5), "pos_embed": normal(1, 12, 5)},
         {"grid": (3, 4), "stored_grid": (3, 4)}, label="stored"),
    Case(position, "add_positions", {"x": normal(2, 12, 5), "pos_embed": normal(1, 12, 5)},
         {"grid": (4, 3), "stored_grid": (3, 4)}, label="turned"),
    Case(position, "add_positions", {"x": normal(2, 30, 5), "pos_embed": normal(1, 12, 5)},
         {"grid": (5, 6), "stored_grid": (3, 4)}, label="larger"),
    Case(position, "add_positions", {"x": normal(2, 6, 5), "pos_embed": normal(1, 13, 5), "cls_token": normal(1, 1, 5)},
         {"grid": (3, 2), "stored_grid": (3, 4)}, label="class-token"),
    Case(attention, "attention", {"x": normal(2, 12, 8), **attention_weights(8)},
         {"grid": (3, 4), "heads": 2, "ratio": 1, "eps": 1e-6}, label="R1"),
    Case(attention, "attention", {"x": normal(2, 13, 6), **attention_weights(6, bias=False)},
         {"grid": (3, 4), "heads": 3, "ratio": 1, "eps": 1e-6}, label="class-token"),
    Case(attention, "attention", {"x": normal(2, 24, 8), **attention_weights(8, 2)},
         {"grid": (4, 6), "heads": 2, "ratio": 2, "eps": 1e-6}, label="R2"),
    Case(attention, "attention", {"x": normal(2, 35, 6), **attention_weights(6, 3)},
         {"grid": (5, 7), "heads": 1, "ratio": 3, "eps": 1e-5}, label="R3-tail"),
    Case(attention, "linear_attention", {"x": normal(2, 12, 6), **attention_weights(6, 1)},
         {"grid": (3, 4), "heads": 2, "eps": 1e-6}, label="3x4"),
    Case(attention, "linear_attention", {"x": normal(1, 80, 4), **attention_weights(4, 1)},
         {"grid": (10, 8), "heads": 1, "eps": 1e-5}, label="10x8"),
    Case(mlp, "mlp", {"x": normal(2, 5, 4), **mlp_weights(4, 12)}),
    Case(mlp, "mlp", {"x": normal(2, 5, 4), **mlp_weights(4, 6)}, {"act": "silu"}, label="silu"),
    Case(mlp, "dwconv_mlp", {"x": normal(2, 12, 4), **mlp_weights(4, 10, local=True)}, {"grid": (3, 4)}),
    Case(mlp, "dwconv_mlp", {"x": normal(2, 12, 4), **mlp_weights(4, 10, local=True)},
         {"grid": (4, 3), "relu_first": True}, label="relu-first"),
    Case(losses, "cross_entropy", {"logits": normal(4, 5, scale=3), "labels": np.array([0, 4, 2, 2])}),
    Case(losses, "cross_entropy", {"logits": normal(4, 5, scale=3), "labels": np.array([0, -100, 2, 2])},
         {"label_smoothing": 0.1}, label="smoothed"),
    Case(losses, "mean_square", {"logits": normal(4, 1), "labels": normal(4)}),
    Case(losses, "binary_cross_entropy", {"logits": normal(4, 5, scale=3), "labels": RNG.random((4, 5))}),
]  # fmt: skip
TWINS = {"gelu": "gelu", "gelu_new": "gelu_new", "gelu_pytorch_tanh": "gelu_new", "quick_gelu": "quick_gelu",
         "relu": "relu", "selu": "selu", "silu": "silu", "swish": "silu"}  # fmt: skip
HEADS = [(head.class_token_head, lambda x: x[:, 0]), (head.mean_pool_head, lambda x: x.mean(axis=1))]
ACTIVATION_NAMES = list(activations.ACTIVATIONS)
