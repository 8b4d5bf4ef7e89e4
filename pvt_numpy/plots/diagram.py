"""What diagrams are drawn with: boxes, arrows and words that fit, on a sheet measured in inches."""

from .figures import new_figure
from .style import BLUE, GREY, bare, times

SIZE = 11  # points, of the words in a box
LIGHT = 0.14  # how strong a box's ground is in its own colour


def sheet(width, height, title=None):
    """(Figure, axes) of so many inches; y goes up."""
    figure = new_figure(width, height + 0.4 * bool(title))
    figure.set_layout_engine("none")
    axes = figure.add_axes([0, 0, 1, 1])
    bare(axes)
    axes.set(xlim=(0, width), ylim=(0, height + 0.4 * bool(title)))
    if title:
        axes.text(width / 2, height + 0.2, title, ha="center", va="center", fontsize=14)
    return figure, axes


def fitting(text, width, size=SIZE, weight="normal"):
    """The size in points, at most `size`, at which no line of the text is wider than so many inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family="DejaVu Sans", size=72, weight=weight)
    widest = max(text_to_path.get_text_width_height_descent(line, font, False)[0] for line in text.split("\n"))
    return min(size, width * 72 / max(widest / 72, 1e-9))


def write(axes, at, text, width, size=SIZE, colour="black", weight="normal", **options):
    """Text around a place, made smaller if it is too wide."""
    options = {"ha": "center", "va": "center", "linespacing": 1.25} | options
    size = fitting(text, width, size, weight)
    return axes.text(*at, text, color=colour, fontsize=size, weight=weight, parse_math=False, **options)


def box(axes, at, size, name, text="", below="", colour=BLUE, dashed=False):
    """A box of (width, height) around a place: its name, what it does, and below it in grey what comes out."""
    from matplotlib.colors import to_rgba
    from matplotlib.patches import FancyBboxPatch

    (x, y), (width, height) = at, size
    axes.add_patch(FancyBboxPatch((x - width / 2, y - height / 2), width, height, "round,pad=0,rounding_size=0.07",
                                  facecolor=to_rgba(colour, 0 if dashed else LIGHT), edgecolor=colour, linewidth=1.4,
                                  linestyle="--" if dashed else "-", zorder=2))  # fmt: skip
    room = width - 0.09
    if name and text:
        lines = text.count("\n") + 1
        write(axes, (x, y + 0.085 * lines), name, room, weight="bold")
        write(axes, (x, y - 0.11), text, room, 9)
    else:
        write(axes, (x, y), name or text, room, SIZE if name else 10, weight="bold" if name else "normal")
    if below:
        write(axes, (x, y - height / 2 - 0.12), below, width + 0.3, 8.5, GREY)


def arrow(axes, *points, head=True, colour=GREY):
    """A line through the points, with a head at its end."""
    xs, ys = zip(*points, strict=True)
    axes.plot(xs, ys, color=colour, linewidth=1.4, solid_joinstyle="round", zorder=1)
    if head:
        options = {
            "arrowstyle": "-|>",
            "color": colour,
            "shrinkA": 0,
            "shrinkB": 0,
            "mutation_scale": 11,
            "linewidth": 1.4,
        }
        axes.annotate("", points[-1], points[-2], arrowprops=options, zorder=1)


def plus(axes, at):
    """Where a branch is added to what was there. Returns its radius."""
    from matplotlib.patches import Circle

    radius, (x, y) = 0.13, at
    axes.add_patch(Circle(at, radius, facecolor="white", edgecolor=GREY, linewidth=1.4, zorder=2))
    for dx, dy in ((0.07, 0), (0, 0.07)):
        axes.plot([x - dx, x + dx], [y - dy, y + dy], color=GREY, linewidth=1.6, zorder=3)
    return radius


def shape_of(trace, name):
    """An array of the trace without the batch: `3136 × 64`."""
    return times(*trace[name].shape[1:])


def count(number, what):
    """
    >>> count(1, "head"), count(8, "head")
    ('1 head', '8 heads')
    """
    return f"{number} {what}{'s' * (number != 1)}"
