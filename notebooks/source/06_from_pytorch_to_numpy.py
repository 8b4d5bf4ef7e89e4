# %% [markdown]
# # 6 · From PyTorch to NumPy
#
# A port is finished when it gives the original's numbers, and not before. This notebook is about getting there: opening a checkpoint, giving its arrays the right names, and the mistakes that hide behind a plausible result.
#
# **What you will do.** Read a `.safetensors` file with nothing but NumPy; translate parameter names between four codebases; rebuild GELU without SciPy; make four classic porting mistakes on purpose and watch a layer-by-layer comparison find them.
#
# **What you will learn.** Why "same top-5" proves little; how large a difference rounding makes, and how to tell it from a bug; which details of PVT differ between its three public PyTorch versions.
#
# **What you need.** NumPy. PyTorch is *not* needed: its numbers were written down (`pvt_numpy/reference/golden_numbers/`), with the versions and the script that made them. If PyTorch and transformers are installed, the last section also compares live. About 30 minutes. Code counts stages and blocks from 0: `stages.0` is stage 1.

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
from pvt_numpy import plots
from pvt_numpy.checkpoints.checkpoint import SHIPPED
from pvt_numpy.checkpoints.export import export_hf
from pvt_numpy.checkpoints.names import file_names
from pvt_numpy.config import config_from_dict
from pvt_numpy.layers.activations import gelu, gelu_new
from pvt_numpy.layers.layernorm import layer_norm
from pvt_numpy.parameters import flatten
from pvt_numpy.reference import comparison as compare
from pvt_numpy.reference import golden

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
# The same numbers are called differently by the official code, timm, and Hugging Face's two models. The official names are the shortest and this package keeps them, with one common prefix for all stages. One block, ours against Hugging Face's:

# %%
for name in flatten(model.params):
    if name.startswith("stages.1.blocks.0.attn") and name.endswith("weight"):
        print(f"{name:34} {' + '.join(file_names(name, 'hf-v2'))}")

# %% [markdown]
# Note the line with two names. Keys and values are *one* matrix $(2C, C)$ in the official code, keys first, and two matrices in Hugging Face's. If you stack the two the other way round, all shapes are right and the model computes nonsense.
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
print(f"tanh form:                     wrong by up to {np.abs(gelu_new(grid) - truth).max():.1e}")
print(
    f"formula, float64:              within rounding: {abs(gelu_as_formula(grid) - truth).max() < 1e-14}"
)
print(
    f"faster form, float32:          within rounding: {np.abs(gelu(single) - truth).max() < 1e-6}"
)

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
# The formula in `layers/activations.py` is one line, `x * normal_cdf(x)`. It is slow, because `normal_cdf` calls `math.erf` for one number after the other. What usually runs is a faster form of the same name in `fast/activations.py`, which needs no erf in float32. With $a = |x|$, GELU is a ReLU from which a small term is subtracted: $\max(x, 0) - a\,(1 - \Phi(a))$. The tail $1 - \Phi(a)$ of the normal distribution is $1 / P(a)^8$ with a fitted polynomial $P$ of degree 8: nothing but multiplications, additions and one division. The largest error of this form on a fine grid:

# %%
fine = np.linspace(-5, 5, 100_001, dtype=np.float32)
exact = gelu_by_hand(fine.astype(np.float64))
print("below 3e-7 everywhere:", np.abs(gelu(fine) - exact).max() < 3e-7)

# %% [markdown]
# ## Trap 2: layer norm in one pass
#
# $\mathrm{Var}(x) = E[x^2] - E[x]^2$ needs only one pass over the data. In float32 it subtracts two large, nearly equal numbers, and nothing is left:


# %%
def variance_in_one_pass(x):
    return (x * x).mean(axis=-1) - x.mean(axis=-1) ** 2


row = np.random.default_rng(0).normal(1000, 0.1, (1, 256)).astype(np.float32)
truth = row.astype(np.float64).var()
unit = layer_norm(row, np.ones(256, np.float32), np.zeros(256, np.float32), eps=1e-6)
print(f"true variance {truth:.4f}; in two passes {row.var():.4f}")
print(
    "in one pass it is wrong by more than half of it:",
    bool(abs(variance_in_one_pass(row)[0] - truth) > 0.5 * truth),
)
print(f"the package's layer norm gives a standard deviation of {unit.std():.3f}")

