"""Where a token looks: the keys of SRA as boxes over the photo, heads side by side, stages side by side, statistics."""

import math

import numpy as np

from ..analysis.rollout import cell_sizes, head_statistics, key_blocks
from ..system.checks import wrong
from ..system.paths import SHIPPED_V1
from .figures import drawing, new_figure
from .photo import cells_of, checked, mark_query, middle, panels, show_photo, telling_stage, token_at
from .style import GREY, MARKERS, STAGE_COLOURS, heat, scale_bar, times
from .words import highest, short, span, told

DARK = 4  # times the even share 1 / M: as dark as the scale goes at least, so that what is nearly even looks pale


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


def _bar(figure, drawn, axes, keys):
    """The scale beside the panels, with a mark at 1 / M, which every key has if all are read alike."""
    bar = scale_bar(figure, drawn, axes, "attention probability")
    bar.ax.axhline(1 / keys, color="black", linewidth=1.5)
    bar.ax.annotate(f"1/{keys}", (0, 1 / keys), xycoords=("axes fraction", "data"), xytext=(-3, 0), ha="right",
                    va="center", textcoords="offset points", fontsize=9)  # fmt: skip


def _block(config, stage, block):
    return checked("block", block, config.depths[stage], -config.depths[stage], f" in stages.{stage}")


def _read(trace, config, stage, block, head, pixel):
    """What one query reads: its token (row, column), the boxes of the keys, rows of probs (heads, M), their titles."""
    cell, grid = cells_of(config, stage), trace[f"stages.{stage}.grid"]
    probs = trace[f"stages.{stage}.blocks.{_block(config, stage, block)}.attn.probs"][0]
    token = token_at(pixel, grid, cell)
    class_tokens = probs.shape[1] - grid[0] * grid[1]  # 1 for v1's class token, which is no place in the picture
    rows = probs[:, class_tokens + token[0] * grid[1] + token[1], class_tokens:]
    titles = [f"head {h + 1}" for h in range(len(rows))]
    if head is not None:
        head = checked("head", head, len(rows), where=f" in stages.{stage}")
        rows, titles = rows[[head]], [titles[head]]
    elif len(rows) > 1:
        rows, titles = np.concatenate([rows, rows.mean(axis=0, keepdims=True)]), [*titles, "mean of the heads"]
    return token, key_boxes(grid, config, stage), rows, titles


