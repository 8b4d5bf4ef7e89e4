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
    with np.errstate(over="ignore"):  # beyond 4 the polynomial only grows, to infinity at last, whose tanh is 1
        square = x * x
        y = square * _ERF_POLYNOMIAL[6]
        for coefficient in _ERF_POLYNOMIAL[5:0:-1]:
            y += coefficient
            y *= square
        y += _ERF_POLYNOMIAL[0]
        y *= x
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


def erf_backward(dy, x):
    """erf is an integral, so its slope is what was integrated: dx = dy 2/sqrt(pi) exp(-x²)."""
    return dy * (2 / math.sqrt(math.pi)) * np.exp(-x * x)


def gelu_backward(dy, x):
    """dx = dy (Φ(x) + x φ(x)), the product rule on x Φ(x); Φ's slope φ is the bell curve exp(-x²/2) / sqrt(2 pi).

    >>> gelu_backward(np.ones(3), np.array([-1.0, 0.0, 1.0]))
    array([-0.08331547,  0.5       ,  1.08331547])
    """
    x, dy = np.ascontiguousarray(x), np.ascontiguousarray(dy)
    dx = np.empty_like(x)
    numbers, above, results = x.reshape(-1), dy.reshape(-1), dx.reshape(-1)
    for start in range(0, x.size, _BLOCK):
        block = numbers[start : start + _BLOCK]
        slope = erf(block * math.sqrt(0.5))
        slope += 1
        slope *= 0.5
        bell = block * block
        bell *= -0.5
        np.exp(bell, out=bell)
        bell *= block
        bell *= 1 / math.sqrt(2 * math.pi)
        slope += bell
        np.multiply(slope, above[start : start + _BLOCK], out=results[start : start + _BLOCK])
    return dx


def gelu_new_backward(dy, x):
    """With t = tanh(u), y = x (1 + t) / 2 and t's slope is (1 - t²) u'(x), u' = sqrt(2/pi) (1 + 3 · 0.044715 x²)."""
    t = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))
    inner = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)
    return dy * 0.5 * (1 + t + x * (1 - t * t) * inner)


def sigmoid_backward(dy, x):
    """With s = sigmoid(x): dx = dy s (1 - s)."""
    s = sigmoid(x)
    return dy * s * (1 - s)


def quick_gelu_backward(dy, x):
    """The product rule on x s, s = sigmoid(1.702 x): dx = dy (s + 1.702 x s (1 - s))."""
    s = sigmoid(1.702 * x)
    return dy * (s + 1.702 * x * s * (1 - s))


def silu_backward(dy, x):
    """The product rule on x s, s = sigmoid(x): dx = dy (s + x s (1 - s))."""
    s = sigmoid(x)
    return dy * (s + x * s * (1 - s))


def relu_backward(dy, x):
    """What passed forward passes backward; at 0, where there is no slope, 0 is taken, as PyTorch does."""
    return dy * (x > 0)


def selu_backward(dy, x):
    """scale where x > 0, else scale * alpha * exp(x), times dy."""
    return dy * SELU_SCALE * np.where(x > 0, x.dtype.type(1), SELU_ALPHA * np.exp(np.minimum(x, 0)))


ACTIVATION_BACKWARDS = {
    "gelu": gelu_backward,
    "gelu_new": gelu_new_backward,
    "gelu_pytorch_tanh": gelu_new_backward,
    "quick_gelu": quick_gelu_backward,
    "relu": relu_backward,
    "selu": selu_backward,
    "silu": silu_backward,
    "swish": silu_backward,
}
