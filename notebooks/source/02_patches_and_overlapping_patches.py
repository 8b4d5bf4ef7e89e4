# %% [markdown]
# # 2 · Patches and overlapping patches
#
# A Transformer works on a set of vectors, its tokens. The **patch embedding** makes tokens out of pixels. A pyramid also needs one between two stages, to make fewer and wider tokens out of many. This notebook builds the patch embeddings of PVT v1 and of PVT v2.
#
# **What you will do.** Cut a picture into patches with loops; turn them into tokens with a matrix product; see that this is a convolution; let the patches overlap; watch what single kernels react to; move the picture by a few pixels and see what the tokens do.
#
# **What you will learn.** Why "linear layer on flattened patches" and "strided convolution" are the same thing; what overlapping costs and what it brings; which pixels get lost at the edge.
#
# **What you need.** NumPy; notebook 1. About 25 minutes. Stages, blocks and heads are counted from 1, as the paper counts its stages. Code counts from 0: `stages.0` is stage 1.

# %%
import sys

sys.path.insert(0, "..")  # the package, one folder up

import numpy as np

import pvt_numpy
from pvt_numpy import VARIANTS, plots, practice
from pvt_numpy.config import stage_grids
from pvt_numpy.layers.convolution import conv2d, windows
from pvt_numpy.layers.layernorm import layer_norm
from pvt_numpy.layers.patch_embed import overlapping_patch_embed, patch_embed

PICTURE = "golf_ball.jpg"  # or a picture of yours
PIXEL = 96, 104  # row and column, from 0 to 223, of a pixel to look at

model = pvt_numpy.load_model()  # PVT v2 b0
config = model.config
x = pvt_numpy.preprocess(PICTURE, **model.preprocessing)
picture = plots.photo_of(x, **model.preprocessing)
pixels = x.transpose(0, 2, 3, 1)  # (1, 224, 224, 3): inside the package, channels come last
pixels.shape

# %% [markdown]
# ## v1: squares
#
# PVT v1 cuts the picture into squares of $4 \times 4$ pixels. A square has $4 \cdot 4 \cdot 3 = 48$ numbers; written as one row and multiplied by a learned matrix $W^E$ it becomes a [token](glossary.md#token) of $C$ numbers, which a [layer norm](glossary.md#layer-norm) brings to mean 0 and variance 1:
#
# $$t = \mathrm{LN}\big(\mathrm{flatten}(\text{patch})\, W^E + b\big), \qquad W^E \in \mathbb{R}^{48 \times C}.$$
#
# (PVT, section "Feature Pyramid for Transformer".) With loops, for matrices as PyTorch stores them, $(C, 3, 4, 4)$:


# %%
def patches_by_hand(x, weight, bias, stride, padding=0):
    """x (H, W, C) -> tokens before the norm, (H', W', C'): one patch after the other."""
    H, W, C = x.shape
    size = weight.shape[-1]
    around = np.zeros((H + 2 * padding, W + 2 * padding, C), x.dtype)
    around[padding : padding + H, padding : padding + W] = x
    rows, columns = (H + 2 * padding - size) // stride + 1, (W + 2 * padding - size) // stride + 1
    out = np.zeros((rows, columns, len(weight)), x.dtype)
    for i in range(rows):
        for j in range(columns):
            patch = around[i * stride : i * stride + size, j * stride : j * stride + size]
            for c in range(len(weight)):
                out[i, j, c] = (patch * weight[c].transpose(1, 2, 0)).sum() + bias[c]
    return out


rng = np.random.default_rng(0)
v1 = {
    "weight": rng.normal(0, 0.15, (64, 3, 4, 4)).astype(np.float32),
    "bias": np.zeros(64, np.float32),
}
small = pixels[:, :48, :60]
slow = patches_by_hand(small[0], **v1, stride=4)
print(small.shape, "->", slow.shape)

# %% [markdown]
# Squares that do not overlap need no copying: a reshape and a transpose put every square's 48 numbers side by side, and one matrix product does all of them.


