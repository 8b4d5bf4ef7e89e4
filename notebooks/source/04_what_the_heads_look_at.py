# %% [markdown]
# # 4 · What the heads look at
#
# Attention has a property that no other layer has: its weights are positive, sum to 1, and say for every token which places it looked at.
# That makes for pretty maps. This notebook draws them, follows them through the whole pyramid, and then does what is rarely done with such maps: it measures whether they are right. Most are not.
#
# **What you will do.** Draw the attention of one token, of every head, of every stage; measure how widely and how far each head looks;
# follow attention from the answer back to the picture with *pyramid rollout*, first by hand; and test this map and others against experiments on the model itself, on one picture and then on many.
#
# **What you will learn.** How to read an attention map of PVT, whose keys are squares of tokens; why the usual rollout does not fit PVT and what changes;
# what an attention map does not tell you; and why one good example proves nothing.
#
# **What you need.** NumPy, and notebook 3 or the section "Transformer Encoder" of the PVT paper. About 35 minutes. Stages, blocks and heads are counted from 1, as the paper counts its stages. Code counts from 0: `stages.0` is stage 1.

# %%
import csv
import sys

sys.path.insert(0, "..")  # the package, one folder up

import numpy as np

import pvt_numpy
from pvt_numpy import plots, practice
from pvt_numpy.analysis import occlusion
from pvt_numpy.analysis.answers import answers
from pvt_numpy.analysis.rollout import key_blocks, merge_matrix, pyramid_rollout, spread
from pvt_numpy.layers.softmax import softmax
from pvt_numpy.plots.figures import drawing, new_figure
from pvt_numpy.plots.style import BLUE, GREY, RED, WIDEST

PICTURE = "golf_ball.jpg"  # or a picture of yours
PIXEL = 96, 104  # row and column, from 0 to 223, of the pixel whose token asks

model = pvt_numpy.load_model()
config = model.config
x = pvt_numpy.preprocess(PICTURE, **model.preprocessing)
picture = plots.photo_of(x, **model.preprocessing)

trace = {}  # receives every intermediate of the forward pass
output = pvt_numpy.forward(x, model.params, config, trace=trace)

_, probabilities = answers(output.logits[0], config)
answer = int(probabilities.argmax())
print(f"{model.labels[answer]}: {probabilities[answer]:.0%}, logit {output.logits[0, answer]:.2f}")

# %% [markdown]
# ## One token asks
#
# In PVT, [queries](glossary.md#query) and [keys](glossary.md#key) do not come from the same [grid](glossary.md#grid). Every [token](glossary.md#token) asks, but the keys come from a smaller map: [spatial-reduction attention](glossary.md#spatial-reduction-attention) (SRA) has shrunk it by $R$ in both directions:
#
# $$\mathrm{head}_j = \mathrm{Softmax}\!\left(\frac{q\,k^\top}{\sqrt{d}}\right) v, \qquad q \in \mathbb{R}^{N \times d},\quad k, v \in \mathbb{R}^{M \times d},\quad M = \frac{N}{R^2}$$
#
# (PVT, section "Transformer Encoder"). So one row of the table is not a map of $N$ tokens but of $M$ boxes, each $R \times R$ tokens large.
# At 224 pixels $R$ is 8, 4, 2, 1 in the four [stages](glossary.md#stage), on grids of 56, 28, 14 and 7 tokens: *every* stage has $7 \times 7 = 49$ keys, and each key stands for $32 \times 32$ pixels.

# %%
for i in range(4):
    probs = trace[f"stages.{i}.blocks.0.attn.probs"]
    H, W = trace[f"stages.{i}.grid"]
    print(f"stage {i + 1}: grid {H:2} x {W:2}, R = {config.sr_ratios[i]}", end=", ")
    print(f"probs (B, heads, N, M) = {probs.shape}, a row sums to {probs[0, 0, 0].sum():.3f}")

# %% [markdown]
# Here is the token at our pixel in the last [block](glossary.md#block) of stage 3. The blue frame is the query token, the boxes are the keys.

# %%
plots.attention(picture, trace, config, stage=2, block=1, pixel=PIXEL)  # stage 3, block 2

# %% [markdown]
# Two things to notice.
#
# - **[Heads](glossary.md#head) differ.** Some put nearly all weight on one or two keys, others spread it. The mean of the heads, the map that is usually shown, looks like none of them.
# - **The token hardly looks at itself.** [Attention](glossary.md#attention) does not have to bring a token its own content: the residual connection around the layer already keeps it.
#
# The same place in all four stages, mean of the heads:

