"""Layer normalisation: each token is brought to mean 0 and variance 1 over its channels, then scaled and shifted.

Source: Ba, Kiros and Hinton, "Layer Normalization" (2016), section 3; the variance divides by C, as PyTorch's does.
"""

import numpy as np

from .twins import has_twin


@has_twin
def layer_norm(x, weight, bias, *, eps):
    """(x - mean) / sqrt(variance + eps) * weight + bias, over the last axis.

    The mean is taken off before squaring. The one-pass form E[x²] - E[x]² subtracts two large, nearly equal numbers:
    in float32, a mean of 1000 with a deviation of 0.1 can even give a negative variance.

    x             (..., C)
    weight, bias  (C,)
    eps           added to the variance; PVT's implementations disagree on it (1e-5 or 1e-6), see reference/README.md

    Returns (..., C).

    >>> layer_norm(np.array([[1.0, 3.0]]), np.ones(2), np.zeros(2), eps=0.0)
    array([[-1.,  1.]])
    """
    mean = x.mean(axis=-1, keepdims=True)
    variance = np.square(x - mean).mean(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + eps) * weight + bias


@has_twin
def layer_norm_backward(dy, x, weight, bias, *, eps):
    """The gradient dy (..., C) of the output, carried back.

    With x̂ = (x - mean) / s and s = sqrt(variance + eps), y = x̂ w + b gives dw = sum of dy x̂ and db = sum of dy over
    the tokens, and g = dy w at x̂. x reaches x̂ in three ways: by itself (g / s), through the mean, which takes the mean
    of g away, and through s, for ds/dx = x̂ / C, which takes away x̂ times the mean of g x̂:

        dx = (g - mean(g) - x̂ mean(g x̂)) / s

    So dx has no part along the two directions that the layer undoes: a shift of all channels and, but for eps, a
    scaling.

    Returns dx (..., C) and {"weight": (C,), "bias": (C,)}.
    """
    mean = x.mean(axis=-1, keepdims=True)
    s = np.sqrt(np.square(x - mean).mean(axis=-1, keepdims=True) + eps)
    normal, g = (x - mean) / s, dy * weight
    dx = (g - g.mean(axis=-1, keepdims=True) - normal * (g * normal).mean(axis=-1, keepdims=True)) / s
    tokens = tuple(range(x.ndim - 1))
    return dx, {"weight": (dy * normal).sum(axis=tokens), "bias": dy.sum(axis=tokens)}
