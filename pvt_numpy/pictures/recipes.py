"""The options of the image processor: what each one may be, the four published recipes, and reading a recipe
from a Hugging Face or timm configuration.

Source: transformers 5 (`image_processing_pil_pvt.py`, `image_processing_utils.py`, `image_processing_convnext.py`),
timm 1.0 (`data/transforms_factory.py`), the evaluation transform of the official PVT repository.
Left out: padding (`do_pad`), sizes in pixels (`min_pixels`), and every processor that does more than PROCESSORS'.
"""

import math
import reprlib
from functools import partial
from numbers import Integral, Real

import numpy as np
from PIL import Image

from ..system.checks import FLAG, is_number, is_whole, one_of, rule, wrong

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
SIZE_224 = {"height": 224, "width": 224}
FILTERS = {filter.name.lower(): int(filter) for filter in sorted(Image.Resampling)}  # timm's names, Pillow's numbers
BILINEAR, BICUBIC = FILTERS["bilinear"], FILTERS["bicubic"]

PICTURE_CHANNELS = (1, 3, 4)  # grey, RGB, RGBA
LARGEST = 10**6  # of a number, and its inverse the smallest to divide by: what lies beyond overflows float32, or memory
SIZE_KEYS = (("height", "width"), ("shortest_edge",), ("shortest_edge", "longest_edge"), ("max_height", "max_width"))

_is_extent = partial(is_whole, high=LARGEST, types=Integral)
_is_finite = partial(is_number, low=-LARGEST, high=LARGEST, types=Real)
_is_divisor = partial(is_number, low=1 / LARGEST, high=LARGEST, types=Real)
_DIVISORS = f"from {1 / LARGEST:g} to {LARGEST:g}"


def _recipe(size, resample=BICUBIC, crop_size=None, crop_offset="floor", mean=IMAGENET_MEAN, std=IMAGENET_STD):
    """Every option that moves a pixel value, spelled out, in types that JSON gives back unchanged."""
    return {
        "do_resize": True, "size": dict(size), "resample": resample,
        "do_center_crop": crop_size is not None, "crop_size": crop_size and dict(crop_size), "crop_offset": crop_offset,
        "do_rescale": True, "rescale_factor": 1 / 255,
        "do_normalize": True, "image_mean": list(mean), "image_std": list(std),
        "do_convert_rgb": True,
    }  # fmt: skip


RECIPES = {
    "official": _recipe({"shortest_edge": 256}, crop_size=SIZE_224, crop_offset="round"),
    "timm": _recipe({"shortest_edge": 248}, crop_size=SIZE_224, crop_offset="round"),  # 248 = floor(224 / 0.9)
    "hf": _recipe(SIZE_224),
    "hf-bilinear": _recipe(SIZE_224, resample=BILINEAR),
}


# What the image processors that are found beside a PVT take for what their file does not say, if not what PVT's takes.
_HALVES = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
_CROPPED = {"size": {"shortest_edge": 224}, "default_to_square": False, "do_center_crop": True, "crop_size": SIZE_224}
_CLIP = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
PROCESSORS = {
    "Pvt": {},
    "ViT": _HALVES | {"resample": BILINEAR},
    "DeiT": _HALVES | {"size": {"height": 256, "width": 256}, "do_center_crop": True, "crop_size": SIZE_224},
    "Segformer": {"size": {"height": 512, "width": 512}, "resample": BILINEAR},
    "Bit": _CLIP | _CROPPED,
    "CLIP": _CLIP | _CROPPED,
    "Siglip": _HALVES | {"default_to_square": False},
    "ConvNext": _HALVES | {"size": {"shortest_edge": 384}, "default_to_square": False},
}
ENDINGS = ("ImageProcessor", "ImageProcessorFast", "ImageProcessorPil", "FeatureExtractor")
HF_PROCESSORS = {family + ending: family for family in PROCESSORS for ending in ENDINGS}


def size_dict(name, size, default_to_square=True):
    """One of the forms a size may take, as the dict that it means.

    >>> size_dict("size", 224), size_dict("size", [192, 256])
    ({'height': 224, 'width': 224}, {'height': 192, 'width': 256})
    """
    if _is_extent(size):
        return dict.fromkeys(("height", "width") if default_to_square else ("shortest_edge",), int(size))
    if isinstance(size, list | tuple) and len(size) == 2:
        size = dict(zip(("height", "width"), size, strict=True))
    allowed = SIZE_KEYS if name == "size" else SIZE_KEYS[:1]
    keys_fit = isinstance(size, dict) and any(set(size) == set(keys) for keys in allowed)
    if not keys_fit or not all(map(_is_extent, size.values())):
        forms = " or ".join("{" + ", ".join(f'"{key}": n' for key in keys) + "}" for keys in allowed)
        raise wrong(name, reprlib.repr(size), f"n, (height, width) or {forms}, in whole pixels above 0")
    return {key: int(extent) for key, extent in sorted(size.items())}  # height first; NumPy's numbers are no JSON


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
        raise wrong("image size", f"{H} x {W}, but the model's recipe does not resize", "no image size")
    if not recipe["do_center_crop"]:
        return recipe | {"size": {"height": H, "width": W}}
    y, x = H / recipe["crop_size"]["height"], W / recipe["crop_size"]["width"]
    grows = {"height": y, "width": x, "max_height": y, "max_width": x}  # an edge may be either
    size = {key: max(1, round(n * grows.get(key, max(y, x)))) for key, n in recipe["size"].items()}
    return recipe | {"size": size, "crop_size": {"height": H, "width": W}}


