"""The options of the image processor: what each one may be, the four published recipes, and reading a recipe
from a Hugging Face or timm configuration.

Source: transformers 5 (`image_processing_pil_pvt.py`, `image_processing_utils.py`, `image_processing_convnext.py`),
timm 1.0 (`data/transforms_factory.py`), the evaluation transform of the official PVT repository.
Left out: padding (`do_pad`), sizes in pixels (`min_pixels`), and every processor that PVT checkpoints do not use.
"""

import math
import reprlib
from numbers import Integral, Real

import numpy as np
from PIL import Image

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
SIZE_224 = {"height": 224, "width": 224}
BILINEAR, BICUBIC = int(Image.Resampling.BILINEAR), int(Image.Resampling.BICUBIC)

HF_PROCESSORS = (
    "PvtImageProcessor",
    "PvtImageProcessorFast",
    "PvtImageProcessorPil",
    "PvtFeatureExtractor",
    "ConvNextImageProcessor",
    "ConvNextImageProcessorFast",
    "ConvNextImageProcessorPil",
    "ConvNextFeatureExtractor",
)
LARGEST = 10**6  # of a number, and its inverse the smallest to divide by: what lies beyond overflows float32, or memory
SIZE_KEYS = (("height", "width"), ("shortest_edge",), ("shortest_edge", "longest_edge"), ("max_height", "max_width"))


def _recipe(size, resample=BICUBIC, crop_size=None, crop_offset="floor", mean=IMAGENET_MEAN, std=IMAGENET_STD):
    """Every option that moves a pixel value, spelled out, in types that JSON gives back unchanged."""
    return {
        "do_resize": True,
        "size": dict(size),
        "resample": resample,
        "do_center_crop": crop_size is not None,
        "crop_size": crop_size and dict(crop_size),
        "crop_offset": crop_offset,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(mean),
        "image_std": list(std),
        "do_convert_rgb": True,
    }


RECIPES = {
    "official": _recipe({"shortest_edge": 256}, crop_size=SIZE_224, crop_offset="round"),
    "timm": _recipe({"shortest_edge": 248}, crop_size=SIZE_224, crop_offset="round"),  # 248 = floor(224 / 0.9)
    "hf": _recipe(SIZE_224),
    "hf-bilinear": _recipe(SIZE_224, resample=BILINEAR),
}


def _refuse(name, found, expected):
    raise ValueError(f"{name}: found {reprlib.repr(found)}, expected {expected}")


def _check_dict(name, config):
    if not isinstance(config, dict):
        _refuse(name, config, "a dict of options")


def _is_number(value):
    return isinstance(value, Real) and not isinstance(value, bool) and abs(value) <= LARGEST  # False for NaN


def _is_extent(value):
    return isinstance(value, Integral) and not isinstance(value, bool) and 0 < value <= LARGEST


