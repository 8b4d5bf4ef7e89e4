"""Every field of the configuration has its effect, and the one that Hugging Face's models give it. Live, in float64.

For each change of a small model: all intermediates equal Hugging Face's. Where the change leaves the parameters'
shapes as they were, the same parameters must also give other logits than before.
"""

from dataclasses import fields, replace

import numpy as np
import pytest

from pvt_numpy import forward, parameter_shapes
from pvt_numpy.config import ACTIVATIONS, PvtConfig, PvtV2Config, config_from_dict
from pvt_numpy.reference.golden import seeded_params, seeded_pixels
from tests.model.test_parity import assert_parity, both

pytestmark = pytest.mark.torch
NARROW = {"image_size": 64, "hidden_sizes": (8, 16, 24, 32), "num_attention_heads": (1, 2, 3, 4),
          "depths": (1, 2, 1, 1), "mlp_ratios": (3, 2, 2, 2), "num_labels": 5}  # fmt: skip
V1, V2 = PvtConfig(**NARROW), PvtV2Config(**NARROW)

FEWER = {"num_encoder_blocks": 2, "depths": (1, 2), "hidden_sizes": (8, 12), "num_attention_heads": (1, 3),
         "mlp_ratios": (2, 2), "strides": (4, 2)}  # fmt: skip
MORE = {"num_encoder_blocks": 5, "depths": (1,) * 5, "hidden_sizes": (4, 8, 8, 12, 8), "strides": (4, 2, 2, 2, 2),
        "num_attention_heads": (1, 2, 2, 3, 4), "mlp_ratios": (2,) * 5}  # fmt: skip
ONE = {"num_encoder_blocks": 1, "depths": (2,), "hidden_sizes": (8,), "num_attention_heads": (2,),
       "mlp_ratios": (2,), "strides": (4,)}  # fmt: skip
SHARED = [
    {"num_channels": 1}, {"num_channels": 5}, {"depths": (2, 1, 3, 2)}, {"hidden_sizes": (12, 8, 36, 4)},
    {"num_attention_heads": (4, 1, 6, 2)}, {"mlp_ratios": (1, 5, 3, 4)}, {"qkv_bias": False},
    *({"hidden_act": name} for name in ACTIVATIONS), {"num_labels": 0}, {"num_labels": 1}, {"num_labels": 17},
    {"layer_norm_eps": 1e-3}, {"layer_norm_eps": 0.5}, {"patch_norm_eps": 1e-5}, {"patch_norm_eps": 0.25},
]  # fmt: skip
V1_ONLY = [
    {"sequence_reduction_ratios": (4, 8, 1, 1)},
    {"image_size": 96},
    {"patch_sizes": (2, 1, 2, 1)},  # smaller than the strides: pixels between the patches are left out
    {"patch_sizes": (5, 2, 2, 2), "image_size": 65},  # larger: patches overlap
    FEWER | {"patch_sizes": (4, 2), "sequence_reduction_ratios": (4, 1)},
    MORE | {"patch_sizes": (4, 2, 2, 2, 2), "sequence_reduction_ratios": (8, 4, 2, 2, 1)},
    ONE | {"patch_sizes": (4,), "sequence_reduction_ratios": (1,)},
]
V2_ONLY = [
    {"sr_ratios": (2, 4, 4, 2)},  # all above 1
    {"linear_attention": True},
    {"linear_attention": True, "hidden_act": "silu", "patch_norm_eps": 1e-2},
    {"patch_sizes": (3, 5, 1, 2)},
    {"patch_sizes": (4, 2, 4, 6), "strides": (3, 1, 2, 2)},
    {"strides": (2, 2, 3, 1)},
    FEWER | {"patch_sizes": (7, 3), "sr_ratios": (4, 2)},
    MORE | {"patch_sizes": (7, 3, 3, 3, 3), "sr_ratios": (8, 4, 2, 1, 1)},
    ONE | {"patch_sizes": (7,), "sr_ratios": (1,)},
]
# fields of training, of fresh weights and of the loss have no effect on the intermediates and are tested elsewhere
NOISE = {"hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate"}
ELSEWHERE = NOISE | {"initializer_range", "problem_type"}


def label(change):
    return "-".join(f"{name}={value}".replace(" ", "") for name, value in list(change.items())[:3])


CASES = [(V1, change) for change in SHARED + V1_ONLY] + [(V2, change) for change in SHARED + V2_ONLY]
IDS = [f"{base.model_type}-{label(change)}" for base, change in CASES]


@pytest.mark.parametrize(("base", "change"), CASES, ids=IDS)
def test_a_field_does_what_hugging_face_does(base, change, monkeypatch):
    import torch
    from transformers.activations import ACT2FN

    monkeypatch.setitem(ACT2FN, "selu", torch.nn.SELU)  # named in Hugging Face's documentation, missing in its table
    config = replace(base, **change)
    size = config.image_size if config.model_type == "pvt" else 71
    shape = (2, config.num_channels, size, size)
    trace, out, reference, hf_out = both(config, shape, np.float64)
    assert set(trace) == set(reference)
    assert_parity(trace, reference, np.float64)
    assert out.logits.shape == tuple(hf_out.logits.shape)

    before, after = parameter_shapes(base), parameter_shapes(config)
    if before == after and config.num_channels == base.num_channels and change != {"hidden_act": "gelu"}:
        params, x = seeded_params(base, 7), seeded_pixels(shape, 8)
        moved = np.abs(forward(x, params, base).logits - forward(x, params, config).logits).max()
        assert moved > 1e-9, "the field had no effect"


