"""How all figures look: colours, fonts, colour maps, a bar that explains them. The colours are Okabe and Ito's, which
colour-blind readers can tell apart."""

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


def times(*sizes):
    """Sizes as they are read: times(56, 56) -> '56 × 56'."""
    return " × ".join(f"{n:,}".replace(",", "\N{NARROW NO-BREAK SPACE}") if n > 9999 else str(n) for n in sizes)