def _channel_values(value):
    """A number, list, tuple or array of them, as a plain list."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return list(value) if isinstance(value, list | tuple) else [value]


def size_dict(name, size, default_to_square=True):
    """One of the forms a size may take, as the dict that it means.

    >>> size_dict("size", 224), size_dict("size", [192, 256])
    ({'height': 224, 'width': 224}, {'height': 192, 'width': 256})
    """
    if _is_extent(size):
        return {"height": size, "width": size} if default_to_square else {"shortest_edge": size}
    if isinstance(size, list | tuple) and len(size) == 2:
        size = {"height": size[0], "width": size[1]}
    allowed = SIZE_KEYS if name == "size" else SIZE_KEYS[:1]
    keys_fit = isinstance(size, dict) and any(set(size) == set(keys) for keys in allowed)
    if keys_fit and all(_is_extent(value) for value in size.values()):
        return dict(size)
    forms = " or ".join("{" + ", ".join(f'"{key}": n' for key in keys) + "}" for keys in allowed)
    return _refuse(name, size, f"n, (height, width) or {forms}, in whole pixels above 0")


def at_size(recipe, image_hw=None):
    """The recipe with every option spelled out; for an input of (height, width) pixels instead of its own, if given.

    A recipe that squashes squashes to that size; what another cuts off stays the same in proportion:

    >>> larger = at_size(RECIPES["official"], (448, 448))
    >>> larger["size"], larger["crop_size"]
    ({'shortest_edge': 512}, {'height': 448, 'width': 448})
    """
    recipe = RECIPES["hf"] | recipe
    for name, step in (("size", "do_resize"), ("crop_size", "do_center_crop")):
        if recipe[step]:
            recipe[name] = size_dict(name, recipe[name])
    if image_hw is None:
        return recipe
    H, W = image_hw
    if not recipe["do_resize"]:
        raise ValueError(f"the image size is {H} x {W}, but the model's recipe does not resize; expected no image size")
    if not recipe["do_center_crop"]:
        return recipe | {"size": {"height": H, "width": W}}
    y, x = H / recipe["crop_size"]["height"], W / recipe["crop_size"]["width"]
    grows = {"height": y, "width": x, "max_height": y, "max_width": x}  # an edge may be either
    size = {key: max(1, round(n * grows.get(key, max(y, x)))) for key, n in recipe["size"].items()}
    return recipe | {"size": size, "crop_size": {"height": H, "width": W}}


def target_size(height, width, size):
    """Height and width after resizing, by torchvision's arithmetic: the long side is cut, not rounded.

    >>> target_size(300, 401, {"shortest_edge": 256})  # 256 * 401 / 300 = 342.19
    (256, 342)
    """
    size = size_dict("size", size)
    if "height" in size:
        return size["height"], size["width"]
    if "max_height" in size:
        scale = min(size["max_height"] / height, size["max_width"] / width)
        return int(height * scale), int(width * scale)
    short, long = sorted((height, width))
    edge = size["shortest_edge"]
    if long / short * edge > size.get("longest_edge", np.inf):
        edge = size["longest_edge"] * short / long
    new_short = round(edge)
    new_long = long if new_short == short else int(edge * long / short)
    return (new_short, new_long) if height <= width else (new_long, new_short)


def _flag(name, value):
    if not isinstance(value, bool):
        _refuse(name, value, "True or False")


def _resample(name, value):
    if not isinstance(value, Integral) or isinstance(value, bool) or value not in range(6):
        _refuse(name, value, ", ".join(f"{int(r)} ({r.name.lower()})" for r in sorted(Image.Resampling)))


def _factor(name, value):
    if not _is_number(value) or value < 1 / LARGEST:
        _refuse(name, value, f"a number above 0, such as 1/255, from {1 / LARGEST:g} to {LARGEST:g}")


def _mean(name, value):
    values = _channel_values(value)
    if not values or not all(_is_number(v) for v in values):
        _refuse(name, value, "one number, or a list of one number per channel")


def _std(name, value):
    _mean(name, value)
    if min(_channel_values(value)) < 1 / LARGEST:
        _refuse(name, value, f"numbers above 0, from {1 / LARGEST:g} to {LARGEST:g}")


def _one_of(*choices):
    def check(name, value):
        if not any(value is choice or (isinstance(value, str) and value == choice) for choice in choices):
            _refuse(name, value, " or ".join(map(repr, choices)))

    return check


# option: (the step that reads it, or None where it is always read; the function that refuses a wrong value)
OPTIONS = {
    "do_resize": (None, _flag),
    "size": ("do_resize", size_dict),
    "resample": ("do_resize", _resample),
    "do_center_crop": (None, _flag),
    "crop_size": ("do_center_crop", size_dict),
    "crop_offset": ("do_center_crop", _one_of("floor", "round")),
    "do_rescale": (None, _flag),
    "rescale_factor": ("do_rescale", _factor),
    "do_normalize": (None, _flag),
    "image_mean": ("do_normalize", _mean),
    "image_std": ("do_normalize", _std),
    "do_convert_rgb": (None, _flag),
    "data_format": (None, _one_of("channels_first", "channels_last")),
    "input_data_format": (None, _one_of("channels_first", "channels_last", None)),
}


def check_options(options):
    """Refuses, in one sentence, the first option whose value has no meaning. A step that is off reads no options."""
    for name, value in options.items():
        step, check = OPTIONS[name]
        if step is None or options[step]:
            check(name, value)


def preprocessing_from_hf(config):
    """The recipe in a Hugging Face preprocessor_config.json (a dict) as arguments for `preprocess`.

    Keys that move no pixel are ignored, a missing key means transformers' default for that processor, and a switch
    that is null is off. (All but do_convert_rgb: without it grey photos could not be read.)

    >>> preprocessing_from_hf({"image_processor_type": "PvtImageProcessor", "resample": 2}) == RECIPES["hf-bilinear"]
    True
    """
    _check_dict("preprocessor_config.json", config)
    kind = config.get("image_processor_type", config.get("feature_extractor_type", "PvtImageProcessor"))
    _one_of(*HF_PROCESSORS)("image_processor_type", kind)
    _one_of(False, None)("do_pad", config.get("do_pad"))

    convnext = kind.startswith("ConvNext")
    defaults = RECIPES["hf"] | ({"size": {"shortest_edge": 384}} if convnext else {})
    recipe = {name: config.get(name, default) for name, default in defaults.items()}
    for name, value in recipe.items():
        if name.startswith("do_") and value is None:
            recipe[name] = name == "do_convert_rgb"
    check_options(recipe)
    to_square = config.get("default_to_square", not convnext)
    _flag("default_to_square", to_square)
    if recipe["do_resize"]:
        recipe["size"] = size_dict("size", recipe["size"], to_square)
    if recipe["do_center_crop"]:
        recipe["crop_size"] = size_dict("crop_size", recipe["crop_size"])
    if convnext and recipe["do_resize"]:
        recipe |= _convnext_resize(recipe, config.get("crop_pct", 224 / 256))
    return recipe


def _convnext_resize(recipe, crop_pct):
    """ConvNeXt's rule for a short side n: below 384 resize it to n / crop_pct and crop n x n; from 384 on, squash."""
    _factor("crop_pct", crop_pct)
    if set(recipe["size"]) != {"shortest_edge"}:
        _refuse("size", recipe["size"], '{"shortest_edge": n}, as ConvNextImageProcessor needs')
    n = recipe["size"]["shortest_edge"]
    square = {"height": n, "width": n}
    if n >= 384:
        return {"size": square}
    _one_of(False)("do_center_crop", recipe["do_center_crop"])  # it crops already
    return {"size": {"shortest_edge": int(n / crop_pct)}, "do_center_crop": True, "crop_size": square}


