# %% [markdown]
# # 7 · Learning by hand
#
# So far all weights came with the model. Here we make our own: we derive gradients with pen and paper, check them against the definition of a derivative, and train a small PVT with nothing but NumPy.
#
# **What you will do.** Derive the backward pass of layer norm and of attention and compare each with numerical differentiation, in figures; follow a gradient through a whole PVT; let a model learn eight pictures by heart;
# train a small PVT v1 on drawn shapes to over 90 % in about a minute; watch its class token learn where to look; teach a model that already sees three new classes; and compare all gradients with numbers that PyTorch wrote down.
#
# **What you will learn.** What a backward pass is and how to find one; how to test a gradient so that the test can fail; why residual connections matter; what it costs to compute some arrays twice; what to do with few pictures.
#
# **What you need.** NumPy, notebook 3 (attention), and the chain rule. About 45 minutes, two of them computing. Stages, blocks and heads are counted from 1, as the paper counts its stages. Code counts from 0: `stages.0` is stage 1.

# %%
import sys

sys.path.insert(0, "..")  # the package, one folder up

import csv
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

import pvt_numpy
from pvt_numpy import PvtConfig, plots, practice
from pvt_numpy.config import config_from_dict
from pvt_numpy.gradients import loss_and_gradients
from pvt_numpy.layers.attention import attention, attention_backward
from pvt_numpy.layers.layernorm import layer_norm, layer_norm_backward
from pvt_numpy.layers.softmax import softmax_backward
from pvt_numpy.parameters import flatten, unflatten
from pvt_numpy.plots.figures import drawing, new_figure
from pvt_numpy.plots.style import BLUE, GREY, ORANGE, RED, STAGE_COLOURS, WIDEST
from pvt_numpy.reference.golden import digest, seeded_params, seeded_pixels
from pvt_numpy.system.paths import PACKAGE, SAMPLE_PICTURE, SHIPPED_MODELS
from pvt_numpy.training import data, loop
from pvt_numpy.training.shapes import SHAPES, draw_shapes
from pvt_numpy.training.state import Settings, fresh

rng = np.random.default_rng(0)

# %% [markdown]
# ## What a backward pass is
#
# A network ends in one number, the [loss](glossary.md#loss) $L$. For every array $a$ on the way we want $\mathrm{d}a := \partial L/\partial a$, an array of the same shape: how much $L$ rises if an entry of $a$ rises a little.
#
# The chain rule lets us go layer by layer, from the end. A layer $y = f(x, w)$ is given $\mathrm{d}y$ and returns
#
# $$\mathrm{d}x_j = \sum_i \mathrm{d}y_i\,\frac{\partial y_i}{\partial x_j} \qquad\text{and}\qquad \mathrm{d}w_k = \sum_i \mathrm{d}y_i\,\frac{\partial y_i}{\partial w_k}.$$
#
# That is all a backward function does. In this package it stands below its forward in the same file, takes `dy` and the forward's own arguments, computes again what it needs from them, and returns `dx` and a dict of the parameters' [gradients](glossary.md#gradient).
#
# And the definition of the derivative gives us a test that knows nothing of the chain rule. Move one number by $\pm h$ and see what happens:
#
# $$\frac{\partial L}{\partial a_k} = \frac{L(a_k + h) - L(a_k - h)}{2h} + O(h^2)$$
#
# It needs two forward passes *for each number*, so nobody trains like this, but it follows from the definition alone. Here it is, with $L = \sum y \cdot \mathrm{d}y$ for a random $\mathrm{d}y$, so that any layer can be asked.


# %%
def numerical_gradient(f, a, dy, h=1e-5):
    """The gradient of sum(f(a) * dy) for every entry of a, by central differences."""
    gradient = np.zeros_like(a)
    for index in np.ndindex(a.shape):
        up, down = a.copy(), a.copy()
        up[index] += h
        down[index] -= h
        gradient[index] = ((f(up) - f(down)) * dy).sum() / (2 * h)
    return gradient


def largest_difference(found, expected):
    """Relative to the largest expected number."""
    return np.abs(found - expected).max() / np.abs(expected).max()


@drawing
def compare(pairs, title):
    """Analytic against numerical, one panel for each array; a right gradient lies on the diagonal."""
    figure = new_figure(WIDEST, 3.4, title)
    panels = figure.subplots(1, len(pairs))
    for axes, (name, (analytic, numeric)) in zip(panels, pairs.items(), strict=True):
        off = largest_difference(analytic, numeric)
        reach = 1.1 * max(np.abs(numeric).max(), np.abs(analytic).max())
        axes.plot([-reach, reach], [-reach, reach], color=GREY, linewidth=0.8)
        colour = BLUE if off < 1e-5 else RED
        axes.plot(numeric.ravel(), analytic.ravel(), "o", color=colour, markersize=4, alpha=0.7)
        axes.set(title=f"{name}\noff by {off:.0e}", xlabel="numerical", aspect="equal")
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
        axes.locator_params(nbins=4)
    panels[0].set_ylabel("by the formula")
    return figure


