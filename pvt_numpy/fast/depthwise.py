"""The depthwise convolution as one einsum over rows of the whole map's length, some rows of one picture at a time.

Nine products, nine sums and the padding are nineteen passes over the map. A step of C numbers along a row of W * C
goes one column to the right, so the nine shifted copies of a row are windows of three rows of memory, and one einsum
with long inner loops multiplies and adds them. The padded copy is of so many rows as stay in the processor's cache.
Saves two thirds of the formula's time.
"""

import numpy as np

from ..layers.depthwise import check_kernels
from .pieces import spread

BLOCK = 262144  # numbers


def depthwise_conv2d(x, weight, bias=None):
    """Nine shifted copies, weighed and summed; see `layers/depthwise.py`."""
    check_kernels(x, weight)
    B, H, W, C = x.shape
    y = np.empty(x.shape, x.dtype)
    taps = np.tile(weight.reshape(C, 9).T, W).reshape(3, 3, W * C)
    rows = max(1, BLOCK // max(1, W * C))

    def some_rows(place):
        b, top = place
        below = min(H, top + rows)
        padded = np.zeros((below - top + 2, W + 2, C), x.dtype)
        first, last = max(0, top - 1), min(H, below + 1)
        padded[first - top + 1 : last - top + 1, 1:-1] = x[b, first:last]
        flat = padded.reshape(len(padded), (W + 2) * C)
        shifted = np.lib.stride_tricks.sliding_window_view(flat, (3, W * C))[:, ::C]  # (rows, j, i, W * C)
        np.einsum("hjix,ijx->hx", shifted, taps, out=y[b, top:below].reshape(below - top, W * C))
        if bias is not None:
            y[b, top:below] += bias

    spread(some_rows, [(b, top) for b in range(B) for top in range(0, H, rows)])
    return y
