"""What a checkpoint made elsewhere means: which model it is, its epsilons, labels and recipe.

Names tell the maker (`names.recognise`). A Hugging Face `config.json` tells the model; without one, shapes do. The
maker tells the epsilons and the recipe, for the public implementations differ in both: the official code and timm take
1e-5 in the norms of the patch embeddings and of SRA and 1e-6 elsewhere, Hugging Face takes 1e-6 everywhere.
Our own files say all of this in their metadata, which `checkpoint` reads. Left out: guessing what neither names nor
shapes tell, such as the number of heads of a model of other widths than the published ones.
"""

import math
import reprlib
from dataclasses import replace
from typing import NamedTuple

from ..config import VARIANTS, PvtConfig, PvtV2Config, config_from_dict
from ..parameters import parameter_shapes
from ..pictures import imagenet, recipes
from ..system.checks import rule, wrong
from .names import file_names, our_names, recognise
from .strict_json import parse_json

MAKERS = {
    "official": "the official code (whai362/PVT)",
    "timm": "timm",
    "hf-v1": "Hugging Face transformers (Pvt)",
    "hf-v2": "Hugging Face transformers (PvtV2)",
}
DEFAULT_RECIPE = {"official": "official", "timm": "timm", "hf-v1": "hf", "hf-v2": "hf"}
SPLIT_EPS = {"layer_norm_eps": 1e-6, "patch_norm_eps": 1e-5}  # of the official code and timm
HEADS = (1, 2, 5, 8)  # per stage, in every published variant; shapes do not tell them
WIDTHS = {variant.hidden_sizes for variant in VARIANTS.values()}
ORIGIN_KEY = "pvt_numpy.origin"  # in the metadata of what `export` writes: the notes that the model came with
BESIDE = "Hugging Face's config.json beside the weights in a folder"


class Identity(NamedTuple):
    """All that `load_model` needs to know beside the arrays. `maker`, `bare`: as `names.recognise` returns them."""

    maker: str
    bare: bool
    config: PvtConfig | PvtV2Config
    labels: tuple[str, ...] | None
    preprocessing: dict
    origin: dict[str, str]


def identify(source, name, short_name, recipe=None):
    """The Identity of `source` (a `sources.Source`). Raises ValueError that starts with `name`.

    `recipe`: the one of ours that counts instead of what the files say, if any.

    `short_name` is noted in the origin, which travels with the model: a file's or a folder's own name, not its path.
    """
    maker, bare = recognise(source.shapes) or (None, False)
    if maker not in MAKERS:
        few = ", ".join(list(source.shapes)[:3]) or "no parameter at all"
        lacks = ", which lack the metadata of our files" if maker else ""
        if any(name.endswith("attn.attn.in_proj_weight") for name in source.shapes):
            lacks = ", names of mmdetection's own PVT, which are not read"
        raise wrong(f"{name}: the parameters", few + lacks, "those of a public PVT checkpoint")
    try:
        config = _config(source, maker, bare)
        labels = _labels(source.config or {}, config.num_labels)
        notes = parse_json(source.metadata.get(ORIGIN_KEY, "{}"))
        rule(lambda notes: isinstance(notes, dict), "an object")(f"the metadata's {ORIGIN_KEY!r}", notes)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    try:
        how, preprocessing = asked_for(recipe) if recipe else _preprocessing(source, maker, config)
    except ValueError as error:
        raise ValueError(f"{name}: {error}, or a recipe of ours (--recipe hf; load_model(..., recipe='hf'))") from None
    origin = {key: str(value) for key, value in notes.items()}
    origin |= {"format": MAKERS[maker], "source": short_name, "recipe": how}
    return Identity(maker, bare, config, labels, preprocessing, origin)


def asked_for(recipe):
    """(note for the origin, arguments for `preprocess`) of a recipe that counts whatever the files say."""
    return f"{recipe}, as asked for", recipes.RECIPES[recipe]


def known_variant(shapes):
    """The published variant that has these parameters (our name -> shape), whatever its head and its pictures."""

    def body(shapes):
        depends = ("head.", "stages.0.patch_embed.proj.weight")  # on the number of labels and of colours
        return {n: shape for n, shape in shapes.items() if not n.startswith(depends) and not n.endswith("pos_embed")}

    return next((v for v, config in VARIANTS.items() if body(parameter_shapes(config)) == body(shapes)), None)


def our_shapes(shapes, maker, bare):
    """Our name -> shape of what a file holds under its maker's names; keys and values count as stacked."""
    ours = {}
    for name, (our_name, _) in our_names(shapes, maker, bare).items():
        shape = shapes[name]
        ours[our_name] = (ours[our_name][0] + shape[0], *shape[1:]) if shape and ours.get(our_name) else shape
    return ours


def _config(source, maker, bare):
    """From config.json if Hugging Face wrote one, by name if timm did, from shapes otherwise."""
    values, shapes = source.config or {}, our_shapes(source.shapes, maker, bare)
    head = shapes.get("head.weight") or (0,)
    eps = SPLIT_EPS if maker in ("official", "timm") else {}
    if "model_type" in values:
        config = replace(config_from_dict(values), **eps)
        # Hugging Face's headless models keep num_labels in their config; their class tells that they use none.
        classifies = "ForImageClassification" in str(values.get("architectures"))
        return config if classifies or "head.weight" in shapes else replace(config, num_labels=0)
    variant = str(values.get("architecture", "")).split(".")[0]
    if variant in VARIANTS:
        channels = shapes.get("stages.0.patch_embed.proj.weight", ())[1:2] or (3,)
        return replace(VARIANTS[variant], num_channels=channels[0], num_labels=head[0], **eps)
    return replace(_config_from_shapes(shapes, maker), num_labels=head[0], **eps)


