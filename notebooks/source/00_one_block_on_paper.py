# %% [markdown]
# # 0 · One block on paper
#
# A Transformer block is short. If it is small enough, it fits on a few sheets of paper with every number in it. Here is one: a picture of 4 × 8 pixels, eight tokens of four channels, two heads, and weights that are 1, 0 or −1.
#
# **What you will do.** Take a tiny picture through one block of PVT, with a pencil if you like: patches, layer norm, attention with one head and with two, the merge by $R$, the MLP. Then walk one step back and find a gradient. The package computes each step beside you, and an assertion says that your paper and the package agree.
#
# **What you will learn.** What every array of a block is and which shape it has; what a head is and what the split into heads does; what spatial-reduction attention changes; what layer norm throws away.
#
# **What you need.** Sums, products, $e^x$, and what a vector is. For the last section, what a derivative is. About 35 minutes. Stages, blocks and heads are counted from 1, as the paper counts its stages, and so are tokens and channels here. Code counts from 0: `stages.0` is stage 1.

# %%
import sys

sys.path.insert(0, "..")  # the package, one folder up

import math
from functools import partial

import numpy as np

from pvt_numpy import practice
from pvt_numpy.layers.activations import gelu, gelu_backward, normal_cdf
from pvt_numpy.layers.attention import attention, attention_backward, merge_heads, split_heads
from pvt_numpy.layers.convolution import conv2d
from pvt_numpy.layers.layernorm import layer_norm
from pvt_numpy.layers.mlp import mlp
from pvt_numpy.layers.patch_embed import patch_embed
from pvt_numpy.layers.softmax import softmax
from pvt_numpy.model import Layer, block
from pvt_numpy.plots.figures import drawing, new_figure
from pvt_numpy.plots.style import BLUE, GREEN, GREY, similarity

# %% [markdown]
# The sizes, in the letters that all notebooks use, beside those of a real one:
#
# | letter | what it counts | here | PVT v1 Tiny, [stage](glossary.md#stage) 1 |
# |---|---|---|---|
# | $H \times W$ | rows and columns of the [grid](glossary.md#grid) of [tokens](glossary.md#token) | 2 × 4 | 56 × 56 |
# | $N = H W$ | tokens | 8 | 3136 |
# | $C$ | [channels](glossary.md#channel): the numbers in a token | 4 | 64 |
# | $R$ | [SRA ratio](glossary.md#sra-ratio): $R \times R$ tokens make one [key](glossary.md#key) | 2 | 8 |
# | $M = N / R^2$ | keys | 2 | 49 |
# | [heads](glossary.md#head) | [attention](glossary.md#attention) heads | 2 | 1 |
# | $d = C / \mathrm{heads}$ | channels of a head | 2 | 64 |
# | hidden | channels inside the [MLP](glossary.md#mlp) | 8 | 512 |
#
# To see numbers we need a sheet to draw them on. Orange is positive, blue is negative.


# %%
def written(number):
    """As on paper: 2, −1, 0.45."""
    text = f"{number:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text.replace("-", "−")


@drawing
def sheet(title, tables, rows="token", lines=()):
    """Small tables of numbers side by side; `lines`: draw a thick line in front of these columns."""
    tables = {name: np.atleast_2d(table) for name, table in tables.items()}
    height = max(len(table) for table in tables.values())
    widths = [table.shape[1] for table in tables.values()]
    figure = new_figure(0.6 * sum(widths) + 0.4 * len(widths) + 0.7, 0.34 * height + 1.1, title)
    panels = figure.subplots(1, len(tables), width_ratios=widths, squeeze=False)[0]
    for axes, (name, table) in zip(panels, tables.items(), strict=True):
        N, C = table.shape
        reach = 2 * np.abs(table).max() or 1  # half of the colours: numbers can be read on them
        shades = {"cmap": similarity(), "vmin": -reach, "vmax": reach, "alpha": 0.6}
        axes.imshow(table, extent=(0, C, N, 0), aspect="auto", **shades)
        for (n, c), number in np.ndenumerate(table):
            axes.text(c + 0.5, n + 0.5, written(number), ha="center", va="center", fontsize=9)
        axes.set(title=name, xlim=(0, C), ylim=(max(height, N), 0), xticks=[])
        first = rows if axes is panels[0] else ""
        axes.set_yticks(np.arange(N) + 0.5, [f"{first} {n + 1}" if first else "" for n in range(N)])
        axes.tick_params(length=0, labelsize=9)
        axes.spines[:].set_visible(False)
        axes.hlines(range(N + 1), 0, C, color="white", linewidth=1)
        axes.vlines(range(C + 1), 0, N, color="white", linewidth=1)
        axes.vlines([line for line in lines if line < C], 0, N, color=GREY, linewidth=2)
    return figure


