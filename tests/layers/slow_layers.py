"""Slow, obvious twins of every layer: loops over single numbers, written from the formulas, in float64.

They stand in for PyTorch where it is not installed. Nothing is imported from pvt_numpy. Arrays are (B, H, W, C) maps
and (B, N, C) tokens, as there.
"""

import math

import numpy as np


def linear(x, weight, bias=None):
    rows = x.reshape(-1, x.shape[-1])
    y = np.zeros((len(rows), len(weight)))
    for n, row in enumerate(rows):
        for c, kernel in enumerate(weight):
            y[n, c] = math.fsum(a * b for a, b in zip(row, kernel, strict=True)) + (0 if bias is None else bias[c])
    return y.reshape(*x.shape[:-1], len(weight))


def layer_norm(x, weight, bias, eps):
    y = np.zeros(x.shape)
    for n in np.ndindex(x.shape[:-1]):
        token = [float(v) for v in x[n]]
        mean = math.fsum(token) / len(token)
        variance = math.fsum((v - mean) ** 2 for v in token) / len(token)
        for c, v in enumerate(token):
            y[n][c] = (v - mean) / math.sqrt(variance + eps) * weight[c] + bias[c]
    return y


def each(function):
    """The layer that applies `function` to every number."""

    def layer(x):
        return np.array([function(float(v)) for v in x.ravel()]).reshape(x.shape)

    return layer


ACTIVATIONS = {
    "gelu": each(lambda v: v * (1 + math.erf(v / math.sqrt(2))) / 2),
    "gelu_new": each(lambda v: v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))) / 2),
    "quick_gelu": each(lambda v: v / (1 + math.exp(-1.702 * v))),
    "silu": each(lambda v: v / (1 + math.exp(-v))),
    "relu": each(lambda v: v if v > 0 else 0.0),
    "selu": each(lambda v: 1.0507009873554805 * (v if v > 0 else 1.6732632423543772 * (math.exp(v) - 1))),
}


def softmax(x):
    y = np.zeros(x.shape)
    for n in np.ndindex(x.shape[:-1]):
        powers = [math.exp(v - max(x[n])) for v in x[n]]
        y[n] = [p / math.fsum(powers) for p in powers]
    return y


