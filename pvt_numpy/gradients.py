"""The model's backward pass: `model.py` read from the last line to the first.

`stage_backward` undoes `stage`, and so on: each takes the gradient of what that function returned and what it was
given, and returns the gradient of its input and of its parameters, in the parameters' own nesting. Only the tokens
after each half of a block are kept from the forward pass; inside a half everything is computed again, so that memory
grows with the depth by two (B, N, C) arrays a block, and inference needs no caches.
"""

import copy

import numpy as np

from .analysis.tracing import Only
from .config import stage_grids
from .layers.attention import attention, attention_backward, linear_attention, linear_attention_backward
from .layers.dropout import drop_path_backward, drop_path_factor, dropout_backward, times
from .layers.head import class_token_head, class_token_head_backward, mean_pool_head, mean_pool_head_backward
from .layers.layernorm import layer_norm, layer_norm_backward
from .layers.losses import cross_entropy, cross_entropy_backward, loss, loss_backward, loss_kind
from .layers.mlp import dwconv_mlp_backward, mlp_backward
from .layers.patch_embed import overlapping_patch_embed_backward, patch_embed_backward
from .layers.position import add_positions_backward
from .model import channels_first, drop_path_rates, embed, split_rng, stage, stage_seeds, trunk

HALVES = r"stages\.\d+\.blocks\.\d+(\.residual1)?"  # in a trace: the tokens after each half of every block


def loss_and_gradients(pixel_values, params, config, labels, label_smoothing=0.0, rng=None):
    """The loss of `forward(…, labels, rng=rng)`, the logits, and the loss's gradient for every parameter.

    label_smoothing, for single-label classification, is the one thing here that `forward` does not have.

    Returns loss (a number), logits (B, num_labels), and grads, nested and shaped as params.
    """
    labels = np.asarray(labels)

    def measure(logits):
        if loss_kind(logits.shape[-1], labels, config.problem_type) == "single_label_classification":
            arguments = logits, labels, label_smoothing
            return cross_entropy(*arguments), cross_entropy_backward(1.0, *arguments)
        arguments = logits, labels, config.problem_type
        return loss(*arguments), loss_backward(1.0, *arguments)

    value, logits, _, grads = _there_and_back(measure, pixel_values, params, config, rng)
    return value, logits, grads


def model_backward(dlogits, pixel_values, params, config, rng=None):
    """The gradient dlogits (B, num_labels) of `forward(…).logits`, carried back to the pixels and every parameter.

    With rng in the state that `forward` was given it in, dropout and drop path leave out the same.

    Returns dpixels (B, num_channels, H, W) and grads, nested and shaped as params.
    """
    _, _, dpixels, grads = _there_and_back(lambda logits: (None, dlogits), pixel_values, params, config, rng)
    return dpixels, grads


def _there_and_back(measure, pixel_values, params, config, rng):
    """Forward, then `measure(logits) -> (value, dlogits)`, then backward: value, logits, dpixels, grads."""
    v1, head = config.model_type == "pvt", params.get("head", {})
    replay = copy.deepcopy(rng)
    seeds = [stage_seeds(config, i, replay) for i in range(len(params["stages"]))]
    halves = Only(HALVES)
    outputs = list(trunk(pixel_values, params, config, rng=rng, trace=halves))

    tokens = outputs[-1].tokens
    last = layer_norm(tokens, **params["norm"], eps=config.layer_norm_eps) if v1 else tokens
    logits, _ = (class_token_head if v1 else mean_pool_head)(last, **head)
    value, dlogits = measure(logits)

    dy, dhead = (class_token_head_backward if v1 else mean_pool_head_backward)(dlogits, last, **head)
    grads = {"stages": []}
    if v1:
        dy, grads["norm"] = layer_norm_backward(dy, tokens, **params["norm"], eps=config.layer_norm_eps)
    if dhead:
        grads["head"] = dhead
    inputs = [pixel_values.transpose(0, 2, 3, 1), *(output.map for output in outputs[:-1])]
    for i in reversed(range(len(inputs))):
        dmap, dstage = stage_backward(dy, inputs[i], **params["stages"][i], config=config, i=i, seeds=seeds[i],
                                      halves=halves)  # fmt: skip
        grads["stages"].insert(0, dstage)
        dy = dmap.reshape(len(dmap), -1, dmap.shape[-1])
    return value, logits, channels_first(dmap), grads


