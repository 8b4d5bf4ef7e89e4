# %% [markdown]
# # 5 · From v1 to v2
#
# PVT v2 keeps the pyramid. Its paper names three changes: patches overlap (notebook 2); a depthwise convolution inside the MLP replaces the position table; and attention has a variant whose cost grows only linearly with the number of pixels. The code has a few more. This notebook is about all but the first.
#
# **What you will do.** Show that attention by itself does not know where a token is; look at v1's position table and resize it; build the depthwise convolution with loops, then vectorised;
# watch zero padding tell the tokens of a blank picture where they are, and read positions out of real features; run the same weights at eight picture sizes; assemble linear SRA step by step.
#
# **What you will learn.** Why a transformer needs positions at all, how a border of zeros can replace a learned table, what happens to both when the picture's size changes, and where the linear cost of linear SRA comes from.
#
# **What you need.** NumPy; notebook 3, or an idea of what attention is. About 40 minutes. Stages, blocks and heads are counted from 1, as the paper counts its stages. Code counts from 0: `stages.0` is stage 1.

# %%
import re
import sys

sys.path.insert(0, "..")  # the package, one folder up

import numpy as np
from PIL import Image

import pvt_numpy
from pvt_numpy import VARIANTS, parameter_shapes, plots, practice
from pvt_numpy.analysis.answers import answers
from pvt_numpy.analysis.cost import shapes
from pvt_numpy.layers.activations import gelu
from pvt_numpy.layers.attention import attention, linear_attention
from pvt_numpy.layers.depthwise import depthwise_conv2d
from pvt_numpy.layers.layernorm import layer_norm
from pvt_numpy.layers.position import resize_positions
from pvt_numpy.layers.resize import adaptive_average_pool, bilinear_matrix
from pvt_numpy.layers.run import Only
from pvt_numpy.layers.softmax import softmax

PICTURE = "golf_ball.jpg"  # or a picture of yours

model = pvt_numpy.load_model()  # PVT v2 b0
config = model.config
x = pvt_numpy.preprocess(PICTURE, **model.preprocessing)

# %% [markdown]
# ## What changed, by the names of the parameters
#
# The parameters tell what a model is made of. These are in one version and not in the other:


# %%
def kinds(variant):
    """The names of its parameters, with i for every stage and j for every block."""
    names = parameter_shapes(VARIANTS[variant])
    return {re.sub(r"blocks\.\d+", "blocks.j", re.sub(r"stages\.\d", "stages.i", n)) for n in names}


tiny, b1, b2, b2_li = map(kinds, ("pvt_tiny", "pvt_v2_b1", "pvt_v2_b2", "pvt_v2_b2_li"))
print("only in v1:  ", *sorted(tiny - b1))
print("only in v2:  ", *sorted(b1 - tiny))
print("b2_li has the names of b2:", b2 == b2_li)

# %% [markdown]
# So the authors' code differs in more than the three points of the paper:
#
# - The **[class token](glossary.md#class-token)** is gone. v2 averages the [tokens](glossary.md#token) of the last [stage](glossary.md#stage) (notebook 1).
# - A **norm ends every stage** (`stages.i.norm`). v1 has a single one, before its [head](glossary.md#head).
# - The linear variant b2_li has no parameters of another name, but it puts a **ReLU** between the first [linear layer](glossary.md#linear-layer) of its [MLP](glossary.md#mlp) and the [depthwise convolution](glossary.md#depthwise-convolution); a [GELU](glossary.md#gelu) follows the [convolution](glossary.md#convolution) as in the others. (The field `relu_first` of `dwconv_mlp`.)
#
# The three versions side by side, drawn from their configurations; orange is what differs from the column to the left:

# %%
versions = {
    name: (shapes(VARIANTS[name]), VARIANTS[name])
    for name in ("pvt_small", "pvt_v2_b2", "pvt_v2_b2_li")
}
plots.versions(versions, stage=0)

# %% [markdown]
# ## Attention does not know where
#
# In $\mathrm{Softmax}(q k^\top/\sqrt{d})\,v$ no index of a token appears, only its content. Shuffle the tokens, and the outputs are the same, shuffled. Here is the last stage's [attention](glossary.md#attention) layer of the model ($R = 1$, so every token is a [key](glossary.md#key)), on random tokens:

# %%
rng = np.random.default_rng(0)
layer = model.params["stages"][3]["blocks"][0]["attn"]
tokens = rng.standard_normal((1, 49, 256)).astype(np.float32)
order = rng.permutation(49)

