"""What the page computes with: q and k of every block and head, and each stage's features, as small integers.

A score table has heads * N * M numbers, the queries and keys it comes from only (N + M) * C: the page stores these and
does softmax(q kᵀ / sqrt(d)) itself, so that a reader can follow every number down to the products it is made of.

Rounding: each token's q (and k) of one head is divided by its largest number and stored in 16 or 8 bits. If that is
too much and there are fewer keys than channels, the scores take their place. What the rounding does to the
probabilities is measured here against the forward pass, for all of them, and shown on the page.
Left out: values and everything behind the probabilities; the page does not show them.
"""

import base64
import math
from dataclasses import dataclass, replace

import numpy as np

from ..layers.softmax import softmax

BUDGET = 5_350_000  # characters of base64: what the page may spend on numbers, so that it stays below 6 MB
COARSEST = 4  # at most every 4th row and column of queries is kept
# the names in a trace that the page needs
WANTED = r"pixel_values|logits|stages\.\d+(\.grid|\.tokens|\.blocks\.\d+\.attn\.(q|k|probs))?"


@dataclass(frozen=True)
class Share:
    """How much of one stage the page keeps.

    level   how much was given up, in order: 0 nothing; 1 precision; 2 q and k; 3 queries or blocks
    bits    of each number in q and k
    scores  whether the score table is kept instead of q and k
    stride  every so many rows and columns of queries (keys are always complete)
    every   every so many blocks, counted from the last
    """

    level: int = 0
    bits: int = 16
    scores: bool = False
    stride: int = 1
    every: int = 1


