# %% [markdown]
# # 1 · A picture becomes a pyramid
#
# The Pyramid Vision Transformer (PVT; Wang et al., 2021) turns a picture into four maps of features, each half as wide as the one before. This notebook follows one picture through the whole network and looks at the numbers on the way.
#
# **What you will do.** Prepare a picture, run the model, read its answer; open the four stages and look at them; walk through one stage by calling its parts; compare places of the picture by their features; write the classifier's last step with loops.
#
# **What you will learn.** What a token is; why four stages and not one; which shapes the arrays have; what the pyramid is good for besides naming the picture.
#
# **What you need.** NumPy, and a rough idea of neural networks: a layer is a function with learned numbers. No PyTorch and no connection to the Internet. About 20 minutes. Stages, blocks and heads are counted from 1, as the paper counts its stages. Code counts from 0: `stages.0` is stage 1.

# %%
import sys

sys.path.insert(0, "..")  # the package, one folder up

import numpy as np
from PIL import Image

import pvt_numpy
from pvt_numpy import plots, practice
from pvt_numpy.analysis.answers import answers
from pvt_numpy.analysis.cost import shapes
from pvt_numpy.layers.attention import as_map, attention, tokens
from pvt_numpy.layers.head import mean_pool_head
from pvt_numpy.layers.layernorm import layer_norm
from pvt_numpy.layers.mlp import dwconv_mlp
from pvt_numpy.layers.patch_embed import overlapping_patch_embed

PICTURE = "golf_ball.jpg"  # or a picture of yours: a church, a tench, a French horn ...

model = pvt_numpy.load_model()  # PVT v2 b0, the model that ships: ten classes, 3.4 million numbers
config, params = model.config, model.params
print(model.labels)

# %% [markdown]
# ## From picture to numbers
#
# A network expects an array of a known size, with numbers of a known range. The model's *[recipe](glossary.md#recipe)* says which: resize to 224 × 224, divide by 255, subtract each colour's mean, divide by its standard deviation (both measured on ImageNet).


# %%
def preprocess_by_hand(path):
    """The recipe, step by step: (1, 3, 224, 224)."""
    picture = Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
    pixels = np.array(picture, np.float32)  # (H, W, 3), from 0 to 255
    for c, (mean, std) in enumerate(zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)):
        pixels[..., c] = (pixels[..., c] / 255 - mean) / std
    return pixels.transpose(2, 0, 1)[None]  # colours first, and a batch of one


x = pvt_numpy.preprocess(PICTURE, **model.preprocessing)
by_hand = preprocess_by_hand(PICTURE)
print(x.shape, x.dtype, "equals by hand:", np.allclose(x, by_hand, atol=1e-5))
print(f"from {x.min():.2f} to {x.max():.2f}, mean {x.mean():.2f}")

# %% [markdown]
# ## The answer
#
# `forward` takes pixels, parameters and configuration. If you give it a dict as `trace`, it leaves every intermediate result there. The ten *[logits](glossary.md#logit)* become probabilities by the [softmax](glossary.md#softmax), $p_k = e^{z_k} / \sum_j e^{z_j}$, as one label is true. (`answers` asks the configuration: if several may be, each logit has a sigmoid of its own, and a regression's is the answer itself.)

# %%
trace = {}
output = pvt_numpy.forward(x, params, config, trace=trace)
_, probabilities = answers(output.logits[0], config)
for k in np.argsort(-probabilities)[:5]:
    logit, p = output.logits[0, k], probabilities[k]
    print(f"{model.labels[k]:18} logit {logit:6.2f}   probability {p:.3f}")

# %% [markdown]
# ## The pyramid
#
# What happened on the way? The picture went through four [stages](glossary.md#stage), each of which makes fewer and wider [tokens](glossary.md#token):

# %%
plots.architecture(shapes(config), config)

