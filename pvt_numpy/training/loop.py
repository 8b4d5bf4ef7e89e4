"""The loop: a batch, its gradient, a step, a thousand times over.

Every random number is drawn from a generator seeded with (seed, what for, when), so the state of a training needs no
generators, and a resumed one draws what an uninterrupted one would have drawn. Pieces of a batch run side by side in
threads (`fast/pieces.py`); their gradients are always summed in the same order.
"""

import math
import time
from collections import deque
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..fast.pieces import side_by_side
from ..gradients import there_and_back
from ..layers.linear import linear
from ..layers.losses import cross_entropy, cross_entropy_backward
from ..model import forward
from ..parameters import flatten, unflatten
from .freeze import HEAD_ONLY, frozen, head_there_and_back, lowest_stage
from .mixing import erase, mix
from .optimizer import adamw_step, clip_by_norm, follow, learning_rate
from .watch import RECENT, refuse_divergence, refuse_guessing, refuse_not_finite

ORDER, PICTURES, NOISE, MIXING = range(4)  # what random numbers are drawn for
BEGINNING = {"epoch": 0, "step": 0, "seconds": 0.0, "learning_rate": 0.0}


class Batch(NamedTuple):
    """What one step learns from.

    inputs    pixel_values (B, 3, H, W); if only the head learns, the features (B, C) that the rest makes of them
    labels    (B,)
    partners  (B,), the labels of the pictures mixed in; None: nothing is mixed
    share     how much of each picture is its own, 1 if nothing is mixed
    """

    inputs: np.ndarray
    labels: np.ndarray
    partners: np.ndarray | None = None
    share: float = 1.0

    def part(self, cut):
        """A slice of it."""
        partners = None if self.partners is None else self.partners[cut]
        return self._replace(inputs=self.inputs[cut], labels=self.labels[cut], partners=partners)

    def loss(self, logits, smoothing):
        """Cross-entropy against both pictures' labels, each for its share; and its gradient for the logits."""
        truths = [(self.labels, self.share)]
        if self.partners is not None:
            truths.append((self.partners, 1 - self.share))
        value = sum(share * cross_entropy(logits, labels, smoothing) for labels, share in truths)
        return value, sum(cross_entropy_backward(share, logits, labels, smoothing) for labels, share in truths)

    def right(self, logits):
        """How many logits are largest at the label of which there is more."""
        truth = self.labels if self.share >= 0.5 else self.partners
        return int((logits.argmax(axis=-1) == truth).sum())


def train(state, task, stop=lambda: False, after_step=lambda state: None, after_epoch=lambda state: None):
    """Goes on with `state` (which it changes) until the schedule is done, or until `stop()` is true after a step.

    Returns whether the training is complete. Raises ValueError if the loss or a gradient is not finite, or if the loss
    has risen far above what guessing costs, or back to it after it was well below.
    """
    settings, seen, recent = state.settings, {}, deque(maxlen=RECENT)
    steps = steps_of(settings, task)
    if settings.freeze == HEAD_ONLY and task.validation is not None:
        pixels, labels = task.validation
        task = task._replace(validation=(features_of(pixels, state), labels))
    knows_all = state.start.get("known") == len(task.labels)
    if knows_all and task.validation is not None and not state.step and not state.history:
        loss, right = measure(state.arrays["average"], state.config, *task.validation)
        state.history.append(BEGINNING | {"val_loss": loss, "val_accuracy": right})
        after_epoch(state)
    while (progress := progress_of(state, steps)) < 1:
        started = time.perf_counter()
        rate = learning_rate(progress, settings.rate, settings.warmup)
        if settings.freeze == HEAD_ONLY:
            batch = next_features(state, task, steps, seen)
        else:
            batch = next_batch(settings, task, steps, state.step)
        loss, right = step(state, batch, rate)
        recent.append(loss)
        refuse_divergence(recent, state, batch.inputs, len(task.labels))
        for k, value in enumerate((loss * len(batch.labels), right, len(batch.labels))):
            state.sums[k] += value
        state.seconds += time.perf_counter() - started
        after_step(state)
        if state.step % steps == 0:
            finish_epoch(state, task, steps)
            refuse_guessing(state, len(task.labels))
            after_epoch(state)
        if stop() and progress_of(state, steps) < 1:
            return False
    if state.sums[2]:  # the clock ended the last epoch early
        finish_epoch(state, task, steps)
        after_epoch(state)
    return True


def steps_of(settings, task):
    """How many steps an epoch has. The pictures that fill no batch wait for the next epoch's shuffle; but if the head
    alone learns, the same shuffles come again, so the last batch is a smaller one."""
    whole, rest = divmod(task.size, settings.batch)
    return max(1, whole + (settings.freeze == HEAD_ONLY and rest > 0))


