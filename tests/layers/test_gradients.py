"""Every layer's backward pass, against PyTorch's autograd and against central differences; the twins' signatures.

Upstream gradients are random: with ones, softmax's and layer norm's gradients vanish and nothing would be tested.
"""

import importlib
import inspect
import pkgutil

import numpy as np
import pytest

from pvt_numpy import gradients, layers, model
from pvt_numpy.layers import convolution, dropout, layernorm, linear, softmax
from pvt_numpy.parameters import flatten, unflatten
from tests.layers.gradient_cases import make_cases

CASES = make_cases()
RANDOM = ("dropout", "drop_path")  # PyTorch draws other numbers; test_dropout_passes_the_gradient… is theirs
MODULES = [importlib.import_module(f"pvt_numpy.layers.{m.name}") for m in pkgutil.iter_modules(layers.__path__)]
NO_TWIN = {
    "split_heads", "merge_heads", "as_map", "tokens",  # the same numbers in another order; each undoes another
    "windows",  # a view; conv2d_backward adds its pieces up
    "bilinear_matrix", "pooling_matrix",  # constants of the grid
    "dropout_factor", "drop_path_factor", "times",  # random constants, and a product with them
    "normal_tail",  # its slope is the bell curve that gelu_backward writes out
    "loss_kind", "record", "through_softmax",  # a decision, a note, and the heart of softmax_backward itself
}  # fmt: skip


def relative(found, expected):
    """The largest difference, relative to the largest number that is expected."""
    assert found.shape == expected.shape
    return np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-300)


def run(case, seed=1):
    """y, a random gradient dy of it, and the flat gradients of all the case's arrays."""
    arrays, rng = unflatten(flatten(case.arrays)), np.random.default_rng(seed)
    y = case.forward(**arrays, **case.constants)
    y = y[0] if isinstance(y, tuple) else y
    dy = rng.normal(size=np.shape(y))
    result = case.backward(dy if dy.ndim else float(dy), **arrays, **case.constants)
    dx, grads = result if isinstance(result, tuple) else (result, {})
    return y, dy, flatten({next(iter(case.arrays)): dx, **grads})


def test_every_public_forward_has_a_twin_with_the_matching_signature():
    seen = set()
    for module in MODULES:
        functions = {n: f for n, f in vars(module).items() if inspect.isfunction(f) and f.__module__ == module.__name__}
        for name, function in functions.items():
            if name.startswith("_") or name.endswith("_backward") or name in NO_TWIN:
                continue
            twin = functions.get(f"{name}_backward")
            assert twin is not None, f"{module.__name__}.{name} has no backward"
            wanted = [p for p in inspect.signature(function).parameters.values() if p.name not in ("trace", "name")]
            found = list(inspect.signature(twin).parameters.values())
            assert found[0].name == "dy", name
            assert [str(p) for p in found[1:]] == [str(p) for p in wanted], name
            seen.add(name)
    assert len(seen) >= 30
    assert seen <= {case.forward.__name__ for case in CASES.values()}, "a layer that gradient_cases.py forgot"


@pytest.mark.parametrize("name", ["embed", "block", "stage"])
def test_the_models_parts_have_twins_too(name):
    not_theirs = {"trace", "output_attentions", "output_hidden_states"}
    wanted = [p for p in inspect.signature(getattr(model, name)).parameters if p not in not_theirs]
    found = list(inspect.signature(getattr(gradients, f"{name}_backward")).parameters)
    assert found[0] == "dy"
    assert [p for p in found[1:] if p not in ("middle", "halves")] == wanted


@pytest.mark.torch
@pytest.mark.parametrize("name", [name for name in CASES if name not in RANDOM])
def test_against_autograd(name):
    import torch

    case = CASES[name]
    y, dy, grads = run(case)
    leaves = {key: torch.tensor(value, requires_grad=True) for key, value in flatten(case.arrays).items()}
    theirs = case.torch(unflatten(leaves))
    theirs = theirs[0] if isinstance(theirs, tuple) else theirs
    assert relative(np.asarray(y), theirs.detach().numpy()) < 1e-12, "the two forward passes differ already"
    theirs.backward(torch.tensor(dy))
    assert set(grads) == set(leaves)
    for key, leaf in leaves.items():
        assert relative(grads[key], leaf.grad.numpy()) < 1e-8, key