# %% [markdown]
# ## The picture
#
# Thirty-two pixels, one colour, 0 or 1. On the left a diagonal, on the right the letter T.

# %%
picture = np.array(
    [
        [1, 0, 0, 0, 0, 0, 0, 0],
        [0, 1, 0, 0, 1, 1, 1, 1],
        [0, 0, 1, 0, 0, 1, 0, 0],
        [0, 0, 0, 1, 0, 1, 0, 0],
    ],
    float,
)
sheet("the picture: 4 × 8 pixels, in patches of 2 × 2", {"": picture}, rows="row", lines=(2, 4, 6))

# %% [markdown]
# ## From pixels to tokens
#
# A **[patch](glossary.md#patch)** is a square of pixels, here 2 × 2. Written as one row it has four numbers: top left, top right, bottom left, bottom right. A **token** is what a matrix makes of that row. Ours asks four questions about a patch:
#
# - how bright is it? ($+ + + +$)
# - is the right half brighter than the left? ($- + - +$)
# - is the bottom brighter than the top? ($- - + +$)
# - is the diagonal \ brighter than the other one? ($+ - - +$)

# %%
questions = np.array(
    [[1, 1, 1, 1], [-1, 1, -1, 1], [-1, -1, 1, 1], [1, -1, -1, 1]], float
)  # (C, 4)

patches = np.array(
    [picture[y : y + 2, z : z + 2].ravel() for y in (0, 2) for z in (0, 2, 4, 6)]
)  # (N, 4), row by row over the grid
raw = patches @ questions.T  # (N, C): for each patch the four answers
sheet("8 patches, 4 questions, 8 tokens", {"patches": patches, "× questionsᵀ =": raw})

# %% [markdown]
# Do one by hand. Token 1 is the patch $(1, 0, 0, 1)$: brightness $1+0+0+1 = 2$; right minus left $-1+0-0+1 = 0$; bottom minus top $-1-0+0+1 = 0$; diagonal $1-0-0+1 = 2$.
#
# This is a [convolution](glossary.md#convolution) with a [stride](glossary.md#stride) as wide as its [kernel](glossary.md#kernel): the same four sums at every patch (notebook 2 shows why). The package agrees:

# %%
kernels = questions.reshape(4, 1, 2, 2)  # (C, 1, 2, 2), as PyTorch stores them
as_map = conv2d(picture[None, :, :, None], kernels, stride=2)  # (1, 2, 4, C)
assert np.array_equal(as_map.reshape(8, 4), raw)
print("a map", as_map.shape, "is the tokens", raw.shape, "in their places")

# %% [markdown]
# Only three kinds of patch are not blank. Remember them; everything below is about who resembles whom.
#
# | token | patch | where | raw token |
# |---|---|---|---|
# | 1 and 6 | a diagonal | left half | $(2, 0, 0, 2)$ |
# | 3 and 4 | a bar below | right half, the T's bar | $(2, 0, 2, 0)$ |
# | 7 | a bar on the right | right half, the T's stem | $(2, 2, 0, 0)$ |
# | 2, 5 and 8 | blank | | $(0, 0, 0, 0)$ |

# %% [markdown]
# ## Layer norm
#
# **[Layer norm](glossary.md#layer-norm)** brings each token to mean 0 and variance 1, *over its own channels*. It never looks at another token:
#
# $$\hat x_c = \frac{x_c - \mu}{\sqrt{\sigma^2 + \epsilon}}, \qquad \mu = \frac1C \sum_c x_c, \qquad \sigma^2 = \frac1C \sum_c (x_c - \mu)^2 .$$
#
# Token 1 is $(2, 0, 0, 2)$. Its mean is $1$. What is left is $(1, -1, -1, 1)$, whose squares have the mean $\sigma^2 = 1$. So $\hat x = (1, -1, -1, 1)$.
#
# Token 2 is blank: $(0, 0, 0, 0)$, variance 0. Without the small $\epsilon$ this would be $0/0$. With it, the token stays 0.

# %%
EPS = 1e-6
mean = raw.mean(axis=1, keepdims=True)
variance = ((raw - mean) ** 2).mean(axis=1, keepdims=True)  # divided by C, and not by C − 1
tokens = (raw - mean) / np.sqrt(variance + EPS)
sheet(
    "layer norm, token by token",
    {"raw": raw, "μ": mean, "x − μ": raw - mean, "σ²": variance, "normed": tokens},
)

# %%
ones = {"weight": np.ones(4), "bias": np.zeros(4)}  # a real norm ends in a learned scale and shift
assert np.allclose(layer_norm(raw, **ones, eps=EPS), tokens)

by_package, grid = patch_embed(
    picture[None, :, :, None], {"weight": kernels, "bias": np.zeros(4)}, ones, stride=2, eps=EPS
)
assert np.allclose(by_package[0], tokens)
print("patch embedding = convolution + layer norm:", by_package.shape, "on the grid", grid)

