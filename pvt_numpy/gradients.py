"""The model's backward pass: the functions of `model.py`, each carried back, the last one first.

`stage_backward` undoes `stage`, and so on: each takes the gradient of what that function returned and what it was
given, and returns the gradient of its input and of its parameters, in the parameters' own nesting. Only the tokens
after each half of a block are kept from the forward pass; inside a half everything is computed again, so that memory
grows with the depth by two (B, N, C) arrays a block, and inference needs no caches.
Left out: a gradient that enters through the maps of `pyramid`, as a detector's would.
"""

from functools import partial

import numpy as np

from .config import stage_grids
from .layers.attention import attention, attention_backward, linear_attention, linear_attention_backward
from .layers.head import class_token_head_backward, mean_pool_head_backward
from .layers.layernorm import layer_norm, layer_norm_backward
from .layers.losses import cross_entropy, cross_entropy_backward, loss, loss_backward, loss_kind
from .layers.mlp import dwconv_mlp, dwconv_mlp_backward, mlp_backward
from .layers.mlp import mlp as plain_mlp
from .layers.patch_embed import overlapping_patch_embed_backward, patch_embed_backward
from .layers.position import add_positions_backward
from .layers.run import QUIET, Only
from .model import block_layer, channels_first, classify, drop_path_rates, embed, stage, start, trunk
from .parameters import check_labels

HALVES = r"(stages\.\d+\.)?blocks\.\d+(\.residual1)?"  # in a trace: the tokens after each half of every block
BACKWARDS = {
    attention: attention_backward,
    linear_attention: linear_attention_backward,
    plain_mlp: mlp_backward,
    dwconv_mlp: dwconv_mlp_backward,
}


def loss_and_gradients(pixel_values, params, config, labels, label_smoothing=0.0, seed=None):
    """The loss of `forward(…, labels, seed=seed)`, the logits, and the loss's gradient for every parameter.

    label_smoothing, for single-label classification alone, is the one thing here that `forward` does not have.

    Returns loss (a number), logits (B, num_labels), and grads, nested and shaped as params.
    """
    check_labels(labels, config)
    labels = np.asarray(labels)

    def measure(logits):
        if loss_kind(logits.shape[-1], labels, config.problem_type) == "single_label_classification":
            arguments = logits, labels, label_smoothing
            return cross_entropy(*arguments), cross_entropy_backward(1.0, *arguments)
        if label_smoothing:
            raise ValueError(f"label_smoothing: found {label_smoothing} for another loss; expected 0")
        arguments = logits, labels, config.problem_type
        return loss(*arguments), loss_backward(1.0, *arguments)

    value, logits, _, grads = there_and_back(measure, pixel_values, params, config, seed)
    return value, logits, grads


def model_backward(dlogits, pixel_values, params, config, seed=None):
    """The gradient dlogits (B, num_labels) of `forward(…, seed=seed).logits`, carried back to pixels and parameters.

    Returns dpixels (B, num_channels, H, W) and grads, nested and shaped as params.
    """
    _, _, dpixels, grads = there_and_back(lambda logits: (None, dlogits), pixel_values, params, config, seed)
    return dpixels, grads


def there_and_back(measure, pixel_values, params, config, seed=None, lowest=0):
    """Forward, then `measure(logits) -> (value, dlogits)`, then backward, down to the stage `lowest` and no further.

    Returns value, logits, the gradient of what that stage was given (the pixels, if lowest is 0), as (B, C, H, W), and
    grads, nested as params, but with {} for each stage below.
    """
    halves, run = Only(HALVES), start(config, seed)
    tokens, maps = trunk(pixel_values, params, config, run._replace(watchers=(halves,)))
    logits, _ = classify(tokens, params, config)
    value, dlogits = measure(logits)

    dy, grads = classify_backward(dlogits, tokens, params, config)
    grads["stages"] = [{}] * lowest
    for i in reversed(range(lowest, len(maps))):
        x = (maps[i - 1] if i else pixel_values).transpose(0, 2, 3, 1)
        dx, dstage = stage_backward(dy, x, **params["stages"][i], config=config, i=i, run=run.at(f"stages.{i}"),
                                    halves=halves)  # fmt: skip
        grads["stages"].insert(lowest, dstage)
        dy = dx.reshape(len(dx), -1, dx.shape[-1])
    return value, logits, channels_first(dx), grads


