"""Dropout and drop path: off without a seed, repeatable with one, and as random as PyTorch's in train mode.

Against PyTorch only statistics can be compared: means and deviations of the logits over many copies of one picture.
"""

from dataclasses import replace

import numpy as np
import pytest

from pvt_numpy import PvtConfig, PvtV2Config, forward
from pvt_numpy.model import drop_path_rates
from pvt_numpy.reference.golden import seeded_params, seeded_pixels

TINY = {"image_size": 16, "hidden_sizes": (8, 12), "num_attention_heads": (2, 3), "depths": (1, 2),
        "mlp_ratios": (2, 2), "num_labels": 4, "num_encoder_blocks": 2, "strides": (4, 2)}  # fmt: skip
V1 = PvtConfig(**TINY, patch_sizes=(4, 2), sequence_reduction_ratios=(2, 1))
V2 = PvtV2Config(**TINY, patch_sizes=(7, 3), sr_ratios=(2, 1))
NOISES = ["hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate"]
COPIES = 2000


def logits_with_noise(config, seed=0):
    x = np.repeat(seeded_pixels((1, 3, 16, 16), 2, np.float32), COPIES, axis=0)
    return forward(x, seeded_params(config, 1, np.float32), config, seed=seed).logits


def torch_logits_with_noise(config):
    import torch

    from pvt_numpy.reference.pytorch import hf_model

    model = hf_model(seeded_params(config, 1, np.float32), config).train()
    x = torch.from_numpy(np.repeat(seeded_pixels((1, 3, 16, 16), 2, np.float32), COPIES, axis=0))
    torch.manual_seed(0)
    with torch.no_grad():
        return model(x).logits.numpy()


def alike(a, b):
    """Whether two samples (n, K) could have one distribution: means and variances, each within its own error."""

    def close(a, b):
        return (np.abs(a.mean(0) - b.mean(0)) < 4.5 * np.sqrt((a.var(0) + b.var(0)) / len(a))).all()

    return bool(close(a, b) and close((a - a.mean(0)) ** 2, (b - b.mean(0)) ** 2))


@pytest.mark.torch
@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("base", [V1, V2, replace(V2, linear_attention=True)], ids=["v1", "v2", "linear"])
def test_noise_is_distributed_as_in_pytorch(base, noise):
    config = replace(base, **{noise: 0.3})
    ours, theirs = logits_with_noise(config), torch_logits_with_noise(config)
    assert alike(ours, theirs)
    other = logits_with_noise(replace(base, **{noise: 0.15}))
    assert not alike(other, theirs), "this test could not tell 0.15 from 0.3"


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("base", [V1, V2], ids=["v1", "v2"])
def test_no_noise_without_a_seed_and_the_same_noise_for_the_same_seed(base, noise):
    config = replace(base, **{noise: 0.5})
    params, x = seeded_params(config, 1), seeded_pixels((4, 3, 16, 16), 2)
    calm, noisy, again, other = (forward(x, params, config, seed=seed).logits for seed in (None, 1, 1, 2))
    assert (calm == forward(x, params, base).logits).all()
    assert (noisy == again).all()
    assert (noisy != other).any()
    assert (noisy != calm).any()


def test_drop_path_rates_rise_from_0_over_all_blocks():
    assert np.allclose(sum(drop_path_rates(replace(V1, drop_path_rate=0.2)), []), [0, 0.1, 0.2])
    assert drop_path_rates(V1) == [[0], [0, 0]]


@pytest.mark.torch
def test_drop_path_rates_are_hugging_faces():
    from pvt_numpy.reference.pytorch import hf_model

    config = replace(PvtV2Config(), drop_path_rate=0.3, depths=(2, 1, 3, 2))
    model = hf_model(seeded_params(config, 0), config)
    blocks = [block for layer in model.pvt_v2.encoder.layers for block in layer.blocks]
    theirs = [getattr(block.drop_path, "drop_prob", 0.0) for block in blocks]
    assert np.allclose(sum(drop_path_rates(config), []), theirs, atol=1e-7)