# %% [markdown]
# ## Layer norm
#
# For one [token](glossary.md#token) $x \in \mathbb{R}^C$: with mean $\mu$ and $s = \sqrt{\tfrac1C \sum_j (x_j - \mu)^2 + \epsilon}$,
#
# $$\hat x_j = \frac{x_j - \mu}{s}, \qquad y_j = w_j\,\hat x_j + b_j.$$
#
# The parameters are easy: $\mathrm{d}w_j = \sum \mathrm{d}y_j \hat x_j$ and $\mathrm{d}b_j = \sum \mathrm{d}y_j$, summed over the tokens, since all tokens share them. What arrives at $\hat x$ is $g_j = w_j\,\mathrm{d}y_j$.
#
# $x_j$ now reaches the output in three ways: directly, through $\mu$, and through $s$. Two small derivatives:
#
# $$\frac{\partial \mu}{\partial x_j} = \frac1C, \qquad \frac{\partial s}{\partial x_j} = \frac{1}{2s}\cdot\frac{2}{C}\,(x_j - \mu) = \frac{\hat x_j}{C}$$
#
# (the part of $s$ that comes through $\mu$ is $-\frac{1}{sC}\sum_k (x_k - \mu) = 0$). So $\dfrac{\partial \hat x_k}{\partial x_j} = \dfrac1s\Big(\delta_{kj} - \dfrac1C - \dfrac{\hat x_k \hat x_j}{C}\Big)$, and summing over $k$ with $g_k$:
#
# $$\boxed{\;\mathrm{d}x_j = \frac1s\Big(g_j - \overline{g} - \hat x_j\,\overline{g\,\hat x}\Big)\;}$$
#
# with bars for means over the [channels](glossary.md#channel). The two bars have a meaning: [layer norm](glossary.md#layer-norm) undoes a shift and (but for $\epsilon$) a scaling of its input, so a change along these two directions changes no output, and the formula takes them out of the gradient.

# %%
x, w, b = rng.normal(size=(4, 6)) + 3, rng.normal(size=6), rng.normal(size=6)
dy = rng.normal(size=x.shape)

dx, grads = layer_norm_backward(dy, x, w, b, eps=1e-6)
by_x = numerical_gradient(lambda a: layer_norm(a, w, b, eps=1e-6), x, dy)
by_w = numerical_gradient(lambda a: layer_norm(x, a, b, eps=1e-6), w, dy)
by_b = numerical_gradient(lambda a: layer_norm(x, w, a, eps=1e-6), b, dy)
pairs = {"dx": (dx, by_x), "dweight": (grads["weight"], by_w), "dbias": (grads["bias"], by_b)}

layer_norm_error = largest_difference(dx, by_x)
s = np.sqrt(x.var(axis=-1, keepdims=True) + 1e-6)
without_mean = dx + (dy * w).mean(axis=-1, keepdims=True) / s
compare(pairs | {"dx, mean term forgotten": (without_mean, by_x)}, "layer norm")

# %% [markdown]
# The last panel shows a classic mistake: $\overline g$ was forgotten. The points still rise from left to right, and a model would even learn with it, only worse. Therefore gradients are *measured*, not looked at.
#
# **A test that cannot fail.** Many gradient tests use $\mathrm{d}y = 1$ everywhere, because `y.sum()` is so easy to write. See what that gives if the weights are ones:

# %%
ones = np.ones_like(x)
dx_of_ones, _ = layer_norm_backward(ones, x, np.ones(6), np.zeros(6), eps=1e-6)
print(f"layer norm: the largest entry of dx is {np.abs(dx_of_ones).max():.0e}")
print(f"softmax:    the largest entry of dx is {np.abs(softmax_backward(ones, x)).max():.0e}")

# %% [markdown]
# Zero, but for rounding: the outputs of a layer norm (with $w = 1$) and of a [softmax](glossary.md#softmax) have a constant sum. A test with ones accepts any formula that returns zeros. Upstream gradients have to be random.
#
# **How far can $h$ go down?** Too large, and the curve bends; too small, and $L(a+h) - L(a-h)$ subtracts two nearly equal numbers with 16 digits each. The error has a valley:


# %%
def error_of(h):
    found = numerical_gradient(lambda a: layer_norm(a, w, b, eps=1e-6), x, dy, h)
    return largest_difference(found, dx)


steps = 10.0 ** np.arange(-12, 0)
errors = [error_of(h) for h in steps]
bends = errors[8] * (steps[6:] / steps[8]) ** 2
digits = errors[2] * steps[2] / steps[:7]


@drawing
def valley():
    """The error of numerical differentiation over h."""
    figure = new_figure(6, 3)
    axes = figure.subplots()
    axes.loglog(steps, errors, "o-", color=BLUE)
    axes.loglog(steps[6:], bends, "--", color=ORANGE, label="grows with h²: the curve bends")
    axes.loglog(steps[:7], digits, "--", color=GREY, label="grows with 1 / h: digits are lost")
    axes.set(xlabel="h", ylabel="relative error")
    axes.set_title("central differences are best in the middle")
    axes.legend()
    return figure


valley()

