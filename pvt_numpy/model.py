"""The Pyramid Vision Transformer, v1 and v2: four stages, each a patch embedding and a row of Transformer blocks.

Source: PVT (Wang et al., "Pyramid Vision Transformer: A Versatile Backbone for Dense Prediction without
Convolutions", 2021), the section on the overall architecture; PVT v2 (Wang et al., "PVT v2: Improved Baselines with
Pyramid Vision Transformer", 2022). Results have the names and shapes of Hugging Face's models of each generation.
"""

from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np

from .config import check_seed, stage_grids
from .fast.pieces import in_pieces  # the room also registers the twins of the layers below
from .layers.attention import as_map, attention, linear_attention
from .layers.head import class_token_head, mean_pool_head
from .layers.layernorm import layer_norm
from .layers.losses import loss as loss_of
from .layers.mlp import dwconv_mlp
from .layers.mlp import mlp as plain_mlp
from .layers.patch_embed import overlapping_patch_embed
from .layers.patch_embed import patch_embed as plain_patch_embed
from .layers.position import add_positions
from .layers.run import QUIET, Only, Run
from .parameters import check_class_token, check_fit, check_head, check_labels

# Which names of a trace Hugging Face's models return: as hidden_states, by generation, and as attentions.
STATES = {"pvt": r"stages\.\d+\.blocks\.\d+|norm", "pvt_v2": r"stages\.\d+"}
PROBS = r"stages\.\d+\.blocks\.\d+\.attn\.probs"


class Output(NamedTuple):
    """What `forward` returns; None for what was not asked for.

    loss               a number
    logits             (B, num_labels); without a head the pooled features (B, C)
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


class Layer(NamedTuple):
    """A block's two layers, with all that the configuration says of them filled in, and the epsilon of its norms."""

    attend: Callable
    feed_forward: Callable
    eps: float


def forward(pixel_values, params, config, labels=None, output_attentions=False, output_hidden_states=False,
            trace=None, seed=None):  # fmt: skip
    """Pictures in, logits out.

    pixel_values  (B, num_channels, H, W), as `preprocess` makes them; any size whose grids are at least R x R
    params        the nested dict of `load_model` or `init_params`, of the same type as pixel_values
    labels        for the loss: (B,) whole numbers, or what `config.problem_type` wants
    trace         a dict that receives every intermediate under a dotted name, `stages.1.blocks.0.attn.probs`
    seed          a whole number, or a tuple of them: training, with dropout and drop path; None: inference

    Returns an `Output`. Raises ValueError if the pictures, labels or parameters do not fit the model.
    """
    check_labels(labels, config)
    check_fit(pixel_values, params, config)
    names = "|".join([STATES[config.model_type]] * bool(output_hidden_states) + [PROBS] * bool(output_attentions))

    def answer(pixel_values):
        kept = Only(names)
        run = start(config, seed, [kept] * bool(names) + [trace] * (trace is not None))
        tokens, maps = trunk(pixel_values, params, config, run)
        logits, last = classify(tokens, params, config, run)
        return logits, last if config.model_type == "pvt" else maps[-1], dict(kept)

    # whoever watches sees whole arrays, and noise is drawn for a whole batch
    logits, last, kept = in_pieces(answer, pixel_values, whole=trace is not None or seed is not None)
    loss = None if labels is None else loss_of(logits, np.asarray(labels), config.problem_type)
    return Output(loss, logits, last, *hugging_face_tuples(kept, config))


def pyramid(pixel_values, params, config, class_token=True):
    """The four maps (B, C, H, W) that a detector or a segmenter builds on; at 224 pixels 56, 28, 14 and 7 wide.

    v2's are normalised, as its stages end in a norm; v1's are the last blocks' outputs, without the class token. But in
    v1's last stage the class token takes part in the attention, so the same weights have two fourth maps:

    class_token=True   the classifier's, of Hugging Face's model and the authors' classification code: for a look at how
                       it decides
    class_token=False  that of the authors' detection and segmentation code: for detectors and segmenters of theirs

    Parameters that have no class token, as a detector's backbone, give the second in any case.
    """
    if not class_token:
        params = params | {"stages": [parameters | {"cls_token": None} for parameters in params["stages"]]}
    check_fit(pixel_values, params, config)
    return in_pieces(lambda pixel_values: trunk(pixel_values, params, config)[1], pixel_values)


def start(config, seed=None, watchers=()):
    """A `Run` with the configuration's rates of noise. Each block has its own rate of drop path, see `stage`."""
    check_seed(seed)
    return Run("", tuple(watchers), seed, config.hidden_dropout_prob, config.attention_probs_dropout_prob)


def trunk(pixel_values, params, config, run=QUIET):
    """All stages, one after the other: the last one's tokens (B, N, C), and every stage's map (B, C, H, W)."""
    check_fit(pixel_values, params, config)
    run.note(pixel_values=pixel_values)
    x, maps = pixel_values.transpose(0, 2, 3, 1), []
    for i, parameters in enumerate(params["stages"]):
        tokens, x = stage(x, **parameters, config=config, i=i, run=run.at(f"stages.{i}"))
        maps.append(channels_first(x))
    return tokens, maps


