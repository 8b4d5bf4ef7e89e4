"""After a training: how often the model is right, on what, how sure of it, and what it was most surely wrong about."""

import warnings

import numpy as np

from .. import plots
from ..analysis.calibration import calibration_error, wilson_interval
from ..layers.softmax import softmax
from ..system.cli import printable

WORST = 12  # mistakes drawn
TAKEN_FOR = 2  # classes named, for which another is taken most often


def measured(logits, labels):
    """Right answers, in one sentence.

    >>> measured(np.eye(4), np.array([0, 1, 2, 0]))
    'right 75.0 % of 4 pictures (95 % interval: 30.1 to 95.4 %)'
    """
    right = int((logits.argmax(axis=1) == labels).sum())
    low, high = wilson_interval(right, len(labels))
    return (f"right {100 * right / len(labels):.1f} % of {len(labels):,} pictures "
            f"(95 % interval: {100 * low:.1f} to {100 * high:.1f} %)")  # fmt: skip


def as_text(logits, labels, names):
    """The same class by class, with what each is taken for, and whether the model is as sure as it is right."""
    names, confusion = list(map(printable, names)), confusion_of(logits, labels)
    lines = [measured(logits, labels)]
    for k in np.flatnonzero(confusion.any(axis=1)):
        row = confusion[k]
        others = [j for j in np.argsort(-row, kind="stable") if j != k and row[j]][:TAKEN_FOR]
        taken = "   taken for " + ", ".join(f"{names[j]} ({row[j]})" for j in others) if others else ""
        lines.append(f"  {row[k] / row.sum():>7.1%}  {row[k]} of {row.sum()}  {names[k]}{taken}")
    sure = softmax(logits.astype(np.float64)).max(axis=1).mean()
    lines.append(
        f"on average it is sure to {sure:.1%}; expected calibration error {calibration_error(logits, labels):.1%}"
    )
    return "\n".join(lines)


def confusion_of(logits, labels):
    """(classes, classes): row the truth, column the answer."""
    confusion = np.zeros((logits.shape[1],) * 2, int)
    np.add.at(confusion, (labels, logits.argmax(axis=1)), 1)
    return confusion


def worst(logits, labels, count=WORST):
    """The places of the wrong answers that give the truth the least, those first."""
    truth = softmax(logits.astype(np.float64))[np.arange(len(labels)), labels]
    return [n for n in np.argsort(truth, kind="stable") if logits[n].argmax() != labels[n]][:count]


def draw(folder, logits, pixels, labels, model):
    """Writes confusion.png and, if there is a mistake, worst.png; the names of the files."""
    names, probabilities = list(map(printable, model.label_names)), softmax(logits.astype(np.float64))
    figures = {"confusion.png": plots.confusion(confusion_of(logits, labels), names, model="validation pictures")}
    if places := worst(logits, labels):
        photos = [plots.photo_of(pixels, **model.preprocessing, picture=n) for n in places]
        said = [(names[labels[n]], names[logits[n].argmax()], probabilities[n].max()) for n in places]
        figures["worst.png"] = plots.mistakes(
            photos, [f"{truth},\ntaken for {answer} ({p:.0%})" for truth, answer, p in said]
        )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a label in a script that the font lacks is drawn as boxes
        for name, figure in figures.items():
            plots.save(figure, folder / name, dpi=110)
    return list(figures)
