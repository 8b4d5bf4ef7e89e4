"""Convolution as windows and one matrix product.

Source: `torch.nn.functional.conv2d` (a cross-correlation: the kernel is not flipped), for maps with the channels last.
"""

import numpy as np

from .linear import linear, linear_backward


def conv2d(x, weight, bias=None, *, stride, padding=0):
    """Each window of the map, written as one long row, times the kernels, written as columns.

    Rows and columns of the map that do not fill a window are dropped, as in PyTorch.

    x        (B, H, W, C)
    weight   (C', C, k, k)
    bias     (C',) or None
    stride   step from one window to the next; `padding` zeros are put around the map first

    Returns (B, H', W', C') with H' = (H + 2 padding - k) // stride + 1, W' likewise.

    >>> conv2d(np.ones((1, 224, 224, 3)), np.ones((32, 3, 7, 7)), stride=4, padding=3).shape
    (1, 56, 56, 32)
    """
    rows = windows(x, weight.shape[-1], stride, padding)
    kernels = weight.transpose(0, 2, 3, 1).reshape(len(weight), -1)  # (C', k*k*C), in the order of the rows
    return linear(rows.reshape(*rows.shape[:3], -1), kernels, bias)


def windows(x, size, stride, padding=0):
    """Every size x size window of the map x (B, H, W, C), as a view (B, H', W', size, size, C).

    Raises ValueError if the padded map is smaller than one window.
    """
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0))) if padding else x
    if min(x.shape[1:3]) < size:
        raise ValueError(f"map: found {x.shape[1]} x {x.shape[2]}; expected at least {size} x {size}: a larger picture")
    every = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))
    return every[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3)


def conv2d_backward(dy, x, weight, bias=None, *, stride, padding=0):
    """The gradient dy (B, H', W', C') of the output, carried back.

    The convolution is a linear layer on windows, so `linear_backward` gives the kernels' gradient and each window's.
    A pixel is in as many windows as cover it: its gradient is the sum of theirs. Pixels in no window get 0.

    Returns dx (B, H, W, C) and {"weight": (C', C, k, k), "bias": (C',)}, without a bias if there is none.
    """
    (B, H, W, C), (_, rows, columns, _), k = x.shape, dy.shape, weight.shape[-1]
    kernels = weight.transpose(0, 2, 3, 1).reshape(len(weight), -1)
    x_windows = windows(x, k, stride, padding).reshape(B, rows, columns, -1)
    d_windows, grads = linear_backward(dy, x_windows, kernels, bias)
    grads["weight"] = grads["weight"].reshape(len(weight), k, k, C).transpose(0, 3, 1, 2)
    d_windows = d_windows.reshape(B, rows, columns, k, k, C)
    padded = np.zeros((B, H + 2 * padding, W + 2 * padding, C), dy.dtype)
    for i in range(k):
        for j in range(k):
            padded[:, i : i + rows * stride : stride, j : j + columns * stride : stride] += d_windows[:, :, :, i, j]
    return padded[:, padding : padding + H, padding : padding + W], grads
