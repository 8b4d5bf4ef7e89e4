"""How a training went."""

from .style import BLUE, ORANGE, new_figure, picture

KINDS = {"train": ("training, augmented", BLUE), "val": ("validation, averaged weights", ORANGE)}


@picture
def curves(history):
    """Loss and accuracy over the epochs, from a training's `history`: one dict an epoch, as in its log.csv."""
    figure = new_figure(9, 3.4)
    for axes, what in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for kind, (label, colour) in KINDS.items():
            points = [(row["epoch"], row[f"{kind}_{what}"]) for row in history if f"{kind}_{what}" in row]
            if points:
                marker = "." if len(points) < 30 else None
                axes.plot(*zip(*points, strict=True), label=label, color=colour, marker=marker)
        axes.set(xlabel="epoch", title=what)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    axes.legend()
    return figure
