"""The activation functions that `hidden_act` can name, GELU in its exact form first.

Source: Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016), section 2; Klambauer et al. (2017) for SELU.
"""

import math

import numpy as np

from .twins import has_twin


def _erf(x):
    """The error function, which NumPy lacks: Python's own, number by number."""
    return np.fromiter(map(math.erf, np.ravel(x).tolist()), np.float64, np.size(x)).reshape(np.shape(x))


@has_twin
def gelu(x):
    """x Φ(x), the exact form that every published PVT was trained with: x times the chance to be above others.

    >>> gelu(np.array([-1.0, 0.0, 1.0]))
    array([-0.15865525,  0.        ,  0.84134475])
    """
    return x * normal_cdf(x)


def normal_cdf(x):
    """Φ(x) = (1 + erf(x / sqrt(2))) / 2, the chance that a standard normal number is below x.

    >>> normal_cdf(np.array([-1.0, 0.0, 1.0]))
    array([0.15865525, 0.5       , 0.84134475])
    >>> normal_cdf(np.array([-1, 0, 1]))  # whole numbers give fractions, too
    array([0.15865525, 0.5       , 0.84134475])
    """
    return ((1 + _erf(x / math.sqrt(2))) / 2).astype(np.result_type(x, np.float32))


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
    """scale * x if x > 0, else scale * alpha * (exp(x) - 1)."""
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


@has_twin
def gelu_backward(dy, x):
    """dx = dy (Φ(x) + x φ(x)), the product rule on x Φ(x); Φ's slope φ is the bell curve exp(-x²/2) / sqrt(2 pi).

    >>> gelu_backward(np.ones(3), np.array([-1.0, 0.0, 1.0]))
    array([-0.08331547,  0.5       ,  1.08331547])
    """
    bell = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return dy * (normal_cdf(x) + x * bell)


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
    """What passed forward passes backward; at 0, which has no slope, 0 is taken, as PyTorch does."""
    return dy * (x > 0)


def selu_backward(dy, x):
    """scale if x > 0, else scale * alpha * exp(x), times dy."""
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