# %%
plots.attention_stages(picture, trace, config, pixel=PIXEL)

# %% [markdown]
# ## Numbers instead of impressions
#
# Two numbers summarise a head. The **[entropy](glossary.md#entropy)** of a row, $-\sum_m p_m \log_2 p_m$, says how widely it looks: 0 bits if it reads a single key, $\log_2 49 = 5.6$ bits if it reads all keys equally.
# The **mean distance** $\sum_m p_m \lVert \mathrm{query} - \mathrm{centre\ of\ key}_m \rVert$ says how far. Both are averaged over all queries.
# The dashed line shows a head that reads all keys equally.

# %%
plots.statistics(trace, config)

# %% [markdown]
# Stage 1 reads nearly all keys equally: its entropy is close to the dashed line, so an attention map of stage 1 says little about *where* anything is.
# The heads of later stages are sharp. But look at the right panel: hardly any head looks *near*. The distances lie around the dashed line, where they would also lie if a head ignored the query's place.
#
# That raises a suspicion. Do queries differ at all, or do all tokens read the same keys? Let us average over all queries of the last block and see which keys are read.

# %% [markdown] tags=["predict"]
# **Predict first.** Every one of 49 tokens asks its own question of 49 keys. How much of all attention will the three keys get that are read most: 6 % would be even?

# %%
heads = trace["stages.3.blocks.1.attn.probs"][0]  # (heads, N, M)
read = heads.mean(axis=(0, 1)).reshape(7, 7)
three = np.sort(read.ravel())[-3:].sum()
print(f"in stage 4, block 2, the three most-read of 49 keys get {three:.0%} of all attention")
norms = np.linalg.norm(trace["stages.3.blocks.0"][0], axis=-1)  # of the tokens that enter it
most_read = np.argsort(-read.ravel())[:3]
longer = norms[most_read].mean() / np.median(norms)
print(f"the tokens of these keys are {longer:.2f} times as long as the median")
border = np.ones((7, 7), bool)
border[1:-1, 1:-1] = False
print(f"the {border.sum()} keys at the border get {read[border].sum():.0%}", end="; ")
print(f"all keys read alike, it would be {border.mean():.0%}")
first = trace["stages.3.blocks.0.attn.probs"][0].mean(axis=(0, 1)).reshape(7, 7)
maps = {"keys read in stage 4, block 1": first, "keys read in stage 4, block 2": read}
plots.overlay(picture, maps, label="attention received")

# %% [markdown]
# A few keys get most of the attention on this picture. Some lie on the ball, others where nothing is to be seen.
# A head that has nothing to say must put its weight somewhere, because a [softmax](glossary.md#softmax) sums to 1; such a place is called an *attention sink*. In large vision transformers sinks are tokens many times as long as the others, and extra tokens, *registers*, cure them (Darcet et al., 2024). That is not what we see here: the tokens most read are as long as any. On 100 photos, too: 0.97 times the median, and the three keys get a third of the attention and the border 52 %, each on average.
# **First lesson: a bright key is not yet an important key.**

# %% [markdown]
# ## Three reasons not to trust a single map
#
# A map shows the weights $p$. But what attention adds to a token is $W^O \sum_m p_m v_m$, the token already holds something before, and after attention the [MLP](glossary.md#mlp) adds its own. Let us compare the lengths of these three vectors, averaged over the tokens.


# %%
def length(tokens):
    return np.linalg.norm(tokens[0], axis=-1).mean()


print("                   token   attention adds   MLP adds")
for i in range(4):
    for j in range(config.depths[i]):
        name = f"stages.{i}.blocks.{j}"
        before = trace[f"stages.{i}.tokens"] if j == 0 else trace[f"stages.{i}.blocks.{j - 1}"]
        attention, mlp = length(trace[f"{name}.attn"]), length(trace[f"{name}.mlp"])
        print(f"stage {i + 1}, block {j + 1}   {length(before):6.1f} {attention:12.1f} {mlp:14.1f}")