# %% [markdown]
# ## Trap 3: float64 sneaks in
#
# Since NumPy 2, a NumPy float64 *scalar* such as `np.sqrt(2)` turns a float32 array into float64. `math.sqrt(2)`, a Python float, does not. The results stay right, so nobody notices that everything takes twice the time and memory:

# %%
print(
    "times math.sqrt(2):",
    (np.ones(3, np.float32) * math.sqrt(2)).dtype,
    "  the logits of the model:",
    logits.dtype,
)

# %% [markdown]
# ## Trap 4: two epsilons
#
# Layer norm divides by $\sqrt{\mathrm{Var} + \epsilon}$. PyTorch's default is $\epsilon = 10^{-5}$. The official code and timm use it in the patch embeddings and inside SRA, and $10^{-6}$ elsewhere. Hugging Face's models use their `layer_norm_eps` ($10^{-6}$) everywhere. So the *same weights* have slightly different logits in different libraries, and a port must say which one it follows:

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
# Compare with PyTorch layer by layer. The golden file of `pvt_v2_b1` holds what Hugging Face's model computed in float64 from parameters and pictures that are made from a seed, bit by bit the same everywhere. It keeps all logits, and of each layer's output a digest of eleven numbers.

# %%
reference = golden.read_golden("pvt_v2_b1")
print(reference["reference"], reference["versions"])
config = config_from_dict(reference["config"])


def run(config, params, dtype):
    """Our numbers for the golden file's picture, as rows of differences."""
    pixels = golden.seeded_pixels(reference["pixels"]["shape"], reference["pixels"]["seed"], dtype)
    trace = {}
    pvt_numpy.forward(pixels, params, config, trace=trace)
    return compare.differences(golden.digests(trace, config), reference["numbers"]), trace["logits"]


rows, right = {}, {}
for dtype in (np.float64, np.float32):
    params = golden.seeded_params(config, reference["params"]["seed"], dtype)
    rows[f"NumPy, {np.dtype(dtype)}"], right[dtype] = run(config, params, dtype)

# %% tags=["varies"]
plots.difference(rows, title="pvt_v2_b1 against PyTorch's float64")

# %% [markdown]
# Two flat lines. Rounding is about $10^{-16}$ of a number in float64 and $10^{-7}$ in float32, and after some hundred operations it has grown by a factor of ten or a hundred; it does not grow layer by layer, because the norms keep all numbers in range.
# That is what a correct port looks like. A bug looks different. Here are four, each made on purpose (`python -m pvt_numpy.validate --break NAME` makes them too):

# %%
params = golden.seeded_params(config, reference["params"]["seed"], np.float64)
wrong = {"correct": rows["NumPy, float64"]}
for mistake in ("eps", "gelu", "kv"):
    broken_rows, broken_logits = run(*compare.broken(mistake, config, params), np.float64)
    wrong[mistake] = broken_rows
    first = compare.first_departure(broken_rows, compare.TOLERANCES["float64"])
    same = (np.argsort(-broken_logits)[:, :5] == np.argsort(-right[np.float64])[:, :5]).all()
    print(f"{mistake:5} {compare.MISTAKES[mistake][0]}")
    print(
        f"      first departs at {first.name}; "
        f"logits wrong by {broken_rows[-1].max_abs:.1e}; same top-5: {same}"
    )

# %% tags=["varies"]
plots.difference(
    {name: wrong[name] for name in ("correct", "eps", "gelu")},
    title="two quiet mistakes, in float64",
)

# %% [markdown]
# Read the printed lines again. With the wrong epsilon, and even with the wrong GELU, the top-5 may stay the same: **a demo that looks right proves nothing**. The swapped keys and values change much more; but they, too, run without an error.
#
# In float64 the mistakes stand ten orders of magnitude above the rounding, and the first row that departs names the layer to look at. In float32 the wrong epsilon would hide in the rounding:

# %%
params32 = golden.seeded_params(config, reference["params"]["seed"], np.float32)
hidden, _ = run(*compare.broken("eps", config, params32), np.float32)
print(
    "wrong epsilon noticed in float32:",
    compare.first_departure(hidden, compare.TOLERANCES["float32"]) is not None,
)
noticed = compare.first_departure(wrong["eps"], compare.TOLERANCES["float64"]) is not None
print("wrong epsilon noticed in float64:", noticed)

# %% [markdown]
# The fourth mistake needs a v1 model: its position table read column by column.

