"""Which classes are taken for which."""

import numpy as np

from .figures import drawing, new_figure

MOST_NAMED = 30  # with more classes, names and counts would be too small to read


@drawing
def confusion(counts, names):
    """The confusion matrix: a row per true class, coloured by share of the row, with the counts in it.

    counts  (classes, classes), whole numbers: row the truth, column the prediction;  names: one a class
    """
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(4.0, min(20.0, 0.55 * len(names)))
    figure = new_figure(side + 1.5, side)
    axes = figure.subplots()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if len(names) <= MOST_NAMED:
        plain = {"parse_math": False}  # or $ would begin a formula
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor", **plain)
        axes.set_yticks(range(len(names)), names, **plain)
        for (i, j), count in np.ndenumerate(counts):
            if count:
                axes.text(j, i, count, ha="center", va="center", color="white" if share[i, j] > 0.5 else "black")
    axes.set(xlabel="predicted", ylabel="true")
    figure.colorbar(image, label="share of the true class")
    return figure