@drawing
def attention(photo, trace, config, *, stage=None, block=0, head=None, pixel=None):
    """One token's attention in one block: every head and their mean, the keys as boxes over the photo.

    photo  (H, W, 3), see `photo_of`; trace of `forward`, whose first picture is drawn
    stage  None: the third, whose heads differ; the first read nearly all keys alike
    head   which one; None: all of them and their mean
    pixel  (y, x) in the photo: the token there asks. None: the middle
    """
    stage = telling_stage(config) if stage is None else stage
    token, boxes, rows, titles = _read(trace, config, stage, block, head, middle(photo, pixel))
    cell, (H, W) = cells_of(config, stage), trace[f"stages.{stage}.grid"]
    h, w = (len(np.unique(boxes[:, side])) for side in (1, 0))
    count = len(rows) + 1
    columns = count if count <= 4 else -(-count // 2)
    figure, axes = panels(photo, -(-count // columns), columns, 3.4)
    show_photo(axes[0, 0], photo)
    mark_query(axes[0, 0], token, cell)
    axes[0, 0].set_title("who asks")
    for panel, weights, title in zip(axes.flat[1:], rows, titles, strict=False):
        drawn = shade(panel, photo, boxes, weights, max(rows.max(), DARK / len(boxes)))
        mark_query(panel, token, cell)
        panel.set_title(title)
    for panel in axes.flat[count:]:
        panel.set_visible(False)
    said = (f"stage {stage + 1}, block {_block(config, stage, block) + 1}: the token in row {token[0] + 1}, "
            f"column {token[1] + 1} of {times(H, W)} asks {times(h, w)} keys")  # fmt: skip
    figure.suptitle(said)
    _bar(figure, drawn, axes, len(boxes))
    most = [f"{title} reads most {highest(row, (h, w))}" for title, row in zip(titles, rows, strict=True)]
    return figure, told(said, *most, f"If all were read alike, each would have {short(1 / len(boxes))}")


@drawing
def attention_stages(photo, trace, config, *, block=-1, pixel=None):
    """The same place asks in all stages: the mean over the heads, side by side.

    block  which one in every stage; negative ones count from the last. The rest as in `attention`.
    """
    pixel = middle(photo, pixel)
    read = [_read(trace, config, i, block, None, pixel) for i in range(config.num_encoder_blocks)]
    figure, axes = panels(photo, 1, len(read))
    largest = max(max(rows[-1].max(), DARK / len(boxes)) for _, boxes, rows, _ in read)
    said = []
    for i, (panel, (token, boxes, rows, _)) in enumerate(zip(axes[0], read, strict=True)):
        drawn = shade(panel, photo, boxes, rows[-1], largest)
        mark_query(panel, token, cells_of(config, i))
        j = _block(config, i, block)
        N, M = trace[f"stages.{i}.blocks.{j}.attn.probs"].shape[-2:]
        without = "\n(class token not shown)" if len(boxes) < M else ""
        panel.set_title(f"stage {i + 1}, block {j + 1}\n{times(N, M)} scores{without}")
        shape = [len(np.unique(boxes[:, side])) for side in (1, 0)]
        said.append(f"Stage {i + 1}, block {j + 1}, {times(N, M)} scores: {highest(rows[-1], shape)}")
    figure.suptitle("the same place asks in every stage (mean of the heads)")
    if len(counts := {len(boxes) for _, boxes, _, _ in read}) == 1:
        _bar(figure, drawn, axes, *counts)
    else:
        scale_bar(figure, drawn, axes, "attention probability")
    return figure, told("the same place asks in every stage; what it reads most, in the mean of the heads", *said)


@drawing
def class_attention(photo, trace, config):
    """What v1's class token reads in each block of the last stage: a row a block, a column a head, and the mean."""
    if config.model_type != "pvt":
        found = "a PVT v2, which has no class token but averages its tokens"
        raise wrong("model", found, f"PVT v1, such as {SHIPPED_V1}")
    stage = config.num_encoder_blocks - 1
    if trace[f"stages.{stage}.tokens"].shape[1] == math.prod(trace[f"stages.{stage}.grid"]):
        raise wrong("model", "no class token, as in a detector's backbone", f"a classifier, such as {SHIPPED_V1}")
    tables = [trace[f"stages.{stage}.blocks.{j}.attn.probs"][0, :, 0] for j in range(config.depths[stage])]
    boxes = key_boxes(trace[f"stages.{stage}.grid"], config, stage)
    figure, axes = panels(photo, len(tables), len(tables[0]) + 1, 2.4)
    largest = max(DARK / len(tables[0][0]), *(table[:, 1:].max() for table in tables))
    for j, table in enumerate(tables):
        titles = [*(f"head {h + 1}" for h in range(len(table))), "mean"]
        for panel, weights, title in zip(axes[j], [*table, table.mean(axis=0)], titles, strict=True):
            drawn = shade(panel, photo, boxes, weights[1:], largest)
            panel.set_title(f"{title}\nitself {weights[0]:.2f}", fontsize=10)
        axes[j, 0].set_ylabel(f"block {j + 1}")
    H, W = trace[f"stages.{stage}.grid"]
    said = f"what the class token reads in stage {stage + 1}: itself and {times(H, W)} tokens"
    figure.suptitle(said)
    _bar(figure, drawn, axes, 1 + H * W)
    means = [table.mean(axis=0) for table in tables]
    most = [f"block {j + 1}, mean of {len(tables[j])} heads: itself {short(mean[0])}; most {highest(mean[1:], (H, W))}"
            for j, mean in enumerate(means)]  # fmt: skip
    return figure, told(said, *most, f"If all were read alike, each would have {short(1 / (1 + H * W))}")


@drawing
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
            look = {"color": STAGE_COLOURS[i % 4], "alpha": 0.8, "markersize": 8}
            axes.plot(places, [getattr(s, name) for s in mine], MARKERS[i % 4], clip_on=False, **look)
            axes.annotate(f"stage {i + 1}", (np.mean(places), 0), xycoords=axes.get_xaxis_transform(), xytext=(0, -32),
                          textcoords="offset points", ha="center", color=GREY)  # fmt: skip
        level = [next(getattr(s, f"uniform_{name}") for s in found if (s.stage, s.block) == layer) for layer in layers]
        axes.plot(level, "--", color=GREY, linewidth=1.2, drawstyle="steps-mid", label="looks everywhere alike")
        ticks = [n for n, (_, j) in enumerate(layers) if len(layers) <= 16 or j == 0 or (j + 1) % 5 == 0]
        axes.set(xticks=ticks, ylabel=label, ylim=(0, None), xlabel=" \n")  # room for the stages' names
        axes.set_xticklabels([layers[n][1] + 1 for n in ticks])
        axes.annotate("block", (0, 0), xycoords="axes fraction", xytext=(-12, -7), textcoords="offset points",
                      ha="right", va="top", color=GREY)  # fmt: skip
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center")
    said = []
    for i in range(config.num_encoder_blocks):
        mine = [s for s in found if s.stage == i]
        bits, far = ([getattr(s, name) for s in mine] for name in ("entropy", "distance"))
        said.append(f"stage {i + 1}, {len(mine)} heads: entropy {span(bits)} bits, distance {span(far)} pixels; "
                    f"all alike: {short(mine[0].uniform_entropy)} and {short(mine[0].uniform_distance)}")  # fmt: skip
    return figure, told("how widely and how far each head looks, one dot a head, block by block", *said)
