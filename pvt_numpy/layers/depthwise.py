"""Depthwise 3 x 3 convolution: every channel has a kernel of its own, and no channel sees another.

Source: PVT v2, the convolutional feed-forward section; `torch.nn.Conv2d(C, C, 3, padding=1, groups=C)`. The border of
zeros is what tells a v2 token where it is: there is no position table.
"""

import numpy as np

from .twins import has_twin


@has_twin
def depthwise_conv2d(x, weight, bias=None):
    """Nine shifted copies of the map, each times one number per channel, summed.

    x       (B, H, W, C)
    weight  (C, 1, 3, 3)
    bias    (C,) or None

    Returns (B, H, W, C): stride 1, one zero of padding on every side. Kernels of another shape are a ValueError.

    >>> depthwise_conv2d(np.ones((1, 4, 4, 1)), np.ones((1, 1, 3, 3)))[0, :, :, 0]
    array([[4., 6., 6., 4.],
           [6., 9., 9., 6.],
           [6., 9., 9., 6.],
           [4., 6., 6., 4.]])
    """
    check_kernels(x, weight)
    y = sum(copy * weight[:, 0, i, j] for i, j, copy in shifted_copies(x))
    return y if bias is None else y + bias


def check_kernels(x, weight):
    """Raises ValueError if there is not one 3 x 3 kernel for each channel of x."""
    if weight.shape != (x.shape[-1], 1, 3, 3):
        raise ValueError(f"weight: found shape {weight.shape}; expected {(x.shape[-1], 1, 3, 3)}")


def shifted_copies(x):
    """Nine (i, j, copy) of the map x (B, H, W, C): at (h, w) the copy holds x[h + i - 1, w + j - 1], or 0 outside."""
    _, H, W, _ = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return [(i, j, padded[:, i : i + H, j : j + W]) for i in range(3) for j in range(3)]


def depthwise_conv2d_backward(dy, x, weight, bias=None):
    """The gradient dy (B, H, W, C) of the output, carried back.

    y[h, w] = sum over i, j of K[i, j] x[h + i - 1, w + j - 1] for each channel. Nine outputs see x[h, w], the one
    below it with the tap above the middle and so on: dx is the same convolution of dy with the kernel turned by
    180 degrees. A tap's gradient is the sum over the map of dy times the shifted x.

    Returns dx (B, H, W, C) and {"weight": (C, 1, 3, 3), "bias": (C,)}, without a bias if there is none.
    """
    check_kernels(x, weight)
    taps = [np.einsum("bhwc,bhwc->c", dy, copy) for _, _, copy in shifted_copies(x)]
    grads = {"weight": np.stack(taps, axis=1).reshape(weight.shape)}
    if bias is not None:
        grads["bias"] = dy.sum(axis=(0, 1, 2))
    return depthwise_conv2d(dy, weight[:, :, ::-1, ::-1]), grads
