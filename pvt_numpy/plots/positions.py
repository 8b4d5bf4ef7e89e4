"""v1's position table: how alike the positions are, before and after the table is resized."""

import numpy as np

from ..layers.position import resize_positions
from .figures import drawing, new_figure
from .style import WIDEST, bare, scale_bar, similarity, times
from .words import listed, short, told

TILES = 8  # at most so many positions by the side get a tile
ZOOM = 4


def position_similarity(pos_embed, grid):
    """The cosine between all pairs of rows of a table (1, N, C), class row left out: (H, W, H, W)."""
    H, W = grid
    rows = pos_embed[0, pos_embed.shape[1] - H * W :]
    rows = rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), np.finfo(rows.dtype).tiny)
    return (rows @ rows.T).reshape(H, W, H, W)


def mosaic(alike):
    """(H, W, H, W) -> a picture of tiles with NaN between them, one a position, and the positions' rows and columns.

    Every similarity is ZOOM x ZOOM dots, so that the gap can be narrower than a position.
    """
    H, W = alike.shape[:2]
    rows, columns = (np.unique(np.linspace(0, n - 1, min(n, TILES)).round().astype(int)) for n in (H, W))
    high, wide, gap = H * ZOOM, W * ZOOM, max(1, max(H, W) * ZOOM // 8)
    canvas = np.full((len(rows) * (high + gap) - gap, len(columns) * (wide + gap) - gap), np.nan, alike.dtype)
    for a, row in enumerate(rows):
        for b, column in enumerate(columns):
            top, left = a * (high + gap), b * (wide + gap)
            canvas[top : top + high, left : left + wide] = np.kron(alike[row, column], np.ones((ZOOM, ZOOM)))
    return canvas, rows, columns


@drawing
def positions(pos_embed, stored_grid, grid=None, *, title=""):
    """Each tile: how alike one position is to all others. Left the learned table, right the same on another grid.

    pos_embed    (1, N, C), with or without a class row
    stored_grid  (H, W) it was learned on;  grid: the (H, W) it is resized to. None: the learned one alone
    """
    tables = {"learned": (pos_embed, stored_grid)}
    if grid is not None:
        tables["resized"] = resize_positions(pos_embed, stored_grid, grid), grid
    ratios = [min(2.0, W / H) for _, (H, W) in tables.values()]
    tallest = max(H / W for _, (H, W) in tables.values())
    figure = new_figure(WIDEST if grid else 6.2, 5.4 * max(1, tallest) ** 0.5, title or None)
    panels = figure.subplots(1, len(tables), width_ratios=ratios, squeeze=False)[0]
    said = []
    for axes, (label, (table, size)) in zip(panels, tables.items(), strict=True):
        alike = position_similarity(table, size)
        canvas, rows, columns = mosaic(alike)
        drawn = axes.imshow(canvas, cmap=similarity(), vmin=-1, vmax=1)
        bare(axes)
        every = (len(rows), len(columns)) == tuple(size)
        axes.set_title(f"{label}: {times(*size)} positions × {table.shape[-1]}\n"
                       f"one tile for {'each' if every else f'{times(len(rows), len(columns))} of them'}")  # fmt: skip
        (H, W), at = size, np.arange
        below = alike[:-1].reshape(-1, H * W)[at((H - 1) * W), W + at((H - 1) * W)]
        beside = alike[:, :-1].transpose(1, 3, 0, 2)[at(W - 1), 1 + at(W - 1)][:, at(H), at(H)]
        cosines = [f"the one {name} {short(pairs.mean())}" for name, pairs in (("below", below), ("beside it", beside))
                   if pairs.size]  # fmt: skip
        mean = f"; mean cosine with {listed(cosines)}" if cosines else ""  # a single position has no neighbour
        said.append(f"{label}, {times(H, W)} positions × {table.shape[-1]}{mean}")
    scale_bar(figure, drawn, panels, "cosine")
    return figure, told(title, "how alike each position is to every other", *said)
