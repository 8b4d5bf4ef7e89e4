"""Our model beside PyTorch's: the one place that runs the comparison, which `validate` prints and `plots` draws.

A `Case` is a model, a picture and what PyTorch makes of them, computed now (`live_case`) or written down once
(`golden_case`). `compare` runs our model on the same picture and says how far apart the two are, layer by layer.
"""

import contextlib
from typing import NamedTuple

import numpy as np

from ..checkpoints.checkpoint import Model, describe
from ..config import config_from_dict, variant_name
from ..model import forward
from ..system.checks import wrong
from .comparison import differences
from .golden import digests, params_hash, read_golden, seeded_params, seeded_pixels
from .mistakes import made
from .pytorch import INSTALL


class Case(NamedTuple):
    """A model, a prepared picture, and what PyTorch makes of them: a dict of arrays, or of digests if `golden`."""

    title: str
    reference: str
    config: object
    params: dict
    pixels: np.ndarray
    expected: dict
    golden: bool


def live_case(title, model, pixels):
    """The case of a `Model` and a picture (B, num_channels, H, W) of the parameters' type, run in PyTorch now."""
    import torch
    import transformers

    from .pytorch import hf_model, hf_trace

    config = model.config
    if config.model_type == "pvt" and pixels.shape[2:] != config.image_hw:
        found, expected = ("{} x {}".format(*size) for size in (pixels.shape[2:], config.image_hw))
        raise wrong("the picture", f"{found} pixels", f"{expected}, as Hugging Face's PVT v1 is made for one size")
    module = hf_model(model.params, config)
    expected, _ = hf_trace(module, pixels, config)
    reference = f"{type(module).__name__} of transformers {transformers.__version__}, PyTorch {torch.__version__}"
    return Case(title, reference, config, model.params, pixels, expected, False)


def golden_case(model, dtype="float64"):
    """The case that PyTorch wrote down for a `Model`, or for a variant's name: then with random weights.

    The model that ships has golden numbers of its own; any other stands for its architecture.
    """
    golden, name, note = read_golden("shipped"), model, ""
    if isinstance(model, Model):
        name, note = variant_name(model.config), ", for these weights there are no golden numbers"
        if name is None:
            expected = f"a published architecture, or PyTorch to compare live: {INSTALL}; or validate --random NAME"
            raise wrong(describe(model), "no golden numbers", expected)
    if isinstance(model, Model) and params_hash(model.params) == golden["params_sha256"]:
        title, config, params = describe(model), model.config, model.params
    else:
        golden = read_golden(name)
        title, config = f"{name}, random weights{note}", config_from_dict(golden["config"])
        params = seeded_params(config, golden["params"]["seed"], np.dtype(dtype).type)
    pixels = seeded_pixels(golden["pixels"]["shape"], golden["pixels"]["seed"], np.dtype(dtype).type)
    reference = (f"golden numbers in golden_numbers/{golden['model']}.json, by {golden['reference']} "
                 "(transformers {transformers}, PyTorch {torch})".format(**golden["versions"]))  # fmt: skip
    return Case(f"{title}; picture: noise", reference, config, params, pixels, golden["numbers"], True)


def compare(case, mistake=None):
    """Our run of the case, with one of `MISTAKES` in it or not, against PyTorch's: a list of `Difference`."""
    trace = {}
    with made(mistake) if mistake else contextlib.nullcontext():
        forward(case.pixels, case.params, case.config, trace=trace)
    return differences(digests(trace, case.config) if case.golden else trace, _layers(case))


def by_precision(exact, single):
    """Label -> list of `Difference`: ours in float64 and in float32, and PyTorch's own float32 if it was run.

    exact, single  the same case in float64 and in float32; PyTorch's float64 is the truth for all
    """
    lines = {
        "NumPy, float64": compare(exact),
        "NumPy, float32": compare(single._replace(expected=exact.expected)),
    }
    if not exact.golden:
        lines["PyTorch, float32"] = differences(single.expected, _layers(exact))
    return lines


def _layers(case):
    """What is expected of the layers: neither the picture nor the sizes of grids, which are no layer's numbers."""
    return {name: value for name, value in case.expected.items()
            if name != "pixel_values" and not name.endswith(".grid")}  # fmt: skip
