"""Notebook 8's mixers are what they are said to be: PyTorch's layers, transformers' Swin and SegFormer, loops."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

pytest.importorskip("jupytext")
import jupytext

from pvt_numpy import VARIANTS, init_params, pyramid
from tests.processes import BALL, ROOT

MARKS = "**Predict first.**"  # the mixers are defined above it


@cache
def notebook():
    """The names that the notebook defines before its first figure."""
    names = {}
    for cell in jupytext.read(ROOT / "notebooks" / "source" / "08_the_relatives.py", fmt="py:percent").cells:
        if MARKS in cell.source:
            return names
        if cell.cell_type == "code":
            exec(cell.source.replace('"golf_ball.jpg"', repr(str(BALL))), names)  # it runs in its own folder
    raise AssertionError("the mark is missing")


def test_a_mixer_is_at_most_ten_lines():
    source = (ROOT / "notebooks" / "source" / "08_the_relatives.py").read_text(encoding="utf-8")
    for mixer in notebook()["MIXERS"].values():
        body = source.split(f"def {mixer.__name__}(")[1].split("\n\n")[0].splitlines()[2:]
        assert 1 <= len(body) <= 10


def sees(row, column, other_row, other_column, shift):
    """Whether a token of Swin reads another: both in one window of 7, cut `shift` further down and right."""
    return (row - shift) // 7 == (other_row - shift) // 7 and (column - shift) // 7 == (other_column - shift) // 7


@pytest.mark.parametrize("shift", [0, 3])
def test_windows_are_the_loops(shift):
    """Token by token: the keys that it sees, their softmax, the mean of their values."""
    names = notebook()
    x, (C, heads) = names["x"][0], (names["C"], names["HEADS"])
    q, k, v = (x @ weight.T + bias for weight, bias in names["three_matrices"]())
    found = names["swin"](names["x"], shift)[0]
    for n in (0, 17, 45, 101, 195):
        keys = [m for m in range(196) if sees(*divmod(n, 14), *divmod(m, 14), shift)]
        mixed = []
        for part in np.split(np.arange(C), heads):
            scores = np.array([q[n, part] @ k[m, part] for m in keys]) / np.sqrt(C / heads)
            shares = np.exp(scores) / np.exp(scores).sum()
            mixed += list(shares @ v[np.ix_(keys, part)])
        expected = names["proj"]["weight"] @ np.array(mixed) + names["proj"]["bias"]
        assert np.abs(found[n] - expected).max() < 1e-12


def test_pooling_is_the_loops():
    names = notebook()
    x, found = names["x"].reshape(14, 14, -1), names["pooling"](names["x"]).reshape(14, 14, -1)
    for row, column in ((0, 0), (0, 6), (13, 13), (5, 9)):
        near = x[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        assert np.abs(found[row, column] - near.mean(axis=(0, 1)) + x[row, column]).max() < 1e-12


@pytest.mark.torch
def test_mixers_are_pytorchs():
    import torch
    from torch.nn import functional as F

    names = notebook()
    tensor = torch.from_numpy
    x = tensor(names["x"])
    map_ = x.reshape(1, 14, 14, -1).permute(0, 3, 1, 2)
    weights, biases = zip(*names["three_matrices"](), strict=True)
    expected, _ = F.multi_head_attention_forward(
        x[0], x[0], x[0], names["C"], names["HEADS"], tensor(np.concatenate(weights)), tensor(np.concatenate(biases)),
        None, None, False, 0.0, tensor(names["proj"]["weight"]), tensor(names["proj"]["bias"]))  # fmt: skip
    close(names["full"](names["x"])[0], expected)
    pooled = F.avg_pool2d(map_, 3, stride=1, padding=1, count_include_pad=False) - map_
    close(names["pooling"](names["x"]), pooled.flatten(2).mT)
    kernels = {name: tensor(array) for name, array in names["kernels"].items()}
    close(names["depthwise"](names["x"]), F.conv2d(map_, **kernels, padding=1, groups=names["C"]).flatten(2).mT)


@pytest.mark.torch
@pytest.mark.parametrize("shift", [0, 3])
def test_windows_are_swins(shift):
    """transformers' own layer with our weights: no norm, no bias for offsets, no MLP."""
    import torch
    from transformers import SwinConfig
    from transformers.models.swin.modeling_swin import SwinLayer

    names = notebook()
    config = SwinConfig(window_size=7, attn_implementation="sdpa")  # which stays in float64
    layer = SwinLayer(config, names["C"], (14, 14), names["HEADS"], shift_size=shift).double().eval()
    layer.layernorm_before = torch.nn.Identity()
    for parameter in layer.parameters():
        torch.nn.init.zeros_(parameter)
    linears = [module for module in layer.attention.modules() if isinstance(module, torch.nn.Linear)]
    fill(torch, linears, [*names["three_matrices"](), names["proj"].values()])  # queries, keys, values, output
    x = torch.from_numpy(names["x"])
    y = layer(x, (14, 14))
    close(names["swin"](names["x"], shift), (y if isinstance(y, torch.Tensor) else y[0]).reshape(x.shape) - x)