# %% [markdown]
# What is lost? Take a patch that is twice as bright, and one with 5 added to each *channel*. Layer norm cannot tell them from token 1:

# %%
variants = np.array([[2, 0, 0, 2], [4, 0, 0, 4], [7, 5, 5, 7]], float)
assert np.allclose(layer_norm(variants, **ones, eps=EPS), [1, -1, -1, 1], atol=1e-5)
sheet(
    "three tokens, one result",
    {"before": variants, "after": layer_norm(variants, **ones, eps=EPS)},
    rows="",
)

# %% [markdown]
# **Scale and shift are gone; the pattern stays.** That is the point. Whatever the layers before have done to the size of the numbers, the next layer receives numbers of the same size. Training would be hard without it.

# %% [markdown]
# ## The residual stream
#
# A [block](glossary.md#block) does not replace the tokens. It *adds* to them, twice:
#
# $$y = x + \mathrm{Attention}(\mathrm{LN}(x)), \qquad z = y + \mathrm{MLP}(\mathrm{LN}(y)).$$
#
# Read $x$ as a stream that runs through all blocks of a stage. Each layer reads a normed copy and puts its result back into the stream. If a layer has nothing to say, it adds zeros, and the token passes unchanged.
#
# Our $x$ is the eight tokens above. They were normed a moment ago, so $\mathrm{LN}(x) = x$ in the first step: norming twice changes nothing.

# %%
x = tokens[None]  # (B, N, C) with a batch of one picture
normed = layer_norm(x, **ones, eps=EPS)
assert np.allclose(normed, x, atol=1e-5)

# %% [markdown]
# ## Attention with one head
#
# Every token asks all tokens: *how much do you resemble what I am looking for?* It then takes the mean of what they have to give, weighted by the answers. For that each token has three vectors:
#
# - a **[query](glossary.md#query)**: what it looks for, $q = x W_Q$
# - a **key**: what it shows to others, $k = x W_K$
# - a **[value](glossary.md#value)**: what it gives, $v = x W_V$
#
# In a real block these are three learned matrices. On paper let all three be 1 on the diagonal and 0 elsewhere. Then $Q = K = V = x$, and a token looks for its like.
#
# **[Scores](glossary.md#score).** One number for each pair, $s_{nm} = q_n \cdot k_m / \sqrt d$. With one head $d = C = 4$ and $\sqrt d = 2$.
# Token 1 with itself: $(1, -1, -1, 1) \cdot (1, -1, -1, 1) = 4$, over 2 is $2$. With token 3: $(1, -1, -1, 1) \cdot (1, -1, 1, -1) = 0$.

# %%
Q = K = V = normed[0]  # (8, 4)
scores = Q @ K.T / math.sqrt(4)  # (8, 8)
powers = np.exp(scores)
probs = powers / powers.sum(axis=1, keepdims=True)
sheet("how much does token n (row) resemble token m (column)?", {"scores": scores})

# %% [markdown]
# **[Softmax](glossary.md#softmax).** Scores become shares, which are positive and sum to 1: $p_{nm} = e^{s_{nm}} / \sum_j e^{s_{nj}}$.
#
# Token 1 scores 2 with two tokens and 0 with six. $e^2 = 7.39$ and $e^0 = 1$, so the sum is $2 \cdot 7.39 + 6 = 20.78$. Its like get $7.39 / 20.78 = 0.36$ each, the others $1 / 20.78 = 0.05$ each.
#
# A blank token scores 0 with everyone: it reads all eight alike, $1/8$ each.

# %%
assert np.allclose(softmax(scores), probs)
assert np.allclose(probs[0, [0, 5]], 7.39 / 20.78, atol=1e-3)
assert np.allclose(probs[1], 1 / 8)
sheet("softmax of each row: who reads whom", {"probs": probs})

# %% [markdown]
# **The mean of the values.** Token 1 takes $0.36$ of each diagonal and $0.05$ of the rest. In its second channel:
#
# $$2 \cdot 0.36 \cdot (-1) \;+\; 2 \cdot 0.05 \cdot (-1) \;+\; 0.05 \cdot 1 \;=\; -0.76 .$$

# %%
mixed = probs @ V  # (8, 4)
by_hand = 2 * probs[0, 0] * -1 + 2 * probs[0, 2] * -1 + probs[0, 6] * 1
assert np.isclose(mixed[0, 1], by_hand)

eye = {"weight": np.eye(4), "bias": np.zeros(4)}
both = {"weight": np.vstack([np.eye(4), np.eye(4)]), "bias": np.zeros(8)}  # keys, then values
package, package_probs = attention(normed, grid, eye, both, eye, heads=1, ratio=1, eps=EPS)
assert np.allclose(package[0], mixed)
assert np.allclose(package_probs[0, 0], probs)
sheet("attention with one head", {"values = tokens": V, "probs × values": mixed})