def classify_backward(dlogits, tokens, params, config):
    """The gradient dlogits (B, num_labels), carried back to the tokens (B, N, C); grads of "head" and v1's "norm"."""
    _, last = classify(tokens, params, config)
    back = class_token_head_backward if config.model_type == "pvt" else mean_pool_head_backward
    dy, dhead = back(dlogits, last, **params.get("head", {}))
    grads = {"head": dhead} if dhead else {}
    if config.model_type == "pvt":
        dy, grads["norm"] = layer_norm_backward(dy, tokens, **params["norm"], eps=config.layer_norm_eps)
    return dy, grads


def stage_backward(dy, x, patch_embed, blocks, norm=None, pos_embed=None, cls_token=None, *, config, i, run=QUIET,
                   halves=None):  # fmt: skip
    """The gradient dy (B, N, C) of the stage's tokens, carried back.

    halves: what the forward pass noted under the names in HALVES; None: it is computed again.

    Returns dx (B, H, W, C) and the stage's gradients.
    """
    entrance = {"pos_embed": pos_embed, "cls_token": cls_token, "config": config, "i": i}
    if halves is None:
        halves = Only(HALVES)
        stage(x, patch_embed, blocks, norm, **entrance, run=run._replace(watchers=(halves,)))
    names = [run.at(f"blocks.{j}").name for j in range(len(blocks))]
    tokens, grid = embed(x, patch_embed, **entrance, run=run)
    layer, rates, grads = block_layer(config, i, grid), drop_path_rates(config)[i], {"blocks": []}
    if norm is not None:
        dy, grads["norm"] = layer_norm_backward(dy, halves[names[-1]], **norm, eps=config.layer_norm_eps)
    for j in reversed(range(len(blocks))):
        dy, dblock = block_backward(dy, halves[names[j - 1]] if j else tokens, **blocks[j], layer=layer,
                                    run=run.at(f"blocks.{j}", path_rate=rates[j]),
                                    middle=halves[f"{names[j]}.residual1"])  # fmt: skip
        grads["blocks"].insert(0, dblock)
    dx, dembed = embed_backward(dy, x, patch_embed, **entrance, run=run)
    return dx, grads | dembed


def embed_backward(dy, x, patches, pos_embed=None, cls_token=None, *, config, i, run=QUIET):
    """The gradient dy of a stage's first tokens, carried back: dx (B, H, W, C) and the entrance's gradients."""
    grads = {}
    if pos_embed is not None:
        grid = tuple((n - config.patch_sizes[i]) // config.strides[i] + 1 for n in x.shape[1:3])
        dy = run.dropout(dy, run.hidden_rate, "tokens")
        # of the tokens only their shape is needed, so dy stands for them
        dy, grads = add_positions_backward(dy, dy, grid, pos_embed, cls_token, stored_grid=stage_grids(config)[i])
    back = patch_embed_backward if config.model_type == "pvt" else overlapping_patch_embed_backward
    dx, grads["patch_embed"] = back(dy, x, **patches, stride=config.strides[i], eps=config.embed_eps)
    return dx, grads


def block_backward(dy, x, norm1, attn, norm2, mlp, *, layer, run=QUIET, middle=None):
    """The gradient dy (B, N, C) of a block's tokens, carried back.

    Each half is x + branch(norm(x)): the gradient passes unchanged along x, and what comes back through the branch is
    added to it. This unbroken path is what lets a deep model learn.

    middle: the tokens between the two halves, if the caller has them.

    Returns dx (B, N, C) and {"norm1": …, "attn": …, "norm2": …, "mlp": …}.
    """
    attend_backward, feed_forward_backward = backward_of(layer.attend), backward_of(layer.feed_forward)
    normed1 = layer_norm(x, **norm1, eps=layer.eps)
    if middle is None:
        middle = x + run.drop_path(layer.attend(normed1, **attn, run=run.at("attn"))[0], "attn")
    normed2 = layer_norm(middle, **norm2, eps=layer.eps)

    dnormed, dmlp = feed_forward_backward(run.drop_path(dy, "mlp"), normed2, **mlp, run=run.at("mlp"))
    dbranch, dnorm2 = layer_norm_backward(dnormed, middle, **norm2, eps=layer.eps)
    dy = dy + dbranch
    dnormed, dattn = attend_backward(run.drop_path(dy, "attn"), normed1, **attn, run=run.at("attn"))
    dbranch, dnorm1 = layer_norm_backward(dnormed, x, **norm1, eps=layer.eps)
    return dy + dbranch, {"norm1": dnorm1, "attn": dattn, "norm2": dnorm2, "mlp": dmlp}


def backward_of(layer):
    """The backward pass of one of a `Layer`'s two functions, with the same options filled in."""
    return partial(BACKWARDS[layer.func], **layer.keywords)
