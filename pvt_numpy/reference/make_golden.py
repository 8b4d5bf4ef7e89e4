"""Writes the golden numbers, with PyTorch: `python -m pvt_numpy.reference.make_golden [NAME ...]`.

One JSON file a case: the configuration, the seeds, the parameters' hash, who computed the numbers, and the numbers
(see `golden.py`). Everything is computed in float64. References: Hugging Face transformers for the eleven variants and
the model that ships; PyTorch's own functions (`v1_functional.py`) for v1 at another size.

The large variants see small pictures; their widths and depths are the published ones. The v2 variants have the
official pair of epsilons, v1 and the model that ships Hugging Face's single one.
"""

import argparse
import json
import platform
from dataclasses import replace

import numpy as np

from ..checkpoints.checkpoint import Model, load_model
from ..config import VARIANTS, config_to_dict
from ..parameters import flatten
from ..system.files import atomic_file
from ..system.paths import GOLDEN_NUMBERS
from .golden import digests, params_hash, seeded_params, seeded_pixels
from .pytorch import hf_model, hf_trace

RESIZED, SHIPPED = "pvt_tiny_resized", "shipped"
SHAPES = {"pvt_tiny": (1, 3, 224, 224), "pvt_v2_b0": (1, 3, 224, 224), "pvt_v2_b2_li": (2, 3, 50, 67),
          RESIZED: (2, 3, 98, 79), SHIPPED: (1, 3, 224, 224)}  # fmt: skip
V1_SHAPE, V2_SHAPE = (2, 3, 64, 64), (2, 3, 75, 101)  # of the others
FUNCTIONAL = "PyTorch's F.conv2d, F.layer_norm, F.interpolate and F.softmax: pvt_numpy/reference/v1_functional.py"


def case(name, seed):
    """(Model, shape of the picture) of a case."""
    if name == SHIPPED:
        return load_model(dtype=np.float64), SHAPES[name]
    config = VARIANTS["pvt_tiny" if name == RESIZED else name]
    if config.model_type == "pvt":
        shape = SHAPES.get(name, V1_SHAPE)
        config = replace(config, image_size=64 if name == RESIZED else shape[2])
    else:
        shape = SHAPES.get(name, V2_SHAPE)
        config = replace(config, patch_norm_eps=1e-5)
    return Model(config, seeded_params(config, seed)), shape


def compute(name, seed):
    """The golden file of a case, as a dict."""
    import torch
    import transformers

    from .v1_functional import v1_functional

    model, shape = case(name, seed)
    x = seeded_pixels(shape, seed + 100)
    if name == RESIZED:
        reference = FUNCTIONAL
        flat = {key: torch.from_numpy(value) for key, value in flatten(model.params).items()}
        trace = {key: value.numpy() for key, value in v1_functional(torch.from_numpy(x), flat, model.config).items()}
    else:
        module = hf_model(model.params, model.config)
        reference = f"transformers {type(module).__name__}, eval mode, float64"
        trace, _ = hf_trace(module, x, model.config)
    return {
        "model": name,
        "reference": reference,
        "written_by": "pvt_numpy/reference/make_golden.py",
        "versions": {"python": platform.python_version(), "numpy": np.__version__,
                     "torch": torch.__version__, "transformers": transformers.__version__},
        "config": config_to_dict(model.config),
        "params": "weights/" if name == SHIPPED else {"seed": seed},
        "params_sha256": params_hash(model.params),
        "pixels": {"shape": shape, "seed": seed + 100},
        "numbers": {key: value.tolist() for key, value in digests(trace, model.config).items()},
    }  # fmt: skip


def write(path, golden):
    """JSON with one line for each key and name, so that a change can be read."""
    numbers = [f"    {json.dumps(key)}: {json.dumps(values)}" for key, values in golden.pop("numbers").items()]
    head = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in golden.items()]
    text = "{\n" + ",\n".join([*head, '  "numbers": {\n' + ",\n".join(numbers) + "\n  }"]) + "\n}\n"
    with atomic_file(path) as file:
        file.write(text.encode())


if __name__ == "__main__":
    names = [*VARIANTS, RESIZED, SHIPPED]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="cases: " + ", ".join(names) + " (default: all)")
    for chosen in parser.parse_args().names or names:
        write(GOLDEN_NUMBERS / f"{chosen}.json", compute(chosen, 1 + names.index(chosen)))
        print(GOLDEN_NUMBERS / f"{chosen}.json")