# %% [markdown]
# Two things to notice. Diagonals became a little more like the average token, but are still diagonals. And a blank token, which was nothing, now holds the mean of the whole picture: *attention has told it what there is*.

# %% [markdown]
# ## Two heads
#
# One head gives one set of shares. Often a token wants to ask two questions at once. So the channels are cut into groups, and each group does attention for itself. A group is a **head**. With 4 channels and 2 heads, $d = 2$: head 1 has channels 1 and 2, head 2 has channels 3 and 4.
#
# No number is computed and none is copied. The split only says which channels belong together: $(N, C) \to (\mathrm{heads}, N, d)$.

# %%
heads = split_heads(normed, 2)[0]  # (2, 8, 2)
assert np.array_equal(heads[0], normed[0, :, :2])
assert np.array_equal(heads[1], normed[0, :, 2:])
assert np.array_equal(merge_heads(heads[None]), normed)  # side by side again
sheet(
    "the split into heads", {"token": normed[0], "head 1": heads[0], "head 2": heads[1]}, lines=(2,)
)

# %% [markdown]
# Compare token 1, a diagonal, with token 3, a bar. To head 1 they look the same: $(1, -1)$ and $(1, -1)$. To head 2 they are opposites: $(-1, 1)$ and $(1, -1)$.
#
# In numbers, with $\sqrt d = \sqrt 2 = 1.41$: head 1 gives the pair $(1 + 1)/1.41 = 1.41$, head 2 gives it $(-1 - 1)/1.41 = -1.41$.

# %%
head_scores = heads @ heads.swapaxes(1, 2) / math.sqrt(2)  # (2, 8, 8)
assert np.isclose(head_scores[0, 0, 2], 1.414, atol=1e-3)
assert np.isclose(head_scores[1, 0, 2], -1.414, atol=1e-3)
sheet("scores: the same tokens, two opinions", {"head 1": head_scores[0], "head 2": head_scores[1]})

# %% [markdown]
# **So two heads are not half of one head twice.** One head with $d = 4$ gave this pair the score 0, the sum of two opinions that cancel. Two heads keep both.
#
# At the end the heads are put side by side, and a last matrix $W_O$ (`proj`) lets them mix. On paper it is the identity again.

# %% [markdown]
# ## The merge by $R$
#
# Eight tokens have $8 \cdot 8$ scores for each head. With 3136 tokens there would be ten million. **[Spatial-reduction attention](glossary.md#spatial-reduction-attention)** (SRA) keeps all queries and has fewer keys: each $R \times R$ square of tokens becomes one key.
#
# On our grid of 2 × 4 with $R = 2$ there are two squares, the left half and the right half of the picture. How four tokens become one is learned: a matrix with $4 C$ rows, or in other words a convolution of stride $R$. On paper, simply their sum:
#
# $$\text{left: } t_1 + t_2 + t_5 + t_6 = (2, -2, -2, 2), \qquad \text{right: } t_3 + t_4 + t_7 + t_8 = (3, -1, 1, -3).$$
#
# A layer norm follows. For the right one: mean 0, variance $(9 + 1 + 1 + 9)/4 = 5$, so each number is divided by $\sqrt 5 = 2.24$.

# %%
on_grid = normed.reshape(2, 4, 4)  # (H, W, C)
squares = np.array([on_grid[:, :2].sum(axis=(0, 1)), on_grid[:, 2:].sum(axis=(0, 1))])  # (2, 4)
reduced = squares / np.sqrt((squares**2).mean(axis=1, keepdims=True) + EPS)  # both have mean 0
assert np.allclose(squares, [[2, -2, -2, 2], [3, -1, 1, -3]], atol=1e-5)

merge = np.zeros((4, 4, 2, 2))  # (C, C, R, R): channel c of the sum is channel c of all four
merge[range(4), range(4)] = 1
assert np.allclose(conv2d(on_grid[None], merge, stride=2).reshape(2, 4), squares)
sheet("two squares, two keys", {"sum of four": squares, "normed": reduced}, rows="key", lines=(2,))

# %% [markdown]
# Now the same attention as before, with 8 queries and 2 keys. Each head has a table of $8 \times 2$ in place of $8 \times 8$: $R^2 = 4$ times smaller.
#
# Token 1 in head 2, by hand. Its query is $(-1, 1)$; the keys are $(-1, 1)$ and $(0.45, -1.34)$:
#
# $$s = \frac{(2,\; -1.79)}{1.41} = (1.41,\; -1.26), \qquad e^s = (4.11,\; 0.28), \qquad p = (0.94,\; 0.06).$$