def for_channels(recipe, num_channels):
    """(the recipe for a model of so many channels, what that changed in words): pictures become grey for one channel,
    RGBA for four, and three means and deviations, which are those of red, green and blue, their average for each.

    >>> recipe, remark = for_channels(RECIPES["hf"], 1)
    >>> recipe["num_channels"], [round(mean, 3) for mean in recipe["image_mean"]], remark
    (1, [0.449], ', in grey, means and deviations averaged')
    """
    if num_channels == recipe.get("num_channels", 3):
        return recipe, ""
    changed = {"num_channels": num_channels}
    known = {1: ", in grey", 3: ", in colour", 4: ", with transparency"}
    remark = known.get(num_channels, f", {num_channels} channels")
    for name in ("image_mean", "image_std"):
        values = recipe.get(name, RECIPES["hf"][name])
        if np.size(values) == 3 != num_channels:
            changed[name] = [float(np.mean(values))] * num_channels
    return recipe | changed, remark + ", means and deviations averaged" * (len(changed) > 1)


def pixels_of(recipe):
    """About how many pixels a picture has that the recipe has prepared; infinity if each keeps its own size.

    >>> pixels_of(RECIPES["hf"]), pixels_of({"do_resize": False})
    (50176, inf)
    """
    recipe = at_size(recipe)
    size = recipe["crop_size"] if recipe["do_center_crop"] else recipe["size"] if recipe["do_resize"] else {}
    sides = list(size.values())
    return sides[0] * sides[-1] if sides else np.inf


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


def _each(holds, or_one=False):
    """Whether `holds` is true of every value in a list, a tuple or an array; `or_one`: or of the value itself."""

    def all_hold(value):
        values = value.tolist() if isinstance(value, np.ndarray) else value
        values = [values] if or_one and not isinstance(values, list | tuple) else values
        return isinstance(values, list | tuple) and len(values) > 0 and all(map(holds, values))

    return all_hold


_DICT = rule(lambda value: isinstance(value, dict), "a dict of options")
_NUMBERED = ", ".join(f"{number} ({name})" for name, number in FILTERS.items())
_NEWER = "" if len(FILTERS) > 6 else "; Pillow 13 has 6 (mks2013) and 7 (mks2021) too"
_FILTER = rule(partial(is_whole, low=0, high=max(FILTERS.values()), types=Integral), _NUMBERED + _NEWER)
_FACTOR = rule(_is_divisor, f"a number above 0, such as 1/255, {_DIVISORS}")
_MEAN = rule(_each(_is_finite, or_one=True), "one number, or a list of one number per channel")
_STD = rule(_each(_is_divisor, or_one=True), f"one number above 0, or a list of one per channel, {_DIVISORS}")

# option: (the step that reads it, or None if it is always read; the function that refuses a wrong value)
OPTIONS = {
    "do_resize": (None, FLAG),
    "size": ("do_resize", size_dict),
    "resample": ("do_resize", _FILTER),
    "do_center_crop": (None, FLAG),
    "crop_size": ("do_center_crop", size_dict),
    "crop_offset": ("do_center_crop", one_of("floor", "round")),
    "do_rescale": (None, FLAG),
    "rescale_factor": ("do_rescale", _FACTOR),
    "do_normalize": (None, FLAG),
    "image_mean": ("do_normalize", _MEAN),
    "image_std": ("do_normalize", _STD),
    "do_convert_rgb": (None, FLAG),
    "num_channels": (None, rule(_is_extent, "a positive whole number")),
    "data_format": (None, one_of("channels_first", "channels_last")),
    "input_data_format": (None, one_of("channels_first", "channels_last", None)),
}


def check_options(options):
    """Refuses, in one sentence, the first option whose value has no meaning. A step that is off reads no options."""
    for name, value in options.items():
        if name not in OPTIONS:
            raise wrong(name, "an unknown option", ", ".join(OPTIONS))
        step, check = OPTIONS[name]
        if step is None or options[step]:
            check(name, value)


