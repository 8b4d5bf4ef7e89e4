# %% [markdown]
# # 8 · The relatives
#
# PVT was not alone. In 2021 and 2022 half a dozen networks kept the Transformer's block and exchanged one part of it, the one that lets tokens see each other. This notebook builds them all around one block, in at most ten lines each, and asks the same three questions of each.
#
# **What you will do.** Write full attention, SRA, linear SRA, Swin's windows without and with a shift, Twins' local and global attention, pooling, and a plain convolution, all on the same tokens. Change one token and see which others move. Count what each costs as the picture grows. Shuffle the tokens and see who notices. Put PVT v2 beside SegFormer's encoder. Then find the answers to questions that people have asked in public about PVT.
#
# **What you will learn.** That these networks are one network with different *mixers*; what each mixer can see and what it pays for it; why "linear SRA" is not "linear attention"; which of PVT's choices have a reason, and which are only habits.
#
# **What you need.** NumPy; notebooks 0 and 3 (attention, SRA), and from notebook 5 the depthwise convolution. About 50 minutes, half of it for the questions at the end. Stages, blocks and heads are counted from 1, as the paper counts its stages. Code counts from 0: `stages.0` is stage 1.

# %%
import sys

sys.path.insert(0, "..")  # the package, one folder up

import math
from dataclasses import replace

import numpy as np

import pvt_numpy
from pvt_numpy import VARIANTS, plots, practice
from pvt_numpy.analysis.cost import summarise
from pvt_numpy.layers.attention import (
    as_map,
    attention,
    linear_attention,
    merge_heads,
    split_heads,
    tokens,
)
from pvt_numpy.layers.convolution import conv2d
from pvt_numpy.layers.depthwise import depthwise_conv2d
from pvt_numpy.layers.layernorm import layer_norm
from pvt_numpy.layers.linear import linear
from pvt_numpy.layers.mlp import mlp
from pvt_numpy.layers.resize import adaptive_average_pool, resize_bilinear
from pvt_numpy.layers.softmax import softmax
from pvt_numpy.parameters import parameter_shapes
from pvt_numpy.plots.figures import drawing, new_figure
from pvt_numpy.plots.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, WIDEST, bare, heat

# %% [markdown]
# ## One block, one part of it exchanged
#
# Every network here repeats this [block](glossary.md#block):
#
# $$y = x + \mathrm{Mixer}(\mathrm{LN}(x)), \qquad z = y + \mathrm{MLP}(\mathrm{LN}(y)).$$
#
# The norms and the [MLP](glossary.md#mlp) work on each [token](glossary.md#token) alone. Only the **[mixer](glossary.md#mixer)** carries anything from one token to another. (PVT v2's MLP has a 3 × 3 [convolution](glossary.md#convolution) and so carries a little, too; here it stays plain.)
#
# Our tokens are those of a [stage](glossary.md#stage) 3 at 224 pixels: a [grid](glossary.md#grid) of 14 × 14. All mixers with [attention](glossary.md#attention) share the same matrices for [queries](glossary.md#query), [keys](glossary.md#key), [values](glossary.md#value) and output. The numbers are random, because we look at what a mixer *can* do, and not at what it has learned.

# %%
GRID, N, C, HEADS, SIDE, R = (14, 14), 196, 32, 2, 7, 2  # SIDE: of a window
EPS = 1e-6
rng = np.random.default_rng(0)


def weights(*shape):
    """A linear layer or a convolution that keeps the size of the numbers."""
    scale = 1.5 / math.sqrt(math.prod(shape[1:]))
    return {
        "weight": scale * rng.standard_normal(shape),
        "bias": 0.1 * rng.standard_normal(shape[0]),
    }


q, kv, proj = weights(C, C), weights(2 * C, C), weights(C, C)
norm = {"weight": np.ones(C), "bias": np.zeros(C)}
merge, project = weights(C, C, R, R), weights(C, C, 1, 1)
kernels = weights(C, 1, 3, 3)
fc1, fc2 = weights(4 * C, C), weights(C, 4 * C)
x = rng.standard_normal((1, N, C))


def one_block(x, mixer):
    """The block of all the relatives."""
    y = x + mixer(layer_norm(x, **norm, eps=EPS))
    return y + mlp(layer_norm(y, **norm, eps=EPS), fc1, fc2)


# %% [markdown]
# ### Full attention, of ViT
#
# Every token asks every token (ViT). The package's `attention` with $R = 1$ is exactly this.


# %%
def full(x):
    """196 queries, 196 keys."""
    return attention(x, GRID, q, kv, proj, heads=HEADS, ratio=1, eps=EPS)[0]


# %% [markdown]
# ### Spatial-reduction attention, of PVT
#
# Every token asks; squares of $R \times R$ tokens answer. 196 queries, 49 keys.


# %%
def sra(x):
    """196 queries, 49 keys, each made from 2 x 2 tokens."""
    return attention(x, GRID, q, kv, proj, merge, norm, heads=HEADS, ratio=R, eps=EPS)[0]


# %% [markdown]
# ### Linear SRA, of PVT v2
#
# The variant called `li`. Every token asks; 7 × 7 averages answer, however large the grid is. After the average come a 1 × 1 convolution, a norm and [GELU](glossary.md#gelu).


# %%
def linear_sra(x):
    """196 queries, 49 keys, each the mean of a bin."""
    return linear_attention(x, GRID, q, kv, proj, project, norm, heads=HEADS, eps=EPS)[0]


# %% [markdown]
# Here are the bins on a real map: the shipped model's stage 3 for a picture of 320 × 320 pixels. Twenty rows do not divide into seven, so bins have three or four of them, and neighbours overlap.

# %%
model = pvt_numpy.load_model()
config = model.config
large = pvt_numpy.preprocess(
    "golf_ball.jpg", **model.preprocessing | {"size": {"height": 320, "width": 320}}
)
map_3 = pvt_numpy.pyramid(large, model.params, config)[2].transpose(0, 2, 3, 1)  # (1, 20, 20, 160)


