"""The activations: against their formulas number by number, PyTorch, and differences; at 0, in the bends and far out.

GELU is the exact one, x Φ(x). The tanh form is up to 5e-4 away: enough to lose parity, too little to be seen by eye.
"""

import math
from functools import partial

import numpy as np
import pytest

from pvt_numpy.layers.activations import ACTIVATION_BACKWARDS, ACTIVATIONS, gelu, gelu_new
from tests.layers.helpers import DTYPES, Case, Layer, proofs

SLOW = {
    "gelu": lambda v: v * (1 + math.erf(v / math.sqrt(2))) / 2,
    "gelu_new": lambda v: v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))) / 2,
    "quick_gelu": lambda v: v / (1 + math.exp(-1.702 * v)),
    "silu": lambda v: v / (1 + math.exp(-v)),
    "relu": lambda v: v if v > 0 else 0.0,
    "selu": lambda v: 1.0507009873554805 * (v if v > 0 else 1.6732632423543772 * (math.exp(v) - 1)),
    "sigmoid": lambda v: 1 / (1 + math.exp(-v)),
}
NAMED_OTHERWISE = {
    "gelu_new": lambda F, x: F.gelu(x, approximate="tanh"),
    "quick_gelu": lambda F, x: x * F.sigmoid(1.702 * x),
}


def slow_activation(name, x):
    return np.array([SLOW[name](float(v)) for v in x.ravel()]).reshape(x.shape)


def torch_activation(name, F, x):
    return NAMED_OTHERWISE[name](F, x) if name in NAMED_OTHERWISE else getattr(F, name)(x)


FORMS = {
    name: Layer(f"activations.{name}", partial(slow_activation, name), partial(torch_activation, name)) for name in SLOW
}
CASES = [
    *(Case(form, {"x": (3, 7, 11)}, label="near", scale=2) for form in FORMS.values()),
    *(Case(form, {"x": (3, 7, 11)}, label="far", scale=6) for form in FORMS.values()),
    *(
        Case(form, {"x": np.linspace(-9, 9, 2001)}, label="0-too", smooth=name not in ("relu", "selu"))
        for name, form in FORMS.items()
    ),
    Case(FORMS["gelu"], {"x": (70, 1001)}, label="more-than-a-block"),
]
MISTAKES = {"tanh form": ("gelu-near", "activations.gelu", "gelu")}
test_loops, test_pytorch, test_gradients, test_mistakes = proofs(CASES, MISTAKES)


def test_the_names_that_hidden_act_can_have():
    """Each with its own function, and with the slope of that function: by central differences of the slow form."""
    names = {name: name for name in SLOW if name != "sigmoid"} | {"gelu_pytorch_tanh": "gelu_new", "swish": "silu"}
    assert names.keys() == ACTIVATIONS.keys() == ACTIVATION_BACKWARDS.keys()
    x = np.linspace(-3.1, 3, 40)
    for name, form in names.items():
        above, at, below = (slow_activation(form, x + h) for h in (1e-5, 0, -1e-5))
        np.testing.assert_allclose(ACTIVATIONS[name](x), at, atol=1e-12)
        np.testing.assert_allclose(ACTIVATION_BACKWARDS[name](2.0 + 0 * x, x), (above - below) / 1e-5, atol=1e-8)


@pytest.mark.parametrize("name", ACTIVATIONS)
@DTYPES
def test_finite_far_out(name, dtype):
    y = ACTIVATIONS[name](np.array([-1e4, -300, -40, 40, 300, 1e4], dtype))
    assert np.isfinite(y).all()
    assert np.allclose(y[3:] / (1.0507009873554805 if name == "selu" else 1), [40, 300, 1e4], rtol=1e-6)


@DTYPES
def test_gelu_is_the_exact_form_as_near_as_its_files_say_and_not_the_tanh_form(dtype):
    x = np.concatenate([np.linspace(-8, 8, 200_001), [0, 1e-30, -1e-30, 1e-8, 13.9, -13.9, 1e30]]).astype(dtype)
    exact = np.array([v / 2 * math.erfc(-v / math.sqrt(2)) for v in x.tolist()])
    near, relative = (1e-15, 4e-16) if dtype == np.float64 else (3.5e-7, 1.4e-7)
    assert gelu(x).dtype == dtype
    assert (np.abs(gelu(x) - exact) <= np.maximum(near, relative * np.abs(exact))).all()
    assert 4e-4 < np.abs(gelu_new(x[:-1]) - exact[:-1]).max() < 5e-4


@DTYPES
def test_gelu_at_the_end_of_the_numbers_is_pytorchs(dtype):
    with np.errstate(invalid="ignore"):
        y = gelu(np.array([np.inf, -np.inf, np.nan, np.finfo(dtype).max, np.finfo(dtype).min], dtype))
    assert np.array_equal(y, [np.inf, np.nan, np.nan, np.finfo(dtype).max, 0], equal_nan=True)