@pytest.mark.parametrize("name", CASES)
def test_against_central_differences(name):
    """Along a random direction of each array: (L(a + h u) - L(a - h u)) / 2h is the gradient's part along u."""
    case, rng, h = CASES[name], np.random.default_rng(2), 1e-5
    noise = (lambda: {"rng": np.random.default_rng(3)}) if name in RANDOM else dict
    case = case._replace(forward=lambda _f=case.forward, **a: _f(**a, **noise()),
                         backward=lambda dy, _f=case.backward, **a: _f(dy, **a, **noise()))  # fmt: skip
    _, dy, grads = run(case)
    flat = flatten(case.arrays)
    for key, gradient in grads.items():
        direction = rng.normal(size=gradient.shape)
        ends = []
        for sign in (1, -1):
            moved = unflatten(flat | {key: flat[key] + sign * h * direction})
            y = case.forward(**moved, **case.constants)
            ends.append(((y[0] if isinstance(y, tuple) else y) * dy).sum())
        numeric, analytic = (ends[0] - ends[1]) / (2 * h), (gradient * direction).sum()
        size = np.abs(gradient * direction).sum()  # of what the sum is made of; the sum itself may be near 0
        assert abs(numeric - analytic) < 1e-6 * size, key


@pytest.mark.parametrize("name", CASES)
def test_float32_stays_float32_and_inputs_are_left_alone(name):
    case = CASES[name]
    small = {key: value.astype(np.float32) for key, value in flatten(case.arrays).items()}
    before = {key: value.copy() for key, value in small.items()}
    case32 = case._replace(arrays=unflatten(small))
    y = case32.forward(**case32.arrays, **case.constants)
    dy = np.random.default_rng(1).normal(size=np.shape(y[0] if isinstance(y, tuple) else y))
    dy = dy.astype(np.float32) if dy.ndim else float(dy)
    kept = np.copy(dy)
    result = case32.backward(dy, **case32.arrays, **case.constants)
    dx, grads = result if isinstance(result, tuple) else (result, {})
    _, _, grads64 = run(case)
    for key, gradient in flatten({next(iter(case.arrays)): dx, **grads}).items():
        assert gradient.dtype == np.float32, key
        assert relative(gradient, grads64[key]) < 1e-4, key
    assert all((before[key] == small[key]).all() for key in small)
    assert (kept == dy).all()


@pytest.mark.parametrize("name", RANDOM)
def test_dropout_passes_the_gradient_where_it_passed_the_number(name):
    forward, backward = getattr(dropout, name), getattr(dropout, f"{name}_backward")
    x, dy = np.ones((6, 5)), np.random.default_rng(0).normal(size=(6, 5))
    y = forward(x, 0.4, np.random.default_rng(5))
    assert 0 < (y == 0).mean() < 1
    assert (backward(dy, x, 0.4, np.random.default_rng(5)) == dy * y).all()
    assert backward(dy, x, 0.4) is dy


def test_conv2d_backward_against_loops():
    """The slow, obvious way: every output number hands its gradient to the k x k x C numbers it was made of."""
    case = CASES["conv2d, overlap"]
    _, dy, grads = run(case)
    x, weight = case.arrays["x"], case.arrays["weight"]
    (B, H, W, C), k = x.shape, weight.shape[-1]
    padded, dweight = np.zeros((B, H + 2, W + 2, C)), np.zeros_like(weight)
    padded_x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    for b, i, j, c in np.ndindex(dy.shape):
        square = np.s_[b, 2 * i : 2 * i + k, 2 * j : 2 * j + k]
        padded[square] += dy[b, i, j, c] * weight[c].transpose(1, 2, 0)
        dweight[c] += dy[b, i, j, c] * padded_x[square].transpose(2, 0, 1)
    assert relative(grads["x"], padded[:, 1:-1, 1:-1]) < 1e-12
    assert relative(grads["weight"], dweight) < 1e-12
    assert convolution.conv2d_backward is case.backward


MUTANTS = {  # what is easily forgotten; each must be told from the truth
    "linear": lambda dy, x, weight, bias=None: (dy @ weight.T, linear.linear_backward(dy, x, weight, bias)[1]),
    "layer_norm": lambda dy, x, weight, bias, *, eps: (
        layernorm.layer_norm_backward(dy, x, weight, bias, eps=eps)[0]
        + (dy * weight).mean(-1, keepdims=True) / np.sqrt(x.var(-1, keepdims=True) + eps),
        layernorm.layer_norm_backward(dy, x, weight, bias, eps=eps)[1],
    ),
    "softmax": lambda dy, x: dy * softmax.softmax(x),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_central_differences_tell_a_wrong_backward(name):
    case = CASES[name]
    if name == "linear":  # square, so that the transposed matrix fits too
        rng = np.random.default_rng(0)
        case = case._replace(arrays={"x": rng.normal(size=(2, 3)), "weight": rng.normal(size=(3, 3))})
    CASES["mutant"] = case._replace(backward=MUTANTS[name])
    try:
        with pytest.raises(AssertionError):
            test_against_central_differences("mutant")
        CASES["mutant"] = case
        test_against_central_differences("mutant")
    finally:
        del CASES["mutant"]