@drawing
def bins():
    """A map with the borders of its 7 x 7 bins, and the mean of each bin."""
    figure = new_figure(9, 4.4, "linear SRA: all tokens ask, 49 means answer")
    axes, right = figure.subplots(1, 2)
    colours = plots.pca_colours(map_3[0].transpose(2, 0, 1))
    axes.imshow(colours, extent=(0, 20, 20, 0))
    for i in range(7):
        for j in range(i % 2, 7, 2):
            top, left = i * 20 // 7, j * 20 // 7
            below, end = -(-(i + 1) * 20 // 7), -(-(j + 1) * 20 // 7)  # -(-a // b) rounds up
            x_way, y_way = [left, end, end, left, left], [top, top, below, below, top]
            axes.plot(x_way, y_way, color="white", linewidth=1.6)
    axes.set_title("20 × 20 tokens; every second bin is framed")
    right.imshow(adaptive_average_pool(colours[None], 7)[0])
    right.set_title("49 keys")
    for panel in (axes, right):
        bare(panel)
    return figure


bins()

# %% [markdown]
# ### Windows, of Swin
#
# Swin cuts the grid into windows of 7 × 7 tokens, and a token asks only within its window. So no key is merged, but no token sees beyond its window.
#
# In every second block Swin moves the windows by half their side. It does so by rolling the whole map, cutting, and rolling back. What comes in from the other edge by rolling is no neighbour; those pairs get a [score](glossary.md#score) of $-\infty$, which the [softmax](glossary.md#softmax) turns into 0.
#
# A window's tokens also get a learned [bias](glossary.md#bias) for each offset between two tokens. We leave it at 0 here. (Swin Transformer, section "Shifted Window based Self-Attention".)


# %%
def cut(x):
    """Tokens (B, N, C) into windows (B * 4, 49, C)."""
    H, W = GRID[0] // SIDE, GRID[1] // SIDE
    return (
        x.reshape(-1, H, SIDE, W, SIDE, x.shape[-1])
        .swapaxes(2, 3)
        .reshape(-1, SIDE * SIDE, x.shape[-1])
    )


def paste(windows):
    """The inverse of `cut`."""
    H, W, C = GRID[0] // SIDE, GRID[1] // SIDE, windows.shape[-1]
    return (
        windows.reshape(-1, H, W, SIDE, SIDE, C).swapaxes(2, 3).reshape(-1, H * SIDE * W * SIDE, C)
    )


def roll(x, by):
    """The whole map moved up and left; what leaves comes in at the other side."""
    return tokens(np.roll(as_map(x, GRID), (-by, -by), axis=(1, 2)))


# %%
def swin(x, shift=0):
    """Full attention inside each window; 4 times 49 queries and 49 keys."""
    row, column = np.indices(GRID).reshape(2, 1, N, 1)
    side = (row < shift) + 2 * (column < shift)  # 0, or which edges a token was rolled across
    part = cut(roll(side.astype(float), shift))[:, :, 0]  # (4, 49)
    strangers = part[:, :, None] != part[:, None, :]  # (4, 49, 49)
    mask = np.where(strangers, -np.inf, 0)[:, None]  # for any head
    inside = cut(roll(x, shift))
    Q, K, V = (split_heads(linear(inside, *w), HEADS) for w in three_matrices())
    probs = softmax(Q @ K.swapaxes(-1, -2) / math.sqrt(C / HEADS) + mask)
    return roll(paste(linear(merge_heads(probs @ V), **proj)), -shift)


def three_matrices():
    """Weight and bias of queries, keys and values."""
    keys_values = zip(np.split(kv["weight"], 2), np.split(kv["bias"], 2), strict=True)
    return [(q["weight"], q["bias"]), *keys_values]


def shifted_swin(x):
    """Swin's every second block."""
    return swin(x, shift=SIDE // 2)


# %% [markdown]
# Is it right? There is a closed form: windows are full attention in which all pairs from different windows are forbidden. That is slow, but nothing can go wrong in it:


# %%
def forbidden_pairs(shift):
    """(N, N): 0 for two tokens of one window, else −∞, from their rows and columns alone."""
    row, column = (
        np.indices(GRID).reshape(2, N) - shift
    ) // SIDE  # which window, −1 at the upper edge
    same = (row[:, None] == row) & (column[:, None] == column)
    return np.where(same, 0, -np.inf)


def attention_with_mask(x, mask):
    """Full attention, N x N, plus a mask on the scores."""
    Q, K, V = (split_heads(linear(x, *w), HEADS) for w in three_matrices())
    probs = softmax(Q @ K.swapaxes(-1, -2) / math.sqrt(C / HEADS) + mask)
    return linear(merge_heads(probs @ V), **proj)


for shift in (0, 3):
    same = np.allclose(swin(x, shift), attention_with_mask(x, forbidden_pairs(shift)))
    print(f"shift {shift}: windows = full attention with a mask: {same}")
print("no mask = full attention:", np.allclose(full(x), attention_with_mask(x, 0)))

# %% [markdown]
# ### Local, then global, of Twins
#
# Twins alternates two blocks. Its **LSA** (locally-grouped attention) is a window without a shift. Its **GSA** (global sub-sampled attention) lets every token ask one key from each group: a strided convolution makes the key, a norm follows. That is [SRA](glossary.md#spatial-reduction-attention), to the line of code. (Twins, section "Twins-SVT".)


# %%
def twins_pair(x):
    """A local block's mixer and then a global one's: two layers."""
    return sra(swin(x))


# %% [markdown]
# ### Pooling, of PoolFormer
#
# No attention at all: the mean of the 3 × 3 neighbours, minus the token itself, because the residual adds it again. It has nothing to learn. At the border the mean is over the neighbours that exist. (MetaFormer, section "PoolFormer".)


# %%
def pooling(x):
    """The mean of the neighbours, minus x; no parameters."""
    ones = np.ones((C, 1, 3, 3))
    neighbours = depthwise_conv2d(
        np.ones((1, *GRID, C)), ones
    )  # 4 in a corner, 6 at an edge, else 9
    return tokens(depthwise_conv2d(as_map(x, GRID), ones) / neighbours) - x


# %% [markdown]
# ### A depthwise convolution only
#
# Nine weights for each [channel](glossary.md#channel), the same at every place. ConvNeXt is built in this way, with 7 × 7; PVT v2 has the 3 × 3 one inside its MLP.


# %%
def depthwise(x):
    """Each channel with its own 3 x 3 kernel."""
    return tokens(depthwise_conv2d(as_map(x, GRID), **kernels))


MIXERS = {
    "full attention": full,
    "SRA": sra,
    "linear SRA": linear_sra,
    "windows": swin,
    "shifted windows": shifted_swin,
    "local, then global": twins_pair,
    "pooling": pooling,
    "depthwise convolution": depthwise,
}

# %% [markdown]
# ## Who moves if one token changes?
#
# **Predict first.** Token (row 6, column 5) of the 14 × 14 gets other numbers. For each of the eight, which outputs of the block move?

# %%
CHANGED = 5, 4  # row and column, counted from 0
disturbed = x.copy()
disturbed[0, CHANGED[0] * 14 + CHANGED[1]] = rng.standard_normal(C)
moves = {
    name: np.linalg.norm(one_block(disturbed, mixer) - one_block(x, mixer), axis=-1).reshape(GRID)
    for name, mixer in MIXERS.items()
}


@drawing
def who_moves():
    """One map for each mixer: how far each token moved, on a logarithmic scale."""
    figure = new_figure(
        WIDEST, 6.6, "one token changes; how far does each token of the block's output move?"
    )
    panels = figure.subplots(2, 4)
    for axes, (name, map_) in zip(panels.flat, moves.items(), strict=True):
        shown = np.log10(np.maximum(map_, 1e-6))
        drawn = axes.imshow(np.where(map_ > 1e-9, shown, np.nan), cmap=heat(), vmin=-3, vmax=1)
        axes.plot(CHANGED[1], CHANGED[0], "s", color=BLUE, markersize=4)
        axes.set(title=f"{name}\n{(map_ > 1e-9).sum()} of 196 move")
        axes.set_xticks(np.arange(15) - 0.5, [])
        axes.set_yticks(np.arange(15) - 0.5, [])
        axes.tick_params(length=0)
        axes.grid(color="#DDDDDD", linewidth=0.5)
    bar = figure.colorbar(drawn, ax=panels, shrink=0.6, aspect=25)
    bar.set_ticks(range(-3, 2), labels=["0.001", "0.01", "0.1", "1", "10"])
    bar.set_label("length of the change; white: exactly 0")
    return figure


who_moves()

# %% [markdown]
# Read it in three groups.
#
# - **Everybody moves**: full attention, SRA, [linear SRA](glossary.md#linear-sra). One layer joins the whole picture. In SRA the changed token speaks through a key that it shares with three others.
# - **The window moves**: 49 tokens. With the shift it is another window, so two blocks together reach further. Twins lets a global block follow instead.
# - **The neighbours move**: nine tokens. Many blocks are needed to cross the picture. A [pyramid](glossary.md#pyramid) helps: each stage doubles the size of a token.
#
# ## What does it cost as the picture grows?
#
# [Multiply-adds](glossary.md#multiply-add) of one mixer with $N$ tokens of $C$ channels. $M$ is the number of keys; a window has 49 tokens.
#
# | mixer | queries, keys, values, output | reduction | the two products | grows with |
# |---|---|---|---|---|
# | full attention | $4 N C^2$ | | $2 N^2 C$ | $N^2$ |
# | SRA | $2 N C^2 + 2 M C^2$ | $N C^2$ | $2 N M C$, $M = N/R^2$ | $N^2$, over $R^2$ |
# | linear SRA | $2 N C^2 + 98\, C^2$ | $49\, C^2$ | $2 N \cdot 49\, C$ | $N$ |
# | windows, shifted or not | $4 N C^2$ | | $2 N \cdot 49\, C$ | $N$ |
# | local, then global | the sum of windows and SRA | | | $N^2$, over $R^2$ |
# | pooling | | | $9 N C$ additions | $N$ |
# | [depthwise convolution](glossary.md#depthwise-convolution) | | | $9 N C$ | $N$ |


# %%
def cost(name, N, C, R):
    """Multiply-adds of one layer."""
    M = N // R**2
    if name == "local, then global":
        return cost("windows", N, C, R) + cost("SRA", N, C, R)
    matrices = {
        "full attention": 4 * N,
        "SRA": 2 * N + 2 * M + N * (R > 1),
        "linear SRA": 2 * N + 98 + 49,
    }
    products = {"full attention": 2 * N * N, "SRA": 2 * N * M}
    if name in ("pooling", "depthwise convolution"):
        return 9 * N * C
    return matrices.get(name, 4 * N) * C * C + products.get(name, 2 * N * 49) * C


LINES = {
    "full attention": (RED, "-"),
    "SRA": (BLUE, "-"),
    "local, then global": (PURPLE, "-"),
    "windows": (ORANGE, "-"),
    "linear SRA": (GREEN, "--"),
    "depthwise convolution": (GREY, "-"),
}


@drawing
def costs():
    """Multiply-adds of stage 1's mixer (C = 64, R = 8) over the picture's side."""
    figure = new_figure(8, 4.2, "one mixer of stage 1 (64 channels, R = 8)")
    axes = figure.subplots()
    sides = np.arange(224, 1793, 224)
    for name, (colour, style) in LINES.items():
        millions = [cost(name, (side // 4) ** 2, 64, 8) / 1e6 for side in sides]
        axes.loglog(sides, millions, style, color=colour, linewidth=2, label=name)
    axes.set(xlabel="side of the picture in pixels", ylabel="million multiply-adds")
    axes.set_xticks([224, 448, 896, 1792], ["224", "448", "896", "1792"])
    axes.minorticks_off()
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    axes.grid(axis="y", color="#E6E6E6")
    return figure


costs()

# %%
print("million multiply-adds at   224      448      896 pixels; 896 : 224")
for name in LINES:
    at = [cost(name, (side // 4) ** 2, 64, 8) / 1e6 for side in (224, 448, 896)]
    print(f"{name:22} {at[0]:8.1f} {at[1]:8.1f} {at[2]:8.1f} {at[2] / at[0]:12.0f} times")

# %% [markdown]
# Four times the side is 16 times the tokens. What grows 16 times is linear; 256 times would be purely quadratic. SRA lies in between: at 224 pixels its quadratic part is small, and it takes over later.
#
# Is the formula the package's? For a whole PVT v2 b0, summed over all layers:

# %%
b0 = VARIANTS["pvt_v2_b0"]
for kind, name in (("full", "full attention"), ("SRA", "SRA"), ("linear SRA", "linear SRA")):
    stages = zip((56, 28, 14, 7), b0.depths, b0.hidden_sizes, b0.sr_ratios, strict=True)
    ours = sum(blocks * cost(name, side**2, width, ratio) for side, blocks, width, ratio in stages)
    same = ours == plots.attention_cost(b0, (224, 224), kind)[0]
    print(f"{kind:10} {ours:11} multiply-adds, package the same: {same}")

# %% [markdown]
# ## Who notices if the tokens are shuffled?
#
# Attention knows no places: shuffle the tokens, and its outputs are the same, shuffled (notebook 5). Is that still true of the relatives? Five ways to shuffle:
#
# - **all**: any token may go anywhere;
# - **in squares**: tokens change places inside their 2 × 2 square, the square that SRA merges;
# - **squares**: whole 2 × 2 squares change places;
# - **in windows**: tokens change places inside their 7 × 7 window;
# - **windows**: the four windows change places.

# %%
places = np.arange(N).reshape(GRID)


def in_blocks(side, inside):
    """An order of the tokens: shuffled inside each side x side block, or blocks shuffled as wholes."""
    blocks = (
        places.reshape(14 // side, side, 14 // side, side).swapaxes(1, 2).reshape(-1, side * side)
    )
    blocks = rng.permuted(blocks, axis=1) if inside else rng.permutation(blocks)
    return blocks.reshape(14 // side, 14 // side, side, side).swapaxes(1, 2).ravel()


order_all = rng.permutation(N)
shuffles = {
    "all": order_all,
    "in squares": in_blocks(2, inside=True),
    "squares": in_blocks(2, inside=False),
    "in windows": in_blocks(7, inside=True),
    "windows": in_blocks(7, inside=False),
}
unaware = {
    name: {how: np.allclose(f(x[:, order]), f(x)[:, order]) for how, order in shuffles.items()}
    for name, f in MIXERS.items()
}
print("shuffled in, shuffled out?" + "".join(f"{how:>12}" for how in shuffles))
for name, found in unaware.items():
    print(f"{name:26}" + "".join(f"{'yes' if same else '-':>12}" for same in found.values()))

# %% [markdown]
# Every "yes" is a blindness.
#
# - **Full attention** is blind to all order. A ViT must be *told* where its tokens are, by a table.
# - **SRA** sees places *inside* its squares, because a convolution has another weight for each. Move whole squares, and it notices nothing.
# - **Linear SRA** averages, so it does not even see places inside a square. (On this grid a bin is one 2 × 2 square.) It sees who shares a bin, and no more.
# - **Windows** are blind inside a window, and to where the window lies. (Swin's learned bias for each offset cures the first.) The shift cures the second: at the border some pairs are masked.
# - **Local, then global** has no blindness left in common: what one is blind to, the other sees.
# - **Pooling and the convolution** know who their neighbours are, and are blind to nothing here.
#
# This is why PVT v1 adds a [position table](glossary.md#position-table) and v2 puts a convolution into its MLP.

# %% [markdown]
# ## Linear SRA is not linear attention
#
# Both cost $O(N)$, and the names are easily confused. *Linear attention* (Katharopoulos et al., 2020) keeps all $N$ keys and drops the softmax. With a positive feature map $\varphi$ in its place, the product can be taken in the other order:
#
# $$\frac{\varphi(Q)\,\big(\varphi(K)^\top V\big)}{\varphi(Q)\,\varphi(K)^\top \mathbf 1}$$
#
# The bracket is $d \times d$ and is computed once. No table of $N \times N$ exists. *Linear SRA* keeps the softmax and the table, and has only 49 keys.


# %%
def phi(x):
    """elu(x) + 1: positive everywhere."""
    return np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))


def linear_attention_proper(x):
    """All 196 keys, no softmax, no N x N table."""
    Q, K, V = (split_heads(linear(x, *w), HEADS) for w in three_matrices())
    summary = phi(K).swapaxes(-1, -2) @ V  # (heads, d, d): all that is kept of keys and values
    total = phi(Q) @ phi(K).sum(axis=-2)[..., None]
    return linear(merge_heads(phi(Q) @ summary / total), **proj)


Q, K, V = (split_heads(linear(x, *w), HEADS) for w in three_matrices())
table = phi(Q) @ phi(K).swapaxes(-1, -2)  # the N x N way to the same numbers
slow = linear(merge_heads(table / table.sum(axis=-1, keepdims=True) @ V), **proj)
print("both orders of the product agree:", np.allclose(linear_attention_proper(x), slow))
same = np.allclose(
    linear_attention_proper(x[:, order_all]), linear_attention_proper(x)[:, order_all]
)
print("linear attention is blind to all order:", same)
print("linear SRA is blind to all order:      ", unaware["linear SRA"]["all"])

# %% [markdown]
# | | linear attention | linear SRA |
# |---|---|---|
# | keys | all $N$ | $7 \times 7 = 49$ averages |
# | softmax | no | yes |
# | table $N \times M$ | never made | $N \times 49$ |
# | multiply-adds of the products | $2 N C d$ | $2 N \cdot 49\, C$ |
# | a sharp look at one token | hard: $\varphi$ is smooth | at one bin, never at one token |
#
# With $d = 64$ the two even cost about the same. The idea behind them has nothing in common.

# %% [markdown]
# ## PVT v2 beside SegFormer's MiT
#
# SegFormer's encoder, the Mix Transformer (MiT), came out a few weeks before PVT v2, with some of the same authors. How far do the two differ? Overlapping [patches](glossary.md#patch) of 7, 3, 3, 3 with [strides](glossary.md#stride) 4, 2, 2, 2: the same. SRA with 8, 4, 2, 1: the same. The 3 × 3 convolution in the MLP, no position table, a norm after each stage: the same. **One number differs**, the ratio of the MLP in the first two stages: MiT has 4, 4, 4, 4.


# %%
def encoder_size(config):
    """Parameters without the head."""
    shapes = parameter_shapes(config)
    return sum(math.prod(shape) for name, shape in shapes.items() if not name.startswith("head"))


mit = {}
print("     blocks           channels               MLP ratios       millions   MiT's millions")
for k in range(6):
    pvt = VARIANTS[f"pvt_v2_b{k}"]
    mit[k] = replace(pvt, mlp_ratios=(4, 4, 4, 4))
    ours, theirs = (encoder_size(config) / 1e6 for config in (pvt, mit[k]))
    blocks, widths, ratios = map(
        str, (pvt.depths, pvt.hidden_sizes, tuple(map(int, pvt.mlp_ratios)))
    )
    print(f"b{k}   {blocks:16} {widths:22} {ratios:14} {ours:10.2f} {theirs:16.2f}")

# %% [markdown]
# For b5 even the ratios agree: PVT v2 b5 without its [head](glossary.md#head) *is* MiT-B5. A test of this project copies weights into transformers' `SegformerModel` and finds the same four maps to 12 digits.
#
# | | PVT v2 | SegFormer |
# |---|---|---|
# | MLP ratios, b0 to b4 | 8, 8, 4, 4 | 4, 4, 4, 4 |
# | linear SRA | as a variant (b2_li) | no |
# | made for | classification, detection, segmentation | segmentation |
# | what follows the four maps | whatever the task needs | four [linear layers](glossary.md#linear-layer), resized, added: an "all-MLP" decoder |
# | what "R" means in the paper | the side of a square: 8, 4, 2, 1 | the tokens of a square: 64, 16, 4, 1 |
#
# (PVT v2, Table 1; SegFormer, section "Hierarchical Transformer Encoder" and its table of settings; both official codes. The authors answered the same question in whai362/PVT #48: the three papers are one line of work by one group.)

# %% [markdown]
# ## Questions that people have asked
#
# These were asked in public, about PVT and its relatives, and most were never answered there. Where something can be measured, it is.
#
# ### Why these widths, heads, ratios and depths?
#
# *Asked in whai362/PVT #64.* The paper follows two rules of ResNet's: few channels in the early stages, and most of the work in the middle ones (PVT, the section on model details). It publishes no search for single values. Here is PVT v2 b2:

# %%
b2 = VARIANTS["pvt_v2_b2"]
rows = summarise(b2)["layers"]
work, size = (sum(row[key] for row in rows) for key in ("macs", "parameters"))
print("          blocks  channels  heads   d  MLP  parameters  work  of which its MLPs")
for i in range(4):
    mine = [row for row in rows if row["name"].startswith(f"stages.{i}.")]
    macs, parameters = (sum(row[key] for row in mine) for key in ("macs", "parameters"))
    mlps = sum(row["macs"] for row in mine if ".mlp." in row["name"])
    width, heads = b2.hidden_sizes[i], b2.num_attention_heads[i]
    print(f"stage {i + 1} {b2.depths[i]:8} {width:9} {heads:6} {width // heads:3}", end="")
    print(
        f" {b2.mlp_ratios[i]:4.0f} {parameters / size:11.0%} {macs / work:5.0%} {mlps / macs:18.0%}"
    )

# %% [markdown]
# - **Heads** follow from the widths: $d$ is 64 in every stage, as in the first Transformer. So 320 channels have 5 heads. (b0 has $d = 32$.)
# - **MLP ratios** of 8 where channels are few: a wide hidden layer is cheap there. MiT takes 4 everywhere, so it is no law.
# - **Depth** goes into stage 3, where a block is cheap in both ways: few tokens, and not yet the widest matrices. From b2 to b4 only depth grows.
#
# ### Why a norm right after the patch embedding?
#
# *Asked in timm #1666 and dino #33. ViT and DeiT have none; Swin, Twins and PVT do.* A ViT enters once, with pixels of a known range. A pyramid enters four times, and three times from a stage whose numbers have grown on the [residual stream](glossary.md#residual-stream). The norm makes all four entrances alike. v1 also adds a position table right there, which should be neither drowned nor deafening. Measured in the shipped model:

# %%
pixels = pvt_numpy.preprocess("golf_ball.jpg", **model.preprocessing)
trace = {}
output = pvt_numpy.forward(pixels, model.params, config, trace=trace)
print("standard deviation of the numbers   before the norm   after it")
for i, stage in enumerate(model.params["stages"]):
    below = (pixels if i == 0 else trace[f"stages.{i - 1}"]).transpose(0, 2, 3, 1)
    embed = stage["patch_embed"]["proj"]
    padding = embed["weight"].shape[-1] // 2
    before = conv2d(below, **embed, stride=config.strides[i], padding=padding)
    print(
        f"entering stage {i + 1} {before.std():33.1f} {trace[f'stages.{i}.patch_embed'].std():10.1f}"
    )

# %% [markdown]
# It is not free of doubt: in v2 the first block's own norm follows at once, so its *layers* would be protected anyway. What the first norm adds is a stream that begins at size 1. No ablation is published for PVT.
#
# ### Is SRA's 49 keys enough, or a coincidence of 224 pixels?
#
# A coincidence, in SRA. The ratios 8, 4, 2, 1 undo the strides, so that every stage has as many keys as stage 4 has tokens, which is (side / 32)². At 224 pixels that is $7^2 = 49$, at 448 it is 196. Only *linear* SRA fixes 49.
#
# Enough? Let us see how many keys are really used. If a row of probabilities were spread evenly over $k$ keys, its [entropy](glossary.md#entropy) would be $\log k$; so $e^{\mathrm{entropy}}$ is the number of keys that a token effectively reads.

# %%
print("effective keys in the last block    stage 1   stage 2   stage 3   stage 4")
used = {}
for side in (96, 128, 224, 320):
    recipe = model.preprocessing | {"size": {"height": side, "width": side}}
    seen = {}
    pvt_numpy.forward(
        pvt_numpy.preprocess("golf_ball.jpg", **recipe), model.params, config, trace=seen
    )
    tables = [seen[f"stages.{i}.blocks.1.attn.probs"].astype(float) for i in range(4)]
    used[side] = [np.exp(-(p * np.log(p + 1e-30)).sum(axis=-1).mean()) for p in tables]
    shown = "".join(f"{number:10.1f}" for number in used[side])
    print(f"{side:3} pixels, {tables[0].shape[-1]:3} keys{shown:>54}")

# %% [markdown]
# Stage 1 reads almost everything; stages 3 and 4 read two or three keys, however many there are.
#
# For the published models the comparison is b2 against b2 with linear SRA. On ImageNet at 224 pixels they are equal, 82.0 and 82.1 %. On COCO, with larger pictures and objects to be found, the 49 keys cost something: 51.1 against 50.9 box AP with Cascade Mask R-CNN, 49.9 against 48.9 with ATSS (official repository, README). So 49 are enough to name a picture, and a little few to find everything in it.
#
# ### Why does mere pooling compete?
#
# *Asked in sail-sg/poolformer #43.* Because the mixer is the smaller part. In PVT v2 b2 the MLPs do 57 to 77 % of each stage's work (table above). [Patch embeddings](glossary.md#patch-embedding), norms, residuals and the pyramid stay, too. MetaFormer's ablation goes to the end: with *no* mixer its smallest model still reaches 74.3 % on ImageNet, with pooling 77.2 % (sail-sg/poolformer #5 and README).
#
# We can ask the shipped model how much it needs its attention. Set the query weights to 0: all scores are 0, and every token reads all keys equally. Set the output weights to 0: no attention at all. Or set the MLPs' output to 0.


# %%
def without(part, layer):
    """The shipped model with one linear layer of every block set to 0."""
    stages = []
    for stage in model.params["stages"]:
        blocks = [
            block | {part: block[part] | {layer: {n: 0 * a for n, a in block[part][layer].items()}}}
            for block in stage["blocks"]
        ]
        stages.append(stage | {"blocks": blocks})
    return model.params | {"stages": stages}


best = int(output.logits.argmax())
cuts = {
    "as it is": model.params,
    "attention reads all keys equally": without("attn", "q"),
    "no attention": without("attn", "proj"),
    "no MLPs": without("mlp", "fc2"),
}
for name, params in cuts.items():
    share = softmax(pvt_numpy.forward(pixels, params, config).logits)[0, best]
    print(f"{name:34} {model.labels[best]}: {share:.1%}")

# %% [markdown]
# One picture proves nothing: without its MLPs the model calls most pictures a golf ball, and is right here by chance. Over 300 photos of Imagenette that it has not seen, 30 of each class, at 224 pixels:
#
# | the shipped model | right |
# |---|---|
# | as it is | 87.7 % |
# | attention reads all keys equally, in all blocks | 85.3 % |
# | no attention, in all blocks | 83.7 % |
# | no MLPs in stage 1, 2, 3 or 4 | 64.0, 81.3, 77.3, 79.7 % |
# | no MLPs in any stage | 18.0 % |
#
# **Without any attention it is nearly as good.** 10 % of its answers change: 5 of the 300 become right and 17 wrong. Its MLPs have 3 × 3 convolutions, its patches overlap, and for ten kinds of things that is nearly enough. The model that shipped before, trained for a shorter time and at 128 pixels at most, lost nothing at all. Both are small and saw 9,469 photos. Whether one trained on a million photos could spare it, this does not tell. But a map of attention, however pretty, does not show that attention is needed: notebook 4 says so, and here is why.
#
# ### Linear SRA without the projection?
#
# *Asked in whai362/PVT #106.* Linear SRA is: average, 1 × 1 convolution, norm, GELU, and then the linear layer that makes keys and values. If norm and GELU were not there, the 1 × 1 convolution would be pointless. Two linear layers in a row are one:

# %%
means = rng.standard_normal((1, 49, C))
two_steps = linear(linear(means, project["weight"][:, :, 0, 0], project["bias"]), **kv)
one_matrix = kv["weight"] @ project["weight"][:, :, 0, 0]
one_step = linear(means, one_matrix, kv["weight"] @ project["bias"] + kv["bias"])
print("two linear layers are one:", np.allclose(two_steps, one_step))
li = VARIANTS["pvt_v2_b2_li"]
spent = sum(math.prod(s) for name, s in parameter_shapes(li).items() if ".attn.sr." in name)
print(f"b2_li spends {spent / 1e6:.1f} of {encoder_size(li) / 1e6:.1f} million parameters on it")

# %% [markdown]
# So it earns its place only through the norm and the GELU behind it: together they let a key be a *nonlinear* function of its bin. Whether a model without all three is worse, nobody has published. The question is open.
#
# ### Twins' GSA against SRA?
#
# *Asked in Meituan-AutoML/Twins #16.* The layer is the same, to the line: strided convolution, norm, attention. The difference is where it stands. PVT uses it in every block. Twins alternates it with windows, so that its keys are there to carry news *between* windows; and even its ratios are 8, 4, 2, 1, and not the windows' 7 (Twins #9). Above, `twins_pair` is literally `sra(swin(x))`.
#
# ### Why does v1's class token come only in the last stage?
#
# *Asked in whai362/PVT #100.* Three reasons, the first of which is decisive.
#
# 1. **It has no place on a grid.** SRA folds tokens into a map and merges squares of them. A token that is nowhere cannot be merged. Only stage 4 has $R = 1$. The same holds for the patch embeddings between stages.
# 2. The maps of stages 1 to 3 go to detectors, which have no use for it.
# 3. Later is not worse: CaiT (Touvron et al., 2021, section "Specializing layers for class attention") found that a ViT's [class token](glossary.md#class-token) is better inserted in the last layers.
#
# ### What does it do with a position? And why do others read it?
#
# *Asked in "Class token in ViT and BERT", a blog post.* With its position: nothing that one vector could not do. Both are learned constants, and only their sum is used. With the shipped v1, move one into the other:

# %%
v1 = pvt_numpy.load_model("../weights/pvt_v1_nano_imagenette.safetensors")
small = pvt_numpy.preprocess("golf_ball.jpg", **v1.preprocessing)
v1_trace = {}
answer = pvt_numpy.forward(small, v1.params, v1.config, trace=v1_trace).logits
last = v1.params["stages"][3]
together = last["pos_embed"].copy()
together[:, 0] = 0
moved = last | {"cls_token": last["cls_token"] + last["pos_embed"][:, :1], "pos_embed": together}
merged = v1.params | {"stages": [*v1.params["stages"][:3], moved]}
off = np.abs(pvt_numpy.forward(small, merged, v1.config).logits - answer).max()
print("class token + its position in one vector; the logits move by", float(off))
for j in range(2):
    probs = v1_trace[f"stages.3.blocks.{j}.attn.probs"][0]
    print(f"block {j + 1}: the others give the class token {probs[:, 1:, 0].mean():.1%}", end="")
    print(f" of their attention; an equal share were {1 / 17:.1%}")

# %% [markdown]
# The code adds *one* table to all tokens, so the class token got a row as well.
#
# That others read the class token is not needed for the answer either: nothing forbids it, since all tokens go through the same layer. In the last block it is even without effect, because the head reads row 0 alone. In the blocks before, the class token can hand on what it has gathered.
#
# ### Why do small data make a ViT poor?
#
# *Asked in google-research/vision_transformer #155 and lucidrains/vit-pytorch #12.* Because what is not built in has to be learned. What is built in is called a layer's [inductive bias](glossary.md#inductive-bias): a convolution *cannot* look elsewhere than next door, and treats all places alike. Attention can look anywhere, and starts by looking everywhere. ViT's own paper shows it: trained on ImageNet alone it is behind ResNets, on 300 million pictures ahead (section "Pre-training data requirements").
#
# Here is the same in small, solved exactly. A teacher computes an edge filter on pictures of 8 × 8. Two pupils learn it from examples: a convolution with 9 weights, and a matrix that may connect any pixel with any other, with 4,096.

# %%
teacher = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]], float)[None, None]
small_rng = np.random.default_rng(1)


def nine_shifts(pictures):
    """For each pixel its nine neighbours, as rows of a linear problem."""
    padded = np.pad(pictures, ((0, 0), (1, 1), (1, 1)))
    return np.stack(
        [padded[:, i : i + 8, j : j + 8].ravel() for i in range(3) for j in range(3)], axis=1
    )


unseen = small_rng.standard_normal((200, 8, 8))
truth = depthwise_conv2d(unseen[..., None], teacher)[..., 0]
counts, errors = (
    [1, 2, 4, 8, 16, 32, 96, 256],
    {"9 weights, next door": [], "4,096 weights, anywhere": []},
)
for n in counts:
    shown = small_rng.standard_normal((n, 8, 8))
    wanted = depthwise_conv2d(shown[..., None], teacher)[..., 0] + 0.1 * small_rng.standard_normal(
        (n, 8, 8)
    )
    near = np.linalg.lstsq(nine_shifts(shown), wanted.ravel())[0]
    anywhere = np.linalg.lstsq(shown.reshape(n, 64), wanted.reshape(n, 64))[0]
    guesses = nine_shifts(unseen) @ near, unseen.reshape(200, 64) @ anywhere
    for pupil, guess in zip(errors.values(), guesses, strict=True):
        pupil.append(np.sqrt(((guess.reshape(truth.shape) - truth) ** 2).mean() / truth.var()))


@drawing
def pupils():
    """Error on pictures never seen, over the number of examples."""
    figure = new_figure(7.5, 3.4, "the same task, learned from few and from many pictures")
    axes = figure.subplots()
    for (name, error), colour in zip(errors.items(), (BLUE, RED), strict=True):
        axes.loglog(counts, error, "o-", color=colour, label=name)
    axes.axvline(64, color=GREY, linestyle=":", label="64: as many as pixels")
    axes.set(xlabel="pictures to learn from", ylabel="error on new pictures (1: no idea)")
    axes.set_xticks([1, 4, 16, 64, 256], ["1", "4", "16", "64", "256"])
    axes.minorticks_off()
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


pupils()

# %% [markdown]
# One picture is enough for the pupil that knows where to look. The other knows nothing until it has seen more pictures than there are pixels, and is far behind even then. Attention is not as ignorant as a free matrix, but the direction is the same. PVT v2 puts part of the prior back, with overlapping patches and 3 × 3 convolutions. Notebook 7 says what else helps.
#
# ### The loss jumps to 6.93 and stays there
#
# *Asked in whai362/PVT #6, for PVT Large at epoch 38.* $\ln 1000 = 6.908$ is the [loss](glossary.md#loss) of a model that gives all thousand classes the same answer, with label smoothing or without. In the log it goes from 4.6 to 6.9 within twenty steps and does not find back. The official configurations clip the [gradients](glossary.md#gradient) of pvt_medium, pvt_large and b3 to b5 at a norm of 1.0 (classification/configs of whai362/PVT). Notebook 7 provokes such a jump.
#
# ### A port to JAX or TensorFlow is slightly off. Why?
#
# *Asked in google/flax #2993 and discussion 1797.* Two defaults differ.
#
# - **[Padding](glossary.md#padding) "SAME"** puts as few zeros as needed, and the smaller half in front. For 7 × 7 with stride 4 on 224 pixels that is 1 before and 2 behind. PyTorch's padding of 3 puts 3 before. So all windows sit 2 pixels further on. Give the numbers: `padding=((3, 3), (3, 3))`.
# - **[Layer norm](glossary.md#layer-norm)**: Flax has $\epsilon = 10^{-6}$, PyTorch $10^{-5}$, and Flax computes the variance as the mean of $x^2$ minus the square of the mean, unless told `use_fast_variance=False` (notebook 6, traps 2 and 4).
#
# The first is easily missed, because the answer survives it. In the shipped model:

# %%
from pvt_numpy.reference.mistakes import made

with made("same-padding"):
    wrong = pvt_numpy.forward(pixels, model.params, config).logits
right = softmax(output.logits)[0].max()
print(f"{model.labels[best]}: {right:.1%}; with 'SAME' padding {softmax(wrong)[0, best]:.1%}")
print(f"the logits move by up to {np.abs(wrong - output.logits).max():.1f}")

# %% [markdown]
# ### Is $R$ 8 or 64? $R$ or $R^2$?
#
# *Asked in NVlabs/SegFormer #21 and keras-cv.* In PVT, and here, $R$ is the *side* of a square: 8, 4, 2, 1, and $R^2$ tokens become one key. SegFormer's paper calls the *number of tokens* $R$: 64, 16, 4, 1. Its code has `sr_ratios=[8, 4, 2, 1]` again. Same layer, two letters.
#
# ### Where is `patch_size=4` in v2?
#
# *Asked in whai362/PVT #72.* Nowhere. The constructor still takes it from v1, and the patch embeddings have their own sizes: 7 with stride 4, then 3 with stride 2 (notebook 2).
#
# ### How do I use it as a backbone? Must the four maps be padded to one size?
#
# *Asked in whai362/PVT #65.* As a [backbone](glossary.md#backbone) it gives four maps, `pvt_numpy.pyramid(x, params, config)`. Padding a 7 × 7 map with zeros to 56 × 56 puts its content into a corner, where it belongs to other pixels. *Resize* it, after a 1 × 1 convolution has given all maps the same channels. That is a feature pyramid network (Lin et al., 2017) but for its last convolution:

# %%
maps = [map_.transpose(0, 2, 3, 1) for map_ in pvt_numpy.pyramid(pixels, model.params, config)]
to_64 = [weights(64, map_.shape[-1], 1, 1) for map_ in maps]  # learned, in a real one
joined = None
for map_, lateral in reversed(list(zip(maps, to_64, strict=True))):
    same_width = conv2d(map_, **lateral, stride=1)
    joined = same_width if joined is None else same_width + resize_bilinear(joined, map_.shape[1:3])
print([map_.shape for map_ in maps], "->", joined.shape)

# %% [markdown]
# ### As many parameters as a ResNet-18, as many multiply-adds, and slower. Why?
#
# *Asked in whai362/PVT #103, about ONNX.* Multiply-adds count arithmetic, and not the numbers that travel through memory. Norms, GELU, softmax and depthwise convolutions do little arithmetic for each number they move. Count the numbers that the layers write, for one picture:

# %%
b1 = summarise(VARIANTS["pvt_v2_b1"])
written = sum(math.prod(row["output"]) for row in b1["layers"])
# ResNet-18 (He et al., 2015, Table 1): each stage's four convolutions, and the shortcut's one
resnet18 = 64 * 112**2 + sum(
    (4 + (side < 56)) * width * side**2
    for width, side in ((64, 56), (128, 28), (256, 14), (512, 7))
)
print(
    f"PVT v2 b1: {b1['macs'] / 1e9:.1f} billion multiply-adds, {written / 1e6:.1f} million numbers written"
)
print(f"ResNet-18: 1.8 billion multiply-adds,  {resnet18 / 1e6:.1f} million numbers written")

# %% [markdown]
# And ResNet's batch norms vanish into its convolutions after training; layer norms cannot, because they depend on the token. How much of this a runtime hides, by fusing layers, is its own affair.
#
# ### Why did the official v1 code compare every grid with stage 1's?
#
# *Asked in whai362/PVT #85.* An oversight: it decides by the *number* of stage 1's tokens whether a table has to be resized. It goes wrong only where another stage's number happens to equal it; notebook 5 shows at which sizes.

# %% [markdown]
# ## Exercises

# %% [markdown]
# **1.** A picture of 1792 × 1792 pixels. How many keys does SRA have in stage 1 ($R = 8$)?
#
# <details><summary>Hint</summary>
#
# Pixels → tokens (stride 4) → squares (side 8).
#
# </details>

# %% tags=["exercise"]
keys_at_1792 = ...  # a number

practice.check(keys_at_1792, "8.1")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# keys_at_1792 = (1792 // 4 // 8) ** 2
# ```
#
# 3136: as many keys as stage 1 has tokens at 224 pixels. Eight times the side has brought back the trouble that SRA was made for.
#
# </details>

# %% [markdown]
# **2.** Predict, then try. Token (row 6, column 5) changes, and *two* of Swin's blocks follow, one without and one with the shift. How many of the 196 tokens move?
#
# <details><summary>Hint</summary>
#
# After the first block, which rows have moved? Into which windows do these rows fall if the cuts lie before rows 4 and 11?
#
# </details>

# %% tags=["exercise"]
moved_by_two = ...  # a number

practice.check(moved_by_two, "8.2")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# before, after = (one_block(one_block(a, swin), shifted_swin) for a in (x, disturbed))
# moved_by_two = int((np.abs(after - before).max(axis=-1) > 1e-9).sum())
# ```
#
# 100. Rows 1 to 7 have moved after the first block. The second block's windows hold rows 1 to 3, 4 to 10 and 11 to 14, so rows 1 to 10 move; the same for the columns.
#
# </details>

# %% [markdown]
# **3.** At small pictures SRA is cheaper than windows, at large ones dearer. At which side of the picture do the two cost the same in stage 1 (64 channels, $R = 8$)? To the pixel, or by a search.
#
# <details><summary>Hint</summary>
#
# Set the two rows of the table equal and divide by $N C$. One $N$ is left.
#
# </details>

# %% tags=["exercise"]
equal_at = ...  # a number of pixels

practice.check(equal_at, "8.3")

# %% [markdown]
# <details><summary>Solution</summary>
#
# $4 C + 98 = 3 C + 2 C / 64 + 2 N / 64$, so $N = 32\,(C + 98) - C = 5120$ tokens, and the side is $4 \sqrt{5120} = 286$ pixels.
#
# ```python
# equal_at = 4 * math.sqrt(32 * (64 + 98) - 64)
# ```
#
# </details>

# %% [markdown]
# ## The check

# %%
for shift in (0, 3):  # windows are full attention with a mask
    assert np.allclose(swin(x, shift), attention_with_mask(x, forbidden_pairs(shift)))
assert np.allclose(linear_attention_proper(x), slow)  # the product in the other order
moving = {name: int((map_ > 1e-9).sum()) for name, map_ in moves.items()}
assert [moving[name] for name in ("full attention", "SRA", "linear SRA")] == [196, 196, 196]
assert [moving[name] for name in ("windows", "shifted windows")] == [49, 49]
assert [moving[name] for name in ("pooling", "depthwise convolution")] == [9, 9]
assert all(unaware["full attention"].values())
assert not any(unaware["local, then global"].values())
assert [encoder_size(mit[k]) == encoder_size(VARIANTS[f"pvt_v2_b{k}"]) for k in range(6)] == 5 * [
    False
] + [True]
assert two_steps.shape == one_step.shape
assert off == 0  # class token and position are one vector
assert errors["9 weights, next door"][0] < errors["4,096 weights, anywhere"][-1]
print("all checks passed")
