"""How a training went."""

from .figures import drawing, new_figure
from .style import BLUE, ORANGE

MEASURED_ON = {"train": ("training, augmented", BLUE), "val": ("validation, averaged weights", ORANGE)}


@drawing
def curves(history):
    """Loss and accuracy over the epochs, from a training's `history`: one dict an epoch, as in its log.csv."""
    figure = new_figure(9, 3.4)
    for axes, what in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for data, (label, colour) in MEASURED_ON.items():
            points = [(row["epoch"], row[f"{data}_{what}"]) for row in history if f"{data}_{what}" in row]
            if points:
                marker = "." if len(points) < 30 else None
                axes.plot(*zip(*points, strict=True), label=label, color=colour, marker=marker)
        axes.set(xlabel="epoch", title=what)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    axes.legend()
    return figure