def preprocessing_from_timm(pretrained_cfg):
    """The evaluation transform of a timm `pretrained_cfg` (a dict) as arguments for `preprocess`.

    >>> cfg = {"input_size": [3, 224, 224], "crop_pct": 0.9, "interpolation": "bicubic"}
    >>> preprocessing_from_timm(cfg) == RECIPES["timm"]
    True
    """
    _check_dict("pretrained_cfg", pretrained_cfg)
    config = {key: value for key, value in pretrained_cfg.items() if value is not None}
    input_size, crop_pct = config.get("input_size", (3, 224, 224)), config.get("crop_pct", 0.875)
    interpolation, crop_mode = config.get("interpolation", "bicubic"), config.get("crop_mode", "center")
    mean, std = config.get("mean", IMAGENET_MEAN), config.get("std", IMAGENET_STD)

    if not isinstance(input_size, list | tuple) or len(input_size) != 3 or not all(map(_is_extent, input_size)):
        _refuse("input_size", input_size, "[channels, height, width]")
    _factor("crop_pct", crop_pct)
    filters = {r.name.lower(): int(r) for r in Image.Resampling}
    _one_of(*filters)("interpolation", interpolation)
    _one_of("center", "squash")("crop_mode", crop_mode)
    for name, value, check in (("mean", mean, _mean), ("std", std, _std)):
        check(name, value)
        if not isinstance(value, list | tuple):
            _refuse(name, value, "a list of one number per channel")

    _, height, width = input_size
    before_crop = {"height": math.floor(height / crop_pct), "width": math.floor(width / crop_pct)}
    if crop_mode == "center":
        if height != width:
            _refuse("input_size", input_size, 'equal height and width (or crop_mode "squash")')
        before_crop = {"shortest_edge": before_crop["height"]}
    return _recipe(before_crop, filters[interpolation], {"height": height, "width": width}, "round", mean, std)
