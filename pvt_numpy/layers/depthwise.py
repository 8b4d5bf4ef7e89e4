"""Depthwise 3 x 3 convolution: every channel has a kernel of its own, and no channel sees another.

Source: PVT v2, the convolutional feed-forward section; `torch.nn.Conv2d(C, C, 3, padding=1, groups=C)`. The border of
zeros is what tells a v2 token where it is: there is no position table.
"""

import numpy as np


def depthwise_conv2d(x, weight, bias=None):
    """Nine shifted copies of the map, each times one number per channel, summed.

    x       (B, H, W, C)
    weight  (C, 1, 3, 3)
    bias    (C,) or None

    Returns (B, H, W, C): stride 1, one zero of padding on every side.

    >>> depthwise_conv2d(np.ones((1, 4, 4, 1)), np.ones((1, 1, 3, 3)))[0, :, :, 0]
    array([[4., 6., 6., 4.],
           [6., 9., 9., 6.],
           [6., 9., 9., 6.],
           [4., 6., 6., 4.]])
    """
    B, H, W, C = x.shape
    padded = np.zeros((B, H + 2, W + 2, C), x.dtype)
    padded[:, 1:-1, 1:-1] = x
    rows = padded.reshape(B, H + 2, (W + 2) * C)  # a step of C numbers goes one column to the right
    shifted = np.lib.stride_tricks.sliding_window_view(rows, (3, W * C), axis=(1, 2))[:, :, ::C]  # (B, H, j, i, W*C)
    taps = np.tile(weight.reshape(C, 9).T, W).reshape(3, 3, W * C)  # a row of the map's length, for long inner loops
    y = np.einsum("bhjix,ijx->bhx", shifted, taps).reshape(B, H, W, C)
    if bias is not None:
        y += bias
    return y


def depthwise_conv2d_backward(dy, x, weight, bias=None):
    """The gradient dy (B, H, W, C) of the output, carried back.

    y[h, w] = sum over i, j of K[i, j] x[h + i - 1, w + j - 1] for each channel. The nine neighbours see x[h, w], the
    one below it with the tap above the middle and so on: dx is the same convolution of dy with the kernel turned by
    180 degrees. A tap's gradient is the sum over the map of dy times the shifted x.

    Returns dx (B, H, W, C) and {"weight": (C, 1, 3, 3), "bias": (C,)}.
    """
    B, H, W, C = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = [np.einsum("bhwc,bhwc->c", dy, padded[:, i : i + H, j : j + W]) for i in range(3) for j in range(3)]
    grads = {"weight": np.stack(taps, axis=1).reshape(weight.shape)}
    if bias is not None:
        grads["bias"] = dy.sum(axis=(0, 1, 2))
    return depthwise_conv2d(dy, weight[:, :, ::-1, ::-1]), grads
