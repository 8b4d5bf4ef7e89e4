"""What the attention probabilities of a whole forward pass add up to: pyramid rollout, and statistics of each head.

Source: attention rollout is Abnar and Zuidema, "Quantifying Attention Flow in Transformers" (2020). Theirs multiplies
square matrices; PVT's are N x M and the grid changes between stages, so this one adds two rules of our own:

    a key stands for its R x R tokens     each key's weight is spread evenly over its square (over its bin in linear
                                          SRA); tokens at the edge that are in no square get none
    a stage merges stride x stride tokens the weight of a token is spread evenly over the cell of the stage below that
                                          it was made from; v2's patches overlap, and are treated as their cells

It is a heuristic: values, MLPs and the depthwise convolutions of v2 move information too, and rollout knows nothing of
them, nor of the answer. What it shows is where attention leads, and not what the answer depends on: on 200 photos it
correlates with covering parts of the picture at 0.08 to 0.10 on average (`occlusion.py`, notebook 4). All of it is read
from a trace; `plots` draws it.
"""

from typing import NamedTuple

import numpy as np

from ..layers.attention import POOLED
from ..layers.resize import pooling_matrix
from ..system.checks import wrong


class HeadStatistics(NamedTuple):
    """Where one head looks, averaged over the queries of one picture; `uniform_*`: the same for a head that looks
    everywhere alike. Stage, block and head count from 0."""

    stage: int
    block: int
    head: int
    keys: int  # M
    entropy: float  # bits; log2 M at most
    distance: float  # pixels from the query to its keys, weighted by attention
    uniform_entropy: float
    uniform_distance: float


def pyramid_rollout(trace, config, *, picture=0, query=None):
    """How much of an output token comes from each token of each stage, if attention and residuals were all there is.

    One row vector w goes backwards through the blocks: w <- w / 2 + spread(w A) / 2, where A is the block's probs,
    averaged over the heads, and the first half is the residual. No N x N table is ever made.

    trace    of `forward`
    picture  which one of the batch
    query    (stage, row, column) of a token that leaves this stage's last block; None: what the head reads, that is
             v1's class token or v2's mean over all tokens, and the mean too for a v1 without class token

    Returns one (H, W) map for each stage, the first stage first, up to the query's: the shares of the tokens that
    enter its blocks. Each map sums to 1. What v1's class token keeps for itself is no part of the picture and is
    left out, and the rest scaled to 1. Raises ValueError for a query that is no token.
    """
    last = config.num_encoder_blocks - 1 if query is None else query[0]
    H, W = trace.get(f"stages.{last}.grid", (0, 0))
    if query is not None and not (0 <= query[1] < H and 0 <= query[2] < W):
        tokens = f", row 0 to {H - 1}, column 0 to {W - 1}" if H else ", and a token of its grid"
        raise wrong("query", tuple(query), f"stage 0 to {config.num_encoder_blocks - 1}{tokens}")
    class_tokens = int(has_class_row(trace, last))
    w = np.zeros(class_tokens + H * W)
    if query is not None:
        w[class_tokens + np.ravel_multi_index(query[1:], (H, W))] = 1
    elif class_tokens:
        w[0] = 1
    else:
        w[:] = 1 / (H * W)
    maps = []
    for i in range(last, -1, -1):
        grid = trace[f"stages.{i}.grid"]
        if i < last:
            rows, columns = (merge_matrix(n, m, config.strides[i + 1]) for n, m in zip(grid, w.shape, strict=True))
            w = (rows.T @ w @ columns).ravel()
        blocks = key_blocks(grid, config, i)
        class_tokens = w.size - grid[0] * grid[1]
        for j in reversed(range(config.depths[i])):
            read = w @ trace[f"stages.{i}.blocks.{j}.attn.probs"][picture].mean(axis=0)
            w = (w + np.concatenate([read[:class_tokens], spread(read[class_tokens:], *blocks).ravel()])) / 2
        if class_tokens:
            w = w[class_tokens:] / w[class_tokens:].sum()
        w = w.reshape(grid)
        maps.append(w)
    return maps[::-1]


