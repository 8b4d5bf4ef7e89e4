"""The mistakes of the backward pass, layer by layer."""

import math

import numpy as np

from ...layers.activations import normal_cdf
from ...layers.depthwise import shifted_copies
from .making import in_place, mistake


@mistake("bias-mean", "linear_backward", "the bias's gradient is the mean over the tokens, not the sum")
def bias_gradient_averaged(right, dy, x, weight, bias=None):
    dx, grads = right(dy, x, weight, bias)
    return dx, grads | ({} if bias is None else {"bias": grads["bias"] / (dy.size // dy.shape[-1])})


@mistake("weight-mean", "linear_backward", "the weight's gradient is the mean over the tokens, not the sum")
def weight_gradient_averaged(right, dy, x, weight, bias=None):
    dx, grads = right(dy, x, weight, bias)
    return dx, grads | {"weight": grads["weight"] / (dy.size // dy.shape[-1])}


@mistake("dx-transposed", "linear_backward", "the gradient goes back through the transposed matrix")
def back_through_the_transposed(right, dy, x, weight, bias=None):
    return dy @ weight.T, right(dy, x, weight, bias)[1]


@mistake("no-mean-term", "layer_norm_backward", "the way through the mean is forgotten: mean(g)")
def no_mean_term(right, dy, x, weight, bias, *, eps):
    dx, grads = right(dy, x, weight, bias, eps=eps)
    return dx + (dy * weight).mean(-1, keepdims=True) / np.sqrt(x.var(-1, keepdims=True) + eps), grads


@mistake(
    "no-variance-term",
    "layer_norm_backward",
    "the way through the deviation is forgotten: x̂ mean(g x̂)",
)
def no_variance_term(right, dy, x, weight, bias, *, eps):
    dx, grads = right(dy, x, weight, bias, eps=eps)
    s = np.sqrt(x.var(-1, keepdims=True) + eps)
    normal = (x - x.mean(-1, keepdims=True)) / s
    return dx + normal * (dy * weight * normal).mean(-1, keepdims=True) / s, grads


@mistake("no-weight-back", "layer_norm_backward", "dx lacks the factor weight")
def without_the_weight(right, dy, x, weight, bias, *, eps):
    return right(dy, x, np.ones_like(weight), bias, eps=eps)[0], right(dy, x, weight, bias, eps=eps)[1]


@mistake("gelu-slope", "gelu_backward", "the product rule's second half, x φ(x), is forgotten")
def half_of_the_product_rule(right, dy, x):
    return dy * normal_cdf(x)


@mistake("bell", "gelu_backward", "the bell curve lacks 1 / sqrt(2 pi)")
def bell_too_high(right, dy, x):
    return dy * (normal_cdf(x) + x * np.exp(-x * x / 2))


@mistake("diagonal", "through_softmax", "only the diagonal of softmax's derivative is used, y (1 - y)")
def diagonal_only(right, dy, y):
    return dy * y * (1 - y)


@mistake("no-average", "through_softmax", "the average gradient, sum(y dy), is not taken off")
def average_left_in(right, dy, y):
    return y * dy


@mistake("shared-pixels", "conv2d_backward", "a pixel in several windows keeps one's gradient, not the sum")
def last_window_only(right, dy, x, weight, bias=None, *, stride, padding=0):
    (B, H, W, C), (_, rows, columns, _), k = x.shape, dy.shape, weight.shape[-1]
    kernels = weight.transpose(0, 2, 3, 1).reshape(len(weight), -1)
    d_windows = (dy @ kernels).reshape(B, rows, columns, k, k, C)
    padded = np.zeros((B, H + 2 * padding, W + 2 * padding, C), dy.dtype)
    for i, j in np.ndindex(rows, columns):
        padded[:, i * stride : i * stride + k, j * stride : j * stride + k] = d_windows[:, i, j]
    return padded[:, padding : padding + H, padding : padding + W], right(
        dy, x, weight, bias, stride=stride, padding=padding)[1]  # fmt: skip


@mistake("table-mean", "add_positions_backward", "the table's gradient is the mean over the pictures, not the sum")
def table_gradient_averaged(right, dy, *args, **options):
    dx, grads = right(dy, *args, **options)
    return dx, {name: gradient / len(dy) for name, gradient in grads.items()}


@mistake("one-path", "attend_backward", "x is used twice, but the way through keys and values is forgotten")
def queries_only(right, *args):
    dx, dreduced, grads = right(*args)
    return dx, np.zeros_like(dreduced), grads


@mistake("keys-only", "attend_backward", "x is used twice, but the way through the queries is forgotten")
def keys_and_values_only(right, *args):
    dx, dreduced, grads = right(*args)
    return np.zeros_like(dx), dreduced, grads


@mistake("scale-back", "attend_backward", "the gradients of queries and keys are not divided by sqrt(d)")
def scale_left_out(right, dy, x, reduced, q, kv, proj, heads, *run):
    root = math.sqrt(x.shape[-1] / heads)
    with in_place(through_softmax=lambda right, dy, y: root * right(dy, y)):
        return right(dy, x, reduced, q, kv, proj, heads, *run)


@mistake("relu-mask", "relu_backward", "ReLU's mask is forgotten on the way back")
def relu_passes_all(right, dy, x):
    return dy


@mistake("dw-turned", "depthwise_conv2d_backward", "dx is made with the kernels as they are, not turned by 180 degrees")
def kernels_not_turned(right, dy, x, weight, bias=None):
    dx = sum(copy * weight[:, 0, i, j] for i, j, copy in shifted_copies(dy))
    return dx, right(dy, x, weight, bias)[1]


@mistake("mean-back", "mean_pool_head_backward", "the gradient is handed to every token whole, not divided by N")
def not_shared_out(right, dy, x, *head, **weights):
    dx, grads = right(dy, x, *head, **weights)
    return dx * x.shape[1], grads
