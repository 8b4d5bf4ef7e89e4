"""Spatial-reduction attention on one sheet: the map, its squares, the keys, the score table, the map again."""

import numpy as np

from ..analysis.rollout import key_blocks
from .diagram import arrow, count, sheet, write
from .figures import drawing
from .photo import checked, frame
from .pyramid import pca_colours
from .style import BLUE, GREY, WIDEST, heat, times
from .words import told

SIDE = 2.0  # inches, of a map
MOST_ROWS = 392  # of the score table as it is drawn: neighbours are averaged
HIGH = 3.7


def _picture(axes, colours, left, middle, side=SIDE):
    """Colours (H, W, 3) as a panel in their proportion, at most `side` wide and high. Returns (left, bottom, w, h)."""
    H, W = colours.shape[:2]
    w, h = side * min(1, W / H), side * min(1, H / W)
    left, bottom = left + (side - w) / 2, middle - h / 2
    axes.imshow(colours, extent=(left, left + w, bottom, bottom + h), zorder=2)
    return left, bottom, w, h


def _edges(matrix):
    """Where each key's rows begin and end: (keys, 2), from the rows of `key_blocks`."""
    inside = matrix > 0
    return np.stack([inside.argmax(axis=1), matrix.shape[1] - inside[:, ::-1].argmax(axis=1)], axis=1)


