"""What each array of a trace is: the operation, its formula, its axes, what it is made from, and where it is computed.

One table for both generations, by the end of the array's name. `dump.py` writes it beside the numbers.
"""

import re
from typing import NamedTuple

HEADS = ("B", "heads", "N", "d")
KEYS = ("B", "heads", "M", "d")
TOKENS = ("B", "N", "C")
MAP = ("B", "C", "H", "W")


class Step(NamedTuple):
    """How an array is computed.

    formula     in one line, with the names of the inputs and parameters
    axes        a letter of the legend for each
    inputs      names of arrays of the same trace, relative to the block or stage, or "before" for what came in
    parameters  names of parameters, or of dicts of them, likewise
    where       the function, "layers/attention.py: attend"
    """

    operation: str
    formula: str
    axes: tuple[str, ...]
    inputs: tuple[str, ...]
    parameters: tuple[str, ...]
    where: str


def steps_of(name, config):
    """The `Step` of the array of that name in the trace of `forward`, with the full names of what it is made from.

    >>> from pvt_numpy.config import VARIANTS
    >>> step = steps_of("stages.1.blocks.0.attn.scores", VARIANTS["pvt_v2_b0"])
    >>> step.formula, step.inputs
    ('q kᵀ / sqrt(d)', ('stages.1.blocks.0.attn.q', 'stages.1.blocks.0.attn.k'))
    """
    v1, linear = config.model_type == "pvt", getattr(config, "linear_attention", False)
    found = re.fullmatch(r"(?:stages\.(\d+))?\.?(?:blocks\.(\d+))?\.?(.*)", name)
    stage, block, rest = found[1], found[2], found[3]
    i, j = int(stage or 0), int(block or 0)
    place = f"stages.{i}." + f"blocks.{j}." * (block is not None) if stage is not None else ""
    last = f"stages.{len(config.depths) - 1}"
    if block is None:
        step = _outside(rest, stage, i, config, v1, last)
    else:
        step = _in_block(rest, j, config.sr_ratios[i] if hasattr(config, "sr_ratios") else 1, config, v1, linear)

    def full(one):
        if one.startswith("/"):
            return one[1:]
        if one == "before":
            return f"stages.{i}.blocks.{j - 1}" if j else f"stages.{i}.tokens"
        return (place + one).rstrip(".")

    return step._replace(inputs=tuple(map(full, step.inputs)), parameters=tuple(map(full, step.parameters)))


def _outside(rest, stage, i, config, v1, last):
    """Arrays that belong to no block."""
    below = "/pixel_values" if i == 0 else f"/stages.{i - 1}"
    end = f"blocks.{config.depths[i] - 1}"
    normed, position = "norm" if not v1 else end, "row 0 of norm" if v1 else f"mean over N of {last}.norm"
    steps = {
        "pixel_values": Step("the input", "", ("B", "num_channels", "H", "W"), (), (), "pictures/processor.py: preprocess"),
        "patch_embed": Step(
            "convolution, tokens row by row, layer norm",
            f"LN(conv(x, stride {config.strides[i]}, padding {0 if v1 else config.patch_sizes[i] // 2}))", TOKENS, (below,),
            ("patch_embed",), f"layers/patch_embed.py: {'' if v1 else 'overlapping_'}patch_embed"),
        "tokens": Step("the position table, resized if need be, is added; in the last stage behind a class token",
                       "[cls_token; patch_embed] + resize(pos_embed)" if f"stages.{i}" == last else "patch_embed + resize(pos_embed)",
                       TOKENS, ("patch_embed",), ("pos_embed",) + ("cls_token",) * (f"stages.{i}" == last),
                       "layers/position.py: add_positions")
        if v1 else Step("as it is", "patch_embed", TOKENS, ("patch_embed",), (), "model.py: embed"),
        "": Step("the stage's tokens as a map" + ", without the class token" * v1, f"map({normed})", MAP, (normed,), (),
                 "model.py: stage"),
        "norm": Step("layer norm", f"LN({end})" if stage else f"LN({last}.{end})", TOKENS,
                     (end,) if stage else (f"/{last}.blocks.{config.depths[-1] - 1}",), ("norm",), "layers/layernorm.py: layer_norm"),
        "pooled": Step("what the head reads", position, ("B", "C"), ("/norm" if v1 else f"/{last}.norm",), (),
                       f"layers/head.py: {'class_token' if v1 else 'mean_pool'}_head"),
        "logits": Step("linear", "pooled Wᵀ + b", ("B", "num_labels"), ("pooled",), ("head",) if config.num_labels else (),
                       "layers/linear.py: linear"),
    }  # fmt: skip
    return steps[rest]


