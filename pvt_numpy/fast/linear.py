"""The linear layer as one matrix product over all tokens of all pictures, in blocks that several threads can share.

NumPy multiplies a stack (B, N, C) or (B, H, W, C) matrix by matrix, and an added bias is one array more. As rows it is
one call of BLAS, and the bias is added in place. Saves a tenth for one picture and a quarter for eight in stage 1. A
large product is cut along whichever is longer, the tokens or the output channels, never along the sums.
"""

import numpy as np

from .pieces import spread

BLOCK = 8_000_000  # multiply-adds


def linear(x, weight, bias=None):
    """x Wᵀ + b; see `layers/linear.py`."""
    rows = x.reshape(-1, x.shape[-1])
    y = np.empty((len(rows), len(weight)), x.dtype)
    by_token = len(rows) >= len(weight)
    long = max(y.shape)
    size = -(-long // max(1, rows.size * len(weight) // BLOCK))

    def block(start):
        part, everything = slice(start, start + size), slice(None)
        tokens, channels = (part, everything) if by_token else (everything, part)
        out = y[tokens, channels]
        np.matmul(rows[tokens], weight[channels].T, out=out)
        if bias is not None:
            out += bias[channels]

    spread(block, range(0, long, max(1, size)))
    return y.reshape(*x.shape[:-1], len(weight))
