"""Depthwise 3 x 3 convolution: every channel has a kernel of its own, and no channel sees another.

Source: PVT v2, the convolutional feed-forward section; `torch.nn.Conv2d(C, C, 3, padding=1, groups=C)`. The border of
zeros is what tells a v2 token where it is: there is no position table.
"""

import numpy as np

_BLOCK = 65536  # numbers: a few rows of the map and the scratch array stay in the processor's cache over the 18 passes


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
    padded = padded.reshape(B, H + 2, (W + 2) * C)  # one column to the right is C numbers further on
    kernels = np.tile(weight.reshape(C, 9).T, W)  # (9, W*C): each tap, repeated along a row of the map
    start = 0 if bias is None else np.tile(bias, W)
    y = np.empty((B, H, W * C), x.dtype)
    rows = max(1, _BLOCK // (W * C))
    for b in range(B):
        for top in range(0, H, rows):
            out = y[b, top : top + rows]
            scratch = np.empty_like(out)
            for tap in range(9):
                i, j = divmod(tap, 3)
                shifted = padded[b, top + i : top + i + len(out), j * C : (j + W) * C]
                np.multiply(shifted, kernels[tap], out=scratch)
                np.add(out if tap else start, scratch, out=out)
    return y.reshape(B, H, W, C)


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