# %% [markdown]
# In this model attention adds a fraction of the token's length, and the MLP (which in v2 contains a 3 × 3 [depthwise convolution](glossary.md#depthwise-convolution), and so also moves information) adds several times more.
#
# And the [values](glossary.md#value) matter: a key with a large $p_m$ and a short $v_m$ adds nothing. Take the first head of the first block of stage 2, averaged over all queries,
# and compare the probabilities with the lengths $\lVert p_m v_m \rVert$ of the vectors that are really summed:

# %%
probs = trace["stages.1.blocks.0.attn.probs"][0, 0]  # (N, M) of head 1
values = trace["stages.1.blocks.0.attn.v"][0, 0]  # (M, d)
lengths = np.linalg.norm(values, axis=-1)
added = probs * lengths
added = added / added.sum(axis=-1, keepdims=True)

most = probs.mean(axis=0).argmax()
row, column = most // 7 + 1, most % 7 + 1
print(f"most read is the key in row {row}, column {column} of 7 x 7")
print(f"it gets {probs[:, most].mean():.0%} of the attention")
print(f"its value is {lengths[most] / lengths.mean():.2f} times as long as the mean")
print(f"so it makes {added[:, most].mean():.0%} of what is added")
maps = {
    "probabilities $p_m$": probs.mean(axis=0).reshape(7, 7),
    "what is added, $\\|p_m v_m\\|$": added.mean(axis=0).reshape(7, 7),
}
plots.overlay(picture, maps, label="share, mean over queries")

# %% [markdown]
# On the golf ball this head reads the four keys on the ball, on average over all queries. The brightest of these keys has one of the shortest values, so the map on the left overstates it.
# (With a picture of yours the head may do something else; the two maps tell.)
#
# So a single map can mislead in three ways: the mean hides the heads, weight goes to tokens without meaning, and attention is only one of three things that move information.

# %% [markdown]
# ## Rollout: following attention to the picture
#
# An attention map of stage 4 is about tokens of stage 4, and each of these tokens already mixes content from many places. *Attention [rollout](glossary.md#rollout)* (Abnar and Zuidema, 2020) multiplies the layers: with the residual mixed in, a layer is
#
# $$\tilde A = \tfrac12 I + \tfrac12 A, \qquad \mathrm{rollout} = \tilde A_\mathrm{last} \cdots \tilde A_2\, \tilde A_1 .$$
#
# This needs square matrices, all of one size. PVT's are $N \times M$, and $N$ changes from stage to stage, so the usual rollout ends in a shape error. *[Pyramid](glossary.md#pyramid) rollout* adds two rules:
#
# 1. **A key stands for its square.** The weight of a key is spread evenly over the $R \times R$ tokens it was made from: $A\,U$ with $U \in \mathbb{R}^{M \times N}$ is square.
# 2. **A token of the next stage stands for the 2 × 2 tokens it was merged from.** v2's [patches](glossary.md#patch) overlap a little; we treat them as their 2 × 2 cells.
#
# It is a heuristic, like every rollout. Let us do it by hand, with matrices, from the mean over the last stage's 49 tokens down to the 784 tokens that enter stage 2.


