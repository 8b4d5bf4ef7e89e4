"""Spatial-reduction attention (SRA), the layer PVT is named for, and v2's linear variant.

Source: PVT, the section on the Transformer encoder: SRA(Q, K, V) = Concat(head_1, ..., head_heads) W^O with
head_j = Attention(Q W_j^Q, SR(K) W_j^K, SR(V) W_j^V), Attention(q, k, v) = Softmax(q kᵀ / sqrt(d)) v and
SR(x) = Norm(Reshape(x, R) W^S). PVT v2, the section on linear SRA, for the pooled form.
"""

import math

import numpy as np

from .activations import gelu, gelu_backward
from .convolution import conv2d, conv2d_backward
from .layernorm import layer_norm, layer_norm_backward
from .linear import linear, linear_backward
from .resize import adaptive_average_pool, adaptive_average_pool_backward
from .run import QUIET
from .softmax import softmax, through_softmax

POOLED = 7  # linear SRA's keys are a 7 x 7 grid at every stage and for every picture size


def attention(x, grid, q, kv, proj, sr=None, norm=None, *, heads, ratio, eps, run=QUIET):
    """Every token asks; a shrunken copy of the map answers.

    The N tokens make the queries. Keys and values come from the same map after a stride-R convolution has
    merged each R x R square into one token, so M = (H // R) * (W // R), and the score table is N x M: R * R times
    smaller than N x N. With R = 1 this is ordinary multi-head attention. Rows and columns of the grid that do not
    fill a square are no part of any key; a grid smaller than one square is a ValueError.

    x      (B, N, C)      tokens, row by row over the grid
    grid   (H, W)         H * W == N, or N - 1 if a class token comes first (then R must be 1)
    q      weight (C, C), bias (C,)
    kv     weight (2C, C), bias (2C,)       keys first, then values
    proj   weight (C, C), bias (C,)         W^O, which mixes the heads
    sr     weight (C, C, R, R), bias (C,)   only if R > 1
    norm   weight (C,), bias (C,)           only if R > 1
    ratio  R
    eps    of the norm

    Returns y (B, N, C) and probs (B, heads, N, M); each row of probs sums to 1 (before dropout).

    >>> import numpy as np
    >>> def layer(*shape): return {"weight": np.ones(shape), "bias": np.zeros(shape[0])}
    >>> y, probs = attention(np.ones((1, 3136, 64)), (56, 56), layer(64, 64), layer(128, 64), layer(64, 64),
    ...                      layer(64, 64, 8, 8), layer(64), heads=1, ratio=8, eps=1e-6)
    >>> y.shape, probs.shape
    ((1, 3136, 64), (1, 1, 3136, 49))
    """
    reduced = x if ratio == 1 else layer_norm(tokens(conv2d(as_map(x, grid), **sr, stride=ratio)), **norm, eps=eps)
    return attend(x, reduced, q, kv, proj, heads, run)


def linear_attention(x, grid, q, kv, proj, sr, norm, *, heads, eps, run=QUIET):
    """Linear SRA (b2_li): the keys are the map averaged to 7 x 7, so the cost grows with N alone.

    After the pooling come a 1 x 1 convolution, a norm and GELU. Ratios play no part: M = 49 at every size.
    Arguments and results as in `attention`, but sr's weight is (C, C, 1, 1).
    """
    pooled = adaptive_average_pool(as_map(x, grid), POOLED)
    reduced = gelu(layer_norm(tokens(conv2d(pooled, **sr, stride=1)), **norm, eps=eps))
    return attend(x, reduced, q, kv, proj, heads, run)


def attend(x, reduced, q, kv, proj, heads, run=QUIET):
    """Softmax(q kᵀ / sqrt(d)) v for each head: queries from x (B, N, C), keys and values from reduced (B, M, C)."""
    queries = split_heads(linear(x, **q), heads)
    keys, values = (split_heads(half, heads) for half in np.split(linear(reduced, **kv), 2, axis=-1))
    scores = queries @ (keys.swapaxes(-1, -2) / math.sqrt(queries.shape[-1]))  # the M keys: fewer than N x M scores
    probs = run.dropout(softmax(scores), run.probs_rate, "probs")
    y = linear(merge_heads(probs @ values), **proj)
    run.note(reduced=reduced, q=queries, k=keys, v=values, scores=scores, probs=probs)
    return run.dropout(y, run.hidden_rate, "y"), probs