@dataclass(frozen=True)
class Stage:
    """The sizes of one stage: grid (H, W) of tokens, M keys, 1 or 0 class tokens, blocks, heads, channels."""

    grid: tuple[int, int]
    M: int
    class_tokens: int
    depth: int
    heads: int
    C: int

    def rows(self, share):
        """The rows and the columns of the grid whose queries are kept: the middle one of every `stride`."""
        return tuple(range(min(share.stride // 2, n - 1), n, share.stride) for n in self.grid)

    def blocks(self, share):
        return list(range((self.depth - 1) % share.every, self.depth, share.every))

    def cost(self, share):
        """Characters of base64."""
        rows, columns = self.rows(share)
        n, d = len(rows) * len(columns), self.C // self.heads
        if share.scores:
            block = (n + self.class_tokens) * (self.M + 4)
        else:
            block = (n + self.class_tokens + self.M) * (d * share.bits // 8 + 4)
        return (len(self.blocks(share)) * self.heads * block + n * self.C) * 4 // 3

    def smaller(self, share):
        """The next smaller share, or None: fewer bits; scores only; some of many blocks; a coarser grid of queries."""
        if share.bits == 16:
            return replace(share, level=1, bits=8)
        table = replace(share, level=2, scores=True)
        if self.cost(table) < self.cost(share):
            return table
        if len(self.blocks(share)) > 8:
            return replace(share, level=3, every=share.every + 1)
        if share.stride < min(COARSEST, max(self.grid)):
            return replace(share, level=3, stride=share.stride + 1)
        return replace(share, level=3, every=share.every + 1) if len(self.blocks(share)) > 1 else None


def shares(stages, budget=BUDGET):
    """One `Share` per stage, so that all together cost at most `budget`.

    The stage that has given up least gives way first, and among equals the costliest.

    >>> b0 = [Stage((56, 56), 49, 0, 2, 1, 32), Stage((7, 7), 49, 0, 2, 8, 256)]
    >>> [share.bits for share in shares(b0)], [share.bits for share in shares(b0, 800_000)]
    ([16, 16], [8, 16])
    """
    chosen = [Share() for _ in stages]
    while sum(map(Stage.cost, stages, chosen)) > budget:
        givers = [i for i, stage in enumerate(stages) if stage.smaller(chosen[i])]
        if not givers:
            raise ValueError("the model: found more queries and keys than fit in a page, with as few as may be kept; "
                             "expected a smaller picture or model")  # fmt: skip
        i = min(givers, key=lambda i: (stages[i].smaller(chosen[i]).level, -stages[i].cost(chosen[i])))
        chosen[i] = stages[i].smaller(chosen[i])
    return chosen


def pack(trace, config, budget=BUDGET):
    """One dict per stage, ready for JSON: sizes, which queries and blocks were kept, integers, and measured errors.

    trace  of `forward` for one picture
    """
    stages = [_stage(trace, config, i) for i in range(config.num_encoder_blocks)]
    return [_pack_stage(trace, i, stage, share) for i, (stage, share) in enumerate(zip(stages, shares(stages, budget),
                                                                                       strict=True))]  # fmt: skip


def _stage(trace, config, i):
    _, heads, N, M = trace[f"stages.{i}.blocks.0.attn.probs"].shape
    H, W = grid = trace[f"stages.{i}.grid"]
    return Stage(grid, M, N - H * W, config.depths[i], heads, config.hidden_sizes[i])


def _pack_stage(trace, i, stage, share):
    (H, W), (rows, columns) = stage.grid, stage.rows(share)
    grid_tokens = (np.array(rows)[:, None] * W + np.array(columns)).ravel()
    queries = np.concatenate([np.arange(stage.class_tokens), stage.class_tokens + grid_tokens])
    blocks, score_errors, prob_errors = [], [], []
    for j in stage.blocks(share):
        q, k, probs = (trace[f"stages.{i}.blocks.{j}.attn.{name}"][0] for name in ("q", "k", "probs"))
        block, score_error, prob_error = _pack_block(q[:, queries], k, probs[:, queries], share)
        blocks.append({"index": j, **block})
        score_errors.append(score_error)
        prob_errors.append(prob_error)
    features, cosine_error = _pack_features(trace[f"stages.{i}"][0], grid_tokens)
    return {
        "grid": [H, W], "heads": stage.heads, "channels": stage.C, "keys": stage.M, "depth": stage.depth,
        "classToken": bool(stage.class_tokens), "rows": list(rows), "columns": list(columns), "stride": share.stride,
        "bits": share.bits, "onlyScores": share.scores, "blocks": blocks, "features": features,
        "errors": {"score": max(score_errors), "probability": max(prob_errors), "cosine": cosine_error},
    }  # fmt: skip


def _pack_block(q, k, probs, share):
    """q (heads, n, d) and k (heads, M, d), or their scores, as integers and scales; the largest errors this makes."""
    d = q.shape[-1]
    exact = q.astype(np.float64) @ k.astype(np.float64).swapaxes(-1, -2) / math.sqrt(d)
    stored = {"scores": exact} if share.scores else {"q": q, "k": k}
    block, restored = {}, {}
    for name, values in stored.items():
        whole, scale = quantise(values, share.bits)
        block |= {name: encode(whole), f"{name}Scale": encode(scale)}
        restored[name] = whole * scale[..., None].astype(np.float64)
    scores = restored["scores"] if share.scores else restored["q"] @ restored["k"].swapaxes(-1, -2) / math.sqrt(d)
    return block, float(np.abs(scores - exact).max()), float(np.abs(softmax(scores) - probs).max())


def _pack_features(features, grid_tokens):
    """The map (C, H, W) as one row of 8-bit integers per kept token, and the largest error of a cosine.

    A row's scale cancels in a cosine, so it is not stored. The error is measured between every 8th token and all.
    """
    rows = features.reshape(len(features), -1).T[grid_tokens].astype(np.float64)
    whole, _ = quantise(rows, 8)
    exact, rounded = cosines(rows[::8], rows), cosines(whole[::8], whole)
    return encode(whole), float(np.abs(exact - rounded).max())


def cosines(a, b):
    """The cosine of the angle between every row of a and every row of b; 0 if a row is all zeros."""
    a, b = (x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), np.finfo(np.float64).tiny) for x in (a, b))
    return a @ b.T


def quantise(x, bits):
    """x (..., d) as signed integers and one float32 scale for each row of d: x is about integer * scale.

    >>> quantise(np.array([[1.0, -2.0, 0.01], [0.0, 0.0, 0.0]]), 8)[0].tolist()
    [[64, -127, 1], [0, 0, 0]]
    """
    limit = 2 ** (bits - 1) - 1
    scale = (np.abs(x).max(axis=-1) / limit).astype("<f4")
    whole = np.rint(x / np.where(scale > 0, scale, 1)[..., None])
    return np.clip(whole, -limit, limit).astype(f"<i{bits // 8}"), scale


def encode(array):
    """The array's bytes, little-endian, as base64."""
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