def _config_from_shapes(shapes, maker):
    """The configuration that gives these shapes. Raises ValueError if they do not tell it."""
    stages = [f"stages.{i}" for i in range(min(_count(shapes, "stages."), len(shapes)))]
    embeds = [_shape(shapes, f"{stage}.patch_embed.proj.weight", 4, maker) for stage in stages]
    widths, patches = tuple(embed[0] for embed in embeds), tuple(embed[2] for embed in embeds)
    if not any(widths and widths == published[: len(widths)] for published in WIDTHS):
        found = f"{widths}, which no published variant has, and shapes do not tell the number of attention heads"
        raise wrong("the stages' channels", found, BESIDE)
    reductions = [f"{stage}.blocks.0.attn.sr.weight" for stage in stages]
    ratios = tuple(_shape(shapes, name, 4, maker)[2] if name in shapes else 1 for name in reductions)
    hidden = [_shape(shapes, f"{stage}.blocks.0.mlp.fc1.weight", 2, maker)[0] for stage in stages]
    fields = {
        "num_encoder_blocks": len(stages),
        "num_channels": embeds[0][1],
        "depths": tuple(_count(shapes, f"{stage}.blocks.") for stage in stages),
        "hidden_sizes": widths,
        "patch_sizes": patches,
        "num_attention_heads": HEADS[: len(stages)],
        "mlp_ratios": tuple(n / C if n % C else n // C for n, C in zip(hidden, widths, strict=True)),
        "qkv_bias": any(name.endswith("attn.q.bias") for name in shapes),
    }
    if maker == "hf-v1" or (maker == "official" and not any("dwconv" in name for name in shapes)):
        tokens = _shape(shapes, "stages.0.pos_embed", 3, maker)[1] - (len(stages) == 1)
        side = math.isqrt(tokens)
        if side * side != tokens or not side:
            raise wrong("the first position table", f"{tokens} rows, which are no square grid", BESIDE)
        image_size = side * patches[0]
        return PvtConfig(**fields, strides=patches, sequence_reduction_ratios=ratios, image_size=image_size)
    # Linear SRA has a 1 x 1 reduction in every stage, and ignores the ratios, which are then left as published.
    linear = all(name in shapes for name in reductions) and set(ratios) == {1}
    ratios = PvtV2Config().sr_ratios[: len(stages)] if linear else ratios
    strides = tuple((patch + 1) // 2 for patch in patches)  # the paper: a kernel of 2S - 1 for a stride of S
    return PvtV2Config(**fields, strides=strides, sr_ratios=ratios, linear_attention=linear)


def _shape(shapes, name, ndim, maker):
    """The shape of one parameter, which must be there and have `ndim` dimensions, none of them 0."""
    theirs = file_names(name, maker)[0]
    if name not in shapes:
        raise wrong(theirs, "no such parameter, and without it the variant is unknown", f"it, or {BESIDE}")
    if len(shapes[name]) != ndim or 0 in shapes[name]:
        raise wrong(f"{theirs}'s shape", shapes[name], f"{ndim} positive dimensions")
    return shapes[name]


def _count(shapes, prefix):
    """How many numbered parts there are below `prefix`: one more than the largest number."""
    numbers = [name.removeprefix(prefix).split(".")[0] for name in shapes if name.startswith(prefix)]
    return max(map(int, numbers), default=-1) + 1


def _labels(values, count):
    """The class names: of config.json (Hugging Face's or timm's), else ImageNet's for 1000 outputs, else None."""
    table, names = values.get("id2label"), values.get("label_names")
    if not isinstance(table, dict | None):
        raise wrong("config.json: id2label", f"a JSON {type(table).__name__}", "an object")
    if table is not None:
        if {str(key) for key in table} != {str(n) for n in range(len(table))}:
            raise wrong("config.json: id2label", "other numbers", "labels that are numbered 0, 1, 2 and so on")
        names = [table.get(str(n), table.get(n)) for n in range(len(table))]
        if names == [f"LABEL_{n}" for n in range(len(table))]:  # transformers' stand-ins for no names
            names = None
    if names is not None and count:
        if not isinstance(names, list) or len(names) != count or not all(isinstance(name, str) for name in names):
            raise wrong("config.json: the labels", reprlib.repr(names), f"{count} texts")
        return tuple(names)
    return imagenet.class_names() if count == 1000 else None


def _preprocessing(source, maker, config):
    """(name of the recipe, its arguments for `preprocess`): from the files beside the weights, else the maker's."""
    values = source.config or {}
    if maker.startswith("hf") and source.preprocessor is not None:
        chosen = recipes.preprocessing_from_hf(source.preprocessor)
    elif maker == "timm" and values:
        own = values.get("pretrained_cfg")
        chosen = recipes.preprocessing_from_timm(own if isinstance(own, dict) else values)
    else:
        chosen = recipes.at_size(recipes.RECIPES[DEFAULT_RECIPE[maker]], config.image_hw)
    size = chosen.get("crop_size") if chosen.get("do_center_crop") else chosen.get("size")
    if isinstance(size, dict) and set(size) == {"height", "width"}:
        size = size["height"], size["width"]
        for name, recipe in recipes.RECIPES.items():
            if recipes.at_size(recipe, size) == chosen:
                return name if recipe == chosen else f"{name} at {size[0]}x{size[1]}", chosen
    return "as its files say", chosen
