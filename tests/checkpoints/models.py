"""Small models of every kind, and the parameters of one as each kind of checkpoint names them."""

from dataclasses import replace

import numpy as np

from pvt_numpy.checkpoints.checkpoint import Model
from pvt_numpy.checkpoints.names import file_names
from pvt_numpy.config import PvtConfig, PvtV2Config
from pvt_numpy.parameters import flatten, parameter_shapes, unflatten

# Published widths, for shapes alone do not tell heads; one block a stage and small pictures keep them fast.
V1 = PvtConfig(depths=(1, 1, 1, 1), image_size=32, num_labels=3)
V2 = PvtV2Config(depths=(1, 1, 1, 1), num_labels=3)
LINEAR = replace(V2, linear_attention=True)
# Few parameters, for what needs no recognition by shape.
SMALL_V1 = PvtConfig(depths=(1, 1, 2, 1), hidden_sizes=(8, 8, 20, 16), image_size=64, num_labels=4, patch_norm_eps=1e-5)
SMALL_V2 = PvtV2Config(depths=(1, 2, 1, 1), hidden_sizes=(8, 8, 20, 16), num_labels=4)
SPLIT = {"layer_norm_eps": 1e-6, "patch_norm_eps": 1e-5}  # the epsilons of the official code and of timm


def make_model(config, seed=0, **fields):
    """A Model of random numbers: all of them differ, so whatever is mixed up on the way shows."""
    rng = np.random.default_rng(seed)
    flat = {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in parameter_shapes(config).items()}
    return Model(config, unflatten(flat), **fields)


def state_dict(model, kind, bare=False):
    """The parameters of `model` as a checkpoint of another kind holds them."""
    state = {}
    for name, value in flatten(model.params).items():
        names = file_names(name, kind, bare)
        state |= zip(names, map(np.ascontiguousarray, np.split(value, len(names))), strict=True)
    return state


def retyped(params, *dtypes):
    """The same parameters as numbers of one type, then of the next."""
    flat = flatten(params)
    for dtype in dtypes:
        flat = {name: value.astype(dtype) for name, value in flat.items()}
    return unflatten(flat)


def assert_same(params, expected):
    """The same names, shapes, types and bits."""
    params, expected = flatten(params), flatten(expected)
    assert list(params) == list(expected)
    for name, value in params.items():
        assert value.dtype == expected[name].dtype, name
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