def stage_backward(dy, x, patch_embed, blocks, norm=None, pos_embed=None, cls_token=None, *, config, i, seeds=None,
                   halves=None):  # fmt: skip
    """The gradient dy (B, N, C) of the stage's tokens, carried back.

    halves: the forward's trace, or as much of it as HALVES names, where the caller has it.

    Returns dx (B, H, W, C) and the stage's gradients.
    """
    parameters = {"norm": norm, "pos_embed": pos_embed, "cls_token": cls_token, "config": config, "i": i}
    if halves is None:
        halves = Only(HALVES)
        stage(x, patch_embed, blocks, **parameters, seeds=seeds, trace=halves)
    names = [f"stages.{i}.blocks.{j}" for j in range(len(blocks))]
    rngs = [None if seeds is None else np.random.default_rng(seed) for seed in seeds or [None] * (1 + len(blocks))]
    tokens, grid = embed(x, patch_embed, pos_embed, cls_token, config=config, i=i, rng=copy.deepcopy(rngs[0]))
    grads = {"blocks": []}
    if norm is not None:
        dy, grads["norm"] = layer_norm_backward(dy, halves[names[-1]], **norm, eps=config.layer_norm_eps)
    for j in reversed(range(len(blocks))):
        entered, middle = halves[names[j - 1]] if j else tokens, halves[f"{names[j]}.residual1"]
        dy, dblock = block_backward(dy, entered, grid, **blocks[j], config=config, i=i, j=j, rng=rngs[1 + j],
                                    middle=middle)  # fmt: skip
        grads["blocks"].insert(0, dblock)
    dx, dembed = embed_backward(dy, x, patch_embed, pos_embed, cls_token, config=config, i=i, rng=rngs[0])
    return dx, grads | dembed


def embed_backward(dy, x, patches, pos_embed=None, cls_token=None, *, config, i, rng=None):
    """The gradient dy of a stage's first tokens, carried back: dx (B, H, W, C) and the entrance's gradients."""
    grads = {}
    if pos_embed is not None:
        grid = tuple((n - config.patch_sizes[i]) // config.strides[i] + 1 for n in x.shape[1:3])
        dy = dropout_backward(dy, dy, config.hidden_dropout_prob, rng)
        dy, grads = add_positions_backward(dy, dy, grid, pos_embed, cls_token, stored_grid=stage_grids(config)[i])
    back = patch_embed_backward if config.model_type == "pvt" else overlapping_patch_embed_backward
    dx, grads["patch_embed"] = back(dy, x, **patches, stride=config.strides[i], eps=config.embed_eps)
    return dx, grads


def block_backward(dy, x, grid, norm1, attn, norm2, mlp, *, config, i, j, rng=None, middle=None):
    """The gradient dy (B, N, C) of a block's tokens, carried back.

    Each half is x + branch(norm(x)): the gradient passes unchanged along x, and what comes back through the branch is
    added to it. This unbroken path is what lets a deep model learn.

    middle: the tokens between the two halves, where the caller has them.

    Returns dx (B, N, C) and {"norm1": …, "attn": …, "norm2": …, "mlp": …}.
    """
    eps, path_rate = config.layer_norm_eps, drop_path_rates(config)[sum(config.depths[:i]) + j]
    attn_rng, attn_path_rng, mlp_rng, mlp_path_rng = split_rng(rng, 4)
    options = {"heads": config.num_attention_heads[i], "eps": config.embed_eps,
               "probs_dropout": config.attention_probs_dropout_prob,
               "dropout_rate": config.hidden_dropout_prob}  # fmt: skip
    if config.linear_attention:
        attend, attend_backward = linear_attention, linear_attention_backward
    else:
        attend, attend_backward, options["ratio"] = attention, attention_backward, config.sr_ratios[i]

    normed1 = layer_norm(x, **norm1, eps=eps)
    path = drop_path_factor(x, path_rate, attn_path_rng)
    if middle is None:
        middle = x + times(attend(normed1, grid, **attn, **options, rng=copy.deepcopy(attn_rng))[0], path)
    normed2 = layer_norm(middle, **norm2, eps=eps)

    dbranch = drop_path_backward(dy, dy, path_rate, mlp_path_rng)
    noise = {"dropout_rate": config.hidden_dropout_prob, "rng": mlp_rng}
    if config.model_type == "pvt":
        dnormed, dmlp = mlp_backward(dbranch, normed2, **mlp, act=config.hidden_act, **noise)
    else:
        dnormed, dmlp = dwconv_mlp_backward(dbranch, normed2, grid, **mlp, act=config.hidden_act,
                                            relu_first=config.linear_attention, **noise)  # fmt: skip
    dbranch, dnorm2 = layer_norm_backward(dnormed, middle, **norm2, eps=eps)
    dy = dy + dbranch

    dnormed, dattn = attend_backward(times(dy, path), normed1, grid, **attn, **options, rng=attn_rng)
    dbranch, dnorm1 = layer_norm_backward(dnormed, x, **norm1, eps=eps)
    return dy + dbranch, {"norm1": dnorm1, "attn": dattn, "norm2": dnorm2, "mlp": dmlp}
