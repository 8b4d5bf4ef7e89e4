"""Dropout and drop path: noise for training, switched on by passing a random generator, off without one.

Source: Srivastava et al., "Dropout" (2014); Huang et al., "Deep Networks with Stochastic Depth" (2016).
"""


def dropout(x, rate, rng=None):
    """Each number becomes 0 with probability `rate`; the others grow by 1 / (1 - rate), so that the mean stays.

    x (any shape); rng a `numpy.random.Generator`, or None for inference, where x itself is returned.
    """
    return times(x, dropout_factor(x, rate, rng))


def drop_path(x, rate, rng=None):
    """The same for a whole picture at a time: with probability `rate` a residual branch x (B, ...) is left out."""
    return times(x, drop_path_factor(x, rate, rng))


def dropout_backward(dy, x, rate, rng=None):
    """y = f x with a factor f for each number, so dx = f dy. `rng` must be in the state that the forward's was in."""
    return times(dy, dropout_factor(x, rate, rng))


def drop_path_backward(dy, x, rate, rng=None):
    """A branch that was left out gets no gradient. `rng` must be in the state that the forward's was in."""
    return times(dy, drop_path_factor(x, rate, rng))


def dropout_factor(x, rate, rng):
    """0 or 1 / (1 - rate) for every number of x, in x's type; None where nothing is dropped."""
    return _draw(x, x.shape, rate, rng)


def drop_path_factor(x, rate, rng):
    """0 or 1 / (1 - rate) for every picture of x (B, ...), shaped (B, 1, ...); None where nothing is dropped."""
    return _draw(x, (len(x),) + (1,) * (x.ndim - 1), rate, rng)


def times(x, factor):
    """x times a factor that may be None, for none."""
    return x if factor is None else x * factor


def _draw(x, shape, rate, rng):
    if rng is None or rate == 0:
        return None
    return (rng.random(shape) >= rate).astype(x.dtype) / x.dtype.type(1 - rate)