# %%
def patches_reshaped(x, weight, bias):
    """The same for patches that do not overlap, vectorised."""
    H, W, C = x.shape
    size = weight.shape[-1]
    squares = x.reshape(H // size, size, W // size, size, C).transpose(0, 2, 1, 3, 4)
    rows = squares.reshape(H // size, W // size, size * size * C)
    return rows @ weight.transpose(2, 3, 1, 0).reshape(size * size * C, -1) + bias


fast = patches_reshaped(small[0], **v1)
convolved = conv2d(small, **v1, stride=4)[0]
print("by hand = reshaped:", np.allclose(slow, fast, atol=1e-4))
print("reshaped = a convolution with stride 4:", np.allclose(fast, convolved, atol=1e-4))

unit = {"weight": np.ones(64, np.float32), "bias": np.zeros(64, np.float32)}
v1_tokens, grid = patch_embed(pixels, v1, unit, stride=4, eps=1e-6)
print("package:", v1_tokens.shape, "on a grid of", grid)

# %% [markdown]
# The second line is the point: a [convolution](glossary.md#convolution) whose [stride](glossary.md#stride) is its [kernel](glossary.md#kernel)'s size *is* the [linear layer](glossary.md#linear-layer) on flattened [patches](glossary.md#patch). (The weights here are random: the shipped model is a v2.)
#
# ## v2: squares that overlap
#
# If something in the picture crosses the border between two patches, its halves end up in two tokens that know nothing of each other. PVT v2 makes patches larger than the step between them. Its section on [overlapping patch embedding](glossary.md#overlapping-patch-embedding) takes
#
# $$\text{kernel} = 2 \cdot \text{stride} - 1, \qquad \text{padding} = \text{stride} - 1 .$$
#
# So $7 \times 7$ with stride 4 at the entrance, $3 \times 3$ with stride 2 between the [stages](glossary.md#stage). Blue: one token's patch. Orange: its right neighbour's. White dots: the middles of all patches.

# %%
plots.patches(picture, {"v1": VARIANTS["pvt_tiny"], "v2": config}, pixel=PIXEL)

# %% [markdown]
# The loops above already take a stride and a [padding](glossary.md#padding), so they do this, too. Vectorised, a view shows every $7 \times 7$ window without copying a number; then again one matrix product:

# %%
v2 = model.params["stages"][0]["patch_embed"]["proj"]
slow = patches_by_hand(small[0], **v2, stride=4, padding=3)


def patches_in_windows(x, weight, bias, stride, padding):
    """x (B, H, W, C): every window as one long row, times the kernels as columns."""
    seen = windows(x, weight.shape[-1], stride, padding)  # (B, H', W', 7, 7, C), a view
    rows = seen.reshape(*seen.shape[:3], -1)  # now it is copied
    return rows @ weight.transpose(2, 3, 1, 0).reshape(rows.shape[-1], -1) + bias


fast = patches_in_windows(small, **v2, stride=4, padding=3)
packaged = conv2d(small, **v2, stride=4, padding=3)
print("by hand = in windows:", np.allclose(slow, fast[0], atol=1e-4))
print("in windows = package:", np.allclose(fast, packaged, atol=1e-4))

# %% tags=["varies"]
import timeit

ways = {
    "by hand": lambda: patches_by_hand(small[0], **v2, stride=4, padding=3),
    "in windows": lambda: patches_in_windows(small, **v2, stride=4, padding=3),
    "package": lambda: conv2d(small, **v2, stride=4, padding=3),
}
for name, function in ways.items():
    print(f"{name:10} {min(timeit.repeat(function, number=1, repeat=9)) * 1e3:8.2f} ms")

# %% [markdown]
# What does it cost? A token now reads $7 \cdot 7 \cdot 3 = 147$ numbers instead of 48, so three times the multiplications at the entrance; between the stages $9C$ instead of $4C$. In the whole network:

# %%
from pvt_numpy.analysis.cost import summarise

layers = summarise(config)["layers"]
total = sum(row["macs"] for row in layers)
embed = sum(row["macs"] for row in layers if "patch_embed" in row["name"])
print(f"patch embeddings: {embed / 1e6:.0f} of {total / 1e6:.0f} million multiply-adds")
print(f"that is {embed / total:.0%}")

# %% [markdown]
# ## What the kernels look for
#
# The 32 kernels of the shipped model, as pictures. It was trained on a small data set, so they are noisy; still, some respond to a colour, some to a bright or dark spot, some to an edge. The numbers are those of the [channels](glossary.md#channel) and count from 0.

# %%
plots.kernels(v2["weight"])

# %% [markdown]
# And here is what they respond to: the four kernels whose response varies most over this picture.

# %%
response = conv2d(pixels, **v2, stride=4, padding=3)[0]  # (56, 56, 32)
strongest = np.argsort(-response.std(axis=(0, 1)))[:4]
maps = {f"kernel {c}": response[..., c] for c in strongest}
plots.overlay(picture, maps, label="response", signed=True)

# %% [markdown]
# ## Moving the picture
#
# Move the picture by exactly one stride, and the tokens move by one place: the same weights are used everywhere. At the border this cannot hold, because other pixels come in. Move the picture by less, and *every* token changes. How much depends on whether a patch still sees mostly the same pixels:

# %% [markdown] tags=["predict"]
# **Predict first.** Moved by a whole stride, the tokens are the same in another place. And moved by one, two or three pixels: do they change by a tenth of their length, by a half, or by more? Does the change grow with the way?


# %%
def moved_tokens(by):
    """The tokens (56, 56, 32) of the picture moved `by` pixels to the right."""
    there = np.roll(pixels, by, axis=2)
    entrance = model.params["stages"][0]["patch_embed"]
    tokens, _ = overlapping_patch_embed(there, **entrance, stride=4, eps=config.embed_eps)
    return tokens.reshape(56, 56, -1)


still, by_stride = moved_tokens(0), moved_tokens(4)
inside = slice(4, -4)
same = np.allclose(by_stride[inside, 5:-3], still[inside, 4:-4], atol=1e-4)
print("moved by 4 pixels, the tokens are the same, one place to the right:", same)

length = np.linalg.norm(still[inside, inside], axis=-1).mean()
for by in (1, 2, 3):
    change = (moved_tokens(by) - still)[inside, inside]
    share = np.linalg.norm(change, axis=-1).mean() / length
    print(f"moved by {by}: the tokens change by {share:.2f} of their length")

# %% [markdown]
# ## The edge
#
# v1 does not pad. Rows and columns that do not fill a patch are *dropped*, and this happens at every stage. v2 pads by half a patch, so every pixel is in some patch and a [grid](glossary.md#grid) has $\lceil \text{rows} / \text{stride} \rceil$ rows.

# %% [markdown] tags=["predict"]
# **Predict first.** A picture of 255 × 255 pixels. How many rows of it does v1's last stage know nothing of: none, some three, or some thirty?

# %%
for size in ((224, 224), (230, 230), (225, 301), (255, 255)):
    for name in ("pvt_tiny", "pvt_v2_b0"):
        grids = stage_grids(VARIANTS[name], size)
        steps = "  ".join(f"{H}x{W}" for H, W in grids)
        covered = [32 * n for n in grids[-1]]
        print(f"{size}  {name:10} {steps:30} makes {covered[0]} x {covered[1]} pixels")

# %% [markdown]
# Look at 255 × 255: v1's last stage knows nothing of the last 31 rows and columns. v2 rounds up instead and fills the missing pixels with zeros. Those zeros have a surprising consequence, the subject of notebook 5.
#
# ## Between the stages
#
# The same function leads from each stage to the next: 56 × 56 tokens of 32 channels become 28 × 28 tokens of 64.

# %%
trace = {}
pvt_numpy.forward(x, model.params, config, trace=trace)
below = trace["stages.0"].transpose(0, 2, 3, 1)  # the map of stage 1, channels last
step = model.params["stages"][1]["patch_embed"]
tokens_1, grid_1 = overlapping_patch_embed(below, **step, stride=2, eps=config.embed_eps)
print(below.shape, "->", tokens_1.shape, "on", grid_1)

# %% [markdown]
# ## Exercises

# %% [markdown]
# **1.** In the figure with the frames, a token of v2's stage 4 sees $63 \times 63$ pixels through the [patch embeddings](glossary.md#patch-embedding) alone. How many pixels wide is what a token of stage 3 sees?
#
# <details><summary>Hint</summary>
#
# Go back one stage at a time. $n$ neighbouring tokens see $(n - 1) \cdot \text{stride} + \text{kernel}$ tokens, or pixels, below.
#
# </details>

# %% tags=["exercise"]
pixels_wide = ...

practice.check(pixels_wide, "2.1")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# pixels_wide = 1
# for kernel, stride in ((3, 2), (3, 2), (7, 4)):  # from stage 3 down to the picture
#     pixels_wide = (pixels_wide - 1) * stride + kernel
# ```
#
# $1 \to 3 \to 7$ tokens of stage 1, and $(7 - 1) \cdot 4 + 7 = 31$ pixels. One stage more gives 15 tokens of stage 1 and the 63 pixels of stage 4.
#
# </details>

# %% [markdown]
# **2.** The paper's rule says that the kernel is twice the stride less one. What would a kernel as large as the stride with padding 0 give? And one larger by one?
#
# <details><summary>Solution</summary>
#
# As large as the stride is v1. Larger by one, and neighbours share one row of pixels. With $2 \cdot \text{stride} - 1$ they share $\text{stride} - 1$ in each direction, and only the middle row (column) of a patch belongs to it alone: the largest kernel that leaves every patch something of its own. With $2 \cdot \text{stride}$ every pixel would be in two patches in each direction.
#
# </details>

# %% [markdown]
# **3.** The model's pixels are normalised per colour before they come here: $(x - \text{mean})/\text{std}$. Could the patch embedding do this itself? Put it into its weight and its [bias](glossary.md#bias).
#
# <details><summary>Hint</summary>
#
# Write the sum of the convolution for a normalised pixel and sort: what multiplies $x$ is the new weight, and what does not is added to the bias.
#
# </details>


# %% tags=["exercise"]
def absorb(weight, bias, mean, std):
    """weight (C', C, k, k), bias (C',), mean and std (C,) -> the weight and bias for plain pixels."""
    raise NotImplementedError


practice.check(absorb, "2.3")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def absorb(weight, bias, mean, std):
#     scaled = weight / std[:, None, None]
#     return scaled, bias - np.einsum("ockl,c->o", scaled, mean)
#
# mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
# plain = pixels * std + mean  # the pixels from 0 to 1
# one = conv2d(plain, *absorb(**v2, mean=mean, std=std), stride=4)
# print("inside the picture it can:", np.allclose(one, conv2d(pixels, **v2, stride=4), atol=1e-3))
# other = conv2d(plain, *absorb(**v2, mean=mean, std=std), stride=4, padding=3)
# apart = np.abs(other - conv2d(pixels, **v2, stride=4, padding=3))[0].max(axis=-1) > 1e-3
# print(f"with padding {apart.sum()} tokens differ, and inside", apart[1:, 1:].sum())
# ```
#
# Inside the picture it can. At the border it cannot: padding puts zeros where pixels are missing, and zero means "mean colour" only after normalising.
#
# </details>

# %% [markdown]
# **4.** Write v1's patch embedding: the picture in squares, a linear layer, a norm. `conv2d` and `layer_norm` are there.
#
# <details><summary>Hint</summary>
#
# The convolution's stride is the side of the kernel. It gives a map $(B, H, W, C')$; tokens are the same numbers as $(B, HW, C')$. The grid comes back beside them.
#
# </details>


# %% tags=["exercise"]
def my_patch_embed(x, proj, norm, *, stride, eps):
    """x (B, H, W, C), proj and norm with weight and bias -> tokens (B, N, C') and their grid."""
    raise NotImplementedError


practice.check(my_patch_embed, "patch_embed")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_patch_embed(x, proj, norm, *, stride, eps):
#     y = conv2d(x, **proj, stride=stride)
#     B, H, W, C = y.shape
#     return layer_norm(y.reshape(B, H * W, C), **norm, eps=eps), (H, W)
# ```
#
# </details>

# %% [markdown]
# **5.** And v2's, whose patches overlap.
#
# <details><summary>Hint</summary>
#
# Only the padding is new, and it depends on the kernel's side, `proj["weight"].shape[-1]`: half of it, rounded down.
#
# </details>


# %% tags=["exercise"]
def my_overlapping_embed(x, proj, norm, *, stride, eps):
    """As above; the patches are larger than the stride, and the map is padded with zeros."""
    raise NotImplementedError


practice.check(my_overlapping_embed, "overlapping_patch_embed")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_overlapping_embed(x, proj, norm, *, stride, eps):
#     y = conv2d(x, **proj, stride=stride, padding=proj["weight"].shape[-1] // 2)
#     B, H, W, C = y.shape
#     return layer_norm(y.reshape(B, H * W, C), **norm, eps=eps), (H, W)
# ```
#
# $7 // 2 = 3$ and $3 // 2 = 1$: with a kernel of $2 \cdot \text{stride} - 1$, half of it rounded down is the $\text{stride} - 1$ of the paper.
#
# </details>

# %% [markdown]
# ## The check

# %%
# the loops, on a strip of the picture ...
full = patches_by_hand(pixels[0, :32], **v2, stride=4, padding=3)
# ... against the tokens of the model's own run
by_model = trace["stages.0.patch_embed"].reshape(56, 56, -1)
norm = model.params["stages"][0]["patch_embed"]["norm"]
assert np.abs(layer_norm(full, **norm, eps=config.embed_eps)[:7] - by_model[:7]).max() < 1e-3
assert np.abs(tokens_1 - trace["stages.1.patch_embed"]).max() < 1e-4
assert np.abs(patches_reshaped(small[0], **v1) - convolved).max() < 1e-4
assert np.abs(by_stride[inside, 5:-3] - still[inside, 4:-4]).max() < 1e-3  # one stride, one place
assert plots.seen_pixels(config, 3, (0, 0))[2] - plots.seen_pixels(config, 3, (0, 0))[0] == 63
print("all checks passed")
