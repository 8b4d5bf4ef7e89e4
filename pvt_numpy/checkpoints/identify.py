"""What a checkpoint made elsewhere means: which model it is, its epsilons, labels and preprocessing.

Names tell the maker (`names.recognise`). A Hugging Face `config.json` tells the model; without one, shapes do. The
maker tells the epsilons and the recipe, for the public implementations differ in both: the official code and timm take
1e-5 in the norms of the patch embeddings and of SRA and 1e-6 elsewhere, Hugging Face takes 1e-6 everywhere.
Left out: reading the arrays, and our own files, which say all of this in their metadata (`checkpoint`).
"""

import json
import math
from dataclasses import dataclass, replace

from ..config import VARIANTS, PvtConfig, PvtV2Config, config_from_dict
from ..parameters import parameter_shapes
from .names import file_names, our_names, recognise

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


@dataclass(frozen=True)
class Identity:
    """All that `load_model` needs to know beside the arrays. `kind`, `bare`: as `names.recognise` returns them."""

    kind: str
    bare: bool
    config: PvtConfig | PvtV2Config
    labels: tuple[str, ...] | None
    preprocessing: dict
    origin: dict[str, str]


def identify(source, name, short_name):
    """The Identity of `source` (a `sources.Source`). Raises ValueError that starts with `name`.

    `short_name` is noted in the origin, which travels with the model: a file's or a folder's own name, not its path.
    """
    kind, bare = recognise(source.shapes) or (None, False)
    if kind is None or kind == "ours":
        few = ", ".join(list(source.shapes)[:3]) or "no parameter at all"
        lacks = " but lack the metadata of our files" if kind else ""
        raise ValueError(f"{name}: the parameters are not those of a public PVT checkpoint{lacks}; found {few}")
    try:
        config = _config(source, kind, bare)
        labels = _labels(source.config or {}, config.num_labels)
        recipe, preprocessing = _preprocessing(source, kind, config)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    origin = {"format": MAKERS[kind], "source": short_name, "recipe": recipe}
    return Identity(kind, bare, config, labels, preprocessing, origin)


def known_variant(shapes):
    """The published variant that has these parameters (our name -> shape), whatever its head and its pictures."""

    def body(shapes):
        depends = ("head.", "stages.0.patch_embed.proj.weight")  # on the number of labels and of colours
        return {n: shape for n, shape in shapes.items() if not n.startswith(depends) and not n.endswith("pos_embed")}

    return next((v for v, config in VARIANTS.items() if body(parameter_shapes(config)) == body(shapes)), None)


def our_shapes(source, kind, bare):
    """Our name -> shape of what `source` holds; keys and values count as stacked."""
    shapes = {}
    for name, (ours, _) in our_names(source.shapes, kind, bare).items():
        shape = source.shapes[name]
        shapes[ours] = (shapes[ours][0] + shape[0], *shape[1:]) if shape and shapes.get(ours) else shape
    return shapes


def _config(source, kind, bare):
    """From config.json where Hugging Face wrote one, by name where timm did, from shapes otherwise."""
    values = source.config or {}
    shapes = our_shapes(source, kind, bare)
    head = shapes.get("head.weight") or (0,)
    eps = SPLIT_EPS if kind in ("official", "timm") else {}
    if "model_type" in values:
        config = replace(config_from_dict(values), **eps)
        # Hugging Face's headless models keep num_labels in their config; their class tells that they use none.
        classifies = "ForImageClassification" in str(values.get("architectures"))
        return config if classifies or "head.weight" in shapes else replace(config, num_labels=0)
    variant = str(values.get("architecture", "")).split(".")[0]
    if variant in VARIANTS:
        channels = shapes.get("stages.0.patch_embed.proj.weight", ())[1:2] or (3,)
        return replace(VARIANTS[variant], num_channels=channels[0], num_labels=head[0], **eps)
    return replace(_config_from_shapes(shapes, kind), num_labels=head[0], **eps)


