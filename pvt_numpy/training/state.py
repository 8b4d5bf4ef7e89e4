"""All that a training is: its settings, its parameters, what the optimiser remembers, and how far it has come.

Written whole into one safetensors file, atomically: a run that was stopped at any moment, even killed, goes on from
its last checkpoint to the same numbers as one that was not stopped.
"""

import json
import reprlib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np

from ..checkpoints.safetensors_file import read_safetensors, write_safetensors
from ..checkpoints.strict_json import parse_json
from ..config import config_from_dict, config_to_dict
from ..parameters import flatten, init_params, parameter_shapes
from ..pictures.recipes import RECIPES, check_options
from ..system.checks import is_number, is_whole, rule, wrong
from ..system.files import check_not_dangling
from .freeze import frozen_stages

GROUPS = ("params", "means", "squares", "average")  # four arrays for every parameter

LIMITS = {
    "epochs": (1, 1e6), "minutes": (0.001, 1e6), "batch": (1, 1e5), "microbatch": (1, 1e5), "rate": (0, 10),
    "warmup": (0, 1), "decay": (0, 10), "clip": (1e-9, 1e9), "smoothing": (0, 0.999), "averaging": (0, 0.999999),
    "smallest_crop": (0.01, 1), "jitter": (0, 0.999), "measure_every": (1, 1e6), "drawn": (1, 1e9),
    "seed": (0, 2**32 - 2), "mixup": (0, 100), "cutmix": (0, 100), "mixed": (0, 1), "erasing": (0, 1),
    "views": (1, 1e6), "split": (0, 0.9), "keep_size": (1, 1e5),
}  # fmt: skip
FILES = rule(lambda listed: is_whole(listed["count"]) and isinstance(listed["sha256"], str), "a count and a hash")


@dataclass(frozen=True)
class Settings:
    """What determines a training, with the defaults of the command."""

    data: str  # a folder, or "shapes"
    validation: str | None = None
    epochs: int = 50
    minutes: float | None = None  # the schedule follows the clock: no two runs are the same then
    batch: int = 64
    microbatch: int = 16  # pictures in one forward and backward pass; their mean is the batch's
    rate: float = 1e-3
    warmup: float = 0.05  # share of the training
    decay: float = 0.05
    clip: float = 1.0
    smoothing: float = 0.1
    averaging: float = 0.998  # of the parameters, per step
    smallest_crop: float = 0.35
    jitter: float = 0.3
    keep_size: int | None = None  # pictures are kept in memory at this size; None: 3/2 of the model's
    measure_every: int = 1  # epochs
    drawn: int = 4096  # pictures an epoch of the drawing task
    seed: int = 0
    # What came later: a training begun before these goes on with their defaults, which change nothing.
    model: str | None = None  # what it starts from; None: from nothing
    freeze: str | None = None  # what does not learn: see `freeze`
    mixup: float = 0.0  # alpha
    cutmix: float = 0.0  # alpha
    mixed: float = 1.0  # share of the batches, by one or the other
    erasing: float = 0.0  # share of the pictures
    views: int = 8  # epochs whose pictures are drawn anew, if the head alone learns
    split: float = 0.0  # share of each class's pictures kept back to measure with
    skip_unreadable: bool = False  # leave out pictures that cannot be read

    def __post_init__(self):
        for one in fields(self):
            value, types = getattr(self, one.name), one.type | int if isinstance(1.5, one.type) else one.type
            if isinstance(value, bool) != (one.type is bool) or not isinstance(value, types):
                kinds = ((str, "a text"), (float, "a number"), (int, "a whole number"), (bool, "true or false"))
                kind = next(kind for a_type, kind in kinds if issubclass(a_type, one.type))
                raise wrong(one.name, reprlib.repr(value), kind)
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise wrong(name, value, f"{low:g} to {high:g}")
        frozen_stages(self.freeze)


LATER = {"model", "freeze", "mixup", "cutmix", "mixed", "erasing", "views", "split", "skip_unreadable"}


@dataclass
class State:
    """A training at one moment.

    arrays   params, means, squares and average: each a flat dict with the model's dotted names
    step     steps taken
    seconds  spent training so far, over all pieces
    sums     of this epoch so far: loss, right answers, pictures
    history  one dict for each finished epoch
    start    of the model that it started from, its "origin" and "preprocessing", and how many of the classes it has
             "known"; {} if from nothing
    labels   the class names, in the order of their numbers
    files    which pictures are learnt from, as in a `data.Task`

    A state that was written before there were the last two has None for them.
    """

    settings: Settings
    config: object
    arrays: dict
    step: int = 0
    seconds: float = 0.0
    sums: list = field(default_factory=lambda: [0.0, 0, 0])
    history: list = field(default_factory=list)
    start: dict = field(default_factory=dict)
    labels: tuple[str, ...] | None = None
    files: dict | None = None