def _in_block(rest, j, ratio, config, v1, linear):
    """Arrays of a block."""
    attention = "layers/attention.py: " + ("linear_attention" if linear else "attention")
    if linear:
        reduced = Step("averaged to 7 x 7, 1 x 1 convolution, layer norm, GELU", "GELU(LN(conv(pool(map(norm1)))))",
                       ("B", "M", "C"), ("norm1",), ("attn.sr", "attn.norm"), attention)  # fmt: skip
    elif ratio > 1:
        reduced = Step(f"convolution of kernel and stride {ratio}, layer norm", f"LN(conv(map(norm1), stride {ratio}))",
                       ("B", "M", "C"), ("norm1",), ("attn.sr", "attn.norm"), attention)  # fmt: skip
    else:
        reduced = Step("as it is: R is 1", "norm1", ("B", "M", "C"), ("norm1",), (), attention)
    attend, norm, mlp = "layers/attention.py: attend", "layers/layernorm.py: layer_norm", "layers/mlp.py: "
    mlp += "mlp" if v1 else "dwconv_mlp"
    wide = "mlp.fc1" if v1 else "mlp.dwconv"
    return {
        "norm1": Step("layer norm", "LN(x)", TOKENS, ("before",), ("norm1",), norm),
        "attn.reduced": reduced,
        "attn.q": Step("linear, split into heads", "heads(norm1 Wᵀ + b)", HEADS, ("norm1",), ("attn.q",), attend),
        "attn.k": Step("linear, first half of the rows, split into heads", "heads(reduced W[:C]ᵀ + b[:C])", KEYS,
                       ("attn.reduced",), ("attn.kv",), attend),
        "attn.v": Step("linear, second half of the rows, split into heads", "heads(reduced W[C:]ᵀ + b[C:])", KEYS,
                       ("attn.reduced",), ("attn.kv",), attend),
        "attn.scores": Step("product", "q kᵀ / sqrt(d)", ("B", "heads", "N", "M"), ("attn.q", "attn.k"), (), attend),
        "attn.probs": Step("softmax over M", "exp(scores) / sum(exp(scores))", ("B", "heads", "N", "M"), ("attn.scores",),
                           (), "layers/softmax.py: softmax"),
        "attn": Step("product, heads merged, linear", "merge(probs v) Wᵀ + b", TOKENS, ("attn.probs", "attn.v"),
                     ("attn.proj",), attend),
        "residual1": Step("sum", "x + attn", TOKENS, ("before", "attn"), (), "model.py: block"),
        "norm2": Step("layer norm", "LN(residual1)", TOKENS, ("residual1",), ("norm2",), norm),
        "mlp.fc1": Step("linear", "norm2 Wᵀ + b", ("B", "N", "hidden"), ("norm2",), ("mlp.fc1",), mlp),
        "mlp.dwconv": Step("depthwise 3 x 3 convolution" + ", ReLU before it" * linear,
                           f"dwconv(map({'ReLU(fc1)' if linear else 'fc1'}), padding 1)", ("B", "N", "hidden"),
                           ("mlp.fc1",), ("mlp.dwconv",), "layers/depthwise.py: depthwise_conv2d"),
        "mlp.act": Step(f"activation: {config.hidden_act}", f"{config.hidden_act}({wide.partition('.')[2]})",
                        ("B", "N", "hidden"), (wide,), (), "layers/activations.py: " + config.hidden_act),
        "mlp": Step("linear", "act Wᵀ + b", TOKENS, ("mlp.act",), ("mlp.fc2",), mlp),
        "": Step("sum", "residual1 + mlp", TOKENS, ("residual1", "mlp"), (), "model.py: block"),
    }[rest]  # fmt: skip
