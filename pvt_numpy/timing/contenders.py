"""What runs inside the processes that `python -m pvt_numpy.benchmark` compares: one model, one batch, run when asked.

    pvt_numpy   this package's forward pass
    pytorch     transformers', in eval and inference mode
    products    the floor: the matrix products of the same model, one BLAS call each, and nothing else

Random weights, random pictures, float32. How they are started and asked: `processes`.
"""

import math
import sys
from dataclasses import replace
from functools import cache

import numpy as np

from ..config import VARIANTS
from ..parameters import init_params
from .processes import own_peak
from .turns import timed


def serve(contender, model, batch, image_size, threads):
    """Prepares the work, then answers the questions on stdin, a number a line, until there are no more."""
    batch, image_size, threads = int(batch), int(image_size), int(threads)
    prepare = {"pvt_numpy": _ours, "products": _products, "pytorch": _pytorch}[contender]
    answers = {
        "run": timed(prepare(model, batch, image_size, threads)),
        "peak": own_peak,
        "gmacs": lambda: batch * _counted(model, image_size)["macs"] / 1e9,
    }
    for question in map(str.strip, sys.stdin):
        print(answers[question](), flush=True)


def _case(name, batch, image_size):
    """The variant made for this size, for Hugging Face's v1 runs at no other: its config and params; and pictures."""
    config = replace(VARIANTS[name], image_size=image_size)
    pixels = np.random.default_rng(1).standard_normal((batch, 3, image_size, image_size), np.float32)
    return config, init_params(config, np.random.default_rng(0)), pixels


def _ours(name, batch, image_size, threads):
    from ..model import forward

    config, params, x = _case(name, batch, image_size)
    return lambda: forward(x, params, config)


def _pytorch(name, batch, image_size, threads):
    import torch

    from ..reference.pytorch import hf_model

    torch.set_num_threads(threads)
    config, params, x = _case(name, batch, image_size)
    model, x = hf_model(params, config), torch.from_numpy(x)

    def work():
        with torch.inference_mode():
            model(x)

    return work


def _products(name, batch, image_size, threads):
    shapes = list(product_shapes(_counted(name, image_size)["layers"], batch))
    # What goes in and comes out lies in the same two places each time: a model's activations are as fresh in the cache,
    # and all of them at once would fill gigabytes. The right-hand sides, mostly weights, are each their own.
    inputs = np.ones(max(math.prod(left) for left, _ in shapes), np.float32)
    outputs = np.ones(max(math.prod((*left[:-1], right[-1])) for left, right in shapes), np.float32)
    operands = [(_first(inputs, left), np.ones(right, np.float32), _first(outputs, (*left[:-1], right[-1])))
                for left, right in shapes]  # fmt: skip

    def work():
        for left, right, product in operands:
            np.matmul(left, right, out=product)

    return work


def product_shapes(layers, batch):
    """The shapes (left, right) of every matrix product of a model, from the rows of `analysis.cost.summarise`.

    A linear layer, and a convolution over its windows, is one product for all tokens of the batch; attention has one
    for every head of every picture. The depthwise convolution has none: each channel meets its own nine numbers.

    >>> list(product_shapes([{"name": "head", "output": [1000], "macs": 512_000}], 8))
    [((8, 512), (512, 1000))]
    """
    for row in layers:
        if not row["macs"] or row["name"].endswith(".dwconv"):
            continue
        *tokens, columns = row["output"]
        inner = row["macs"] // math.prod(row["output"])
        if "full_macs" in row:  # attention: the output is (heads, N, M) or (heads, N, d)
            heads, N = tokens
            yield (batch, heads, N, inner), (batch, heads, inner, columns)
        else:
            yield (batch * math.prod(tokens), inner), (inner, columns)


def _first(array, shape):
    return array[: math.prod(shape)].reshape(shape)


@cache
def _counted(name, image_size):
    from ..analysis.cost import summarise

    return summarise(VARIANTS[name], (image_size, image_size))


if __name__ == "__main__":
    serve(*sys.argv[1:])