def fresh(settings, config, params=None, start=None):
    """A training that has not begun, with these parameters (nested) or else those drawn from its seed."""
    params = flatten(params or init_params(config, np.random.default_rng(settings.seed)))
    params = {name: p.copy() for name, p in params.items()}  # steps change them in place; the model stays its owner's
    zeros = {group: {name: np.zeros_like(p) for name, p in params.items()} for group in ("means", "squares")}
    average = {name: p.copy() for name, p in params.items()}
    return State(settings, config, {"params": params, "average": average} | zeros, start=start or {})


def write_state(path, state):
    """The state as one file, whole or not at all."""
    progress = {"step": state.step, "seconds": state.seconds, "sums": state.sums, "history": state.history}
    texts = {"settings": asdict(state.settings), "config": config_to_dict(state.config), "progress": progress}
    texts |= {"labels": state.labels, "files": state.files, "start": state.start}
    arrays = {f"{group}/{name}": a for group in GROUPS for name, a in state.arrays[group].items()}
    write_safetensors(path, arrays, {key: json.dumps(value) for key, value in texts.items()}, "float32")


def read_state(path):
    """The inverse of `write_state`. Raises FileNotFoundError or ValueError with one sentence."""
    check_not_dangling(path)
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: found no such checkpoint; expected a folder that a training has written")
    try:
        metadata, flat, read = read_safetensors(path)
        texts = {key: parse_json(text) for key, text in metadata.items()}
        known = {f.name for f in fields(Settings)}
        if unlike := (known ^ set(texts["settings"])) - (LATER - set(texts["settings"])):
            raise wrong("its settings", ", ".join(sorted(unlike)), "those of this version")
        settings = Settings(**texts["settings"])
        arrays = {group: {} for group in GROUPS}
        for name in flat:
            group, _, parameter = name.partition("/")
            arrays[group][parameter] = read(name)
        config = config_from_dict(texts["config"])
        if sum(config.depths) > len(flat):  # before a table of as many is made
            raise wrong("its depths", f"{sum(config.depths)} blocks", f"at most {len(flat)}, as many as it has arrays")
        arrays = {group: {name: arrays[group][name] for name in parameter_shapes(config)} for group in GROUPS}
        progress = {key: texts["progress"][key] for key in ("step", "seconds", "sums", "history")}
        rows = [row.items() for row in progress["history"]]  # None stands for what was not measured
        numbers = [progress["seconds"], *progress["sums"], *(value for row in rows for _, value in row)]
        if not (is_whole(progress["step"], 0) and len(progress["sums"]) == 3
                and all(value is None or is_number(value, high=1e18) for value in numbers)):  # fmt: skip
            raise wrong("its progress", reprlib.repr(progress), "steps, seconds, three sums and a history, in numbers")
        for name, shape in parameter_shapes(config).items():
            if any(arrays[group][name].shape != shape for group in GROUPS):
                raise wrong(name, "another shape", shape)
        labels, files = texts.get("labels"), texts.get("files")
        if labels is not None:
            if len(labels) != config.num_labels or not all(isinstance(label, str) for label in labels):
                raise wrong("its labels", f"{len(labels)} of them", f"{config.num_labels} texts")
            labels = tuple(labels)
        for what, listed in (files or {}).items():
            FILES(f"its {what} pictures", listed)
        if start := texts.get("start", {}):
            check_options(RECIPES["hf"] | start["preprocessing"])
            start["origin"] = {key: str(value) for key, value in start["origin"].items()}
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise wrong(path, f"no checkpoint of a training ({reason})", "one that this version has written") from None
    return State(settings, config, arrays, **progress, start=start, labels=labels, files=files)


def check_labels(state, labels):
    """Raises ValueError, with their names, if the classes are not those with which `state` began: its last layer knows
    them by their numbers. Of a state that has no names, the number of classes is compared."""
    began, count = state.labels, state.config.num_labels
    if len(labels) == count and began in (None, labels):
        return
    found, expected = [f"{len(labels)} classes"], [f"the {count} with which this training began"]
    if began:
        new, gone = ([x for x in these if x not in others] for these, others in ((labels, began), (began, labels)))
        found += [f"{what} {_few(names)}" for what, names in (("new", new), ("missing", gone)) if names]
        found += [] if new or gone else [f"in the order {_few(labels)}"]
        expected.append(_few(began))
    raise wrong(state.settings.data, ", ".join(found), f"{', '.join(expected)}; or --output, to begin another training")


def _few(names):
    """At most a dozen names, in words."""
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def enter(state, task):
    """Enters the task's classes and pictures into `state`; a sentence for each list of pictures that has changed.

    Raises ValueError if some were held back and there are others now: what was learnt from could be measured with.
    """
    before, state.labels, state.files = state.files or {}, task.labels, task.files
    changed = [what for what in before if task.files.get(what) != before[what]]
    if changed and state.settings.split:
        expected = "the same, from which those to measure with were drawn; or --output, to begin another training"
        raise wrong(state.settings.data, "other pictures than before", expected)
    counts = [(what, *(files.get(what, {}).get("count", 0) for files in (task.files, before))) for what in changed]
    return [f"{now:,} {what} pictures, not the same as the {then:,} before" for what, now, then in counts]
