"""Any maps over the photo, one beside the other: what a reader has computed and wants to see."""

import numpy as np

from .figures import drawing
from .photo import mark_query, panels, show_photo
from .style import balance, bare, heat, scale_bar, times
from .words import highest, short, told


@drawing
def overlay(photo, maps, *, label, signed=False, marked=None):
    """Each map (H, W) stretched over the whole photo, all in one scale.

    maps    title -> (H, W), of any sizes
    label   what the colours are
    signed  False: from 0, transparent, to the largest; True: around a transparent 0, blue below and red above
    marked  (row, column) of a cell to frame in every map, or None
    """
    H, W = photo.shape[:2]
    columns = min(len(maps), 5)
    figure, axes = panels(photo, -(-len(maps) // columns), columns)
    said = []
    largest = max(np.abs(values).max() for values in maps.values()) or 1
    for panel, (title, values) in zip(axes.flat, maps.items(), strict=False):
        show_photo(panel, photo, grey=True)
        drawn = panel.imshow(values, extent=(0, W, H, 0), cmap=balance() if signed else heat(),
                             vmin=-largest if signed else 0, vmax=largest)  # fmt: skip
        panel.set(title=f"{title}\n{times(*values.shape)}", xlim=(0, W), ylim=(H, 0))
        bare(panel)
        lowest = f", lowest {short(values.min())}" if signed else ""
        said.append(f"{title}, {times(*values.shape)}: highest {highest(values, values.shape)}{lowest}")
        if marked is not None:
            mark_query(panel, marked, (H / values.shape[0], W / values.shape[1]))
    for panel in axes.flat[len(maps) :]:
        panel.set_visible(False)
    scale_bar(figure, drawn, axes, label)
    return figure, told(f"over the picture: {label}", *said)
