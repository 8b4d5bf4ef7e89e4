"""Configurations: the variants to the last parameter, Hugging Face's defaults, and a sentence for every mistake."""

import json
import math
import re
from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest

from pvt_numpy import VARIANTS, forward, init_params, parameter_shapes, parameters, pyramid
from pvt_numpy.checkpoints.names import file_names
from pvt_numpy.config import (
    PvtConfig,
    PvtV2Config,
    config_from_dict,
    config_to_dict,
    smallest_side,
    stage_grids,
    variant_name,
)
from pvt_numpy.gradients import loss_and_gradients
from pvt_numpy.parameters import flatten, unflatten
from pvt_numpy.reference.golden import seeded_pixels

COUNTS = {
    "pvt_tiny": 13_229_288, "pvt_small": 24_485_864, "pvt_medium": 44_208_104, "pvt_large": 61_369_320,
    "pvt_v2_b0": 3_666_760, "pvt_v2_b1": 14_009_000, "pvt_v2_b2": 25_362_856, "pvt_v2_b2_li": 22_553_512,
    "pvt_v2_b3": 45_238_696, "pvt_v2_b4": 62_556_072, "pvt_v2_b5": 81_956_008,
}  # fmt: skip
KINDS = pytest.mark.parametrize("kind", [PvtConfig, PvtV2Config])


def test_the_table_holds_exactly_the_eleven_published_variants():
    assert set(VARIANTS) == set(COUNTS)


@pytest.mark.parametrize("name", COUNTS)
def test_exact_parameter_counts(name):
    assert sum(math.prod(shape) for shape in parameter_shapes(VARIANTS[name]).values()) == COUNTS[name]


@pytest.mark.parametrize(("name", "change", "gone", "come"), [
    ("pvt_tiny", {"qkv_bias": False}, ["attn.q.bias", "attn.kv.bias"], []),
    ("pvt_tiny", {"num_labels": 0}, ["head.weight", "head.bias"], []),
    ("pvt_v2_b0", {"sr_ratios": (1, 1, 1, 1)}, ["sr.weight", "sr.bias", "attn.norm.weight", "attn.norm.bias"], []),
    ("pvt_v2_b2", {"linear_attention": True}, [], ["sr.weight", "sr.bias", "attn.norm.weight", "attn.norm.bias"]),
])  # fmt: skip
def test_which_parameters_come_and_go(name, change, gone, come):
    before, after = set(parameter_shapes(VARIANTS[name])), set(parameter_shapes(replace(VARIANTS[name], **change)))
    assert before - after == {key for key in before if key.endswith(tuple(gone) or ("-",))}
    come = tuple(come) or ("-",)
    assert after - before == {key for key in after if key.startswith("stages.3") and key.endswith(come)}


