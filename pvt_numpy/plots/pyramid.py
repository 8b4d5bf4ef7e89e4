"""The pyramid: a picture and its four stages drawn to scale, then each stage large, channels turned into colours."""

import numpy as np

from .figures import drawing, new_figure
from .style import GREY, STAGE_COLOURS, WIDEST, bare, times
from .words import listed, told


def pca_colours(features):
    """A map (C, H, W) as colours (H, W, 3) from 0 to 1: its three strongest directions as red, green and blue.

    Each direction is turned so that its heavier tail is bright, and stretched from its 1st to its 99th percentile.
    Nothing but nearness has a meaning: tokens of like colour have like features.
    """
    C, H, W = features.shape
    x = features.reshape(C, -1).T.astype(np.float64)
    x = x - x.mean(axis=0)
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    y = np.zeros((H * W, 3))
    kept = min(3, len(s))
    y[:, :kept] = u[:, :kept] * s[:kept]
    y *= np.where((y**3).sum(axis=0) < 0, -1, 1)
    low, high = np.percentile(y, [1, 99], axis=0)
    return np.clip((y - low) / np.where(high > low, high - low, 1), 0, 1).reshape(H, W, 3)


@drawing
def pyramid(photo, maps, channels=3):
    """The photo and every stage's map, once in true proportion (a token as wide as a pixel) and once enlarged.

    photo  (H, W, 3) from 0 to 1, see `photo_of`
    maps   one (B, C, H, W) a stage, the first picture is drawn: `pyramid(…)`'s result or the trace's `stages.{i}`
    channels  that the model reads of the picture, for the words below it
    """
    H, W = photo.shape[:2]
    gap, width = 0.09 * W, 0.52 * W  # between the columns; of an enlarged map
    tall = width * H / W
    foot = H - tall - 0.12 * H  # the true maps stand on one line
    total = W + len(maps) * (gap + width)
    figure = new_figure(WIDEST, WIDEST * H / total + 0.85)
    axes = figure.add_subplot()
    bare(axes)
    axes.imshow(photo, extent=(0, W, H, 0), interpolation="antialiased")
    caption = {"xycoords": "data", "textcoords": "offset points", "xytext": (0, -6), "ha": "center", "va": "top"}
    axes.annotate(f"picture\n{times(H, W)} pixels × {channels}", (W / 2, H), **caption)
    for i, features in enumerate(maps):
        C, h, w = features.shape[1:]
        colours, frame = pca_colours(features[0]), STAGE_COLOURS[i % 4]
        left = W + gap + i * (width + gap)
        middle = left + width / 2
        true = (middle - w / 2, middle + w / 2, foot, foot - h)
        large = (left, left + width, H, H - tall)
        for side in (0, 1):
            axes.plot([true[side], large[side]], [foot, H - tall], color=frame, linewidth=0.8, alpha=0.6)
        for x0, x1, y1, y0 in (true, large):
            axes.imshow(colours, extent=(x0, x1, y1, y0))
            axes.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color=frame, linewidth=1.5)
        axes.annotate(f"stage {i + 1}\n{times(h, w)} tokens × {C}", (middle, H), **caption)
    note = "above: to scale, a token as wide as a pixel; below: enlarged. Like colours, like features (PCA)"
    axes.annotate(note, (W + gap, H), **caption | {"xytext": (0, -46), "ha": "left"}, color=GREY, fontsize=10)
    axes.set(xlim=(-2, total + 2), ylim=(H + 1, -2), aspect="equal", anchor="N")
    sizes = [f"stage {i + 1} {times(h, w)} tokens × {C}" for i, (_, C, h, w) in enumerate(m.shape for m in maps)]
    shapes = f": {listed(sizes)}" if sizes else ""
    return figure, told(f"a picture of {times(H, W)} pixels × {channels} and its maps, to scale and enlarged{shapes}")
