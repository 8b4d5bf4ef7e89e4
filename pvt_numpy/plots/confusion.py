"""Which classes are taken for which."""

import numpy as np

from .figures import drawing, new_figure
from .words import listed, told

MOST_NAMED = 30  # with more classes, names and counts would be too small to read


@drawing
def confusion(counts, names, *, model=""):
    """The confusion matrix: a row per true class, coloured by share of the row, with the counts in it.

    counts  (classes, classes), whole numbers: row the truth, column the prediction;  names: one a class
    model   what it is called, for the title
    """
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(4.0, min(20.0, 0.55 * len(names)))
    right, total = int(np.trace(counts)), int(np.sum(counts))
    said = f"{right} of {total} pictures right ({right / max(total, 1):.1%})"
    figure = new_figure(side + 1.5, side + 0.5)
    figure.suptitle(f"{model}\n{said}" if model else said, parse_math=False)
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
    wrong = np.where(np.eye(len(names), dtype=bool), 0, counts)
    places = [np.unravel_index(n, wrong.shape) for n in np.argsort(-wrong, axis=None, kind="stable")[:3]]
    most = [f"{names[i]} taken for {names[j]} ({wrong[i, j]})" for i, j in places if wrong[i, j]]
    mistakes = f"most frequent mistakes: {listed(most)}" if most else "no mistakes"
    return figure, told(f"confusion matrix of {model or 'a model'}, {len(names)} classes", said, mistakes)