@pytest.mark.torch
@pytest.mark.parametrize("name", COUNTS)
def test_hugging_faces_model_has_as_many_under_the_same_names_and_shapes(name):
    import torch
    from transformers import PvtForImageClassification, PvtV2ForImageClassification

    from pvt_numpy.reference.pytorch import hf_config

    config = VARIANTS[name]
    v1 = config.model_type == "pvt"
    with torch.device("meta"):
        model = (PvtForImageClassification if v1 else PvtV2ForImageClassification)(hf_config(config))
    theirs = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert sum(math.prod(shape) for shape in theirs.values()) == COUNTS[name]
    ours = {}
    for key, shape in parameter_shapes(config).items():
        names = file_names(key, "hf-v1" if v1 else "hf-v2")
        ours |= {other: (shape[0] // len(names), *shape[1:]) for other in names}
    assert ours == theirs


@pytest.mark.parametrize("name", COUNTS)
def test_a_variant_is_recognised_whatever_its_head_and_epsilons(name):
    config = replace(VARIANTS[name], num_labels=10, patch_norm_eps=1e-5, drop_path_rate=0.1)
    assert variant_name(config) == name
    assert variant_name(replace(config, depths=(1, 1, 1, 1))) is None


@pytest.mark.torch
@KINDS
def test_defaults_are_hugging_faces(kind):
    import transformers

    theirs = getattr(transformers, kind.__name__)()
    assert kind().embed_eps == theirs.layer_norm_eps, "patch_norm_eps, which is ours"
    for field in fields(kind):
        if field.name != "patch_norm_eps":
            ours, other = getattr(kind(), field.name), getattr(theirs, field.name)
            if field.name == "image_size" and kind is PvtV2Config:
                ours = (ours, ours)  # Hugging Face makes a pair of it
            assert ours == (tuple(other) if isinstance(other, list) else other), field.name


@pytest.mark.torch
@KINDS
def test_hugging_faces_own_file_is_read(kind, tmp_path):
    import transformers

    changed = {"depths": [1, 2, 1, 3], "hidden_act": "relu", "layer_norm_eps": 1e-5, "qkv_bias": False}
    labels = {"id2label": {0: "a", 1: "b", 2: "c"}, "label2id": {"a": 0, "b": 1, "c": 2}}
    number = {"num_labels": 3} if kind is PvtConfig else {}
    getattr(transformers, kind.__name__)(**changed, **labels, **number).save_pretrained(tmp_path)
    found = config_from_dict(json.loads((tmp_path / "config.json").read_text(encoding="utf-8")))
    assert replace(found, image_size=224) == kind(**changed, num_labels=3)


@pytest.mark.parametrize("config", [*VARIANTS.values(), PvtConfig(patch_sizes=(5, 3, 2, 2), image_size=(64, 96)),
                                    PvtV2Config(patch_norm_eps=1e-5, mlp_ratios=(1.5, 2, 2, 2))])  # fmt: skip
def test_a_configuration_survives_json(config):
    assert config_from_dict(json.loads(json.dumps(config_to_dict(config)))) == config


@KINDS
def test_it_is_frozen_and_takes_keywords_only(kind):
    with pytest.raises(FrozenInstanceError):
        kind().num_labels = 3
    with pytest.raises(TypeError):
        kind(224)
    with pytest.raises(TypeError, match="no_such_field"):
        kind(no_such_field=1)


@KINDS
def test_lists_become_tuples(kind):
    assert kind(depths=[1, 1, 1, 1]) == kind(depths=(1, 1, 1, 1))
    assert hash(kind(depths=[1, 1, 1, 1])) == hash(kind(depths=(1, 1, 1, 1)))


HIDDEN = "a number that leaves at least one hidden channel"
PIXELS, ONE_EACH, COUNT = "a positive whole number of pixels", "4 numbers, one per stage", "a positive whole number"
IMPOSSIBLE = [  # field, or field[stage] whose value is at fault; the field's values; what is expected
    ("image_size", [0], f"{PIXELS} or (height, width)"),
    ("image_size", [(224,), (224, 0), "224", 224.0, True], PIXELS),
    ("num_channels", [0], COUNT),
    ("num_encoder_blocks", [0, "4"], "a whole number of stages, at least 1"),
    ("depths", [(2, 2, 2)], f"{ONE_EACH} (num_encoder_blocks)"),
    ("depths", [2], ONE_EACH),
    ("hidden_sizes", [(64, 128, 320, 512, 512)], ONE_EACH),
    ("num_labels", [-1, 10.0], "a whole number, 0 for a model without a head"),
    ("hidden_act", ["mish", None], "'gelu' or 'gelu_new'"),
    ("problem_type", ["ranking"], "None or 'single_label_classification' or 'regression'"),
    ("hidden_dropout_prob", [1.0], "a number from 0 to below 1"),
    ("attention_probs_dropout_prob", [-0.1], "a number from 0 to below 1"),
    ("drop_path_rate", [float("nan"), "0.1"], "a number from 0 to below 1"),
    ("layer_norm_eps", [-1e-6, float("inf"), None], "a number from 0 to 1e6"),
    ("patch_norm_eps", [-1], "a number from 0 to 1e6"),
    ("initializer_range", [float("nan")], "a number from 0 to 1e6"),
    ("qkv_bias", [1], "True or False"),
    ("depths[3]", [(2, 2, 2, 0)], COUNT),
    ("depths[1]", [(2, 2.0, 2, 2)], COUNT),
    ("hidden_sizes[3]", [(64, 128, 320, 500)], "a multiple of num_attention_heads[3] = 8"),
    ("num_attention_heads[0]", [(0, 2, 5, 8)], COUNT),
    ("patch_sizes[1]", [(4, -2, 2, 2)], COUNT),
    ("strides[2]", [(4, 2, 0, 2)], COUNT),
    ("mlp_ratios[0]", [(0, 8, 4, 4)], HIDDEN),
    ("mlp_ratios[1]", [(8, 0.001, 4, 4), (8, 1e308, 4, 4)], HIDDEN),
    ("mlp_ratios[2]", [(8, 8, "4", 4)], HIDDEN),
]


@KINDS
@pytest.mark.parametrize(("name", "value", "expected"), [
    (name, value, expected) for name, values, expected in IMPOSSIBLE for value in values
])  # fmt: skip
def test_impossible_values_are_refused_with_a_sentence(kind, name, value, expected):
    field, _, stage = name.rstrip("]").partition("[")
    widths = {} if field == "hidden_sizes" else {"hidden_sizes": (64, 128, 320, 512)}
    found = value[int(stage)] if stage else value
    sentence = re.escape(f"{name}: found {found!r}; expected {expected}") + ("$" if stage else "")
    with pytest.raises(ValueError, match=f"^{sentence}"):
        kind(**widths, **{field: value})


@pytest.mark.parametrize(("kind", "change", "sentence"), [
    (PvtConfig, {"sequence_reduction_ratios": (8, 4, 2, 2)}, r"_ratios\[-1\]: found 2; expected 1: the last stage's"),
    (PvtConfig, {"sequence_reduction_ratios": (8, 4, 1)}, r"_ratios: found \(8, 4, 1\); expected 4 numbers"),
    (PvtV2Config, {"sr_ratios": (0, 4, 2, 1)}, r"sr_ratios\[0\]: found 0; expected a positive whole number"),
    (PvtV2Config, {"linear_attention": "yes"}, "linear_attention: found 'yes'; expected True or False"),
    (PvtConfig, {"image_size": 8}, "found 8 x 8 pixels, which leave stage 3 without a patch; expected a larger one"),
    (PvtConfig, {"num_encoder_blocks": 3}, r"depths: found \(2, 2, 2, 2\); expected 3 numbers, one per stage"),
])  # fmt: skip
def test_what_only_one_generation_refuses(kind, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        kind(**change)


@pytest.mark.parametrize("values", [{}, [], None, {"model_type": "vit"}, {"model_type": ["pvt"]}])
def test_a_file_of_another_model_is_refused(values):
    said = "^model_type: found .*; expected 'pvt' or 'pvt_v2'$"
    with pytest.raises(ValueError, match=said if isinstance(values, dict) else "^config: found .*; expected a dict"):
        config_from_dict(values)


def test_id2label_gives_the_number_of_labels():
    assert config_from_dict({"model_type": "pvt_v2", "id2label": {"0": "a", "1": "b", "2": "c"}}).num_labels == 3
    assert config_from_dict({"model_type": "pvt", "id2label": {str(k): "x" for k in range(7)}}).num_labels == 7


def test_fields_of_hugging_faces_machinery_are_ignored():
    assert config_from_dict({"model_type": "pvt", "torch_dtype": "float32", "return_dict": True}) == PvtConfig()


@pytest.mark.parametrize("size", [(224, 224), (230, 100), (97, 131), (37, 64)])
@KINDS
def test_stage_grids_are_those_of_the_forward_pass(kind, size):
    config = kind(hidden_sizes=(8, 8, 8, 8), num_attention_heads=(1, 1, 1, 1), depths=(1, 1, 1, 1), num_labels=2)
    trace = {}
    params = init_params(config, np.random.default_rng(0))
    forward(seeded_pixels((1, 3, *size), 0, np.float32), params, config, trace=trace)
    assert [trace[f"stages.{i}.grid"] for i in range(4)] == stage_grids(config, size)


@pytest.mark.parametrize(("pixels", "found"), [
    (np.zeros((3, 224, 224), np.float32), r"float32 \(3, 224, 224\)"),
    (np.zeros((0, 3, 64, 64), np.float32), r"float32 \(0, 3, 64, 64\)"),
    (np.zeros((1, 1, 64, 64), np.float32), r"float32 \(1, 1, 64, 64\)"),
    (np.zeros((1, 3, 64, 64)), r"float64 \(1, 3, 64, 64\)"),
    (np.zeros((1, 3, 64, 64), np.uint8), r"uint8 \(1, 3, 64, 64\)"),
    (np.zeros((1, 3, 64, 64)).tolist(), "list"),
])  # fmt: skip
def test_pictures_that_do_not_fit_are_refused(pixels, found):
    config = VARIANTS["pvt_v2_b0"]
    with pytest.raises(ValueError, match=rf"^pixel_values: found {found}; expected float32 \(B, 3, H, W\)$"):
        forward(pixels, init_params(config, np.random.default_rng(0)), config)


@pytest.mark.parametrize("config", [
    VARIANTS["pvt_tiny"], VARIANTS["pvt_v2_b0"], VARIANTS["pvt_v2_b2_li"], PvtV2Config(sr_ratios=(2, 1, 7, 3)),
    PvtConfig(patch_sizes=(5, 3, 2, 2), sequence_reduction_ratios=(1, 5, 2, 1)),
    PvtConfig(strides=(3, 3, 1, 1))])  # fmt: skip
def test_a_picture_too_small_for_a_key_is_refused_with_the_least_that_will_do(config, monkeypatch):
    narrow = {
        "hidden_sizes": (8, 8, 8, 8),
        "num_attention_heads": (1, 1, 1, 1),
        "depths": (1, 1, 1, 1),
        "num_labels": 2,
    }
    config = replace(config, **narrow)
    params, least = init_params(config, np.random.default_rng(0)), smallest_side(config)

    def run(height, width):
        forward(np.zeros((1, 3, height, width), np.float32), params, config)

    run(least, least)
    if least == 1:
        return
    said = (
        f"^picture: found 224 x {least - 1} pixels for the model; expected at least {least} x {least}, .*--image-size"
    )
    with pytest.raises(ValueError, match=said):
        run(224, least - 1)
    monkeypatch.setattr(parameters, "smallest_side", lambda config: 1)
    with pytest.raises(ValueError, match="^map: found"):  # the layers cannot do with less indeed
        run(least - 1, 224)


@KINDS
def test_mlp_ratios_that_are_not_whole_are_rounded_down(kind):
    config = kind(hidden_sizes=(64, 128, 320, 512), mlp_ratios=(1.5, 2.3, 0.29, 3.999))
    hidden = [parameter_shapes(config)[f"stages.{i}.blocks.0.mlp.fc1.weight"] for i in range(4)]
    assert hidden == [(96, 64), (294, 128), (92, 320), (2047, 512)]  # of 96, 294.4, 92.8 and 2047.488


BIGGEST = 2**31 - 1
LIMITS = [  # field; values that are still taken, and that are no longer
    ("image_size", (BIGGEST, (BIGGEST, BIGGEST)), (0, BIGGEST + 1)), ("num_channels", (1, BIGGEST), (0, BIGGEST + 1)),
    ("num_labels", (0, 1, BIGGEST), (-1, BIGGEST + 1)), ("layer_norm_eps", (0, 1e6), (-1e-9, 1e6 + 1)),
    ("patch_norm_eps", (0, 1e6, None), (-1e-9, 1e6 + 1)), ("initializer_range", (0, 1e6), (-1e-9, 1e6 + 1)),
    ("hidden_dropout_prob", (0, 1 - 1e-9), (-1e-9, 1)), ("drop_path_rate", (0, 1 - 1e-9), (-1e-9, 1)),
    ("attention_probs_dropout_prob", (0, 1 - 1e-9), (-1e-9, 1)),
    ("mlp_ratios", ((1 / 8, 2, 2, 1e6),), ((0.1249, 2, 2, 2), (1, 1, 1, 1e6 + 1), (-1, 2, 2, 2))),
    ("depths", ((1, 1, 1, BIGGEST),), ((1, 1, 1, BIGGEST + 1), (0, 1, 1, 1))),
    ("strides", ((1, 1, 1, 1),), ((0, 1, 1, 1), (1, 1, 1, BIGGEST + 1))),
]  # fmt: skip


@KINDS
@pytest.mark.parametrize(("field", "taken", "refused"), LIMITS)
def test_values_at_their_limits_are_taken_and_the_next_are_not(kind, field, taken, refused):
    widths = {"hidden_sizes": (8, 8, 8, 8), "num_attention_heads": (8, 8, 8, 8)}
    for value in taken:
        assert getattr(kind(**widths, **{field: value}), field) == value
    for value in refused:
        with pytest.raises(ValueError, match=rf"^{field}(\[\d\])?: found "):
            kind(**widths, **{field: value})


@pytest.mark.parametrize(("config", "smallest"), [(PvtConfig(), 32), (PvtConfig(patch_sizes=(5, 3, 2, 2)), 37),
                                                  (PvtV2Config(), 1)])  # fmt: skip
def test_the_smallest_picture_leaves_every_stage_one_token(config, smallest):
    assert stage_grids(config, (smallest, 300))[-1][0] == 1
    with pytest.raises(ValueError, match="which leave stage . without a patch; expected a larger one"):
        stage_grids(config, (smallest - 1, 300))


@KINDS
@pytest.mark.parametrize("depths", [(1, 1, 1, 1), (2, 3, 2, 2), (2, 2, 2)])
def test_parameters_of_another_depth_are_refused(kind, depths):
    """Too many blocks had no rate of drop path; too few gave an answer."""
    size = {"image_size": 32, "hidden_sizes": (8,) * 4, "num_attention_heads": (1,) * 4}
    params = init_params(kind(**size), np.random.default_rng(0))
    stages = [stage | {"blocks": (stage["blocks"] * 2)[:depth]}
              for stage, depth in zip(params["stages"], depths, strict=False)]  # fmt: skip
    x, said = (
        np.zeros((1, 3, 32, 32), np.float32),
        rf"found \{[*depths]} blocks in the stages; expected \[2, 2, 2, 2\], as",
    )
    for call in (forward, pyramid, lambda *arguments: loss_and_gradients(*arguments, [0])):
        with pytest.raises(ValueError, match=f"^params: {said} in config.depths$"):
            call(x, params | {"stages": stages}, kind(**size))


NO_SEEDS = ["7", b"7", True, False, np.True_, -1, 7.0, np.float64(7), 2**63, (2**63, 1), (1, -1), (1, "2"), (1, True),
            (), (1, (2,)), {1}, np.array([1, 2]), np.array([[1], [2]]), np.random.default_rng(0)]  # fmt: skip


@pytest.mark.parametrize("seed", NO_SEEDS, ids=lambda seed: type(seed).__name__)
def test_what_is_no_seed_is_refused(seed):
    config = PvtV2Config(hidden_sizes=(8,) * 4, num_attention_heads=(1,) * 4)
    params, x = init_params(config, np.random.default_rng(0)), np.zeros((1, 3, 64, 64), np.float32)
    for call in (
        lambda: forward(x, params, config, seed=seed),
        lambda: loss_and_gradients(x, params, config, [0], seed=seed),
    ):
        with pytest.raises(
            ValueError, match=r"^seed: found [^\n]+; expected a whole number from 0 to 2\*\*63 - 1, or a tuple"
        ):
            call()


@pytest.mark.parametrize(
    "seed", [0, 7, 2**63 - 1, np.int32(7), np.uint64(7), (7,), (0, 2**63 - 1, np.int64(5))], ids=str
)
def test_what_is_a_seed(seed):
    config = PvtV2Config(hidden_sizes=(8,) * 4, num_attention_heads=(1,) * 4, hidden_dropout_prob=0.5)
    params, x = init_params(config, np.random.default_rng(0)), seeded_pixels((1, 3, 64, 64), 0, np.float32)
    calm, noisy, again = (forward(x, params, config, seed=s).last_hidden_state for s in (None, seed, seed))
    assert (noisy == again).all()
    assert (noisy != calm).any()


@KINDS
def test_fresh_parameters_are_what_the_configuration_says(kind):
    config = replace(kind(initializer_range=0.05), num_labels=1000)
    flat = flatten(init_params(config, np.random.default_rng(0)))
    assert {name: array.shape for name, array in flat.items()} == parameter_shapes(config)
    for name, array in flat.items():
        assert array.dtype == np.float32
        if name.endswith("bias"):
            assert (array == 0).all()
        elif name.endswith("weight") and array.ndim == 1:
            assert (array == 1).all()
        else:
            std = 0.05
            if kind is PvtV2Config and array.ndim == 4:  # sqrt(2 / fan_out); a kernel of dwconv feeds one channel
                std = math.sqrt(2 / (9 if "dwconv" in name else array.shape[0] * array.shape[2] * array.shape[3]))
            assert np.abs(array).max() <= 2 * std * 1.000001
            # a normal distribution cut at two deviations has 0.88 of its deviation left; small arrays vary by chance
            assert abs(array.std() / (0.8796 * std) - 1) < 4 / math.sqrt(array.size), name
    again = flatten(init_params(config, np.random.default_rng(0)))
    assert all((flat[name] == again[name]).all() for name in flat)


def test_flatten_and_unflatten_are_inverse():
    flat = {name: np.zeros(1) for name in parameter_shapes(VARIANTS["pvt_large"])}
    assert list(flatten(unflatten(flat))) == list(flat)


@pytest.mark.parametrize(("kind", "change", "said"), [
    (PvtV2Config, {"head": {"weight": np.zeros((5, 32)), "bias": np.zeros(5)}}, "params.head: found 5 rows; expected"),
    (PvtV2Config, {"head": None}, "params.head: found 0 rows; expected num_labels = 3"),
    (PvtConfig, {"head": None}, "params.head: found 0 rows; expected num_labels = 3"),
    (PvtV2Config, {"norm": None}, "params.stages.2: found no norm, no pos_embed; expected norm, no pos"),
    (PvtConfig, {"pos_embed": None}, "params.stages.2: found no pos_embed, no norm; expected pos_embed, "),
])  # fmt: skip
def test_parameters_of_another_model_are_refused(kind, change, said):
    narrow = {"hidden_sizes": (8, 16, 24, 32), "num_attention_heads": (1, 2, 3, 4), "depths": (1, 1, 1, 1)}
    config = kind(**narrow, image_size=32, num_labels=3)
    params, x = init_params(config, np.random.default_rng(0)), np.zeros((1, 3, 32, 32), np.float32)
    if "head" in change:
        params |= change
    else:
        params["stages"][2] |= change
    with pytest.raises(ValueError, match=f"^{re.escape(said)}"):
        forward(x, params, config)
    other = PvtConfig if kind is PvtV2Config else PvtV2Config
    with pytest.raises(ValueError, match=r"^params.stages.0: found .*; expected "):
        forward(x, init_params(config, np.random.default_rng(0)), other(**narrow, image_size=32, num_labels=3))
