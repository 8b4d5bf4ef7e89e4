# %% [markdown]
# # 6 · From PyTorch to NumPy
#
# A port is finished when it gives the original's numbers, and not before. This notebook is about getting there: opening a checkpoint, giving its arrays the right names, and the mistakes that hide behind a plausible result.
#
# **What you will do.** Read a `.safetensors` file with nothing but NumPy; translate parameter names between four codebases; rebuild GELU without SciPy; make four classic porting mistakes on purpose and watch a layer-by-layer comparison find them.
#
# **What you will learn.** Why "same top-5" proves little; how large a difference rounding makes, and how to tell it from a bug; which details of PVT differ between its three public PyTorch versions.
#
# **What you need.** NumPy. PyTorch is *not* needed: its numbers were written down (`pvt_numpy/reference/golden_numbers/`), with the versions and the script that made them. If PyTorch and transformers are installed, the last section also compares live. About 30 minutes. Stages, blocks and heads are counted from 1, as the paper counts its stages. Code counts from 0: `stages.0` is stage 1.

# %%
import sys

sys.path.insert(0, "..")  # the package, one folder up

import json
import math
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

import pvt_numpy
from pvt_numpy import plots, practice
from pvt_numpy.checkpoints.checkpoint import SHIPPED
from pvt_numpy.checkpoints.export import export_hf
from pvt_numpy.checkpoints.names import file_names
from pvt_numpy.layers.activations import gelu, gelu_new
from pvt_numpy.layers.layernorm import layer_norm
from pvt_numpy.parameters import flatten
from pvt_numpy.reference.cases import by_precision, compare, golden_case, live_case
from pvt_numpy.reference.comparison import TOLERANCES, first_departure
from pvt_numpy.reference.mistakes import MISTAKES, made

PICTURE = "golf_ball.jpg"  # or a picture of yours

model = pvt_numpy.load_model()
x = pvt_numpy.preprocess(PICTURE, **model.preprocessing)
logits = pvt_numpy.forward(x, model.params, model.config).logits
best = int(logits[0].argmax())
print(f"{model.labels[best]}: logit {logits[0, best]:.2f}")

# %% [markdown]
# ## A checkpoint is a dictionary of arrays
#
# A `.safetensors` file is as simple as a file of arrays can be: eight bytes with the length of a header, the header as JSON (name, type, shape and place of every array), then the bytes of the arrays, one after another. Twelve lines read it:


# %%
def read_by_hand(path):
    """The arrays of a safetensors file by name, and its notes."""
    data = Path(path).read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    notes = header.pop("__metadata__", {})
    types = {"F32": "<f4", "F16": "<f2", "F64": "<f8"}
    arrays = {}
    for name, entry in header.items():
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        arrays[name] = np.frombuffer(data[start:end], types[entry["dtype"]]).reshape(entry["shape"])
    return arrays, notes


arrays, notes = read_by_hand(SHIPPED)
count = sum(array.size for array in arrays.values())
print(len(arrays), "arrays,", count, "numbers, stored as", arrays["head.weight"].dtype)
print("labels:", json.loads(notes["labels"])[:4], "...")
for name in list(arrays)[:8]:
    print(f"{name:38} {arrays[name].shape}")

# %% [markdown]
# The file holds float16 to be small; the package computes in float32. PyTorch's own `.pth` files are pickles, which can run any code when opened. Open them only with `torch.load(..., weights_only=True)`; the package does.
#
# ## Four codebases, four sets of names
#
# The same numbers are called differently by the official code, timm, and Hugging Face's two models. The official names are the shortest and this package keeps them, with one common prefix for all [stages](glossary.md#stage). One [block](glossary.md#block), ours against Hugging Face's:

# %%
for name in flatten(model.params):
    if name.startswith("stages.1.blocks.0.attn") and name.endswith("weight"):
        print(f"{name:34} {' + '.join(file_names(name, 'hf-v2'))}")

# %% [markdown]
# Note the line with two names. [Keys](glossary.md#key) and [values](glossary.md#value) are *one* matrix $(2C, C)$ in the official code, keys first, and two matrices in Hugging Face's. If you stack the two the other way round, all shapes are right and the model computes nonsense.
#
# The translation works in both directions. Write the shipped model as Hugging Face would write it, load that folder, and compare:

# %%
with tempfile.TemporaryDirectory() as folder:
    export_hf(Path(folder) / "as_hf", model)
    theirs, _ = read_by_hand(Path(folder) / "as_hf" / "model.safetensors")
    back = pvt_numpy.load_model(Path(folder) / "as_hf")
print(list(theirs)[0], "...")
ours, again = flatten(model.params), flatten(back.params)
same = list(ours) == list(again) and all(np.array_equal(ours[name], again[name]) for name in ours)
print("nothing lost or changed on the way:", same)

