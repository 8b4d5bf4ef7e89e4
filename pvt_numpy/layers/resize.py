"""Two ways to change a grid's size, each a matrix for the rows and one for the columns.

Bilinear interpolation moves v1's position table to another grid; adaptive average pooling makes the 7 x 7 keys of
linear SRA. Both are linear and separable: y = rows · x · columnsᵀ for each channel.

Source: `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)` and `adaptive_avg_pool2d`.
"""

import numpy as np


def resize_bilinear(x, grid):
    """The map x (B, H, W, C) on another grid (H', W'), without antialiasing, as PyTorch does by default.

    Returns (B, H', W', C).
    """
    return separable(x, bilinear_matrix(x.shape[1], grid[0]), bilinear_matrix(x.shape[2], grid[1]))


def adaptive_average_pool(x, size):
    """The map x (B, H, W, C) averaged in size x size bins, uneven and overlapping if H or W is no multiple of it.

    Returns (B, size, size, C).
    """
    return separable(x, pooling_matrix(x.shape[1], size), pooling_matrix(x.shape[2], size))


def separable(x, rows, columns):
    """y[b, i, j, c] = sum over h, w of rows[i, h] columns[j, w] x[b, h, w, c]; rows (H', H), columns (W', W)."""
    y = rows.astype(x.dtype) @ x.reshape(*x.shape[:2], -1)
    return columns.astype(x.dtype) @ y.reshape(len(x), len(rows), *x.shape[2:])


def bilinear_matrix(n, m):
    """(m, n): each of m new samples as a mixture of its two nearest of n old ones; every row sums to 1.

    Samples are centres of equal cells (align_corners=False); before the first and after the last one the edge repeats.

    >>> bilinear_matrix(2, 4)
    array([[1.  , 0.  ],
           [0.75, 0.25],
           [0.25, 0.75],
           [0.  , 1.  ]])
    """
    centres = np.clip((np.arange(m) + 0.5) * (n / m) - 0.5, 0, n - 1)
    return np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(n)))


def pooling_matrix(n, m):
    """(m, n): the mean over bin i, which runs from floor(i n / m) to ceil((i + 1) n / m); every row sums to 1.

    >>> pooling_matrix(3, 2)
    array([[0.5, 0.5, 0. ],
           [0. , 0.5, 0.5]])
    """
    i, k = np.arange(m)[:, None], np.arange(n)
    inside = (i * n // m <= k) & (k * m < (i + 1) * n)
    return inside / inside.sum(axis=1, keepdims=True)


def resize_bilinear_backward(dy, x, grid):
    """The gradient dy (B, H', W', C) on the new grid, carried back to the old one: dx (B, H, W, C)."""
    return separable_backward(dy, x, bilinear_matrix(x.shape[1], grid[0]), bilinear_matrix(x.shape[2], grid[1]))


def adaptive_average_pool_backward(dy, x, size):
    """The gradient dy (B, size, size, C) of the bins' means, shared out among their members: dx (B, H, W, C)."""
    return separable_backward(dy, x, pooling_matrix(x.shape[1], size), pooling_matrix(x.shape[2], size))


def separable_backward(dy, x, rows, columns):
    """y = rows · x · columnsᵀ is linear in x, so dx = rowsᵀ · dy · columns: the same with the matrices transposed."""
    return separable(dy, rows.T, columns.T)
