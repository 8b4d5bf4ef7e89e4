"""What a training leaves for people to read: one line an epoch, and the same as a CSV file."""

import csv
import io

from ..system.files import atomic_file

COLUMNS = ("epoch", "step", "seconds", "learning_rate", "train_loss", "train_accuracy", "val_loss", "val_accuracy")
FEW, UNEVEN = 10, 3  # pictures of a class; how many times as many another may have


def opening(training, task):
    """What is about to happen, in lines."""
    yield settings_line(training.settings, training.config)
    known, count = training.start.get("known"), len(task.labels)
    if known is not None:
        yield f"head: {known} of {count} classes are known to the model by name and kept" + (
            "; the others are drawn" * (known < count)
        )
    yield from (f"note: {line}" for line in remarks(training.settings, task))


def settings_line(settings, config):
    """What the training does, in one line: how much, and what differs by use or is switched on."""
    use = "from nothing" if settings.model is None else f"from {settings.model}"
    learns = {None: "", "head-only": ", the head alone learns"}.get(settings.freeze, f", without {settings.freeze}")
    pieces = {"drop path": config.drop_path_rate, "label smoothing": settings.smoothing, "mixup": settings.mixup,
              "CutMix": settings.cutmix, "erasing": settings.erasing}  # fmt: skip
    pieces |= {"averaging": settings.averaging}
    used = "".join(f", {name} {value:g}" for name, value in pieces.items() if value)
    used += f", crops from {settings.smallest_crop:g}" * (settings.data != "shapes")
    length = f"{settings.epochs} epochs" + (f" or {settings.minutes:g} minutes" if settings.minutes else "")
    return (f"{use}{learns}: {config.image_hw[0]} x {config.image_hw[1]} pixels, {length}, batches of "
            f"{settings.batch}, learning rate {settings.rate:g}{used}")  # fmt: skip


def remarks(settings, task):
    """What the pictures lack, and what to do about it: one line each."""
    if not task.counts:
        return
    names = sorted(range(len(task.labels)), key=lambda n: task.counts[n])
    (least, few), (most, many) = ((task.labels[n], task.counts[n]) for n in (names[0], names[-1]))
    if few < FEW:
        other = ", or let the head of a model learn alone (--model SOURCE --freeze head-only), which needs fewest"
        yield (f"{least}: found {few} picture{'s' * (few > 1)} to learn from; expected {FEW} or more: add some"
               + other * (settings.freeze != "head-only"))  # fmt: skip
    if many > UNEVEN * few:
        yield (f"{most}: found {many} pictures, and of {least} {few}; expected at most {UNEVEN} times as many, or the "
               f"model leans to {most}: add pictures of {least}, or take some of {most} away")  # fmt: skip
    if task.validation is None:
        yield ("--val: found nothing to measure with; expected pictures that are not learnt from: name a folder, or "
               "keep a part of these back with --val-split 0.2 (in Python split=0.2)")  # fmt: skip


def epoch_line(row, pictures_per_second=None):
    """One finished epoch in one line.

    >>> epoch_line({"epoch": 3, "train_loss": 1.2345, "train_accuracy": 0.5, "val_accuracy": 0.625}, 100.4)
    'epoch   3  loss 1.234  right 50.0 %  validation 62.5 %  100 pictures/s'
    """
    if row["epoch"] == 0:
        return f"before it  validation {100 * row['val_accuracy']:.1f} %"
    right = f"right {100 * row['train_accuracy']:.1f} %"
    if "val_accuracy" in row:
        right += f"  validation {100 * row['val_accuracy']:.1f} %"
    speed = "" if pictures_per_second is None else f"  {pictures_per_second:.0f} pictures/s"
    return f"epoch {row['epoch']:3d}  loss {row['train_loss']:.3f}  {right}{speed}"


def as_csv(history, columns=tuple(c for c in COLUMNS if c != "seconds")):
    """The history as a table; a column is empty if the epoch was not measured. Without the clock: the same training,
    the same text."""
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    table.writeheader()
    table.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in history)
    return text.getvalue()


def write_csv(path, history):
    """The history as a file, with the clock."""
    with atomic_file(path) as file:
        file.write(as_csv(history, COLUMNS).encode())