# %% [markdown]
# ## Trap 1: GELU, and NumPy has no erf
#
# PVT was trained with the exact form, $\mathrm{GELU}(x) = x\,\Phi(x) = \tfrac{x}{2}\left(1 + \mathrm{erf}(x/\sqrt 2)\right)$. NumPy has no erf, and the well-known tanh form is tempting. With a loop, Python's `math.erf` gives the truth:


# %%
def gelu_by_hand(x):
    """One number after the other."""
    y = np.empty_like(x)
    for n, value in enumerate(x.ravel()):
        y.flat[n] = 0.5 * value * (1 + math.erf(value / math.sqrt(2)))
    return y


def gelu_as_formula(x):
    """What `layers/activations.py` says, `x * normal_cdf(x)`, in place of its faster form."""
    with pvt_numpy.plain():
        return gelu(x)


grid = np.linspace(-6, 6, 20001)
truth = gelu_by_hand(grid)
single = grid.astype(np.float32)
tanh, formula, faster = (
    np.abs(y - truth).max() for y in (gelu_new(grid), gelu_as_formula(grid), gelu(single))
)
print(f"tanh form: wrong by up to {tanh:.1e}")
print("formula in float64, within rounding:", formula < 1e-14)
print("faster form in float32, within rounding:", faster < 1e-6)

# %% tags=["varies"]
import timeit

numbers = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
ways = {
    "by hand": gelu_by_hand,
    "formula": gelu_as_formula,
    "faster form": gelu,
}
for name, function in ways.items():
    seconds = min(timeit.repeat(lambda f=function: f(numbers), number=1, repeat=2))
    print(f"{name:12} {seconds * 1e3:7.1f} ms for 100 000 numbers")

# %% [markdown]
# The formula in `layers/activations.py` is one line, `x * normal_cdf(x)`. It is slow, because `normal_cdf` calls `math.erf` for one number after the other. What usually runs is a faster form of the same name in `fast/activations.py`, which needs no erf in float32. With $a = |x|$, [GELU](glossary.md#gelu) is a ReLU from which a small term is subtracted: $\max(x, 0) - a\,(1 - \Phi(a))$. The tail $1 - \Phi(a)$ of the normal distribution is $1 / f(a)^8$ with a fitted polynomial $f$ of degree 8: nothing but multiplications, additions and one division. The largest error of this form on a fine [grid](glossary.md#grid):

# %%
fine = np.linspace(-5, 5, 100_001, dtype=np.float32)
exact = gelu_by_hand(fine.astype(np.float64))
print("below 3e-7 everywhere:", np.abs(gelu(fine) - exact).max() < 3e-7)

# %% [markdown]
# ## Trap 2: layer norm in one pass
#
# $\mathrm{Var}(x) = \overline{x^2} - \overline{x}^2$, with bars for means, needs only one pass over the data. In float32 it subtracts two large, nearly equal numbers, and nothing is left:

# %% [markdown] tags=["predict"]
# **Predict first.** 256 numbers around 1000, with a deviation of 0.1, in float32: the variance is 0.01. What does the one-pass formula make of it?


# %%
def variance_in_one_pass(x):
    return (x * x).mean(axis=-1) - x.mean(axis=-1) ** 2


row = np.random.default_rng(0).normal(1000, 0.1, (1, 256)).astype(np.float32)
truth = row.astype(np.float64).var()
unit = layer_norm(row, np.ones(256, np.float32), np.zeros(256, np.float32), eps=1e-6)
print(f"true variance {truth:.4f}; in two passes {row.var():.4f}")
error = abs(variance_in_one_pass(row)[0] - truth)
print("in one pass it is wrong by more than half of it:", bool(error > 0.5 * truth))
print(f"the package's layer norm gives a standard deviation of {unit.std():.3f}")

# %% [markdown]
# ## Trap 3: float64 sneaks in
#
# Since NumPy 2, a NumPy float64 *scalar* such as `np.sqrt(2)` turns a float32 array into float64. `math.sqrt(2)`, a Python float, does not. The results stay right, so nobody notices that everything takes twice the time and memory:

# %%
print("times math.sqrt(2):", (np.ones(3, np.float32) * math.sqrt(2)).dtype)
print("the logits of the model:", logits.dtype)

# %% [markdown]
# ## Trap 4: two epsilons
#
# [Layer norm](glossary.md#layer-norm) divides by $\sqrt{\mathrm{Var} + \epsilon}$. PyTorch's default is $\epsilon = 10^{-5}$. The official code and timm use it in the [patch embeddings](glossary.md#patch-embedding) and inside [SRA](glossary.md#spatial-reduction-attention), and $10^{-6}$ elsewhere. Hugging Face's models use their `layer_norm_eps` ($10^{-6}$) everywhere. So the *same weights* have slightly different [logits](glossary.md#logit) in different libraries, and a port must say which one it follows:

