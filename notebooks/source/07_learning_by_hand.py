# %% [markdown]
# # 7 · Learning by hand
#
# So far all weights came with the model. Here we make our own: we derive gradients with pen and paper, check them against the definition of a derivative, and train a small PVT with nothing but NumPy.
#
# **What you will do.** Derive the backward pass of layer norm and of attention and compare each with numerical differentiation, in figures; follow a gradient through a whole PVT; let a model learn eight pictures by heart;
# train a small PVT v1 on drawn shapes to over 95 % in a minute or two; watch its class token learn where to look; and compare all gradients with numbers that PyTorch wrote down.
#
# **What you will learn.** What a backward pass is and how to find one; how to test a gradient so that the test can fail; why residual connections matter; what it costs to compute some arrays twice.
#
# **What you need.** NumPy, notebook 3 (attention), and the chain rule. About 40 minutes, one or two of them computing. Stages, blocks and heads are counted from 1, as the paper counts its stages. Code counts from 0: `stages.0` is stage 1.

# %%
import sys

sys.path.insert(0, "..")  # the package, one folder up

import csv
import json
import time
from pathlib import Path

import numpy as np

import pvt_numpy
from pvt_numpy import PvtConfig, plots
from pvt_numpy.config import config_from_dict
from pvt_numpy.gradients import loss_and_gradients
from pvt_numpy.layers.attention import attention, attention_backward
from pvt_numpy.layers.layernorm import layer_norm, layer_norm_backward
from pvt_numpy.layers.softmax import softmax_backward
from pvt_numpy.parameters import flatten, unflatten
from pvt_numpy.plots.figures import drawing, new_figure
from pvt_numpy.plots.style import BLUE, GREY, ORANGE, RED, STAGE_COLOURS, WIDEST
from pvt_numpy.reference.golden import digest, seeded_params, seeded_pixels
from pvt_numpy.training import data, loop
from pvt_numpy.training.shapes import SHAPES, draw_shapes
from pvt_numpy.training.state import Settings, fresh

rng = np.random.default_rng(0)

# %% [markdown]
# ## What a backward pass is
#
# A network ends in one number, the loss $L$. For every array $a$ on the way we want $\mathrm{d}a := \partial L/\partial a$, an array of the same shape: how much $L$ rises if an entry of $a$ rises a little.
#
# The chain rule lets us go layer by layer, from the end. A layer $y = f(x, w)$ is given $\mathrm{d}y$ and returns
#
# $$\mathrm{d}x_j = \sum_i \mathrm{d}y_i\,\frac{\partial y_i}{\partial x_j} \qquad\text{and}\qquad \mathrm{d}w_k = \sum_i \mathrm{d}y_i\,\frac{\partial y_i}{\partial w_k}.$$
#
# That is all a backward function does. In this package it stands below its forward in the same file, takes `dy` and the forward's own arguments, computes again what it needs from them, and returns `dx` and a dict of the parameters' gradients.
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
# For one token $x \in \mathbb{R}^C$: with mean $\mu$ and $s = \sqrt{\tfrac1C \sum_j (x_j - \mu)^2 + \epsilon}$,
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
# with bars for means over the channels. The two bars have a meaning: layer norm undoes a shift and a scaling of its input, so a change along these two directions changes no output, and the formula takes them out of the gradient.

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
# Zero, but for rounding: the outputs of a layer norm (with $w = 1$) and of a softmax have a constant sum. A test with ones accepts any formula that returns zeros. Upstream gradients have to be random.
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
# One head, scores $S = q k^\top / \sqrt d$, weights $P = \mathrm{softmax}(S)$ row by row, output $o = P v$. We walk back.
#
# **1. The product $o = P v$.** For any matrix product $C = AB$: $\mathrm{d}A = \mathrm{d}C\,B^\top$ and $\mathrm{d}B = A^\top \mathrm{d}C$. (Entry by entry: $C_{nm} = \sum_k A_{nk} B_{km}$, so $\mathrm{d}A_{nk} = \sum_m \mathrm{d}C_{nm} B_{km}$. There is only one way to transpose that fits the shapes, which makes it easy to remember.)
#
# $$\mathrm{d}v = P^\top \mathrm{d}o, \qquad \mathrm{d}P = \mathrm{d}o\,v^\top$$
#
# **2. The softmax.** From $\partial P_i/\partial S_j = P_i(\delta_{ij} - P_j)$:
#
# $$\mathrm{d}S_j = P_j\Big(\mathrm{d}P_j - \sum_i P_i\,\mathrm{d}P_i\Big)$$
#
# A score should rise if reading its key lowers the loss more than what the row reads on average. And if $P$ is nearly one-hot, every $\mathrm{d}S_j$ is nearly zero: for the key that is read, the bracket is, and for all other keys $P_j$ is. So a head that is sure of itself hardly learns. The division by $\sqrt d$ protects a fresh model from this: it keeps the scores small.
#
# **3. The product $S = q k^\top/\sqrt d$.**
#
# $$\mathrm{d}q = \mathrm{d}S\,k/\sqrt d, \qquad \mathrm{d}k = \mathrm{d}S^\top q/\sqrt d$$
#
# **4. The linear layers and SRA.** $q$ comes from $x$; $k$ and $v$ come from the same $x$, reduced by a convolution and a norm. *$x$ is used twice, so it gets two gradients, and they are added.* This sentence is the multivariate chain rule, and forgetting it is the most frequent bug.
#
# The package's `attention_backward` does these four steps in this order. Here it is against the definition, for two heads on a 4 × 6 grid with $R = 2$: every number of every parameter.

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
# A block is $x + \mathrm{branch}(\mathrm{norm}(x))$, twice. On the way back, the sum passes $\mathrm{d}y$ to both of its terms: *unchanged* past the branch, and through the branch. In [`gradients.py`](../pvt_numpy/gradients.py), `block_backward` therefore adds `dy` to what comes back through each branch. So even 40 layers deep there is a path on which the gradient is not multiplied by anything.
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
# The gradients of the first blocks are at least as large as those of the last blocks: nothing vanished on the way.
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
# The package keeps only the tokens after each half of a block, and computes queries, keys, probabilities and hidden MLP channels a second time on the way back. PyTorch keeps them all. The price is about one more forward pass. In return inference needs no caches, and every backward function can be read and tested alone.

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
        epochs=18,
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
eight_labels = np.arange(8) % 6
losses = [loop.step(by_heart, eight_pixels, eight_labels, 2e-3)[0] for _ in range(60)]
learnt = losses[-1] < 0.05
print(f"the first loss is near log 6 = {np.log(6):.2f}:", abs(losses[0] - np.log(6)) < 1)
print("after 60 steps it is below 0.05:", learnt)

