"""Where a token looks: the keys of SRA as boxes over the photo, heads side by side, stages side by side, statistics."""

import numpy as np

from ..analysis.rollout import cell_sizes, head_statistics, key_blocks
from .style import (
    GREY,
    MARKERS,
    STAGE_COLOURS,
    WIDEST,
    cells_of,
    check_block,
    heat,
    mark_query,
    middle,
    new_figure,
    picture,
    scale_bar,
    show_photo,
    times,
    token_at,
)


def key_boxes(grid, config, stage):
    """The pixels each key was made from: (M, 4) with left, top, width, height.

    >>> from pvt_numpy.config import VARIANTS
    >>> key_boxes((56, 56), VARIANTS["pvt_v2_b0"], 0)[[0, 1, 7]].tolist()
    [[0, 0, 32, 32], [32, 0, 32, 32], [0, 32, 32, 32]]
    """
    cell = cell_sizes(config)[stage]
    # argmax finds the first token of a key; the last one is found from the other end
    (top, bottom), (left, right) = (
        ((m > 0).argmax(axis=1) * cell, (m.shape[1] - (m[:, ::-1] > 0).argmax(axis=1)) * cell)
        for m in key_blocks(grid, config, stage)
    )
    y, x = (index.ravel() for index in np.indices((len(top), len(left))))
    return np.stack([left[x], top[y], (right - left)[x], (bottom - top)[y]], axis=1)


def shade(axes, photo, boxes, weights, largest):
    """The photo, pale, under boxes (M, 4) coloured by weights (M,) from 0 to `largest`. Returns the boxes drawn."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    show_photo(axes, photo, grey=True)
    patches = [Rectangle((x, y), width, height) for x, y, width, height in boxes]
    drawn = PatchCollection(patches, cmap=heat(), edgecolor="white", linewidth=0.6)
    drawn.set_array(np.asarray(weights))
    drawn.set_clim(0, largest)
    axes.add_collection(drawn)
    return drawn


def _read(trace, config, stage, block, head, pixel):
    """What one query reads: its token (row, column), the boxes of the keys, rows of probs (heads, M), their titles."""
    cell, block = cells_of(config, stage), check_block(config, stage, block)
    grid = trace[f"stages.{stage}.grid"]
    probs = trace[f"stages.{stage}.blocks.{block}.attn.probs"][0]
    token = token_at(pixel, grid, cell)
    special = probs.shape[1] - grid[0] * grid[1]  # v1's class token, which is no place in the picture
    rows = probs[:, special + token[0] * grid[1] + token[1], special:]
    titles = [f"head {h}" for h in range(len(rows))]
    if head is not None:
        if not 0 <= head < len(rows):
            raise ValueError(f"head is {head}; expected 0 to {len(rows) - 1} in stage {stage}")
        rows, titles = rows[head : head + 1], titles[head : head + 1]
    elif len(rows) > 1:
        rows, titles = np.concatenate([rows, rows.mean(axis=0, keepdims=True)]), [*titles, "mean of the heads"]
    return token, key_boxes(grid, config, stage), rows, titles


@picture
def attention(photo, trace, config, *, stage=0, block=0, head=None, pixel=None):
    """One token's attention in one block: every head and their mean, the keys as boxes over the photo.

    photo  (H, W, 3), see `photo_of`; trace of `forward`, whose first picture is drawn
    head   which one; None: all of them and their mean
    pixel  (y, x) in the photo: the token there asks. None: the middle
    """
    token, boxes, rows, titles = _read(trace, config, stage, block, head, middle(photo, pixel))
    cell, (H, W) = cells_of(config, stage), trace[f"stages.{stage}.grid"]
    h, w = (len(np.unique(boxes[:, side])) for side in (1, 0))
    panels = len(rows) + 1
    columns = panels if panels <= 4 else -(-panels // 2)
    lines = -(-panels // columns)
    side = min(3.4, (WIDEST - 0.9) / columns)
    figure = new_figure(columns * side + 0.9, lines * (side * photo.shape[0] / photo.shape[1] + 0.35) + 0.65)
    axes = figure.subplots(lines, columns, squeeze=False)
    show_photo(axes[0, 0], photo)
    mark_query(axes[0, 0], token, cell)
    axes[0, 0].set_title("who asks")
    for panel, weights, title in zip(axes.flat[1:], rows, titles, strict=False):
        drawn = shade(panel, photo, boxes, weights, rows.max())
        mark_query(panel, token, cell)
        panel.set_title(title)
    for panel in axes.flat[panels:]:
        panel.set_visible(False)
    figure.suptitle(f"stage {stage}, block {check_block(config, stage, block)}: token ({token[0]}, {token[1]}) of "
                    f"{times(H, W)} asks {times(h, w)} keys")  # fmt: skip
    scale_bar(figure, drawn, axes, "attention probability")
    return figure


@picture
def attention_stages(photo, trace, config, *, block=-1, pixel=None):
    """The same place asks in all stages: the mean over the heads, side by side.

    block  which one in every stage; negative ones count from the last. The rest as in `attention`.
    """
    pixel = middle(photo, pixel)
    stages = range(config.num_encoder_blocks)
    read = [_read(trace, config, i, block, None, pixel) for i in stages]
    side = min(3.2, (WIDEST - 0.8) / len(read))
    figure = new_figure(side * len(read) + 0.8, side * photo.shape[0] / photo.shape[1] + 1.2)
    panels = figure.subplots(1, len(read), squeeze=False)[0]
    largest = max(rows[-1].max() for _, _, rows, _ in read)
    for i, panel, (token, boxes, rows, _) in zip(stages, panels, read, strict=True):
        drawn = shade(panel, photo, boxes, rows[-1], largest)
        mark_query(panel, token, cells_of(config, i))
        j = check_block(config, i, block)
        N, M = trace[f"stages.{i}.blocks.{j}.attn.probs"].shape[-2:]
        without = "\n(class token not shown)" if len(boxes) < M else ""
        panel.set_title(f"stage {i}, block {j}\n{times(N, M)} scores{without}")
    figure.suptitle("the same place asks in every stage (mean of the heads)")
    scale_bar(figure, drawn, panels, "attention probability")
    return figure


@picture
def class_attention(photo, trace, config):
    """What v1's class token reads in each block of the last stage: a row a block, a column a head, and the mean."""
    stage = config.num_encoder_blocks - 1
    if config.model_type != "pvt":
        raise ValueError("this model has no class token; expected PVT v1 (v2 averages its tokens instead)")
    depth = config.depths[stage]
    tables = [trace[f"stages.{stage}.blocks.{j}.attn.probs"][0, :, 0] for j in range(depth)]
    heads = len(tables[0])
    boxes = key_boxes(trace[f"stages.{stage}.grid"], config, stage)
    side = min(2.4, (WIDEST - 0.9) / (heads + 1))
    figure = new_figure((heads + 1) * side + 0.9, depth * (side * photo.shape[0] / photo.shape[1] + 0.6) + 0.6)
    axes = figure.subplots(depth, heads + 1, squeeze=False)
    largest = max(table[:, 1:].max() for table in tables)
    for j, table in enumerate(tables):
        for h, panel in enumerate(axes[j]):
            weights = table.mean(axis=0) if h == heads else table[h]
            drawn = shade(panel, photo, boxes, weights[1:], largest)
            panel.set_title(f"{'mean' if h == heads else f'head {h}'}\nitself {weights[0]:.2f}", fontsize=10)
        axes[j, 0].set_ylabel(f"block {j}")
    H, W = trace[f"stages.{stage}.grid"]
    figure.suptitle(f"what the class token reads in stage {stage}: itself and {times(H, W)} tokens")
    scale_bar(figure, drawn, axes, "attention probability")
    return figure


