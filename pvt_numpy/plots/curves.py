"""How a training went."""

from .figures import drawing, new_figure
from .style import BLUE, ORANGE
from .words import course, told

MEASURED_ON = {"train": ("training, augmented", BLUE), "val": ("validation, averaged weights", ORANGE)}


@drawing
def curves(history):
    """Loss and accuracy over the epochs, from a training's `history`: one dict an epoch, as in its log.csv."""
    from matplotlib.ticker import MaxNLocator

    figure, said = new_figure(9, 3.4), []
    for axes, what in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for data, (label, colour) in MEASURED_ON.items():
            points = [(row["epoch"], row[f"{data}_{what}"]) for row in history if f"{data}_{what}" in row]
            if points:
                marker = "." if len(points) < 30 else None
                axes.plot(*zip(*points, strict=True), label=label, color=colour, marker=marker)
                said.append(f"{what} in {label}: {course(*zip(*points, strict=True))}")
        axes.set(xlabel="epoch", title=what)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))  # whole epochs
        axes.grid(alpha=0.3)
    axes.legend()
    return figure, told(f"loss and accuracy of {len(history)} epochs", *said)
