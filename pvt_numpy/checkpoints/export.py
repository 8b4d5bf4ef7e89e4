"""The way back to PyTorch: a model as a folder that Hugging Face transformers or timm loads strictly.

Sources: the files that `save_pretrained` and timm's `save_for_hf` write. If the other side cannot express something,
it is refused in a sentence, or, if only the last digits of the results differ, said in a remark.
Left out: training state, and model cards.
"""

import json
import math

import numpy as np

from ..config import config_to_dict, stage_grids, variant_name
from ..parameters import flatten
from ..pictures.recipes import FILTERS, at_size
from ..system.checks import wrong
from ..system.files import atomic_folder
from .identify import ORIGIN_KEY
from .names import file_names
from .safetensors_file import write_safetensors


def export_hf(folder, model, dtype="float32"):
    """Writes the folder that `PvtForImageClassification.from_pretrained` (or PvtV2..., or a headless ...Model) reads.

    Returns remarks, a list of sentences, on what Hugging Face's files cannot say.
    """
    config = model.config
    v1 = config.model_type == "pvt"
    name = "Pvt" if v1 else "PvtV2"
    architecture = f"{name}ForImageClassification" if config.num_labels else f"{name}Model"
    values = hf_fields(config) | {"architectures": [architecture], "dtype": dtype}
    if config.num_labels:
        values["id2label"] = {str(n): label for n, label in enumerate(model.label_names)}
        values["label2id"] = {label: n for n, label in enumerate(model.label_names)}
    remarks = [one_epsilon(config)] if one_epsilon(config) else []
    files = {"config.json": values}
    if model.preprocessing:
        ours = ("crop_offset", "do_convert_rgb", "num_channels", "data_format", "input_data_format")
        processor = {key: value for key, value in model.preprocessing.items() if key not in ours}
        files["preprocessor_config.json"] = {"image_processor_type": "PvtImageProcessor"} | processor
        if processor.get("do_center_crop") and model.preprocessing.get("crop_offset") == "round":
            remarks.append("Hugging Face rounds the offset of the centre crop down: it may start one pixel earlier")
    arrays = renamed(model.params, "hf-v1" if v1 else "hf-v2", bare=not config.num_labels)
    _write_folder(folder, files, arrays, dtype, model.origin)
    return remarks


def export_timm(folder, model, dtype="float32"):
    """Writes the folder that timm's `create_model("local-dir:FOLDER", pretrained=True)` reads; published v2 only.

    Returns remarks, a list of sentences, on what timm's files cannot say.
    """
    config = model.config
    architecture = variant_name(config)
    if config.model_type != "pvt_v2" or architecture is None:
        raise wrong("the model", architecture or "no published architecture", "one of timm's, pvt_v2_b0 to b5 or b2_li")
    remarks = []
    if (config.layer_norm_eps, config.embed_eps) != (1e-6, 1e-5):
        ours = f"this model has {config.layer_norm_eps:g} and {config.embed_eps:g}, so the logits move by about 1e-5"
        remarks.append(f"timm's epsilons are fixed at 1e-06, and 1e-05 in patch embeddings and SRA; {ours}")
    if config.problem_type is not None:
        remarks.append(f"timm cannot say problem_type, which is {config.problem_type}; config.json leaves it out")
    recipe = _timm_recipe(model.preprocessing)
    if recipe is None:
        remarks.append("timm cannot say this model's recipe; config.json leaves it out")
    classes = {"num_classes": config.num_labels}
    pretrained = classes | {"first_conv": "patch_embed.proj", "classifier": "head"} | (recipe or {})
    values = {"architecture": architecture} | classes
    values |= {"num_features": config.hidden_sizes[-1], "pretrained_cfg": pretrained}
    if model.labels:
        values["label_names"] = list(model.labels)
    _write_folder(folder, {"config.json": values}, renamed(model.params, "timm"), dtype, model.origin)
    return remarks