# %% [markdown]
# Here is the picture with the four stages, once to scale (a token drawn as wide as a pixel of the picture) and once enlarged. A map has 32 to 256 [channels](glossary.md#channel); the colours show its three strongest directions (principal components), so *tokens of similar colour have similar features*. Colours of different stages cannot be compared.

# %%
picture = plots.photo_of(x, **model.preprocessing)
maps = pvt_numpy.pyramid(x, params, config)
plots.pyramid(picture, maps)

# %% [markdown]
# A **token** is one cell of such a map: a vector of $C$ numbers that stands for a square of the picture. From stage to stage a token covers twice the width and height and has more channels:

# %% [markdown] tags=["predict"]
# **Predict first.** The picture is 224 × 224 × 3 = 150,528 numbers. Is the map of stage 1 larger or smaller than that? And which of the four maps is the smallest?

# %%
print("stage   grid      tokens   channels   pixels per token   numbers in the map")
for i, features in enumerate(maps):
    _, C, H, W = features.shape
    print(
        f"{i + 1}       {H:2} x {W:2}   {H * W:6}   {C:8}   "
        f"{224 // H:7} x {224 // W:<6}   {features.size:11}"
    )
print(f"the picture itself has {x.size} numbers")

# %% [markdown]
# The Vision Transformer (ViT), which came before, keeps a single [grid](glossary.md#grid) of $14 \times 14$ tokens from the first layer to the last. That is enough to name a picture. To *find* things in it, object detection and segmentation need a fine map, and networks for them expect what convolutional networks have always given: maps at [strides](glossary.md#stride) (pixels per token) of 4, 8, 16 and 32.
# PVT gives these (PVT, section "Feature Pyramid for Transformer"), so that it can replace a ResNet in such a system without other changes.
#
# A fine map has many tokens, and [attention](glossary.md#attention) between $N$ tokens costs $N^2$. How PVT affords $56 \times 56 = 3136$ tokens is the subject of notebook 3.

# %% [markdown]
# ## Inside one stage
#
# All four stages have the same two parts:
#
# 1. a **[patch embedding](glossary.md#patch-embedding)** makes a coarser grid of wider tokens (notebook 2);
# 2. a few **Transformer [blocks](glossary.md#block)** let the tokens exchange information; each block adds the result of attention to its input, and then the result of an [MLP](glossary.md#mlp):
#
# $$y = x + \mathrm{Attention}(\mathrm{LN}(x)), \qquad x' = y + \mathrm{MLP}(\mathrm{LN}(y)).$$
#
# (PVT v2 ends a stage with one more norm.) Let us walk through stage 3 with the package's own layers. It receives the map of stage 2 and has two blocks.

# %%
i = 2  # stage 3
stage = params["stages"][i]
below = maps[i - 1].transpose(0, 2, 3, 1)  # (1, 28, 28, 64): inside, channels come last

x_i, grid = overlapping_patch_embed(
    below, **stage["patch_embed"], stride=config.strides[i], eps=config.embed_eps
)
print("after the patch embedding", x_i.shape, grid)

for block in stage["blocks"]:
    eps = config.layer_norm_eps
    attended, probs = attention(
        layer_norm(x_i, **block["norm1"], eps=eps),
        grid,
        **block["attn"],
        heads=config.num_attention_heads[i],
        ratio=config.sr_ratios[i],
        eps=config.embed_eps,
    )
    x_i = x_i + attended
    x_i = x_i + dwconv_mlp(layer_norm(x_i, **block["norm2"], eps=eps), grid, **block["mlp"])
    print("after a block            ", x_i.shape, " attention table", probs.shape)

x_i = layer_norm(x_i, **stage["norm"], eps=config.layer_norm_eps)
found = as_map(x_i, grid).transpose(0, 3, 1, 2)  # channels first, as in `maps`
print("equals the model's stage 3:", np.allclose(found, maps[i], atol=1e-4))