# %%
reference = golden.read_golden("pvt_tiny_resized")
v1_config = config_from_dict(reference["config"])
v1_params = golden.seeded_params(v1_config, reference["params"]["seed"], np.float64)
v1_rows, _ = run(v1_config, v1_params, np.float64)
turned, _ = run(*compare.broken("pos", v1_config, v1_params), np.float64)
first = compare.first_departure(turned, compare.TOLERANCES["float64"])
nowhere = compare.first_departure(v1_rows, compare.TOLERANCES["float64"]) is None
print("correct: departs nowhere:", nowhere)
print(f"pos: {compare.MISTAKES['pos'][0]}; first departs at {first.name}")

# %% [markdown]
# Hugging Face's model cannot run this case at all: the picture has another size than the table. The reference was computed with PyTorch's own functions instead.
#
# ## Live, if PyTorch is installed
#
# Here is the same comparison with all its hundred and more rows, on our picture and the shipped weights. If PyTorch is installed, a third, green line compares PyTorch's *own* float32 with its float64: NumPy's rounding is as large as PyTorch's.


# %% tags=["varies"]
def load(dtype):
    loaded = pvt_numpy.load_model(dtype=dtype)
    return loaded.params, loaded.config


try:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lines = plots.live(load, x)
    title = "the shipped model on our picture, against PyTorch's float64"
except ImportError:
    lines = plots.from_golden("shipped", load)
    title = "the shipped model against PyTorch's golden numbers (PyTorch is not installed here)"
plots.difference(lines, title=title)

# %% [markdown]
# ## Exercises
#
# **1.** Preprocessing is part of the port. Classify the picture with the recipe `pvt_numpy.RECIPES["hf-bilinear"]`, which differs only in the filter that resizes. How far do the logits move, compared with the wrong epsilon above?
#
# <details><summary>Solution</summary>
#
# ```python
# other = pvt_numpy.preprocess(PICTURE, **pvt_numpy.RECIPES["hf-bilinear"])
# np.abs(pvt_numpy.forward(other, model.params, model.config).logits - logits).max()
# ```
#
# By about 0.04 on the golf ball: far more than the epsilon. A port that agrees to $10^{-12}$ on the same pixels can still disagree on the same *file*; therefore every model here carries its recipe.
#
# </details>

# %% [markdown]
# **2.** Which of the four mistakes would a test with `assert output.shape == (1, 1000)` find? Which would "same top-1 on one picture"? Try the second with the shipped model and `compare.broken`.
#
# <details><summary>Solution</summary>
#
# The first finds none. The second:
#
# ```python
# for mistake in ("eps", "gelu", "kv"):
#     bad_config, bad_params = compare.broken(mistake, model.config, model.params)
#     bad = pvt_numpy.forward(x, bad_params, bad_config).logits[0]
#     print(mistake, model.labels[bad.argmax()])
# ```
#
# On the golf ball all three keep the answer, even the swapped keys and values, which move the logits most: one picture that is recognised proves nothing at all.
#
# </details>

# %% [markdown]
# **3.** Make a mistake of your own: swap the roles of rows and columns in one `dwconv` kernel (`weight.swapaxes(-1, -2)`). Where does it first depart?
#
# <details><summary>Solution</summary>
#
# ```python
# import copy
# mine = copy.deepcopy(params)
# layer = mine["stages"][2]["blocks"][0]["mlp"]["dwconv"]
# layer["weight"] = layer["weight"].swapaxes(-1, -2)
# reference = golden.read_golden("pvt_v2_b1")
# print(compare.first_departure(run(config, mine, np.float64)[0], 1e-10).name)
# ```
#
# At `stages.2.blocks.0`, and not at the attention before it: the first departure names the block.
#
# </details>

# %% [markdown]
# ## The check

# %%
for name, array in arrays.items():  # the twelve lines read what the package reads
    assert np.array_equal(array.astype(np.float32), ours[name])
# float64 agrees with PyTorch in every layer ...
assert compare.first_departure(wrong["correct"], 1e-10) is None
for mistake in ("eps", "gelu", "kv"):
    assert compare.first_departure(wrong[mistake], 1e-10) is not None  # ... and mistakes do not
assert compare.first_departure(rows["NumPy, float32"], 1e-4) is None
assert compare.first_departure(turned, 1e-10).name == "stages.0.tokens"  # the table is added there
shipped = plots.from_golden("shipped", load)
assert max(row.relative for row in shipped["NumPy, float64"]) < 1e-10  # the weights that ship, too
print("all checks passed")
