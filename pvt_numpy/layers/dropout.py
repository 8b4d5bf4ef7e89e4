"""Dropout and drop path: noise for training, switched on by passing a random generator, off without one.

Source: Srivastava et al., "Dropout" (2014); Huang et al., "Deep Networks with Stochastic Depth" (2016).
"""


def dropout(x, rate, rng=None):
    """Each number becomes 0 with probability `rate`; the others grow by 1 / (1 - rate), so that the mean stays.

    x (any shape); rng a `numpy.random.Generator`, or None for inference, where x itself is returned.
    """
    return x if rng is None or rate == 0 else x * dropout_mask(x, x.shape, rate, rng)


def drop_path(x, rate, rng=None):
    """The same for a whole picture at a time: with probability `rate` a residual branch x (B, ...) is left out."""
    return x if rng is None or rate == 0 else x * dropout_mask(x, (len(x),) + (1,) * (x.ndim - 1), rate, rng)


def dropout_mask(x, shape, rate, rng):
    """0 or 1 / (1 - rate) for every entry of `shape`, in x's type."""
    return (rng.random(shape) >= rate).astype(x.dtype) / x.dtype.type(1 - rate)
