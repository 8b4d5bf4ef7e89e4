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
from pvt_numpy.layers import attention, convolution, head, mlp, patch_embed, position, resize
from pvt_numpy.layers.activations import ACTIVATIONS
from pvt_numpy.reference.comparison import TOLERANCES, first_departure
from pvt_numpy.reference.golden import read_golden
from pvt_numpy.reference.mistakes import MISTAKES as KNOWN
from tests.model.test_golden import golden_model, golden_rows

V1, V2, LINEAR = "pvt_tiny_resized", "pvt_v2_b1", "pvt_v2_b2_li"
EVERYWHERE = (model, attention, convolution, head, mlp, patch_embed, position, resize)


def put(monkeypatch, name, wrong, *places):
    """Puts `wrong`, whose first argument is the right function, or the known mistake of that name in its place.

    The places are modules or tables of functions; or else every module that imported the function, but not its own.
    """
    places = places or [m for m in EVERYWHERE if hasattr(m, name) and getattr(m, name).__module__ != m.__name__]
    assert places, f"{name} is used nowhere"
    wrong = KNOWN[wrong].wrong if isinstance(wrong, str) else wrong
    for place in places:
        if isinstance(place, dict):
            monkeypatch.setitem(place, name, partial(wrong, place[name]))
        else:
            monkeypatch.setattr(place, name, partial(wrong, getattr(place, name)))


def wrong_stored_grid(right, *arguments, stored_grid):
    """The table is read as half as high and twice as wide as it is, then resized."""
    H, W = stored_grid
    return right(*arguments, stored_grid=(H // 2, W * 2))


MISTAKES = {  # what is wrong: the function, what is put in its place, and the places, if not everywhere
    "wrong eps": ("layer_norm", "eps", model),
    "one eps for all": ("layer_norm", "eps", attention, patch_embed),
    "variance of a sample": ("layer_norm", "variance"),
    "tanh gelu": ("gelu", "gelu", ACTIVATIONS),
    "tanh gelu after pooling": ("gelu", "gelu", attention),
    "values before keys": ("attend", "kv", attention),
    "no bias in attention": ("linear", "bias", attention),
    "no bias in convolutions": ("linear", "bias", convolution),
    "no bias in the mlp": ("linear", "bias", mlp),
    "no bias in the head": ("linear", "bias", head),
    "no bias in the depthwise convolution": ("depthwise_conv2d", "dw-bias"),
    "flipped kernels": ("depthwise_conv2d", "dw-flipped"),
    "wrong stored grid": ("add_positions", wrong_stored_grid),
    "aligned corners": ("bilinear_matrix", "corners", resize),
    "scaled by all channels of two heads": ("softmax", lambda right, x: right(x / math.sqrt(2)), attention),
    "softmax over queries": ("softmax", "softmax-axis"),
    "class token last": ("class_token_head", "class-token"),
    "heads interleaved": ("split_heads", "interleaved", attention),
    "no relu in front": ("relu", "no-relu", mlp),
}
TOKENS, PROBS, BLOCK = "stages.0.tokens", "stages.0.blocks.0.attn.probs", "stages.0.blocks.0"
GOLDEN_CASES = [
    (V1, PROBS, "wrong eps"), (V2, PROBS, "wrong eps"),
    (V1, TOKENS, "one eps for all"), (LINEAR, TOKENS, "one eps for all"),
    (V1, BLOCK, "tanh gelu"), (V2, BLOCK, "tanh gelu"), (LINEAR, PROBS, "tanh gelu after pooling"),
    (V1, PROBS, "values before keys"), (V2, PROBS, "values before keys"),
    (V1, PROBS, "no bias in attention"), (V2, TOKENS, "no bias in convolutions"), (V1, BLOCK, "no bias in the mlp"),
    (V1, "logits", "no bias in the head"), (V2, BLOCK, "no bias in the depthwise convolution"),
    (V2, TOKENS, "variance of a sample"),
    (V1, TOKENS, "wrong stored grid"), (V1, TOKENS, "aligned corners"),
    (V1, PROBS, "scaled by all channels of two heads"), (V2, PROBS, "softmax over queries"),
    (V1, "pooled", "class token last"),
    (V2, "stages.1.blocks.0.attn.probs", "heads interleaved"),  # stage 0 has one head
    (LINEAR, BLOCK, "no relu in front"), (V2, BLOCK, "flipped kernels"),
]  # fmt: skip


@cache
def golden(name, dtype=np.float64):
    found = read_golden(name)
    return found, *golden_model(found, dtype)


@pytest.mark.parametrize(("name", "first", "mistake"), GOLDEN_CASES)
def test_the_golden_numbers_see_it_and_say_where(name, first, mistake, monkeypatch):
    put(monkeypatch, *MISTAKES[mistake])
    departure = first_departure(golden_rows(*golden(name)), TOLERANCES["float64"])
    assert departure is not None
    assert departure.name == first


@pytest.mark.parametrize("name", [V1, V2, LINEAR])
def test_without_a_mutation_nothing_departs(name):
    assert first_departure(golden_rows(*golden(name)), TOLERANCES["float64"]) is None


def test_float32_alone_would_not_see_a_wrong_eps(monkeypatch):
    """Why the comparison runs in float64 too: the other epsilon hides below float32's tolerance."""
    put(monkeypatch, *MISTAKES["wrong eps"])
    assert first_departure(golden_rows(*golden(V2, np.float32)), TOLERANCES["float32"]) is None


@pytest.mark.parametrize("mistake", ["tanh gelu", "values before keys", "no bias in attention", "wrong stored grid"])
def test_float32_sees_the_larger_ones(mistake, monkeypatch):
    put(monkeypatch, *MISTAKES[mistake])
    assert first_departure(golden_rows(*golden(V1, np.float32)), TOLERANCES["float32"]) is not None


@pytest.mark.torch
@pytest.mark.parametrize("name", ["pvt_tiny", "pvt_v2_b0"])
@pytest.mark.parametrize("mistake", ["wrong eps", "tanh gelu", "values before keys", "no bias in attention"])
def test_the_live_comparison_sees_it(name, mistake, monkeypatch):
    from tests.model import test_parity

    config = replace(VARIANTS[name], image_size=64, depths=(1, 1, 1, 1))
    put(monkeypatch, *MISTAKES[mistake])
    trace, _, reference, _ = test_parity.both(config, (1, 3, 64, 64), np.float64)
    with pytest.raises(AssertionError):
        test_parity.assert_parity(trace, reference, np.float64)


@pytest.mark.torch
@pytest.mark.parametrize("mistake", ["wrong stored grid", "aligned corners"])
def test_the_live_comparison_at_other_sizes_sees_a_table_resized_from_the_wrong_grid(mistake, monkeypatch):
    from tests.model import test_parity

    put(monkeypatch, *MISTAKES[mistake])
    with pytest.raises(AssertionError):
        test_parity.test_v1_at_other_sizes_against_pytorchs_own_functions(64, (96, 64), np.float64)
