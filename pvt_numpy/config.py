"""What a PVT is made of: the configuration of v1 and v2, and the eleven published variants.

Source: the fields, names and defaults are those of Hugging Face's `PvtConfig` and `PvtV2Config`; the variants are
Table 1 of each paper. One field is ours, `patch_norm_eps`: the official code and timm use another layer-norm epsilon
inside the patch embedding and SRA than elsewhere, which Hugging Face's configuration cannot say.

Left out: fields that only serve Hugging Face's machinery (`out_features`, `return_dict`); they are ignored when read.
"""

import reprlib
from dataclasses import asdict, dataclass, fields, replace

from .layers.activations import ACTIVATIONS
from .layers.losses import LOSSES

PROBLEM_TYPES = (None, *LOSSES)
PER_STAGE = ("depths", "hidden_sizes", "patch_sizes", "strides", "num_attention_heads", "mlp_ratios")


@dataclass(frozen=True, kw_only=True)
class _SharedFields:
    """The fields that both generations have. One number per stage where a tuple is shown."""

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
        if not _is_whole(self.num_encoder_blocks, at_least=1):
            raise ValueError(
                _sentence("num_encoder_blocks", self.num_encoder_blocks, "a whole number of stages, at least 1")
            )
        _check_common(self)
        _check_stages(self)

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
    ValueError: hidden_sizes[3] is 500; expected a multiple of num_attention_heads[3] = 8
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
    linear_attention: bool = False  # keys from a 7 x 7 average pool whatever the image size (b2_li)

    model_type = "pvt_v2"


def _is_whole(value, at_least):
    return isinstance(value, int) and not isinstance(value, bool) and at_least <= value < 2**31


def _is_number(value, low, high=1e6):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value < high  # False for NaN


def _sentence(name, found, expected):
    return f"{name} is {reprlib.repr(found)}; expected {expected}"


def _check_common(config):
    """Refuses impossible values of the fields that are not per stage."""
    size = config.image_size
    if not (_is_whole(size, 1) or (isinstance(size, tuple) and len(size) == 2 and all(_is_whole(n, 1) for n in size))):
        raise ValueError(_sentence("image_size", size, "a positive whole number of pixels or (height, width)"))
    if not _is_whole(config.num_channels, 1):
        raise ValueError(_sentence("num_channels", config.num_channels, "a positive whole number"))
    if not _is_whole(config.num_labels, 0):
        raise ValueError(_sentence("num_labels", config.num_labels, "a whole number, 0 for a model without a head"))
    if config.hidden_act not in ACTIVATIONS:
        raise ValueError(_sentence("hidden_act", config.hidden_act, "one of " + ", ".join(ACTIVATIONS)))
    if config.problem_type not in PROBLEM_TYPES:
        raise ValueError(_sentence("problem_type", config.problem_type, f"one of {PROBLEM_TYPES}"))
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate"):
        if not _is_number(getattr(config, name), 0, 1):
            raise ValueError(_sentence(name, getattr(config, name), "a number from 0 to below 1"))
    for name in ("layer_norm_eps", "initializer_range", "patch_norm_eps"):
        value = getattr(config, name)
        if not (_is_number(value, 0) or (name == "patch_norm_eps" and value is None)):
            raise ValueError(_sentence(name, value, "a number from 0 to below 1e6"))
    for name in ("qkv_bias", "linear_attention"):
        if not isinstance(getattr(config, name), bool):
            raise ValueError(_sentence(name, getattr(config, name), "True or False"))


def _check_stages(config):
    """Refuses impossible values of the fields with one number per stage."""
    ratios = "sequence_reduction_ratios" if config.model_type == "pvt" else "sr_ratios"
    for name in (*PER_STAGE, ratios):
        values = getattr(config, name)
        if not isinstance(values, tuple) or len(values) != config.num_encoder_blocks:
            raise ValueError(
                _sentence(name, values, f"{config.num_encoder_blocks} numbers, one per stage (num_encoder_blocks)")
            )
        for i, value in enumerate(values):
            if name == "mlp_ratios":
                if not (_is_number(value, 0) and int(config.hidden_sizes[i] * value) >= 1):
                    raise ValueError(
                        _sentence(f"mlp_ratios[{i}]", value, "a number that leaves at least one hidden channel")
                    )
            elif not _is_whole(value, 1):
                raise ValueError(_sentence(f"{name}[{i}]", value, "a positive whole number"))
    for i, (channels, heads) in enumerate(zip(config.hidden_sizes, config.num_attention_heads, strict=True)):
        if channels % heads:
            raise ValueError(
                _sentence(f"hidden_sizes[{i}]", channels, f"a multiple of num_attention_heads[{i}] = {heads}")
            )
    if config.model_type == "pvt":
        if config.sr_ratios[-1] != 1:
            raise ValueError(
                _sentence(
                    f"{ratios}[-1]", config.sr_ratios[-1], "1: the last stage's class token has no place on the grid"
                )
            )
        stage_grids(config)


def stage_grids(config, image_hw=None):
    """The (H, W) of every stage's grid of tokens for an image of (height, width), by default `config.image_hw`.

    v1's patches are not padded, so rows and columns that fill no patch are dropped; v2 pads by half a patch.
    Raises ValueError where a stage is left without a token.

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
            size = f"{image_hw[0]} x {image_hw[1]}"
            raise ValueError(f"an image of {size} pixels leaves stage {i} without a patch; expected a larger one")
        grids.append((H, W))
    return grids


_B1_WIDTHS = (64, 128, 320, 512)
VARIANTS = {
    "pvt_tiny": PvtConfig(depths=(2, 2, 2, 2)),
    "pvt_small": PvtConfig(depths=(3, 4, 6, 3)),
    "pvt_medium": PvtConfig(depths=(3, 4, 18, 3)),
    "pvt_large": PvtConfig(depths=(3, 8, 27, 3)),
    "pvt_v2_b0": PvtV2Config(depths=(2, 2, 2, 2), num_labels=1000),
    "pvt_v2_b1": PvtV2Config(depths=(2, 2, 2, 2), hidden_sizes=_B1_WIDTHS, num_labels=1000),
    "pvt_v2_b2": PvtV2Config(depths=(3, 4, 6, 3), hidden_sizes=_B1_WIDTHS, num_labels=1000),
    "pvt_v2_b2_li": PvtV2Config(depths=(3, 4, 6, 3), hidden_sizes=_B1_WIDTHS, num_labels=1000, linear_attention=True),
    "pvt_v2_b3": PvtV2Config(depths=(3, 4, 18, 3), hidden_sizes=_B1_WIDTHS, num_labels=1000),
    "pvt_v2_b4": PvtV2Config(depths=(3, 8, 27, 3), hidden_sizes=_B1_WIDTHS, num_labels=1000),
    "pvt_v2_b5": PvtV2Config(depths=(3, 6, 40, 3), hidden_sizes=_B1_WIDTHS, mlp_ratios=(4, 4, 4, 4), num_labels=1000),
}


def config_from_dict(values):
    """A configuration from Hugging Face's `config.json` (or from `config_to_dict`), given as a dict.

    `id2label` gives num_labels where the file does not name it. Hugging Face's v1 convolution takes its kernel from
    `strides` and its stride from `patch_sizes`; where the two differ they are exchanged here, so that the fields mean
    what they say. Fields of Hugging Face's machinery are ignored. Raises ValueError naming the field.
    """
    kinds = {"pvt": PvtConfig, "pvt_v2": PvtV2Config}
    if (
        not isinstance(values, dict)
        or not isinstance(values.get("model_type"), str)
        or values["model_type"] not in kinds
    ):
        found = values.get("model_type") if isinstance(values, dict) else type(values).__name__
        raise ValueError(f"config: model_type is {found!r}; expected 'pvt' or 'pvt_v2'")
    kind = kinds[values["model_type"]]
    known = {field.name for field in fields(kind)}
    chosen = {name: value for name, value in values.items() if name in known}
    if "num_labels" not in values and isinstance(values.get("id2label"), dict):
        chosen["num_labels"] = len(values["id2label"])
    if kind is PvtConfig and values.get("patch_sizes") != values.get("strides") and "patch_norm_eps" not in values:
        defaults = PvtConfig()
        chosen["patch_sizes"] = values.get("strides", defaults.strides)
        chosen["strides"] = values.get("patch_sizes", defaults.patch_sizes)
    return kind(**chosen)


def config_to_dict(config):
    """The fields of `config` and its model_type as a dict for JSON; `config_from_dict` reads it back.

    >>> config_from_dict(config_to_dict(VARIANTS["pvt_v2_b2_li"])) == VARIANTS["pvt_v2_b2_li"]
    True
    """
    return {"model_type": config.model_type} | asdict(config)


def variant_name(config):
    """The published name of this architecture whatever its number of labels and epsilons, or None.

    >>> variant_name(PvtConfig(depths=(3, 4, 6, 3), num_labels=10))
    'pvt_small'
    """
    details = ("image_size", "num_labels", "problem_type", "layer_norm_eps", "patch_norm_eps", "drop_path_rate",
               "hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range")  # fmt: skip
    for name, published in VARIANTS.items():
        if (
            type(config) is type(published)
            and replace(config, **{d: getattr(published, d) for d in details}) == published
        ):
            return name
    return None
