"""What a PVT is made of: the configuration of v1 and v2, and the eleven published variants.

Source: the fields, names and defaults are those of Hugging Face's `PvtConfig` and `PvtV2Config`; the variants are
Table 1 of each paper. One field is ours, `patch_norm_eps`: the official code and timm use another layer-norm epsilon
inside the patch embedding and SRA than elsewhere, which Hugging Face's configuration cannot say.

Left out: what the arithmetic does not need (`id2label`, `out_features`, `return_dict`); it is ignored when read. The
configurations that `pvt_numpy` itself gives, of `hugging_face`, are these with all that beside the numbers.
"""

import reprlib
from dataclasses import dataclass, fields
from numbers import Integral

from .layers.activations import ACTIVATIONS
from .layers.losses import LOSSES
from .system.checks import FLAG, is_number, is_whole, one_of, rule, wrong

# --- fields ---


@dataclass(frozen=True, kw_only=True)
class _SharedFields:
    """The fields that both generations have. A tuple holds one number per stage."""

    image_size: int | tuple[int, int] = 224  # pixels, or (height, width); v1's position tables are made for it
    num_channels: int = 3  # of the picture
    num_encoder_blocks: int = 4  # stages, for Hugging Face calls a stage an encoder block
    depths: tuple[int, ...] = (2, 2, 2, 2)  # blocks
    hidden_sizes: tuple[int, ...] = (64, 128, 320, 512)  # channels C
    patch_sizes: tuple[int, ...] = (4, 2, 2, 2)  # kernel of the patch embedding's convolution
    strides: tuple[int, ...] = (4, 2, 2, 2)  # by how much each stage shrinks the grid
    num_attention_heads: tuple[int, ...] = (1, 2, 5, 8)
    mlp_ratios: tuple[float, ...] = (8, 8, 4, 4)  # hidden width of the MLP over C
    hidden_act: str = "gelu"  # the exact erf form
    hidden_dropout_prob: float = 0.0  # in training only, as the next one and drop_path_rate
    attention_probs_dropout_prob: float = 0.0
    initializer_range: float = 0.02  # standard deviation of fresh weights
    drop_path_rate: float = 0.0  # of the last block; earlier blocks ramp up to it from 0
    layer_norm_eps: float = 1e-6
    patch_norm_eps: float | None = None  # patch embedding's and SRA's norms; None: as layer_norm_eps
    qkv_bias: bool = True
    num_labels: int = 1000  # 0: no head, the logits are the pooled features
    problem_type: str | None = None  # which loss; None: chosen from num_labels and the labels' type

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, list):
                object.__setattr__(self, field.name, tuple(value))
        _check(self)

    @property
    def image_hw(self):
        """The image size as (height, width)."""
        return self.image_size if isinstance(self.image_size, tuple) else (self.image_size, self.image_size)

    @property
    def embed_eps(self):
        """Epsilon of the norms in the patch embeddings and in SRA."""
        return self.layer_norm_eps if self.patch_norm_eps is None else self.patch_norm_eps


@dataclass(frozen=True, kw_only=True)
class PvtConfig(_SharedFields):
    """PVT v1: position tables, a class token in the last stage, patches that do not overlap.

    >>> PvtConfig().sr_ratios
    (8, 4, 2, 1)
    >>> PvtConfig(hidden_sizes=(64, 128, 320, 500))
    Traceback (most recent call last):
    ...
    ValueError: hidden_sizes[3]: found 500; expected a multiple of num_attention_heads[3] = 8
    """

    sequence_reduction_ratios: tuple[int, ...] = (8, 4, 2, 1)  # R: SRA merges R x R tokens into one key

    model_type = "pvt"
    linear_attention = False

    @property
    def sr_ratios(self):
        """v2's name for `sequence_reduction_ratios`."""
        return self.sequence_reduction_ratios


@dataclass(frozen=True, kw_only=True)
class PvtV2Config(_SharedFields):
    """PVT v2: overlapping patches, a depthwise convolution in the MLP instead of position tables, mean pooling.

    >>> PvtV2Config().hidden_sizes
    (32, 64, 160, 256)
    """

    hidden_sizes: tuple[int, ...] = (32, 64, 160, 256)
    patch_sizes: tuple[int, ...] = (7, 3, 3, 3)
    num_labels: int = 2
    sr_ratios: tuple[int, ...] = (8, 4, 2, 1)
    linear_attention: bool = False  # keys from a 7 x 7 average pool whatever the picture's size (b2_li)

    model_type = "pvt_v2"