@picture
def statistics(trace, config):
    """Entropy and mean attention distance of every head of every block, and what a head that looks everywhere has."""
    found = head_statistics(trace, config)
    layers = list(dict.fromkeys((s.stage, s.block) for s in found))
    figure = new_figure(11, 4.2, "how widely and how far each head looks (one dot a head, mean over all queries)")
    left, right = figure.subplots(1, 2)
    for axes, name, label in ((left, "entropy", "entropy in bits"), (right, "distance", "mean distance in pixels")):
        for i in range(config.num_encoder_blocks):
            mine = [s for s in found if s.stage == i]
            places = [layers.index((s.stage, s.block)) for s in mine]
            look = {"color": STAGE_COLOURS[i % 4], "alpha": 0.8, "markersize": 8, "label": f"stage {i}"}
            axes.plot(places, [getattr(s, name) for s in mine], MARKERS[i % 4], clip_on=False, **look)
        level = [next(getattr(s, f"uniform_{name}") for s in found if (s.stage, s.block) == layer) for layer in layers]
        axes.plot(level, "--", color=GREY, linewidth=1.2, drawstyle="steps-mid", label="looks everywhere alike")
        axes.set(xticks=range(len(layers)), xlabel="stage.block", ylabel=label, ylim=(0, None))
        axes.set_xticklabels([f"{i}.{j}" for i, j in layers], rotation=90 if len(layers) > 16 else 0)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure
