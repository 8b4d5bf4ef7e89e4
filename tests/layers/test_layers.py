"""Every layer against PyTorch's function and against a slow loop; types kept, inputs untouched, mistakes refused."""

import copy
import math

import numpy as np
import pytest

from pvt_numpy.layers import losses
from pvt_numpy.layers.activations import ACTIVATIONS, gelu, gelu_new, normal_tail
from pvt_numpy.layers.attention import attention
from pvt_numpy.layers.convolution import conv2d
from pvt_numpy.layers.layernorm import layer_norm
from pvt_numpy.layers.position import resize_positions
from pvt_numpy.layers.resize import bilinear_matrix, pooling_matrix
from pvt_numpy.layers.softmax import softmax
from tests.layers import slow_layers, torch_layers
from tests.layers.layer_cases import ACTIVATION_NAMES, HEADS, LAYERS, TWINS, convert

CASES = pytest.mark.parametrize("case", LAYERS, ids=str)
DTYPES = pytest.mark.parametrize("dtype", [np.float64, np.float32])
TOLERANCES = {np.float64: 1e-10, np.float32: 2e-6}  # relative to the largest number of the result


def typed(case, dtype):
    return convert(case.arrays, lambda a: a if a.dtype.kind == "i" else a.astype(dtype))


def assert_close(found, expected, dtype):
    found, expected = np.asarray(found), np.asarray(expected, np.float64)
    assert found.shape == expected.shape
    assert found.dtype == dtype
    assert np.abs(found - expected).max() <= TOLERANCES[dtype] * max(1, np.abs(expected).max())


def check_against_loops(case, dtype=np.float64):
    """Our layer and its slow twin. Tokens only: patch_embed also returns the grid, which the caller checks."""
    arrays = typed(case, dtype)
    expected = case.theirs(slow_layers, convert(arrays, lambda a: a if a.dtype.kind == "i" else a.astype(np.float64)))
    for found, wanted in zip(case.ours(arrays), expected, strict=False):
        assert_close(found, wanted, dtype)


def check_against_torch(case, dtype=np.float64):
    import torch

    arrays = typed(case, dtype)
    expected = case.theirs(torch_layers, convert(arrays, torch.from_numpy))
    for found, wanted in zip(case.ours(arrays), expected, strict=False):
        assert_close(found, wanted.numpy(), dtype)


@CASES
@DTYPES
def test_against_slow_loops(case, dtype):
    check_against_loops(case, dtype)


@pytest.mark.torch
@CASES
@DTYPES
def test_against_pytorch(case, dtype):
    check_against_torch(case, dtype)


@CASES
@DTYPES
def test_type_stays_and_inputs_are_untouched(case, dtype):
    arrays = copy.deepcopy(typed(case, dtype))
    convert(arrays, lambda a: a.setflags(write=False))  # now it raises where it writes into an input
    for result in case.ours(arrays):
        assert isinstance(result, tuple) or result.dtype == dtype


@pytest.mark.parametrize("name", ACTIVATION_NAMES)
@DTYPES
def test_activations_against_loops(name, dtype):
    x = np.linspace(-9, 9, 2001).astype(dtype)
    assert_close(ACTIVATIONS[name](x), slow_layers.ACTIVATIONS[TWINS[name]](x), dtype)


@pytest.mark.torch
@pytest.mark.parametrize("name", ACTIVATION_NAMES)
@DTYPES
def test_activations_against_pytorch(name, dtype):
    import torch

    x = (6 * np.random.default_rng(1).normal(size=(3, 7, 11))).astype(dtype)
    before = x.copy()
    assert_close(ACTIVATIONS[name](x), torch_layers.activation(TWINS[name])(torch.from_numpy(x)).numpy(), dtype)
    assert (x == before).all()


@pytest.mark.parametrize("name", ACTIVATION_NAMES)
@DTYPES
def test_activations_stay_finite_far_out(name, dtype):
    y = ACTIVATIONS[name](np.array([-1e4, -300, -40, 40, 300, 1e4], dtype))
    assert np.isfinite(y).all()
    assert np.allclose(y[3:] / (1.0507009873554805 if name == "selu" else 1), [40, 300, 1e4], rtol=1e-6)