GENERATIONS = {generation.model_type: generation for generation in (PvtConfig, PvtV2Config)}

# --- variants ---

_WIDE = {"hidden_sizes": (64, 128, 320, 512), "num_labels": 1000}  # all of v2 but b0
_PUBLISHED = {  # what each one has in place of the defaults above
    "pvt_tiny": (PvtConfig, {"depths": (2, 2, 2, 2)}),
    "pvt_small": (PvtConfig, {"depths": (3, 4, 6, 3)}),
    "pvt_medium": (PvtConfig, {"depths": (3, 4, 18, 3)}),
    "pvt_large": (PvtConfig, {"depths": (3, 8, 27, 3)}),
    "pvt_v2_b0": (PvtV2Config, {"depths": (2, 2, 2, 2), "num_labels": 1000}),
    "pvt_v2_b1": (PvtV2Config, {"depths": (2, 2, 2, 2), **_WIDE}),
    "pvt_v2_b2": (PvtV2Config, {"depths": (3, 4, 6, 3), **_WIDE}),
    "pvt_v2_b2_li": (PvtV2Config, {"depths": (3, 4, 6, 3), "linear_attention": True, **_WIDE}),
    "pvt_v2_b3": (PvtV2Config, {"depths": (3, 4, 18, 3), **_WIDE}),
    "pvt_v2_b4": (PvtV2Config, {"depths": (3, 8, 27, 3), **_WIDE}),
    "pvt_v2_b5": (PvtV2Config, {"depths": (3, 6, 40, 3), "mlp_ratios": (4, 4, 4, 4), **_WIDE}),
}

# --- checks ---


def _is_size(value):
    sides = value if isinstance(value, tuple) else (value, value)
    return len(sides) == 2 and all(map(is_whole, sides))


_COUNT = rule(is_whole, "a positive whole number")
_HIDDEN = "a number that leaves at least one hidden channel"
_LAST = rule(lambda ratio: ratio == 1, "1: the last stage's class token has no place on the grid")
_SHARE = rule(lambda value: is_number(value) and value < 1, "a number from 0 to below 1")
_SMALL = "a number from 0 to 1e6"
_TABLE = [  # fields; what refuses a wrong value of theirs, or of one stage's
    ("image_size", rule(_is_size, "a positive whole number of pixels or (height, width)")),
    ("num_encoder_blocks", rule(is_whole, "a whole number of stages, at least 1")),
    ("num_channels depths hidden_sizes patch_sizes strides num_attention_heads", _COUNT),
    ("sequence_reduction_ratios sr_ratios", _COUNT),
    ("mlp_ratios", rule(is_number, _HIDDEN)),
    ("hidden_act", one_of(*ACTIVATIONS)),
    ("hidden_dropout_prob attention_probs_dropout_prob drop_path_rate", _SHARE),
    ("initializer_range layer_norm_eps", rule(is_number, _SMALL)),
    ("patch_norm_eps", rule(lambda value: value is None or is_number(value), f"{_SMALL}, or None")),
    ("qkv_bias linear_attention", FLAG),
    ("num_labels", rule(lambda value: is_whole(value, 0), "a whole number, 0 for a model without a head")),
    ("problem_type", one_of(None, *LOSSES)),
]
_CHECKS = {name: check for names, check in _TABLE for name in names.split()}


def _check(config):
    """Refuses the first field whose value no model can have: each by itself, then those that must fit each other."""
    stages = config.num_encoder_blocks
    for field in fields(GENERATIONS[config.model_type]):
        name, value = field.name, getattr(config, field.name)
        if not isinstance(field.default, tuple):
            _CHECKS[name](name, value)
            continue
        if not isinstance(value, tuple) or len(value) != stages:
            raise wrong(name, reprlib.repr(value), f"{stages} numbers, one per stage (num_encoder_blocks)")
        for i, one in enumerate(value):
            _CHECKS[name](f"{name}[{i}]", one)
    for i, (C, heads) in enumerate(zip(config.hidden_sizes, config.num_attention_heads, strict=True)):
        if C % heads:
            raise wrong(f"hidden_sizes[{i}]", C, f"a multiple of num_attention_heads[{i}] = {heads}")
        if int(C * config.mlp_ratios[i]) < 1:
            raise wrong(f"mlp_ratios[{i}]", config.mlp_ratios[i], _HIDDEN)
    if config.model_type == "pvt":
        _LAST("sequence_reduction_ratios[-1]", config.sr_ratios[-1])
        stage_grids(config)


