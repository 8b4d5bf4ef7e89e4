"""The photo under the maps: as the model sees it, pale, and marked where a token asks."""

import numpy as np

from ..analysis.rollout import cell_sizes
from ..pictures.processor import rgb_array
from ..pictures.recipes import IMAGENET_MEAN, IMAGENET_STD
from ..system.checks import counted, wrong
from .figures import new_figure
from .style import BLUE, WIDEST, bare


def photo_of(pixel_values, image_mean=IMAGENET_MEAN, image_std=IMAGENET_STD, do_normalize=True, picture=0, **_):
    """The picture as the model sees it, (H, W, 3) from 0 to 1: normalisation undone, grey in three equal channels, and
    what is transparent on white.

    pixel_values (B, 1, 3 or 4, H, W). The other arguments are those of `preprocess`, so that a model's own can
    be splatted: `photo_of(x, **model.preprocessing)`; what does not matter here is ignored.
    """
    seen = np.moveaxis(pixel_values[picture], 0, -1)
    channels = seen.shape[-1]
    if channels not in (1, 3, 4):
        raise wrong("pixel_values", f"pictures of {channels} channels", "1, 3 or 4, which can be shown")
    if do_normalize:
        for name, numbers in (("image_mean", image_mean), ("image_std", image_std)):
            if np.size(numbers) not in (1, channels):
                raise wrong(name, counted(np.size(numbers), "number"), f"{channels}, as pixel_values has channels")
        seen = seen * np.asarray(image_std, seen.dtype) + np.asarray(image_mean, seen.dtype)
    return rgb_array(np.clip(seen, 0, 1), "pixel_values")


def panels(photo, rows, columns, widest=3.2):
    """(Figure, axes (rows, columns)): panels in the photo's proportions, with room for titles and a scale bar."""
    side = min(widest, (WIDEST - 1.3) / columns)
    figure = new_figure(columns * side + 1.3, rows * (side * photo.shape[0] / photo.shape[1] + 0.5) + 0.5)
    return figure, figure.subplots(rows, columns, squeeze=False)


def show_photo(axes, photo, grey=False):
    """The photo (H, W, 3) in pixel coordinates; `grey`: pale and without colour, so that a map over it stands out."""
    if grey:
        light = photo @ np.array([0.299, 0.587, 0.114], photo.dtype)
        photo = np.repeat((0.45 + 0.55 * light)[..., None], 3, axis=-1)
    H, W = photo.shape[:2]
    bare(axes)
    return axes.imshow(photo, extent=(0, W, H, 0), interpolation="antialiased")


def frame(axes, box, colour, linewidth=2, **options):
    """A rectangle around pixels (top, left, bottom, right)."""
    from matplotlib.patches import Rectangle

    top, left, bottom, right = box
    line = {"fill": False, "edgecolor": colour, "linewidth": linewidth} | options
    axes.add_patch(Rectangle((left, top), right - left, bottom - top, **line))


def mark_query(axes, token, cell):
    """A blue frame around the cell of the token (row, column), on white so that it shows on any ground. cell: pixels,
    or (height, width)."""
    height, width = np.broadcast_to(cell, 2)
    y, x = token[0] * height, token[1] * width
    for colour, line in (("white", 4.5), (BLUE, 2.5)):
        frame(axes, (y, x, y + height, x + width), colour, line, clip_on=False)


def token_at(pixel, grid, cell):
    """The token (row, column) of a grid whose cell of `cell` pixels holds the pixel (y, x).

    >>> token_at((112, 223), (7, 7), 32)
    (3, 6)
    """
    return tuple(min(at // cell, n - 1) for at, n in zip(pixel, grid, strict=True))  # v1 drops pixels at the edge


def middle(photo, pixel=None):
    """`pixel` (y, x), checked to lie in the photo, or its middle."""
    H, W = photo.shape[:2]
    if pixel is None:
        return H // 2, W // 2
    if not (0 <= pixel[0] < H and 0 <= pixel[1] < W):
        raise ValueError(f"query: found pixel {pixel[0]},{pixel[1]}; expected row 0 to {H - 1}, column 0 to {W - 1}")
    return tuple(pixel)


def checked(name, index, count, lowest=0, where=""):
    """The index of a stage, a block or a head, negative ones counted from the last; or a ValueError."""
    if not lowest <= index < count:
        raise ValueError(f"{name}: found {index}; expected 0 to {count - 1}{where}")
    return index % count


def telling_stage(config):
    """The third stage if there are so many: its maps are neither as fine as pixels nor a handful of squares."""
    return min(2, config.num_encoder_blocks - 1)


def cells_of(config, stage):
    """How many pixels a token of this stage is wide."""
    return cell_sizes(config)[checked("stage", stage, config.num_encoder_blocks)]