def test_gelu_in_float32_is_as_near_as_its_file_says():
    x = np.concatenate([np.linspace(-8, 8, 200_001), [0, 1e-30, -1e-30, 1e-8, 13.9, -13.9, 1e30]]).astype(np.float32)
    exact = np.array([v / 2 * math.erfc(-v / math.sqrt(2)) for v in x.tolist()])
    found = gelu(x)
    assert found.dtype == np.float32
    assert (np.abs(found - exact) <= np.maximum(3e-7, 1e-7 * np.abs(exact))).all()


def test_the_tail_in_float64_is_pythons():
    a = np.linspace(0, 6, 1001).reshape(7, 11, 13)
    exact = [[[math.erfc(v * math.sqrt(0.5)) / 2 for v in row] for row in page] for page in a.tolist()]
    assert (normal_tail(a) == exact).all()


@DTYPES
def test_gelu_is_the_exact_form_to_within_rounding_and_not_the_tanh_form(dtype):
    x = np.linspace(-5, 5, 10_001).astype(dtype)
    exact = slow_layers.ACTIVATIONS["gelu"](x)
    assert np.abs(gelu(x) - exact).max() < (1e-15 if dtype == np.float64 else 1e-6)
    assert 4e-4 < np.abs(gelu_new(x) - exact).max() < 5e-4


def test_gelu_takes_arrays_in_any_memory_order():
    x = np.random.default_rng(0).normal(size=(300, 400)).astype(np.float32)
    assert (gelu(x.T) == gelu(x).T).all()


@pytest.mark.parametrize(("head", "pool"), HEADS)
@DTYPES
def test_heads(head, pool, dtype):
    rng = np.random.default_rng(0)
    x, weight, bias = (rng.normal(size=shape).astype(dtype) for shape in [(2, 5, 6), (4, 6), (4,)])
    before = x.copy()
    logits, pooled = head(x, weight, bias)
    assert_close(pooled, pool(x.astype(np.float64)), dtype)
    assert_close(logits, slow_layers.linear(pool(x.astype(np.float64)), weight, bias), dtype)
    bare, same = head(x)
    assert (bare == pooled).all()
    assert (same == pooled).all()
    assert (x == before).all()


@DTYPES
def test_layer_norm_far_from_zero(dtype):
    """Mean 1000, deviation 0.1: with the one-pass variance float32 would give the square root of a negative number."""
    x = (1000 + 0.1 * np.random.default_rng(0).normal(size=(50, 64))).astype(dtype)
    found = layer_norm(x, np.ones(64, dtype), np.zeros(64, dtype), eps=1e-6)
    expected = slow_layers.layer_norm(x.astype(np.float64), np.ones(64), np.zeros(64), 1e-6)
    assert np.abs(found - expected).max() < (1e-8 if dtype == np.float64 else 5e-3)


def test_softmax_rows_sum_to_1_even_for_huge_scores():
    x = np.array([[1e30, -1e30, 0], [88, 89, 90], [-1e4, -1e4, -1e4]], np.float32)
    assert np.allclose(softmax(x).sum(-1), 1, rtol=1e-6)
    assert (softmax(x)[0] == [1, 0, 0]).all()


def test_patch_embeddings_say_their_grid():
    grids = {str(case): case.ours(case.arrays)[1] for case in LAYERS if "patch_embed" in case.name}
    assert grids == {
        "patch_embed": (2, 2),
        "patch_embed-overlap": (4, 5),
        "overlapping_patch_embed-7-4": (3, 3),
        "overlapping_patch_embed-3-2": (3, 3),
        "overlapping_patch_embed-4-2": (3, 4),
    }


@pytest.mark.parametrize("case", [case for case in LAYERS if "attention" in case.name], ids=str)
def test_attention_rows_sum_to_1(case):
    _, probs = case.ours(case.arrays)
    assert np.allclose(probs.sum(-1), 1, rtol=1e-14)


def test_tail_pixels_are_no_part_of_any_key():
    case = next(case for case in LAYERS if case.label == "R3-tail")
    x = case.arrays["x"]
    changed = x.reshape(2, 5, 7, 6).copy()
    changed[:, 3:] = 9  # the two last rows of five fill no 3 x 3 square, nor does the last column of seven
    changed[:, :, 6] = -9
    traces = {}, {}
    for tokens, trace in zip((x, changed.reshape(x.shape)), traces, strict=True):
        attention(**{**case.arrays, "x": tokens}, **case.options, trace=trace)
    assert (traces[0]["attn.k"] == traces[1]["attn.k"]).all()
    assert (traces[0]["attn.q"] != traces[1]["attn.q"]).any()


