"""What the explorer's two test modules share: small models with sharp attention, and a reader of a page's data."""

import base64
import json
import re
from functools import cache

import numpy as np

import pvt_numpy
from pvt_numpy import Model, PvtConfig, PvtV2Config, init_params
from pvt_numpy.explorer.page import explore
from tests.processes import BALL

NASTY_LABELS = ("</script><b>x", 'a "quoted" label', "it's <!-- -->", "&amp; \u2028 é")
# an input whose sides fill no squares: 90 x 70 pixels, 23 x 18 tokens (v2) or 22 x 17 (v1), keys of the grid's inside
RECIPE = {"size": {"height": 90, "width": 70}}
SMALL = {"depths": (2, 1, 2), "num_encoder_blocks": 3, "hidden_sizes": (8, 16, 64), "num_attention_heads": (1, 2, 2),
         "strides": (4, 2, 2), "mlp_ratios": (2, 2, 2), "num_labels": 4, "image_size": (90, 70)}  # fmt: skip


@cache
def model_of(kind):
    """ "v1", "v2" or "linear", small and with labels that would break a careless page; or "shipped"."""
    if kind == "shipped":
        return pvt_numpy.load_model()
    if kind == "v1":
        config = PvtConfig(**SMALL, patch_sizes=(4, 2, 2), sequence_reduction_ratios=(4, 2, 1))
    else:
        config = PvtV2Config(**SMALL, patch_sizes=(7, 3, 3), sr_ratios=(4, 2, 1), linear_attention=kind == "linear")
    params = init_params(config, np.random.default_rng(5))
    for stage in params["stages"]:
        for block in stage["blocks"]:  # fresh weights attend almost evenly, and a test on them could not fail
            for name in ("q", "kv"):
                block["attn"][name]["weight"] *= np.float32(16)
    return Model(config, params, NASTY_LABELS, RECIPE, {"source": f"small <{kind}>", "recipe": "none"})


@cache
def page_of(kind):
    """The page of the sample picture and a model."""
    return explore(BALL, model_of(kind))


@cache
def trace_of(kind):
    """The forward pass that `page_of(kind)` must show."""
    model, trace = model_of(kind), {}
    pixel_values = pvt_numpy.preprocess(BALL, **model.preprocessing)
    pvt_numpy.forward(pixel_values, model.params, model.config, trace=trace)
    return trace


def stages_of(kind):
    """The stages in the data of `page_of(kind)`."""
    return data_of(page_of(kind).html)["stages"]


def cosines(a, b):
    """The cosine of the angle between every row of a and every row of b."""
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return a @ b.T


def data_of(html):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)[1])


def numbers(text, dtype):
    return np.frombuffer(base64.b64decode(text), dtype)


def stored(block, name, bits, *shape):
    """An array of a block out of a page's data, integers times scales."""
    whole = numbers(block[name], f"<i{bits // 8}").reshape(*shape)
    return whole * numbers(block[f"{name}Scale"], "<f4").reshape(*whole.shape[:-1], 1).astype(np.float64)


def stored_scores(stage, block):
    """(heads, n, M) out of a stage of a page's data, as the page computes them."""
    heads, bits = stage["heads"], stage["bits"]
    if stage["onlyScores"]:
        return stored(block, "scores", bits, heads, -1, stage["keys"])
    d = stage["channels"] // heads
    q, k = (stored(block, name, bits, heads, -1, d) for name in "qk")
    return q @ k.swapaxes(-1, -2) / np.sqrt(d)


def kept_queries(stage):
    """Which of the model's queries a stage of the page has."""
    class_tokens = int(stage["classToken"])
    grid = np.add.outer(np.array(stage["rows"]) * stage["grid"][1], stage["columns"]).ravel()
    return np.concatenate([np.arange(class_tokens), class_tokens + grid])
