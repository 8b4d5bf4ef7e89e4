"""The numerical difference to PyTorch, layer by layer."""

import numpy as np

from ..analysis.observe import place
from .figures import drawing, new_figure
from .style import BLUE, GREEN, GREY, MARKERS, RED, WIDEST
from .words import told

FLOOR = 1e-18  # an exact zero is drawn here, for a logarithm has none
COLOURS = (BLUE, RED, GREEN)
ROOM = 24  # names that fit beside each other under the axis


@drawing
def difference(lines, *, title="difference to PyTorch, layer by layer"):
    """One line for each kind of arithmetic: the largest difference of a layer over its largest number.

    lines  label -> list of `Difference`, all over the same names, in the order of the computation
    """
    lines = {label: {row.name: row.relative for row in rows} for label, rows in lines.items()}
    if len(lines) > len(COLOURS):
        raise ValueError(f"lines: found {len(lines)}; expected at most {len(COLOURS)}, each in a colour of its own")
    names = list(next(iter(lines.values())))
    figure = new_figure(WIDEST, 4.6, title)
    axes, said = figure.subplots(), []
    for (label, values), colour, marker in zip(lines.items(), COLOURS, MARKERS, strict=False):
        if list(values) != names:
            raise ValueError(f"{label}: found other layers than the first line's; expected the same, in the same order")
        heights = np.maximum([values[name] for name in names], FLOOR)
        worst = max(values, key=values.get)
        text = f"{label}\nlargest {values[worst]:.0e}:\n{worst}"
        axes.semilogy(heights, marker=marker, markersize=4, linewidth=1, color=colour, label=text)
        said.append(f"{label}: largest {values[worst]:.0e}, at {worst}")
    groups = {}  # the arrays of each place: a block, what is in a stage but in no block, what is in no stage
    for k, name in enumerate(names):
        groups.setdefault(place(name), []).append(k)
    starts = {}
    for where, inside in groups.items():
        starts.setdefault(where.split(",")[0] or "answer", inside[0])
    for stage, start in starts.items():
        axes.axvline(start - 0.5, color="#DDDDDD", linewidth=0.8, zorder=0)
        axes.annotate(stage, (start, 1), xycoords=axes.get_xaxis_transform(), xytext=(0, 3),
                      textcoords="offset points", color=GREY, fontsize=9)  # fmt: skip
    blocks = [(where.split(" ")[-1], np.mean(inside)) for where, inside in groups.items() if ", " in where]
    blocks = [(number, at) for number, at in blocks if len(blocks) <= ROOM or number == "1" or int(number) % 5 == 0]
    axes.set_xticks([at for _, at in blocks], [number for number, _ in blocks])
    axes.set(xlim=(-0.5, len(names) - 0.5), ylabel="largest difference, relative",
             xlabel="block (the arrays of the trace in the order in which they are computed)")  # fmt: skip
    axes.grid(axis="y", color="#EEEEEE")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), labelspacing=1.2, fontsize=9)
    return figure, told(title, f"{len(names)} arrays", *said)
