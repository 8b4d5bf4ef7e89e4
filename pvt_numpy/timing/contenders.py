"""What runs inside the processes that `python -m pvt_numpy.benchmark` compares: one model, one batch, run when asked.

    pvt_numpy    this package's forward pass, or its training step
    pytorch      transformers' in inference mode, or AdamW's step in eager mode
    products     the floor: the matrix products of the same model, one BLAS call each, and nothing else
    onnxruntime  transformers' model as PyTorch exports it, run by ONNX Runtime
    compiled     transformers' model by torch.compile

A training step is loss, gradients, clipping and update (ours also averages the weights). Random weights, random
pictures, float32. How they are started and asked: `processes`.
"""

import math
import sys
import tempfile
import warnings
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ..config import VARIANTS
from ..parameters import init_params, unflatten
from .processes import own_peak
from .turns import timed

STEP_BATCH, STEP_SIZE = 32, 64  # pictures of a training step, and pixels on their side
EXTRAS = {  # contender -> whether a package that it needs is missing
    "onnxruntime": lambda: not (find_spec("onnxruntime") and find_spec("onnxscript")),
    "compiled": lambda: sys.platform == "win32",
}


def serve(kind, contender, model, batch, image_size):
    """Prepares the work, then answers the questions on stdin, a number a line, until there are no more."""
    batch, image_size = int(batch), int(image_size)
    answers = {
        "run": timed(CONTENDERS[kind, contender](model, batch, image_size)),
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


def _ours(name, batch, image_size):
    from ..model import forward

    config, params, x = _case(name, batch, image_size)
    return lambda: forward(x, params, config)


def _pytorch(name, batch, image_size, prepared=lambda model: model):
    import torch

    from ..reference.pytorch import hf_model

    config, params, x = _case(name, batch, image_size)
    model, x = prepared(hf_model(params, config)), torch.from_numpy(x)

    def work():
        with torch.inference_mode():
            model(x)

    return work


def _compiled(name, batch, image_size):
    import torch

    return _pytorch(name, batch, image_size, torch.compile)


def _onnxruntime(name, batch, image_size):
    import onnxruntime
    import torch

    from ..reference.pytorch import hf_model

    config, params, x = _case(name, batch, image_size)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = str(Path(folder, "model.onnx"))
        torch.onnx.export(hf_model(params, config), (torch.from_numpy(x),), file, input_names=["x"], dynamo=True,
                          verbose=False)  # fmt: skip
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})


def _training(batch, image_size):
    """A training that has not begun, of the small v1, and a batch of pictures and labels."""
    from ..training.start import nano_config
    from ..training.state import Settings, fresh

    rng, config = np.random.default_rng(0), nano_config(image_size, 10)
    pixels = rng.normal(size=(batch, 3, image_size, image_size)).astype(np.float32)
    return fresh(Settings("benchmark", batch=batch), config), pixels, rng.integers(config.num_labels, size=batch)


def _our_step(name, batch, image_size):
    from ..training.loop import Batch, step

    state, pixels, labels = _training(batch, image_size)
    return lambda: step(state, Batch(pixels, labels), state.settings.rate)


def _pytorch_step(name, batch, image_size):
    import torch

    from ..reference.pytorch import hf_model

    state, pixels, labels = _training(batch, image_size)
    settings, model = state.settings, hf_model(unflatten(state.arrays["params"]), state.config).train()
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    adamw = torch.optim.AdamW(model.parameters(), lr=settings.rate, weight_decay=settings.decay)
    measure = torch.nn.CrossEntropyLoss(label_smoothing=settings.smoothing)
    x, y = torch.from_numpy(pixels), torch.from_numpy(labels)

    def work():
        adamw.zero_grad()
        measure(model(x).logits, y).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        adamw.step()

    return work


def _products(name, batch, image_size):
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


CONTENDERS = {
    ("forward", "pvt_numpy"): _ours,
    ("forward", "pytorch"): _pytorch,
    ("forward", "products"): _products,
    ("forward", "onnxruntime"): _onnxruntime,
    ("forward", "compiled"): _compiled,
    ("training step", "pvt_numpy"): _our_step,
    ("training step", "pytorch"): _pytorch_step,
}

if __name__ == "__main__":
    serve(*sys.argv[1:])
