"""Two runs of a model, layer by layer: how far apart, and which layer departs first.

`differences` compares two dicts of arrays, such as the trace of `forward` and the one that PyTorch leaves. `broken`
makes a copy of a model with one of the classic porting mistakes in it, to show how such a comparison finds it.

Left out: where the reference numbers come from; see `pytorch.py` (live) and `golden.py` (written down once).
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..config import stage_grids
from ..parameters import flatten, unflatten

# The largest relative difference that is still rounding. Measured on all eleven variants, see the README's table:
# float64 stays below 2e-14 and float32 below 1e-5; trained weights may have larger scores, and so more rounding.
TOLERANCES = {"float64": 1e-10, "float32": 1e-4}


class Difference(NamedTuple):
    """One layer's row: the largest and the mean absolute difference, and the largest over the reference's largest."""

    name: str
    max_abs: float
    mean_abs: float
    relative: float

    def departs(self, tolerance):
        """True beyond the tolerance, and for NaN."""
        return not self.relative <= tolerance


def differences(ours, reference):
    """A `Difference` for every name in `reference`, in its order. Both are dicts of arrays or tuples of numbers.

    Raises ValueError where a name is missing in `ours` or a shape is another.

    >>> differences({"logits": np.array([1.0, 2.5])}, {"logits": np.array([1.0, 2.0])})
    [Difference(name='logits', max_abs=0.5, mean_abs=0.25, relative=0.25)]
    """
    rows = []
    for name, expected in reference.items():
        if name not in ours:
            raise ValueError(f"{name} is in the reference and not here")
        found, expected = np.asarray(ours[name]), np.asarray(expected)
        if found.shape != expected.shape:
            raise ValueError(f"{name} has shape {found.shape}; expected {expected.shape}, as in the reference")
        distance, size = np.abs(found - expected), np.abs(expected).max()
        largest = distance.max()
        rows.append(Difference(name, float(largest), float(distance.mean()), float(largest / (size or 1))))
    return rows


def first_departure(rows, tolerance):
    """The first row beyond the tolerance, or None."""
    return next((row for row in rows if row.departs(tolerance)), None)


def _wrong_eps(config, params):
    return replace(config, layer_norm_eps=1e-6 if config.layer_norm_eps == 1e-5 else 1e-5), params


def _tanh_gelu(config, params):
    if config.hidden_act != "gelu":
        raise ValueError(f"hidden_act: found {config.hidden_act!r}; expected 'gelu'")
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
        raise ValueError("the model: found PVT v2, which has no position table; expected v1")
    flat = flatten(params)
    for i, (H, W) in enumerate(stage_grids(config)):
        table = flat[f"stages.{i}.pos_embed"]
        special, C = table.shape[1] - H * W, table.shape[2]
        turned = table[:, special:].reshape(W, H, C).swapaxes(0, 1).reshape(1, H * W, C)
        flat[f"stages.{i}.pos_embed"] = np.concatenate([table[:, :special], turned], axis=1)
    return config, unflatten(flat)


MISTAKES = {  # name: (what went wrong, how it is made)
    "eps": (
        "layer norm's epsilon is 1e-5, PyTorch's default, where the model says 1e-6 (or the other way round)",
        _wrong_eps,
    ),
    "gelu": ("GELU is the tanh form where the model was trained with the exact one", _tanh_gelu),
    "kv": ("the joint matrix of keys and values is read values first", _values_before_keys),
    "pos": ("the position table is read column by column", _positions_by_columns),
}


def broken(mistake, config, params):
    """The model's (config, params) with one of `MISTAKES` in it. Raises ValueError where the model has no room for it.

    >>> from pvt_numpy.config import VARIANTS
    >>> broken("eps", VARIANTS["pvt_tiny"], {})[0].layer_norm_eps
    1e-05
    """
    return MISTAKES[mistake][1](config, params)