# %% [markdown]
# ## Attention
#
# One [head](glossary.md#head): [scores](glossary.md#score) $S = q k^\top / \sqrt d$, probabilities $P = \mathrm{softmax}(S)$ row by row, output $o = P\,v$. We walk back.
#
# **1. The product $o = P\,v$.** If $g$ is the gradient that arrives at a product $XY$ of two matrices, then $\mathrm{d}X = g\,Y^\top$ and $\mathrm{d}Y = X^\top g$. (Entry by entry: $(XY)_{nc} = \sum_m X_{nm} Y_{mc}$, so $\mathrm{d}X_{nm} = \sum_c g_{nc} Y_{mc}$. There is only one way to transpose that fits the shapes, which makes it easy to remember.)
#
# $$\mathrm{d}v = P^\top \mathrm{d}o, \qquad \mathrm{d}P = \mathrm{d}o\,v^\top$$
#
# **2. The softmax.** The probability of [key](glossary.md#key) $m$ depends on the scores of all keys $j$ of its row: $\partial P_m/\partial S_j = P_m(\delta_{mj} - P_j)$. So
#
# $$\mathrm{d}S_m = P_m\Big(\mathrm{d}P_m - \sum_j P_j\,\mathrm{d}P_j\Big)$$
#
# A score should rise if reading its key lowers the loss more than what the row reads on average. And if $P$ is nearly one-hot, every $\mathrm{d}S_m$ is nearly zero: for the key that is read, the bracket is, and for all other keys $P_m$ is. So a head that is sure of itself hardly learns. The division by $\sqrt d$ protects a fresh model from this: it keeps the scores small.
#
# **3. The product $S = q k^\top/\sqrt d$.**
#
# $$\mathrm{d}q = \mathrm{d}S\,k/\sqrt d, \qquad \mathrm{d}k = \mathrm{d}S^\top q/\sqrt d$$
#
# **4. The [linear layers](glossary.md#linear-layer) and [SRA](glossary.md#spatial-reduction-attention).** $q$ comes from $x$; $k$ and $v$ come from the same $x$, reduced by a [convolution](glossary.md#convolution) and a norm. *$x$ is used twice, so it gets two gradients, and they are added.* This sentence is the multivariate chain rule, and it is easily forgotten.
#
# The package's `attention_backward` does these four steps in this order. Here it is against the definition, for two heads on a 4 × 6 [grid](glossary.md#grid) with $R = 2$: every number of every parameter.

# %%
C, grid = 4, (4, 6)


def random_layer(*shape):
    return {"weight": rng.normal(size=shape), "bias": rng.normal(size=shape[0])}


arguments = {
    "x": rng.normal(size=(1, 24, C)),
    "q": random_layer(C, C),
    "kv": random_layer(2 * C, C),
    "proj": random_layer(C, C),
    "sr": random_layer(C, C, 2, 2),
    "norm": random_layer(C),
}
settings = {"grid": grid, "heads": 2, "ratio": 2, "eps": 1e-6}
dy = rng.normal(size=(1, 24, C))

dx, grads = attention_backward(dy, **arguments, **settings)
analytic = flatten({"x": dx, **grads})
flat = flatten(arguments)
numeric = {
    name: numerical_gradient(
        lambda a, name=name: attention(**unflatten(flat | {name: a}), **settings)[0], array, dy
    )
    for name, array in flat.items()
}
for name in flat:
    error = np.abs(analytic[name] - numeric[name]).max()
    print(f"{name:<12} {flat[name].shape!s:<14} off by {error:.0e}")

chosen = ("x", "q.weight", "kv.weight", "proj.weight", "sr.weight")
compare({name: (analytic[name], numeric[name]) for name in chosen}, "spatial-reduction attention")

# %% [markdown]
# ## A block, and a whole model
#
# A [block](glossary.md#block) is $x + \mathrm{branch}(\mathrm{norm}(x))$, twice. On the way back, the sum passes $\mathrm{d}y$ to both of its terms: *unchanged* past the branch, and through the branch. In [`gradients.py`](../pvt_numpy/gradients.py), `block_backward` therefore adds `dy` to what comes back through each branch. So inside a [stage](glossary.md#stage), however many blocks it has, there is a path on which the gradient is not multiplied by anything. Between the stages there is none: a [patch embedding](glossary.md#patch-embedding) (and in v2 the norm that ends a stage) stands on every path and multiplies what comes back. A PVT has three such crossings, and up to 52 blocks.
#
# Everything else is bookkeeping: `block_backward` in `gradients.py` belongs to `block` in `model.py`, `stage_backward` belongs to `stage`, and each calls the backward functions of its parts in the opposite order. Here is the gradient of the loss for a tiny PVT v1 with eight blocks, and how large it is in each block:

# %%
tiny = PvtConfig(
    image_size=32,
    depths=(2, 2, 2, 2),
    hidden_sizes=(8, 16, 24, 32),
    num_attention_heads=(1, 2, 3, 4),
    mlp_ratios=(4, 4, 4, 4),
    sequence_reduction_ratios=(4, 2, 1, 1),
    patch_sizes=(2, 2, 2, 2),
    strides=(2, 2, 2, 2),
    num_labels=6,
)
params, pixels = seeded_params(tiny, 1), seeded_pixels((4, 3, 32, 32), 2)
labels = np.array([0, 1, 2, 3])
loss, logits, grads = loss_and_gradients(pixels, params, tiny, labels)
print(f"loss {float(loss):.4f}")
print(len(flatten(grads)), "gradients, nested as the", len(flatten(params)), "parameters")
print("root mean square of the gradients of fc1.weight")
for i, stage in enumerate(grads["stages"]):
    fc1 = [block["mlp"]["fc1"]["weight"] for block in stage["blocks"]]
    sizes = np.sqrt([np.square(gradient).mean() for gradient in fc1])
    print(f"stage {i + 1}: block 1 {sizes[0]:.1e}, block 2 {sizes[1]:.1e}")

