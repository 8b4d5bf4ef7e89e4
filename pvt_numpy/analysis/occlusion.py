"""What an answer depends on, measured by covering parts of the picture; and the maps that claim to show it.

Sources: covering, Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (2014); the gradient as a
map, Simonyan et al., "Deep Inside Convolutional Networks" (2014); class activation maps, Zhou et al., "Learning Deep
Features for Discriminative Localization" (2016); shuffled weights as the control, Adebayo et al., "Sanity Checks for
Saliency Maps" (2018). Notebook 4 teaches what came of it; `notebooks/measure_maps.py` runs it over a folder.
"""

import numpy as np

from ..gradients import model_backward
from ..model import forward
from ..parameters import flatten, unflatten
from .rollout import pyramid_rollout

AT_ONCE = 9  # covered copies in one batch


def squares(size):
    """(rows, columns), as slices, of every place of the square on a picture of size (H, W), row by row.

    The square moves by a seventh of the shorter side and is twice as wide: 36 places at 224 x 224.
    If 7 does not divide the side there may be more places, and a strip at the end that is never covered.

    >>> len(squares((224, 224))), squares((224, 224))[-1]
    (36, (slice(160, 224, None), slice(160, 224, None)))
    """
    step = max(min(size) // 7, 1)
    tops, lefts = ([slice(at, at + 2 * step) for at in range(0, n - 2 * step + 1, step)] for n in size)
    return [(rows, columns) for rows in tops for columns in lefts]


def falls(pixel_values, params, config, label, fill=None):
    """How far the logit of `label` falls if a square of the picture (1, C, H, W) is covered: a number a square.

    fill  what covers: (1, C, 1, 1); None: the picture's own mean, a grey
    """
    fill = pixel_values.mean(axis=(2, 3), keepdims=True) if fill is None else fill
    whole = forward(pixel_values, params, config).logits[0, label]
    places, found = squares(pixel_values.shape[2:]), []
    for start in range(0, len(places), AT_ONCE):
        part = places[start : start + AT_ONCE]
        copies = np.repeat(pixel_values, len(part), axis=0)
        for copy, (rows, columns) in zip(copies, part, strict=True):
            copy[:, rows, columns] = fill[0]
        found.extend(whole - forward(copies, params, config).logits[:, label])
    return np.array(found)


def under(values, size):
    """The sum of a map (h, w) of a picture of this size under every square: a number a square.

    >>> under(np.ones((7, 7)), (224, 224)).tolist() == [4.0] * 36
    True
    """

    def scaled(part, cells, pixels):
        return slice(round(part.start * cells / pixels), round(part.stop * cells / pixels))

    (h, w), (H, W) = values.shape, size
    return np.array([values[scaled(rows, h, H), scaled(columns, w, W)].sum() for rows, columns in squares(size)])


def maps(pixel_values, params, config, label):
    """name -> (h, w): maps that claim to show where in the picture (1, C, H, W) the answer `label` comes from.

    The class activation map is the last map times the head's row for the label. In v2 it is exact: the mean of its
    cells is the logit, but for the bias. v1 reads its answer from a class token and has none.
    """
    trace = {}
    logits = forward(pixel_values, params, config, trace=trace).logits
    found = {f"rollout entering stage {i + 1}": w for i, w in enumerate(pyramid_rollout(trace, config))}
    if config.model_type == "pvt_v2":
        last = trace[f"stages.{config.num_encoder_blocks - 1}"][0]  # (C, h, w)
        found["class activation map"] = np.einsum("c,chw->hw", params["head"]["weight"][label], last)
    one = np.zeros_like(logits)
    one[0, label] = 1
    gradient, _ = model_backward(one, pixel_values, params, config)
    found["gradient × input"] = (gradient * pixel_values)[0].sum(axis=0)
    found["|gradient|"] = np.abs(gradient)[0].sum(axis=0)
    return found


def model_free_maps(pixel_values):
    """name -> (H, W): two maps of a picture (1, C, H, W) that know no model, for comparison."""
    H, W = pixel_values.shape[2:]
    y, z = np.indices((H, W))
    grey = pixel_values.mean(axis=(2, 3), keepdims=True)
    return {"nearness to the middle": -np.hypot(y - (H - 1) / 2, z - (W - 1) / 2),
            "contrast to the mean": np.abs(pixel_values - grey)[0].sum(axis=0)}  # fmt: skip


def shuffled(params, rng):
    """The same parameters, the numbers of each array in an order drawn by `rng`: nothing learned is left but scale."""
    return unflatten({name: rng.permuted(array) for name, array in flatten(params).items()})


def correlation(a, b):
    """Pearson's, of all numbers of two arrays."""
    return float(np.corrcoef(np.ravel(a), np.ravel(b))[0, 1])


def agreement(pixel_values, params, config, rng):
    """name -> correlation of a map with the experiment, for a picture (1, C, H, W) and the answer the model gives it.

    Every map is summed under the squares that were covered. "shuffled: …" are the maps of the model with its arrays
    shuffled, for the same answer; "black squares" is the experiment once more, covering with black.
    """
    label = int(forward(pixel_values, params, config).logits.argmax())
    claims = maps(pixel_values, params, config, label)
    control = maps(pixel_values, shuffled(params, rng), config, label)
    claims |= {f"shuffled: {name}": values for name, values in control.items()} | model_free_maps(pixel_values)
    size, fall = pixel_values.shape[2:], falls(pixel_values, params, config, label)
    black = falls(pixel_values, params, config, label, pixel_values.min(axis=(2, 3), keepdims=True))
    sums = {name: under(values, size) for name, values in claims.items()}
    return {name: correlation(fall, values) for name, values in (sums | {"black squares": black}).items()}
