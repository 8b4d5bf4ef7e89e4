"""The numerical difference to PyTorch, layer by layer."""

import numpy as np

from ..analysis.observe import place
from .figures import drawing, new_figure
from .style import BLUE, GREEN, GREY, MARKERS, RED, WIDEST

FLOOR = 1e-18  # an exact zero is drawn here, for a logarithm has none


@drawing
def difference(lines, *, title="difference to PyTorch, layer by layer"):
    """One line for each kind of arithmetic: the largest difference of a layer over its largest number.

    lines  label -> list of `Difference`, all over the same names, in the order of the computation
    """
    lines = {label: {row.name: row.relative for row in rows} for label, rows in lines.items()}
    names = list(next(iter(lines.values())))
    figure = new_figure(WIDEST, 4.6, title)
    axes = figure.subplots()
    for (label, values), colour, marker in zip(lines.items(), (BLUE, RED, GREEN), MARKERS, strict=False):
        if list(values) != names:
            raise ValueError(f"{label}: found other layers than the first line's; expected the same, in the same order")
        heights = np.maximum([values[name] for name in names], FLOOR)
        axes.semilogy(heights, marker=marker, markersize=4, linewidth=1, color=colour, label=label)
    stages = [".".join(name.split(".")[:2]) for name in names]
    for start, stage in enumerate(stages):
        if start == 0 or stage != stages[start - 1]:
            axes.axvline(start - 0.5, color="#DDDDDD", linewidth=0.8, zorder=0)
            axes.annotate(place(stage), (start, 1), xycoords=axes.get_xaxis_transform(), xytext=(0, 3),
                          textcoords="offset points", color=GREY, fontsize=9)  # fmt: skip
    axes.set(xlim=(-0.5, len(names) - 0.5), ylabel="largest difference, relative")
    axes.set_xlabel("arrays of the trace, without “stages.” and “blocks.”; their names count from 0")
    ticks = range(0, len(names), max(1, len(names) // 48))
    short = [names[k].replace("stages.", "").replace("blocks.", "") for k in ticks]
    axes.set_xticks(ticks, short, rotation=90, fontsize=8, family="monospace")
    axes.grid(axis="y", color="#EEEEEE")
    axes.tick_params(axis="x", color=GREY, length=2)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