# %% [markdown]
# The gradients of the first blocks are at least as large as those of the last blocks: in this model nothing vanished on the way.
#
# One direction is enough to test a big array. Along a random $u$: $\big(L(a + hu) - L(a - hu)\big)/2h = \sum \mathrm{d}a \cdot u$, two forward passes per array instead of two per number.

# %%
flat, worst = flatten(params), 0.0
for name, gradient in flatten(grads).items():
    u = rng.normal(size=gradient.shape)
    moved = [unflatten(flat | {name: flat[name] + h * u}) for h in (1e-5, -1e-5)]
    up, down = (float(pvt_numpy.forward(pixels, p, tiny, labels=labels).loss) for p in moved)
    worst = max(worst, abs((up - down) / 2e-5 - (gradient * u).sum()) / np.abs(gradient * u).sum())
model_agrees = worst < 1e-6
print(f"all {len(flat)} arrays agree with their numerical slopes to 1e-6: {model_agrees}")

# %% [markdown]
# ### What computing again costs
#
# The package keeps only the tokens after each half of a block, and computes [queries](glossary.md#query), keys, probabilities and hidden [MLP](glossary.md#mlp) channels a second time on the way back. PyTorch keeps them all. The price is about one more forward pass. In return inference needs no caches, and every backward function can be read and tested alone.

# %% tags=["varies"]
nano = PvtConfig(
    image_size=32,
    depths=(1, 1, 1, 1),
    hidden_sizes=(32, 64, 96, 96),
    num_attention_heads=(1, 2, 4, 4),
    mlp_ratios=(4, 4, 4, 4),
    sequence_reduction_ratios=(2, 1, 1, 1),
    patch_sizes=(4, 2, 1, 1),
    strides=(4, 2, 1, 1),
    num_labels=6,
    initializer_range=0.1,
)
task = data.shapes_task(32, seed=0, size=2048, validation=600)
pixels, labels = task.batch(np.arange(64), np.random.default_rng(0))
training = fresh(
    Settings(
        "shapes",
        epochs=14,
        rate=3e-3,
        warmup=0.1,
        smoothing=0.0,
        averaging=0.98,
        microbatch=32,
        drawn=2048,
    ),
    nano,
)
nested = unflatten(training.arrays["params"])


def best_milliseconds(call):
    call()
    times = []
    for _ in range(5):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return 1000 * min(times)


ahead = best_milliseconds(lambda: pvt_numpy.forward(pixels, nested, nano))
both = best_milliseconds(lambda: loss_and_gradients(pixels, nested, nano, labels))
print(f"64 pictures, {sum(p.size for p in flatten(nested).values()):,} parameters")
print(f"forward {ahead:.0f} ms")
print(f"forward and backward {both:.0f} ms, {both / ahead:.1f} times as much")

# %% [markdown]
# ## Eight pictures by heart
#
# The first thing to do with any new training code: let the model learn a handful of pictures by heart. If the loss does not go to zero, something is broken, and no tuning will repair it.
# The pictures come from the drawing task that is part of the package: bright shapes on a dark ground, six kinds.

# %%
eight = draw_shapes(np.arange(8) % 6, 32, np.random.default_rng(4))


@drawing
def gallery(pictures, titles):
    """Small pictures in a row."""
    figure = new_figure(11, 1.8)
    for axes, shown, title in zip(figure.subplots(1, len(pictures)), pictures, titles, strict=True):
        axes.imshow(shown)
        axes.set_title(title, fontsize=10)
        axes.axis("off")
    return figure


gallery(eight, [SHAPES[k % 6] for k in range(8)])

# %%
by_heart = fresh(Settings("shapes", smoothing=0.0, microbatch=8, clip=1.0), nano)
eight_pixels = data.to_pixel_values(eight.astype(np.float32) / 255, task.recipe)
batch = loop.Batch(eight_pixels, np.arange(8) % 6)
losses = [loop.step(by_heart, batch, 2e-3)[0] for _ in range(60)]
learnt = losses[-1] < 0.05
print(f"the first loss is near log 6 = {np.log(6):.2f}:", abs(losses[0] - np.log(6)) < 1)
print("after 60 steps it is below 0.05:", learnt)

# %% [markdown] tags=["predict"]
# **Predict first.** It now names all eight. How many of 600 shapes that it has not seen will it name: nearly all, half of them, or hardly more than one in six? Write it down, then run the next cell.

# %% tags=["varies"]
_, on_new = loop.measure(by_heart.arrays["params"], nano, *task.validation)
print(f"guessing {1 / 6:.0%}, this model {on_new:.0%}")

# %% [markdown]
# The same model, measured in the same way on pictures that it learnt from and on others: this gap is what *by heart* means.

