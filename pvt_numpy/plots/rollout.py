"""Pyramid rollout over the photo, from the head back to the first stage."""

import numpy as np

from ..analysis.rollout import has_class_row, pyramid_rollout
from .figures import drawing
from .photo import cells_of, mark_query, middle, panels, show_photo, token_at
from .style import balance, bare, scale_bar, times
from .words import highest, told

RANGE = 4.0  # shares from a quarter to four times the mean have a colour of their own


@drawing
def rollout(photo, trace, config, *, stage=None, pixel=None):
    """The shares of `pyramid_rollout` in every stage, last stage first: red has more than the mean, blue less.

    stage, pixel  the token there, at (y, x), is followed back; a pixel alone: in the last stage; a stage alone: its
                  middle; neither: what the head reads
    """
    from matplotlib.colors import LogNorm

    query = None
    if stage is None and pixel is not None:
        stage = config.num_encoder_blocks - 1
    if stage is not None:
        cell = cells_of(config, stage)
        query = (stage, *token_at(middle(photo, pixel), trace[f"stages.{stage}.grid"], cell))
    maps = pyramid_rollout(trace, config, query=query)
    figure, axes = panels(photo, 1, len(maps) + 1, 2.75)
    first, *others = axes[0]
    show_photo(first, photo)
    first.set_title("picture\n" + times(*photo.shape[:2]))
    if query:
        mark_query(first, query[1:], cell)
    for i, panel in zip(reversed(range(len(maps))), others, strict=True):
        relative = np.clip(maps[i] * maps[i].size, 1 / RANGE, RANGE)
        show_photo(panel, photo, grey=True)
        (H, W), cell = maps[i].shape, cells_of(config, i)
        norm = LogNorm(1 / RANGE, RANGE)
        drawn = panel.imshow(relative, extent=(0, W * cell, H * cell, 0), cmap=balance(), norm=norm)
        panel.set(title=f"entering stage {i + 1}\n{times(H, W)}", xlim=(0, photo.shape[1]), ylim=(photo.shape[0], 0))
        bare(panel)
    read = "the class token" if has_class_row(trace, config.num_encoder_blocks - 1) else "the mean of all tokens"
    place = f"the token in row {query[1] + 1}, column {query[2] + 1} of stage {stage + 1}" if query else read
    figure.suptitle(f"pyramid rollout: attention alone, multiplied back from {place}")
    bar = scale_bar(figure, drawn, axes, "share, times the mean")
    bar.set_ticks([1 / 4, 1 / 2, 1, 2, 4], labels=["¼", "½", "1", "2", "4"])
    bar.minorticks_off()
    most = [f"entering stage {i + 1}, {times(*maps[i].shape)}: {highest(maps[i] * maps[i].size, maps[i].shape)}"
            for i in reversed(range(len(maps)))]  # fmt: skip
    return figure, told(figure.get_suptitle(), "largest shares, as multiples of the mean", *most)
