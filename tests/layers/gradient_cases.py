"""Every layer once: its forward, its backward, small random arguments, and the same in PyTorch's own functions.

Most of PyTorch's side is `torch_layers`, whose functions have our names and arguments.

Sizes are odd and unequal where the layer allows it, biases and norms are away from 0 and 1. Axes as in `layers`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from pvt_numpy.layers import (
    activations,
    attention,
    convolution,
    depthwise,
    dropout,
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
from tests.layers import torch_layers

ACTIVATIONS = ("gelu", "gelu_new", "quick_gelu", "relu", "selu", "silu", "sigmoid")


class Case(NamedTuple):
    """A layer with arguments. arrays are those with gradients, the input first; torch maps the same tensors to y."""

    forward: Callable
    backward: Callable
    arrays: dict
    constants: dict
    torch: Callable


def make_cases(seed=0):
    """Name -> Case."""
    rng = np.random.default_rng(seed)
    cases = {}

    def random(*shape):
        return rng.normal(size=shape)

    def layer(*shape, bias=True):
        return {"weight": random(*shape) * 0.5} | ({"bias": random(shape[0])} if bias else {})

    def add(name, module, function, arrays, torch=None, **constants):
        torch = torch or (lambda t: getattr(torch_layers, function)(**t, **constants))
        cases[name] = Case(getattr(module, function), getattr(module, f"{function}_backward"), arrays, constants, torch)

    for name in ACTIVATIONS:
        add(name, activations, name, {"x": random(3, 7) * 2}, lambda t, n=name: torch_layers.activation(n)(t["x"]))
    add("gelu of more numbers than a block", activations, "gelu", {"x": random(70, 1001)},
        lambda t: torch_layers.activation("gelu")(t["x"]))  # fmt: skip
    add("softmax", softmax, "softmax", {"x": random(2, 3, 5)})
    add("linear", linear, "linear", {"x": random(2, 5, 3), **layer(4, 3)})
    add("linear without bias", linear, "linear", {"x": random(2, 5, 3), **layer(4, 3, bias=False)})
    add("layer_norm", layernorm, "layer_norm", {"x": random(2, 5, 6) + 3, **layer(6)}, eps=1e-3)

    windows = {"stride one": (3, 1, 1), "gaps": (2, 3, 0), "overlap": (3, 2, 1), "tiles": (2, 2, 0)}
    for name, (k, stride, padding) in windows.items():
        add(f"conv2d, {name}", convolution, "conv2d", {"x": random(2, 7, 8, 3), **layer(4, 3, k, k)},
            stride=stride, padding=padding)  # fmt: skip
    add("depthwise_conv2d", depthwise, "depthwise_conv2d", {"x": random(2, 4, 5, 3), **layer(3, 1, 3, 3)})
    for function, patch, padding in (("patch_embed", 2, 0), ("overlapping_patch_embed", 3, 1)):
        arrays = {"x": random(2, 7, 6, 3), "proj": layer(4, 3, patch, patch), "norm": layer(4)}
        add(function, patch_embed, function, arrays,
            lambda t, p=padding: torch_layers.patch_embed(**t, stride=2, eps=1e-3, padding=p),
            stride=2, eps=1e-3)  # fmt: skip

    add("resize_bilinear", resize, "resize_bilinear", {"x": random(2, 4, 5, 3)}, grid=(7, 3))
    add("adaptive_average_pool", resize, "adaptive_average_pool", {"x": random(2, 9, 5, 3)}, size=7)
    matrices = {"rows": random(3, 4), "columns": random(6, 5)}
    add("separable", resize, "separable", {"x": random(2, 4, 5, 3)}, lambda t: torch_separable(**t, **matrices),
        **matrices)  # fmt: skip
    grids = {"grid": (3, 4), "stored_grid": (5, 2)}
    add("resize_positions", position, "resize_positions", {"pos_embed": random(1, 11, 3)}, **grids)
    add("add_positions", position, "add_positions", {"x": random(2, 12, 3), "pos_embed": random(1, 10, 3)}, **grids)
    arrays = {"x": random(2, 12, 3), "pos_embed": random(1, 11, 3), "cls_token": random(1, 1, 3)}
    add("add_positions with a class token", position, "add_positions", arrays, **grids)

    attend = {"q": layer(6, 6), "kv": layer(12, 6), "proj": layer(6, 6)}
    unbiased = {"q": layer(6, 6, bias=False), "kv": layer(12, 6, bias=False), "proj": layer(6, 6)}
    sra = {"sr": layer(6, 6, 2, 2), "norm": layer(6)}
    for name, more, ratio in (("R = 1", attend, 1), ("R = 2", attend | sra, 2), ("without q and kv bias", unbiased, 1)):
        add(f"attention, {name}", attention, "attention", {"x": random(2, 20, 6), **more},
            grid=(5, 4), heads=2, ratio=ratio, eps=1e-3)  # fmt: skip
    pooled = {"sr": layer(6, 6, 1, 1), "norm": layer(6)}
    add("linear_attention", attention, "linear_attention", {"x": random(2, 80, 6), **attend, **pooled},
        grid=(8, 10), heads=2, eps=1e-3)  # fmt: skip

    arrays = {"x": random(2, 6, 3), "fc1": layer(5, 3), "fc2": layer(3, 5)}
    add("mlp", mlp, "mlp", arrays)
    add("mlp, tanh gelu", mlp, "mlp", arrays, act="gelu_new")
    arrays = arrays | {"dwconv": layer(5, 1, 3, 3)}
    for name, relu_first in (("dwconv_mlp", False), ("dwconv_mlp, relu first", True)):
        add(name, mlp, "dwconv_mlp", arrays, grid=(2, 3), relu_first=relu_first)

    add("class_token_head", head, "class_token_head", {"x": random(2, 5, 3), **layer(4, 3)},
        lambda t: torch_layers.linear(**t | {"x": t["x"][:, 0]}))  # fmt: skip
    add("class_token_head of nothing", head, "class_token_head", {"x": random(2, 5, 3)}, lambda t: t["x"][:, 0])
    add("mean_pool_head", head, "mean_pool_head", {"x": random(2, 5, 3), **layer(4, 3)},
        lambda t: torch_layers.linear(**t | {"x": t["x"].mean(1)}))  # fmt: skip

    labels, shares, values = np.array([3, 0, -100, 1]), rng.integers(2, size=(4, 5)) * 1.0, random(4, 1)
    kinds = (("cross_entropy", 5, labels), ("mean_square", 1, values), ("binary_cross_entropy", 5, shares))
    for function, columns, truth in kinds:
        for name in (function, "loss"):  # by itself, and as `loss` chooses it
            add(f"{name}, {function}", losses, name, {"logits": random(4, columns)},
                lambda t, f=function, y=truth: torch_loss(f, t["logits"], y), labels=truth)  # fmt: skip
    smoothed = {"labels": labels, "label_smoothing": 0.1}
    add("cross_entropy, smoothed", losses, "cross_entropy", {"logits": random(4, 5)},
        lambda t: torch_loss("cross_entropy", t["logits"], **smoothed), **smoothed)  # fmt: skip
    for name in ("dropout", "drop_path"):
        add(name, dropout, name, {"x": random(4, 3)}, lambda t: t["x"], rate=0.5)
    return cases


def torch_separable(x, rows, columns):
    """PyTorch's side of `separable`."""
    import torch

    return torch.einsum("ih,jw,bhwc->bijc", torch.from_numpy(rows), torch.from_numpy(columns), x)


def torch_loss(name, logits, labels, **options):
    """One of PyTorch's losses, for labels in NumPy."""
    import torch

    return getattr(torch_layers, name)(logits, torch.from_numpy(labels), **options)