# %% [markdown]
# ## A PVT learns shapes
#
# Now for pictures it has not seen. Every batch is drawn anew, so there is nothing to learn by heart, and a shape's colour, size, place and rotation say nothing about its class.
#
# How much of this is the [recipe](glossary.md#recipe) with which PVT was trained? Beside the authors' code (the folder `classification` of their repository):
#
# | | the authors | here |
# |---|---|---|
# | steps by | AdamW | the same |
# | weight decay | on matrices and [kernels](glossary.md#kernel), not on [biases](glossary.md#bias) and norms | the same |
# | decay of v1's [position tables](glossary.md#position-table) | yes; only the [class token](glossary.md#class-token) is left out | no |
# | learning rate | up in a straight line for 5 of 300 epochs, then a cosine | up for a tenth, then a cosine |
# | gradients clipped | at length 1 for Medium, Large and v2's b3, b4 and b5; else not at all | at length 1 |
# | what is measured | the weights | a running average of the weights |
# | [drop path](glossary.md#drop-path) | 0.1, or 0.3 where gradients are clipped | none |
# | label smoothing 0.1, mixup 0.8, CutMix 1.0 | yes | none |
# | RandAugment, random erasing, repeated augmentation (one picture three times, each time distorted otherwise) | yes | none |
#
# The last rows keep a model from learning 1.28 million photographs by heart in 300 rounds. Here no picture comes twice. For your own photographs `python -m pvt_numpy.train` has all of them but RandAugment and the repetition.
#
# While it learns we keep, at some moments, what its class token reads for one picture.

# %% tags=["varies"]
watched, watch_label = draw_shapes([3], 32, np.random.default_rng(10)), "star"
watched_pixels = data.to_pixel_values(watched.astype(np.float32) / 255, task.recipe)
moments = {}


def look(state):
    trace = {}
    pvt_numpy.forward(watched_pixels, unflatten(state.arrays["average"]), nano, trace=trace)
    # (heads, 1 + 16): what the class token reads
    moments[state.step] = trace["stages.3.blocks.0.attn.probs"][0, :, 0]


def after_epoch(state):
    look(state)
    row = state.history[-1]
    if row["epoch"] % 4 == 2:
        print(f"epoch {row['epoch']:2}  loss {row['train_loss']:.3f}", end="  ")
        print(f"validation {row['val_accuracy']:.1%}")


look(training)
started = time.perf_counter()
loop.train(training, task, after_epoch=after_epoch)
reached = training.history[-1]["val_accuracy"]
print(f"{training.step} steps in {time.perf_counter() - started:.0f} s")
print(f"{reached:.1%} of {len(task.validation[1])} new pictures are right")

# %% [markdown]
# On two cores that do nothing else this takes about 70 seconds. On the right is the log of a long run, which comes [below](#Ten-kinds-of-photographs): another task, the same loop.


# %% tags=["varies"]
LONG_RUN = SHIPPED_MODELS["pvt_v1_nano_imagenette"].with_suffix(".csv")
with open(LONG_RUN, encoding="utf-8") as file:
    log = [{name: float(n) for name, n in row.items() if n} for row in csv.DictReader(file)]


@drawing
def side_by_side(runs):
    """The validation accuracy of several trainings over their epochs."""
    figure = new_figure(9, 3.2)
    panels = figure.subplots(1, len(runs), sharey=True)
    for axes, (name, (history, guessing)) in zip(panels, runs.items(), strict=True):
        rows = [row for row in history if "val_accuracy" in row]
        epochs, right = ([row[k] for row in rows] for k in ("epoch", "val_accuracy"))
        axes.plot(epochs, right, ".-", color=ORANGE)
        axes.axhline(guessing, color=GREY, linestyle="--", label="guessing")
        minutes = history[-1]["seconds"] / 60
        axes.set(title=f"{name}: {right[-1]:.0%} after {minutes:.1f} minutes", ylim=(0, 1))
        axes.set(xlabel="epoch")
        axes.legend()
    panels[0].set_ylabel("share right, new pictures")
    return figure


side_by_side({"shapes, just now": (training.history, 1 / 6), "photographs": (log, 1 / 10)})

# %% [markdown]
# ## Watching attention become sharp
#
# Fresh weights give small scores, and the softmax of small scores is nearly flat: the class token reads itself and the 16 other tokens equally, with an [entropy](glossary.md#entropy) of $\log_2 17 \approx 4.1$ bits. Training makes it choose.
# Not every head does: some go on reading everything. Such a head takes the mean of all [values](glossary.md#value), which is useful too.
# The figure shows the head that is sharpest at the end: what it read in one picture of a star, at five moments of the training.


# %% tags=["varies"]
def bits(p):
    return float(-(p * np.log2(p + 1e-12)).sum(axis=-1).mean())


last = moments[training.step]
head = int(np.argmin([bits(row) for row in last]))
steps_shown = [step for step in moments if step % 32 == 0]
steps_shown = [steps_shown[k] for k in np.linspace(0, len(steps_shown) - 1, 5).astype(int)]
maps = {
    f"step {step}, {bits(moments[step][head]):.1f} bits": moments[step][head, 1:].reshape(4, 4)
    for step in steps_shown
}
plots.overlay(watched[0] / 255, maps, label=f"what head {head + 1} reads")


