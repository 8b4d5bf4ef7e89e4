"""Where pictures and labels come from: a folder with one sub-folder a class, or the drawing task.

Both are a `Task`, so that the loop does not know the difference. Pictures are decoded once and kept in memory, a
little larger than the model's; every epoch cuts its own random crops from them.
"""

import hashlib
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..pictures.folders import class_folders, passed_over
from ..pictures.imagenet import classes
from ..pictures.processor import normalize, preprocess
from ..pictures.recipes import RECIPES, at_size
from ..system.checks import about, wrong
from ..system.cli import complain, note
from .augment import augment
from .shapes import SHAPES, draw_shapes

DRAWN = 1024  # shapes that are kept to measure with


class Task(NamedTuple):
    """What to learn.

    labels      the class names, in the order of their numbers
    size        pictures an epoch
    batch       (indices, rng) -> pixel_values (B, 3, H, W) float32, labels (B,)
    validation  pixel_values (n, 3, H, W), labels (n,); None without any
    recipe      the arguments for `preprocess` that a user of the trained model needs
    files       "training" and, if there are any, "validation" -> what `listed` says of their files; {} if drawn
    counts      how many pictures of each class there are to learn from; () if they are drawn
    """

    labels: tuple[str, ...]
    size: int
    batch: Callable
    validation: tuple[np.ndarray, np.ndarray] | None
    recipe: dict
    files: dict
    counts: tuple[int, ...] = ()


def folder_task(train, validation, image_size, keep_size=None, smallest=0.35, jitter=0.3, skip_unreadable=False,
                recipe=RECIPES["hf"], split=0.0, seed=0):  # fmt: skip
    """The pictures in train/CLASS/*, and those in validation/CLASS/* (or None) for measuring.

    Those that cannot be read are all named on stderr; then they are left out if that is allowed, else refused. Those
    measured with are prepared by the recipe; those learnt from share its mean and deviation, and are squashed.

    split  instead of a validation folder: the share of each class that is measured with, and not learnt from
    """
    keep_size = image_size * 3 // 2 if keep_size is None else keep_size
    keep = {"height": keep_size, "width": keep_size}
    recipe = at_size(recipe, (image_size, image_size))
    files, labels, names = list_folder(train)
    val_files, val_labels, val_names = ([], labels[:0], names) if validation is None else list_folder(validation)
    if val_names != names:
        raise wrong(validation, f"the classes {', '.join(val_names)}", ", ".join(names))
    if split:
        files, labels, val_files, val_labels = hold_back(files, labels, split, seed)
    as_bytes = {"do_rescale": False, "do_normalize": False, "data_format": "channels_last"}
    pictures, good = decode(files, np.uint8, skip_unreadable, size=keep, **as_bytes)
    measured, val_good = decode(val_files, np.float32, skip_unreadable, **recipe)
    check_readable(train, names, labels, good, skip_unreadable)  # now, when all that cannot be read are named
    held_back = "picture held back" if split else "picture"
    check_readable(validation or train, names, val_labels, val_good, skip_unreadable, held_back)
    files, labels = [files[i] for i in good], labels[good]
    lists = {"training": listed(train, files)}
    if validation or split:
        measured = measured, val_labels[val_good]
        lists["validation"] = listed(validation or train, [val_files[i] for i in val_good])

    def batch(indices, rng):
        return to_pixel_values(augment(pictures[indices], image_size, rng, smallest, jitter), recipe), labels[indices]

    return Task(labels_of(train), len(files), batch, measured, recipe, lists, tuple(np.bincount(labels).tolist()))


def labels_of(source):
    """The names of the classes in the order of their numbers; a sub-folder named by a synset number means its class."""
    if source == "shapes":
        return SHAPES
    known = dict(classes())
    return tuple(known.get(name, name) for name in class_folders(source))


def listed(folder, files):
    """How many files these are, and one hash of all their names below the folder and sizes in bytes."""
    lines = [f"{path.relative_to(folder).as_posix()} {path.stat().st_size}\n" for path in files]
    return {
        "count": len(files),
        "sha256": hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest(),
    }