def one_epsilon(config):
    """What Hugging Face's one epsilon makes of two, in words; "" if this configuration has one."""
    if config.embed_eps == config.layer_norm_eps:
        return ""
    becomes = f"{config.embed_eps:g} in patch embeddings and SRA becomes {config.layer_norm_eps:g}"
    return f"Hugging Face has one epsilon: {becomes}, which moves the logits by 1e-5 or more"


def uncalibrated(temperature):
    """What a folder of others cannot say of a calibrated model."""
    return f"the temperature, {temperature:.3g}, stays behind: probabilities there are uncalibrated"


def hf_fields(config):
    """`config` as Hugging Face's config.json has it, without class names; a ValueError if that cannot express it.

    Hugging Face's v1 convolution takes its kernel from `strides` and its stride from `patch_sizes`, and makes its
    position tables for a square picture halved at every stage; this is the one place that turns our fields into theirs,
    and `config.config_from_dict` the one that turns theirs into ours.
    """
    values = config_to_dict(config)
    del values["patch_norm_eps"]  # num_labels stays: without it PvtConfig takes 1000, whatever id2label says
    values["mlp_ratios"] = [int(ratio) if ratio == int(ratio) else ratio for ratio in config.mlp_ratios]
    if config.model_type == "pvt":
        values["patch_sizes"], values["strides"] = config.strides, config.patch_sizes
        H, W = config.image_hw
        values["image_size"] = H
        sides = [H if i == 0 else H // 2 ** (i + 1) for i in range(config.num_encoder_blocks)]
        tables = [(side // stride, side // stride) for side, stride in zip(sides, config.strides, strict=True)]
        if H != W or tables != stage_grids(config):
            expected = f"{tables}, all that Hugging Face's configuration can express"
            raise wrong("the model", f"position tables for {stage_grids(config)} tokens", expected)
    return values


def renamed(params, maker, bare=False):
    """The parameters under another maker's names, as views; keys and values apart if that maker keeps them so."""
    if maker == "hf-v1" and "cls_token" not in params["stages"][-1]:
        raise wrong("the model", "no class token", "one, which Hugging Face's PVT always has; our own file needs none")
    arrays = {}
    for ours, value in flatten(params).items():
        names = file_names(ours, maker, bare)
        arrays |= zip(names, np.split(value, len(names)), strict=True)
    return arrays


def _timm_recipe(preprocessing):
    """`preprocessing` as entries of timm's pretrained_cfg, or None if timm has no words for it."""
    get = (at_size(preprocessing) if preprocessing else {}).get
    steps = all(get(step) for step in ("do_resize", "do_rescale", "do_normalize"))
    if not steps or not math.isclose(get("rescale_factor", 0), 1 / 255) or get("resample") > 5:  # Pillow 13's filters
        return None
    recipe = {"interpolation": list(FILTERS)[get("resample")], "mean": get("image_mean"), "std": get("image_std")}
    size, crop = get("size"), get("crop_size") if get("do_center_crop") else None
    if crop is None and set(size) == {"height", "width"}:
        return recipe | {"input_size": [3, size["height"], size["width"]], "crop_pct": 1.0, "crop_mode": "squash"}
    if crop is None or set(size) != {"shortest_edge"} or crop["height"] != crop["width"]:
        return None
    side, edge = crop["height"], size["shortest_edge"]
    # timm resizes to floor(side / crop_pct); the shortest fraction that gives `edge` is the one its makers wrote.
    fractions = (round(side / edge, 1), round(side / edge, 3), side / (edge + 0.5))
    crop_pct = next(fraction for fraction in fractions if math.floor(side / fraction) == edge)
    return recipe | {"input_size": [3, side, side], "crop_pct": crop_pct, "crop_mode": "center"}


def _write_folder(folder, json_files, arrays, dtype, origin):
    """Makes `folder` with everything in it, or nothing at all. The notes on the origin, a licence for instance, stand
    in the metadata of the weights, which other readers pass over and `identify` reads."""
    with atomic_folder(folder) as temporary:
        for name, values in json_files.items():
            text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
            (temporary / name).write_text(text, encoding="utf-8", newline="\n")
        write_safetensors(
            temporary / "model.safetensors", arrays, {"format": "pt", ORIGIN_KEY: json.dumps(origin)}, dtype
        )
