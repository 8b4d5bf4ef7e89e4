"""Patches become tokens: v1 cuts the map into squares, v2 lets the squares overlap.

Source: PVT, the section on the feature pyramid (patch embedding); PVT v2, the section on overlapping patch embedding:
kernel 2S - 1, stride S, padding S - 1. In both, a patch is flattened, projected and normalised, which is a strided
convolution and a layer norm. The position table that v1 adds afterwards is in `position.py`.
"""

from .convolution import conv2d, conv2d_backward
from .layernorm import layer_norm, layer_norm_backward


def patch_embed(x, proj, norm, *, stride, eps, padding=0):
    """v1: the map in patches that do not overlap; rows and columns that do not fill a patch are dropped.

    x       (B, H, W, C)                            the picture or the stage below
    proj    weight (C', C, patch, patch), bias (C',)
    norm    weight (C',), bias (C',)
    stride  step between patches, usually the patch's own size; `padding` zeros are put around the map first

    Returns tokens (B, N, C'), row by row, and their grid (H', W'), N = H' * W'.

    >>> import numpy as np
    >>> unit = {"weight": np.ones(64), "bias": np.zeros(64)}
    >>> proj = {"weight": np.ones((64, 3, 4, 4)), "bias": np.zeros(64)}
    >>> tokens, grid = patch_embed(np.ones((1, 224, 224, 3)), proj, unit, stride=4, eps=1e-6)
    >>> tokens.shape, grid
    ((1, 3136, 64), (56, 56))
    """
    y = conv2d(x, **proj, stride=stride, padding=padding)
    return layer_norm(y.reshape(len(y), -1, y.shape[-1]), **norm, eps=eps), y.shape[1:3]


def overlapping_patch_embed(x, proj, norm, *, stride, eps):
    """v2: patches larger than the stride, with half a patch of zeros around the map, so that neighbours share pixels.

    Arguments and results as in `patch_embed`; nothing is dropped: H' = ceil(H / stride) for an odd patch.
    """
    return patch_embed(x, proj, norm, stride=stride, eps=eps, padding=proj["weight"].shape[-1] // 2)


def patch_embed_backward(dy, x, proj, norm, *, stride, eps, padding=0):
    """The gradient dy (B, N, C') of the tokens, carried back through the norm and the convolution.

    Returns dx (B, H, W, C) and {"proj": …, "norm": …}, shaped as the parameters.
    """
    y = conv2d(x, **proj, stride=stride, padding=padding)
    dy, dnorm = layer_norm_backward(dy.reshape(y.shape), y, **norm, eps=eps)
    dx, dproj = conv2d_backward(dy, x, **proj, stride=stride, padding=padding)
    return dx, {"proj": dproj, "norm": dnorm}


def overlapping_patch_embed_backward(dy, x, proj, norm, *, stride, eps):
    """As `patch_embed_backward`; a pixel's gradient is the sum over the patches that share it."""
    return patch_embed_backward(dy, x, proj, norm, stride=stride, eps=eps, padding=proj["weight"].shape[-1] // 2)