def hold_back(files, labels, share, seed):
    """A share of every class's files, at least one and never all, drawn by the seed: the others and their labels, and
    those held back and theirs."""
    rng, back = np.random.default_rng(seed), np.zeros(len(files), bool)
    for label in range(labels.max() + 1):
        places = rng.permutation(np.flatnonzero(labels == label))
        if len(places) < 2:
            raise wrong(files[places[0]].parent, "1 picture", "2 or more, to hold one back to measure with")
        back[places[: min(len(places) - 1, max(1, round(share * len(places))))]] = True
    kept, held = ([f for f, b in zip(files, back, strict=True) if b == which] for which in (False, True))
    return kept, labels[~back], held, labels[back]


def decode(files, dtype, skip, **recipe):
    """All the pictures that can be read as one array (n, ...), and their places in `files`; a terminal sees how far it
    is. The others are named on stderr, as errors unless they may be skipped."""
    from tqdm import tqdm

    pictures, good = [], []
    for i, file in enumerate(tqdm(files, unit=" pictures", disable=None)):
        try:
            with about(file):
                pictures.append(preprocess(file, **recipe).astype(dtype))
            good.append(i)
        except (ValueError, OSError) as error:
            note("train", f"left out: {error}") if skip else complain("train", error)
    return np.concatenate(pictures) if pictures else None, np.array(good, int)


def check_readable(folder, names, labels, good, skip, picture="picture"):
    """Raises ValueError if pictures that cannot be read may not be skipped, or are all that a class has."""
    if len(good) < len(labels) and not skip:
        found = f"{len(labels) - len(good)} of {len(labels)} pictures that cannot be read, named above"
        raise wrong(folder, found, "none; --skip-unreadable leaves them out")
    if empty := set(labels) - set(labels[good]):
        raise wrong(folder, f"no {picture} of {names[min(empty)]} that can be read", "some of each class")


def list_folder(folder):
    """The picture files in folder/CLASS/, their class numbers, and the names of the classes in alphabetical order."""
    folders = class_folders(folder, passed := Counter())
    if passed:
        note("train", passed_over(folder, passed))
    names, files = tuple(folders), list(folders.values())
    if len(names) < 2 or not all(files):
        found = ", ".join(f"{name} ({len(f)})" for name, f in folders.items()) or "none"
        raise wrong(folder, f"sub-folders with pictures: {found}", "two or more, none of them empty")
    return [f for group in files for f in group], np.repeat(np.arange(len(names)), [len(f) for f in files]), names


def shapes_task(image_size, seed, size=4096, validation=DRAWN):
    """Drawn anew for every batch; the validation pictures are drawn once, from a seed that training never uses."""
    recipe = at_size(RECIPES["hf"], (image_size, image_size))

    def draw(labels, rng):
        return to_pixel_values(draw_shapes(labels, image_size, rng).astype(np.float32) / 255, recipe)

    def batch(indices, rng):
        labels = indices % len(SHAPES)
        return draw(labels, rng), labels

    val_labels = np.arange(validation) % len(SHAPES)
    measured = draw(val_labels, np.random.default_rng([seed, 2**32 - 1])), val_labels
    return Task(SHAPES, size, batch, measured, recipe, {})


def to_pixel_values(pictures, recipe):
    """(B, H, W, 3) in 0..1 -> (B, 3, H, W), as `preprocess` ends: rescaled, less the mean, over the deviation."""
    recipe = at_size(recipe)
    scale = 255 * (recipe["rescale_factor"] if recipe["do_rescale"] else 1)
    normal = pictures if abs(scale - 1) < 1e-6 else pictures * np.float32(scale)
    if recipe["do_normalize"]:
        normal = normalize(normal, recipe["image_mean"], recipe["image_std"])
    return np.ascontiguousarray(normal.transpose(0, 3, 1, 2))
