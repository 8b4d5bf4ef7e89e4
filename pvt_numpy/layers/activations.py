"""The activation functions that `hidden_act` can name, GELU in its exact form first.

Source: Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016); Klambauer et al. (2017) for SELU. GELU(x) = x Φ(x)
weighs x by the chance Φ(x) that a standard normal number is below it. What is left of a number beyond a, the tail
1 - Φ(a) = erfc(a / sqrt(2)) / 2, is all that it needs, but NumPy has no erfc:

    float64   Python's own `math.erfc`, number by number: slow, right to 14 digits, for checking
    float32   1 / P(a)⁸ with a polynomial P of degree 8, which has no limits to be clipped to: it grows, the tail
              vanishes. P was fitted on 0 < a < 7 so that the largest error of GELU is smallest; in float32 that is
              3e-7, where PyTorch's own is 4e-7 to 5e-7
"""

import math

import numpy as np

_TAIL_POLYNOMIAL = (2 ** (1 / 8), 0.108759057, 0.0488425345, 0.00936923981, 0.00106942123, 0.000121428069,
                    0.000106414476, -1.8263039e-05, 3.19791278e-06)  # fmt: skip
_BLOCK = 65536  # numbers: a block and its scratch arrays stay in the processor's cache over all the passes


def normal_tail(a, times=1.0):
    """The chance 1 - Φ(a) that a standard normal number is above a, for a >= 0; any shape, float32 or float64.

    The result is multiplied by `times`, a number or an array like a: in float32 the division does both in one pass.

    >>> normal_tail(np.array([0.0, 1.0, 2.0]))
    array([0.5       , 0.15865525, 0.02275013])
    """
    if a.dtype != np.float32:
        erfc = np.fromiter(map(math.erfc, (a * math.sqrt(0.5)).ravel()), a.dtype, a.size).reshape(a.shape)
        return 0.5 * erfc * times
    with np.errstate(over="ignore"):  # far out P⁸ is infinite, and the tail 0
        y = a * _TAIL_POLYNOMIAL[8]
        for coefficient in _TAIL_POLYNOMIAL[7:0:-1]:
            y += coefficient
            y *= a
        y += _TAIL_POLYNOMIAL[0]
        for _ in range(3):
            y *= y
        return np.divide(times, y, out=y)


def gelu(x):
    """x Φ(x), the exact form that every published PVT was trained with: ReLU less a dent, max(x, 0) - |x| (1 - Φ(|x|)).

    For x > 0 that is x - x (1 - Φ(x)); for x < 0, by symmetry, -|x| Φ(-|x|).

    >>> gelu(np.array([-1.0, 0.0, 1.0]))
    array([-0.15865525,  0.        ,  0.84134475])
    """
    x = np.ascontiguousarray(x)
    out = np.empty_like(x)
    numbers, results = x.reshape(-1), out.reshape(-1)
    for start in range(0, x.size, _BLOCK):
        block = numbers[start : start + _BLOCK]
        a = np.abs(block)
        dent = normal_tail(a, times=a)
        a += block  # (|x| + x) / 2 is max(x, 0)
        a *= 0.5
        np.subtract(a, dent, out=results[start : start + _BLOCK])
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
        slope = 0.5 - normal_tail(np.abs(block))  # Φ(|x|) - 1/2, which is odd in x
        slope = np.copysign(slope, block, out=slope)
        slope += 0.5
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
    """The product rule on x sigmoid(1.702 x): each factor's slope times the other factor."""
    return dy * sigmoid(1.702 * x) + 1.702 * sigmoid_backward(dy * x, 1.702 * x)


def silu_backward(dy, x):
    """The product rule on x sigmoid(x): each factor's slope times the other factor."""
    return dy * sigmoid(x) + sigmoid_backward(dy * x, x)


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
