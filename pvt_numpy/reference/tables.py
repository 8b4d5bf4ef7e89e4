"""Writes the tables of PORTING.md: `python -m pvt_numpy.reference.tables operations`, or `numbers FOLDER [PICTURES]`.

`operations`: what a model computes, in order, with the shapes at 224 pixels. `numbers`: over pictures below a folder,
with the model that ships, the range of every kind of array, and what is lost if weights, activations or both are
rounded to float16 or int8. An activation is what goes into or comes out of a layer; sums inside a layer and the
residual sums stay in float32, as in most hardware. int8 is symmetric: weights by output channel, activations by the
largest number of the array at hand.

Left out: int8 by ranges that were measured before, as fixed-point hardware has it, and rounding of biases and norms.
"""

import re
import sys

import numpy as np

from ..checkpoints.checkpoint import load_model
from ..config import VARIANTS
from ..model import forward
from ..parameters import flatten, parameter_shapes, unflatten
from ..pictures.folders import find_pictures
from ..pictures.processor import preprocess
from ..system.checks import wrong
from ..system.cli import run
from .mistakes import in_place
from .steps import step_of

SHOWN = ("pvt_tiny", "pvt_v2_b0", "pvt_v2_b2_li")
LAYERS = ("linear", "conv2d", "depthwise_conv2d", "layer_norm", "softmax", "gelu", "relu", "merge_heads",
          "adaptive_average_pool")  # fmt: skip
BATCH = 10


def main(arguments):
    if arguments == ["operations"]:
        print("\n\n".join(f"### {name}\n\n{operations(name)}" for name in SHOWN))
    elif arguments[:1] == ["numbers"] and len(arguments) in (2, 3):
        print("\n\n".join(numbers(arguments[1], int((arguments + ["200"])[2]))))
    else:
        raise wrong("tables", " ".join(arguments) or "nothing", "operations, or numbers FOLDER [PICTURES]")


def table(titles, rows):
    """A table in Markdown."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def kind(name):
    """(what an array of the trace is, its stage from 0 or None): the same for all blocks of a stage.

    >>> kind("stages.2.blocks.4.attn.probs"), kind("logits")
    (('blocks.j.attn.probs', 2), ('logits', None))
    """
    found = re.match(r"stages\.(\d+)\.?", name)
    return re.sub(r"blocks\.\d+", "blocks.j", name[found.end() :] if found else name), found and int(found[1])


def operations(name, size=224):
    """What the variant of that name computes, in order, with the shapes of each stage for a square picture."""
    config, trace = VARIANTS[name], {}
    pixels = np.zeros((1, config.num_channels, size, size), np.float32)
    params = unflatten({one: np.zeros(shape, np.float32) for one, shape in parameter_shapes(config).items()})
    forward(pixels, params, config, trace=trace)
    rows = {}
    for array in [one for one in trace if not one.endswith(".grid")]:
        what, stage = kind(array)
        step = step_of(array, config)
        shapes = rows.setdefault((what, stage is None), (step, [""] * 4))[1]  # one row for all stages and blocks
        column = stage if stage is not None else 0 if what == "pixel_values" else 3
        shapes[column] = " × ".join(map(str, trace[array].shape[1:]))
    return table(["array", "operation", "formula, in stage 1", *(f"stage {i}" for i in range(1, 5))],
                 ([f"`{what or 'stages.i'}`", step.operation, step.formula, *shapes]
                  for (what, _), (step, shapes) in rows.items()))  # fmt: skip


class Ranges(dict):
    """A watcher that keeps the smallest and the largest number of every kind of array."""

    def __setitem__(self, name, array):
        if not name.endswith(".grid"):
            low, high = self.get(kind(name), (np.inf, -np.inf))
            super().__setitem__(kind(name), (min(low, float(array.min())), max(high, float(array.max()))))


def rounded(x, way, axis=None):
    """x rounded to float16, or to the 255 numbers of int8 (with a scale for each index of `axis`), in x's type."""
    if way == "float16":
        with np.errstate(over="ignore"):  # it becomes infinity, which the outputs show
            return x.astype(np.float16).astype(x.dtype)
    others = None if axis is None else tuple(k for k in range(x.ndim) if k != axis)
    scale = np.abs(x).max(axis=others, keepdims=True) / 127
    return np.round(x / np.where(scale, scale, 1)).astype(x.dtype) * scale


def rounded_weights(params, way):
    """Every matrix and kernel rounded; for float16 biases and norms, too."""
    flat = flatten(params).items()
    return unflatten({name: rounded(array, way, 0) if array.ndim > 1 or way == "float16" else array
                      for name, array in flat})  # fmt: skip


def numbers(folder, count):
    """The two tables over `count` pictures, spread evenly over all that lie below a folder."""
    model, pictures = load_model(), find_pictures(folder)
    if len(pictures) < count:
        raise wrong(folder, f"{len(pictures)} pictures", f"at least {count}")
    pictures = [pictures[k * len(pictures) // count] for k in range(count)]
    batches = [np.concatenate([preprocess(path, **model.preprocessing) for path in pictures[k : k + BATCH]])
               for k in range(0, count, BATCH)]  # fmt: skip
    ranges, squares = Ranges(), []

    def watched(right, x, *args, **options):
        squares.append(float(np.square(x).sum(axis=-1).max()))
        return right(x, *args, **options)

    with in_place(layer_norm=watched):
        for x in batches:
            forward(x, model.params, model.config, trace=ranges)
    # Once more: a pass that is watched rounds its last digits in another way.
    right = np.concatenate([forward(x, model.params, model.config).logits for x in batches])
    kinds = dict.fromkeys(what for what, stage in ranges if stage is not None)
    rows = [[f"`{what or 'stages.i'}`", *(" … ".join(f"{x:.3g}" for x in ranges[what, i]) for i in range(4))]
            for what in kinds]  # fmt: skip
    rows += [[f"`{what}`", " … ".join(f"{x:.3g}" for x in found), "", "", ""]
             for (what, stage), found in ranges.items() if stage is None]  # fmt: skip
    rows.append(["sum of squares of one token, into a norm", f"up to {max(squares):.3g}", "", "", ""])
    yield table(["array", *(f"stage {i}" for i in range(1, 5))], rows)

    def layer(right, x, *args, **options):
        return rounded(right(rounded(x, way), *args, **options), way)

    rows = []
    for way in ("float16", "int8"):
        for what, weights, activations in (("weights", 1, 0), ("activations", 0, 1), ("both", 1, 1)):
            params = rounded_weights(model.params, way) if weights else model.params
            with in_place(**dict.fromkeys(LAYERS, layer) if activations else {}):
                found = np.concatenate([forward(x, params, model.config).logits for x in batches])
            error = np.abs(found - right)
            same = int((found.argmax(axis=1) == right.argmax(axis=1)).sum())
            rows.append([way, what, f"{error.max():.2g}", f"{error.mean():.2g}", f"{same} of {count}"])
    yield table(["rounded to", "what", "logits: largest error", "mean error", "same top 1"], rows)


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]), "tables")