# %%
def rollout_by_hand(trace, config, down_to):
    """The slow way: whole matrices, one after the other."""
    weights = np.full(49, 1 / 49)  # the head of PVT v2 averages all tokens
    for i in range(3, down_to - 1, -1):
        H, W = trace[f"stages.{i}.grid"]
        R = config.sr_ratios[i]
        U = np.zeros((H // R * (W // R), H * W))  # rule 1: key m -> its tokens
        for y in range(H):
            for z in range(W):
                U[y // R * (W // R) + z // R, y * W + z] = 1 / R**2
        for j in reversed(range(config.depths[i])):
            # (N, M), mean of the heads
            A = trace[f"stages.{i}.blocks.{j}.attn.probs"][0].mean(axis=0)
            A_tilde = 0.5 * np.eye(H * W) + 0.5 * A @ U
            weights = weights @ A_tilde
        if i > down_to:  # rule 2: token n -> the 2 x 2 tokens below
            merge = np.zeros((H * W, 4 * H * W))
            for y in range(2 * H):
                for z in range(2 * W):
                    merge[y // 2 * W + z // 2, y * 2 * W + z] = 1 / 4
            weights = weights @ merge
    return weights


by_hand = rollout_by_hand(trace, config, down_to=1)  # stage 2
print(by_hand.shape, f"sum {by_hand.sum():.6f}")

# %% [markdown]
# Vectorised, no $N \times N$ matrix is needed: one row vector travels backwards, and both rules are a small matrix for the rows and one for the columns.


# %%
def rollout_of_one_block(weights, A, grid, stage):
    """One step backwards: half stays, half goes where A says."""
    rows, columns = key_blocks(grid, config, stage)
    return 0.5 * weights + 0.5 * spread(weights.ravel() @ A, rows, columns)


weights = np.full((7, 7), 1 / 49)
for i in (3, 2, 1):
    for j in reversed(range(config.depths[i])):
        A = trace[f"stages.{i}.blocks.{j}.attn.probs"][0].mean(axis=0)
        weights = rollout_of_one_block(weights, A, trace[f"stages.{i}.grid"], i)
    if i > 1:
        halves = [merge_matrix(2 * n, n, 2) for n in weights.shape]
        weights = halves[0].T @ weights @ halves[1]

print("same as by hand:", np.allclose(weights.ravel(), by_hand, atol=1e-7))

# %% tags=["varies"]
import time

start = time.perf_counter()
rollout_by_hand(trace, config, down_to=1)
middle = time.perf_counter()
pyramid_rollout(trace, config)
stop = time.perf_counter()
print(f"by hand, down to stage 2: {middle - start:.3f} s")
print(f"package, down to stage 1: {stop - middle:.3f} s")

# %% [markdown]
# The whole way, drawn relative to the mean: red tokens have more than their share, blue ones less.

# %%
maps = pyramid_rollout(trace, config)
plots.rollout(picture, trace, config)

# %% [markdown]
# ## v1 and its class token
#
# PVT v1 does not average. In its last stage a learned **[class token](glossary.md#class-token)** is put before the others, and the answer is read from it alone. So one row of attention, the class token's, stands closer to the answer than any other.
# The small v1 model that was trained for this project sees 64 × 64 pixels and has 4 × 4 tokens there; each panel also says how much the class token reads from itself.

# %%
v1 = pvt_numpy.load_model("pvt_v1_nano_imagenette")
v1_x = pvt_numpy.preprocess(PICTURE, **v1.preprocessing)
v1_trace = {}
v1_logits = pvt_numpy.forward(v1_x, v1.params, v1.config, trace=v1_trace).logits[0]
v1_picture = plots.photo_of(v1_x, **v1.preprocessing)
print(f"it says: {v1.labels[v1_logits.argmax()]}, {answers(v1_logits, v1.config)[1].max():.0%}")
plots.class_attention(v1_picture, v1_trace, v1.config)

# %% [markdown]
# Heads differ again: on the golf ball, one of them reads the ball and hardly anything else. For the rollout, the class token is where the row vector starts, and what it reads from itself is left out at the end:

# %%
plots.rollout(v1_picture, v1_trace, v1.config)

# %% [markdown]
# ## Does the map know anything about the model?
#
# Two checks on our picture, and a third on many.
#
# **Shuffle what was learned.** Put the numbers of every trained array in a random order. The model has the same architecture and the same scale, and has learned nothing. If rollout still gives the same map, the map shows the architecture, or the picture, and not what was learned.

# %%
nothing_learned = occlusion.shuffled(model.params, np.random.default_rng(0))
control = occlusion.maps(x, nothing_learned, config, answer)
trained = occlusion.maps(x, model.params, config, answer)
for i in range(4):
    name = f"rollout entering stage {i + 1}"
    largest, flat = (shares[name].max() * shares[name].size for shares in (trained, control))
    print(f"{name}: the largest share is {largest:4.1f} times the mean", end="; ")
    print(f"weights shuffled, {flat:.1f} times")

# %% [markdown]
# With shuffled weights the map is almost flat: attention that has learned nothing reads all keys alike. So the structure of the map was learned. But that a map has structure says nothing about whether it is *right*.
#
# **Cover a part of the picture.** What matters to the answer can be measured: put a grey square of 64 × 64 pixels on the picture and see how far the answer's [logit](glossary.md#logit) falls. 36 places, 36 forward passes.

# %%
SIDE, STEP = 64, 32  # pixels
places = [(y, z) for y in range(0, 224 - SIDE + 1, STEP) for z in range(0, 224 - SIDE + 1, STEP)]
grey = x.mean(axis=(2, 3), keepdims=True)
fall = []
for start in range(0, len(places), 9):
    covered = np.repeat(x, len(places[start : start + 9]), axis=0)
    for copy, (y, z) in zip(covered, places[start : start + 9], strict=True):
        copy[:, y : y + SIDE, z : z + SIDE] = grey[0]
    logits = pvt_numpy.forward(covered, model.params, config).logits
    fall.extend(output.logits[0, answer] - logits[:, answer])
fall = np.array(fall)

# for each cell of 32 pixels: the sum over the squares that covered it, and their number
cells = np.zeros((2, 7, 7))
for (y, z), value in zip(places, fall, strict=True):
    cells[:, y // 32 : y // 32 + 2, z // 32 : z // 32 + 2] += np.array([value, 1])[:, None, None]
maps_of_fall = {f"logit of “{model.labels[answer]}”": cells[0] / cells[1]}
plots.overlay(picture, maps_of_fall, label="fall of the logit if covered", signed=True)

# %% [markdown]
# Now every map can be compared with the experiment: add up the map under each of the 36 squares, and correlate these sums with the 36 falls. Beside rollout we take three maps that are made in another way, by the model's last layer or by its [gradient](glossary.md#gradient) (notebook 7), and two that know no model at all:
#
# - **class [activation](glossary.md#activation) map**: the last map, $7 \times 7$ tokens, times the head's row of weights for the answer. In v2 it is exact: the mean of its cells *is* the logit, but for the [bias](glossary.md#bias). (v1 reads its answer from the class token and has no such map.)
# - **gradient × input**: how far the logit moves with each pixel, times the pixel.
# - **|gradient|**: how far the logit moves with each pixel, whichever way.
# - **nearness to the middle** of the picture, and **contrast**: how far a pixel is from the picture's mean.


# %%
def agreement(maps):
    """name -> correlation of each map, summed under the squares, with the experiment."""
    return {name: occlusion.correlation(occlusion.under(values, (224, 224)), fall)
            for name, values in maps.items()}  # fmt: skip


on_the_ball = agreement(trained | occlusion.model_free_maps(x))
by_control = agreement(control)
for name, value in on_the_ball.items():
    beside = f"   weights shuffled {by_control[name]:+.2f}" if name in by_control else ""
    print(f"{name:24} {value:+.2f}{beside}")

# %% [markdown]
# On the golf ball, rollout agrees with the experiment, at 0.71 and more when it enters stages 2, 3 and 4. It would make a fine figure for a paper. But this is **one** picture.
#
# **Many photos.** The same was measured for the first 20 photos of each of the ten classes of Imagenette's validation set, 200 in all, with other shuffled weights for each; `maps_against_covering.csv` holds the results. The last row repeats the experiment itself, with black squares instead of grey ones: better than that no map can be expected to be.

# %% [markdown] tags=["predict"]
# **Predict first.** On the golf ball the maps agree with the experiment. How many of them will on a hundred photos: all, about half, or none?

# %%
with open("maps_against_covering.csv", encoding="utf-8") as file:
    rows = list(csv.DictReader(file))
names = [name for name in rows[0] if name != "picture"]
photos = {name: np.array([float(row[name]) for row in rows]) for name in names}

print(f"{len(rows)} photos          mean   spread   shuffled   better than shuffled   on the ball")
for name in [*on_the_ball, "black squares"]:
    values = photos[name]
    line = f"{name:24} {values.mean():+.2f}   {values.std(ddof=1):6.2f}"
    if name in by_control:
        shuffled = photos[f"shuffled: {name}"]
        line += f"   {shuffled.mean():+8.2f}   {(values > shuffled).mean():20.0%}"
    print(f"{line:70}   {on_the_ball[name]:+.2f}" if name in on_the_ball else line)


# %%
@drawing
def against_the_experiment(names):
    """A line for each map: every photo a dot, their mean a bar, the golf ball a star."""
    figure = new_figure(WIDEST, 4.6, "do maps agree with the experiment? every dot is a photo")
    axes = figure.subplots()
    jitter = np.random.default_rng(0).uniform(-0.28, 0.28, len(rows))
    for line, name in enumerate(names):
        axes.plot(photos[name], line + jitter, "o", color=BLUE, markersize=3, alpha=0.5)
        axes.plot([photos[name].mean()] * 2, [line - 0.4, line + 0.4], color="black", linewidth=2.5)
        if name in on_the_ball:
            axes.plot(on_the_ball[name], line, "*", color=RED, markersize=13)
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set(
        xlim=(-1, 1), xlabel="correlation with the experiment (bar: mean; star: the golf ball)"
    )
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    return figure


against_the_experiment([*on_the_ball, "black squares"])

# %% [markdown]
# **This is the lesson of the notebook.** On photos rollout hardly agrees with the experiment: 0.08 to 0.10 on average, where the golf ball gave 0.24 to 0.84, and each of the four passes 0.71 on at most 7 of the 200 photos. It agrees better than with shuffled weights on 55% to 62% of the photos; without any relation it would on half of them. The difference is real and small, 0.06 to 0.12 with standard errors of 0.03. And it is beaten by a map that knows neither the model nor the picture, nearness to the middle (0.17). The gradient without its sign does no better.
# Two maps that know which answer is asked about do much better: the class activation map (0.36) and gradient × input (0.34). Both are far from the experiment's agreement with itself (0.71), and both vary much from photo to photo.
#
# Why does rollout fail? It never sees the answer: a map of where attention goes is the same for "golf ball" and for "church". It knows no values, no MLPs and no [convolutions](glossary.md#convolution), which move more than attention does (see the lengths above). And stage 1 reads nearly all keys alike, so that following it blurs the map. That is our reading; what was measured is the table.
#
# Why did the golf ball agree so well? One bright thing lies on an even lawn. There even **contrast**, which knows no model at all, agrees at 0.81. An earlier version of this notebook stopped at the golf ball and recommended rollout. One picture proves nothing, least of all one that was chosen to look good.
#
# **Which maps to trust**
#
# | map | agreement | what it is good for | what it is not |
# |---|---|---|---|
# | one head, one query, one block | – | exact: these are the numbers of the forward pass | no statement about the answer |
# | mean of the heads | – | an overview | hides that heads differ |
# | which keys are read, mean over queries | – | finds sinks | does not separate sinks from content |
# | v1's class token | – | the row of attention that stands closest to the answer | one row of many; its heads differ |
# | rollout entering stage 4 | 0.10 | where attention leads, if nothing else moved information | not where the answer comes from |
# | rollout entering stage 3 | 0.09 | as above | as above |
# | rollout entering stage 2 | 0.10 | as above | as above |
# | rollout entering stage 1 | 0.08 | as above | as above, and blurred by stage 1 |
# | class activation map | 0.36 | exact for v2: what the last tokens hold of the answer | where they have it from; 7 × 7 cells |
# | gradient × input | 0.34 | the effect of small changes of the pixels | the effect of large ones; noisy |
# | \|gradient\| | 0.06 | where a small change moves the answer at all | whether it is for or against the answer |
# | nearness to the middle | 0.17 | a yardstick: a map has to beat it | knows no model |
# | contrast to the mean | 0.11 | another yardstick | knows no model |
# | black squares | 0.71 | the experiment itself, in another colour: a measurement on the model | fast; and covered pictures are unusual inputs |
#
# The agreement is the mean correlation over the 200 photos. To repeat it with pictures of yours, a sub-folder for each class: `python notebooks/measure_maps.py FOLDER -o TABLE` (some seconds a picture).

# %% [markdown]
# ## Exercises

# %% [markdown]
# **1.** Change `PIXEL` to a pixel on the grass and one in the top-left corner, and draw stage 4: `plots.attention(picture, trace, config, stage=3, block=1, pixel=PIXEL)`. Which heads change their map, which do not? Measure it for all queries.
#
# <details><summary>Hint</summary>
#
# For every key there is one probability for each query: take the standard deviation over the queries. Then the mean over the keys, divided by the mean probability $1/M$.
#
# </details>


# %% tags=["exercise"]
def variation(probs):
    """probs (heads, N, M) -> for each head how much a probability varies from query to query, times M."""
    raise NotImplementedError


practice.check(variation, "4.1")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def variation(probs):
#     return probs.std(axis=1).mean(axis=-1) * probs.shape[-1]
#
# print(variation(trace["stages.3.blocks.1.attn.probs"][0]).round(2))
# ```
#
# On the golf ball heads 1 and 5 hardly vary (0.00 and 0.12): they read the same keys whichever token asks. Heads 4 and 8 vary most.
#
# </details>

# %% [markdown]
# **2.** Rollout takes half of each layer from the residual. Use the true lengths instead: with $a = \lVert\mathrm{token}\rVert$ and $b = \lVert\mathrm{attention}\rVert$ of the table above, a step backwards is $\dfrac{a\,w + b\,w A U}{a + b}$. Does the agreement with the experiment get better?
#
# <details><summary>Hint</summary>
#
# $w$ is a row vector, so it stands on the left: `w @ A @ U`.
#
# </details>


# %% tags=["exercise"]
def step_back(w, A, U, a, b):
    """w (N,), A (N, M), U (M, N), two lengths -> the weights (N,) one block earlier."""
    raise NotImplementedError


practice.check(step_back, "4.2")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def step_back(w, A, U, a, b):
#     return (a * w + b * (w @ A @ U)) / (a + b)
#
# weights = np.full(49, 1 / 49)
# for j in (1, 0):
#     before = trace["stages.3.tokens"] if j == 0 else trace["stages.3.blocks.0"]
#     a, b = length(before), length(trace[f"stages.3.blocks.{j}.attn"])
#     A = trace[f"stages.3.blocks.{j}.attn.probs"][0].mean(axis=0)
#     weights = step_back(weights, A, np.eye(49), a, b)  # with R = 1 a key is its token
# print(agreement({"with lengths": weights.reshape(7, 7)}))
# ```
#
# On the golf ball the correlation of the map that enters stage 4 rises from 0.71 to 0.73. That is one picture, and you know by now what one picture proves.
#
# </details>

# %% [markdown]
# **3.** Why does $\sum_n$ of the rollout stay 1, whatever the picture?
#
# <details><summary>Solution</summary>
#
# Every factor has rows that are positive and sum to 1: softmax rows do, $U$ spreads each key's weight over $R^2$ tokens with $1/R^2$ each, the merge over 4 tokens with $1/4$ each, and a mixture $\tfrac12 I + \tfrac12 A U$ of two such matrices is one again. A row vector that sums to 1 keeps its sum when multiplied by such a matrix.
#
# </details>

# %% [markdown]
# **4.** The small v1 model reads its answer from the class token. Read it from the mean of the other tokens instead, with the same head. Does it still know the ball?
#
# <details><summary>Hint</summary>
#
# The class token is token 0. A linear layer is `features @ weight.T + bias`.
#
# </details>


# %% tags=["exercise"]
def answer_of_the_mean(tokens, weight, bias):
    """tokens (B, 1 + N, C), the class token first -> logits (B, num_labels) of the mean of all others."""
    raise NotImplementedError


practice.check(answer_of_the_mean, "4.4")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def answer_of_the_mean(tokens, weight, bias):
#     return tokens[:, 1:].mean(axis=1) @ weight.T + bias
#
# logits = answer_of_the_mean(v1_trace["norm"], **v1.params["head"])[0]
# print(v1.labels[logits.argmax()], f"{answers(logits, v1.config)[1].max():.0%}")
# ```
#
# It still says "golf ball", with 88 % in place of 90 %, though the head was trained for the class token and never saw the mean. So the other tokens know of the ball as well: in the last stage all of them ask, and all are asked. v2 takes the mean from the start and has no class token.
#
# </details>

# %% [markdown]
# ## The check
#
# The story of this notebook in assertions: they hold for every picture.

# %%
for i in range(4):
    for j in range(config.depths[i]):
        name = f"stages.{i}.blocks.{j}.attn"
        q, k, v = (trace[f"{name}.{part}"].astype(np.float64) for part in "qkv")
        by_formula = softmax(q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1]))
        # the maps are the formula's numbers
        assert np.abs(by_formula - trace[f"{name}.probs"]).max() < 1e-5
        # heads side by side
        added = (by_formula @ v).transpose(0, 2, 1, 3).reshape(trace[name].shape)
        proj = model.params["stages"][i]["blocks"][j]["attn"]["proj"]
        # and they make the output
        assert np.abs(added @ proj["weight"].T + proj["bias"] - trace[name]).max() < 1e-3

assert np.abs(maps[1].ravel() - by_hand).max() < 1e-7  # rollout by hand is the package's
# so is the experiment
assert np.abs(occlusion.falls(x, model.params, config, answer) - fall).max() < 1e-4
# the class activation map is exact
exact = trained["class activation map"].mean() + model.params["head"]["bias"][answer]
assert abs(exact - output.logits[0, answer]) < 1e-4
# nothing is lost on the way
maps += pyramid_rollout(v1_trace, v1.config)
assert all(abs(shares.sum() - 1) < 1e-5 and shares.min() >= 0 for shares in maps)
print("all checks passed")
