"""The maps for detectors and segmenters: v1's last stage with and without the class token.

The authors' detection and segmentation code keeps no class token: its last stage has tokens of the map alone, and of
the position table it drops the class token's row. Below it is written again from that, in PyTorch's functions and with
the official names. Hugging Face's maps, with the class token, are in test_parity.py.
"""

from dataclasses import replace

import numpy as np
import pytest

from pvt_numpy import VARIANTS, PvtConfig, PvtV2Config, forward, parameter_shapes, pyramid
from pvt_numpy.checkpoints.names import file_names
from pvt_numpy.gradients import loss_and_gradients
from pvt_numpy.parameters import flatten, unflatten
from pvt_numpy.reference.golden import seeded_params, seeded_pixels

NARROW = {"hidden_sizes": (8, 16, 24, 32), "num_attention_heads": (1, 2, 3, 4), "mlp_ratios": (2, 2, 2, 2)}
SMALL = PvtConfig(**NARROW, depths=(1, 2, 1, 2), patch_norm_eps=1e-5, image_size=64, num_labels=3)
TINY = replace(VARIANTS["pvt_tiny"], depths=(1, 1, 1, 1), patch_norm_eps=1e-5)


def detector_maps(x, state, config):
    """The four maps (B, C, H, W), as tensors. state: the official name -> tensor."""
    from torch.nn import functional as F

    def layer(function, x, name, *more):
        return function(x, state[f"{name}.weight"], state[f"{name}.bias"], *more)

    def norm(x, name, eps):
        return layer(lambda x, *affine: F.layer_norm(x, x.shape[-1:], *affine, eps), x, name)

    maps, side = [], config.image_size
    for s, (depth, heads, ratio, patch) in enumerate(zip(config.depths, config.num_attention_heads, config.sr_ratios,
                                                         config.patch_sizes, strict=True), 1):  # fmt: skip
        x, side = layer(F.conv2d, x, f"patch_embed{s}.proj", patch), side // patch
        grid = x.shape[2:]
        table = state[f"pos_embed{s}"][:, -side * side :].mT.unflatten(2, (side, side))
        table = F.interpolate(table, grid, mode="bilinear", align_corners=False).flatten(2).mT
        x = norm(x.flatten(2).mT, f"patch_embed{s}.norm", 1e-5) + table
        for name in (f"block{s}.{j}" for j in range(depth)):
            asked = normed = norm(x, f"{name}.norm1", 1e-6)
            if ratio > 1:
                asked = layer(F.conv2d, normed.mT.unflatten(2, grid), f"{name}.attn.sr", ratio).flatten(2).mT
                asked = norm(asked, f"{name}.attn.norm", 1e-5)
            rows = layer(F.linear, normed, f"{name}.attn.q"), *layer(F.linear, asked, f"{name}.attn.kv").chunk(2, -1)
            y = F.scaled_dot_product_attention(*(row.unflatten(-1, (heads, -1)).transpose(1, 2) for row in rows))
            x = x + layer(F.linear, y.transpose(1, 2).flatten(2), f"{name}.attn.proj")
            wide = layer(F.linear, norm(x, f"{name}.norm2", 1e-6), f"{name}.mlp.fc1")
            x = x + layer(F.linear, F.gelu(wide), f"{name}.mlp.fc2")
        x = x.mT.unflatten(2, grid)
        maps.append(x)
    return maps


def as_detectors_keep(params, config, row):
    """The parameters without class token, norm and head; with or without the class token's row of the last table."""
    flat = flatten(params)
    last = f"stages.{config.num_encoder_blocks - 1}."
    if not row:
        flat[f"{last}pos_embed"] = flat[f"{last}pos_embed"][:, 1:]
    return unflatten(
        {n: array for n, array in flat.items() if not n.startswith((f"{last}cls_token", "norm.", "head."))}
    )


@pytest.mark.torch
@pytest.mark.parametrize(("config", "size"), [(SMALL, (64, 64)), (SMALL, (97, 70)), (SMALL, (33, 130)),
                                          (replace(SMALL, image_size=224), (224, 224)), (TINY, (96, 160))])  # fmt: skip
def test_without_the_class_token_they_are_those_of_the_authors_detectors(config, size):
    import torch

    params, x = seeded_params(config, 3), seeded_pixels((2, 3, *size), 4)
    state = {file_names(name, "official")[0]: torch.from_numpy(array) for name, array in flatten(params).items()}
    with torch.no_grad():
        expected = [tensor.numpy() for tensor in detector_maps(torch.from_numpy(x), state, config)]
    for found, other in zip(pyramid(x, params, config, class_token=False), expected, strict=True):
        assert found.shape == other.shape
        assert np.abs(found - other).max() <= 1e-12 * np.abs(other).max()
    with_it = pyramid(x, params, config)
    assert all(np.abs(found - other).max() <= 1e-12 * np.abs(other).max()
               for found, other in zip(with_it[:3], expected[:3], strict=True))  # fmt: skip
    assert np.abs(with_it[3] - expected[3]).max() > 1e-3 * np.abs(expected[3]).max()


@pytest.mark.parametrize("row", [True, False], ids=["row-kept", "row-dropped"])
@pytest.mark.parametrize("size", [(64, 64), (97, 70)])
def test_a_detectors_parameters_give_the_same_maps_and_no_logits(row, size):
    params, x = seeded_params(SMALL, 3, np.float32), seeded_pixels((2, 3, *size), 4, np.float32)
    kept, config = as_detectors_keep(params, SMALL, row), replace(SMALL, num_labels=0)
    expected = pyramid(x, params, SMALL, class_token=False)
    for chosen in ({}, {"class_token": True}, {"class_token": False}):
        for found, other in zip(pyramid(x, kept, config, **chosen), expected, strict=True):
            assert found.dtype == np.float32
            assert (found == other).all()
    with pytest.raises(ValueError, match=r"^params: found no class token .*; expected .*`pyramid`, which needs neith"):
        forward(x, kept, config)
    with pytest.raises(ValueError, match=r"^labels: found some for a model without a head"):
        loss_and_gradients(x, kept, config, [0, 1])


def test_a_class_token_without_its_norm_and_a_norm_without_its_class_token_are_refused():
    params, x = seeded_params(SMALL, 3), seeded_pixels((1, 3, 64, 64), 4)
    for lost in ("norm.", "stages.3.cls_token"):
        rest = unflatten({name: array for name, array in flatten(params).items() if not name.startswith(lost)})
        with pytest.raises(ValueError, match="^params: found no class token with its norm"):
            forward(x, rest, SMALL)


@pytest.mark.parametrize("config", [SMALL, TINY, PvtV2Config(**NARROW)], ids=["small", "tiny", "v2"])
def test_the_table_of_shapes_says_what_detectors_keep(config):
    kept = parameter_shapes(config, class_token=False)
    if config.model_type == "pvt":
        params = as_detectors_keep(seeded_params(config, 3), config, row=False)
        assert {name: array.shape for name, array in flatten(params).items()} == {
            name: shape for name, shape in kept.items() if not name.startswith("head.")}  # fmt: skip
    else:
        assert kept == parameter_shapes(config)


def test_v2_has_no_class_token_to_leave_out():
    config = PvtV2Config(**NARROW, depths=(1, 1, 1, 1))
    params, x = seeded_params(config, 3), seeded_pixels((2, 3, 64, 70), 4)
    for found, other in zip(pyramid(x, params, config, class_token=False), pyramid(x, params, config), strict=True):
        assert (found == other).all()
