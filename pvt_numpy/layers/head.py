"""From the last stage's tokens to the logits: v1 reads its class token, v2 averages all tokens.

Source: PVT, the section on image-level prediction, which takes ViT's class token (Dosovitskiy et al., "An Image is
Worth 16x16 Words", 2021) into the last stage alone. PVT v2's paper does not speak of its head: the mean is that of
the official code.
"""

import numpy as np

from .linear import linear, linear_backward


def class_token_head(x, weight=None, bias=None):
    """v1: the first token carries the picture.

    x       (B, 1 + N, C)    normalised tokens, the class token first
    weight  (num_labels, C)  or None for a model without a head
    bias    (num_labels,)

    Returns logits (B, num_labels), and the pooled features (B, C) they were made from (the same without a head).
    """
    return _classify(x[:, 0], weight, bias)


def mean_pool_head(x, weight=None, bias=None):
    """v2: the mean over the tokens carries the picture. x (B, N, C); the rest as in `class_token_head`."""
    return _classify(x.mean(axis=1), weight, bias)


def _classify(pooled, weight, bias):
    return (pooled if weight is None else linear(pooled, weight, bias)), pooled


def class_token_head_backward(dy, x, weight=None, bias=None):
    """The gradient dy (B, num_labels) of the logits, carried back: it reaches the class token and no other directly.

    Returns dx (B, 1 + N, C) and {"weight": …, "bias": …}, or {} without a head.
    """
    dpooled, grads = _classify_backward(dy, x[:, 0], weight, bias)
    dx = np.zeros_like(x)
    dx[:, 0] = dpooled
    return dx, grads


def mean_pool_head_backward(dy, x, weight=None, bias=None):
    """As `class_token_head_backward`; each of the N tokens carries 1 / N of the mean and gets 1 / N of its gradient."""
    dpooled, grads = _classify_backward(dy, x.mean(axis=1), weight, bias)
    return np.repeat(dpooled[:, None] / x.shape[1], x.shape[1], axis=1), grads


def _classify_backward(dy, pooled, weight, bias):
    return (dy, {}) if weight is None else linear_backward(dy, pooled, weight, bias)