# %%
official = replace(model.config, patch_norm_eps=1e-5)
moved = pvt_numpy.forward(x, model.params, official).logits - logits
print("the logits move, and by less than 1e-3:", bool(0 < np.abs(moved).max() < 1e-3))
print("the answer stays:", int((logits + moved)[0].argmax()) == best)

# %% [markdown]
# A test with a tolerance of $10^{-3}$ never sees this. Is it a bug, then? Only a comparison in float64 can tell.
#
# ## How large is rounding?
#
# Compare with PyTorch layer by layer. The golden file of `pvt_v2_b1` holds what Hugging Face's model computed in float64 from parameters and pictures that are made from a seed, bit by bit the same everywhere. It keeps all logits, and of each layer's output a digest of eleven numbers. `golden_case` reads such a file, `compare` runs our model beside it, and a layer *departs* if it is off by more than a tolerance.

# %%
exact, single = (golden_case("pvt_v2_b1", dtype) for dtype in ("float64", "float32"))
print(exact.reference)
rows = by_precision(exact, single)
for dtype, tolerance in TOLERANCES.items():
    departs = first_departure(rows[f"NumPy, {dtype}"], tolerance)
    print(f"{dtype}: nothing is off by more than {tolerance:.0e}: {departs is None}")

# %% tags=["varies"]
plots.difference(rows, title="pvt_v2_b1 against PyTorch's float64")

# %% [markdown]
# Two flat lines. Rounding is about $10^{-16}$ of a number in float64 and $10^{-7}$ in float32, and after some hundred operations it has grown by a factor of ten or a hundred; it does not grow layer by layer, because the norms keep all numbers in range.
# That is what a correct port looks like. A bug looks different. Here are four, each made on purpose (`python -m pvt_numpy.validate --break NAME` makes them too):

# %% [markdown] tags=["predict"]
# **Predict first.** A wrong [epsilon](glossary.md#epsilon), the tanh form of GELU, keys and values swapped. Which of these three change the five best labels?


# %%
def top5():
    """The five best answers to the golden file's picture."""
    logits = pvt_numpy.forward(exact.pixels, exact.params, exact.config).logits
    return np.argsort(-logits)[:, :5].tolist()


right = top5()
wrong = {"correct": rows["NumPy, float64"]}
for mistake in ("eps", "gelu", "kv"):
    wrong[mistake] = compare(exact, mistake)
    first = first_departure(wrong[mistake], TOLERANCES["float64"])
    with made(mistake):  # a wrong function stands in the place of the right one
        same = top5() == right
    print(f"{mistake:5} {MISTAKES[mistake].text}")
    print(f"      first departs at {first.name}")
    print(f"      logits wrong by {wrong[mistake][-1].max_abs:.1e}; same top-5: {same}")

# %% tags=["varies"]
quiet = {name: wrong[name] for name in ("correct", "eps", "gelu")}
plots.difference(quiet, title="two quiet mistakes, in float64")

# %% [markdown]
# Read the printed lines again. With the wrong epsilon, and even with the wrong GELU, the top-5 may stay the same: **a demo that looks right proves nothing**. The swapped keys and values change much more; but they, too, run without an error.
#
# In float64 the mistakes stand ten orders of magnitude above the rounding, and the first row that departs names the layer to look at. In float32 the wrong epsilon would hide in the rounding:

# %%
hidden = compare(single, "eps")
for label, found in (("float32", hidden), ("float64", wrong["eps"])):
    noticed = first_departure(found, TOLERANCES[label]) is not None
    print(f"wrong epsilon noticed in {label}: {noticed}")

# %% [markdown]
# The fourth mistake needs a v1 model: its [position table](glossary.md#position-table) read column by column.

# %%
resized = golden_case("pvt_tiny_resized")
turned = first_departure(compare(resized, "pos"), TOLERANCES["float64"])
print("correct: departs nowhere:", first_departure(compare(resized), 1e-10) is None)
print(f"pos: {MISTAKES['pos'].text}; first departs at {turned.name}")

# %% [markdown]
# Hugging Face's model cannot run this case at all: the picture has another size than the table. The reference was computed with PyTorch's own functions instead.
#
# ## Live, if PyTorch is installed
#
# Here is the same comparison with all its hundred and more rows, on our picture and the shipped weights. If PyTorch is installed, a third, green line compares PyTorch's *own* float32 with its float64: NumPy's rounding is as large as PyTorch's.

# %% tags=["varies"]
import warnings

models = {dtype: pvt_numpy.load_model(dtype=dtype) for dtype in ("float64", "float32")}
try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = [live_case("our picture", models[dtype], x.astype(dtype)) for dtype in models]
    title = "the shipped model on our picture, against PyTorch's float64"