@pytest.mark.parametrize(("base", "changes"), [(V1, SHARED + V1_ONLY), (V2, SHARED + V2_ONLY)], ids=["v1", "v2"])
def test_no_field_is_forgotten(base, changes):
    tried = {name for change in changes for name in change} | ELSEWHERE
    v2_by_size = {"image_size"} if base is V2 else set()  # v2 has no table that depends on it
    v1_shape = {"strides"} if base is V1 else set()
    assert {field.name for field in fields(base)} - tried <= v2_by_size | v1_shape


@pytest.mark.parametrize("kernel", [(5, 1, 2, 2), (2, 2, 1, 2)])
def test_hugging_faces_v1_exchanges_patch_sizes_and_strides_and_so_do_we_when_reading(kernel):
    """In its configuration `strides` is the kernel: what is read is what its model does, not what its names say."""
    import torch
    from transformers import PvtConfig as HfConfig
    from transformers import PvtForImageClassification

    from pvt_numpy.reference.pytorch import hf_state_dict

    settings = HfConfig(**{**NARROW, "image_size": 65, "patch_sizes": (4, 2, 2, 2), "strides": kernel})
    config = config_from_dict(settings.to_dict())
    assert (config.patch_sizes, config.strides) == (kernel, (4, 2, 2, 2))
    params, x = seeded_params(config, 1), seeded_pixels((2, 3, 65, 65), 2)
    model = PvtForImageClassification(settings).double().eval()
    model.load_state_dict(hf_state_dict(params, config), strict=True)
    with torch.no_grad():
        expected = model(torch.from_numpy(x)).logits.numpy()
    assert np.abs(forward(x, params, config).logits - expected).max() < 1e-10


def test_v2_at_a_grid_of_one_token():
    trace, _, reference, _ = both(replace(V2, sr_ratios=(1, 1, 1, 1)), (2, 3, 5, 7), np.float64)
    assert_parity(trace, reference, np.float64)


def hf_loss(config, logits, labels):
    """The loss that Hugging Face chooses, with a fresh configuration each time, for it writes its choice there."""
    import torch
    from transformers.loss.loss_utils import LOSS_MAPPING

    from pvt_numpy.reference.pytorch import hf_config

    if labels.dtype == np.int32:
        labels = labels.astype(np.int64)  # chosen alike, but PyTorch's cross-entropy takes no int32
    chosen = LOSS_MAPPING["ForImageClassification"]
    return float(chosen(torch.from_numpy(labels), torch.from_numpy(logits), hf_config(config)))


RNG = np.random.default_rng(0)
LOSSES = [
    (5, None, np.array([0, 4, 2])), (5, None, np.array([0, 4, 2], np.int32)), (5, None, RNG.random((3, 5))),
    (5, None, np.array([[1.0, 0, 0, 1, 0]] * 3)), (1, None, RNG.normal(size=3)), (1, None, RNG.normal(size=(3, 1))),
    (1, "regression", RNG.normal(size=3)), (5, "regression", RNG.normal(size=(3, 5))),
    (5, "single_label_classification", np.array([3, 3, 1])), (5, "single_label_classification", np.array([3, -100, 1])),
    (5, "multi_label_classification", np.array([[0.0, 1, 0, 1, 1]] * 3)),
    (1, "multi_label_classification", RNG.random((3, 1))),
    (2, None, np.array([1, 0, 1])),
]  # fmt: skip


@pytest.mark.parametrize(("num_labels", "problem_type", "labels"), LOSSES)
@pytest.mark.parametrize("base", [V1, V2], ids=["v1", "v2"])
def test_the_loss_is_the_one_hugging_face_chooses(base, num_labels, problem_type, labels):
    config = replace(base, num_labels=num_labels, problem_type=problem_type)
    params, x = seeded_params(config, 1), seeded_pixels((3, 3, 64, 64), 2)
    out = forward(x, params, config, labels=labels)
    assert out.loss.dtype == np.float64
    assert abs(out.loss - hf_loss(config, out.logits, labels)) < 1e-12


def test_the_loss_comes_out_of_hugging_faces_model_too():
    import torch

    from pvt_numpy.reference.pytorch import hf_model

    params, x, labels = seeded_params(V2, 1), seeded_pixels((3, 3, 64, 64), 2), np.array([1, 0, 4])
    expected = hf_model(params, V2)(torch.from_numpy(x), labels=torch.from_numpy(labels)).loss.detach()
    assert abs(forward(x, params, V2, labels=labels).loss - float(expected)) < 1e-12
    single = forward(x.astype(np.float32), seeded_params(V2, 1, np.float32), V2, labels=labels).loss
    assert single.dtype == np.float32
