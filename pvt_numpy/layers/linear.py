"""The linear layer: one matrix product that mixes the channels of each token and leaves the tokens apart.

Source: `torch.nn.Linear`, y = x Wᵀ + b.
"""

from .twins import has_twin


@has_twin
def linear(x, weight, bias=None):
    """x Wᵀ + b: every token through the same matrix.

    x       (..., C)
    weight  (C', C)     one row per output channel, as PyTorch stores it
    bias    (C',)       or None

    Returns (..., C').

    >>> import numpy as np
    >>> linear(np.ones((2, 49, 64)), np.ones((256, 64)), np.zeros(256)).shape
    (2, 49, 256)
    """
    y = x @ weight.T
    return y if bias is None else y + bias


def linear_backward(dy, x, weight, bias=None):
    """The gradient dy (..., C') of the output, carried back to the input and the weights.

    For one token, y_i = sum over j of W_ij x_j + b_i, so dL/dx_j = sum over i of dL/dy_i W_ij: the same matrix, not
    transposed. W_ij meets x_j in every token, so its gradient is the sum over the tokens of dL/dy_i x_j; b_i's, of
    dL/dy_i.

    Returns dx (..., C) and {"weight": (C', C), "bias": (C',)}, without a bias if there is none.
    """
    dy_rows, x_rows = dy.reshape(-1, dy.shape[-1]), x.reshape(-1, x.shape[-1])
    grads = {"weight": dy_rows.T @ x_rows}
    if bias is not None:
        grads["bias"] = dy_rows.sum(axis=0)
    return (dy_rows @ weight).reshape(x.shape), grads