# %% tags=["varies"]
@drawing
def entropies():
    """Every head's entropy over the training."""
    figure = new_figure(7.5, 3)
    axes = figure.subplots()
    for h, colour in enumerate(STAGE_COLOURS):
        entropy = [bits(rows[h]) for rows in moments.values()]
        axes.plot(list(moments), entropy, color=colour, label=f"head {h + 1}")
    axes.axhline(np.log2(17), color=GREY, linestyle="--", label="reads all 17 alike")
    axes.set(title=f"the class token's entropy, for one {watch_label}", ylim=(0, None))
    axes.set(xlabel="step", ylabel="bits")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


entropies()

# %% [markdown]
# ## Ten kinds of photographs
#
# The same loop, with a folder of photographs instead of drawings, made `weights/pvt_v1_nano_imagenette.safetensors`: a PVT v1 with 1.6 million parameters for pictures of 64 × 64,
# trained on 9,469 photographs of ten classes with two CPU cores and NumPy alone. Its log is kept beside it:

# %%
print(f"{log[-1]['epoch']:.0f} epochs, {log[-1]['seconds'] / 60:.0f} minutes")
print("of 1,966 photographs that it has never seen")
measured = [row for row in log if "val_loss" in row]
for row in (min(measured, key=lambda row: row["val_loss"]), log[-1]):
    right = f"{row['val_accuracy']:.1%} right, loss {row['val_loss']:.3f}"
    print(f"  after epoch {row['epoch']:.0f}: {right}")
plots.curves(log)

# %% [markdown] tags=["predict"]
# **Predict first.** From epoch 100 on, as many new photographs are right as before, and yet their loss rises. How can both be?

# %% [markdown]
# Right or wrong depends on which [logit](glossary.md#logit) is the largest; the loss also asks by how much. The model goes on learning its own photographs and becomes surer of everything, of its mistakes too, and a mistake that one is sure of costs most.
# A lower loss of new photographs at epoch 100 is no reason to stop there: we would have chosen the model by the photographs that we measure with. `evaluate --calibrate` takes the sureness back without changing an answer.
#
# Has it learned its photographs by heart? Where the two lines part does not say, for they compare unlike numbers. The one for training is about *distorted* photographs (cut out at random, mirrored, in other colours), about the weights as they were at each step, and with noise switched on. The other is about whole photographs and averaged weights.
# Whoever wants to know measures one model in one way on both, as we did with the eight pictures:
#
#     python -m pvt_numpy.evaluate photos/train --model pvt_v1_nano_imagenette
#     python -m pvt_numpy.evaluate photos/val --model pvt_v1_nano_imagenette
#
# With Imagenette's photographs the first gives 98.6 %, and the second 74.8 %. So it has learned a good deal by heart, and what it learned serves new photographs all the same.
#
# What its class token reads in a picture it has never seen:

# %%
trained = pvt_numpy.load_model("pvt_v1_nano_imagenette")
ball = pvt_numpy.preprocess(SAMPLE_PICTURE, **trained.preprocessing)
ball_trace = {}
out = pvt_numpy.forward(ball, trained.params, trained.config, trace=ball_trace)
scores = out.logits[0]
print("logits:", {trained.labels[k]: round(float(scores[k]), 1) for k in np.argsort(-scores)[:3]})
plots.class_attention(plots.photo_of(ball, **trained.preprocessing), ball_trace, trained.config)

# %% [markdown]
# And here is the position table of stage 3. Nobody told the model that these 16 rows of numbers belong to a grid of 4 × 4 tokens. Each tile shows how similar one position's row is to all others. Neighbours have become similar, columns and rows can be made out, and resizing keeps that. Most similar are mirror images, left and right, because pictures were flipped in training (notebook 5 shows it).

# %%
table = trained.params["stages"][2]["pos_embed"]
plots.positions(table, (4, 4), (4, 6), title="the position table of stage 3")

# %% [markdown]
# A training of your own is one command, and it makes a model file that every other command and notebook of this project reads:
#
#     python -m pvt_numpy.train shapes -o runs/shapes --image-size 32
#     python -m pvt_numpy.train photos/train --val photos/val -o runs/photos    # your own pictures, one folder for each class
#     python -m pvt_numpy.train --resume runs/photos                            # after Ctrl-C, or a power cut: the same numbers

# %% [markdown]
# ## When the loss jumps
#
# Trainings can break. Somebody who trained PVT Large saw the loss rise in epoch 38, within some twenty steps, from 4.5 to 6.93, and stay there ([their log](https://github.com/whai362/PVT/issues/6)).

# %% [markdown] tags=["predict"]
# **Predict first.** There are 1000 classes. Which loss does a model have that gives each of them 0.001, whatever the picture? What does 6.93 say, then?

# %%
for classes in (6, 10, 1000):
    print(f"{classes:4} classes: a model that only guesses has a loss of {np.log(classes):.2f}")

# %% [markdown]
# 6.93 is guessing, and so is what that model scored on the test pictures, 6.92. Such a fall is easily made: we let the learning rate climb, step by step, to a hundred times what is good.

# %% tags=["varies"]
careless = fresh(Settings("shapes", epochs=1, batch=16, rate=0.2, warmup=1.0, drawn=2048), nano)
sums = [0.0]
loop.train(careless, task, after_step=lambda now: sums.append(now.sums[0]))
losses = np.diff(sums) / 16
for first in range(0, 128, 32):
    print(f"steps {first + 1:2} to {first + 32:3}: loss {losses[first : first + 32].mean():.2f}")