# %%
keys = values = split_heads(reduced[None], 2)[0]  # (2, 2, 2): head, key, channel
sra_scores = heads @ keys.swapaxes(1, 2) / math.sqrt(2)  # (2, 8, 2)
sra_probs = np.exp(sra_scores) / np.exp(sra_scores).sum(axis=-1, keepdims=True)
assert np.allclose(sra_probs[1, 0], [0.94, 0.06], atol=5e-3)
sheet(
    "8 queries, 2 keys (left, right)",
    {
        "scores, head 1": sra_scores[0],
        "probs, head 1": sra_probs[0],
        "scores, head 2": sra_scores[1],
        "probs, head 2": sra_probs[1],
    },
)

# %% [markdown]
# Head 2 knows the halves apart: the diagonals read the left key, the bars read the right one. Head 1 hardly cares.
#
# And where do two keys become eight tokens again? **Nowhere: they never have to.** There is one result for each *query*, and there were always eight of these.

# %%
attended = np.concatenate(list(sra_probs @ values), axis=-1)  # heads side by side: (8, 4)
sra = {
    "q": eye,
    "kv": both,
    "proj": eye,
    "sr": {"weight": merge, "bias": np.zeros(4)},
    "norm": ones,
}
package, package_probs = attention(normed, grid, **sra, heads=2, ratio=2, eps=EPS)
assert np.allclose(package[0], attended)
assert np.allclose(package_probs[0], sra_probs)

y = x + attended  # back into the stream
sheet("into the stream", {"x": x[0], "+ attention": attended, "= y": y[0]}, lines=(2,))

# %% [markdown]
# ## The MLP
#
# Attention was about other tokens. The **MLP** is about each token alone: a [linear layer](glossary.md#linear-layer) to more channels, an [activation](glossary.md#activation), a linear layer back.
#
# $$\mathrm{MLP}(x) = \mathrm{GELU}(x W_1 + b_1)\, W_2 + b_2$$
#
# **[GELU](glossary.md#gelu)** is the activation of PVT. It lets positive numbers through and holds negative ones back, but with a soft corner: $\mathrm{GELU}(x) = x\,\Phi(x)$, where $\Phi(x)$ is the chance that a number from the bell curve is below $x$. So large numbers pass ($\Phi \approx 1$), very negative ones do not ($\Phi \approx 0$), and 0 stays 0.


# %%
@drawing
def gelu_on_paper():
    """GELU as a product, beside ReLU, and its slope."""
    figure = new_figure(10, 3.2)
    left, right = figure.subplots(1, 2)
    line = np.linspace(-3, 3, 121)
    left.plot(line, np.maximum(line, 0), "--", color=GREY, label="ReLU: max(x, 0)")
    left.plot(line, normal_cdf(line), color=GREEN, label="Φ(x): from 0 to 1")
    left.plot(line, gelu(line), color=BLUE, linewidth=2.2, label="GELU: x Φ(x)")
    for at in (-1.0, 0.0, 1.0, 2.0):
        left.plot(at, gelu(np.array(at)), "o", color=BLUE)
    left.set(title="GELU is x times Φ(x)", xlabel="x", ylim=(-0.5, 3))
    left.legend(loc="upper left")
    right.plot(line, (line > 0).astype(float), "--", color=GREY, label="ReLU")
    right.plot(
        line, gelu_backward(np.ones_like(line), line), color=BLUE, linewidth=2.2, label="GELU"
    )
    right.set(title="its slope: no jump at 0", xlabel="x")
    right.legend(loc="upper left")
    for axes in (left, right):
        axes.axhline(0, color=GREY, linewidth=0.6)
        axes.axvline(0, color=GREY, linewidth=0.6)
    return figure


gelu_on_paper()

# %%
some = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
chances = np.array([0.5 * (1 + math.erf(number / math.sqrt(2))) for number in some])
assert np.allclose(gelu(some), some * chances)
columns = {"x": some, "Φ(x)": chances, "x Φ(x)": some * chances}
sheet("GELU", {name: column[:, None] for name, column in columns.items()}, rows="")

# %% [markdown]
# Our MLP has 8 hidden channels. $W_1$ makes $x$ and $-x$; GELU is applied to all eight; $W_2$ adds the two halves:
#
# $$\mathrm{MLP}(x) = \mathrm{GELU}(x) + \mathrm{GELU}(-x) .$$
#
# One example, $x = 1$: $\;0.84 + (-0.16) = 0.68$. And $x = -1$ gives the same. So this MLP answers *how strong* a channel is, whatever its sign: nearly $|x|$, with a round corner. No linear layer could do that.

# %%
fc1 = {"weight": np.vstack([np.eye(4), -np.eye(4)]), "bias": np.zeros(8)}  # (hidden, C)
fc2 = {"weight": np.hstack([np.eye(4), np.eye(4)]), "bias": np.zeros(4)}  # (C, hidden)

