"""The Pyramid Vision Transformer, v1 and v2: four stages, each a patch embedding and a row of Transformer blocks.

Source: PVT (Wang et al., "Pyramid Vision Transformer: A Versatile Backbone for Dense Prediction without
Convolutions", 2021), the section on the overall architecture; PVT v2 (Wang et al., "PVT v2: Improved Baselines with
Pyramid Vision Transformer", 2022). Results have the names and shapes of Hugging Face's models of each generation.
"""

from typing import NamedTuple

import numpy as np

from .config import stage_grids
from .layers.attention import as_map, attention, linear_attention
from .layers.dropout import drop_path, dropout
from .layers.head import class_token_head, mean_pool_head
from .layers.layernorm import layer_norm
from .layers.losses import loss as loss_of
from .layers.mlp import dwconv_mlp
from .layers.mlp import mlp as plain_mlp
from .layers.patch_embed import overlapping_patch_embed, patch_embed
from .layers.position import add_positions
from .layers.trace import record

# Linux's allocator hands large blocks back to the system, and the next layer asks for them anew, page by page. Once it
# has seen a block freed, it keeps all smaller ones; it learns so up to this size. The block is never touched, so it
# costs no memory, and it saves a fifth of pvt_v2_b0's time.
KEPT_BYTES = 2**25 - 2**13


class Output(NamedTuple):
    """What `forward` returns; None for what was not asked for.

    loss               a number
    logits             (B, num_labels)
    last_hidden_state  v1: (B, 1 + N, C), class token first;  v2: (B, C, H, W)
    hidden_states      v1: one (B, N, C) after every block, then the normalised last;  v2: one (B, C, H, W) a stage
    attentions         v1: one (B, heads, N, M) a block;  v2: the same, in one tuple a stage

    In v1's last stage the class token makes one more of both: 1 + N and 1 + M.
    """

    loss: np.floating | None
    logits: np.ndarray
    last_hidden_state: np.ndarray
    hidden_states: tuple | None
    attentions: tuple | None


class StageOutput(NamedTuple):
    """tokens (B, N, C), a class token first in v1's last stage; grid (H, W); what each block gave, where asked for."""

    tokens: np.ndarray
    grid: tuple[int, int]
    states: tuple
    probs: tuple

    @property
    def map(self):
        """The tokens as a map (B, H, W, C), without the class token."""
        H, W = self.grid
        return as_map(self.tokens[:, -H * W :], self.grid)


def forward(pixel_values, params, config, labels=None, output_attentions=False, output_hidden_states=False,
            trace=None, rng=None):  # fmt: skip
    """Pictures in, logits out.

    pixel_values  (B, num_channels, H, W), as `preprocess` makes them; any size that leaves every key a square of tokens
    params        the nested dict of `load_model` or `init_params`, of the same type as pixel_values
    labels        for the loss: (B,) whole numbers, or what `config.problem_type` wants
    trace         a dict that receives every intermediate under a dotted name, `stages.1.blocks.0.attn.probs`
    rng           a `numpy.random.Generator`: training, with dropout and drop path; None: inference

    Returns an `Output`. Raises ValueError where the pictures or labels do not fit the model.
    """
    keep = {"output_attentions": output_attentions, "output_hidden_states": output_hidden_states}
    stages = list(trunk(pixel_values, params, config, rng=rng, trace=trace, **keep))
    last, head = stages[-1].tokens, params.get("head", {})
    if config.model_type == "pvt":
        last = layer_norm(last, **params["norm"], eps=config.layer_norm_eps)
        record(trace, "norm", last)
        logits, pooled = class_token_head(last, **head)
        hidden_states = (*(state for stage in stages for state in stage.states), last)
        attentions = tuple(probs for stage in stages for probs in stage.probs)
    else:
        logits, pooled = mean_pool_head(last, **head)
        last = channels_first(stages[-1].map)
        hidden_states = tuple(channels_first(stage.map) for stage in stages)
        attentions = tuple(stage.probs for stage in stages)
    record(trace, "pooled", pooled)
    record(trace, "logits", logits)
    loss = None if labels is None else loss_of(logits, np.asarray(labels), config.problem_type)
    return Output(loss, logits, last, hidden_states if output_hidden_states else None,
                  attentions if output_attentions else None)  # fmt: skip


def pyramid(pixel_values, params, config):
    """The four maps (B, C, H, W) that a detector or a segmenter builds on; at 224 pixels 56, 28, 14 and 7 wide.

    v2's are normalised, as its stages end in a norm; v1's are the last blocks' outputs, without the class token.
    """
    return [channels_first(stage.map) for stage in trunk(pixel_values, params, config)]


def trunk(pixel_values, params, config, *, rng=None, trace=None, **keep):
    """Runs the stages one after the other and yields each one's `StageOutput`."""
    check_pixels(pixel_values, params, config)
    np.empty(KEPT_BYTES, np.uint8)
    record(trace, "pixel_values", pixel_values)
    x = pixel_values.transpose(0, 2, 3, 1)
    for i, stage_params in enumerate(params["stages"]):
        output = stage(x, config=config, i=i, seeds=stage_seeds(config, i, rng), trace=trace, **stage_params, **keep)
        record(trace, f"stages.{i}", channels_first(output.map))
        yield output
        x = output.map


