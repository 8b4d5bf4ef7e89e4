# %% [markdown]
# # 3 · Attention on a shorter sequence
#
# Attention lets every token read from every other one. For a picture with 3136 tokens that is ten million pairs per head and layer, and their number grows with the *fourth* power of the picture's side. Spatial-reduction attention (SRA) is PVT's answer: every token still asks, but a shrunken copy of the map answers.
#
# **What you will do.** Build attention for one head with loops; vectorise it; split it into heads; measure what it costs on the real first stage; shrink the keys; and arrive at the numbers of the real model.
#
# **What you will learn.** What queries, keys and values are; why the scores are divided by $\sqrt{d}$; what SRA changes and what it does not; that a strided convolution and a matrix product on flattened squares are the same; what is saved, in multiplications and in memory.
#
# **What you need.** NumPy; notebook 1 (what a token is). About 35 minutes. Stages, blocks and heads are counted from 1, as the paper counts its stages. Code counts from 0: `stages.0` is stage 1.

# %%
import sys

sys.path.insert(0, "..")  # the package, one folder up

import timeit

import numpy as np

import pvt_numpy
from pvt_numpy import VARIANTS, plots, practice
from pvt_numpy.layers.attention import attention, merge_heads, split_heads
from pvt_numpy.layers.convolution import conv2d
from pvt_numpy.layers.layernorm import layer_norm
from pvt_numpy.layers.run import Run
from pvt_numpy.layers.softmax import softmax
from pvt_numpy.plots.figures import drawing, new_figure
from pvt_numpy.plots.style import WIDEST

PICTURE = "golf_ball.jpg"  # or a picture of yours
PIXEL = 104, 100  # row and column, from 0 to 223, of the pixel whose token asks

model = pvt_numpy.load_model()
config = model.config
x = pvt_numpy.preprocess(PICTURE, **model.preprocessing)
picture = plots.photo_of(x, **model.preprocessing)
trace = {}
pvt_numpy.forward(x, model.params, config, trace=trace)

tokens = trace["stages.3.blocks.0.norm1"]  # what the first attention layer of stage 4 receives
layer = model.params["stages"][3]["blocks"][0]["attn"]
print(tokens.shape, {name: part["weight"].shape for name, part in layer.items()})

# %% [markdown]
# ## One head, with loops
#
# We start with the last [stage](glossary.md#stage), where nothing is reduced: with 49 [tokens](glossary.md#token) of 256 [channels](glossary.md#channel) and 8 [heads](glossary.md#head), each with $d = 256/8 = 32$ channels. One head:
#
# 1. Every token $n$ makes a **[query](glossary.md#query)** $q_n$, a **[key](glossary.md#key)** $k_n$ and a **[value](glossary.md#value)** $v_n$, each by a [linear layer](glossary.md#linear-layer).
# 2. The **[score](glossary.md#score)** of token $m$ for token $n$ is $q_n \cdot k_m / \sqrt{d}$.
# 3. A **[softmax](glossary.md#softmax)** over $m$ makes weights $p_{nm} > 0$ with $\sum_m p_{nm} = 1$.
# 4. The result for token $n$ is the mean of the values with these weights.
#
# $$\mathrm{Attention}(q, k, v) = \mathrm{Softmax}\!\left(\frac{q k^\top}{\sqrt{d}}\right) v \qquad \text{(PVT, section “Transformer Encoder”)}$$


# %%
def attention_by_hand(queries, keys, values):
    """One head. queries (N, d), keys and values (M, d) -> results (N, d) and weights (N, M)."""
    (N, d), M = queries.shape, len(keys)
    weights, results = np.zeros((N, M)), np.zeros((N, d))
    for n in range(N):
        scores = [sum(queries[n, c] * keys[m, c] for c in range(d)) / d**0.5 for m in range(M)]
        # subtracted before the exponential, so that nothing overflows; it cancels
        largest = max(scores)
        powers = [np.exp(score - largest) for score in scores]
        for m in range(M):
            weights[n, m] = powers[m] / sum(powers)
            results[n] += weights[n, m] * values[m]
    return results, weights


