"""The linear layer: one matrix product that mixes the channels of each token and leaves the tokens apart.

Source: `torch.nn.Linear`, y = x Wᵀ + b.
"""


def linear(x, weight, bias=None):
    """Every row of x through the same matrix.

    x       (..., C)
    weight  (C', C)     one row per output channel, as PyTorch stores it
    bias    (C',)       or None

    Returns (..., C').

    >>> import numpy as np
    >>> linear(np.ones((2, 49, 64)), np.ones((256, 64)), np.zeros(256)).shape
    (2, 49, 256)
    """
    rows = x.reshape(-1, x.shape[-1])  # all batches in one matrix product
    y = rows @ weight.T
    if bias is not None:
        y += bias
    return y.reshape(*x.shape[:-1], weight.shape[0])