def split_heads(x, heads):
    """(B, N, C) -> (B, heads, N, d): each head has d = C / heads neighbouring channels."""
    return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def merge_heads(x):
    """(B, heads, N, d) -> (B, N, C), the inverse of `split_heads`."""
    return x.transpose(0, 2, 1, 3).reshape(len(x), x.shape[2], -1)


def as_map(x, grid):
    """Tokens (B, N, C) as a map (B, H, W, C): the same memory."""
    return x.reshape(len(x), *grid, x.shape[-1])


def tokens(x):
    """A map (B, H, W, C) as tokens (B, N, C): the same memory."""
    return x.reshape(len(x), -1, x.shape[-1])


def attention_backward(dy, x, grid, q, kv, proj, sr=None, norm=None, *, heads, ratio, eps, run=QUIET):
    """The gradient dy (B, N, C) of y, carried back. (The probs lead nowhere else, so no gradient comes from them.)

    x is used twice, as queries and, reduced, as keys and values, so its gradient is the sum of two. For each head, with
    scores S = q kᵀ / sqrt(d), P = softmax(S), o = P v and do, the gradient of o:

        dv = Pᵀ do      dP = do vᵀ      dS = softmax_backward(dP, S)    dq = dS k / sqrt(d)      dk = dSᵀ q / sqrt(d)

    Before that, proj and the merging of the heads are undone; after it q and kv, then SRA's norm and convolution.

    Returns dx (B, N, C) and {"q": …, "kv": …, "proj": …}, with "sr" and "norm" if R > 1.
    """
    if ratio == 1:
        dx, dreduced, grads = attend_backward(dy, x, x, q, kv, proj, heads, run)
        return dx + dreduced, grads
    squares = conv2d(as_map(x, grid), **sr, stride=ratio)
    reduced = layer_norm(tokens(squares), **norm, eps=eps)
    dx, dreduced, grads = attend_backward(dy, x, reduced, q, kv, proj, heads, run)
    dsquares, grads["norm"] = layer_norm_backward(dreduced, tokens(squares), **norm, eps=eps)
    dmap, grads["sr"] = conv2d_backward(dsquares.reshape(squares.shape), as_map(x, grid), **sr, stride=ratio)
    return dx + tokens(dmap), grads


def linear_attention_backward(dy, x, grid, q, kv, proj, sr, norm, *, heads, eps, run=QUIET):
    """As `attention_backward`; the keys' gradient passes GELU, the norm, the 1 x 1 convolution and the pooling."""
    pooled = adaptive_average_pool(as_map(x, grid), POOLED)
    mixed = conv2d(pooled, **sr, stride=1)
    normed = layer_norm(tokens(mixed), **norm, eps=eps)
    dx, dreduced, grads = attend_backward(dy, x, gelu(normed), q, kv, proj, heads, run)
    dmixed, grads["norm"] = layer_norm_backward(gelu_backward(dreduced, normed), tokens(mixed), **norm, eps=eps)
    dpooled, grads["sr"] = conv2d_backward(dmixed.reshape(mixed.shape), pooled, **sr, stride=1)
    return dx + tokens(adaptive_average_pool_backward(dpooled, as_map(x, grid), POOLED)), grads


def attend_backward(dy, x, reduced, q, kv, proj, heads, run=QUIET):
    """`attend` carried back: dx (B, N, C) by way of the queries, dreduced (B, M, C), and the grads of q, kv, proj."""
    queries = split_heads(linear(x, **q), heads)
    keys, values = (split_heads(half, heads) for half in np.split(linear(reduced, **kv), 2, axis=-1))
    root = math.sqrt(queries.shape[-1])
    probs = softmax(queries @ (keys.swapaxes(-1, -2) / root))
    kept = run.dropout(probs, run.probs_rate, "probs")

    dy = run.dropout(dy, run.hidden_rate, "y")
    doutput, dproj = linear_backward(dy, merge_heads(kept @ values), **proj)
    doutput = split_heads(doutput, heads)
    dvalues = kept.swapaxes(-1, -2) @ doutput
    dprobs = run.dropout(doutput @ values.swapaxes(-1, -2), run.probs_rate, "probs")
    dscores = through_softmax(dprobs, probs)
    dqueries, dkeys = dscores @ (keys / root), dscores.swapaxes(-1, -2) @ queries / root

    dx, dq = linear_backward(merge_heads(dqueries), x, **q)
    dreduced, dkv = linear_backward(np.concatenate([merge_heads(dkeys), merge_heads(dvalues)], axis=-1), reduced, **kv)
    return dx, dreduced, {"q": dq, "kv": dkv, "proj": dproj}