# %% [markdown]
# That is the whole network: four times this, with other numbers. Parameters are a nested dict, and a layer's arguments are named as its weights are, so `**block["attn"]` gives the layer all that it needs.
#
# Tokens $(B, N, C)$ and maps $(B, H, W, C)$ are two views of the same memory, row by row:

# %%
print("same memory:", np.shares_memory(x_i, as_map(x_i, grid)))
print("there and back:", np.array_equal(tokens(as_map(x_i, grid)), x_i))

# %% [markdown]
# ## What the pyramid is good for
#
# Features can be compared. Take the token at one pixel and colour every other token by the cosine of the angle between the two vectors. Nobody told the model what belongs together in this picture.

# %% [markdown] tags=["predict"]
# **Predict first.** The token at a pixel on the golf ball is compared with all others. In which stage will the ball stand out best: the first, with the finest grid, or a later one?

# %%
PIXEL = 104, 100  # row and column, from 0 to 223

similar = {}
for i, features in enumerate(maps):
    directions = features[0] - features[0].mean(axis=(1, 2), keepdims=True)
    directions = directions / np.linalg.norm(directions, axis=0)
    H, W = directions.shape[1:]
    chosen = directions[:, PIXEL[0] * H // 224, PIXEL[1] * W // 224]
    similar[f"stage {i + 1}"] = np.einsum("c,chw->hw", chosen, directions)
plots.overlay(picture, similar, label="cosine with the token at the pixel", signed=True)

# %% [markdown]
# On the golf ball, stage 1 finds whatever is pale, and some of the discs of light in the background with it; the later stages find the ball, but on an ever coarser grid. Systems for detection and segmentation use all four at once. For them, `pvt_numpy.pyramid(x, params, config)` is all they need from this package.
#
# It works at any size, and the picture need not be square:

# %%
recipe = model.preprocessing | {"size": {"height": 192, "width": 320}}
wide = pvt_numpy.preprocess(PICTURE, **recipe)
plots.pyramid(plots.photo_of(wide, **recipe), pvt_numpy.pyramid(wide, params, config))

# %% [markdown]
# ## The last step, by hand
#
# From the last map to ten logits: the mean over all 49 tokens, then one [linear layer](glossary.md#linear-layer), $z = W^\mathrm{head}\, \bar x + b$. With loops:


# %%
def head_by_hand(x, weight, bias):
    """x (N, C), weight (K, C), bias (K,): the mean token, then one sum for each label."""
    N, C = x.shape
    mean = [sum(x[n, c] for n in range(N)) / N for c in range(C)]
    return np.array(
        [bias[k] + sum(weight[k, c] * mean[c] for c in range(C)) for k in range(len(bias))]
    )


last = trace["stages.3.norm"][0]  # (49, 256)
head = params["head"]
slow = head_by_hand(last, **head)
fast = head["weight"] @ last.mean(axis=0) + head["bias"]
packaged = mean_pool_head(last[None], **head)[0]
print("by hand = vectorised:", np.allclose(slow, fast, atol=1e-4))
print("by hand = package:   ", np.allclose(slow, packaged, atol=1e-4))

# %% tags=["varies"]
import timeit

ways = {
    "by hand": lambda: head_by_hand(last, **head),
    "package": lambda: mean_pool_head(last[None], **head),
}
for name, function in ways.items():
    print(f"{name}: {min(timeit.repeat(function, number=1, repeat=3)) * 1e3:.3f} ms")

# %% [markdown]
# That is the pattern of all notebooks here: first loops that anybody can check, then the same in a line of NumPy, then a measurement of how long each takes.
#
# ## Exercises
#
# Write your answer into the empty cell and run it: the check says what is wrong, and often which slip gives exactly your answer. What is not written yet is said, too.

# %% [markdown]
# **1.** How many of the model's 3,412,330 numbers are in stage 4? Use `pvt_numpy.parameter_shapes(config)`, a dict from name to shape.
#
# <details><summary>Hint</summary>
#
# The names of stage 4 begin with `stages.3.`, because code counts from 0. An array of shape `(256, 160, 3, 3)` holds `np.prod(shape)` numbers.
#
# </details>

# %% tags=["exercise"]
in_stage_4 = ...

practice.check(in_stage_4, "1.1")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# shapes = pvt_numpy.parameter_shapes(config)
# sizes = [
#     sum(int(np.prod(shape)) for name, shape in shapes.items() if name.startswith(f"stages.{i}."))
#     for i in range(4)
# ]
# print(sizes)
# in_stage_4 = sizes[3]
# ```
#
# 2.0 of 3.4 million; stage 3 has another 0.9. Channels grow, and a matrix grows with their square. The *work*, on the other hand, is spread over all stages, because the first ones have so many more tokens (`python -m pvt_numpy.summary` counts both).
#
# </details>

# %% [markdown]
# **2.** Turn the picture upside down and run the model again. Does the answer stay the same? Why is there no guarantee?
#
# <details><summary>Hint</summary>
#
# The axes of `x` are pictures, colours, rows and columns. A slice `::-1` goes through an axis from its end.
#
# </details>


# %% tags=["exercise"]
def upside_down(x):
    """Pictures (B, 3, H, W) with their rows from the bottom to the top."""
    raise NotImplementedError


practice.check(upside_down, "1.2")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def upside_down(x):
#     return x[:, :, ::-1]
#
# logits = pvt_numpy.forward(upside_down(x), params, config).logits[0]
# print(answers(logits, config)[1].round(3))
# ```
#
# Attention alone would not notice. But patches, the $3 \times 3$ convolutions and the border of zeros do (notebook 5), and the model was trained on pictures that stood upright. A ball has no top and bottom, so the golf ball is still recognised; try a church.
#
# </details>

# %% [markdown]
# **3.** How many [scores](glossary.md#score) would one full attention table of stage 1 hold, for a picture of 1024 × 1024 pixels?
#
# <details><summary>Hint</summary>
#
# A token of stage 1 is 4 × 4 pixels. A full table has a score for each pair of tokens.
#
# </details>

# %% tags=["exercise"]
scores = ...

practice.check(scores, "1.3")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# scores = (256 * 256) ** 2
# ```
#
# $256 \times 256 = 65\,536$ tokens, and a table of $65\,536^2 \approx 4.3 \cdot 10^9$ numbers: 17 GB in float32, for one head of one block. Notebook 3 shows the way out.
#
# </details>

# %% [markdown]
# **4.** `head_by_hand` takes one picture. Write the same for a batch, without loops. If there is no `weight`, the features themselves are the answer.
#
# <details><summary>Hint</summary>
#
# The mean goes over the axis of the tokens, `axis=1`. A linear layer on a batch is `features @ weight.T + bias`. Two results come back, the logits and the pooled features.
#
# </details>


# %% tags=["exercise"]
def my_head(x, weight=None, bias=None):
    """x (B, N, C) -> logits (B, num_labels), or the features without a weight; and the features (B, C)."""
    raise NotImplementedError


practice.check(my_head, "mean_pool_head")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_head(x, weight=None, bias=None):
#     pooled = x.mean(axis=1)
#     return (pooled if weight is None else pooled @ weight.T + bias), pooled
# ```
#
# v1 has another head: in its last stage a learned *class token* is put before the others, and the answer is read from it alone. Notebook 4 looks at what it reads.
#
# </details>

# %% [markdown]
# ## The check

# %%
assert np.abs(x - by_hand).max() < 1e-5  # the recipe by hand
assert [features.shape[2] for features in maps] == [56, 28, 14, 7]  # strides 4, 8, 16, 32
# stage 3 is what we said it is
assert np.abs(found - maps[2]).max() < 1e-4
assert np.abs(slow - output.logits[0]).max() < 1e-4  # and so is the head
assert abs(probabilities.sum() - 1) < 1e-6
print("all checks passed")
