"""A model at work on one prepared picture, with what it computed on the way; and the names of that in words."""

import re

import numpy as np

from ..layers.run import Only
from ..model import forward, start, trunk
from ..parameters import has_class_token
from ..system.checks import about


def observe(model, pixel_values, name, keep=".*"):
    """(logits, trace) of a forward pass of a `Model` over pixel_values (1, num_channels, H, W).

    name  of the picture, for the ValueError if the model cannot take it or the outputs are not finite
    keep  a regular expression: the names in the trace that are kept
    """
    trace = Only(keep)
    dtype = model.params["stages"][0]["patch_embed"]["proj"]["weight"].dtype
    with about(name):
        logits = as_far_as_it_goes(pixel_values.astype(dtype, copy=False), model.params, model.config, trace)
    check_finite(logits, [name])
    return logits, trace


def as_far_as_it_goes(pixel_values, params, config, trace):
    """The logits of a forward pass with this trace; of a detector's v1, which has no class token to classify by, what
    its last stage ends with."""
    if has_class_token(params, config):
        return forward(pixel_values, params, config, trace=trace).logits
    return trunk(pixel_values, params, config, start(config, watchers=[trace]))[0]


def check_finite(logits, names):
    """A ValueError with the name of the first picture whose row of logits is not finite."""
    for name, row in zip(names, logits, strict=True):
        if not np.isfinite(row).all():
            raise ValueError(f"{name}: found outputs of the model that are not finite; expected numbers")


def place(name):
    """Where in the model an array of the trace is, counted from 1, as people do; "" for what is in no stage.

    >>> place("stages.1.blocks.0.attn.probs"), place("logits")
    ('stage 2, block 1', '')
    """
    return ", ".join(f"{what} {int(index) + 1}" for what, index in re.findall(r"(stage|block)s\.(\d+)", name))
