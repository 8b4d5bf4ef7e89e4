"""The parity tests can fail: each classic porting mistake, put into the package, must be seen by them.

A mutation replaces a function of the package for the length of one test. It is tried on the golden numbers (without
PyTorch), and the first layer that departs must be the one with the mistake; the mistakes that the project names are
also tried on the live comparison. Those that a layer's own tests must see stand beside its tests, in tests/layers.
"""

import math
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest

from pvt_numpy import VARIANTS, model
from pvt_numpy.layers import (
    activations,
    attention,
    convolution,
    depthwise,
    head,
    layernorm,
    linear,
    mlp,
    patch_embed,
    position,
    resize,
    softmax,
)
from pvt_numpy.reference.comparison import TOLERANCES, first_departure
from pvt_numpy.reference.golden import read_golden
from tests.layers import test_resize
from tests.model.test_golden import golden_model, golden_rows

V1, V2, LINEAR = "pvt_tiny_resized", "pvt_v2_b1", "pvt_v2_b2_li"
EVERYWHERE = (model, attention, convolution, head, mlp, patch_embed, position, resize)


def put(monkeypatch, function, mistake, modules=EVERYWHERE):
    """Replaces `function` in every module that imported it, but not where it is defined."""
    homes = [module for module in modules if getattr(module, function.__name__, None) is function]
    homes = [module for module in homes if module.__name__ != function.__module__]
    assert homes, f"{function.__name__} is used nowhere"
    for module in homes:
        monkeypatch.setattr(module, function.__name__, mistake)


def eps(monkeypatch, modules=(model,)):
    put(monkeypatch, layernorm.layer_norm,
        lambda x, weight, bias, *, eps: layernorm.layer_norm(x, weight, bias, eps=10 * eps), modules)  # fmt: skip


def one_eps_for_all(monkeypatch):
    eps(monkeypatch, (attention, patch_embed))


def tanh_gelu(monkeypatch):
    monkeypatch.setitem(activations.ACTIVATIONS, "gelu", activations.gelu_new)


