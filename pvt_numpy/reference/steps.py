"""What each array of a trace is: the operation, its formula, its axes, what it is made from, and where it is computed.

One table for both generations, by the end of the array's name. `dump.py` writes it beside the numbers, and `tables.py`
makes the lists of operations in PORTING.md from it.
"""

import re
from typing import NamedTuple

TOKENS, WIDE, MAP = "B N C", "B N hidden", "B C H W"
QUERIES, KEYS, TABLE = "B heads N d", "B heads M d", "B heads N M"
STAGE = r"stages\.(\d+)"
BLOCK = rf"{STAGE}\.blocks\.(\d+)"


class Step(NamedTuple):
    """How an array is computed.

    operation   in words
    formula     in one line, with the names of what it is made from
    axes        a letter of the legend for each
    inputs      names of arrays of the same trace
    parameters  names of parameters, or of dicts of them
    where       the function, "layers/attention.py: attend"
    """

    operation: str
    formula: str
    axes: list[str]
    inputs: list[str]
    parameters: list[str]
    where: str


def step_of(name, config):
    """The `Step` of the array of that name in the trace of `forward`.

    >>> from pvt_numpy.config import VARIANTS
    >>> step = step_of("stages.1.blocks.0.attn.scores", VARIANTS["pvt_v2_b0"])
    >>> step.formula, step.inputs
    ('q kᵀ / sqrt(d)', ['stages.1.blocks.0.attn.q', 'stages.1.blocks.0.attn.k'])
    """
    if found := re.match(rf"{BLOCK}\.?", name):
        i, j = map(int, found.groups())
        before = f"stages.{i}.blocks.{j - 1}" if j else f"stages.{i}.tokens"
        steps, place = _in_block(config, i, before), f"stages.{i}.blocks.{j}"
    elif found := re.match(rf"{STAGE}\.?", name):
        i = int(found[1])
        steps, place = _in_stage(config, i), f"stages.{i}"
    else:
        steps, place, found = _outside(config), "", re.match("", name)
    operation, formula, axes, inputs, parameters, where = steps[name[found.end() :]]

    def full(names):  # one that begins with a slash is of the model, any other of this place
        return [one[1:] if one[0] == "/" else f"{place}.{one}".lstrip(".") for one in names.split()]

    return Step(operation, formula, axes.split(), full(inputs), full(parameters), where)


def _outside(config):
    v1, last = config.model_type == "pvt", f"stages.{len(config.depths) - 1}"
    block = f"{last}.blocks.{config.depths[-1] - 1}"
    head = ("linear", "pooled Wᵀ + b") if config.num_labels else ("as it is: there is no head", "pooled")
    return {
        "pixel_values": ("the input", "", MAP, "", "", "pictures/processor.py: preprocess"),
        "norm": ("layer norm", "LN(x), x the last block's", TOKENS, block, "norm", "layers/layernorm.py: layer_norm"),
        "pooled": ("the class token", "row 0 of norm", "B C", "norm", "", "layers/head.py: class_token_head") if v1 else
        ("the mean of the tokens", "mean(norm) over N", "B C", f"{last}.norm", "", "layers/head.py: mean_pool_head"),
        "logits": (*head, "B labels", "pooled", "head" * (config.num_labels > 0), "layers/linear.py: linear"),
    }  # fmt: skip


