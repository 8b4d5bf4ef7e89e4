"""The options of the image processor: every wrong value is refused by name, and recipes are read from
configurations of Hugging Face and timm as those libraries read them."""

import json

import numpy as np
import pytest
from PIL import Image

from pvt_numpy.pictures.processor import preprocess, resize
from pvt_numpy.pictures.recipes import (
    FILTERS,
    HF_PROCESSORS,
    RECIPES,
    at_size,
    preprocessing_from_hf,
    preprocessing_from_timm,
    target_size,
)
from tests.pictures.picture_cases import NOISE

CROP = {"do_center_crop": True}


@pytest.mark.parametrize("option", ["do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb"])
@pytest.mark.parametrize("value", [None, 1, "yes"])
def test_switches_are_true_or_false(option, value):
    with pytest.raises(ValueError, match=f"{option}: found {value!r}; expected True or False"):
        preprocess(NOISE, **{option: value})


@pytest.mark.parametrize(("option", "values", "expected"), [
    ("size", [None, 0, -1, 2.5, True, "224", [224], [2, 3, 4], {}, {"height": 224}], "shortest_edge"),
    ("size", [{"height": 224, "width": "224"}, {"shortest_edge": 0}, {"longest_edge": 9}], "whole pixels above 0"),
    ("size", [{"height": 2, "width": 2, "depth": 2}, {"shortest_edge": 2.0}, {"height": 2, "width": True}], "max"),
    ("crop_size", [None, 0, {"shortest_edge": 224}, {"height": 224}, [224], 1.5], 'or {"height": n, "width": n}'),
    ("crop_offset", [None, "ceil", 0], "'floor' or 'round'"),
    ("resample", [None, 8, -1, 2.0, True, "bicubic"], "2 (bilinear), 3 (bicubic)"),
    ("rescale_factor", [None, 0, -1, float("nan"), float("inf"), "1/255", True], "a number above 0"),
    ("image_mean", [None, [], "0.5", [0.5, None, 0.5], [0.5, float("nan"), 0.5], [[0.5]]], "per channel"),
    ("image_mean", [[0.5, 0.5], np.zeros(4)], "1 or 3, one per channel"),
    ("image_std", [None, [], "0.5", [0.5, True, 0.5], [float("inf")]], "per channel"),
    ("image_std", [0, [0.2, 0, 0.2], -1.0, np.zeros(3)], "one number above 0, or a list of one per channel"),
    ("image_std", [[0.5, 0.5]], "1 or 3, one per channel"),
    ("data_format", [None, "channels", 1], "'channels_first' or 'channels_last'"),
    ("input_data_format", ["HWC", 0, True], "'channels_first' or 'channels_last' or None"),
])  # fmt: skip
def test_wrong_values_are_refused_by_name(option, values, expected):
    for value in values:
        with pytest.raises(ValueError, match=f"^{option}: found ") as caught:
            preprocess(NOISE, **({"crop_size": 9} | CROP | {option: value}))
        assert expected in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_step_that_is_off_reads_no_options():
    off = {"do_resize": False, "do_rescale": False, "do_normalize": False}
    unread = {"size": None, "resample": None, "crop_size": None, "rescale_factor": None, "image_mean": None}
    np.testing.assert_array_equal(preprocess(NOISE, **off, **unread)[0], np.moveaxis(NOISE, -1, 0))


def test_height_and_width_are_read_by_name_not_by_order():
    size, crop = {"width": 50, "height": 40}, {"width": 31, "height": 21}
    assert preprocess(NOISE, size=size).shape == (1, 3, 40, 50)
    assert preprocess(NOISE, **CROP, crop_size=crop).shape == (1, 3, 21, 31)


def test_every_option_changes_the_result():
    usual = preprocess(NOISE)
    for change in ({"do_resize": False}, {"size": 32}, {"resample": 2}, CROP | {"crop_size": 32}, {"do_rescale": False},
                   {"rescale_factor": 1 / 128}, {"do_normalize": False}, {"image_mean": 0.5}, {"image_std": 0.5},
                   {"data_format": "channels_last"}):  # fmt: skip
        other = preprocess(NOISE, **change)
        assert other.shape != usual.shape or np.abs(other - usual).max() > 0.01, change
        assert other.dtype == np.float32
    odd = CROP | {"crop_size": 221}
    assert not np.array_equal(preprocess(NOISE, **odd), preprocess(NOISE, **odd, crop_offset="round"))
    grey = {"image_mean": 0.5, "image_std": 0.5}
    assert preprocess(NOISE[..., :1], do_convert_rgb=False, **grey).shape == (1, 1, 224, 224)


