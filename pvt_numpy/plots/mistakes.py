"""The pictures that a model was most surely wrong about."""

import math

from .figures import drawing
from .photo import panels, show_photo
from .words import told

COLUMNS = 4


@drawing
def mistakes(photos, captions):
    """A grid of photos, each (H, W, 3) from 0 to 1, with a caption over each; at least one."""
    columns = min(COLUMNS, len(photos))
    rows = math.ceil(len(photos) / columns)
    figure, axes = panels(photos[0], rows, columns, widest=2.6)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, photo, caption in zip(axes.flat, photos, captions, strict=False):
        show_photo(ax, photo)
        ax.set_title(caption, fontsize=9, parse_math=False)
    return figure, told(f"{len(photos)} pictures", *captions)
