"""Every layer once: its forward, its backward, small random arguments, and the same in PyTorch's own functions.

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

    def add(name, module, function, arrays, torch, **constants):
        cases[name] = Case(getattr(module, function), getattr(module, f"{function}_backward"), arrays, constants, torch)

    for name in ACTIVATIONS:
        add(name, activations, name, {"x": random(3, 7) * 2}, lambda t, name=name: torch_activation(name, t["x"]))
    add("gelu of more numbers than a block", activations, "gelu", {"x": random(70, 1001)},
        lambda t: torch_activation("gelu", t["x"]))  # fmt: skip
    add("softmax", softmax, "softmax", {"x": random(2, 3, 5)}, lambda t: t["x"].softmax(-1))
    add("linear", linear, "linear", {"x": random(2, 5, 3), **layer(4, 3)}, t_linear)
    add("linear without bias", linear, "linear", {"x": random(2, 5, 3), **layer(4, 3, bias=False)}, t_linear)
    add("layer_norm", layernorm, "layer_norm", {"x": random(2, 5, 6) + 3, **layer(6)}, t_norm, eps=1e-3)

    windows = {"stride one": (3, 1, 1), "gaps": (2, 3, 0), "overlap": (3, 2, 1), "tiles": (2, 2, 0)}
    for name, (k, stride, padding) in windows.items():
        add(f"conv2d, {name}", convolution, "conv2d", {"x": random(2, 7, 8, 3), **layer(4, 3, k, k)},
            lambda t, s=stride, p=padding: t_conv(t["x"], t, s, p), stride=stride, padding=padding)  # fmt: skip
    add("depthwise_conv2d", depthwise, "depthwise_conv2d", {"x": random(2, 4, 5, 3), **layer(3, 1, 3, 3)},
        lambda t: t_conv(t["x"], t, 1, 1, groups=3))  # fmt: skip
    for function, patch, padding in (("patch_embed", 2, 0), ("overlapping_patch_embed", 3, 1)):
        arrays = {"x": random(2, 7, 6, 3), "proj": layer(4, 3, patch, patch), "norm": layer(4)}
        add(function, patch_embed, function, arrays, lambda t, p=padding: t_patches(t, p), stride=2, eps=1e-3)

    add("resize_bilinear", resize, "resize_bilinear", {"x": random(2, 4, 5, 3)},
        lambda t: t_resize(t["x"], (7, 3)), grid=(7, 3))  # fmt: skip
    add("adaptive_average_pool", resize, "adaptive_average_pool", {"x": random(2, 9, 5, 3)},
        lambda t: t_pool(t["x"], 7), size=7)  # fmt: skip
    rows, columns = random(3, 4), random(6, 5)
    add("separable", resize, "separable", {"x": random(2, 4, 5, 3)},
        lambda t: t_separable(t["x"], rows, columns), rows=rows, columns=columns)  # fmt: skip
    grids = {"grid": (3, 4), "stored_grid": (5, 2)}
    add("resize_positions", position, "resize_positions", {"pos_embed": random(1, 11, 3)},
        lambda t: t_table(t["pos_embed"], 1), **grids)  # fmt: skip
    add("add_positions", position, "add_positions", {"x": random(2, 12, 3), "pos_embed": random(1, 10, 3)},
        lambda t: t["x"] + t_table(t["pos_embed"], 0), **grids)  # fmt: skip
    arrays = {"x": random(2, 12, 3), "pos_embed": random(1, 11, 3), "cls_token": random(1, 1, 3)}
    add("add_positions with a class token", position, "add_positions", arrays, t_class_token, **grids)

    attend = {"q": layer(6, 6), "kv": layer(12, 6), "proj": layer(6, 6)}
    unbiased = {"q": layer(6, 6, bias=False), "kv": layer(12, 6, bias=False), "proj": layer(6, 6)}
    sra = {"sr": layer(6, 6, 2, 2), "norm": layer(6)}
    for name, more, ratio in (("R = 1", attend, 1), ("R = 2", attend | sra, 2), ("without q and kv bias", unbiased, 1)):
        add(f"attention, {name}", attention, "attention", {"x": random(2, 20, 6), **more},
            lambda t, r=ratio: t_attention(t, r), grid=(5, 4), heads=2, ratio=ratio, eps=1e-3)  # fmt: skip
    pooled = {"sr": layer(6, 6, 1, 1), "norm": layer(6)}
    add("linear_attention", attention, "linear_attention", {"x": random(2, 80, 6), **attend, **pooled},
        t_linear_attention, grid=(8, 10), heads=2, eps=1e-3)  # fmt: skip

    arrays = {"x": random(2, 6, 3), "fc1": layer(5, 3), "fc2": layer(3, 5)}
    add("mlp", mlp, "mlp", arrays, t_mlp)
    add("mlp, tanh gelu", mlp, "mlp", arrays, lambda t: t_mlp(t, "gelu_new"), act="gelu_new")
    arrays = arrays | {"dwconv": layer(5, 1, 3, 3)}
    for name, relu_first in (("dwconv_mlp", False), ("dwconv_mlp, relu first", True)):
        add(name, mlp, "dwconv_mlp", arrays, lambda t, r=relu_first: t_dwconv_mlp(t, r),
            grid=(2, 3), relu_first=relu_first)  # fmt: skip

    add("class_token_head", head, "class_token_head", {"x": random(2, 5, 3), **layer(4, 3)},
        lambda t: t_linear(t | {"x": t["x"][:, 0]}))  # fmt: skip
    add("class_token_head of nothing", head, "class_token_head", {"x": random(2, 5, 3)}, lambda t: t["x"][:, 0])
    add("mean_pool_head", head, "mean_pool_head", {"x": random(2, 5, 3), **layer(4, 3)},
        lambda t: t_linear(t | {"x": t["x"].mean(1)}))  # fmt: skip

    labels, shares, values = np.array([3, 0, -100, 1]), rng.integers(2, size=(4, 5)), random(4, 1)
    for smoothing in (0.0, 0.1):
        add(f"cross_entropy, smoothing {smoothing}", losses, "cross_entropy", {"logits": random(4, 5)},
            lambda t, s=smoothing: t_loss("cross_entropy", t["logits"], labels, label_smoothing=s),
            labels=labels, label_smoothing=smoothing)  # fmt: skip
    add("mean_square", losses, "mean_square", {"logits": random(4, 1)},
        lambda t: t_loss("mse_loss", t["logits"], values), labels=values)  # fmt: skip
    add("binary_cross_entropy", losses, "binary_cross_entropy", {"logits": random(4, 5)},
        lambda t: t_loss("binary_cross_entropy_with_logits", t["logits"], shares * 1.0), labels=shares)  # fmt: skip
    for name, truth, function in (("one label", labels, "cross_entropy"), ("shares", shares * 1.0,
                                   "binary_cross_entropy_with_logits")):  # fmt: skip
        add(f"loss, {name}", losses, "loss", {"logits": random(4, 5)},
            lambda t, y=truth, f=function: t_loss(f, t["logits"], y), labels=truth)  # fmt: skip
    for name in ("dropout", "drop_path"):
        add(name, dropout, name, {"x": random(4, 3)}, lambda t: t["x"], rate=0.5)
    return cases


# PyTorch's side; t is the dict of tensors


def torch_activation(name, x):
    from torch.nn import functional as F

    named = {"gelu_new": lambda: F.gelu(x, approximate="tanh"), "quick_gelu": lambda: x * (1.702 * x).sigmoid(),
             "sigmoid": lambda: x.sigmoid()}  # fmt: skip
    return named[name]() if name in named else getattr(F, name)(x)


def functional(name, *arguments, **options):
    """torch.nn.functional's function of this name."""
    import torch

    return getattr(torch.nn.functional, name)(*arguments, **options)


