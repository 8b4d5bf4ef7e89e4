"""Small models, their traces, and what a figure shows: for the tests of figures and of rollout."""

from functools import cache

import numpy as np

from pvt_numpy import PvtConfig, PvtV2Config, forward, init_params, plots

SMALL = {"depths": (2, 1, 1, 2), "hidden_sizes": (8, 8, 15, 16), "num_attention_heads": (1, 2, 5, 4), "num_labels": 3}
V1, V2 = PvtConfig(image_size=64, **SMALL), PvtV2Config(**SMALL)


@cache
def traced(config, H=64, W=96, B=1):
    """(photo, trace, pixel values, parameters) of a model whose scores are far from 0, so that none attends evenly."""
    rng = np.random.default_rng(3)
    params = init_params(config, rng, np.float64)
    for stage in params["stages"]:
        for block in stage["blocks"]:
            block["attn"]["q"]["weight"] *= 200
    x, trace = rng.standard_normal((B, 3, H, W)), {}
    forward(x, params, config, trace=trace)
    return plots.photo_of(x), trace, x, params


def boxes(axes):
    """(left, top, width, height) of every key that is drawn, and their weights."""
    (drawn,) = axes.collections
    corners = np.array([path.vertices[:4] for path in drawn.get_paths()])
    low, high = corners.min(axis=1), corners.max(axis=1)
    return np.concatenate([low, high - low], axis=1), np.asarray(drawn.get_array())


def query(axes):
    """(left, top, width, height) of the blue frame."""
    return axes.patches[-1].get_bbox().bounds


def panels_of(figure):
    """The axes that have a title."""
    return [axes for axes in figure.axes if axes.get_visible() and axes.get_title()]


def shown(figure):
    """Every word in the figure, in one text."""
    texts = [figure.get_suptitle()]
    for axes in figure.axes:
        texts += [axes.get_title(), axes.get_ylabel(), *(text.get_text() for text in axes.texts)]
    return "\n".join(texts)
