"""v1's position table and class token: attention alone could not tell one place from another.

Source: PVT, the section on the overall architecture: a learned embedding is added to the tokens of every stage. On a
grid other than the one it was learned on, the table is resized bilinearly, stage by stage. The official code does so
too, unless the other grid happens to have as many tokens as stage 1 had in training (3,136): then it takes the table as
it is, and raises (448 x 448 pixels) or scrambles (112 x 448). Hugging Face's raises at nearly every other size.
"""

import math

import numpy as np

from .resize import resize_bilinear, resize_bilinear_backward


def add_positions(x, grid, pos_embed, cls_token=None, *, stored_grid):
    """The class token, if there is one, is put first, and the position table is added.

    x            (B, N, C)            tokens, N = H * W
    grid         (H, W)
    pos_embed    (1, N', C)           N' = H' * W', or 1 + H' * W' with a row for the class token first
    cls_token    (1, 1, C) or None; without it, its row of the table is left out
    stored_grid  (H', W')             the grid the table was learned on

    Returns (B, N, C), or (B, 1 + N, C) with the class token at 0.
    """
    if cls_token is not None:
        x = np.concatenate([np.broadcast_to(cls_token, (len(x), *cls_token.shape[1:])), x], axis=1)
    return x + resize_positions(pos_embed, stored_grid, grid)[:, -x.shape[1] :]


def resize_positions(pos_embed, stored_grid, grid):
    """The table (1, N', C) on another grid: (1, N, C). A first row for the class token is left as it is.

    >>> resize_positions(np.zeros((1, 50, 512)), (7, 7), (10, 14)).shape
    (1, 141, 512)
    """
    if tuple(grid) == tuple(stored_grid):
        return pos_embed
    class_rows = pos_embed.shape[1] - math.prod(stored_grid)  # 1 with a class token, else 0
    table = resize_bilinear(pos_embed[:, class_rows:].reshape(1, *stored_grid, -1), grid)
    return np.concatenate([pos_embed[:, :class_rows], table.reshape(1, -1, table.shape[-1])], axis=1)


def add_positions_backward(dy, x, grid, pos_embed, cls_token=None, *, stored_grid):
    """The gradient dy (B, N, C) or (B, 1 + N, C), carried back.

    A sum hands its gradient to both terms. The table and the class token serve every picture, so theirs is summed over
    the batch; the class token's is that of row 0. A row of the table that was left out gets 0.

    Returns dx (B, N, C) and {"pos_embed": (1, N', C)}, with "cls_token" (1, 1, C) if there is one.
    """
    total = dy.sum(axis=0, keepdims=True)
    left_out = pos_embed.shape[1] - math.prod(stored_grid) - (cls_token is not None)
    dtable = np.pad(total, ((0, 0), (left_out, 0), (0, 0)))
    grads = {"pos_embed": resize_positions_backward(dtable, pos_embed, stored_grid, grid)}
    if cls_token is not None:
        grads["cls_token"] = total[:, :1]
        dy = dy[:, 1:]
    return dy, grads


def resize_positions_backward(dy, pos_embed, stored_grid, grid):
    """The gradient dy (1, N, C) of the resized table, carried back to the stored one: (1, N', C)."""
    if tuple(grid) == tuple(stored_grid):
        return dy
    class_rows = pos_embed.shape[1] - math.prod(stored_grid)
    table = pos_embed[:, class_rows:].reshape(1, *stored_grid, -1)
    dtable = resize_bilinear_backward(dy[:, class_rows:].reshape(1, *grid, -1), table, grid)
    return np.concatenate([dy[:, :class_rows], dtable.reshape(1, -1, dtable.shape[-1])], axis=1)