def _in_stage(config, i):
    v1, last = config.model_type == "pvt", i == len(config.depths) - 1
    end = f"blocks.{config.depths[i] - 1}"
    kernel, stride = config.patch_sizes[i], config.strides[i]
    convolution = f"LN(conv(x)): kernel {kernel}, stride {stride}, padding {0 if v1 else kernel // 2}"
    function = "layers/patch_embed.py: " + ("patch_embed" if v1 else "overlapping_patch_embed")
    token = v1 and last
    table = ("position table added" + ", behind a class token" * token,
             f"{'[cls_token; patch_embed]' if token else 'patch_embed'} + resize(pos_embed)")  # fmt: skip
    return {
        "patch_embed": ("convolution, layer norm", convolution, TOKENS, f"/stages.{i - 1}" if i else "/pixel_values",
                        "patch_embed", function),
        "tokens": (*table, TOKENS, "patch_embed", "pos_embed" + " cls_token" * token,
                   "layers/position.py: add_positions")
        if v1 else ("as it is", "patch_embed", TOKENS, "patch_embed", "", "model.py: embed"),
        "norm": ("layer norm", "LN(x), x the last block's", TOKENS, end, "norm", "layers/layernorm.py: layer_norm"),
        "": ("tokens as a map" + ", without the class token" * token, f"map({end if v1 else 'norm'})", MAP,
             end if v1 else "norm", "", "model.py: stage"),
    }  # fmt: skip


def _in_block(config, i, before):
    v1, R, act = config.model_type == "pvt", config.sr_ratios[i], config.hidden_act
    if config.linear_attention:
        reduced = ("pooled to 7 x 7, 1 x 1 convolution, layer norm, GELU", "GELU(LN(conv(pool(map(norm1)))))", "B M C",
                   "norm1", "attn.sr attn.norm", "layers/attention.py: linear_attention")  # fmt: skip
    elif R > 1:
        reduced = ("convolution, layer norm", f"LN(conv(map(norm1))): kernel and stride {R}", "B M C", "norm1",
                   "attn.sr attn.norm", "layers/attention.py: attention")  # fmt: skip
    else:
        reduced = "as it is: R is 1", "norm1", "B M C", "norm1", "", "layers/attention.py: attention"
    attend, norm, sum_ = "layers/attention.py: attend", "layers/layernorm.py: layer_norm", "model.py: block"
    kv = "attn.reduced", "attn.kv", attend
    mlp, wide = ("layers/mlp.py: mlp", "fc1") if v1 else ("layers/mlp.py: dwconv_mlp", "dwconv")
    seen = "ReLU(fc1)" if config.linear_attention else "fc1"
    return {
        "norm1": ("layer norm", "LN(x), x what came in", TOKENS, f"/{before}", "norm1", norm),
        "attn.reduced": reduced,
        "attn.q": ("linear, split into heads", "heads(norm1 Wᵀ + b)", QUERIES, "norm1", "attn.q", attend),
        "attn.k": ("linear, split into heads", "heads(reduced W[:C]ᵀ + b[:C])", KEYS, *kv),
        "attn.v": ("linear, split into heads", "heads(reduced W[C:]ᵀ + b[C:])", KEYS, *kv),
        "attn.scores": ("product", "q kᵀ / sqrt(d)", TABLE, "attn.q attn.k", "", attend),
        "attn.probs": ("softmax over M", "exp(s) / sum(exp(s)), s scores less their largest", TABLE,
                       "attn.scores", "", "layers/softmax.py: softmax"),
        "attn": ("product, heads merged, linear", "merge(probs v) Wᵀ + b", TOKENS, "attn.probs attn.v", "attn.proj",
                 attend),
        "residual1": ("sum", "x + attn, x what came in", TOKENS, f"/{before} attn", "", sum_),
        "norm2": ("layer norm", "LN(residual1)", TOKENS, "residual1", "norm2", norm),
        "mlp.fc1": ("linear", "norm2 Wᵀ + b", WIDE, "norm2", "mlp.fc1", mlp),
        "mlp.dwconv": ("depthwise 3 x 3 convolution", f"dwconv(map({seen})): padding 1", WIDE, "mlp.fc1", "mlp.dwconv",
                       "layers/depthwise.py: depthwise_conv2d"),
        "mlp.act": ("activation", f"{act}({wide})", WIDE, f"mlp.{wide}", "", "layers/activations.py: ACTIVATIONS"),
        "mlp": ("linear", "act Wᵀ + b", TOKENS, "mlp.act", "mlp.fc2", mlp),
        "": ("sum", "residual1 + mlp", TOKENS, "residual1 mlp", "", sum_),
    }  # fmt: skip