def conv2d(x, weight, bias=None, stride=1, padding=0):
    B, H, W, C = x.shape
    out, _, size, _ = weight.shape
    rows, columns = ((n + 2 * padding - size) // stride + 1 for n in (H, W))
    y = np.zeros((B, rows, columns, out))
    for b, i, j, c in np.ndindex(y.shape):
        total = 0 if bias is None else bias[c]
        for di, dj, channel in np.ndindex(size, size, C):
            h, w = i * stride + di - padding, j * stride + dj - padding
            if 0 <= h < H and 0 <= w < W:
                total += x[b, h, w, channel] * weight[c, channel, di, dj]
        y[b, i, j, c] = total
    return y


def depthwise_conv2d(x, weight, bias=None):
    B, H, W, C = x.shape
    y = np.zeros(x.shape)
    for b, i, j, c in np.ndindex(x.shape):
        y[b, i, j, c] = 0 if bias is None else bias[c]
        for di, dj in np.ndindex(3, 3):
            h, w = i + di - 1, j + dj - 1
            if 0 <= h < H and 0 <= w < W:
                y[b, i, j, c] += x[b, h, w, c] * weight[c, 0, di, dj]
    return y


def resize_bilinear(x, grid):
    B, H, W, C = x.shape
    y = np.zeros((B, *grid, C))
    for i, j in np.ndindex(*grid):
        # where the centre of the new cell lies, counted in old cells; the edge repeats
        h = min(max((i + 0.5) * H / grid[0] - 0.5, 0), H - 1)
        w = min(max((j + 0.5) * W / grid[1] - 0.5, 0), W - 1)
        top, left = math.floor(h), math.floor(w)
        for row, column in [(top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)]:
            share = (1 - abs(h - row)) * (1 - abs(w - column))
            if share > 0:
                y[:, i, j] += share * x[:, row, column]
    return y


def adaptive_average_pool(x, size):
    B, H, W, C = x.shape
    y = np.zeros((B, size, size, C))
    for i, j in np.ndindex(size, size):
        rows = range(math.floor(i * H / size), math.ceil((i + 1) * H / size))
        columns = range(math.floor(j * W / size), math.ceil((j + 1) * W / size))
        for h in rows:
            for w in columns:
                y[:, i, j] += x[:, h, w] / (len(rows) * len(columns))
    return y


def patch_embed(x, proj, norm, stride, eps, padding=0):
    y = conv2d(x, **proj, stride=stride, padding=padding)
    return layer_norm(y, **norm, eps=eps).reshape(len(x), -1, y.shape[-1])


def add_positions(x, grid, pos_embed, cls_token=None, stored_grid=None):
    special = 0 if cls_token is None else 1
    table = pos_embed[0, special:].reshape(1, *stored_grid, -1)
    table = resize_bilinear(table, grid).reshape(-1, x.shape[-1])
    y = np.zeros((len(x), special + x.shape[1], x.shape[2]))
    for b in range(len(x)):
        if special:
            y[b, 0] = cls_token[0, 0] + pos_embed[0, 0]
        for n in range(x.shape[1]):
            y[b, special + n] = x[b, n] + table[n]
    return y


def attend(x, source, q, kv, proj, heads):
    """Each head of each query on its own: q · k over the keys, softmax, and the mean of the values."""
    B, N, C = x.shape
    d = C // heads
    queries, both = linear(x, **q), linear(source, **kv)
    keys, values = both[..., :C], both[..., C:]
    probs, mixed = np.zeros((B, heads, N, source.shape[1])), np.zeros(x.shape)
    for b, h, n in np.ndindex(B, heads, N):
        part = slice(h * d, (h + 1) * d)
        scores = [math.fsum(queries[b, n, part] * key[part]) / math.sqrt(d) for key in keys[b]]
        probs[b, h, n] = softmax(np.array([scores]))[0]
        for m, p in enumerate(probs[b, h, n]):
            mixed[b, n, part] += p * values[b, m, part]
    return linear(mixed, **proj), probs


def attention(x, grid, q, kv, proj, sr=None, norm=None, heads=1, ratio=1, eps=0.0):
    source = x
    if ratio > 1:
        small = conv2d(x.reshape(len(x), *grid, -1), **sr, stride=ratio)
        source = layer_norm(small, **norm, eps=eps).reshape(len(x), -1, x.shape[-1])
    return attend(x, source, q, kv, proj, heads)


def linear_attention(x, grid, q, kv, proj, sr, norm, heads=1, eps=0.0):
    small = conv2d(adaptive_average_pool(x.reshape(len(x), *grid, -1), 7), **sr)
    source = ACTIVATIONS["gelu"](layer_norm(small, **norm, eps=eps)).reshape(len(x), -1, x.shape[-1])
    return attend(x, source, q, kv, proj, heads)


def mlp(x, fc1, fc2, act="gelu"):
    return linear(ACTIVATIONS[act](linear(x, **fc1)), **fc2)


def dwconv_mlp(x, grid, fc1, dwconv, fc2, act="gelu", relu_first=False):
    wide = linear(x, **fc1)
    if relu_first:
        wide = ACTIVATIONS["relu"](wide)
    local = depthwise_conv2d(wide.reshape(len(x), *grid, -1), **dwconv).reshape(wide.shape)
    return linear(ACTIVATIONS[act](local), **fc2)


def cross_entropy(logits, labels, label_smoothing=0.0):
    losses = []
    for z, label in zip(logits, labels, strict=True):
        if label != -100:
            surprise = -np.log(softmax(z[None])[0])
            losses.append((1 - label_smoothing) * surprise[label] + label_smoothing * math.fsum(surprise) / len(z))
    return math.fsum(losses) / len(losses)


def mean_square(logits, labels):
    return math.fsum((z - y) ** 2 for z, y in zip(logits.ravel(), labels.ravel(), strict=True)) / logits.size


def binary_cross_entropy(logits, labels):
    total = 0.0
    for z, y in zip(logits.ravel(), labels.ravel(), strict=True):
        p = 1 / (1 + math.exp(-z))
        total -= y * math.log(p) + (1 - y) * math.log(1 - p)
    return total / logits.size
