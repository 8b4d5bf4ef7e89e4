"""The same layers in PyTorch's functions, on our layout: maps go in and come out as (B, H, W, C)."""

import math


def functional():
    from torch.nn import functional

    return functional


def nchw(x):
    return x.permute(0, 3, 1, 2)


def nhwc(x):
    return x.permute(0, 2, 3, 1)


def linear(x, weight, bias=None):
    return functional().linear(x, weight, bias)


def layer_norm(x, weight, bias, eps):
    return functional().layer_norm(x, x.shape[-1:], weight, bias, eps)


def activation(name):
    def layer(x):
        F = functional()
        by_name = {
            "gelu": F.gelu,
            "gelu_new": lambda v: F.gelu(v, approximate="tanh"),
            "quick_gelu": lambda v: v * (1.702 * v).sigmoid(),
            "silu": F.silu,
            "relu": F.relu,
            "selu": F.selu,
            "sigmoid": F.sigmoid,
        }
        return by_name[name](x)

    return layer


def softmax(x):
    return x.softmax(-1)


def conv2d(x, weight, bias=None, stride=1, padding=0):
    return nhwc(functional().conv2d(nchw(x), weight, bias, stride, padding))


def depthwise_conv2d(x, weight, bias=None):
    return nhwc(functional().conv2d(nchw(x), weight, bias, 1, 1, groups=x.shape[-1]))


def resize_bilinear(x, grid):
    return nhwc(functional().interpolate(nchw(x), size=grid, mode="bilinear", align_corners=False))


def adaptive_average_pool(x, size):
    return nhwc(functional().adaptive_avg_pool2d(nchw(x), size))


def patch_embed(x, proj, norm, stride, eps, padding=0):
    return layer_norm(conv2d(x, **proj, stride=stride, padding=padding).flatten(1, 2), **norm, eps=eps)


def resize_positions(pos_embed, grid, stored_grid):
    import torch

    special = pos_embed.shape[1] - math.prod(stored_grid)
    table = resize_bilinear(pos_embed[:, special:].unflatten(1, stored_grid), grid).flatten(1, 2)
    return torch.cat([pos_embed[:, :special], table], dim=1)


def add_positions(x, grid, pos_embed, cls_token=None, stored_grid=None):
    import torch

    if cls_token is not None:
        x = torch.cat([cls_token.expand(len(x), -1, -1), x], dim=1)
    return x + resize_positions(pos_embed, grid, stored_grid)


def attend(x, source, q, kv, proj, heads):
    def split(tokens):
        return tokens.unflatten(-1, (heads, -1)).transpose(1, 2)

    queries, (keys, values) = split(linear(x, **q)), map(split, linear(source, **kv).chunk(2, -1))
    probs = (queries @ keys.mT / math.sqrt(queries.shape[-1])).softmax(-1)
    return linear((probs @ values).transpose(1, 2).flatten(2), **proj), probs


def attention(x, grid, q, kv, proj, sr=None, norm=None, heads=1, ratio=1, eps=0.0):
    source = x
    if ratio > 1:
        source = layer_norm(conv2d(x.unflatten(1, grid), **sr, stride=ratio).flatten(1, 2), **norm, eps=eps)
    return attend(x, source, q, kv, proj, heads)


def linear_attention(x, grid, q, kv, proj, sr, norm, heads=1, eps=0.0):
    small = conv2d(adaptive_average_pool(x.unflatten(1, grid), 7), **sr).flatten(1, 2)
    return attend(x, functional().gelu(layer_norm(small, **norm, eps=eps)), q, kv, proj, heads)


def mlp(x, fc1, fc2, act="gelu"):
    return linear(activation(act)(linear(x, **fc1)), **fc2)


def dwconv_mlp(x, grid, fc1, dwconv, fc2, act="gelu", relu_first=False):
    wide = linear(x, **fc1)
    wide = wide.relu() if relu_first else wide
    local = depthwise_conv2d(wide.unflatten(1, grid), **dwconv).flatten(1, 2)
    return linear(activation(act)(local), **fc2)


def cross_entropy(logits, labels, label_smoothing=0.0):
    return functional().cross_entropy(logits, labels, label_smoothing=label_smoothing)


def mean_square(logits, labels):
    return functional().mse_loss(logits.flatten(), labels.flatten())


def binary_cross_entropy(logits, labels):
    return functional().binary_cross_entropy_with_logits(logits, labels)