@drawing
def sra(trace, config, *, stage=0, block=0):
    """How one attention layer works, in its own numbers: like colours, like features (PCA), of each map by itself.

    trace  of `forward`, whose first picture is drawn
    """
    stage = checked("stage", stage, config.num_encoder_blocks)
    block = checked("block", block, config.depths[stage], -config.depths[stage], f" in stages.{stage}")
    name, (H, W), R = f"stages.{stage}.blocks.{block}", trace[f"stages.{stage}.grid"], config.sr_ratios[stage]
    maps = {what: trace[f"{name}.{what}"][0][-H * W :] for what in ("norm1", "attn")}
    probs = trace[f"{name}.attn.probs"][0]
    heads, N, M = probs.shape
    C = maps["norm1"].shape[-1]
    rows, columns = key_blocks((H, W), config, stage)
    h, w = len(rows), len(columns)
    colours = {what: pca_colours(x.reshape(H, W, C).transpose(2, 0, 1)) for what, x in maps.items()}
    keys = pca_colours(trace[f"{name}.attn.reduced"][0][-h * w :].reshape(h, w, C).transpose(2, 0, 1))

    figure, axes = sheet(WIDEST, HIGH, f"stage {stage + 1}, block {block + 1}: spatial-reduction attention")
    y = 1.75
    tops = y + SIDE / 2 + 0.26

    def caption(x, text, below, side=SIDE, wide=0.0):
        lines = 1 + below.count("\n")
        write(axes, (x, y + side / 2 + 0.26), text, max(wide, side + 0.35))
        write(axes, (x, y - side / 2 - 0.2 - 0.08 * lines), below, max(wide, side + 0.4), 9, GREY)

    # the map, its squares, and one of them
    left, bottom, width, height = _picture(axes, colours["norm1"], 0.1, y)
    cell = width / W
    (top, low), (first, last) = _edges(rows)[h // 2], _edges(columns)[w // 2]
    if config.linear_attention or R > 1:
        for a, b in _edges(rows):
            for c, d in _edges(columns):
                _frame(axes, left, bottom + height, cell, a, b, c, d, "white", 0.7)
    _frame(axes, left, bottom + height, cell, top, low, first, last, BLUE, 2.4)
    token = "\nand a class token" * (N > H * W)
    caption(0.1 + SIDE / 2, f"{times(H, W)} tokens × {C}", f"normed (norm1){token}")
    # that square, close up, becomes one key
    square = colours["norm1"][top:low, first:last]
    near = _picture(axes, square, 2.75, y, 1.0)
    _outline(axes, near, BLUE, 2.4)
    arrow(axes, (2.2, y), (near[0] - 0.05, y))
    if config.linear_attention:
        ways = f"mean of {times(low - top, last - first)} tokens,\nsr 1 × 1, norm, GELU"
    else:
        ways = f"sr: {times(R, R, C)}\nnumbers → {C},\nnorm" if R > 1 else "R = 1:\nevery token is a key"
    merged = times(low - top, last - first)
    caption(3.25, f"{merged} token{'s' * (merged != '1 × 1')} → 1 key", ways, 1.0, 1.65)
    # the keys
    left, bottom, width, height = _picture(axes, keys, 4.3, y, 1.3)
    cell = width / w
    arrow(axes, (near[0] + near[2] + 0.06, y), (left - 0.05, y))
    _frame(axes, left, bottom + height, cell, h // 2, h // 2 + 1, w // 2, w // 2 + 1, BLUE, 2.4)
    rest = ", rounded down" * (H % R + W % R > 0)
    bins = "at every size" if config.linear_attention else f"({H} / {R}) × ({W} / {R}){rest}"
    caption(4.95, f"{times(h, w)} = {h * w} keys × {C}", bins, 1.3, 1.75)
    # the table
    table = probs.mean(axis=0)
    groups = np.array_split(np.arange(N), min(N, MOST_ROWS))
    table = np.stack([table[group].mean(axis=0) for group in groups])
    x0, wide = 6.55, 1.15
    drawn = heat()(table / max(table.max(), 4 / M))
    drawn = drawn[..., :3] * drawn[..., 3:] + 1 - drawn[..., 3:]
    axes.imshow(drawn, extent=(x0, x0 + wide, y - SIDE / 2, y + SIDE / 2), aspect="auto", zorder=2)
    _outline(axes, (x0, y - SIDE / 2, wide, SIDE), GREY, 1)
    arrow(axes, (left + width + 0.05, y), (x0 - 0.05, y))
    write(axes, ((left + width + x0) / 2, y + 0.14), "k, v", 0.5, 9.5, GREY)
    over = tops + 0.42
    arrow(axes, (1.1, tops + 0.16), (1.1, over), (x0 + wide / 2, over), (x0 + wide / 2, tops + 0.16))
    write(axes, (3.6, over + 0.13), "q: every token asks", 2.5, 9.5, GREY)
    rows = f"{count(heads, 'head')}{', their mean' * (heads > 1)};\na row a query, a column a key"
    caption(x0 + wide / 2, f"{times(N, M)} scores", rows, wide=2.0)
    # to scale beside the table of full attention
    x1, full = 8.05, 0.72
    part = "all" if M == N else f"1 / {N // M}" if N % M == 0 else f"{M / N:.1%}"
    axes.imshow(np.full((1, 1, 3), 0.93), extent=(x1, x1 + full, y - full / 2, y + full / 2), zorder=1)
    _outline(axes, (x1, y - full / 2, full, full), GREY, 0.8)
    frame(axes, (y - full / 2, x1, y + full / 2, x1 + full * M / N), BLUE, 1, fill=True, facecolor=BLUE, zorder=3)
    write(axes, (x1 + full / 2, y + full / 2 + 0.24), f"{part} of\n{times(N, N)}", 0.95, 8.5, GREY)
    # the map again
    left, *_ = _picture(axes, colours["attn"], 8.95, y)
    arrow(axes, (x0 + wide + 0.05, y - 0.6), (8.92, y - 0.6))
    write(axes, (x0 + wide + 0.62, y - 0.74), "probs · v, proj", 1.05, 8.5, GREY)
    caption(8.95 + SIDE / 2, f"{times(H, W)} tokens × {C}", f"what is added to the tokens{token}")
    said = [f"a map of {times(H, W)} tokens × {C}{token}", f"{merged} tokens become a key: {ways}",
            f"{times(h, w)} = {h * w} keys",
            f"{count(heads, 'table')} of {times(N, M)} scores, {part} of {times(N, N)}",
            f"out comes a map of {times(H, W)} tokens × {C}"]  # fmt: skip
    return figure, told(f"stage {stage + 1}, block {block + 1}: spatial-reduction attention", *said)


def _frame(axes, left, top, cell, a, b, c, d, colour, linewidth):
    """A frame around rows a to b and columns c to d of a panel, whose rows go down from `top`."""
    frame(axes, (top - a * cell, left + c * cell, top - b * cell, left + d * cell), colour, linewidth, zorder=3)


def _outline(axes, place, colour, linewidth):
    left, bottom, width, height = place
    frame(axes, (bottom, left, bottom + height, left + width), colour, linewidth, zorder=3)
