"""The activation functions that `hidden_act` can name, GELU in its exact form first.

Source: Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016); Klambauer et al. (2017) for SELU. GELU(x) = x Φ(x)
weighs x by the chance that a standard normal number is below it. Φ needs erf, and NumPy has none:

    float64   Python's own `math.erf`, number by number: slow, right to the last digit, for checking
    float32   erf(x) = tanh(x P(x²)) with a polynomial P of degree 6, within 1.8e-7 of `math.erf` everywhere;
              P was fitted to atanh(erf(x)) / x on 0 < x < 4 so that the largest error in erf is smallest
"""

import math

import numpy as np

_ERF_POLYNOMIAL = (1.12837971, 0.102765482, -1.84385009e-4, -6.2571817e-4, 8.97119315e-5, -5.98555657e-6, 1.58950496e-7)
_BLOCK = 65536  # numbers: a block and its scratch arrays stay in the processor's cache over all the passes


def erf(x):
    """The error function, 2/sqrt(pi) times the integral of exp(-t²) from 0 to x; any shape, float32 or float64.

    >>> erf(np.array([0.0, 1.0]))
    array([0.        , 0.84270079])
    """
    if x.dtype != np.float32:
        return np.fromiter(map(math.erf, x.ravel()), x.dtype, x.size).reshape(x.shape)
    z = np.clip(x, -4, 4)  # beyond, erf is 1 in float32
    square = z * z
    y = square * _ERF_POLYNOMIAL[6]
    for coefficient in _ERF_POLYNOMIAL[5:0:-1]:
        y += coefficient
        y *= square
    y += _ERF_POLYNOMIAL[0]
    y *= z
    return np.tanh(y, out=y)


def gelu(x):
    """x Φ(x) = x/2 (1 + erf(x / sqrt(2))), the exact form that every published PVT was trained with.

    >>> gelu(np.array([-1.0, 0.0, 1.0]))
    array([-0.15865525,  0.        ,  0.84134475])
    """
    x = np.ascontiguousarray(x)
    out = np.empty_like(x)
    numbers, results = x.reshape(-1), out.reshape(-1)
    for start in range(0, x.size, _BLOCK):
        block = numbers[start : start + _BLOCK]
        y = erf(block * math.sqrt(0.5))
        y += 1
        y *= block
        np.multiply(y, 0.5, out=results[start : start + _BLOCK])
    return out


def gelu_new(x):
    """The tanh form of GELU, x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x³))): up to 5e-4 away from the exact one."""
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def sigmoid(x):
    """1 / (1 + exp(-x)), written with tanh so that no exponential can overflow."""
    return 0.5 * np.tanh(0.5 * x) + 0.5


def quick_gelu(x):
    """x sigmoid(1.702 x), a coarse GELU."""
    return x * sigmoid(1.702 * x)


def silu(x):
    """x sigmoid(x), also called swish."""
    return x * sigmoid(x)


def relu(x):
    """max(x, 0)."""
    return np.maximum(x, 0)


SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805  # they keep mean 0 and variance 1 through the layers


def selu(x):
    """scale * x where x > 0, else scale * alpha * (exp(x) - 1)."""
    return SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0)))


ACTIVATIONS = {
    "gelu": gelu,
    "gelu_new": gelu_new,
    "gelu_pytorch_tanh": gelu_new,
    "quick_gelu": quick_gelu,
    "relu": relu,
    "selu": selu,
    "silu": silu,
    "swish": silu,
}