normed2 = (y[0] - y[0].mean(axis=1, keepdims=True)) / np.sqrt(y[0].var(axis=1, keepdims=True) + EPS)
hidden = np.hstack([normed2, -normed2])  # (8, 8)
strength = gelu(hidden)[:, :4] + gelu(hidden)[:, 4:]  # (8, 4)
assert np.allclose(mlp(normed2[None], fc1, fc2)[0], strength)

z = y + strength
sheet("the second half of the block", {"LN(y)": normed2, "MLP": strength, "z = y + MLP": z[0]})

# %% [markdown]
# ## The whole block, in one call
#
# That was a block of PVT v1. The package's `block` takes the same weights, knows nothing of our paper, and gives the same 32 numbers:

# %%
layer = Layer(partial(attention, grid=grid, heads=2, ratio=2, eps=EPS), mlp, EPS)
package = block(x, ones, sra, ones, {"fc1": fc1, "fc2": fc2}, layer=layer)
assert np.allclose(package, z)
print("largest difference between paper and package:", f"{np.abs(package - z).max():.0e}")

# %% [markdown]
# A real stage has two to forty such blocks with learned weights. PVT v2 puts one more thing into the MLP, a 3 × 3 convolution that lets a token see its neighbours (notebook 5). Nothing else is hidden.
#
# Which of these layers let tokens see *each other*? Change one pixel beside the T's stem and see which tokens move after each step:

# %%
other = picture.copy()
other[3, 4] = 1  # beside the T's stem, in token 7
moved_raw = (
    np.array([other[a : a + 2, b : b + 2].ravel() for a in (0, 2) for b in (0, 2, 4, 6)])
    @ questions.T
)
moved = layer_norm(moved_raw, **ones, eps=EPS)[None]
moved_y = moved + attention(moved, grid, **sra, heads=2, ratio=2, eps=EPS)[0]
steps = {
    "tokens": (tokens[None], moved),
    "after attention": (y, moved_y),
    "after the MLP": (z, block(moved, ones, sra, ones, {"fc1": fc1, "fc2": fc2}, layer=layer)),
}
for name, (before, after) in steps.items():
    which = [n + 1 for n in range(8) if not np.allclose(before[0, n], after[0, n], atol=1e-4)]
    print(f"{name:15} tokens that moved: {which}")

# %% [markdown]
# Token 7 alone at first; then, by attention, everybody. The MLP moves what it receives and carries nothing from token to token.

# %% [markdown]
# ## One gradient by hand
#
# Training asks of every number: *if it rose a little, would the [loss](glossary.md#loss) rise or fall?* Let the loss $L$ be one number of our block, the one that token 1 receives from head 2 in its second channel. How does it depend on the query of token 1?
#
# Forward, with the numbers from above (channel 4 of the keys is $1$ and $-1.34$):
#
# $$L = p_1 \cdot 1 + p_2 \cdot (-1.34) = 0.94 - 0.09 = 0.85 .$$
#
# Backward, one step at a time. Write $\mathrm{d}a$ for $\partial L / \partial a$.
#
# 1. **The mean of the values.** $\mathrm{d}p_1 = 1$ and $\mathrm{d}p_2 = -1.34$: the numbers that the shares are multiplied by.
# 2. **Softmax.** $\mathrm{d}s_m = p_m\,(\mathrm{d}p_m - L)$, because $\sum_j p_j\, \mathrm{d}p_j$ is $L$ itself here. $\mathrm{d}s_1 = 0.94\,(1 - 0.85) = 0.14$ and $\mathrm{d}s_2 = 0.06\,(-1.34 - 0.85) = -0.14$. They sum to 0, as they must: adding one number to both scores changes no share.
# 3. **The scores.** $s_m = q \cdot k_m / \sqrt 2$, so $\mathrm{d}q = (\mathrm{d}s_1\, k_1 + \mathrm{d}s_2\, k_2)/\sqrt 2$.

# %%
(p1, p2), (k1, k2) = sra_probs[1, 0], keys[1]
loss = p1 * values[1, 0, 1] + p2 * values[1, 1, 1]
dp = values[1, :, 1]
ds = np.array([p1 * (dp[0] - loss), p2 * (dp[1] - loss)])
dq = (ds[0] * k1 + ds[1] * k2) / math.sqrt(2)
sheet("one gradient", {"p": [p1, p2], "dp": dp, "ds": ds, "dq": dq}, rows="")

# %% [markdown]
# Is it right? Ask the definition. Raise the query's first channel by $h$, look how far $L$ rises, divide by $h$. The smaller $h$, the nearer we come:


# %%
def loss_of(query):
    """The loss, if token 1 had this query in head 2."""
    shares = softmax(keys[1] @ query / math.sqrt(2))
    return shares @ values[1, :, 1]