# %% [markdown]
# ## A PVT learns shapes
#
# Now for pictures it has not seen. Every batch is drawn anew, so there is nothing to learn by heart, and a shape's colour, size, place and rotation say nothing about its class. It is trained as the published PVTs were, on a small scale:
# AdamW with weight decay on matrices only, a linear warm-up and a cosine, gradients clipped, and a running average of the weights, which is what we measure.
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

# %% tags=["varies"]
plots.curves(training.history)

# %% [markdown]
# ## Watching attention become sharp
#
# Fresh weights give small scores, and the softmax of small scores is nearly flat: the class token reads itself and the 16 other tokens equally, with an entropy of $\log_2 17 \approx 4.1$ bits. Training makes it choose.
# Not every head does: some go on reading everything. Such a head takes the mean of all values, which is useful too.
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
# trained on 9,469 photographs of ten classes, each seen in random crops, mirrored, in changing colours. It took two shared CPU cores, an hour and a half, and NumPy alone. Its log is kept beside it:

# %%
with open("../weights/pvt_v1_nano_imagenette.csv", encoding="utf-8") as file:
    log = [{name: float(n) for name, n in row.items() if n} for row in csv.DictReader(file)]
print(f"{log[-1]['epoch']:.0f} epochs, {log[-1]['seconds'] / 60:.0f} minutes")
print(f"of 1,966 photographs it has never seen {log[-1]['val_accuracy']:.1%} are right")
plots.curves(log)

# %% [markdown]
# In training it is right about as often as on new photographs (its loss is higher there, because the labels were smoothed and the photographs distorted). So it has not begun to learn them by heart, and a longer training would still help.
# What its class token reads in a picture it has never seen:

# %%
trained = pvt_numpy.load_model("../weights/pvt_v1_nano_imagenette.safetensors")
ball = pvt_numpy.preprocess("golf_ball.jpg", **trained.preprocessing)
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
# ## Exercises
#
# **1.** Derive the backward pass of $y = \tfrac x2\,(1 + \mathrm{erf}(x/\sqrt 2))$, GELU. Check it with `numerical_gradient`.
#
# <details><summary>Solution</summary>
#
# Product rule on $x\,\Phi(x)$, and $\Phi' = \varphi$, the bell curve: $\mathrm{d}x = \mathrm{d}y\,(\Phi(x) + x\,\varphi(x))$ with $\varphi(x) = e^{-x^2/2}/\sqrt{2\pi}$.
#
# ```python
# from pvt_numpy.layers.activations import gelu, gelu_backward
# a, da = rng.normal(size=50), rng.normal(size=50)
# print(largest_difference(gelu_backward(da, a), numerical_gradient(gelu, a, da)))
# ```
#
# </details>
#
# **2.** In `attention_backward`, how large is the gradient of the first $C$ entries of `kv.bias`, and why?
#
# <details><summary>Solution</summary>
#
# `np.abs(analytic["kv.bias"][:C]).max()` is about 1e-15: zero, but for rounding. A bias on all keys adds the same number $q \cdot b$ to *all* scores of a query's row, and softmax does not change if a row is shifted. PVT could do without this bias; it is there because one linear layer makes keys and values together.
#
# </details>
#
# **3.** What happens to the eight pictures by heart if the labels are wrong, say `np.zeros(8, int)` for half of them? And with `smoothing=0.1`?
#
# <details><summary>Solution</summary>
#
# Wrong labels are learnt just as well: the model has far more parameters than eight pictures have labels. With smoothing the loss cannot go to 0: the best the model can do is to answer 0.917 for the truth and 0.017 for each other class, which costs 0.42 nats.
#
# </details>
#
# **4.** Look at the model without weight averaging: measure `training.arrays["params"]` instead of `["average"]` with `loop.measure`. Which one is better in the middle of the training, which at the end?
#
# <details><summary>Solution</summary>
#
# ```python
# for group in ("params", "average"):
#     print(group, loop.measure(training.arrays[group], nano, *task.validation))
# ```
#
# In the middle the learning rate is high and every step moves the weights far, so the average is clearly better. At the end the cosine has brought the rate to zero, and the two are nearly the same.
#
# </details>

# %% [markdown]
# ## The check
#
# PyTorch has the last word. `pvt_numpy/reference/golden_gradients/` holds what its autograd computed, in float64, for ten kinds of PVT: the loss, and of every parameter's gradient eleven numbers, among them a weighted sum of all its entries.
# The parameters are made from a seed, bit by bit the same on every machine, so no PyTorch is needed here.

# %%
for kind in ("v1", "v1_resized", "v2", "v2_linear"):
    path = Path("../pvt_numpy/reference/golden_gradients") / f"{kind}.json"
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
assert reached > 0.95
print("all checks passed")