def preprocessing_from_hf(config):
    """The recipe in a Hugging Face preprocessor_config.json (a dict) as arguments for `preprocess`.

    Keys that move no pixel are ignored, a missing key means transformers' default for that processor, and a switch
    that is null is off. (All but do_convert_rgb: without it grey pictures could not be read.) A filter may be a name.

    >>> preprocessing_from_hf({"image_processor_type": "PvtImageProcessor", "resample": 2}) == RECIPES["hf-bilinear"]
    True
    """
    _DICT("preprocessor_config.json", config)
    told = [config.get("image_processor_type"), config.get("feature_extractor_type"), "PvtImageProcessor"]
    processor = next(one for one in told if one is not None)
    family = HF_PROCESSORS.get(processor) if isinstance(processor, str) else None
    if family is None:
        families = ", ".join(family for family in PROCESSORS if family != "Pvt")
        raise wrong("image_processor_type", reprlib.repr(processor), f"'PvtImageProcessor', or that of {families}")
    one_of(False, None)("do_pad", config.get("do_pad"))

    defaults = RECIPES["hf"] | {"default_to_square": True} | PROCESSORS[family]
    recipe = {name: config.get(name, default) for name, default in defaults.items()}
    for name, value in recipe.items():
        if name.startswith("do_") and value is None:
            recipe[name] = name == "do_convert_rgb"
    if family == "Segformer":
        recipe["do_center_crop"] = False  # whatever its file says
    if isinstance(recipe["resample"], str):  # "bicubic", or "PILImageResampling.BICUBIC"
        recipe["resample"] = FILTERS.get(recipe["resample"].rpartition(".")[2].lower(), recipe["resample"])
    FLAG("default_to_square", to_square := recipe.pop("default_to_square"))
    check_options(recipe)
    if recipe["do_resize"]:
        recipe["size"] = size_dict("size", recipe["size"], to_square)
    if recipe["do_center_crop"]:
        recipe["crop_size"] = size_dict("crop_size", recipe["crop_size"])
    if family == "ConvNext" and recipe["do_resize"]:
        recipe |= _convnext_resize(recipe, config.get("crop_pct", 224 / 256))
    return recipe


def _convnext_resize(recipe, crop_pct):
    """ConvNeXt's rule for a short side n: below 384 resize it to n / crop_pct and crop n x n; from 384 on, squash."""
    if set(recipe["size"]) != {"shortest_edge"}:
        raise wrong("size", recipe["size"], '{"shortest_edge": n}, as ConvNextImageProcessor needs')
    n = recipe["size"]["shortest_edge"]
    square = {"height": n, "width": n}
    if n >= 384:
        return {"size": square}
    _FACTOR("crop_pct", crop_pct)
    one_of(False)("do_center_crop", recipe["do_center_crop"])  # it crops already
    return {"size": {"shortest_edge": int(n / crop_pct)}, "do_center_crop": True, "crop_size": square}


# entry of timm's pretrained_cfg: (its default, the function that refuses a wrong value)
TIMM = {
    "input_size": ((3, 224, 224), rule(lambda v: _each(_is_extent)(v) and len(v) == 3, "[channels, height, width]")),
    "crop_pct": (0.875, _FACTOR),
    "crop_mode": ("center", one_of("center", "squash")),
    "interpolation": ("bicubic", one_of(*FILTERS)),
    "mean": (IMAGENET_MEAN, rule(_each(_is_finite), "a list of one number per channel")),
    "std": (IMAGENET_STD, rule(_each(_is_divisor), f"a list of one number per channel, {_DIVISORS}")),
}


def preprocessing_from_timm(pretrained_cfg):
    """The evaluation transform of a timm `pretrained_cfg` (a dict) as arguments for `preprocess`.

    >>> cfg = {"input_size": [3, 224, 224], "crop_pct": 0.9, "interpolation": "bicubic"}
    >>> preprocessing_from_timm(cfg) == RECIPES["timm"]
    True
    """
    _DICT("pretrained_cfg", pretrained_cfg)
    values = {}
    for name, (default, check) in TIMM.items():
        told = pretrained_cfg.get(name)
        values[name] = default if told is None else told
        check(name, values[name])
    _, height, width = values["input_size"]
    before_crop = {"height": math.floor(height / values["crop_pct"]), "width": math.floor(width / values["crop_pct"])}
    if values["crop_mode"] == "center":
        if height != width:
            raise wrong("input_size", values["input_size"], 'equal height and width (or crop_mode "squash")')
        before_crop = {"shortest_edge": before_crop["height"]}
    resample, crop_size = FILTERS[values["interpolation"]], {"height": height, "width": width}
    return _recipe(before_crop, resample, crop_size, "round", values["mean"], values["std"])