@DTYPES
def test_a_table_on_its_own_grid_comes_back_untouched(dtype):
    table = np.random.default_rng(0).normal(size=(1, 50, 4)).astype(dtype)
    assert resize_positions(table, (7, 7), [7, 7]) is table


@pytest.mark.parametrize("matrix", [bilinear_matrix, pooling_matrix])
def test_resizing_keeps_a_constant(matrix):
    for n, m in [(1, 5), (5, 1), (7, 7), (7, 10), (56, 7), (3, 7)]:
        assert np.allclose(matrix(n, m).sum(1), 1, rtol=1e-14)
        assert matrix(n, m).shape == (m, n)


def test_a_picture_without_one_window_is_refused():
    with pytest.raises(ValueError, match="a map of 3 x 9 has no window; expected at least 4 x 4"):
        conv2d(np.ones((1, 3, 9, 2)), np.ones((5, 2, 4, 4)), stride=4)


def test_a_grid_without_one_key_is_refused():
    case = next(case for case in LAYERS if case.label == "R3-tail")
    options = case.options | {"grid": (2, 7)}
    with pytest.raises(ValueError, match="a grid of 2 x 7 tokens has no 3 x 3 square for a key; expected a larger"):
        attention(**case.arrays | {"x": np.ones((2, 14, 6))}, **options)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ([0, 5], "label 5; expected a whole number from 0 to 4"),
        ([0, -1], "label -1; expected a whole number from 0 to 4"),
        ([0.5, 1.0], "labels are float64; expected whole numbers from 0 to 4"),
        ([0, 1, 2], r"labels have shape \(3,\); expected one for each of the 2 pictures"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, sentence):
    with pytest.raises(ValueError, match=sentence):
        losses.cross_entropy(np.zeros((2, 5)), np.array(labels))


@pytest.mark.parametrize(
    ("num_labels", "labels", "problem_type", "chosen"),
    [
        (1, np.array([0.5, 2]), None, "regression"),
        (1, np.array([0, 2]), None, "regression"),
        (2, np.array([0, 1]), None, "single_label_classification"),
        (2, np.array([0, 1], np.int32), None, "single_label_classification"),
        (2, np.array([[0.0, 1]]), None, "multi_label_classification"),
        (2, np.array([[0.0, 1]]), "regression", "regression"),
        (1, np.array([[1.0]]), "multi_label_classification", "multi_label_classification"),
    ],
)
def test_the_loss_is_chosen_by_the_labels(num_labels, labels, problem_type, chosen):
    assert losses.loss_kind(num_labels, labels, problem_type) == chosen
    logits = np.random.default_rng(0).normal(size=(len(labels), num_labels))
    assert losses.loss(logits, labels, problem_type) == losses.LOSSES[chosen](logits, labels)


@pytest.mark.parametrize("loss", [losses.mean_square, losses.binary_cross_entropy])
def test_labels_of_another_shape_are_refused(loss):
    with pytest.raises(ValueError, match=r"labels have shape \(2, 4\); expected \(2, 5\), as the logits"):
        loss(np.zeros((2, 5)), np.zeros((2, 4)))


def test_every_public_layer_has_a_case():
    import inspect

    from pvt_numpy import layers

    tested = {case.name for case in LAYERS} | {head.__name__ for head, _ in HEADS}
    tested |= {function.__name__ for function in ACTIVATIONS.values()} | {"normal_tail", "dropout", "drop_path"}
    helpers = {"loss_kind", "loss", "record", "windows", "split_heads", "merge_heads", "as_map", "tokens", "sigmoid",
               "separable", "bilinear_matrix", "pooling_matrix", "resize_positions", "dropout_factor", "times",
               "drop_path_factor"}  # fmt: skip
    found = set()
    for module in (getattr(layers, name) for name in dir(layers)):
        if inspect.ismodule(module):
            found |= {n for n, f in inspect.getmembers(module, inspect.isfunction) if f.__module__ == module.__name__}
    forward = {n for n in found if not n.startswith("_") and not n.endswith("_backward") and n != "through_softmax"}
    assert forward - helpers == tested