q = tokens[0] @ layer["q"]["weight"].T + layer["q"]["bias"]  # (49, 256): all heads side by side
kv = tokens[0] @ layer["kv"]["weight"].T + layer["kv"]["bias"]  # (49, 512): keys first, then values
k, v = kv[:, :256], kv[:, 256:]
slow, slow_weights = attention_by_hand(q[:, :32], k[:, :32], v[:, :32])  # head 1
print("weights", slow_weights.shape, f"each row sums to {slow_weights.sum(axis=1).mean():.3f}")

# %% [markdown]
# **Why divide by $\sqrt d$?** A dot product of two random vectors of length $d$ has a standard deviation of $\sqrt d$. Without the division, more channels would mean larger scores, and a softmax of large scores is almost a maximum, whose [gradient](glossary.md#gradient) is almost zero.

# %%
rng = np.random.default_rng(0)
for d in (8, 32, 128):
    a, b = rng.standard_normal((2, 10000, d))
    dots = (a * b).sum(axis=-1)
    spread, divided = dots.std(), (dots / d**0.5).std()
    print(f"d = {d:3}: standard deviation of q.k {spread:5.1f}, of q.k / sqrt(d) {divided:.1f}")

# %% [markdown]
# ## Vectorised, and all heads at once
#
# The loops are two matrix products and a softmax. Heads are an axis: split the 256 channels into 8 × 32, and `@` does all heads together.
#
# A head is nothing but 32 neighbouring channels. Above: the queries of all 49 tokens, one row each, as the linear layer makes them. Below: the same numbers cut into eight heads. Nothing is computed, and `merge_heads` puts them side by side again.


# %%
@drawing
def heads_cut(x, heads):
    """x (N, C) in one piece, and below it in `heads` pieces (N, d)."""
    figure = new_figure(WIDEST, 3.6, "the heads are neighbouring channels")
    layout = figure.add_gridspec(2, heads)
    style = {"cmap": "RdBu", "vmin": -np.abs(x).max(), "vmax": np.abs(x).max(), "aspect": "auto"}
    whole = figure.add_subplot(layout[0, :])
    whole.imshow(x, **style)
    whole.set(ylabel=f"N = {len(x)} tokens", xlabel=f"C = {x.shape[1]} channels")
    d = x.shape[1] // heads
    for h in range(heads):
        whole.axvline((h + 1) * d - 0.5, color="black", linewidth=0.8)
        part = figure.add_subplot(layout[1, h])
        part.imshow(x[:, h * d : (h + 1) * d], **style)
        part.set(title=f"head {h + 1}", xticks=[], yticks=[], xlabel=f"d = {d}")
    return figure


heads_cut(q, heads=8)

# %% [markdown]
# In the array the heads become an axis of their own: from $(B, N, C)$ to $(B, N, \mathrm{heads}, d)$, and then to $(B, \mathrm{heads}, N, d)$. The first step is free, the second exchanges two axes. Now each head's $q k^\top$ is one of a stack of matrix products.


# %%
def attention_vectorised(queries, keys, values):
    """All heads. queries (heads, N, d), keys and values (heads, M, d)."""
    weights = softmax(queries @ keys.swapaxes(-1, -2) / queries.shape[-1] ** 0.5)
    return weights @ values, weights


heads = [split_heads(part[None], 8)[0] for part in (q, k, v)]  # each (8, 49, 32)
results, weights = attention_vectorised(*heads)
same = np.allclose(slow, results[0], atol=1e-5) and np.allclose(slow_weights, weights[0], atol=1e-5)
print("by hand = vectorised, head 1:", same)

merged = merge_heads(results[None])  # heads side by side again: (1, 49, 256)
# and a last linear layer mixes them
output = merged @ layer["proj"]["weight"].T + layer["proj"]["bias"]
expected = trace["stages.3.blocks.0.attn"]
print("equals the model's attention layer:", np.allclose(output, expected, atol=1e-4))