for name, state in (("careless", careless), ("careful", training)):
    nested = unflatten(state.arrays["params"])
    logits = pvt_numpy.forward(task.validation[0], nested, nano).logits
    print(f"{name:8} a logit varies from picture to picture by {logits.std(axis=0).mean():.3f}")

# %% [markdown]
# The loss stays a little above $\log 6 = 1.79$, and the answer is nearly the same whatever the picture. That is the worst of it: if the tokens do not tell pictures apart any more, there is little gradient that would lead back.
#
# So no single step may lead far. The authors kept drop path off during the first 100 epochs of Medium and Large, for with it these did not converge ([their answer](https://github.com/whai362/PVT/issues/2)), and their code today clips the gradients of both. A longer warm-up and a lower learning rate help likewise.
# This package's loop stops if the loss is several times that of guessing and rises, and if a model that had learned only guesses for five epochs. Before that, look at the log yourself.
#
# ## Why few pictures make a poor ViT
#
# A convolution is told two things before it sees a picture: neighbours belong together, and what holds in one place holds in all. [Attention](glossary.md#attention) is told neither. Every token may read every other, and v1 had to learn from pictures even that position 5 lies below position 1 (the table above).
# What is not built in must be learned, and with few pictures it is easier to learn these by heart: eight took sixty steps. The authors of ViT found that on ImageNet's 1.3 million photographs it stays some per cent behind a ResNet of its size, and passes it with 300 million (Dosovitskiy et al., 2021).
#
# Three things help:
#
# - pictures that no camera took (mixup, CutMix, RandAugment, erasing): with them DeiT (Touvron et al., 2021) and PVT make do with ImageNet;
# - what a convolution knows, built in: v2's [patches](glossary.md#patch) overlap, and each of its MLPs has a 3 × 3 convolution;
# - features from a model that has seen many pictures, which is what you should do with sixty of your own:
#
# ## Three classes of your own
#
# We take the model that ships, which knows ten kinds of photographs, and leave all its weights as they are. Only its last matrix is made anew, with three rows for three classes, and learns: 771 numbers. The 256 features of a picture are computed once for each view of it, so this takes seconds.
#
# Without photographs of yours, we draw: twenty stars, crosses and rings to learn from, none of which the model has ever been taught. Better, name a folder with one sub-folder a class and twenty photographs or more in each.

# %% [markdown] tags=["predict"]
# **Predict first.** The features were learned from photographs of churches and golf balls. Are they of any use for drawn stars, crosses and rings? Guessing is right for a third.

# %% tags=["varies"]
PHOTOS = None  # "my_photos", a folder of yours

with tempfile.TemporaryDirectory() as folder:
    for part, count in (("train", 20), ("val", 40)):
        for kind in (3, 4, 5):
            (Path(folder) / part / SHAPES[kind]).mkdir(parents=True)
            for n, drawn in enumerate(draw_shapes([kind] * count, 96, rng)):
                Image.fromarray(drawn).save(Path(folder) / part / SHAPES[kind] / f"{n}.png")
    measured = {"split": 0.2} if PHOTOS else {"validation": f"{folder}/val"}
    lines, started = [], time.perf_counter()
    tuned = pvt_numpy.finetune(
        PHOTOS or f"{folder}/train",
        freeze="head-only",
        image_size=96,
        views=4,
        say=lines.append,
        **measured,
    )
print(*lines[:2], "...", *lines[-6:], sep="\n")
print(f"{time.perf_counter() - started:.0f} s")

# %% [markdown]
# Far better than guessing, and far from good: drawings are not what these features were made for. To let all of the network learn, leave `freeze` out; that takes about a minute.
# `tuned` is a model like any other. `python -m pvt_numpy.train my_photos --val-split 0.2 --model pvt_v2_b0_imagenette --freeze head-only -o runs/mine` does the same and writes it into a file; [the class assignment](README.md#an-assignment-your-photos-your-classes) makes a lesson of it.

# %% [markdown]
# ## Exercises
#
# Write your answer into the empty cell and run it: the check says what is wrong, and often which slip gives exactly your answer. Open the hint before the solution.

# %% [markdown]
# **1.** Derive the [backward pass](glossary.md#backward-pass) of [GELU](glossary.md#gelu), $y = x\,\Phi(x)$ with $\Phi(x) = \tfrac12\,(1 + \mathrm{erf}(x/\sqrt 2))$, and write it.
#
# <details><summary>Hint</summary>
#
# The product rule. The derivative of $\Phi$ is the bell curve $\varphi(x) = e^{-x^2/2}/\sqrt{2\pi}$. For $\Phi$ itself there is `normal_cdf` in `pvt_numpy.layers.activations`.
#
# </details>


# %% tags=["exercise"]
def my_gelu_backward(dy, x):
    """dy, the gradient of gelu(x), carried back to x; both of any shape."""
    raise NotImplementedError


practice.check(my_gelu_backward, "gelu_backward")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# from pvt_numpy.layers.activations import normal_cdf
#
# def my_gelu_backward(dy, x):
#     bell = np.exp(-x * x / 2) / np.sqrt(2 * np.pi)
#     return dy * (normal_cdf(x) + x * bell)
# ```
#
# $\mathrm{d}x = \mathrm{d}y\,(\Phi(x) + x\,\varphi(x))$. It is above 1 around $x = 1.4$ and below 0 for some negative $x$: GELU falls before it rises.
#
# </details>