def has_class_row(trace, stage):
    """Whether v1's class token is among the tokens of this stage."""
    H, W = trace[f"stages.{stage}.grid"]
    return trace[f"stages.{stage}.tokens"].shape[1] > H * W


def key_blocks(grid, config, stage):
    """Which tokens each key was made from: rows (H', H) and columns (W', W), for a grid of H' x W' keys.

    Row k of the first is 1/R at the R rows of tokens that key row k has merged and 0 elsewhere; rows sum to 1. With
    linear SRA the keys are 7 x 7 bins.

    >>> from pvt_numpy.config import VARIANTS
    >>> key_blocks((5, 4), VARIANTS["pvt_v2_b0"], 2)[0]
    array([[0.5, 0.5, 0. , 0. , 0. ],
           [0. , 0. , 0.5, 0.5, 0. ]])
    """
    if config.linear_attention:
        return tuple(pooling_matrix(n, POOLED) for n in grid)
    ratio = config.sr_ratios[stage]
    return tuple(merge_matrix(n, n // ratio, ratio) for n in grid)


def merge_matrix(n, m, size):
    """(m, n): sample i of m is the mean of the `size` samples from i * size on, as far as there are n.

    >>> merge_matrix(3, 2, 2)
    array([[0.5, 0.5, 0. ],
           [0. , 0. , 1. ]])
    """
    start, k = np.minimum(np.arange(m) * size, n - 1)[:, None], np.arange(n)
    inside = (start <= k) & (k < start + size)
    return inside / inside.sum(axis=1, keepdims=True)


def spread(weights, rows, columns):
    """Weights of keys (..., M) handed to the tokens they were made from: (..., H, W), with the same sum."""
    return rows.T @ weights.reshape(*weights.shape[:-1], len(rows), len(columns)) @ columns


def entropy(probs):
    """How widely each query looks, in bits: 0 for a single key, log2 M for all M alike. (..., M) -> (...).

    >>> entropy(np.array([[1.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]])) + 0.0
    array([0., 2.])
    """
    return -(probs * np.log2(np.where(probs > 0, probs, 1))).sum(axis=-1)


def attention_distance(probs, grid, rows, columns):
    """How far each query looks, in tokens: the mean distance to the centres of its keys, weighted by attention.

    probs (..., N, M), grid (H, W) with N = H * W, rows and columns from `key_blocks`. Returns (..., N).
    """
    y, x = np.indices(grid).reshape(2, -1)
    key_y, key_x = rows @ np.arange(grid[0]), columns @ np.arange(grid[1])
    key_y, key_x = np.repeat(key_y, len(key_x)), np.tile(key_x, len(key_y))
    return (probs * np.hypot(y[:, None] - key_y, x[:, None] - key_x)).sum(axis=-1)


def cell_sizes(config):
    """How many pixels a token of each stage is wide: the product of the strides so far.

    >>> from pvt_numpy.config import VARIANTS
    >>> cell_sizes(VARIANTS["pvt_tiny"])
    [4, 8, 16, 32]
    """
    return np.cumprod(config.strides).tolist()


def head_statistics(trace, config, *, picture=0):
    """`HeadStatistics` of every head of every block, in order. v1's class token is left out, as query and as key."""
    found = []
    for i, pixels in enumerate(cell_sizes(config)):
        grid = trace[f"stages.{i}.grid"]
        blocks = key_blocks(grid, config, i)
        for j in range(config.depths[i]):
            probs = trace[f"stages.{i}.blocks.{j}.attn.probs"][picture]
            class_tokens = probs.shape[1] - grid[0] * grid[1]
            probs = probs[:, class_tokens:, class_tokens:]
            probs = probs / probs.sum(axis=-1, keepdims=True)
            keys = probs.shape[-1]
            uniform = np.full((1, *probs.shape[1:]), 1 / keys)
            bits, far = entropy(probs).mean(axis=-1), pixels * attention_distance(probs, grid, *blocks).mean(axis=-1)
            level = pixels * attention_distance(uniform, grid, *blocks).mean()
            found += [
                HeadStatistics(i, j, h, keys, float(bits[h]), float(far[h]), float(np.log2(keys)), float(level))
                for h in range(len(probs))
            ]
    return found