def t_linear(t):
    return functional("linear", t["x"], t["weight"], t.get("bias"))


def t_norm(t):
    return norm(t["x"], t)


def norm(x, layer):
    return functional("layer_norm", x, x.shape[-1:], layer["weight"], layer["bias"], 1e-3)


def t_conv(x, layer, stride, padding=0, groups=1):
    y = functional("conv2d", x.permute(0, 3, 1, 2), layer["weight"], layer["bias"], stride, padding, 1, groups)
    return y.permute(0, 2, 3, 1)


def t_patches(t, padding):
    return norm(t_conv(t["x"], t["proj"], 2, padding).flatten(1, 2), t["norm"])


def t_resize(x, grid):
    y = functional("interpolate", x.permute(0, 3, 1, 2), size=grid, mode="bilinear", align_corners=False)
    return y.permute(0, 2, 3, 1)


def t_pool(x, size):
    return functional("adaptive_avg_pool2d", x.permute(0, 3, 1, 2), size).permute(0, 2, 3, 1)


def t_separable(x, rows, columns):
    import torch

    return torch.einsum("ih,jw,bhwc->bijc", torch.from_numpy(rows), torch.from_numpy(columns), x)


def t_table(table, special):
    import torch

    grid = t_resize(table[:, special:].unflatten(1, (5, 2)), (3, 4)).flatten(1, 2)
    return torch.cat([table[:, :special], grid], dim=1)


def t_class_token(t):
    import torch

    x = torch.cat([t["cls_token"].expand(len(t["x"]), -1, -1), t["x"]], dim=1)
    return x + t_table(t["pos_embed"], 1)


def t_attention(t, ratio):
    reduced = t["x"]
    if ratio > 1:
        reduced = norm(t_conv(t["x"].unflatten(1, (5, 4)), t["sr"], ratio).flatten(1, 2), t["norm"])
    return t_attend(t, reduced)


def t_linear_attention(t):
    pooled = t_pool(t["x"].unflatten(1, (8, 10)), 7)
    return t_attend(t, functional("gelu", norm(t_conv(pooled, t["sr"], 1).flatten(1, 2), t["norm"])))


def t_attend(t, reduced):
    """PyTorch's own fused attention, with two heads."""
    q = t_linear({"x": t["x"], **t["q"]})
    k, v = t_linear({"x": reduced, **t["kv"]}).chunk(2, dim=-1)
    q, k, v = (a.unflatten(-1, (2, -1)).transpose(1, 2) for a in (q, k, v))
    y = functional("scaled_dot_product_attention", q, k, v)
    return t_linear({"x": y.transpose(1, 2).flatten(2), **t["proj"]})


def t_mlp(t, act="gelu"):
    return t_linear({"x": torch_activation(act, t_linear({"x": t["x"], **t["fc1"]})), **t["fc2"]})


def t_dwconv_mlp(t, relu_first):
    wide = t_linear({"x": t["x"], **t["fc1"]})
    wide = wide.relu() if relu_first else wide
    local = t_conv(wide.unflatten(1, (2, 3)), t["dwconv"], 1, 1, groups=5).flatten(1, 2)
    return t_linear({"x": functional("gelu", local), **t["fc2"]})


def t_loss(name, logits, labels, **options):
    import torch

    return functional(name, logits, torch.from_numpy(labels), **options)