@pytest.mark.parametrize(("height", "width", "size", "expected"), [
    (300, 401, {"shortest_edge": 256}, (256, 342)),
    (401, 300, {"shortest_edge": 256}, (342, 256)),
    (300, 400, {"shortest_edge": 256}, (256, 341)),  # 341.33
    (300, 407, {"shortest_edge": 256}, (256, 347)),  # 347.3; 256 * 407 // 300
    (500, 375, {"shortest_edge": 224}, (298, 224)),  # 298.67 is cut
    (100, 400, {"shortest_edge": 90, "longest_edge": 200}, (50, 200)),
    (100, 201, {"shortest_edge": 100, "longest_edge": 200}, (100, 201)),  # 99.5 rounds to 100: nothing to do
    (100, 400, {"max_height": 90, "max_width": 200}, (50, 200)),
    (100, 400, [7, 9], (7, 9)),
])  # fmt: skip
def test_target_size(height, width, size, expected):
    assert target_size(height, width, size) == expected


# A filter's kernel, by its published formula, and how far it reaches; those of Pillow 13 are John Costella's.
KERNELS = {
    "bilinear": (lambda x: 1 - x, 1),
    "mks2013": (lambda x: np.select([x <= 0.5, x <= 1.5], [17 / 16 - 7 / 4 * x**2, x**2 - 11 / 4 * x + 7 / 4],
                                    -1 / 8 * x**2 + 5 / 8 * x - 25 / 32), 2.5),
}  # fmt: skip


@pytest.mark.parametrize("name", KERNELS)
def test_filters_are_their_formulas(name):
    """Every filter that Pillow has is taken by its number; Pillow 13 has two more than Pillow 12."""
    if name not in FILTERS:
        with pytest.raises(ValueError, match="^resample: found 6; expected .*; Pillow 13 has 6"):
            preprocess(NOISE, resample=6)
        pytest.skip("needs Pillow 13")
    kernel, reach = KERNELS[name]
    row = np.random.default_rng(0).integers(0, 256, (1, 12, 1), dtype=np.uint8)
    centres = (np.arange(4) + 0.5) * 3  # 12 become 4, so the kernel is three times as wide
    x = np.abs(np.arange(12) + 0.5 - centres[:, None]) / 3
    weights = np.where(x < reach, kernel(x), 0)
    expected = (weights / weights.sum(axis=1, keepdims=True)) @ row[0, :, 0]
    found = resize(row, (1, 4), FILTERS[name])[0, :, 0]
    np.testing.assert_allclose(found, np.clip(expected, 0, 255), rtol=0, atol=0.6)  # rounded to whole numbers


def test_no_filter_of_pillow_is_left_out():
    assert {filter.name.lower(): filter.value for filter in Image.Resampling} == FILTERS
    pixels = [preprocess(NOISE, size=64, resample=number) for number in FILTERS.values()]
    assert len({one.tobytes() for one in pixels}) == len(FILTERS)


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_survive_json(name):
    assert json.loads(json.dumps(RECIPES[name])) == RECIPES[name]
    assert preprocess(NOISE, **RECIPES[name]).shape == (1, 3, 224, 224)


# Hugging Face

SHIPPED = {  # as saved by transformers beside a PVT checkpoint
    "image_processor_type": "PvtImageProcessor",
    "do_resize": True, "size": {"height": 224, "width": 224}, "resample": 3,
    "do_rescale": True, "rescale_factor": 0.00392156862745098, "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225],
}  # fmt: skip


def test_hf_configurations():
    assert preprocessing_from_hf(SHIPPED) == preprocessing_from_hf({}) == RECIPES["hf"]
    assert preprocessing_from_hf(SHIPPED | {"resample": 2}) == RECIPES["hf-bilinear"]
    old = {"feature_extractor_type": "PvtFeatureExtractor", "size": 224, "crop_size": None, "_processor_class": "x"}
    assert preprocessing_from_hf(old | {"data_format": "channels_last", "return_tensors": "pt"}) == RECIPES["hf"]
    for size, expected in ((64, {"height": 64, "width": 64}), ([64, 96], {"height": 64, "width": 96}),
                           ({"shortest_edge": 64}, {"shortest_edge": 64})):  # fmt: skip
        recipe = preprocessing_from_hf({"size": size, "do_center_crop": True, "crop_size": 60})
        assert (recipe["size"], recipe["crop_size"]) == (expected, {"height": 60, "width": 60})
        assert json.loads(json.dumps(recipe)) == recipe
    assert preprocessing_from_hf({"size": 64, "default_to_square": False})["size"] == {"shortest_edge": 64}
    recipe = preprocessing_from_hf({"do_resize": False, "image_mean": 0.5, "do_convert_rgb": False})
    assert (recipe["do_resize"], recipe["image_mean"], recipe["do_convert_rgb"]) == (False, 0.5, False)
    switches = ["do_resize", "do_rescale", "do_center_crop", "do_convert_rgb"]
    nulls = preprocessing_from_hf(dict.fromkeys(["do_pad", *switches]))
    assert [nulls[switch] for switch in switches] == [False, False, False, True]