@pytest.mark.torch
@pytest.mark.parametrize("ratios", [(4, 4, 4, 4), (2, 3, 4, 1)])
def test_mit_is_pvt_v2_with_other_mlp_ratios(ratios):
    """transformers' SegformerModel with our weights: the same four maps."""
    import torch
    from transformers import SegformerConfig, SegformerModel

    config = replace(VARIANTS["pvt_v2_b0"], mlp_ratios=ratios, layer_norm_eps=1e-5)
    params = init_params(config, np.random.default_rng(0), dtype=np.float64)
    model = SegformerModel(SegformerConfig(mlp_ratios=list(ratios))).double().eval()
    kinds = torch.nn.Conv2d, torch.nn.Linear, torch.nn.LayerNorm
    fill(torch, [module for module in model.modules() if isinstance(module, kinds)], in_their_order(params))
    pixels = np.random.default_rng(1).standard_normal((2, 3, 64, 96))
    theirs = model(torch.from_numpy(pixels), output_hidden_states=True).hidden_states
    for found, expected in zip(pyramid(pixels, params, config), theirs, strict=True):
        close(found, expected)


def in_their_order(params):
    """(weight, bias) of every layer, as transformers' SegFormer has them: queries, keys and values apart."""
    for stage in params["stages"]:
        yield from (stage["patch_embed"][part].values() for part in ("proj", "norm"))
        for block in stage["blocks"]:
            yield block["norm1"].values()
            yield block["attn"]["q"].values()
            yield from zip(*(np.split(block["attn"]["kv"][part], 2) for part in ("weight", "bias")), strict=True)
            yield from (block["attn"][part].values() for part in ("proj", "sr", "norm") if part in block["attn"])
            yield block["norm2"].values()
            yield from (block["mlp"][part].values() for part in ("fc1", "dwconv", "fc2"))
        yield stage["norm"].values()


def fill(torch, modules, arrays):
    """Our weights and biases in the place of theirs."""
    with torch.no_grad():
        for module, pair in zip(modules, arrays, strict=True):
            for parameter, array in zip((module.weight, module.bias), pair, strict=True):
                assert parameter.shape == array.shape
                parameter.copy_(torch.from_numpy(array.copy()))


@pytest.mark.torch
def test_mit_b5_is_pvt_v2_b5():
    import torch
    from transformers import SegformerConfig, SegformerModel

    config = SegformerConfig(depths=[3, 6, 40, 3], hidden_sizes=[64, 128, 320, 512])
    with torch.device("meta"):
        theirs = SegformerModel(config).num_parameters()
    assert theirs == 81_956_008 - 513_000  # b5 of the table, without its head


def close(found, expected):
    expected = expected.detach().numpy()
    assert expected.shape == found.shape
    assert np.abs(found - expected).max() < 1e-12 * max(np.abs(expected).max(), 1)
