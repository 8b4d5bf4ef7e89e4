"""What a training leaves for people to read: one line an epoch, and the same as a CSV file."""

import csv
import io

from ..system.files import atomic_file

COLUMNS = ("epoch", "step", "seconds", "learning_rate", "train_loss", "train_accuracy", "val_loss", "val_accuracy")


def epoch_line(row, pictures_per_second):
    """One finished epoch in one line.

    >>> epoch_line({"epoch": 3, "train_loss": 1.2345, "train_accuracy": 0.5, "val_accuracy": 0.625}, 100.4)
    'epoch   3  loss 1.234  right 50.0 %  validation 62.5 %  100 pictures/s'
    """
    right = f"right {100 * row['train_accuracy']:.1f} %"
    if "val_accuracy" in row:
        right += f"  validation {100 * row['val_accuracy']:.1f} %"
    return f"epoch {row['epoch']:3d}  loss {row['train_loss']:.3f}  {right}  {pictures_per_second:.0f} pictures/s"


def write_csv(path, history):
    """The history as a table; a column is empty if the epoch was not measured."""
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n", extrasaction="ignore")
    table.writeheader()
    table.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in history)
    with atomic_file(path) as file:
        file.write(text.getvalue().encode())