def _config_from_shapes(shapes, kind):
    """The configuration that gives these shapes. Raises ValueError where they do not tell it."""
    v1 = kind == "hf-v1" or (kind == "official" and not any("dwconv" in name for name in shapes))
    stages = [f"stages.{i}" for i in range(min(_count(shapes, "stages."), len(shapes)))]
    embeds = [_shape(shapes, f"{stage}.patch_embed.proj.weight", 4, kind) for stage in stages]
    widths, patches = tuple(embed[0] for embed in embeds), tuple(embed[2] for embed in embeds)
    _check_widths(widths)
    ratios, mlp_ratios = [], []
    for stage, width in zip(stages, widths, strict=True):
        reduction = f"{stage}.blocks.0.attn.sr.weight"
        ratios.append(_shape(shapes, reduction, 4, kind)[2] if reduction in shapes else 1)
        hidden = _shape(shapes, f"{stage}.blocks.0.mlp.fc1.weight", 2, kind)[0]
        mlp_ratios.append(hidden / width if hidden % width else hidden // width)
    fields = {
        "num_encoder_blocks": len(stages),
        "num_channels": embeds[0][1],
        "depths": tuple(_count(shapes, f"{stage}.blocks.") for stage in stages),
        "hidden_sizes": widths,
        "patch_sizes": patches,
        "num_attention_heads": HEADS[: len(stages)],
        "mlp_ratios": tuple(mlp_ratios),
        "qkv_bias": any(name.endswith("attn.q.bias") for name in shapes),
    }
    if v1:
        tokens = _shape(shapes, "stages.0.pos_embed", 3, kind)[1] - (len(stages) == 1)
        size = _image_size(tokens, patches[0])
        return PvtConfig(**fields, strides=patches, sequence_reduction_ratios=tuple(ratios), image_size=size)
    # Linear SRA has a 1 x 1 reduction in every stage, and ignores the ratios, which are then left as published.
    linear = all(f"{stage}.blocks.0.attn.sr.weight" in shapes for stage in stages) and set(ratios) == {1}
    ratios = PvtV2Config().sr_ratios[: len(stages)] if linear else tuple(ratios)
    strides = tuple((patch + 1) // 2 for patch in patches)  # the paper: a kernel of 2S - 1 for a stride of S
    return PvtV2Config(**fields, strides=strides, sr_ratios=ratios, linear_attention=linear)


def _shape(shapes, name, ndim, kind):
    """The shape of one parameter, which must be there and have `ndim` dimensions, none of them 0."""
    theirs = file_names(name, kind)[0]
    if name not in shapes:
        raise ValueError(f"{theirs} is missing, and without it and a config.json the variant is unknown")
    if len(shapes[name]) != ndim or 0 in shapes[name]:
        raise ValueError(f"{theirs} has the shape {shapes[name]}; expected {ndim} positive dimensions")
    return shapes[name]


def _count(shapes, prefix):
    """How many numbered parts there are below `prefix`: one more than the largest number."""
    numbers = [name.removeprefix(prefix).split(".")[0] for name in shapes if name.startswith(prefix)]
    return max(map(int, numbers), default=-1) + 1


def _check_widths(widths):
    """Refuses stages that no published variant has."""
    if not widths:
        raise ValueError("no stage was found")
    if not any(published[: len(widths)] == widths for published in WIDTHS) or len(widths) > len(HEADS):
        raise ValueError(
            f"the stages have {widths} channels, which no published variant has, and shapes do not tell the number "
            "of attention heads; put Hugging Face's config.json beside the weights in a folder"
        )


def _image_size(tokens, patch):
    side = math.isqrt(tokens)
    if side * side != tokens or not side:
        raise ValueError(
            f"the first position table has {tokens} rows, which is no square grid, so the image size is "
            "unknown; put Hugging Face's config.json beside the weights in a folder"
        )
    return side * patch


def _labels(values, count):
    """The class names: of config.json (Hugging Face's or timm's), else ImageNet's for 1000 outputs, else None."""
    table = values.get("id2label")
    if not isinstance(table, dict | None):
        raise ValueError(f"config.json: id2label is a JSON {type(table).__name__}; expected a table")
    if table is not None:
        if {str(key) for key in table} != {str(n) for n in range(len(table))}:
            raise ValueError("config.json: id2label does not number its labels 0, 1, 2 and so on")
        names = [table.get(str(n), table.get(n)) for n in range(len(table))]
        if names == [f"LABEL_{n}" for n in range(len(table))]:  # transformers' stand-ins for no names
            names = None
    else:
        names = values.get("label_names")
    if names is not None and count:
        if not isinstance(names, list) or len(names) != count or not all(isinstance(name, str) for name in names):
            raise ValueError(f"config.json: the labels are {json.dumps(names)[:60]}; expected {count} texts")
        return tuple(names)
    if count == 1000:
        from ..pictures.imagenet import class_names

        return class_names()
    return None


def _preprocessing(source, kind, config):
    """(name of the recipe, its arguments for `preprocess`): from the files beside the weights, else the maker's."""
    from ..pictures import recipes

    values = source.config or {}
    if kind.startswith("hf") and source.preprocessor is not None:
        chosen = recipes.preprocessing_from_hf(source.preprocessor)
    elif kind == "timm" and values:
        own = values.get("pretrained_cfg")
        chosen = recipes.preprocessing_from_timm(own if isinstance(own, dict) else values)
    else:
        chosen = recipes.at_size(recipes.RECIPES[DEFAULT_RECIPE[kind]], config.image_hw)
    size = chosen.get("crop_size") if chosen.get("do_center_crop") else chosen.get("size")
    if isinstance(size, dict) and set(size) == {"height", "width"}:
        size = size["height"], size["width"]
        for name, recipe in recipes.RECIPES.items():
            if recipes.at_size(recipe, size) == chosen:
                return name if recipe == chosen else f"{name} at {size[0]}x{size[1]}", dict(chosen)
    return "as its files say", dict(chosen)
