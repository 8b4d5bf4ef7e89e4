"""Softmax: scores become weights that are positive and sum to 1."""

import numpy as np


def softmax(x):
    """exp(x) / sum(exp(x)) over the last axis.

    The largest score of each row is taken off first: it cancels in the fraction, and no exponential can overflow.

    x  (..., M)

    Returns (..., M); each row sums to 1.

    >>> softmax(np.array([1000.0, 1000.0]))
    array([0.5, 0.5])
    """
    y = x - x.max(axis=-1, keepdims=True)
    np.exp(y, out=y)
    y /= y.sum(axis=-1, keepdims=True)
    return y
