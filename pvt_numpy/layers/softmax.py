"""Softmax: scores become shares, which are positive and sum to 1."""

import numpy as np

from .twins import has_twin


@has_twin
def softmax(x):
    """exp(x) / sum(exp(x)) over the last axis.

    The largest score of each row is taken off first: it cancels in the fraction, and no exponential can overflow.

    x  (..., M)

    Returns (..., M); each row sums to 1.

    >>> softmax(np.array([1000.0, 1000.0]))
    array([0.5, 0.5])
    """
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def softmax_backward(dy, x):
    """The gradient dy (..., M) of the shares, carried back to the scores x (..., M); returns dx (..., M).

    y_i = exp(x_i) / sum gives ∂y_i/∂x_j = y_i (1 if i = j else 0) - y_i y_j, so dx_j = y_j (dy_j - sum over i of
    y_i dy_i): a score matters by how far its own gradient is from the average one. A dy that is the same everywhere
    gives 0, because the shares sum to 1 whatever the scores are.
    """
    return through_softmax(dy, softmax(x))


@has_twin
def through_softmax(dy, y):
    """`softmax_backward` for a caller who has the shares y already."""
    return y * (dy - (y * dy).sum(axis=-1, keepdims=True))