straight, _ = attention(tokens, (7, 7), **layer, heads=8, ratio=1, eps=1e-6)
shuffled, _ = attention(tokens[:, order], (7, 7), **layer, heads=8, ratio=1, eps=1e-6)
print("shuffled in, shuffled out:", np.allclose(straight[:, order], shuffled, atol=1e-5))

# %% [markdown]
# The linear layers and norms treat every token alike as well. So a transformer made of these alone could not tell a picture from the same picture cut into tiles and shuffled. Something has to say where each token is.
#
# (If $R > 1$, [SRA](glossary.md#spatial-reduction-attention)'s convolution does look at a token's place *inside* its $R \times R$ square. But all squares are treated alike.)
#
# ## v1: a table
#
# PVT v1 learns one vector per position and adds it to the tokens of each stage; in the last stage a class token comes first and has a row of its own:
#
# $$x = \mathrm{LN}(\mathrm{patches}\,W^E) + E_\mathrm{pos}, \qquad E_\mathrm{pos} \in \mathbb{R}^{N \times C}.$$
#
# A small v1 model, `pvt_v1_nano`, was trained for this project in NumPy, on pictures of 64 pixels. Its [grids](glossary.md#grid) are $16 \times 16$, $8 \times 8$, and twice $4 \times 4$.
# Here is the table of stage 3. Each tile shows how similar one position's vector is to all others; on the right the same table is resized to $7 \times 7$, for a picture of 112 pixels.

# %%
v1 = pvt_numpy.load_model("pvt_v1_nano_imagenette")
tables = [stage["pos_embed"] for stage in v1.params["stages"]]
print([table.shape for table in tables])
plots.positions(tables[2], (4, 4), (7, 7), title="the position table of v1, stage 3")

# %% [markdown]
# Nobody told the model that one position lies above another: it learned this from pictures. Two things are worth a measurement.
#
# - A position resembles its **mirror image**, at the same height on the other side of the picture. It does not resemble the position that is as far from the bottom as it is from the top. In training every second picture was flipped from left to right, so left and right mean the same, and top and bottom do not.
# - In stage 1 (not drawn), a position resembles the one **four** rows below more than the one two rows below. Four is that stage's ratio $R$: the table also says where a token is inside its $R \times R$ square, which the reducing convolution of SRA can use.

# %%
# (4, 4, 4, 4): cosine of position (y, z) with (Y, Z)
middle = plots.position_similarity(tables[2], (4, 4))
y, z = np.indices((4, 4))
left_right, top_bottom = middle[y, z, y, 3 - z].mean(), middle[y, z, 3 - y, z].mean()
print("stage 3: cosine with the mirror image", end=" ")
print(f"left-right {left_right:+.2f}, top-bottom {top_bottom:+.2f}")

first = plots.position_similarity(tables[0], (16, 16))
for rows in range(1, 7):
    y, z = np.indices((16 - rows, 16))
    cosine = first[y, z, y + rows, z].mean()
    print(f"stage 1: cosine with the position {rows} rows below {cosine:+.2f}")

# %% [markdown]
# ### Another picture size
#
# A table for $16 \times 16$ positions does not fit a grid of $16 \times 24$. The remedy is to resize it like a picture, bilinearly, every [channel](glossary.md#channel) for itself; the class token's row is left alone.
# (The official code does the same, and rightly at most sizes. It takes the table as it is if a stage has as many tokens as stage 1 had in training, 3,136. On another grid than that stage's own this is wrong: at 448 × 448 pixels stage 2 has 3,136 tokens, and an error is raised; at 112 × 448 stage 1 has a grid of 28 × 112, and the positions are scrambled. Hugging Face's code raises an error at nearly every size but the trained one.)
# First with loops. A new cell's centre is put on the old grid, and the four nearest old centres are mixed:


# %%
def resize_by_hand(table, old, new):
    """table (1, H * W, C) on a grid `old`, for a grid `new`; centres of cells correspond."""
    H, W = old
    cells = table.reshape(H, W, -1)
    out = np.zeros((*new, cells.shape[-1]), table.dtype)
    for i in range(new[0]):
        for j in range(new[1]):
            y = min(max((i + 0.5) * H / new[0] - 0.5, 0), H - 1)
            z = min(max((j + 0.5) * W / new[1] - 0.5, 0), W - 1)
            top, left = int(y), int(z)
            below, right = min(top + 1, H - 1), min(left + 1, W - 1)
            dy, dz = y - top, z - left
            upper = (1 - dz) * cells[top, left] + dz * cells[top, right]
            lower = (1 - dz) * cells[below, left] + dz * cells[below, right]
            out[i, j] = (1 - dy) * upper + dy * lower
    return out.reshape(1, new[0] * new[1], -1)