def test_convnext_configurations():
    convnext = {"feature_extractor_type": "ConvNextFeatureExtractor", "size": 224}
    halves = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}  # what ConvNext's processor takes if nothing is said
    cropped = {"do_center_crop": True, "crop_size": {"height": 224, "width": 224}} | halves
    assert preprocessing_from_hf(convnext) == RECIPES["hf"] | cropped | {"size": {"shortest_edge": 256}}
    assert preprocessing_from_hf(convnext | {"crop_pct": 0.9})["size"] == {"shortest_edge": 248}
    assert preprocessing_from_hf(convnext | {"size": {"shortest_edge": 384}})["size"] == {"height": 384, "width": 384}
    assert preprocessing_from_hf(convnext | {"size": 384, "crop_pct": None})["size"] == {"height": 384, "width": 384}
    del convnext["size"]
    assert preprocessing_from_hf(convnext)["size"] == {"height": 384, "width": 384}


CONVNEXT = {"image_processor_type": "ConvNextImageProcessor", "size": 64}


@pytest.mark.parametrize(("config", "sentence"), [
    ({"image_processor_type": "LevitImageProcessor"}, "^image_processor_type: found 'Levit.*'PvtImageProcessor'.*ViT"),
    ({"image_processor_type": 3}, "^image_processor_type: found 3"),
    ({"image_processor_type": {}}, "^image_processor_type: found {}"),
    ({"feature_extractor_type": "ViT"}, "^image_processor_type: found 'ViT'"),
    ({"do_pad": True}, "^do_pad: found True; expected False"),
    ({"size": "224"}, "^size: found '224'"),
    ({"size": None}, "^size: found None"),
    ({"size": {"height": 224}}, "^size: found"),
    ({"resample": "linear"}, "^resample: found 'linear'"),
    ({"resample": None}, "^resample: found None"),
    ({"do_resize": "true"}, "^do_resize: found 'true'"),
    ({"image_mean": ["a", "b", "c"]}, "^image_mean: found"),
    ({"image_std": [1, 1, 0]}, "^image_std: found"),
    ({"rescale_factor": "1/255"}, "^rescale_factor: found"),
    ({"do_center_crop": True}, "^crop_size: found None"),
    ({"image_processor_type": "BitImageProcessor", "crop_size": None}, "^crop_size: found None"),
    ({"default_to_square": 1}, "^default_to_square: found 1"),
    (CONVNEXT | {"size": SHIPPED["size"]}, "^size: found.*ConvNext"),
    (CONVNEXT | {"crop_pct": 0}, "^crop_pct: found 0"),
    (CONVNEXT | {"do_center_crop": True, "crop_size": 9}, "^do_center_crop: found True; expected False"),
    ([1, 2], "^preprocessor_config.json: found .1, 2.; expected a dict"),
])  # fmt: skip
def test_hf_configurations_that_are_refused(config, sentence):
    with pytest.raises(ValueError, match=sentence):
        preprocessing_from_hf(config)


@pytest.mark.torch
@pytest.mark.parametrize("changes", [
    {}, {"size": 32}, {"size": {"shortest_edge": 33}}, {"size": {"shortest_edge": 400}},
    {"size": 32, "do_rescale": None}, {"size": 32, "do_normalize": None, "image_mean": None},
    {"do_resize": None, "size": None, "resample": None},
], ids=str)  # fmt: skip
@pytest.mark.parametrize(("family", "name"), [("pvt", "PvtImageProcessor"), ("convnext", "ConvNextImageProcessor")])
def test_hf_configurations_give_the_pixels_of_transformers(family, name, changes):
    module = pytest.importorskip(f"transformers.models.{family}.image_processing_pil_{family}")
    config = SHIPPED | {"image_processor_type": name, "size": {"shortest_edge": 40}, "resample": 2} | changes
    theirs = getattr(module, name + "Pil").from_dict(config)(NOISE, return_tensors="np")["pixel_values"]
    np.testing.assert_allclose(preprocess(NOISE, **preprocessing_from_hf(config)), theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["bilinear", "BILINEAR", "PILImageResampling.BILINEAR", "InterpolationMode.BILINEAR"])
def test_a_filter_may_be_given_by_its_name(name):
    assert preprocessing_from_hf({"resample": name}) == RECIPES["hf-bilinear"]


