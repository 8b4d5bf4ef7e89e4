"""v1's positions: the class token comes first, the table is added, and for another grid the table is resized. Against
loops, PyTorch, and differences. The class token has a row of the table but no place on the grid: it is not resized."""

import math

import numpy as np

from pvt_numpy.layers.position import resize_positions
from tests.layers.helpers import DTYPES, Case, Layer, proofs
from tests.layers.test_resize import BILINEAR


def joined(first, then):
    if isinstance(then, np.ndarray):
        return np.concatenate([first, then], axis=1)
    from torch import cat

    return cat([first, then], dim=1)


def twin_resize_positions(pos_embed, stored_grid, grid):
    first = pos_embed.shape[1] - math.prod(stored_grid)
    table = BILINEAR(pos_embed[:, first:].reshape(1, *stored_grid, -1), grid)
    return joined(pos_embed[:, :first], table.reshape(1, math.prod(grid), -1))


def twin_add_positions(x, grid, pos_embed, cls_token=None, stored_grid=None):
    table = twin_resize_positions(pos_embed, stored_grid, grid)
    if cls_token is None:
        return x + table[:, table.shape[1] - math.prod(grid) :]
    return joined(cls_token + 0 * x[:, :1], x) + table


ADD = Layer("position.add_positions", twin_add_positions)
RESIZE = Layer("position.resize_positions", twin_resize_positions)
TABLE, WITH_CLASS = {"pos_embed": (1, 12, 5)}, {"pos_embed": (1, 13, 5), "cls_token": (1, 1, 5)}
CASES = [
    Case(ADD, {"x": (2, 12, 5), **TABLE}, {"grid": (3, 4), "stored_grid": (3, 4)}, "stored"),
    Case(ADD, {"x": (2, 12, 5), **TABLE}, {"grid": (4, 3), "stored_grid": (3, 4)}, "turned"),
    Case(ADD, {"x": (2, 30, 5), **TABLE}, {"grid": (5, 6), "stored_grid": (3, 4)}, "larger"),
    Case(ADD, {"x": (2, 6, 5), **WITH_CLASS}, {"grid": (3, 2), "stored_grid": (3, 4)}, "class-token"),
    Case(ADD, {"x": (2, 12, 5), "pos_embed": (1, 13, 5)}, {"grid": (3, 4), "stored_grid": (3, 4)}, "row-left-out"),
    Case(ADD, {"x": (2, 6, 5), "pos_embed": (1, 13, 5)}, {"grid": (3, 2), "stored_grid": (3, 4)}, "and-resized"),
    Case(RESIZE, {"pos_embed": (1, 11, 3)}, {"grid": (3, 4), "stored_grid": (5, 2)}),
]
MISTAKES = {"aligned corners": ("add_positions-larger", "resize.bilinear_matrix", "corners")}
test_loops, test_pytorch, test_gradients, test_mistakes = proofs(CASES, MISTAKES)


@DTYPES
def test_a_table_on_its_own_grid_comes_back_untouched(dtype):
    table = np.random.default_rng(0).normal(size=(1, 50, 4)).astype(dtype)
    assert resize_positions(table, (7, 7), [7, 7]) is table