for h in (1.0, 0.1, 0.01, 0.001):
    up = [(loss_of(heads[1, 0] + step) - loss) / h for step in h * np.eye(2)]
    print(f"h = {h:5}: {up[0]:+.4f} {up[1]:+.4f}")
print(f"by hand:   {dq[0]:+.4f} {dq[1]:+.4f}")

# %% [markdown]
# The package's `attention_backward` does these three steps for all tokens and heads. We give it a `dy` that is 1 at our number and 0 elsewhere. Our query came from $x$ through the identity, so the [gradient](glossary.md#gradient) of the *[bias](glossary.md#bias)* of `q` is the query's own:

# %%
dy = np.zeros((1, 8, 4))
dy[0, 0, 3] = 1  # token 1, channel 4
dx, grads = attention_backward(dy, normed, grid, **sra, heads=2, ratio=2, eps=EPS)
assert np.allclose(grads["q"]["bias"][2:], dq)
assert np.allclose(grads["q"]["bias"][:2], 0)  # head 1 has no part in it
central = [(loss_of(heads[1, 0] + s) - loss_of(heads[1, 0] - s)) / 2e-5 for s in 1e-5 * np.eye(2)]
assert np.allclose(central, dq, atol=1e-8)
print("paper, definition and package agree")

# %% [markdown]
# Notebook 7 derives the others and trains a model with them.

# %% [markdown]
# ## Exercises
#
# Each has a cell for your answer and a check that says what is wrong with it. Open the hint before the solution.

# %% [markdown]
# **1.** A patch of its own: top left 1, top right 1, bottom left 0, bottom right 1. Which raw token do our four questions make of it?
#
# <details><summary>Hint</summary>
#
# Write the patch as one row, $(1, 1, 0, 1)$, and answer the four questions: four sums with signs.
#
# </details>

# %% tags=["exercise"]
token = ...  # four numbers, as (0, 0, 0, 0)

practice.check(token, "0.1")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# token = questions @ np.array([1, 1, 0, 1])
# ```
#
# $(3, 1, -1, 1)$: three bright pixels; more on the right; more at the top; the diagonal \ is the stronger one.
#
# </details>

# %% [markdown]
# **2.** Write layer norm, for tokens with any number of axes in front of the channels.
#
# <details><summary>Hint</summary>
#
# `axis=-1, keepdims=True` for both means. Take the mean off *before* you square.
#
# </details>


# %% tags=["exercise"]
def my_layer_norm(x, weight, bias, *, eps):
    """Mean 0 and variance 1 over the last axis; then times weight, plus bias."""
    raise NotImplementedError


practice.check(my_layer_norm, "layer_norm")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_layer_norm(x, weight, bias, *, eps):
#     centred = x - x.mean(axis=-1, keepdims=True)
#     variance = (centred**2).mean(axis=-1, keepdims=True)
#     return centred / np.sqrt(variance + eps) * weight + bias
# ```
#
# </details>

# %% [markdown]
# **3.** Predict, then try. The foot of the T is wiped away: `picture[3, 5]` becomes 0. How many of the 32 numbers of $z$, the block's output, change by more than 0.001?
#
# <details><summary>Hint</summary>
#
# The patch of token 7 was $(0, 1, 0, 1)$ and is now $(0, 1, 0, 0)$. Work out its raw token, and then what layer norm makes of it.
#
# </details>

# %% tags=["exercise"]
changed = ...  # a number from 0 to 32

practice.check(changed, "0.3")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# footless = picture.copy()
# footless[3, 5] = 0
# start, _ = patch_embed(
#     footless[None, :, :, None], {"weight": kernels, "bias": np.zeros(4)}, ones, stride=2, eps=EPS
# )
# end = block(start, ones, sra, ones, {"fc1": fc1, "fc2": fc2}, layer=layer)
# changed = int((np.abs(end - z) > 1e-3).sum())
# ```
#
# None. The raw token was $(2, 2, 0, 0)$ and becomes $(1, 1, -1, -1)$. These differ by a shift of all channels, which is what layer norm throws away. A learned $W$ with more channels would hardly be so unlucky.
#
# </details>

# %% [markdown]
# **4.** Cut the four channels into *four* heads of one channel. Which score do tokens 1 and 3 give each other in each head?
#
# <details><summary>Hint</summary>
#
# Token 1 is $(1, -1, -1, 1)$ and token 3 is $(1, -1, 1, -1)$. A head has one number of each. What is $\sqrt d$?
#
# </details>

# %% tags=["exercise"]
four_scores = ...  # four numbers

practice.check(four_scores, "0.4")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# by_channel = split_heads(normed, 4)[0]  # (4, 8, 1)
# four_scores = (by_channel[:, 0] * by_channel[:, 2]).sum(axis=-1) / math.sqrt(1)
# ```
#
# $(1, 1, -1, -1)$. More heads are more opinions, each from fewer numbers.
#
# </details>

