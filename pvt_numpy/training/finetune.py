"""Fine-tuning in a few lines of Python: the command `train --model` without its files."""

from ..checkpoints.checkpoint import Model, load_model
from . import assess, loop, report, start


def finetune(photos, model=None, *, threads=2, say=print, **settings):
    """A Model for the classes of `photos`, a folder with one sub-folder of pictures a class, taught from `model`.

    model     a Model, or what `load_model` takes; None: the v2 that ships
    say       receives what happens, a line at a time; `str` for silence
    settings  freeze="head-only" or "stages=1,2"; validation, a folder, or split=0.2, to measure with; image_size,
              drop_path, epochs, rate, batch and all that `training.state.Settings` has

    Raises ValueError, FileNotFoundError with one sentence.
    """
    source = model.origin.get("source", "a model") if isinstance(model, Model) else model
    learned = model if isinstance(model, Model) else load_model(model)
    training, task = start.begin(
        str(photos), learned, threads=threads, model=str(source or "the model that ships"), **settings
    )
    for line in report.opening(training, task):
        say(line)
    loop.train(training, task, threads, after_epoch=lambda now: say(report.epoch_line(now.history[-1])))
    tuned = start.trained(training, task)
    if task.validation is not None:
        pixels, labels = task.validation
        logits = assess.logits_of(tuned, pixels, threads, loop.at_a_time(training.settings))
        say(assess.as_text(logits, labels, tuned.labels))
    return tuned
