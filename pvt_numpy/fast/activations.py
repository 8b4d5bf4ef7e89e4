"""GELU in float32 without erf, which NumPy lacks: Φ(x) as 1 / (1 + e^(-x p(x²))) with a polynomial p of degree 6.

The logarithm of Φ(x) / Φ(-x) is odd and smooth, so it is x times a polynomial of x². p was fitted so that the largest
error of GELU is smallest: 6.6e-8 in exact arithmetic; in float32 3.5e-7, or 1.4e-7 of the number, as PyTorch. It has no
limits to be clipped to: far out the exponential is 0 or infinite, and GELU x or 0. (With tanh, x/2 (1 + tanh(x p / 2))
is the same in a pass more.) The passes run block by block, so that a block stays in the processor's cache over all of
them; smaller blocks would make threads that run side by side wait for Python's lock at every pass. Takes a fiftieth of
the time of `math.erf` called number by number. float64, which is for checking, takes the formula.
"""

import math

import numpy as np

from ..layers import activations as formula
from .pieces import parts, spread

MINUS_P = [np.float32(c) for c in (
    -1.595768536677, -0.0726682982088, 6.6053262895e-05, 1.10546835331e-04, -7.94815180759e-06, 2.67567116105e-07,
    -3.62787205431e-09)]  # fmt: skip


def gelu(x):
    """x Φ(x); see `layers/activations.py`."""
    if x.dtype != np.float32:
        return formula.gelu.__wrapped__(x)
    out = np.empty(x.shape, x.dtype)

    def one_block(arrays):
        block, y = arrays
        np.divide(block, one_over_cdf(block, y), out=y)

    spread(one_block, blocks(x, out))
    return out


def gelu_backward(dy, x):
    """dx = dy (Φ(x) + x φ(x)); see `layers/activations.py`."""
    if x.dtype != np.float32:
        return formula.gelu_backward.__wrapped__(dy, x)
    dx = np.empty(x.shape, x.dtype)
    for block, above, slope in blocks(x, dy, dx):
        np.divide(1, one_over_cdf(block, slope), out=slope)
        bell = block * block
        bell *= -0.5
        np.exp(bell, out=bell)
        bell *= block
        bell *= 1 / math.sqrt(2 * math.pi)
        slope += bell
        slope *= above
    return dx


def blocks(*arrays):
    """The arrays, all of one shape, block by block. The last one is written to: it must be contiguous."""
    flat = [np.ascontiguousarray(array).reshape(-1) for array in arrays]
    return [[array[part] for array in flat] for part in parts(arrays[0].size, 1)]


def one_over_cdf(x, out):
    """1 / Φ(x) for float32 x of any shape, written into `out`.

    >>> x = np.array([-1.0, 0.0, 1.0], np.float32)
    >>> [round(float(y), 4) for y in 1 / one_over_cdf(x, np.empty_like(x))]
    [0.1587, 0.5, 0.8413]
    """
    with np.errstate(over="ignore"):  # far out: infinite for negative x, and 1 for positive
        square = x * x
        np.multiply(square, MINUS_P[6], out=out)
        for coefficient in MINUS_P[5:0:-1]:
            out += coefficient
            out *= square
        out += MINUS_P[0]
        out *= x
        np.exp(out, out=out)
        out += 1
        return out