# %% [markdown]
# **5.** Write spatial-reduction attention with any number of heads. You may call the package's `conv2d` and `layer_norm`, and any of your own.
#
# <details><summary>Hint</summary>
#
# In order: reduce (if `ratio` is above 1: map, `conv2d`, tokens, norm); queries from `x`, keys and values from what is reduced, keys first; split all three into heads; scores, softmax, mean; heads side by side; `proj`.
#
# A linear layer is `x @ layer["weight"].T + layer["bias"]`.
#
# </details>


# %% tags=["exercise"]
def my_attention(x, grid, q, kv, proj, sr=None, norm=None, *, heads, ratio, eps):
    """x (B, N, C) -> results (B, N, C) and probs (B, heads, N, M)."""
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
#         reduced = conv2d(x.reshape(B, *grid, C), **sr, stride=ratio).reshape(B, -1, C)
#         reduced = layer_norm(reduced, **norm, eps=eps)
#     both = reduced @ kv["weight"].T + kv["bias"]
#     three = x @ q["weight"].T + q["bias"], both[..., :C], both[..., C:]
#     Q, K, V = (a.reshape(B, -1, heads, C // heads).swapaxes(1, 2) for a in three)
#     scores = Q @ K.swapaxes(-1, -2) / math.sqrt(C // heads)
#     powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
#     probs = powers / powers.sum(axis=-1, keepdims=True)
#     side_by_side = (probs @ V).swapaxes(1, 2).reshape(B, N, C)
#     return side_by_side @ proj["weight"].T + proj["bias"], probs
# ```
#
# </details>

# %% [markdown]
# **6.** Write GELU in its exact form. NumPy has no error function; Python's `math.erf` takes one number.
#
# <details><summary>Hint</summary>
#
# $\Phi(x) = \tfrac12\,(1 + \mathrm{erf}(x / \sqrt 2))$, and `np.vectorize(math.erf)` takes arrays.
#
# </details>


# %% tags=["exercise"]
def my_gelu(x):
    """x Φ(x), for an array of any shape."""
    raise NotImplementedError


practice.check(my_gelu, "gelu")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_gelu(x):
#     return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2
# ```
#
# </details>

# %% [markdown]
# **7.** What does our MLP make of the token $(2, -1, 0, 3)$? (As it is, without a norm.)
#
# <details><summary>Hint</summary>
#
# Channel by channel $\mathrm{GELU}(x) + \mathrm{GELU}(-x)$. From the table above: $\mathrm{GELU}(2) = 1.95$ and $\mathrm{GELU}(-2) = -0.05$.
#
# </details>

# %% tags=["exercise"]
from_mlp = ...  # four numbers

practice.check(from_mlp, "0.7")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# from_mlp = mlp(np.array([[[2.0, -1.0, 0.0, 3.0]]]), fc1, fc2)[0, 0]
# ```
#
# $(1.91, 0.68, 0, 2.99)$. In closed form it is $x\,\mathrm{erf}(x/\sqrt 2)$: multiply the two $\Phi$ out.
#
# </details>

# %% [markdown]
# **8.** A gradient of your own. Let the loss be what token 7 receives from **head 1** in its second channel. Find $\mathrm{d}s_1$ and $\mathrm{d}s_2$, the gradients of its two scores. Its shares are 0.35 and 0.65; the second channel of head 1 is $-1$ in key 1 and $-0.45$ in key 2.
#
# <details><summary>Hint</summary>
#
# First the loss: $L = 0.35 \cdot (-1) + 0.65 \cdot (-0.45)$. Then $\mathrm{d}s_m = p_m (\mathrm{d}p_m - L)$.
#
# </details>

# %% tags=["exercise"]
ds_of_token_7 = ...  # two numbers

practice.check(ds_of_token_7, "0.8")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# p, given = sra_probs[0, 6], values[0, :, 1]
# ds_of_token_7 = p * (given - p @ given)
# ```
#
# $(-0.125, 0.125)$: reading the left key less and the right key more would raise this number.
#
# </details>

# %% [markdown]
# ## The check
#
# Everything on paper, once more, against the package.

# %%
assert np.allclose(by_package[0], tokens)  # patches, questions, layer norm
assert np.allclose(softmax(scores), probs)
assert np.allclose(package, z)  # the whole block: 32 numbers
assert np.allclose(
    strength, normed2 * (normal_cdf(normed2) - normal_cdf(-normed2))
)  # x erf(x / √2)
assert np.allclose(attention(normed, grid, **sra, heads=2, ratio=2, eps=EPS)[0][0], attended)
assert np.allclose(grads["q"]["bias"][2:], dq)
assert np.allclose(central, dq, atol=1e-8)
assert np.isclose(ds.sum(), 0)
print("all checks passed")
