"""What the page computes with: q, k and v of every block and head, W^O, the residual stream, as small integers.

A score table has heads * N * M numbers, the queries and keys it comes from only (N + M) * C: the page stores these and
does softmax(q kᵀ / sqrt(d)) itself, so that a reader can follow every number down to the products it is made of.

Rounding: each token's q (and k, and v) of one head is divided by its largest number and stored in 16 or 8 bits. If
that is too much, what follows the probabilities goes first; then, if there are fewer keys than channels, the scores
take the place of q and k. What the rounding does to every number that the page shows is measured here against the
forward pass, for all of them, and told on the page.
Left out: the norms, the MLP's inside and SRA's convolution; of the MLP the page has the length of what it adds.
"""

import base64
import math
from dataclasses import dataclass, replace

import numpy as np

from ..layers.attention import merge_heads
from ..layers.linear import linear
from ..layers.softmax import softmax

BUDGET = 5_350_000  # characters of base64: what the page may spend on numbers, so that it stays below 6 MB
COARSEST = 4  # at most every 4th row and column of queries is kept
# the names in a trace that the page needs
WANTED = r"pixel_values|logits|stages\.\d+(\.grid|\.tokens|\.blocks\.\d+(\.mlp|\.attn(\.(q|k|v|probs))?)?)?"


@dataclass(frozen=True)
class Share:
    """How much of one stage the page keeps.

    level   how much was given up, in order: 0 nothing; 1 precision; 2 what follows; 3 q and k; 4 queries or blocks
    bits    of each number
    follows whether v, W^O and the residual stream are kept, which follow the probabilities
    scores  whether the score table is kept instead of q and k
    stride  every so many rows and columns of queries (keys are always complete)
    every   every so many blocks, counted from the last
    """

    level: int = 0
    bits: int = 16
    follows: bool = True
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
        places, d = len(rows) * len(columns), self.C // self.heads
        n, vector, token = places + self.class_tokens, d * share.bits // 8 + 4, self.C * share.bits // 8 + 4
        block = self.heads * (n * (self.M + 4) if share.scores else (n + self.M) * vector) + 6 * n
        if share.follows:
            block += self.heads * self.M * vector + self.C * (token + 4) + n * token
        return (len(self.blocks(share)) * block + places * self.C) * 4 // 3

    def smaller(self, share):
        """The next smaller share, or None: fewer bits; nothing after the probabilities; scores only; some of many
        blocks; a coarser grid of queries."""
        if share.bits == 16:
            return replace(share, level=1, bits=8)
        if share.follows:
            return replace(share, level=2, follows=False)
        table = replace(share, level=3, scores=True)
        if self.cost(table) < self.cost(share):
            return table
        if len(self.blocks(share)) > 8:
            return replace(share, level=4, every=share.every + 1)
        if share.stride < min(COARSEST, max(self.grid)):
            return replace(share, level=4, stride=share.stride + 1)
        return replace(share, level=4, every=share.every + 1) if len(self.blocks(share)) > 1 else None


def shares(stages, budget=BUDGET):
    """One `Share` per stage, so that all together cost at most `budget`.

    The stage that has given up least gives way first, and among equals the costliest. As the steps are large, room may
    be left in the end: what follows the probabilities then comes back, in the smallest stages first.

    >>> b0 = [Stage((56, 56), 49, 0, 2, 1, 32), Stage((7, 7), 49, 0, 2, 8, 256)]
    >>> [share.bits for share in shares(b0)], [share.bits for share in shares(b0, 1_500_000)]
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
    for i in sorted(range(len(stages)), key=lambda i: stages[i].cost(chosen[i])):
        richer = chosen[:i] + [replace(chosen[i], follows=not chosen[i].scores)] + chosen[i + 1 :]
        if sum(map(Stage.cost, stages, richer)) <= budget:
            chosen = richer
    return chosen


def pack(trace, model, budget=BUDGET):
    """One dict per stage, ready for JSON: sizes, which queries and blocks were kept, integers, and measured errors.

    trace  of `forward` for one picture
    """
    stages = [_stage(trace, model.config, i) for i in range(model.config.num_encoder_blocks)]
    return [_pack_stage(trace, model.params["stages"][i]["blocks"], i, stage, share)
            for i, (stage, share) in enumerate(zip(stages, shares(stages, budget), strict=True))]  # fmt: skip


def _stage(trace, config, i):
    _, heads, N, M = trace[f"stages.{i}.blocks.0.attn.probs"].shape
    H, W = grid = trace[f"stages.{i}.grid"]
    return Stage(grid, M, N - H * W, config.depths[i], heads, config.hidden_sizes[i])


def _pack_stage(trace, parameters, i, stage, share):
    (H, W), (rows, columns) = stage.grid, stage.rows(share)
    grid_tokens = (np.array(rows)[:, None] * W + np.array(columns)).ravel()
    queries = np.concatenate([np.arange(stage.class_tokens), stage.class_tokens + grid_tokens])
    blocks, errors = [], {}
    for j in stage.blocks(share):
        x = trace[f"stages.{i}.blocks.{j - 1}" if j else f"stages.{i}.tokens"][0, queries]
        proj = parameters[j]["attn"]["proj"]
        block, found = _pack_block(trace, f"stages.{i}.blocks.{j}", x, queries, proj, share)
        blocks.append({"index": j, **block})
        errors = {what: max(error, errors.get(what, 0)) for what, error in found.items()}
    features, errors["cosine"] = _pack_features(trace[f"stages.{i}"][0], grid_tokens)
    return {
        "grid": [H, W], "heads": stage.heads, "channels": stage.C, "keys": stage.M, "depth": stage.depth,
        "classToken": bool(stage.class_tokens), "rows": list(rows), "columns": list(columns), "stride": share.stride,
        "bits": share.bits, "onlyScores": share.scores, "follows": share.follows, "blocks": blocks,
        "features": features, "errors": errors,
    }  # fmt: skip


def _pack_block(trace, name, x, queries, proj, share):
    """One block as integers and scales, and the largest errors that these make in the numbers of the page.

    x (n, C) comes into the block; queries (n,): which of its N queries are kept
    """
    q, k, v, probs = (trace[f"{name}.attn.{what}"][0].astype(np.float64) for what in ("q", "k", "v", "probs"))
    y, mlp = (trace[f"{name}.{what}"][0, queries] for what in ("attn", "mlp"))
    q, probs, root = q[:, queries], probs[:, queries], math.sqrt(q.shape[-1])
    block = {}

    def stored(what, values, bits=share.bits):
        whole, scale = quantise(values, bits)
        block.update({what: encode(whole), f"{what}Scale": encode(scale)})
        return whole * scale[..., None].astype(np.float64)

    exact = q @ k.swapaxes(-1, -2) / root
    scores = stored("scores", exact) if share.scores else stored("q", q) @ stored("k", k).swapaxes(-1, -2) / root
    shown, lengths = softmax(scores), np.linalg.norm([x, y, mlp], axis=-1)
    pairs = {"score": (scores, exact), "probability": (shown, probs)}  # rounded, and not
    pairs["length"] = stored("lengths", lengths, 16), lengths
    if share.follows:
        heads, weight, bias = shown @ stored("v", v), stored("proj", proj["weight"]), proj["bias"]
        block["projBias"] = encode(bias.astype("<f4"))
        output = linear(merge_heads(heads[None])[0], weight, bias)
        pairs |= {"head": (heads, probs @ v), "attention": (output, y), "residual": (stored("x", x), x)}
    return block, {what: float(np.abs(rounded - true).max()) for what, (rounded, true) in pairs.items()}


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
