"""What all pictures share: colours, fonts, the photo under a map, a query's mark, and how a Figure becomes a file.

Colours are Okabe and Ito's, which colour-blind readers can tell apart. Figures are made without pyplot: no display,
no global state, nothing to close.
"""

import functools
import io
from pathlib import Path

import numpy as np

from ..analysis.rollout import cell_sizes
from ..pictures.recipes import IMAGENET_MEAN, IMAGENET_STD
from ..system.files import atomic_file

BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#5A5A5A"
STAGE_COLOURS = (BLUE, GREEN, ORANGE, PURPLE)
MARKERS = "osD^"
WIDEST = 11.0  # inches: a notebook's column shows so much without shrinking the words
STYLE = {
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 11, "axes.titlesize": 11,
    "axes.labelsize": 11, "figure.titlesize": 14, "legend.fontsize": 10, "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": GREY, "axes.grid": False,
    "xtick.color": GREY, "ytick.color": GREY, "figure.facecolor": "white", "axes.facecolor": "white",
    "text.usetex": False, "image.interpolation": "nearest", "image.origin": "upper", "savefig.bbox": "tight",
    "savefig.pad_inches": 0.1,
}  # fmt: skip


def picture(draw):
    """Decorates a function that draws: our style applies whatever the reader's own is, and notebooks show the Figure.

    A notebook asks any object for `_repr_mimebundle_`; a Figure that pyplot has not made has no answer of its own.
    """

    @functools.wraps(draw)
    def styled(*args, **options):
        import matplotlib

        with matplotlib.rc_context(STYLE):
            figure = draw(*args, **options)
            figure._repr_mimebundle_ = functools.partial(for_notebook, figure)
        return figure

    return styled


def new_figure(width, height, title=None):
    """An empty Figure of so many inches, at 100 dots per inch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    if title:
        figure.suptitle(title)
    return figure


def as_bytes(figure, kind="png", dpi=None):
    """The Figure as the bytes of a file. No date or version goes in, so equal pictures are equal files."""
    import matplotlib

    options = {"jpeg": {"pil_kwargs": {"quality": 90, "subsampling": 0}}, "png": {"metadata": {"Software": None}}}
    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format=kind, dpi=dpi or figure.dpi, **options.get(kind, {}))
    return buffer.getvalue()


def for_notebook(figure, **_):
    """What a notebook keeps: PNG, or JPEG where that is smaller, as it is for photos."""
    kinds = {f"image/{kind}": as_bytes(figure, kind) for kind in ("png", "jpeg")}
    smaller = min(kinds, key=lambda kind: len(kinds[kind]))
    return {smaller: kinds[smaller]}


def photo_of(pixel_values, image_mean=IMAGENET_MEAN, image_std=IMAGENET_STD, do_normalize=True, picture=0, **_):
    """The picture as the model sees it, (H, W, 3) from 0 to 1: normalisation undone.

    pixel_values (B, 3, H, W). The other arguments are those of `preprocess`, so that a model's own can be splatted:
    `photo_of(x, **model.preprocessing)`; what does not matter here is ignored.
    """
    seen = np.moveaxis(pixel_values[picture], 0, -1)
    if do_normalize:
        seen = seen * np.asarray(image_std, seen.dtype) + np.asarray(image_mean, seen.dtype)
    return np.clip(seen, 0, 1)


def show_photo(axes, photo, grey=False):
    """The photo (H, W, 3) in pixel coordinates; `grey`: pale and without colour, so that a map over it stands out."""
    if grey:
        light = photo @ np.array([0.299, 0.587, 0.114], photo.dtype)
        photo = np.repeat((0.45 + 0.55 * light)[..., None], 3, axis=-1)
    H, W = photo.shape[:2]
    bare(axes)
    return axes.imshow(photo, extent=(0, W, H, 0), interpolation="antialiased")


def bare(axes):
    """No ticks and no frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def heat():
    """From transparent to dark red: the photo shows where a map is small."""
    return _ramp([(0.0, ORANGE, 0.0), (0.35, ORANGE, 0.55), (1.0, "#8C1C00", 0.9)], "heat")


def balance():
    """From opaque blue over transparent to opaque red, for maps around a neutral value."""
    return _ramp([(0.0, "#08306B", 0.85), (0.25, BLUE, 0.5), (0.5, "#FFFFFF", 0.0), (0.75, ORANGE, 0.55),
                  (1.0, "#8C1C00", 0.9)], "balance")  # fmt: skip


def similarity():
    """Blue, white, red for -1, 0, 1."""
    return _ramp([(0.0, "#08306B", 1), (0.25, BLUE, 1), (0.5, "#FFFFFF", 1), (0.75, ORANGE, 1), (1.0, "#8C1C00", 1)],
                 "similarity")  # fmt: skip


def _ramp(stops, name):
    from matplotlib.colors import LinearSegmentedColormap, to_rgba

    return LinearSegmentedColormap.from_list(name, [(at, to_rgba(colour, alpha)) for at, colour, alpha in stops])


def scale_bar(figure, mappable, axes, label):
    """A colour bar beside `axes`, on white, so that its colours are those over a light photo."""
    bar = figure.colorbar(mappable, ax=axes, shrink=0.75, aspect=25, pad=0.02)
    bar.set_label(label)
    bar.outline.set_visible(False)
    bar.ax.set_facecolor("white")
    return bar


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
        raise ValueError(f"the query is at pixel {pixel[0]},{pixel[1]}; expected row 0 to {H - 1}, "
                         f"column 0 to {W - 1}")  # fmt: skip
    return tuple(pixel)


def mark_query(axes, token, cell):
    """A blue frame around the cell of the token (row, column), on white so that it shows on any ground."""
    from matplotlib.patches import Rectangle

    y, x = (at * cell for at in token)
    for colour, width in (("white", 4.5), (BLUE, 2.5)):
        axes.add_patch(Rectangle((x, y), cell, cell, fill=False, edgecolor=colour, linewidth=width, clip_on=False))
    return axes.patches[-1]


def cells_of(config, stage):
    """How many pixels a token of this stage is wide, and a ValueError where there is no such stage."""
    if not 0 <= stage < config.num_encoder_blocks:
        raise ValueError(f"stage is {stage}; expected 0 to {config.num_encoder_blocks - 1}")
    return cell_sizes(config)[stage]


def check_block(config, stage, block):
    """The number of a block of the stage, negative ones counted from the last, or a ValueError."""
    depth = config.depths[stage]
    if not -depth <= block < depth:
        raise ValueError(f"block is {block}; expected 0 to {depth - 1} in stage {stage}")
    return block % depth


def times(*sizes):
    """Sizes as they are read: times(56, 56) -> '56 × 56'."""
    return " × ".join(f"{n:,}".replace(",", "\N{NARROW NO-BREAK SPACE}") if n > 9999 else str(n) for n in sizes)


def save(figure, path, dpi=150):
    """Writes the Figure as PNG, PDF, SVG or whatever matplotlib makes of the file's suffix; whole or not at all."""
    content = as_bytes(figure, file_kind(path), dpi)
    with atomic_file(path) as file:
        file.write(content)


def file_kind(path):
    """What `save` will make of the file's suffix, such as "png"; ValueError where matplotlib makes nothing of it."""
    kind, known = Path(path).suffix.lower().lstrip("."), new_figure(1, 1).canvas.get_supported_filetypes()
    if kind not in known:
        raise ValueError(f"{path}: a picture cannot be written as {kind or 'a file without a suffix'!r}; "
                         f"expected one of {', '.join(sorted(known))}")  # fmt: skip
    return kind