def progress_of(state, steps):
    """How far the training is, 0 to 1: by steps, or with a time limit by whichever is further."""
    settings = state.settings
    by_steps = state.step / (settings.epochs * steps)
    return by_steps if settings.minutes is None else max(by_steps, state.seconds / (60 * settings.minutes))


def next_batch(settings, task, steps, at):
    """The `Batch` of step `at`, of an epoch of so many steps: pictures drawn, some painted over, some mixed."""
    epoch, place = divmod(at, steps)
    order = np.random.default_rng([settings.seed, ORDER, epoch]).permutation(task.size)
    indices = order[place * settings.batch : (place + 1) * settings.batch]
    pixels, labels = task.batch(indices, np.random.default_rng([settings.seed, PICTURES, at]))
    rng = np.random.default_rng([settings.seed, MIXING, at])
    pixels = erase(pixels, rng, settings.erasing)
    pixels, partners, share = mix(pixels, rng, settings.mixup, settings.cutmix, settings.mixed)
    return Batch(pixels, labels, None if partners is None else labels[partners], share)


def next_features(state, task, steps, seen):
    """The same with the features in place of the pictures. These come again after some epochs: `seen` keeps them, so
    each is computed once."""
    at = state.step % (state.settings.views * steps)
    if at not in seen:
        batch = next_batch(state.settings, task, steps, at)
        seen[at] = batch._replace(inputs=features_of(batch.inputs, state))
    return seen[at]


def step(state, batch, rate):
    """One AdamW step on a `Batch`; returns the loss and how many answers were right."""
    settings, params, size = state.settings, state.arrays["params"], len(batch.labels)
    pieces = math.ceil(size / settings.microbatch)
    cuts = [slice(size * k // pieces, size * (k + 1) // pieces) for k in range(pieces)]
    nested, learnt = unflatten(params), [name for name in params if not frozen(name, settings.freeze)]

    def piece(k):
        part, seed = batch.part(cuts[k]), (settings.seed, NOISE, state.step, k)
        with np.errstate(all="ignore"):  # what is not finite is reported below, in words
            measure, lowest = (lambda logits: part.loss(logits, settings.smoothing)), lowest_stage(settings.freeze)
            if settings.freeze == HEAD_ONLY:
                loss, logits, _, grads = head_there_and_back(measure, part.inputs, nested)
            else:
                loss, logits, _, grads = there_and_back(measure, part.inputs, nested, state.config, seed, lowest)
        return float(loss), part.right(logits), flatten(grads)

    results = list(side_by_side(piece, range(pieces)))
    shares = [(cut.stop - cut.start) / size for cut in cuts]
    grads = {name: sum(g[name] * share for (_, _, g), share in zip(results, shares, strict=True)) for name in learnt}
    loss = sum(piece_loss * share for (piece_loss, _, _), share in zip(results, shares, strict=True))
    norm = clip_by_norm(grads, settings.clip)
    if not math.isfinite(loss) or not math.isfinite(norm):
        refuse_not_finite(state, batch.inputs, grads)
    state.step += 1
    adamw_step(params, grads, state.arrays["means"], state.arrays["squares"], state.step, rate, settings.decay)
    follow(state.arrays["average"], params, state.step, settings.averaging)
    return loss, sum(right for _, right, _ in results)


def features_of(pixels, state):
    """What the head reads of each picture, (B, C), without noise: the logits of the same model without a head."""
    headless = {part: value for part, value in unflatten(state.arrays["params"]).items() if part != "head"}
    return forward(pixels, headless, replace(state.config, num_labels=0)).logits


def finish_epoch(state, task, steps):
    """Adds the epoch to the history, measured if that is due."""
    settings, (loss, right, pictures) = state.settings, state.sums
    epoch, progress = math.ceil(state.step / steps), progress_of(state, steps)
    rate, last = learning_rate(progress, settings.rate, settings.warmup), progress >= 1
    row = {"epoch": epoch, "step": state.step, "seconds": round(state.seconds, 1), "learning_rate": rate,
           "train_loss": loss / pictures, "train_accuracy": right / pictures}  # fmt: skip
    if task.validation is not None and (last or epoch % settings.measure_every == 0):
        row["val_loss"], row["val_accuracy"] = measure(state.arrays["average"], state.config, *task.validation)
    state.history.append(row)
    state.sums = [0.0, 0, 0]


def measure(flat, config, inputs, labels):
    """Loss and share of right answers of the model with these parameters on these pictures, or on their features."""
    nested = unflatten(flat)
    logits = linear(inputs, **nested["head"]) if inputs.ndim == 2 else forward(inputs, nested, config).logits
    return float(cross_entropy(logits, labels)), float((logits.argmax(axis=-1) == labels).mean())