@pytest.mark.parametrize("nothing", [{}, dict.fromkeys(["image_processor_type", "feature_extractor_type"])], ids=str)
def test_no_processor_named_means_pvt_s(nothing):
    assert preprocessing_from_hf(SHIPPED | {"image_processor_type": None} | nothing) == RECIPES["hf"]
    old = {"image_processor_type": None, "feature_extractor_type": "ViTFeatureExtractor"}
    assert preprocessing_from_hf(SHIPPED | old | {"resample": 2}) == RECIPES["hf-bilinear"]


@pytest.mark.torch
@pytest.mark.parametrize("changes", [{}, {"size": 40, "crop_size": 36}, {"do_center_crop": True, "crop_size": 30}],
                         ids=str)  # fmt: skip
@pytest.mark.parametrize("name", HF_PROCESSORS)
def test_every_processor_s_name_means_what_it_means_to_transformers(name, changes):
    """Also what its file does not say."""
    family = HF_PROCESSORS[name]
    if family == "ConvNext" and "do_center_crop" in changes:
        changes = {"size": {"shortest_edge": 400}} | changes
    module = pytest.importorskip(f"transformers.models.{family.lower()}.image_processing_pil_{family.lower()}")
    theirs = getattr(module, f"{family}ImageProcessorPil").from_dict(dict(changes))(NOISE, return_tensors="np")
    ours = preprocess(NOISE, **preprocessing_from_hf({"image_processor_type": name} | changes))
    np.testing.assert_allclose(ours, theirs["pixel_values"], rtol=1e-6, atol=1e-6)


# timm

TIMM = {  # timm's pretrained_cfg of pvt_v2_b0.in1k
    "num_classes": 1000, "input_size": [3, 224, 224], "pool_size": [7, 7], "crop_pct": 0.9, "interpolation": "bicubic",
    "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "first_conv": "patch_embed.proj", "classifier": "head",
}  # fmt: skip


def test_timm_configurations():
    assert preprocessing_from_timm(TIMM) == RECIPES["timm"]
    official = RECIPES["timm"] | {"size": {"shortest_edge": 256}}
    assert preprocessing_from_timm({}) == preprocessing_from_timm(TIMM | {"crop_pct": None}) == official
    other = {"input_size": (3, 96, 96), "crop_pct": 1.0, "interpolation": "bilinear", "mean": (0.5,) * 3,
             "std": (0.4,) * 3}  # fmt: skip
    assert preprocessing_from_timm(other) == RECIPES["timm"] | {
        "size": {"shortest_edge": 96}, "crop_size": {"height": 96, "width": 96}, "resample": 2,
        "image_mean": [0.5] * 3, "image_std": [0.4] * 3,
    }  # fmt: skip
    squash = preprocessing_from_timm(TIMM | {"input_size": [3, 90, 180], "crop_mode": "squash"})
    assert (squash["size"], squash["crop_size"]) == ({"height": 100, "width": 200}, {"height": 90, "width": 180})


@pytest.mark.parametrize(("change", "sentence"), [
    ({"input_size": 224}, "^input_size: found 224"),
    ({"input_size": [3, 224, 192]}, "^input_size: found .*; expected equal height and width"),
    ({"input_size": [3, 224, 0]}, "^input_size: found"),
    ({"crop_pct": "0.9"}, "^crop_pct: found '0.9'"),
    ({"interpolation": "random"}, "^interpolation: found 'random'; expected 'nearest' or"),
    ({"crop_mode": "border"}, "^crop_mode: found 'border'"),
    ({"mean": 0.5}, "^mean: found 0.5"),
    ({"std": [0.5, 0.5, 0]}, "^std: found"),
])  # fmt: skip
def test_timm_configurations_that_are_refused(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        preprocessing_from_timm(TIMM | change)


def test_at_size_keeps_a_crop_in_proportion_and_otherwise_squashes():
    assert at_size(RECIPES["hf"], (64, 96)) == RECIPES["hf"] | {"size": {"height": 64, "width": 96}}
    assert at_size({"size": 32})["size"] == {"height": 32, "width": 32}
    timm = at_size(RECIPES["timm"], (448, 448))
    assert (timm["size"], timm["crop_size"]) == ({"shortest_edge": 496}, {"height": 448, "width": 448})
    for side, edge in ((64, 73), (512, 585)):
        assert at_size(RECIPES["official"], (side, side))["size"] == {"shortest_edge": edge}
    for recipe in RECIPES.values():
        assert at_size(recipe) == at_size(recipe, (224, 224)) == recipe
        for size in ((64, 96), (64, 64), (512, 512)):
            assert preprocess(NOISE, **at_size(recipe, size)).shape == (1, 3, *size)
    said = "image size: found 64 x 96, but the model's recipe does not resize; expected no"
    with pytest.raises(ValueError, match=said):
        at_size({"do_resize": False}, (64, 96))
