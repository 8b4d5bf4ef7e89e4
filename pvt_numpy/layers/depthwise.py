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
    y = np.empty((B, H, W * C), x.dtype)
    rows = max(1, _BLOCK // (W * C))
    for b in range(B):
        for top in range(0, H, rows):
            out = y[b, top : top + rows]
            scratch = np.empty_like(out)
            out[:] = 0 if bias is None else np.tile(bias, W)
            for tap in range(9):
                i, j = divmod(tap, 3)
                shifted = padded[b, top + i : top + i + len(out), j * C : (j + W) * C]
                out += np.multiply(shifted, kernels[tap], out=scratch)
    return y.reshape(B, H, W, C)
