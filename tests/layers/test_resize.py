"""Resizing: bilinear interpolation and adaptive pooling, against their definitions place by place, against PyTorch
(`align_corners=False`, no antialiasing), and differences."""

import math

import numpy as np
import pytest

from pvt_numpy.layers.resize import bilinear_matrix, pooling_matrix
from tests.layers.helpers import Case, Layer, on_map, proofs
from tests.layers.test_convolution import MAP


def slow_resize_bilinear(x, grid):
    B, H, W, C = x.shape
    y = np.zeros((B, *grid, C))
    for i, j, row, column in np.ndindex(*grid, H, W):
        # where the centre of the new cell lies, counted in old cells; the edge repeats
        h = min(max((i + 0.5) * H / grid[0] - 0.5, 0), H - 1)
        w = min(max((j + 0.5) * W / grid[1] - 0.5, 0), W - 1)
        y[:, i, j] += max(1 - abs(h - row), 0) * max(1 - abs(w - column), 0) * x[:, row, column]
    return y


def slow_adaptive_average_pool(x, size):
    B, H, W, C = x.shape
    y = np.zeros((B, size, size, C))
    for i, j in np.ndindex(size, size):
        rows = slice(math.floor(i * H / size), math.ceil((i + 1) * H / size))
        columns = slice(math.floor(j * W / size), math.ceil((j + 1) * W / size))
        y[:, i, j] = x[:, rows, columns].mean(axis=(1, 2))
    return y


def torch_resize_bilinear(F, x, grid):
    return on_map(F.interpolate, x, size=grid, mode="bilinear", align_corners=False)


def torch_adaptive_average_pool(F, x, size):
    return on_map(F.adaptive_avg_pool2d, x, size)


def slow_separable(x, rows, columns):
    return np.einsum("ih,jw,bhwc->bijc", rows, columns, x)


def torch_separable(F, x, rows, columns):
    from torch import einsum

    return einsum("ih,jw,bhwc->bijc", x.new_tensor(rows), x.new_tensor(columns), x)


BILINEAR = Layer("resize.resize_bilinear", slow_resize_bilinear, torch_resize_bilinear)
POOL = Layer("resize.adaptive_average_pool", slow_adaptive_average_pool, torch_adaptive_average_pool)
GRIDS = [(7, 9), (14, 18), (3, 4), (10, 5), (1, 1), (8, 9)]
normal = np.random.default_rng(0).normal
MATRICES = {"rows": normal(size=(3, 4)), "columns": normal(size=(6, 5))}
CASES = [
    *(Case(BILINEAR, {"x": MAP}, {"grid": grid}, f"to-{grid}") for grid in GRIDS),
    Case(BILINEAR, {"x": (1, 1, 1, 3)}, {"grid": (3, 2)}, "from-one"),
    *(Case(POOL, {"x": (2, H, W, 3)}, {"size": 7}, f"{H}x{W}")
      for H, W in [(7, 7), (14, 21), (10, 9), (3, 2), (16, 5), (9, 5)]),
    Case(Layer("resize.separable", slow_separable, torch_separable), {"x": (2, 4, 5, 3)}, MATRICES),
]  # fmt: skip
MISTAKES = {
    "aligned corners": ("resize_bilinear-to-(10, 5)", "resize.bilinear_matrix", "corners"),
    "samples for means": ("adaptive_average_pool-10x9", "resize.pooling_matrix", "samples"),
}
test_loops, test_pytorch, test_gradients, test_mistakes = proofs(CASES, MISTAKES)


@pytest.mark.parametrize("matrix", [bilinear_matrix, pooling_matrix])
def test_a_constant_stays(matrix):
    for n, m in [(1, 5), (5, 1), (7, 7), (7, 10), (56, 7), (3, 7)]:
        np.testing.assert_allclose(matrix(n, m).sum(1), 1, rtol=1e-14)
        assert matrix(n, m).shape == (m, n)
