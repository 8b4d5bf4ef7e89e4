"""Reference numbers without PyTorch: parameters made from a seed, and what PyTorch computed with them, written down.

Parameters and pictures come from `numpy.random.RandomState(seed).bytes`, whose stream NumPy has promised never to
change, through multiplications by powers of two, which are exact: the same bits on every machine, in float32 as in
float64. The numbers were written by `make_golden.py`, which names its reference and versions in every file.

A `digest` keeps a few numbers of an array: its mean, its root mean square, a sum weighted by a fixed cosine, which
every entry enters with a weight of its own, and eight entries from the first to the last.
"""

import hashlib
import json
import math
from pathlib import Path

import numpy as np

from ..parameters import flatten, parameter_shapes, unflatten
from ..system.paths import GOLDEN_NUMBERS


def seeded_params(config, seed, dtype=np.float64):
    """Parameters of realistic scale: matrices keep the size of what they multiply, norms are near 1, biases small.

    >>> from pvt_numpy.config import VARIANTS
    >>> [float(x) for x in seeded_params(VARIANTS["pvt_v2_b0"], 0)["head"]["bias"][:2]]
    [0.032344818115234375, 0.09447097778320312]
    """
    stream = np.random.RandomState(seed)
    flat = {}
    for name, shape in parameter_shapes(config).items():
        value = _uniform(stream, shape, dtype)
        if name.endswith("weight") and len(shape) > 1:  # about 1 / sqrt(fan in)
            value *= 2.0 ** (1 - math.frexp(math.prod(shape[1:]))[1] // 2)
        elif name.endswith("weight"):
            value *= 0.25
            value += 1
        else:
            value *= 0.125 if name.endswith("bias") else 0.5
        flat[name] = value
    return unflatten(flat)


def seeded_pixels(shape, seed, dtype=np.float64):
    """A picture (B, num_channels, H, W) of noise between -2 and 2, the range of normalised pictures."""
    return _uniform(np.random.RandomState(seed), shape, dtype) * 2


def _uniform(stream, shape, dtype):
    """Multiples of 2**-15 from -1 to below 1, in `dtype`."""
    whole = np.frombuffer(stream.bytes(2 * math.prod(shape)), "<i2").reshape(shape)
    return whole.astype(dtype) * dtype(2**-15)


def params_hash(params):
    """sha256 over all parameters in order, as little-endian float32."""
    found = hashlib.sha256()
    for array in flatten(params).values():
        found.update(np.ascontiguousarray(array, "<f4"))
    return found.hexdigest()


def digest(array):
    """Eleven numbers that stand for the array: mean, root mean square, weighted sum, eight entries; in float64."""
    flat = np.asarray(array, np.float64).ravel()
    weighted = flat @ np.cos(np.arange(flat.size)) / math.sqrt(flat.size)
    entries = flat[np.linspace(0, flat.size - 1, 8).astype(int)]
    return np.array([flat.mean(), math.sqrt(flat @ flat / flat.size), weighted, *entries])


def golden_names(config):
    """The names of the trace that golden files hold: what enters each stage, every block, every attention, the end."""
    for i, depth in enumerate(config.depths):
        yield f"stages.{i}.tokens"
        for j in range(depth):
            yield from (f"stages.{i}.blocks.{j}.attn.probs", f"stages.{i}.blocks.{j}")
        yield f"stages.{i}"
    yield from (["norm"] if config.model_type == "pvt" else [])
    yield from ("pooled", "logits")


def digests(trace, config):
    """The numbers of `trace` that a golden file holds: a digest under each name, but all the logits."""
    return {name: trace[name] if name == "logits" else digest(trace[name]) for name in golden_names(config)}


def read_golden(name, folder=None):
    """The golden file of a case (a variant, `pvt_tiny_resized`, `shipped`) as a dict.

    Raises FileNotFoundError if there is none.
    """
    path = Path(folder or GOLDEN_NUMBERS) / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: found no such file; expected the golden numbers, part of the package")
    golden = json.loads(path.read_text(encoding="utf-8"))
    golden["numbers"] = {key: np.array(values) for key, values in golden["numbers"].items()}
    return golden
