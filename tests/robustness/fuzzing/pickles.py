"""Cases of PyTorch's pickles: sound ones in both formats and under any suffix, tables of other things, and damage.

What is loaded must be the numbers that were saved, or, if bytes were damaged of which PyTorch keeps no checksum, at
least a model of finite numbers. Needs PyTorch, which is imported when the first case is drawn.
"""

import argparse
import collections
import io
import pathlib
import re
import warnings
from functools import cache

import numpy as np
from hypothesis import strategies as st

from pvt_numpy.checkpoints.checkpoint import load_model
from pvt_numpy.parameters import flatten
from tests.checkpoints.models import make_model, state_dict

from .edits import damaged_bytes
from .judge import Case
from .models import BY_SHAPE

SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".pth.tar", ".pkl", ".safetensors", "")
NAME = "norm1.bias"  # a small parameter


class Mine:
    """A class of somebody's own."""


@cache
def checkpoint():
    """(the model, its state dict as tensors)."""
    import torch

    model = make_model(BY_SHAPE)
    return model, {name: torch.from_numpy(value) for name, value in state_dict(model, "official").items()}


@cache
def saved(what, new):
    """The bytes of a pickle of `what`, a name in `whats`, in PyTorch's new format or its old one."""
    import torch

    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of types that PyTorch calls experimental
        torch.save(whats()[what], file, _use_new_zipfile_serialization=new)
    return file.getvalue()


@cache
def whats():
    """name -> what is saved; the names of those that are a checkpoint begin with "sound"."""
    import torch

    _, state = checkpoint()
    tensor, parameter = state[NAME], torch.nn.Parameter
    odd = {
        "integers": tensor.int(), "complex": tensor.to(torch.complex64), "float8": tensor.to(torch.float8_e4m3fn),
        "meta": tensor.to("meta"), "sparse": tensor.to_sparse(), "a row too many": torch.ones(len(tensor) + 1),
        "nested": torch.nested.nested_tensor([tensor], layout=torch.jagged), "NaN": tensor * np.nan, "no tensor": 3,
        "enormous": torch.ones(1).expand(10**12), "no number": tensor[0], "nothing": None, "a list": [tensor],
    }  # fmt: skip
    others = {
        "own class": Mine(), "NumPy's number": np.float64(3), "path": pathlib.PurePosixPath("/x"), "function": print,
        "defaultdict": collections.defaultdict(list), "module": torch.nn.Linear(1, 1),
    }  # fmt: skip
    return {
        "sound": state, "sound under model": {"model": state, "epoch": 3, "args": argparse.Namespace(lr=0.1)},
        "sound after module.": {"state_dict": {f"module.{name}": value for name, value in state.items()}},
        "sound parameters": {name: parameter(value) for name, value in state.items()},
        "sound in float64": {name: value.double() for name, value in state.items()},
        "a list": [state], "a tensor": tensor, "empty": {}, "a text": "x", "a number": {"model": 3}, "a 1": {1: tensor},
        **{f"{name} as a parameter": state | {NAME: value} for name, value in odd.items()},
        **{f"{name} beside": {"model": state, "beside": value} for name, value in others.items()},
        "one missing": {name: value for name, value in state.items() if name != NAME},
        "one more": state | {"more": tensor}, "10,001 names": {f"x.{n}": tensor for n in range(10_001)},
    }  # fmt: skip


@st.composite
def pickles(draw):
    """A pickle of a checkpoint or of something else, whole, damaged or cut off, under any suffix."""
    sound = [name for name in whats() if name.startswith("sound")]
    name, new = draw(st.sampled_from(sound) | st.sampled_from(list(whats()))), draw(st.booleans())
    data, how = saved(name, new), draw(st.sampled_from(["whole", "whole", "cut off", "damaged"]))
    story = how
    if how == "cut off":
        data = data[: draw(st.integers(0, len(data) - 1))]
        story = f"the first {len(data)} bytes"
    elif how == "damaged":
        data, story = draw(damaged_bytes(data, (60, 100, 200, len(data) - 22)))
    file = f"m{draw(st.sampled_from(SUFFIXES))}"

    def check(model):
        found = flatten(model.params)
        assert all(value.dtype == np.float32 and np.isfinite(value).all() for value in found.values())
        if how == "whole":
            assert name.startswith("sound"), "this is no checkpoint"
            expected = flatten(checkpoint()[0].params)
            assert list(found) == list(expected)
            assert all(np.array_equal(found[one], expected[one]) for one in found), "other numbers"

    def load(path):
        try:
            return load_model(path)
        except ValueError as error:
            if how == "whole" and name.startswith("sound"):
                raise RuntimeError("a sound file is refused") from error
            if re.search("weights_only|safe_globals|\x1b", str(error)):
                raise RuntimeError(f"PyTorch's advice is passed on: {error}") from error
            raise

    return Case(f"{name}, {'new' if new else 'old'} format, as {file}, {story}", {file: data}, file, load, check,
                memory=256 << 20)  # fmt: skip