# %% tags=["varies"]
ways = {
    "by hand, one head": lambda: attention_by_hand(q[:, :32], k[:, :32], v[:, :32]),
    "vectorised, eight heads": lambda: attention_vectorised(*heads),
}
for name, function in ways.items():
    print(f"{name:24} {min(timeit.repeat(function, number=1, repeat=3)) * 1e3:8.2f} ms")

# %% [markdown]
# ## The trouble with 3136 tokens
#
# Stage 1 has $56 \times 56 = 3136$ tokens. Full [attention](glossary.md#attention) there needs a table of $3136^2$, ten million scores: 39 MB for one head of one layer of one picture. Let us compute it once all the same, on random numbers of the right shape.

# %% [markdown] tags=["predict"]
# **Predict first.** From 14 × 14 tokens to 28 × 28, and to 56 × 56: each step doubles the side. By how much does the table grow each time?


# %%
def full_attention(side, channels=32):
    """Full attention between side x side tokens; returns the size of the table in bytes."""
    q, k, v = rng.standard_normal((3, 1, side * side, channels)).astype(np.float32)
    _, table = attention_vectorised(q, k, v)
    return table.nbytes


for side in (14, 28, 56):
    megabytes = full_attention(side) / 1e6
    print(f"{side} x {side} = {side**2:4} tokens: {side**4:8} scores, {megabytes:6.2f} MB")

# %% tags=["varies"]
for side in (14, 28, 56):
    seconds = min(timeit.repeat(lambda n=side: full_attention(n), number=1, repeat=3))
    print(f"{side} x {side}: {seconds * 1e3:7.1f} ms")

# %% [markdown]
# Twice the side, four times the tokens, sixteen times the table. A detector's picture of 800 × 1200 pixels would have a table of 14 GB.
#
# ## SRA: a shrunken copy answers
#
# Neighbouring tokens of a fine [grid](glossary.md#grid) are alike; it is a waste to offer all of them as keys. [SRA](glossary.md#spatial-reduction-attention) merges every $R \times R$ square of tokens into one before keys and values are made:
#
# $$\mathrm{SRA}(x) = \mathrm{Concat}(\mathrm{head}_1, \dots, \mathrm{head}_\mathrm{heads})\, W^O, \qquad \mathrm{head}_j = \mathrm{Attention}\big(x\, W_j^Q,\ \mathrm{SR}(x)\, W_j^K,\ \mathrm{SR}(x)\, W_j^V\big)$$
#
# $$\mathrm{SR}(x) = \mathrm{Norm}\big(\mathrm{Reshape}(x, R)\, W^S\big)$$
#
# The queries stay as they are, so there is still one result for every token. $\mathrm{Reshape}$ writes the $R^2$ tokens of a square side by side, a row of $R^2 C$ numbers, and $W^S$ is a learned matrix of $R^2 C \times C$. With loops:


# %%
def reduce_by_hand(x, grid, weight, bias):
    """Reshape(x, R) W^S: x (N, C) on `grid` (H, W), weight (C, C, R, R) -> (M, C)."""
    H, W = grid
    C, _, R, _ = weight.shape
    # W^S: row order as the row of a square below
    matrix = weight.transpose(2, 3, 1, 0).reshape(R * R * C, C)
    out = np.zeros((H // R * (W // R), C), x.dtype)
    for i in range(H // R):
        for j in range(W // R):
            square = []
            for y in range(i * R, (i + 1) * R):
                for z in range(j * R, (j + 1) * R):
                    square.extend(x[y * W + z])  # token after token
            out[i * (W // R) + j] = np.array(square) @ matrix + bias
    return out


stage, R, grid = 0, 8, (56, 56)
fine = trace["stages.0.blocks.0.norm1"]  # (1, 3136, 32)
layer = model.params["stages"][stage]["blocks"][0]["attn"]
slow = reduce_by_hand(fine[0], grid, **layer["sr"])
print(fine.shape, "->", slow.shape)

# %% [markdown]
# That is a [convolution](glossary.md#convolution) with [kernel](glossary.md#kernel) $R$ and [stride](glossary.md#stride) $R$: a [patch embedding](glossary.md#patch-embedding) of tokens (notebook 2). The package computes it in this way:

# %%
fast = conv2d(fine.reshape(1, 56, 56, 32), **layer["sr"], stride=R).reshape(1, 49, 32)
print("by hand = convolution:", np.allclose(slow, fast[0], atol=1e-4))

reduced = layer_norm(fast, **layer["norm"], eps=config.embed_eps)
expected = trace["stages.0.blocks.0.attn.reduced"]
print("equals the model's reduced map:", np.allclose(reduced, expected, atol=1e-4))

# %% [markdown]
# Everything after it is the attention that we have, with $N = 3136$ queries and $M = 49$ keys. The score table is $R^2 = 64$ times smaller, and no longer square.

# %%
q = fine @ layer["q"]["weight"].T + layer["q"]["bias"]
kv = reduced @ layer["kv"]["weight"].T + layer["kv"]["bias"]
results, weights = attention_vectorised(q, kv[..., :32], kv[..., 32:])  # stage 1 has a single head
output = results @ layer["proj"]["weight"].T + layer["proj"]["bias"]
expected = trace["stages.0.blocks.0.attn"]
print("table", weights.shape, "equals the model's:", np.allclose(output, expected, atol=1e-4))

# %% [markdown]
# The package's layer does all this in one call. A layer shows what it computes to whoever watches: give it a `Run` with an empty dict, and read the shapes off.

# %%
settings = {"heads": 1, "ratio": R, "eps": config.embed_eps}
seen = {}
packaged, probs = attention(fine, grid, **layer, **settings, run=Run("attn", watchers=(seen,)))
print("equals the package's attention:", np.allclose(output, packaged, atol=1e-4))
for name, array in seen.items():
    print(f"{name:12} {array.shape}")

# %% [markdown]
# On one sheet, in this picture's own numbers (like colours, like features):

# %%
plots.sra(trace, config, stage=0, block=0)

# %% tags=["varies"]
ways = {
    "full attention, 3136 keys": lambda: full_attention(56),
    "SRA, 49 keys (the whole layer)": lambda: attention(fine, grid, **layer, **settings),
}
for name, function in ways.items():
    print(f"{name:31} {min(timeit.repeat(function, number=1, repeat=3)) * 1e3:7.1f} ms")

# %% [markdown]
# The ratios are 8, 4, 2, 1 on grids of 56, 28, 14 and 7: at 224 pixels, all four stages have $7 \times 7$ keys, and a key is always 32 × 32 pixels. Here is what the token at our pixel reads in the last [block](glossary.md#block) of stage 2; notebook 4 looks at all the others.

# %%
plots.attention(picture, trace, config, stage=1, block=1, pixel=PIXEL)  # stage 2, block 2

# %% [markdown]
# What is lost? A token can no longer tell two tokens inside one square apart *by attending to them*. What is kept: every token, its own query and its own result; and the convolution is learned, so a square's key can say what matters about it, which a plain average could not.
#
# ## The bill
#
# [Multiply-adds](glossary.md#multiply-add) of one attention layer, with $N$ queries, $M$ keys, $C$ channels:
#
# | part | full attention | SRA |
# |---|---|---|
# | queries | $N C^2$ | $N C^2$ |
# | reduction | – | $M R^2 C^2 = N C^2$ |
# | keys and values | $2 N C^2$ | $2 M C^2$ |
# | scores $q k^\top$ | $N^2 C$ | $N M C$ |
# | mixing the values | $N^2 C$ | $N M C$ |
# | output | $N C^2$ | $N C^2$ |
#
# Let us count them from the shapes of the arrays above and compare with the package's count of all layers:

# %% [markdown] tags=["predict"]
# **Predict first.** SRA makes the score table of stage 1 64 times smaller. Is the attention of the whole model 64 times cheaper, ten times, or less?


# %%
def count(N, M, C, R):
    """Multiply-adds of one layer, line by line of the table."""
    reduction = M * R * R * C * C if R > 1 else 0
    return N * C * C + reduction + 2 * M * C * C + N * M * C + N * M * C + N * C * C


def whole_network(full):
    """The same for all layers of the model at 224 pixels."""
    total = 0
    for i in range(4):
        (H, W), R = trace[f"stages.{i}.grid"], 1 if full else config.sr_ratios[i]
        total += config.depths[i] * count(H * W, H * W // R**2, config.hidden_sizes[i], R)
    return total


for name, full in (("full", True), ("SRA", False)):
    package, table = plots.attention_cost(config, (224, 224), name)
    ours, package = whole_network(full) / 1e9, package / 1e9
    print(f"{name:4} {ours:.3f} billion multiply-adds (package: {package:.3f})", end=", ")
    print(f"largest table {table} scores")

# %%
plots.cost(VARIANTS["pvt_v2_b2"], title="attention of PVT v2 b2 as the picture grows")

# %% [markdown]
# SRA divides the quadratic part by $R^2$; it stays quadratic. The dashed line, [linear SRA](glossary.md#linear-sra), comes with PVT v2 (notebook 5).
#
# ## Exercises

# %% [markdown]
# **1.** Build the keys of stage 1 by *average pooling* instead of the learned convolution: the mean of each 8 × 8 square. How far does the layer's result move, compared with its own length?
#
# <details><summary>Hint</summary>
#
# A reshape gives every axis of the squares a place of its own: rows of squares, rows in a square, columns of squares, columns in a square. Two of them are averaged away.
#
# </details>


# %% tags=["exercise"]
def pooled(x, grid, ratio):
    """x (B, N, C) on a grid (H, W) -> the mean of each ratio x ratio square, (B, M, C), row by row."""
    raise NotImplementedError


practice.check(pooled, "3.1")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def pooled(x, grid, ratio):
#     (B, N, C), (H, W) = x.shape, grid
#     return x.reshape(B, H // ratio, ratio, W // ratio, ratio, C).mean(axis=(2, 4)).reshape(B, -1, C)
#
# averaged = layer_norm(pooled(fine, grid, R), **layer["norm"], eps=config.embed_eps)
# kv_pooled = averaged @ layer["kv"]["weight"].T + layer["kv"]["bias"]
# other, _ = attention_vectorised(q, kv_pooled[..., :32], kv_pooled[..., 32:])
# moved = other @ layer["proj"]["weight"].T + layer["proj"]["bias"] - output
# print(f"{np.linalg.norm(moved) / np.linalg.norm(output):.3f} of its length")
# ```
#
# By about its own length: 1.15 of it on the golf ball, and from 0.84 to 1.60 on ten photos. Nothing of the old result is left. The keys and values were learned for the convolution's output and mean nothing for an average. v2's linear SRA does pool, but it is trained that way, and has a 1 × 1 convolution, a norm and a GELU behind the pooling (notebook 5).
#
# </details>

# %% [markdown]
# **2.** On a grid of 58 × 58 tokens and with $R = 8$: how many tokens are part of no key?
#
# <details><summary>Hint</summary>
#
# The convolution does not pad. It takes as many whole squares as fit.
#
# </details>

# %% tags=["exercise"]
unread = ...

practice.check(unread, "3.2")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# unread = 58 * 58 - (58 // 8 * 8) ** 2
# ```
#
# $58 = 7 \cdot 8 + 2$: the convolution drops the last two rows and columns, $58^2 - 56^2 = 228$ tokens. They still ask, but nobody can read them in that layer. PyTorch does the same.
#
# </details>

# %% [markdown]
# **3.** `attention_by_hand` subtracts the largest score before the exponential. Write the softmax over the last axis without that first, and look at what the check says. Why does subtracting change nothing else?
#
# <details><summary>Hint</summary>
#
# `keepdims=True` keeps the axis that a maximum or a sum has gone over, so that the result still fits.
#
# </details>


# %% tags=["exercise"]
def my_softmax(x):
    """x (..., M) -> weights that are positive and sum to 1 along the last axis."""
    raise NotImplementedError


practice.check(my_softmax, "softmax")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_softmax(x):
#     powers = np.exp(x - x.max(axis=-1, keepdims=True))
#     return powers / powers.sum(axis=-1, keepdims=True)
# ```
#
# Without it `exp` overflows to infinity, and infinity divided by infinity is not a number. Subtracting a constant $a$ from all scores of a row multiplies all powers by $e^{-a}$, which cancels in the fraction.
#
# </details>

# %% [markdown]
# **4.** Split the heads: write what the picture above shows.
#
# <details><summary>Hint</summary>
#
# First a reshape to `(B, N, heads, d)`, then exchange two axes. A reshape to `(B, heads, N, d)` has the right shape and the wrong numbers.
#
# </details>


# %% tags=["exercise"]
def split_into_heads(x, heads):
    """x (B, N, C) -> (B, heads, N, d)."""
    raise NotImplementedError


practice.check(split_into_heads, "3.4")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def split_into_heads(x, heads):
#     B, N, C = x.shape
#     return x.reshape(B, N, heads, C // heads).transpose(0, 2, 1, 3)
# ```
#
# </details>

# %% [markdown]
# **5.** Put it all together: spatial-reduction attention for a batch, with any number of heads. If `ratio` is 1, nothing is reduced.
#
# <details><summary>Hint</summary>
#
# All the pieces stand above: `conv2d` and `layer_norm` make the reduced map, `split_heads`, `attention_vectorised` and `merge_heads` do the rest. Keys come first in `kv`.
#
# </details>


# %% tags=["exercise"]
def my_attention(x, grid, q, kv, proj, sr=None, norm=None, *, heads, ratio, eps):
    """x (B, N, C) on a grid (H, W) -> y (B, N, C) and probs (B, heads, N, M)."""
    raise NotImplementedError


practice.check(my_attention, "attention")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_attention(x, grid, q, kv, proj, sr=None, norm=None, *, heads, ratio, eps):
#     B, N, C = x.shape
#     reduced = x
#     if ratio > 1:
#         squares = conv2d(x.reshape(B, *grid, C), **sr, stride=ratio)
#         reduced = layer_norm(squares.reshape(B, -1, C), **norm, eps=eps)
#     queries = split_heads(x @ q["weight"].T + q["bias"], heads)
#     both = reduced @ kv["weight"].T + kv["bias"]
#     keys, values = split_heads(both[..., :C], heads), split_heads(both[..., C:], heads)
#     mixed, probs = attention_vectorised(queries, keys, values)
#     return merge_heads(mixed) @ proj["weight"].T + proj["bias"], probs
# ```
#
# </details>

# %% [markdown]
# ## The check

# %%
# the loops give the model's weights
assert np.abs(slow_weights - trace["stages.3.blocks.0.attn.probs"][0, 0]).max() < 1e-5
# SR(x), from squares of tokens
assert np.abs(reduced - trace["stages.0.blocks.0.attn.reduced"]).max() < 1e-3
assert np.abs(weights[0] - trace["stages.0.blocks.0.attn.probs"][0, 0]).max() < 1e-5
assert np.abs(output - trace["stages.0.blocks.0.attn"]).max() < 1e-3
assert weights.shape[-1] * R**2 == fine.shape[1]  # R² times fewer keys
for name, full in (("full", True), ("SRA", False)):
    assert whole_network(full) == plots.attention_cost(config, (224, 224), name)[0]
print("all checks passed")