table = tables[0]
by_hand = resize_by_hand(table, (16, 16), (20, 31))
packaged = resize_positions(table, (16, 16), (20, 31))
print("equals the package:", np.allclose(by_hand, packaged, atol=1e-6))

# %% [markdown]
# Vectorised, it is one small matrix for the rows and one for the columns; each row of such a matrix mixes two old samples:

# %%
print(bilinear_matrix(3, 6))
rows, columns = bilinear_matrix(16, 20), bilinear_matrix(16, 31)
vectorised = np.einsum("ih,jw,hwc->ijc", rows, columns, table.reshape(16, 16, -1), optimize=True)
print("equals by hand:", np.allclose(vectorised.reshape(by_hand.shape), by_hand, atol=1e-6))

# %% [markdown]
# ## v2: a border of zeros
#
# PVT v2 has no table. In its section on convolutional feed-forward it puts a $3 \times 3$ *depthwise* convolution with zero [padding](glossary.md#padding) between the two linear layers of each MLP:
#
# $$\mathrm{MLP}(x) = \mathrm{GELU}(\mathrm{DWConv}(x W^1))\, W^2 .$$
#
# Depthwise means: each channel has its own $3 \times 3$ [kernel](glossary.md#kernel) and sees no other channel. With loops:


# %%
def depthwise_by_hand(x, weight, bias):
    """x (H, W, C), weight (C, 1, 3, 3), bias (C,): one number after the other."""
    H, W, C = x.shape
    y = np.zeros_like(x)
    for row in range(H):
        for column in range(W):
            for c in range(C):
                total = bias[c]
                for i in range(3):
                    for j in range(3):
                        r, s = row + i - 1, column + j - 1
                        if 0 <= r < H and 0 <= s < W:  # outside there are zeros
                            total += weight[c, 0, i, j] * x[r, s, c]
                y[row, column, c] = total
    return y


def depthwise_shifted(x, weight, bias):
    """The same, vectorised: nine shifted copies of the map, each times one number per channel."""
    H, W, C = x.shape
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    y = np.broadcast_to(bias, x.shape).copy()
    for i in range(3):
        for j in range(3):
            y += padded[i : i + H, j : j + W] * weight[:, 0, i, j]
    return y


dwconv = model.params["stages"][2]["blocks"][0]["mlp"]["dwconv"]
small = rng.standard_normal((5, 6, len(dwconv["bias"]))).astype(np.float32)[..., :16]
few = {"weight": dwconv["weight"][:16], "bias": dwconv["bias"][:16]}
slow, shifted = depthwise_by_hand(small, **few), depthwise_shifted(small, **few)
packaged = depthwise_conv2d(small[None], **few)[0]
print("by hand = shifted:", np.allclose(slow, shifted, atol=1e-5))
print("shifted = package:", np.allclose(shifted, packaged, atol=1e-5))

# %% tags=["varies"]
import timeit

large = rng.standard_normal((28, 28, 16)).astype(np.float32)
ways = {
    "by hand": lambda: depthwise_by_hand(large, **few),
    "shifted": lambda: depthwise_shifted(large, **few),
    "package": lambda: depthwise_conv2d(large[None], **few),
}
for name, function in ways.items():
    print(f"{name}: {min(timeit.repeat(function, number=1, repeat=2)) * 1e3:.2f} ms")

# %% [markdown]
# The nine shifted copies are also the formula in `layers/depthwise.py`. What runs in the package, unless you ask for the formulas, is a faster form of the same name in `fast/depthwise.py`.
#
# A convolution treats every place alike, too, except at the border: there, some of the nine inputs are zeros. On a map of ones with a kernel of ones, the output counts the inputs that were inside:

# %%
ones = np.ones((1, 5, 6, 1), np.float32)
print(depthwise_conv2d(ones, np.ones((1, 1, 3, 3), np.float32))[0, :, :, 0])

# %% [markdown]
# So a token at the border can know that it is at the border. The next convolution tells its neighbours, and so on, one token further with every [block](glossary.md#block). We can watch this. Give the model a **blank picture**, one colour everywhere: all differences between tokens then come from the padding.