# %% [markdown]
# **2.** Write the backward pass of softmax, for scores with any number of axes in front. It is given the scores, not the probabilities.
#
# <details><summary>Hint</summary>
#
# Step 2 of the section on attention: first the probabilities, then what a row reads on average, with `keepdims=True`.
#
# </details>


# %% tags=["exercise"]
def my_softmax_backward(dy, x):
    """dy, the gradient of softmax(x) over the last axis, carried back to x."""
    raise NotImplementedError


practice.check(my_softmax_backward, "softmax_backward")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_softmax_backward(dy, x):
#     powers = np.exp(x - x.max(axis=-1, keepdims=True))
#     p = powers / powers.sum(axis=-1, keepdims=True)
#     return p * (dy - (p * dy).sum(axis=-1, keepdims=True))
# ```
#
# </details>

# %% [markdown]
# **3.** How many of the eight entries of the gradient of `kv.bias` (in `analytic`, from the section on attention) are zero, but for rounding? Which are they, and why?
#
# <details><summary>Hint</summary>
#
# Look at `analytic["kv.bias"]`: keys come first. For the reason: what does a bias on all keys add to the scores of one query?
#
# </details>

# %% tags=["exercise"]
zeros = ...

practice.check(zeros, "7.3")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# print(analytic["kv.bias"])
# zeros = int((np.abs(analytic["kv.bias"]) < 1e-12).sum())
# ```
#
# The four of the keys: about 1e-15. A bias on all keys adds the same number $q \cdot b$ to *all* scores of a query's row, and softmax does not change if a row is shifted. PVT could do without this bias; it is there because one linear layer makes keys and values together.
#
# </details>

# %% [markdown]
# **4.** With label smoothing of 0.1 and six classes, the eight pictures' loss cannot go to 0. What is the least it can be?
#
# <details><summary>Hint</summary>
#
# The smoothed truth gives each of the six classes $0.1/6$, and the right one $0.9$ more. A cross-entropy $-\sum_k t_k \log a_k$ is least if the answer $a$ is the truth $t$ itself.
#
# </details>

# %% tags=["exercise"]
least = ...
practice.check(least, "7.4")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# truth = np.full(6, 0.1 / 6)
# truth[0] += 0.9
# least = -(truth * np.log(truth)).sum()
# ```
#
# 0.42: the best answer is 0.917 for the truth and 0.017 for each other class. So a loss of 0.42 with smoothing is perfect, and cannot be compared with one without. Wrong labels, by the way, are learnt just as well as right ones: the model has far more parameters than eight pictures have labels.
#
# </details>

# %% [markdown]
# **5.** The running average keeps 0.98 of itself at each step and takes 0.02 of the new weights. After how many steps has a step lost half of its part in the average, or more? Then measure `training.arrays["params"]` and `["average"]` with `loop.measure`: which is better at the end, and why would it be the other way round in the middle?
#
# <details><summary>Hint</summary>
#
# After $n$ steps $0.98^n$ of its part is left.
#
# </details>

# %% tags=["exercise"]
half = ...

practice.check(half, "7.5")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# half = int(np.ceil(np.log(0.5) / np.log(0.98)))
#
# for group in ("params", "average"):
#     print(group, loop.measure(training.arrays[group], nano, *task.validation))
# ```
#
# 35 steps, about one epoch here. In the middle the learning rate is high and every step moves the weights far, so the average is clearly better. At the end the cosine has brought the rate to zero, and the two are nearly the same.
#
# </details>

# %% [markdown]
# ## The check
#
# PyTorch has the last word. `pvt_numpy/reference/golden_gradients/` holds what its autograd computed, in float64, for ten kinds of PVT: the loss, and of every parameter's gradient eleven numbers, among them a weighted sum of all its entries.
# The parameters are made from a seed, bit by bit the same on every machine, so no PyTorch is needed here.

# %%
for kind in ("v1", "v1_resized", "v2", "v2_linear"):
    path = PACKAGE / "reference" / "golden_gradients" / f"{kind}.json"
    golden = json.loads(path.read_text(encoding="utf-8"))
    config = config_from_dict(golden["config"])
    golden_params = seeded_params(config, golden["params_seed"])
    pixels = seeded_pixels(golden["pixels"]["shape"], golden["pixels"]["seed"])
    loss, _, grads = loss_and_gradients(pixels, golden_params, config, np.array(golden["labels"]))
    assert abs(loss - golden["loss"]) < 1e-12
    found = flatten(grads)
    for name, array in found.items():
        expected = np.array(golden["gradients"][name])
        off = np.abs(digest(array) - expected).max()
        assert off < 1e-8 * max(np.abs(expected).max(), 1e-6), name
    print(f"{kind:<11} {len(found)} gradients are PyTorch's, to 8 digits")

assert layer_norm_error < 1e-8
assert all(np.abs(analytic[name] - numeric[name]).max() < 1e-7 for name in analytic)
assert model_agrees
assert learnt
assert reached > 0.9
print("all checks passed")