except ImportError:
    cases = [golden_case(models[dtype], dtype) for dtype in models]
    title = "the shipped model against PyTorch's golden numbers (PyTorch is not installed here)"
plots.difference(by_precision(*cases), title=title)

# %% [markdown]
# ## Exercises

# %% [markdown]
# **1.** The [recipe](glossary.md#recipe) is part of the port. Classify the golf ball with the recipe `pvt_numpy.RECIPES["hf-bilinear"]`, which differs only in the filter that resizes. By how much does the logit that moves most move? Compare it with the wrong epsilon above.
#
# <details><summary>Hint</summary>
#
# `pvt_numpy.preprocess(PICTURE, **recipe)` prepares the picture, `logits` are those of the model's own recipe. A logit may move up or down.
#
# </details>

# %% tags=["exercise"]
largest = ...

practice.check(largest, "6.1")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# other = pvt_numpy.preprocess(PICTURE, **pvt_numpy.RECIPES["hf-bilinear"])
# largest = np.abs(pvt_numpy.forward(other, model.params, model.config).logits - logits).max()
# ```
#
# By about 0.02 on the golf ball: far more than the epsilon. A port that agrees to $10^{-12}$ on the same pixels can still disagree on the same *file*; therefore every model here carries its recipe.
#
# </details>

# %% [markdown]
# **2.** Which of the four mistakes would a test with `assert output.shape == (1, 1000)` find? And "same top-1 on one picture"? Count, of the three mistakes `eps`, `gelu` and `kv`, those with which the shipped model still answers "golf ball".
#
# <details><summary>Hint</summary>
#
# `with made("kv"):` puts the wrong function in place of the right one for the lines below it.
#
# </details>

# %% tags=["exercise"]
keep_the_answer = ...

practice.check(keep_the_answer, "6.2")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# keep_the_answer = 0
# for mistake in ("eps", "gelu", "kv"):
#     with made(mistake):
#         bad = pvt_numpy.forward(x, model.params, model.config).logits[0]
#     print(mistake, model.labels[bad.argmax()])
#     keep_the_answer += bool(bad.argmax() == best)
# ```
#
# The first finds none. On the golf ball all three keep the answer, even the swapped keys and values, which move the logits most: one picture that is recognised proves nothing at all.
#
# </details>

# %% [markdown]
# **3.** Make a mistake of your own: swap the roles of rows and columns in the `dwconv` [kernel](glossary.md#kernel) of stage 3, block 1 (`weight.swapaxes(-1, -2)`). Which row of the comparison is the first to depart? Answer with its name.
#
# <details><summary>Hint</summary>
#
# Copy the parameters of `exact` with `copy.deepcopy` and change the copy; `exact._replace(params=mine)` is a case with them. In code, stage 3, block 1 is `["stages"][2]["blocks"][0]`.
#
# </details>

# %% tags=["exercise"]
name = ...

practice.check(name, "6.3")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# import copy
#
# mine = copy.deepcopy(exact.params)
# dwconv = mine["stages"][2]["blocks"][0]["mlp"]["dwconv"]
# dwconv["weight"] = dwconv["weight"].swapaxes(-1, -2)
# name = first_departure(compare(exact._replace(params=mine)), 1e-10).name
# print(name)
# ```
#
# At `stages.2.blocks.0`, and not at the attention before it: the first departure names the block.
#
# </details>

# %% [markdown]
# **4.** Write GELU for arrays of any shape. Try the tanh form first, and look at what the check says.
#
# <details><summary>Hint</summary>
#
# `np.vectorize(math.erf)` takes arrays. The formula stands at trap 1.
#
# </details>


# %% tags=["exercise"]
def my_gelu(x):
    """x of any shape -> x times the normal distribution's cumulative probability."""
    raise NotImplementedError


practice.check(my_gelu, "gelu")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_gelu(x):
#     return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
# ```
#
# </details>

# %% [markdown]
# ## The check

# %%
for name, array in arrays.items():  # the twelve lines read what the package reads
    assert np.array_equal(array.astype(np.float32), ours[name])
# float64 agrees with PyTorch in every layer ...
assert first_departure(wrong["correct"], 1e-10) is None
for mistake in ("eps", "gelu", "kv"):
    assert first_departure(wrong[mistake], 1e-10) is not None  # ... and mistakes do not
assert first_departure(rows["NumPy, float32"], 1e-4) is None
assert first_departure(hidden, 1e-4) is None  # the wrong epsilon hides in float32
assert turned.name == "stages.0.tokens"  # the position table is added there
shipped = compare(golden_case(models["float64"]))  # the weights that ship, too
assert max(row.relative for row in shipped) < 1e-10
print("all checks passed")
