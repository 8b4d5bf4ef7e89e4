"""The whole model, live against Hugging Face transformers: every intermediate, every output, every variant.

Parameters are those of `golden.seeded_params`: realistic scale, biases and norms away from 0 and 1, so that nothing can
be left out unseen. What each configuration field does is in test_config_fields.py, training noise in test_noise.py.
"""

from dataclasses import replace

import numpy as np
import pytest

from pvt_numpy import VARIANTS, forward, pyramid
from pvt_numpy.parameters import flatten
from pvt_numpy.reference.comparison import TOLERANCES, differences, first_departure
from pvt_numpy.reference.golden import seeded_params, seeded_pixels
from pvt_numpy.reference.pytorch import hf_model, hf_trace
from pvt_numpy.reference.v1_functional import v1_functional

pytestmark = pytest.mark.torch
DTYPES = pytest.mark.parametrize("dtype", [np.float64, np.float32])
# full size for the smallest of each generation; heights and widths odd and unequal if Hugging Face's model can
SHAPES = {"pvt_tiny": (2, 3, 224, 224), "pvt_v2_b0": (2, 3, 224, 224), "pvt_v2_b1": (3, 3, 65, 127),
          "pvt_v2_b2": (2, 3, 97, 64), "pvt_v2_b2_li": (2, 3, 131, 95)}  # fmt: skip
SMALL = replace(VARIANTS["pvt_tiny"], hidden_sizes=(8, 16, 24, 32), num_attention_heads=(1, 2, 3, 4), num_labels=11)


def both(config, shape, dtype, seed=7):
    """Our trace and output, and Hugging Face's, for the same seeded parameters and pictures."""
    params, x = seeded_params(config, seed, dtype), seeded_pixels(shape, seed + 1, dtype)
    trace = {}
    out = forward(x, params, config, output_attentions=True, output_hidden_states=True, trace=trace)
    reference, hf_out = hf_trace(hf_model(params, config), x, config)
    return trace, out, reference, hf_out


def assert_parity(trace, reference, dtype):
    """Every intermediate, in the order of the computation, so that a failure names the first layer that departs."""
    rows = differences(trace, reference)
    assert first_departure(rows, TOLERANCES[np.dtype(dtype).name]) is None
    return rows


def at_size(name):
    """A variant's configuration and a picture's shape for these tests."""
    shape = SHAPES.get(name, (2, 3, 64, 64))
    config = VARIANTS[name]
    return (replace(config, image_size=shape[2]) if config.model_type == "pvt" else config), shape


def flat_outputs(nested):
    return [leaf for child in nested for leaf in flat_outputs(child)] if isinstance(nested, tuple) else [nested]


@DTYPES
@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_layer_by_layer_and_output_by_output(name, dtype):
    config, shape = at_size(name)
    trace, out, reference, hf_out = both(config, shape, dtype)
    assert set(trace) == set(reference)
    rows = assert_parity(trace, reference, dtype)
    assert all(np.asarray(trace[row.name]).dtype == dtype for row in rows if not row.name.endswith(".grid"))

    tolerance = TOLERANCES[np.dtype(dtype).name]
    assert rows[-1].max_abs < tolerance, "logits, absolutely"
    (states, probs), (hf_states, hf_probs) = ((one.hidden_states, one.attentions) for one in (out, hf_out))
    assert (len(states), len(probs)) == (len(hf_states), len(hf_probs))
    ours, theirs = flat_outputs((states, probs)), flat_outputs((hf_states, hf_probs))
    for k, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        assert not differences({"x": mine}, {"x": other.numpy()})[0].departs(tolerance), f"output {k}"
    assert (np.sort(np.argsort(out.logits)[:, -5:]) == np.sort(np.argsort(hf_out.logits.numpy())[:, -5:])).all()


@pytest.mark.parametrize("size", [(33, 64), (64, 101), (75, 32), (127, 129), (224, 160)])
@pytest.mark.parametrize("name", ["pvt_v2_b0", "pvt_v2_b2_li"])
def test_v2_at_any_size(name, size):
    config = replace(VARIANTS[name], sr_ratios=(8, 4, 2, 1), depths=(1, 1, 1, 1), num_labels=9)
    trace, _, reference, _ = both(config, (2, 3, *size), np.float64)
    assert_parity(trace, reference, np.float64)


