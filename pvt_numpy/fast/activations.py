"""GELU in float32 without erf, which NumPy lacks: ReLU less a dent, max(x, 0) - |x| (1 - Φ(|x|)).

For x > 0 that is x - x (1 - Φ(x)); for x < 0, by symmetry, -|x| Φ(-|x|). All that it needs is the tail 1 - Φ(a), which
is taken as 1 / P(a)⁸ with a polynomial P of degree 8. That form has no limits to be clipped to: P grows, the tail
vanishes. P was fitted on 0 < a < 7 so that the largest error of GELU is smallest; in float32 that is 3e-7, and
PyTorch's own is 4e-7 to 5e-7. The passes run block by block, so that a block and its scratch arrays stay in the
processor's cache over all of them: a fiftieth of the time of `math.erf` called number by number. float64, which is for
checking, takes the formula.
"""

import math

import numpy as np

from ..layers import activations as formula

_TAIL_POLYNOMIAL = (2 ** (1 / 8), 0.108759057, 0.0488425345, 0.00936923981, 0.00106942123, 0.000121428069,
                    0.000106414476, -1.8263039e-05, 3.19791278e-06)  # fmt: skip
BLOCK = 65536  # numbers
FAR = np.float32(1e4)  # above it there is no dent: infinity times a tail of 0 would be NaN


def gelu(x):
    """x Φ(x); see `layers/activations.py`."""
    if x.dtype != np.float32:
        return formula.gelu.__wrapped__(x)
    out = np.empty(x.shape, x.dtype)
    numbers, results = np.ascontiguousarray(x).reshape(-1), out.reshape(-1)
    for start in range(0, x.size, BLOCK):
        block = numbers[start : start + BLOCK]
        a = np.minimum(block, FAR)
        dent = normal_tail(np.abs(a, out=a), times=a)
        np.subtract(np.maximum(block, 0, out=a), dent, out=results[start : start + BLOCK])
    return out


def gelu_backward(dy, x):
    """dx = dy (Φ(x) + x φ(x)); see `layers/activations.py`."""
    if x.dtype != np.float32:
        return formula.gelu_backward.__wrapped__(dy, x)
    dx = np.empty(x.shape, x.dtype)
    numbers, above, results = np.ascontiguousarray(x).reshape(-1), np.ascontiguousarray(dy).reshape(-1), dx.reshape(-1)
    for start in range(0, x.size, BLOCK):
        block = numbers[start : start + BLOCK]
        slope = 0.5 - normal_tail(np.abs(block))  # Φ(|x|) - 1/2, which is odd in x
        slope = np.copysign(slope, block, out=slope)
        slope += 0.5
        bell = block * block
        bell *= -0.5
        np.exp(bell, out=bell)
        bell *= block
        bell *= 1 / math.sqrt(2 * math.pi)
        slope += bell
        np.multiply(slope, above[start : start + BLOCK], out=results[start : start + BLOCK])
    return dx


def normal_tail(a, times=1.0):
    """(1 - Φ(a)) * times for a >= 0, float32 of any shape; `times` is a number or an array like a.

    The tail is the chance that a standard normal number is above a. The division and `times` are one pass.

    >>> [round(float(tail), 4) for tail in normal_tail(np.array([0.0, 1.0, 3.0], np.float32))]
    [0.5, 0.1587, 0.0013]
    """
    with np.errstate(over="ignore"):  # far out P⁸ is infinite, and the tail 0
        y = a * _TAIL_POLYNOMIAL[8]
        for coefficient in _TAIL_POLYNOMIAL[7:0:-1]:
            y += coefficient
            y *= a
        y += _TAIL_POLYNOMIAL[0]
        for _ in range(3):
            y *= y
        return np.divide(times, y, out=y)
