"""Fine-tuning in a few lines of Python: the command `train --model` without its files."""

from ..checkpoints.checkpoint import Model, load_model
from ..fast import threads as so_many_threads
from ..model import forward
from . import assess, loop, report, start


def finetune(photos, model=None, *, threads=None, say=print, **settings):
    """A Model for the classes of `photos`, a folder with one sub-folder of pictures a class, taught from `model`.

    model     a Model, or what `load_model` takes; None: the v2 that ships
    threads   that compute; None: as many as this process has cores
    say       receives what happens, a line at a time; `str` for silence
    settings  freeze="head-only" or "stages=1,2"; validation, a folder, or split=0.2, to measure with; image_size,
              drop_path, epochs, rate, batch and all that `training.state.Settings` has

    Raises ValueError, FileNotFoundError with one sentence.
    """
    source = model.origin.get("source", "a model") if isinstance(model, Model) else model
    learned = model if isinstance(model, Model) else load_model(model)
    with so_many_threads(threads):
        training, task = start.begin(str(photos), learned, model=str(source or "the model that ships"), **settings)
        for line in report.opening(training, task):
            say(line)
        loop.train(training, task, after_epoch=lambda now: say(report.epoch_line(now.history[-1])))
        tuned = start.trained(training, task)
        if task.validation is not None:
            pixels, labels = task.validation
            say(assess.as_text(forward(pixels, tuned.params, tuned.config).logits, labels, tuned.labels))
    return tuned
