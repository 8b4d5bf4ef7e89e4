"""What a training leaves for people to read: one line an epoch, the same as a CSV file, and a picture of the curves."""

import csv
import io

from ..files import atomic_file

COLUMNS = ("epoch", "step", "seconds", "learning_rate", "train_loss", "train_accuracy", "val_loss", "val_accuracy")


def epoch_line(row, images_per_second):
    """One finished epoch in one line.

    >>> epoch_line({"epoch": 3, "train_loss": 1.2345, "train_accuracy": 0.5, "val_accuracy": 0.625}, 100.4)
    'epoch   3  loss 1.234  right 50.0 %  validation 62.5 %  100 images/s'
    """
    measured = f"  validation {row['val_accuracy']:.1%}".replace("%", " %") if "val_accuracy" in row else ""
    right = f"{row['train_accuracy']:.1%}".replace("%", " %")
    speed = f"{images_per_second:.0f} images/s"
    return f"epoch {row['epoch']:3d}  loss {row['train_loss']:.3f}  right {right}{measured}  {speed}"


def write_csv(path, history):
    """The history as a table; a column is empty where an epoch was not measured."""
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n", extrasaction="ignore")
    table.writeheader()
    table.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in history)
    with atomic_file(path) as file:
        file.write(text.getvalue().encode())


def draw_curve(path, history):
    """Loss and accuracy over the epochs, as a PNG; needs matplotlib."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, what in ((left, "loss"), (right, "accuracy")):
        for kind, label in (("train", "training, augmented"), ("val", "validation, averaged weights")):
            points = [(row["epoch"], row[f"{kind}_{what}"]) for row in history if f"{kind}_{what}" in row]
            if points:
                axes.plot(*zip(*points, strict=True), label=label, marker="." if len(points) < 30 else None)
        axes.set_xlabel("epoch")
        axes.set_title(what)
        axes.grid(alpha=0.3)
    right.legend()
    with atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=110)