def stage(x, patch_embed, blocks, norm=None, pos_embed=None, cls_token=None, *, config, i, seeds=None, trace=None,
          output_attentions=False, output_hidden_states=False):  # fmt: skip
    """One level of the pyramid: a smaller grid of wider tokens, then Transformer blocks at that grid.

    x            (B, H, W, C)    the picture or the stage below
    patch_embed  proj, norm
    blocks       one dict of parameters a block
    norm         v2 only
    pos_embed    (1, N, C), v1 only;  cls_token (1, 1, C), only in v1's last stage
    i            which stage, from 0
    seeds        one for the embedding's dropout and one for each block, or None for inference

    Returns a `StageOutput`.
    """
    name = f"stages.{i}"
    tokens, grid = embed(x, patch_embed, pos_embed, cls_token, config=config, i=i, trace=trace,
                         rng=None if seeds is None else np.random.default_rng(seeds[0]))  # fmt: skip
    record(trace, name, grid=grid, tokens=tokens)
    states, all_probs = [], []
    for j, parameters in enumerate(blocks):
        rng = None if seeds is None else np.random.default_rng(seeds[1 + j])
        tokens, probs = block(tokens, grid, config=config, i=i, j=j, rng=rng, trace=trace, **parameters)
        if output_hidden_states:
            states.append(tokens)
        if output_attentions:
            all_probs.append(probs)
    if norm is not None:
        tokens = layer_norm(tokens, **norm, eps=config.layer_norm_eps)
        record(trace, f"{name}.norm", tokens)
    return StageOutput(tokens, grid, tuple(states), tuple(all_probs))


def embed(x, patches, pos_embed=None, cls_token=None, *, config, i, rng=None, trace=None):
    """A stage's entrance: the map x (B, H, W, C) becomes tokens (B, N, C') and their grid."""
    as_patches = patch_embed if config.model_type == "pvt" else overlapping_patch_embed
    tokens, grid = as_patches(x, **patches, stride=config.strides[i], eps=config.embed_eps)
    record(trace, f"stages.{i}.patch_embed", tokens)
    if pos_embed is not None:
        tokens = add_positions(tokens, grid, pos_embed, cls_token, stored_grid=stage_grids(config)[i])
        tokens = dropout(tokens, config.hidden_dropout_prob, rng)
    return tokens, grid


def block(x, grid, norm1, attn, norm2, mlp, *, config, i, j, rng=None, trace=None):
    """One Transformer block: attention between the tokens, then an MLP on each, both added to what was there.

    x  (B, N, C);  grid (H, W);  norm1, attn, norm2, mlp: the parameters;  i, j: stage and block, from 0

    Returns the tokens (B, N, C) and the attention probabilities (B, heads, N, M).
    """
    name, eps = f"stages.{i}.blocks.{j}", config.layer_norm_eps
    path_rate = drop_path_rates(config)[sum(config.depths[:i]) + j]
    attn_rng, attn_path_rng, mlp_rng, mlp_path_rng = split_rng(rng, 4)

    normed = layer_norm(x, **norm1, eps=eps)
    record(trace, name, norm1=normed)
    options = {"heads": config.num_attention_heads[i], "eps": config.embed_eps, "trace": trace, "name": f"{name}.attn",
               "probs_dropout": config.attention_probs_dropout_prob, "dropout_rate": config.hidden_dropout_prob,
               "rng": attn_rng}  # fmt: skip
    if config.linear_attention:
        y, probs = linear_attention(normed, grid, **attn, **options)
    else:
        y, probs = attention(normed, grid, **attn, ratio=config.sr_ratios[i], **options)
    record(trace, name, attn=y)
    x = x + drop_path(y, path_rate, attn_path_rng)
    record(trace, name, residual1=x)

    normed = layer_norm(x, **norm2, eps=eps)
    record(trace, name, norm2=normed)
    options = {"act": config.hidden_act, "trace": trace, "name": f"{name}.mlp",
               "dropout_rate": config.hidden_dropout_prob, "rng": mlp_rng}  # fmt: skip
    if config.model_type == "pvt":
        y = plain_mlp(normed, **mlp, **options)
    else:
        y = dwconv_mlp(normed, grid, **mlp, relu_first=config.linear_attention, **options)
    record(trace, name, mlp=y)
    x = x + drop_path(y, path_rate, mlp_path_rng)
    record(trace, name, x)
    return x, probs


def drop_path_rates(config):
    """How often each block's branches are dropped in training: from 0 for the first up to `drop_path_rate`."""
    return np.linspace(0, config.drop_path_rate, sum(config.depths)).tolist()


def stage_seeds(config, i, rng):
    """A seed for stage i's embedding and for each of its blocks, so that a backward pass can draw the same masks."""
    return None if rng is None else rng.integers(2**63, size=1 + config.depths[i]).tolist()


def split_rng(rng, count):
    """`count` independent generators, so that each source of noise can be drawn again without the others; or Nones."""
    return [None] * count if rng is None else [np.random.default_rng(seed) for seed in rng.integers(2**63, size=count)]


def channels_first(x):
    """(B, H, W, C) -> (B, C, H, W), as PyTorch has it; a view."""
    return x.transpose(0, 3, 1, 2)


def check_pixels(pixel_values, params, config):
    """Raises ValueError with what was found and what was expected where the pictures do not fit the model."""
    expected = f"(B, {config.num_channels}, H, W)"
    if not isinstance(pixel_values, np.ndarray):
        raise ValueError(f"pixel_values are {type(pixel_values).__name__}; expected a NumPy array {expected}")
    shape = pixel_values.shape
    if len(shape) != 4 or shape[1] != config.num_channels or not shape[0]:
        raise ValueError(f"pixel_values have shape {shape}; expected {expected}")
    dtype = params["stages"][0]["patch_embed"]["proj"]["weight"].dtype
    if pixel_values.dtype != dtype:
        raise ValueError(f"pixel_values are {pixel_values.dtype} and the parameters {dtype}; expected the same type")