@pytest.mark.parametrize("size", [37, 45, 65, 100])
def test_v1_at_odd_sizes_it_was_configured_for(size):
    trace, _, reference, _ = both(replace(SMALL, image_size=size), (2, 3, size, size), np.float64)
    assert_parity(trace, reference, np.float64)


def functional(x, params, config):
    """The trace of pvt_numpy/reference/v1_functional.py, as arrays."""
    import torch

    flat = {name: torch.from_numpy(array) for name, array in flatten(params).items()}
    with torch.no_grad():
        return {name: tensor.numpy() for name, tensor in v1_functional(torch.from_numpy(x), flat, config).items()}


@DTYPES
@pytest.mark.parametrize("stored", [64, (64, 96), (45, 80)])
@pytest.mark.parametrize("size", [(64, 64), (96, 64), (71, 130), (33, 47), (128, 128)])
def test_v1_at_other_sizes_against_pytorchs_own_functions(stored, size, dtype):
    config = replace(SMALL, image_size=stored)
    params, x = seeded_params(config, 3, dtype), seeded_pixels((2, 3, *size), 4, dtype)
    trace = {}
    forward(x, params, config, trace=trace)
    reference = functional(x, params, config)
    assert {"stages.3.tokens", "stages.3.blocks.1.attn.probs", "logits"} <= set(reference)
    assert_parity(trace, reference, dtype)


def test_full_pvt_tiny_at_another_size():
    config = VARIANTS["pvt_tiny"]
    params, x = seeded_params(config, 5), seeded_pixels((1, 3, 160, 256), 6)
    trace = {}
    forward(x, params, config, trace=trace)
    assert_parity(trace, functional(x, params, config), np.float64)


def test_the_functional_reference_agrees_with_hugging_face():
    config = replace(SMALL, image_size=64, patch_norm_eps=1e-5)
    params, x = seeded_params(config, 3), seeded_pixels((2, 3, 64, 64), 4)
    reference, _ = hf_trace(hf_model(params, config), x, config)
    assert_parity(reference, functional(x, params, config), np.float64)


def test_pyramid_is_hugging_faces_v2_backbone():
    import torch
    from transformers import PvtV2Backbone

    from pvt_numpy.reference.pytorch import hf_config, hf_state_dict

    config = VARIANTS["pvt_v2_b0"]
    params, x = seeded_params(config, 2), seeded_pixels((2, 3, 95, 128), 3)
    settings = hf_config(config)
    settings.out_features = ["stage1", "stage2", "stage3", "stage4"]
    backbone = PvtV2Backbone(settings).eval().double()
    state = {name.removeprefix("pvt_v2."): value for name, value in hf_state_dict(params, config).items()}
    backbone.load_state_dict({name: value for name, value in state.items() if "classifier" not in name}, strict=True)
    with torch.no_grad():
        maps = backbone(torch.from_numpy(x)).feature_maps
    for mine, other in zip(pyramid(x, params, config), maps, strict=True):
        assert not differences({"map": mine}, {"map": other.numpy()})[0].departs(1e-10)


def test_pyramid_of_v1_is_each_stages_last_block_without_the_class_token():
    config = replace(SMALL, image_size=64)
    params, x = seeded_params(config, 2), seeded_pixels((2, 3, 64, 64), 3)
    maps = pyramid(x, params, config)
    reference, _ = hf_trace(hf_model(params, config), x, config)
    assert [m.shape for m in maps] == [(2, 8, 16, 16), (2, 16, 8, 8), (2, 24, 4, 4), (2, 32, 2, 2)]
    for i, found in enumerate(maps):
        tokens = reference[f"stages.{i}.blocks.1"][:, 1 if i == 3 else 0 :]
        expected = tokens.transpose(0, 2, 1).reshape(found.shape)
        assert np.abs(found - expected).max() < 1e-12


def test_a_picture_does_not_depend_on_its_batch():
    config = replace(SMALL, image_size=64)
    params, x = seeded_params(config, 2), seeded_pixels((3, 3, 64, 64), 3)
    together = forward(x, params, config).logits
    alone = np.concatenate([forward(x[k : k + 1], params, config).logits for k in range(3)])
    assert np.abs(together - alone).max() < 1e-12
