"""The classic porting mistakes, each made on purpose in a copy of a model: what a comparison with PyTorch must find."""

from dataclasses import replace

import numpy as np

from ..config import stage_grids
from ..parameters import flatten, unflatten


def _wrong_eps(config, params):
    return replace(config, layer_norm_eps=1e-6 if config.layer_norm_eps == 1e-5 else 1e-5), params


def _tanh_gelu(config, params):
    if config.hidden_act != "gelu":
        raise ValueError(f"mistake gelu: found hidden_act {config.hidden_act!r}; expected a model with 'gelu'")
    return replace(config, hidden_act="gelu_new"), params


def _values_before_keys(config, params):
    flat = flatten(params)
    for name in flat:
        if ".kv." in name:
            keys, values = np.split(flat[name], 2)
            flat[name] = np.concatenate([values, keys])
    return config, unflatten(flat)


def _positions_by_columns(config, params):
    if config.model_type != "pvt":
        raise ValueError("mistake pos: found a PVT v2, which has no position table; expected a v1 model")
    flat = flatten(params)
    for i, (H, W) in enumerate(stage_grids(config)):
        table = flat[f"stages.{i}.pos_embed"]
        first, rows = np.split(table, [table.shape[1] - H * W], axis=1)  # the class token's row, if there is one
        turned = rows.reshape(W, H, -1).swapaxes(0, 1).reshape(rows.shape)
        flat[f"stages.{i}.pos_embed"] = np.concatenate([first, turned], axis=1)
    return config, unflatten(flat)


MISTAKES = {  # name: (what went wrong, how it is made)
    "eps": ("layer norm's epsilon is 1e-5, PyTorch's default, but the model says 1e-6 (or the other way round)",
            _wrong_eps),
    "gelu": ("GELU is the tanh form, but the model was trained with the exact one", _tanh_gelu),
    "kv": ("the joint matrix of keys and values is read values first", _values_before_keys),
    "pos": ("the position table is read column by column", _positions_by_columns),
}  # fmt: skip


def broken(mistake, config, params):
    """The model's (config, params) with one of `MISTAKES` in it. ValueError if the model has no room for it.

    >>> from pvt_numpy.config import VARIANTS
    >>> broken("eps", VARIANTS["pvt_tiny"], {})[0].layer_norm_eps
    1e-05
    """
    return MISTAKES[mistake][1](config, params)
