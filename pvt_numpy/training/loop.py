"""The loop: a batch, its gradient, a step, a thousand times over.

Every random number is drawn from a generator seeded with (seed, what for, when), so the state of a training needs no
generators, and a resumed one draws what an uninterrupted one would have drawn. Pieces of a batch run side by side in
threads, each NumPy call being free of Python's lock; their gradients are always summed in the same order.
"""

import math
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..gradients import loss_and_gradients
from ..layers.losses import cross_entropy
from ..model import forward
from ..parameters import flatten, unflatten
from ..system.checks import wrong
from .optimizer import adamw_step, clip_by_norm, follow, learning_rate

MEASURED = 4  # times as many pictures at a time as there and back, which takes more memory
ORDER, PICTURES, NOISE = range(3)  # what random numbers are drawn for


def train(state, task, threads=1, stop=lambda: False, after_step=lambda state: None, after_epoch=lambda state: None):
    """Goes on with `state` (which it changes) until the schedule is done, or until `stop()` is true after a step.

    Returns whether the training is complete. Raises ValueError if the loss or a gradient is not finite.
    """
    settings = state.settings
    steps = max(1, task.size // settings.batch)  # an epoch; the pictures left over wait for the next shuffle
    with ThreadPoolExecutor(threads) as pool:
        while (progress := progress_of(state, steps)) < 1:
            started = time.perf_counter()
            rate = learning_rate(progress, settings.rate, settings.warmup)
            epoch, place = divmod(state.step, steps)
            order = np.random.default_rng([settings.seed, ORDER, epoch]).permutation(task.size)
            indices = order[place * settings.batch : (place + 1) * settings.batch]
            pixels, labels = task.batch(indices, np.random.default_rng([settings.seed, PICTURES, state.step]))
            loss, right = step(state, pixels, labels, rate, pool)
            for k, value in enumerate((loss * len(labels), right, len(labels))):
                state.sums[k] += value
            state.seconds += time.perf_counter() - started
            after_step(state)
            if place == steps - 1:
                finish_epoch(state, task, steps, pool)
                after_epoch(state)
            if stop() and progress_of(state, steps) < 1:
                return False
        if state.sums[2]:  # the clock ended the last epoch early
            finish_epoch(state, task, steps, pool)
            after_epoch(state)
    return True


def progress_of(state, steps):
    """How far the training is, 0 to 1: by steps, or with a time limit by whichever is further."""
    settings = state.settings
    by_steps = state.step / (settings.epochs * steps)
    return by_steps if settings.minutes is None else max(by_steps, state.seconds / (60 * settings.minutes))


def step(state, pixels, labels, rate, pool):
    """One AdamW step on one batch; returns the loss and how many answers were right."""
    settings, params = state.settings, state.arrays["params"]
    pieces = math.ceil(len(labels) / settings.microbatch)
    cuts = [slice(len(labels) * k // pieces, len(labels) * (k + 1) // pieces) for k in range(pieces)]
    nested = unflatten(params)

    def piece(k):
        seed = settings.seed, NOISE, state.step, k
        with np.errstate(all="ignore"):  # what is not finite is reported below, in words
            loss, logits, grads = loss_and_gradients(pixels[cuts[k]], nested, state.config, labels[cuts[k]],
                                                     settings.smoothing, seed)  # fmt: skip
        return float(loss), int((logits.argmax(axis=-1) == labels[cuts[k]]).sum()), flatten(grads)

    results = list(pool.map(piece, range(pieces)))
    shares = [(cut.stop - cut.start) / len(labels) for cut in cuts]
    grads = {name: sum(g[name] * share for (_, _, g), share in zip(results, shares, strict=True)) for name in params}
    loss = sum(piece_loss * share for (piece_loss, _, _), share in zip(results, shares, strict=True))
    norm = clip_by_norm(grads, settings.clip)
    if not math.isfinite(loss) or not math.isfinite(norm):
        found = f"NaN or infinity, first in {first_not_finite(pixels, nested, state.config, grads)}"
        raise wrong(f"step {state.step + 1}", found, "finite numbers (a lower learning rate may help)")
    state.step += 1
    adamw_step(params, grads, state.arrays["means"], state.arrays["squares"], state.step, rate, settings.decay)
    follow(state.arrays["average"], params, state.step, settings.averaging)
    return loss, sum(right for _, right, _ in results)


def first_not_finite(pixels, nested, config, grads):
    """The first array with NaN or infinity, in words: of the parameters, of the way forward or of the way back."""
    trace = {}
    with np.errstate(all="ignore"):
        forward(pixels, nested, config, trace=trace)
    back = {name: grads[name] for name in reversed(list(grads))}
    for what, arrays in (("the parameter", flatten(nested)), ("the output of", trace), ("the gradient of", back)):
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                return f"{what} {name}"
    return "the loss"


def finish_epoch(state, task, steps, pool):
    """Adds the epoch to the history, measured if that is due."""
    settings, (loss, right, pictures) = state.settings, state.sums
    epoch, progress = math.ceil(state.step / steps), progress_of(state, steps)
    rate, last = learning_rate(progress, settings.rate, settings.warmup), progress >= 1
    row = {"epoch": epoch, "step": state.step, "seconds": round(state.seconds, 1), "learning_rate": rate,
           "train_loss": loss / pictures, "train_accuracy": right / pictures}  # fmt: skip
    if task.validation is not None and (last or epoch % settings.measure_every == 0):
        row["val_loss"], row["val_accuracy"] = measure(state.arrays["average"], state.config, *task.validation, pool,
                                                     min(64, MEASURED * settings.microbatch))  # fmt: skip
    state.history.append(row)
    state.sums = [0.0, 0, 0]


def measure(flat, config, pixels, labels, pool, pieces_of=64):
    """Loss and share of right answers of the model with these parameters on these pictures."""
    nested = unflatten(flat)
    starts = range(0, len(labels), pieces_of)
    logits = np.concatenate(list(pool.map(
        lambda start: forward(pixels[start : start + pieces_of], nested, config).logits, starts)))  # fmt: skip
    return float(cross_entropy(logits, labels)), float((logits.argmax(axis=-1) == labels).mean())