def values_before_keys(monkeypatch):
    def swapped(x, weight, bias=None):
        if len(weight) == 2 * weight.shape[1]:
            weight = np.roll(weight, len(weight) // 2, axis=0)
            bias = bias if bias is None else np.roll(bias, len(bias) // 2)
        return linear.linear(x, weight, bias)

    put(monkeypatch, linear.linear, swapped, (attention,))


def dropped_bias(*modules):
    def mutation(monkeypatch):
        put(monkeypatch, linear.linear, lambda x, weight, bias=None: linear.linear(x, weight), modules)

    return mutation


def dropped_depthwise_bias(monkeypatch):
    put(monkeypatch, depthwise.depthwise_conv2d, lambda x, weight, bias=None: depthwise.depthwise_conv2d(x, weight))


def variance_of_a_sample(monkeypatch):
    def wrong(x, weight, bias, *, eps):
        y = x - x.mean(axis=-1, keepdims=True)
        return y / np.sqrt(x.var(axis=-1, ddof=1, keepdims=True) + eps) * weight + bias

    put(monkeypatch, layernorm.layer_norm, wrong)


def wrong_stored_grid(monkeypatch):
    """The table is read as half as high and twice as wide as it is, then resized."""

    def wrong(x, grid, pos_embed, cls_token=None, *, stored_grid):
        H, W = stored_grid
        return position.add_positions(x, grid, pos_embed, cls_token, stored_grid=(H // 2, W * 2))

    put(monkeypatch, position.add_positions, wrong)


def aligned_corners(monkeypatch):
    monkeypatch.setattr(resize, "bilinear_matrix", partial(test_resize.aligned_corners, resize.bilinear_matrix))


def scaled_by_all_channels(monkeypatch):
    class Wrong:
        sqrt = staticmethod(lambda d: math.sqrt(2 * d))

    monkeypatch.setattr(attention, "math", Wrong)


def softmax_over_queries(monkeypatch):
    put(monkeypatch, softmax.softmax, lambda x: softmax.softmax(x.swapaxes(-1, -2)).swapaxes(-1, -2))


def class_token_last(monkeypatch):
    put(monkeypatch, head.class_token_head, lambda x, **weights: head.class_token_head(x[:, ::-1], **weights))


def heads_interleaved(monkeypatch):
    def wrong(x, heads):
        B, N, C = x.shape
        return x.reshape(B, N, C // heads, heads).transpose(0, 3, 1, 2)

    monkeypatch.setattr(attention, "split_heads", wrong)


def no_relu_in_front(monkeypatch):
    monkeypatch.setattr(mlp, "relu", lambda x: x)


def flipped_kernels(monkeypatch):
    put(monkeypatch, depthwise.depthwise_conv2d,
        lambda x, weight, bias=None: depthwise.depthwise_conv2d(x, weight[:, :, ::-1, ::-1], bias))  # fmt: skip


def tanh_gelu_after_pooling(monkeypatch):
    put(monkeypatch, activations.gelu, activations.gelu_new, (attention,))


NAMED = {
    "wrong-eps": eps,
    "tanh-gelu": tanh_gelu,
    "k-and-v-swapped": values_before_keys,
    "dropped-bias": dropped_bias(attention),
}
FIRST = "stages.0.blocks.0"
GOLDEN_CASES = [
    (V1, "stages.0.blocks.0.attn.probs", eps),
    (V2, "stages.0.blocks.0.attn.probs", eps),
    (V1, "stages.0.tokens", one_eps_for_all),
    (LINEAR, "stages.0.tokens", one_eps_for_all),
    (V1, FIRST, tanh_gelu),
    (V2, FIRST, tanh_gelu),
    (LINEAR, "stages.0.blocks.0.attn.probs", tanh_gelu_after_pooling),
    (V1, "stages.0.blocks.0.attn.probs", values_before_keys),
    (V2, "stages.0.blocks.0.attn.probs", values_before_keys),
    (V1, "stages.0.blocks.0.attn.probs", dropped_bias(attention)),
    (V2, "stages.0.tokens", dropped_bias(convolution)),
    (V1, FIRST, dropped_bias(mlp)),
    (V1, "logits", dropped_bias(head)),
    (V2, FIRST, dropped_depthwise_bias),
    (V2, "stages.0.tokens", variance_of_a_sample),
    (V1, "stages.0.tokens", wrong_stored_grid),
    (V1, "stages.0.tokens", aligned_corners),
    (V1, "stages.0.blocks.0.attn.probs", scaled_by_all_channels),
    (V2, "stages.0.blocks.0.attn.probs", softmax_over_queries),
    (V1, "pooled", class_token_last),
    (V2, "stages.1.blocks.0.attn.probs", heads_interleaved),  # stage 0 has one head
    (LINEAR, FIRST, no_relu_in_front),
    (V2, FIRST, flipped_kernels),
]


@cache
def golden(name, dtype=np.float64):
    found = read_golden(name)
    return found, *golden_model(found, dtype)


@pytest.mark.parametrize(("name", "first", "mutation"), GOLDEN_CASES)
def test_the_golden_numbers_see_it_and_say_where(name, first, mutation, monkeypatch):
    mutation(monkeypatch)
    departure = first_departure(golden_rows(*golden(name)), TOLERANCES["float64"])
    assert departure is not None
    assert departure.name == first


@pytest.mark.parametrize("name", [V1, V2, LINEAR])
def test_without_a_mutation_nothing_departs(name):
    assert first_departure(golden_rows(*golden(name)), TOLERANCES["float64"]) is None


def test_float32_alone_would_not_see_a_wrong_eps(monkeypatch):
    """Why the comparison runs in float64 too: ten times the epsilon hides below float32's tolerance."""
    eps(monkeypatch)
    assert first_departure(golden_rows(*golden(V2, np.float32)), TOLERANCES["float32"]) is None


@pytest.mark.parametrize("mutation", [tanh_gelu, values_before_keys, dropped_bias(attention), wrong_stored_grid])
def test_float32_sees_the_larger_ones(mutation, monkeypatch):
    mutation(monkeypatch)
    assert first_departure(golden_rows(*golden(V1, np.float32)), TOLERANCES["float32"]) is not None


@pytest.mark.torch
@pytest.mark.parametrize("name", ["pvt_tiny", "pvt_v2_b0"])
@pytest.mark.parametrize("mistake", NAMED)
def test_the_live_comparison_sees_it(name, mistake, monkeypatch):
    from tests.model import test_parity

    config = replace(VARIANTS[name], image_size=64, depths=(1, 1, 1, 1))
    NAMED[mistake](monkeypatch)
    trace, _, reference, _ = test_parity.both(config, (1, 3, 64, 64), np.float64)
    with pytest.raises(AssertionError):
        test_parity.assert_parity(trace, reference, np.float64)


@pytest.mark.torch
@pytest.mark.parametrize("mutation", [wrong_stored_grid, aligned_corners])
def test_the_live_comparison_at_other_sizes_sees_a_table_resized_from_the_wrong_grid(mutation, monkeypatch):
    from tests.model import test_parity

    mutation(monkeypatch)
    with pytest.raises(AssertionError):
        test_parity.test_v1_at_other_sizes_against_pytorchs_own_functions(64, (96, 64), np.float64)