# %% [markdown] tags=["predict"]
# **Predict first.** A picture of one colour: all pixels are equal. Will all tokens be, after the [patch embedding](glossary.md#patch-embedding)? After attention? After the last block?

# %%
blank = np.broadcast_to(x.mean(axis=(2, 3), keepdims=True), x.shape).copy()
blank_trace = {}
pvt_numpy.forward(blank, model.params, config, trace=blank_trace)


def differs(name, stage):
    """Which tokens (H, W) differ from the one in the middle by more than rounding."""
    H, W = blank_trace[f"stages.{stage}.grid"]
    tokens = blank_trace[name][0].reshape(H, W, -1)
    middle = tokens[H // 2, W // 2]
    return np.abs(tokens - middle).max(axis=-1) > 1e-4 * np.abs(middle).max()


for stage in range(4):
    for part in ("tokens", "blocks.0.residual1", "blocks.0", "blocks.1"):
        which = differs(f"stages.{stage}.{part}", stage)
        H, W = which.shape
        rows = which[:, W // 2].argmin()
        print(f"stages.{stage}.{part:20} {H:2} x {W:2}", end=": ")
        print(f"{rows} rows differ at the top, {which.mean():3.0%} of all tokens")

# %% [markdown]
# Read the first four lines. The patch embedding pads as well, so one row differs at once. Attention makes no further row differ (`residual1` is the token after attention): it treats all tokens alike. Each MLP lets one more row differ.
# The border's influence moves one token per block. But tokens grow from 4 to 32 pixels, so from stage 3 on hardly a token is left that the border has not reached. In colours:

# %%
blank_maps = [blank_trace[f"stages.{i}"] for i in range(4)]
plots.pyramid(plots.photo_of(blank, **model.preprocessing), blank_maps)

# %% [markdown]
# The picture has no content, and still the last stages can tell top from bottom and left from right. Without the zeros nothing of this happens. If the map is continued by its own edge instead, the same layer gives the same output everywhere:

# %%
width = len(dwconv["bias"])
constant = np.broadcast_to(rng.standard_normal(width).astype(np.float32), (1, 14, 14, width))
with_zeros = depthwise_conv2d(constant, **dwconv)
longer = np.pad(constant, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
continued = depthwise_conv2d(longer, **dwconv)[:, 1:-1, 1:-1]


def spread_over_map(y):
    return np.ptp(y, axis=(1, 2)).max()


print("largest minus smallest output")
print(f"zeros {spread_over_map(with_zeros):.1f}; continued {spread_over_map(continued):.1f}")

# %% [markdown]
# ### Can the position be read from real features?
#
# A blank picture is a special case. For a fair test, cut squares out of the picture and turn each by a random number of quarter turns, so that content says nothing about place. From the tokens of some of them, fit a *linear* map to the token's row and column; test it on 16 others.
# The share of the variance that it explains there is 1 if the position can be read off exactly, and 0 if it tells nothing.

# %%
picture = Image.open(PICTURE).convert("RGB")
crops = []
for _ in range(48):
    size = int(rng.integers(min(picture.size) // 2, min(picture.size) * 7 // 8))
    left, top = (int(rng.integers(0, n - size + 1)) for n in picture.size)
    crop = picture.crop((left, top, left + size, top + size))
    crops.append(crop.rotate(90 * int(rng.integers(4))))
crops = pvt_numpy.preprocess(crops, **model.preprocessing)
seen = {}  # name -> tokens of all crops, of stages when they are entered and left
for start in range(0, len(crops), 8):
    part = Only(r"stages\.\d\.(patch_embed|blocks\.1)")
    pvt_numpy.forward(crops[start : start + 8], model.params, config, trace=part)
    for name, array in part.items():
        seen.setdefault(name, []).append(array)
seen = {name: np.concatenate(arrays) for name, arrays in seen.items()}


def position_share(name, count):
    """The share of the variance of the place that the tokens `name` explain, fitted on `count` crops, tested on 16."""
    tokens = seen[name].astype(np.float64)
    side = int(tokens.shape[1] ** 0.5)
    where = np.stack(np.indices((side, side)).reshape(2, -1), axis=-1) / (side - 1) * 2 - 1
    fit, test = (part.reshape(-1, part.shape[-1]) for part in (tokens[:count], tokens[-16:]))
    mean = fit.mean(axis=0)
    fit, test = fit - mean, test - mean
    gram = fit.T @ fit + 1e-3 * len(fit) * np.eye(fit.shape[1])
    found = test @ np.linalg.solve(gram, fit.T @ np.tile(where, (count, 1)))
    return 1 - ((found - np.tile(where, (16, 1))) ** 2).sum() / (16 * (where**2).sum())


for stage in range(4):
    for part, word in (("patch_embed", "on entering"), ("blocks.1", "on leaving")):
        shares = [position_share(f"stages.{stage}.{part}", count) for count in (8, 16, 32)]
        shown = ", ".join(f"{share:5.2f}" for share in shares)
        print(f"stage {stage + 1}, {word:11}: {shown} of the variance, fitted on 8, 16, 32 crops")

# %% [markdown]
# In the first stages a token does not know where it is. In the last, most of the variance of its place can be read from it. Nobody gives v2 its positions: they come in from the border.
#
# **A lesson about probes.** Look at the last stage: the more crops the fit has seen, the more it finds. 8 crops are $8 \cdot 49 = 392$ tokens, and a token has 256 channels: such a fit learns its tokens by heart. An earlier version of this notebook, with an earlier model, fitted on 8 crops only. The blocks of the last stage seemed to *lose* some of the position again; the text said so, and gave a reason. With more crops the order turned round.
# Measured on 300 photos of Imagenette's validation set, each turned at random, 150 to fit and 150 to test, in six splits: 0.57 on entering the last stage, 0.66 after its first block and after its second, each ± 0.01. The blocks of the last stage lose nothing; the first of them adds some.

# %% [markdown]
# ## Any picture size
#
# A table belongs to one grid. A border of zeros fits every grid. Here are the same weights at eight sizes. v2 pads its [patches](glossary.md#patch), so odd sizes lose nothing and a grid has $\lceil H / \mathrm{stride} \rceil$ rows:

# %% [markdown] tags=["predict"]
# **Predict first.** The weights were trained at 96, 128, 160 and, at last, 224 pixels. Up to which of these sizes will the golf ball be recognised: 224, 320, 448?

# %%
squares = [(n, n) for n in (96, 128, 160, 224, 320, 448)]
for H, W in [*squares, (225, 301), (224, 320)]:
    recipe = model.preprocessing | {"size": {"height": H, "width": W}}
    resized = pvt_numpy.preprocess(PICTURE, **recipe)
    output = pvt_numpy.forward(resized, model.params, config, output_hidden_states=True)
    _, p = answers(output.logits[0], config)
    grids = ", ".join(f"{s.shape[2]}x{s.shape[3]}" for s in output.hidden_states)
    print(f"{H} x {W}: grids {grids}; {model.labels[p.argmax()]} {p.max():.0%}")

# %% [markdown]
# The shipped model was never trained at more than 224 pixels, and still works at 448. (One picture shows that it works, not how well: `python -m pvt_numpy.evaluate` measures that.)

# %%
wide = model.preprocessing | {"size": {"height": 160, "width": 288}}
wide_x = pvt_numpy.preprocess(PICTURE, **wide)
plots.pyramid(plots.photo_of(wide_x, **wide), pvt_numpy.pyramid(wide_x, model.params, config))

# %% [markdown]
# ## Linear SRA
#
# With ratio $R$, SRA has $M = N / R^2$ keys for $N = HW$ [queries](glossary.md#query): the table shrinks by $R^2$, but still grows with the *square* of the number of pixels. PVT v2's section on [linear SRA](glossary.md#linear-sra) gives, in our letters,
#
# $$\Omega(\mathrm{SRA}) = \frac{2 N^2 C}{R^2} + N C^2 R^2, \qquad \Omega(\text{linear SRA}) = 2 N \cdot 7^2\, C .$$
#
# The first term of the left formula and the right formula are the two products with the queries and with the [values](glossary.md#value): $2NMC$ [multiply-adds](glossary.md#multiply-add) with $M = N/R^2$ keys or $M = 7^2 = 49$ keys.
# (The second term is the reducing convolution. Counting one multiplication for each output, input channel and tap gives $\frac{N}{R^2} \cdot C \cdot C R^2 = N C^2$, without the $R^2$ that the paper prints; `plots.attention_cost` counts this way.)
#
# Linear SRA has no ratio: it averages the map into $7 \times 7$ bins, at every stage and for every picture. If 7 does not divide the grid, the bins are uneven and overlap. In a grid of $n$ rows bin $i$ runs from $\lfloor i n / 7 \rfloor$ to $\lceil (i + 1) n / 7 \rceil$, for $i$ from 0 to 6. With loops:


# %%
def pool_by_hand(x, size):
    """x (H, W, C) averaged in size x size bins."""
    H, W, C = x.shape
    y = np.zeros((size, size, C), x.dtype)
    for i in range(size):
        for j in range(size):
            rows = slice(i * H // size, -(-(i + 1) * H // size))  # -(-a // b) rounds up
            columns = slice(j * W // size, -(-(j + 1) * W // size))
            y[i, j] = x[rows, columns].mean(axis=(0, 1))
    return y


grid = rng.standard_normal((10, 13, 4))
packaged = adaptive_average_pool(grid[None], 7)[0]
print("equals the package:", np.allclose(pool_by_hand(grid, 7), packaged))
print("bins of 10 rows:", [(i * 10 // 7, -(-(i + 1) * 10 // 7)) for i in range(7)])

# %% tags=["varies"]
grid = rng.standard_normal((80, 80, 64)).astype(np.float32)
ways = {
    "49 bins by hand": lambda: pool_by_hand(grid, 7),
    "package": lambda: adaptive_average_pool(grid[None], 7),
}
for name, function in ways.items():
    print(f"{name}: {min(timeit.repeat(function, number=1, repeat=5)) * 1e3:.2f} ms")

# %% [markdown]
# There is little to win: each of the 49 turns is a large NumPy mean already. The package writes the pooling as one matrix for the rows and one for the columns.
# This takes only three lines, it shares its code with the resizing above, and its [gradient](glossary.md#gradient) is the same product with both matrices transposed.
#
# ### Step by step
#
# Pooling is the first of four steps that make the reduced map; after them comes the attention of notebook 3. The shipped model is not a linear one, so the weights here are random, for a map of 10 × 13 tokens with 16 channels and two heads.

# %%
C, H, W = 16, 10, 13


def random_layer(*shape):
    return {"weight": rng.normal(0, 0.3, shape), "bias": rng.normal(0, 0.3, shape[0])}


layer = {
    "q": random_layer(C, C),
    "kv": random_layer(2 * C, C),
    "proj": random_layer(C, C),
    "sr": random_layer(C, C, 1, 1),
    "norm": random_layer(C),
}
x_map = rng.standard_normal((H, W, C))

bins = pool_by_hand(x_map, 7).reshape(49, C)  # 1. the mean of each of 7 x 7 bins
# 2. a convolution of 1 x 1 is a linear layer on every token
mixed = bins @ layer["sr"]["weight"][:, :, 0, 0].T + layer["sr"]["bias"]
normed = layer_norm(mixed, **layer["norm"], eps=1e-5)  # 3. a norm
reduced = gelu(normed)  # 4. and a GELU, which SRA does not have

queries = x_map.reshape(H * W, C) @ layer["q"]["weight"].T + layer["q"]["bias"]
kv = reduced @ layer["kv"]["weight"].T + layer["kv"]["bias"]
heads = []
for channels in (slice(0, 8), slice(8, 16)):  # two heads of d = 8 channels
    keys, values = kv[:, :C][:, channels], kv[:, C:][:, channels]
    probs = softmax(queries[:, channels] @ keys.T / 8**0.5)  # (N, M): 130 queries, 49 keys
    heads.append(probs @ values)
y = np.concatenate(heads, axis=1) @ layer["proj"]["weight"].T + layer["proj"]["bias"]

for name, array in {"tokens": x_map.reshape(H * W, C), "bins": bins, "mixed": mixed, "reduced": reduced,
                    "probs of a head": probs, "result": y}.items():  # fmt: skip
    print(f"{name:16} {array.shape}")
packaged, _ = linear_attention(x_map.reshape(1, H * W, C), (H, W), **layer, heads=2, eps=1e-5)
print("equals the package:", np.allclose(y, packaged[0]))

# %% [markdown]
# ### What it saves
#
# What linear SRA saves depends on the size. At 224 pixels SRA already has $7 \times 7$ keys in every stage, so the two tables are equally large and linear SRA only saves the large convolutions. For larger pictures the curves move apart:

# %%
plots.cost(config, title="attention of PVT v2 b0 as the picture grows")

# %%
for side in (224, 448, 896):
    for kind in ("full", "SRA", "linear SRA"):
        macs, largest = plots.attention_cost(config, (side, side), kind)
        print(f"{side} pixels, {kind:10}: {macs / 1e9:8.3f} billion multiply-adds", end=", ")
        print(f"largest score table {4 * largest / 2**20:9.2f} MiB")

# %% [markdown]
# ## Exercises

# %% [markdown]
# **1.** How many blocks would it take for the border to reach the middle of stage 1 (56 × 56), if there were only stage 1?
#
# <details><summary>Hint</summary>
#
# The patch embedding reaches one row, each block one more. All rows of the upper half have to be reached.
#
# </details>

# %% tags=["exercise"]
blocks = ...

practice.check(blocks, "5.1")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# blocks = 56 // 2 - 1
# ```
#
# One row is reached by the patch embedding, and each block adds one; a half has 28 rows. So 27 blocks. The pyramid makes it fast: a token of stage 4 is as wide as eight tokens of stage 1.
#
# </details>

# %% [markdown]
# **2.** Shuffling tokens changed nothing for attention with $R = 1$. Try it with the attention layer of stage 1 and $R = 8$. What do you expect if you shuffle whole rows of $8 \times 8$ squares instead of tokens?
#
# <details><summary>Hint</summary>
#
# A reshape gives rows of squares an axis of their own: `(B, H // R, R, W, C)`. Then put them in the new order.
#
# </details>


# %% tags=["exercise"]
def shuffle_squares(x, grid, ratio, order):
    """x (B, N, C) on a grid (H, W): place i gets the row of ratio x ratio squares that was at order[i]."""
    raise NotImplementedError


practice.check(shuffle_squares, "5.2")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def shuffle_squares(x, grid, ratio, order):
#     (B, N, C), (H, W) = x.shape, grid
#     return x.reshape(B, H // ratio, ratio, W, C)[:, order].reshape(B, N, C)
#
# sra = model.params["stages"][0]["blocks"][0]["attn"]
# fine = rng.standard_normal((1, 3136, 32)).astype(np.float32)
# rows, single = rng.permutation(7), rng.permutation(3136)
#
# def stage_1(x):
#     return attention(x, (56, 56), **sra, heads=1, ratio=8, eps=1e-6)[0]
#
# moved = stage_1(shuffle_squares(fine, (56, 56), 8, rows))
# print("squares:", np.allclose(moved, shuffle_squares(stage_1(fine), (56, 56), 8, rows), atol=1e-4))
# print("tokens: ", np.allclose(stage_1(fine[:, single]), stage_1(fine)[:, single], atol=1e-4))
# ```
#
# Shuffled tokens give other outputs: the convolution has a different weight for every place in its square, so other tokens at these places make other keys. Shuffling whole squares only changes the order of the keys. A sum over keys does not depend on their order, so the outputs are the old ones, shuffled in the same way.
#
# </details>

# %% [markdown]
# **3.** From which side on, in whole pixels, does SRA need more multiply-adds than linear SRA? Use `plots.attention_cost` and square pictures.
#
# <details><summary>Hint</summary>
#
# Try one side after the other. It is not a multiple of 32.
#
# </details>

# %% tags=["exercise"]
side = ...

practice.check(side, "5.3")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# side = 1
# while True:
#     sra, linear = (plots.attention_cost(config, (side, side), kind)[0] for kind in ("SRA", "linear SRA"))
#     if sra > linear:
#         break
#     side += 1
# print(side)
# ```
#
# 209. On smaller pictures SRA has fewer than $7 \times 7$ keys in most stages. v2 rounds its grids up, so 209 to 212 pixels cost the same: whoever tries multiples of 4 finds 212, and of 32, 224.
#
# </details>

# %% [markdown]
# **4.** Write v1's positions: the class token, if there is one, is put first, and the table is added, on the grid that it was learned on or on another. `resize_by_hand` stands above.
#
# <details><summary>Hint</summary>
#
# The class token is `(1, 1, C)`, and has to be repeated for every picture: `np.repeat`. Its row of the table comes first and is not resized. If the table has such a row and there is no class token, leave the row out.
#
# </details>


# %% tags=["exercise"]
def my_positions(x, grid, pos_embed, cls_token=None, *, stored_grid):
    """x (B, N, C) and pos_embed (1, N', C), learned on `stored_grid` -> (B, N, C), or (B, 1 + N, C)."""
    raise NotImplementedError


practice.check(my_positions, "add_positions")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_positions(x, grid, pos_embed, cls_token=None, *, stored_grid):
#     first = pos_embed.shape[1] - stored_grid[0] * stored_grid[1]  # 1 with a row for the class token
#     table = resize_by_hand(pos_embed[:, first:], stored_grid, grid)
#     if cls_token is None:
#         return x + table
#     x = np.concatenate([np.repeat(cls_token, len(x), axis=0), x], axis=1)
#     return x + np.concatenate([pos_embed[:, :first], table], axis=1)
# ```
#
# </details>

# %% [markdown]
# **5.** Put linear SRA together for a batch, with any number of heads.
#
# <details><summary>Hint</summary>
#
# The steps stand above, for one picture. `adaptive_average_pool(maps, 7)` takes maps $(B, H, W, C)$. Heads: notebook 3.
#
# </details>


# %% tags=["exercise"]
def my_linear_attention(x, grid, q, kv, proj, sr, norm, *, heads, eps):
    """x (B, N, C) on a grid (H, W) -> y (B, N, C) and probs (B, heads, N, M) with M = 49."""
    raise NotImplementedError


practice.check(my_linear_attention, "linear_attention")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_linear_attention(x, grid, q, kv, proj, sr, norm, *, heads, eps):
#     B, N, C = x.shape
#     bins = adaptive_average_pool(x.reshape(B, *grid, C), 7).reshape(B, 49, C)
#     mixed = bins @ sr["weight"][:, :, 0, 0].T + sr["bias"]
#     reduced = gelu(layer_norm(mixed, **norm, eps=eps))
#
#     def split(tokens):
#         return tokens.reshape(B, -1, heads, C // heads).transpose(0, 2, 1, 3)
#
#     queries = split(x @ q["weight"].T + q["bias"])
#     both = reduced @ kv["weight"].T + kv["bias"]
#     keys, values = split(both[..., :C]), split(both[..., C:])
#     probs = softmax(queries @ keys.swapaxes(-1, -2) / (C // heads) ** 0.5)
#     y = (probs @ values).transpose(0, 2, 1, 3).reshape(B, N, C)
#     return y @ proj["weight"].T + proj["bias"], probs
# ```
#
# </details>

# %% [markdown]
# **6.** And v2's MLP, with the convolution between its two linear layers. In the linear variant a ReLU comes before the convolution.
#
# <details><summary>Hint</summary>
#
# Tokens become a map for the convolution and tokens again after it. `depthwise_conv2d(maps, **dwconv)` pads by itself.
#
# </details>


# %% tags=["exercise"]
def my_mlp(x, grid, fc1, dwconv, fc2, *, relu_first=False):
    """x (B, N, C) on a grid (H, W) -> (B, N, C)."""
    raise NotImplementedError


practice.check(my_mlp, "dwconv_mlp")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_mlp(x, grid, fc1, dwconv, fc2, *, relu_first=False):
#     wide = x @ fc1["weight"].T + fc1["bias"]
#     if relu_first:
#         wide = np.maximum(wide, 0)
#     B, N, hidden = wide.shape
#     wide = depthwise_conv2d(wide.reshape(B, *grid, hidden), **dwconv).reshape(B, N, hidden)
#     return gelu(wide) @ fc2["weight"].T + fc2["bias"]
# ```
#
# </details>

# %% [markdown]
# ## The check
#
# All but one of these hold for every picture; how well positions can be read depends a little on what the picture shows.

# %%
assert np.abs(straight[:, order] - shuffled).max() < 1e-4  # attention alone does not know where
parts = ("tokens", "blocks.0.residual1", "blocks.0", "blocks.1")
fronts = [differs(f"stages.0.{part}", 0)[:, 28].argmin() for part in parts]
assert fronts == [1, 1, 2, 3]  # attention moves the border's influence by no row, each MLP by one
assert spread_over_map(continued) < 1e-4 < spread_over_map(with_zeros)  # it is the zeros
assert position_share("stages.3.blocks.1", 32) > position_share("stages.0.patch_embed", 32) + 0.1
assert np.abs(y - packaged[0]).max() < 1e-12  # linear SRA, step by step
assert np.abs(by_hand - resize_positions(table, (16, 16), (20, 31))).max() < 1e-6
assert left_right > top_bottom + 0.3  # the table has learned that pictures were flipped left-right
macs = [
    [plots.attention_cost(config, (n, n), kind)[0] for n in (448, 896)]
    for kind in ("full", "SRA", "linear SRA")
]
growth = [large / small for small, large in macs]
assert min(growth[:2]) > 10  # four times the pixels ...
assert 3.5 < growth[2] < 4.1  # ... and linear means four times the cost
print("all checks passed")