def stage(x, patch_embed, blocks, norm=None, pos_embed=None, cls_token=None, *, config, i, run=QUIET):
    """One level of the pyramid: a smaller grid of wider tokens, then Transformer blocks at that grid.

    x            (B, H, W, C)    the picture or the stage below
    patch_embed  proj, norm
    blocks       one dict of parameters a block
    norm         v2 only
    pos_embed    (1, N', C), v1 only, for the grid it was learned on;  cls_token (1, 1, C), v1's last stage
    i            which stage, from 0

    Returns the tokens (B, N, C), a class token first in v1's last stage, and their map (B, H, W, C), without it.
    """
    tokens, grid = embed(x, patch_embed, pos_embed, cls_token, config=config, i=i, run=run)
    layer, rates = block_layer(config, i, grid), drop_path_rates(config)[i]
    for j, parameters in enumerate(blocks):
        tokens = block(tokens, **parameters, layer=layer, run=run.at(f"blocks.{j}", path_rate=rates[j]))
    if norm is not None:
        tokens = layer_norm(tokens, **norm, eps=config.layer_norm_eps)
    y = as_map(tokens[:, -grid[0] * grid[1] :], grid)
    run.note(channels_first(y), norm=None if norm is None else tokens)
    return tokens, y


def embed(x, patches, pos_embed=None, cls_token=None, *, config, i, run=QUIET):
    """A stage's entrance: the map x (B, H, W, C) becomes tokens (B, N, C') and their grid."""
    as_patches = plain_patch_embed if config.model_type == "pvt" else overlapping_patch_embed
    tokens, grid = as_patches(x, **patches, stride=config.strides[i], eps=config.embed_eps)
    run.note(grid=grid, patch_embed=tokens)
    if pos_embed is not None:
        tokens = add_positions(tokens, grid, pos_embed, cls_token, stored_grid=stage_grids(config)[i])
        tokens = run.dropout(tokens, run.hidden_rate, "tokens")
    run.note(tokens=tokens)
    return tokens, grid


def block(x, norm1, attn, norm2, mlp, *, layer, run=QUIET):
    """One Transformer block: attention between the tokens, then an MLP on each, both added to what was there.

    x  (B, N, C);  norm1, attn, norm2, mlp: the parameters;  layer: from `block_layer`. Returns (B, N, C).
    """
    normed = layer_norm(x, **norm1, eps=layer.eps)
    run.note(norm1=normed)  # each array when it is there, for who looks for the first that is at fault
    y, _ = layer.attend(normed, **attn, run=run.at("attn"))
    x = x + run.drop_path(y, "attn")
    run.note(attn=y, residual1=x)
    normed = layer_norm(x, **norm2, eps=layer.eps)
    run.note(norm2=normed)
    y = layer.feed_forward(normed, **mlp, run=run.at("mlp"))
    x = x + run.drop_path(y, "mlp")
    run.note(x, mlp=y)
    return x


def block_layer(config, i, grid):
    """The `Layer` of every block of stage i, whose tokens stand on this grid."""
    attend = linear_attention if config.linear_attention else partial(attention, ratio=config.sr_ratios[i])
    local_mlp = partial(dwconv_mlp, grid=grid, relu_first=config.linear_attention)
    feed_forward = plain_mlp if config.model_type == "pvt" else local_mlp
    return Layer(partial(attend, grid=grid, heads=config.num_attention_heads[i], eps=config.embed_eps),
                 partial(feed_forward, act=config.hidden_act), config.layer_norm_eps)  # fmt: skip


def drop_path_rates(config):
    """How often each block's branches are dropped in training, stage by stage: from 0 up to `drop_path_rate`."""
    rates = iter(np.linspace(0, config.drop_path_rate, sum(config.depths)).tolist())
    return [list(islice(rates, depth)) for depth in config.depths]


def classify(tokens, params, config, run=QUIET):
    """The last stage's tokens (B, N, C) become logits (B, num_labels); in v1 they are normalised first.

    Returns the logits and the tokens that the head read.
    """
    v1 = config.model_type == "pvt"
    check_class_token(params, config)
    check_head(params, config)
    last = layer_norm(tokens, **params["norm"], eps=config.layer_norm_eps) if v1 else tokens
    logits, pooled = (class_token_head if v1 else mean_pool_head)(last, **params.get("head", {}))
    run.note(norm=last if v1 else None, pooled=pooled, logits=logits)
    return logits, last


def hugging_face_tuples(kept, config):
    """hidden_states and attentions out of a trace of nothing else, in order; None for what it does not hold.

    >>> from pvt_numpy.config import VARIANTS
    >>> kept = {"stages.0.blocks.0.attn.probs": "a", "stages.2.blocks.0.attn.probs": "b"}
    >>> hugging_face_tuples(kept, VARIANTS["pvt_v2_b0"])  # the name says which stage, whatever the depths are
    (None, (('a',), (), ('b',), ()))
    """
    states = [array for name, array in kept.items() if not name.endswith("probs")]
    probs = {name: array for name, array in kept.items() if name.endswith("probs")}
    stages = [tuple(probs[n] for n in probs if n.startswith(f"stages.{i}.")) for i in range(len(config.depths))]
    attentions = probs.values() if config.model_type == "pvt" else stages  # v2: one tuple a stage
    return tuple(states) or None, tuple(attentions) if probs else None


def channels_first(x):
    """(B, H, W, C) -> (B, C, H, W), as PyTorch has it; a view."""
    return x.transpose(0, 3, 1, 2)
