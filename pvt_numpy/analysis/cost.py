"""The cost ledger: parameters, multiply-adds and memory of every layer, read off one forward pass.

Nothing is counted by a formula for the whole: the model is run once over a picture of zeros with a trace, every
parameter comes from the table of shapes, and a layer's multiply-adds follow from the shapes of its own arrays.
Counted as in the papers: convolutions, linear layers and the two attention products; not norms, activations, softmax.
"""

import math
from collections import UserDict
from dataclasses import replace

import numpy as np

from ..config import stage_grids, variant_name
from ..layers.attention import POOLED
from ..parameters import parameter_shapes, unflatten
from ..system.memory import check_memory
from .observe import as_far_as_it_goes

BYTES = 4  # of a float32


def summarise(config, image_hw=None, shapes=None):
    """The cost of one picture, as a dict: totals, and one row for every layer.

    shapes: dotted name -> shape of the parameters there are, if not those of the configuration.

    A row has name, output (its shape without the batch), parameters, macs (multiply-adds) and bytes of the output in
    float32; attention products also have full_macs and full_bytes, the same with every token as a key.
    """
    H, W = image_hw or config.image_hw
    check_memory("picture", f"{H} x {W} pixels", memory(config, (H, W)))
    shapes = shapes or parameter_shapes(config)
    zeros = {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}  # takes no memory
    trace = _Shapes()
    as_far_as_it_goes(np.zeros((1, config.num_channels, H, W), np.float32), unflatten(zeros), config, trace)
    rows = []
    for name, shape in shapes.items():
        layer, _, leaf = name.rpartition(".")
        if leaf == "bias":
            rows[-1]["parameters"] += math.prod(shape)
        else:
            rows.append(_layer_row(layer if leaf == "weight" else name, shape, trace))
        if name.endswith(".attn.kv.weight"):
            products = _product_rows(layer.removesuffix(".kv"), trace)
        if name.endswith(".attn.proj.weight"):
            rows[-1:-1] = products  # where they are computed: after q and kv, before proj
    return {
        "model": variant_name(config) or config.model_type,
        "image_size": [H, W],
        "parameters": sum(row["parameters"] for row in rows),
        "macs": sum(row["macs"] for row in rows),
        "attention_macs": sum(row["macs"] for row in rows if "full_macs" in row),
        "full_attention_macs": sum(row.get("full_macs", 0) for row in rows),
        "layers": rows,
    }


def memory(config, image_hw, training=False):
    """About how many bytes a pass over one picture takes at its widest place: several arrays of the size of the score
    table, or of the MLP's hidden layer, are there at the same time. How many arrays there are was measured; the result
    is right to about 25 %. It is computed from shapes alone.

    training  there and back, without the gradients of the parameters

    >>> from pvt_numpy.config import VARIANTS
    >>> f"{memory(VARIANTS['pvt_v2_b0'], (4096, 4096)) / 1e9:.0f} GB"
    '206 GB'
    """
    tables, hidden = (7, 7) if training else (3, 3 if config.model_type == "pvt" else 5)
    widest = 0
    for i, (H, W) in enumerate(stage_grids(config, image_hw)):
        R, width = config.sr_ratios[i], int(config.hidden_sizes[i] * config.mlp_ratios[i])
        keys = POOLED**2 if config.linear_attention else (H // R) * (W // R)
        widest = max(widest, tables * config.num_attention_heads[i] * H * W * keys, hidden * H * W * width)
    return widest * BYTES


def shapes(config, image_hw=None):
    """A trace that knows its arrays' shapes alone, for diagrams: of one block a stage, as all of a stage are alike. No
    weights are needed.

    >>> from pvt_numpy.config import VARIANTS
    >>> shapes(VARIANTS["pvt_v2_b5"], (64, 96))["stages.1.blocks.0.attn.probs"].shape
    (1, 2, 96, 6)
    """
    config, trace = replace(config, depths=(1,) * config.num_encoder_blocks), _Shapes()
    H, W = image_hw or config.image_hw
    check_memory("picture", f"{H} x {W} pixels", memory(config, (H, W)))
    zeros = {name: np.broadcast_to(np.float32(0), shape) for name, shape in parameter_shapes(config).items()}
    as_far_as_it_goes(np.zeros((1, config.num_channels, H, W), np.float32), unflatten(zeros), config, trace)
    return trace


class _Shapes(UserDict):
    """A trace that keeps the shapes and lets the numbers go: at 1024 pixels these would fill 7 GB."""

    def __setitem__(self, name, array):
        self.data[name] = np.broadcast_to(np.float32(0), np.shape(array))  # takes no memory


def _layer_row(layer, weight, trace):
    """The row of a layer with parameters: its matrix is applied once at every token of what it puts out."""
    output = _output_shape(layer, trace)
    applied = math.prod(output[:-1])
    macs = math.prod(weight) * applied if len(weight) in (2, 4) else 0  # norms and tables multiply no matrix
    return {"name": layer, "output": output, "parameters": math.prod(weight), "macs": macs,
            "bytes": math.prod(output) * BYTES}  # fmt: skip


def _output_shape(layer, trace):
    """The shape, without the batch, of what `layer` puts out, as the trace shows it."""
    parent, _, last = layer.rpartition(".")
    if last in ("q", "kv"):
        _, heads, tokens, d = trace[f"{parent}.{last[0]}"].shape
        return [tokens, heads * d * len(last)]
    if parent.endswith(".attn"):
        shown = parent if last == "proj" else f"{parent}.reduced"  # else: sr or norm
    elif parent.endswith(".patch_embed"):
        shown = parent
    else:
        tokens = f"{parent}.tokens"
        others = {"head": "logits", "fc2": parent, "pos_embed": tokens, "cls_token": tokens}
        shown = others.get(last, layer)
    return list(trace[shown].shape[1:])


def _product_rows(attn, trace):
    """The two products of an attention layer: queries with keys, and probabilities with values."""
    _, heads, N, M = trace[f"{attn}.scores"].shape
    d = trace[f"{attn}.q"].shape[-1]
    return [{"name": f"{attn}.{name}", "output": [heads, N, columns], "parameters": 0, "macs": heads * N * M * d,
             "bytes": heads * N * columns * BYTES, "full_macs": heads * N * N * d,
             "full_bytes": heads * N * full_columns * BYTES}
            for name, columns, full_columns in (("q kᵀ", M, N), ("probs v", d, d))]  # fmt: skip
