"""v1's position table and class token: attention alone could not tell one place from another.

Source: PVT, the section on the feature pyramid: a learned embedding is added to the tokens of every stage. For a
grid other than the one it was learned on the table is resized bilinearly, stage by stage; the official code raises or
scrambles there, and Hugging Face's raises.
"""

import numpy as np

from .resize import resize_bilinear


def add_positions(x, grid, pos_embed, cls_token=None, *, stored_grid):
    """The class token, where there is one, is put first, and the position table is added.

    x            (B, N, C)            tokens, N = H * W
    grid         (H, W)
    pos_embed    (1, N', C)           N' = H' * W', or 1 + H' * W' with a row for the class token first
    cls_token    (1, 1, C) or None
    stored_grid  (H', W')             the grid the table was learned on

    Returns (B, N, C), or (B, 1 + N, C) with the class token at 0.
    """
    if cls_token is not None:
        x = np.concatenate([np.broadcast_to(cls_token, (len(x), *cls_token.shape[1:])), x], axis=1)
    return x + resize_positions(pos_embed, stored_grid, grid)


def resize_positions(pos_embed, stored_grid, grid):
    """The table (1, N', C) on another grid: (1, N, C). A first row for the class token is left as it is.

    >>> resize_positions(np.zeros((1, 50, 512)), (7, 7), (10, 14)).shape
    (1, 141, 512)
    """
    if tuple(grid) == tuple(stored_grid):
        return pos_embed
    (H, W), C = stored_grid, pos_embed.shape[-1]
    special = pos_embed.shape[1] - H * W  # 1 with a class token, else 0
    table = resize_bilinear(pos_embed[:, special:].reshape(1, H, W, C), grid)
    return np.concatenate([pos_embed[:, :special], table.reshape(1, -1, C)], axis=1)