def check_seed(seed):
    """Raises ValueError unless `seed` is None, a whole number that NumPy's integers can hold, or a tuple of such."""
    numbers = seed if isinstance(seed, tuple) and seed else (0 if seed is None else seed,)
    if not all(is_whole(number, 0, 2**63 - 1, Integral) for number in numbers):
        raise wrong("seed", " ".join(repr(seed).split())[:80], "a whole number from 0 to 2**63 - 1, or a tuple of them")


def stage_grids(config, image_hw=None):
    """The (H, W) of every stage's grid of tokens for a picture of (height, width), by default `config.image_hw`.

    v1's patches are not padded, so rows and columns that fill no patch are dropped; v2 pads by half a patch.
    Raises ValueError if a stage is left without a token.

    >>> stage_grids(VARIANTS["pvt_v2_b0"])
    [(56, 56), (28, 28), (14, 14), (7, 7)]
    >>> stage_grids(VARIANTS["pvt_tiny"], (230, 100))
    [(57, 25), (28, 12), (14, 6), (7, 3)]
    """
    H, W = image_hw = image_hw or config.image_hw
    grids = []
    for i, (patch, stride) in enumerate(zip(config.patch_sizes, config.strides, strict=True)):
        padding = patch // 2 if config.model_type == "pvt_v2" else 0
        H, W = ((n + 2 * padding - patch) // stride + 1 for n in (H, W))
        if min(H, W) < 1:
            found = f"{image_hw[0]} x {image_hw[1]} pixels, which leave stage {i + 1} without a patch"
            raise wrong("picture", found, "a larger one")
        grids.append((H, W))
    return grids


def smallest_side(config):
    """Pixels: the least height, and the least width, of which every stage makes a token and SRA one square of R x R.

    >>> [smallest_side(VARIANTS[name]) for name in ("pvt_tiny", "pvt_v2_b0", "pvt_v2_b2_li")]
    [32, 29, 1]
    """
    needed = 1
    for patch, stride, R in reversed(list(zip(config.patch_sizes, config.strides, config.sr_ratios, strict=True))):
        padding = patch // 2 if config.model_type == "pvt_v2" else 0
        tokens = needed if config.linear_attention else max(needed, R)
        needed = max(1, (tokens - 1) * stride + patch - 2 * padding)
    return needed


VARIANTS = {name: generation(**changes) for name, (generation, changes) in _PUBLISHED.items()}  # and checked


# --- as a dict, and by name ---


def config_from_dict(values):
    """A configuration from Hugging Face's `config.json` (or from `config_to_dict`), given as a dict.

    `id2label` gives num_labels if the file does not name it. Hugging Face's v1 convolution takes its kernel from
    `strides` and its stride from `patch_sizes`; if the two differ they are exchanged here, so that the fields mean
    what they say. (A dict with `patch_norm_eps` is ours, and says it already.) Fields of Hugging Face's machinery are
    ignored. Raises ValueError naming the field.
    """
    rule(lambda value: isinstance(value, dict), "a dict of fields")("config", values)
    one_of(*GENERATIONS)("model_type", values.get("model_type"))
    generation = GENERATIONS[values["model_type"]]
    chosen = {field.name: values[field.name] for field in fields(generation) if field.name in values}
    if "num_labels" not in values and isinstance(values.get("id2label"), dict):
        chosen["num_labels"] = len(values["id2label"])
    kernels, steps = (values.get(name, getattr(PvtConfig, name)) for name in ("strides", "patch_sizes"))
    if generation is PvtConfig and "patch_norm_eps" not in values and kernels != steps:
        chosen |= {"patch_sizes": kernels, "strides": steps}
    return generation(**chosen)


def config_to_dict(config):
    """The fields of `config` and its model_type as a dict for JSON; `config_from_dict` reads it back.

    >>> config_from_dict(config_to_dict(VARIANTS["pvt_v2_b2_li"])) == VARIANTS["pvt_v2_b2_li"]
    True
    """
    names = [field.name for field in fields(GENERATIONS[config.model_type])]
    return {"model_type": config.model_type} | {name: getattr(config, name) for name in names}


def variant_name(config):
    """The published name of this architecture whatever its number of labels and epsilons, or None.

    >>> variant_name(PvtConfig(depths=(3, 4, 6, 3), num_labels=10))
    'pvt_small'
    """
    details = ("image_size", "num_labels", "problem_type", "layer_norm_eps", "patch_norm_eps", "drop_path_rate",
               "hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range")  # fmt: skip

    def architecture(config):
        return {name: value for name, value in config_to_dict(config).items() if name not in details}

    return next((name for name, one in VARIANTS.items() if architecture(one) == architecture(config)), None)
