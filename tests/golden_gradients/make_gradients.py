"""Writes the golden gradients beside it, with PyTorch: `python tests/golden_gradients/make_gradients.py`.

One JSON file for each kind of model in tests/model_cases.py: who computed it, the parameters' hash, the loss, and for
the pixels and every parameter the digest (see `pvt_numpy/golden.py`) of the gradient, all in float64.
"""

import json
import platform
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main():
    """Writes all files."""
    sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]
    import numpy as np
    import torch
    import transformers
    from model_cases import KINDS, case, torch_gradients

    from pvt_numpy.config import config_to_dict
    from pvt_numpy.golden import digest, params_hash

    for name in KINDS:
        config, params, x, labels = case(name)
        loss, dpixels, grads = torch_gradients(name)
        reference = "tests/v1_functional.py" if name == "v1_resized" else "transformers' ForImageClassification"
        golden = {
            "model": name,
            "reference": f"{reference}, PyTorch autograd, float64",
            "versions": {"torch": torch.__version__, "transformers": transformers.__version__,
                         "numpy": np.__version__, "python": platform.python_version()},
            "written_by": "tests/golden_gradients/make_gradients.py",
            "config": config_to_dict(config),
            "params_seed": list(KINDS).index(name),
            "pixels": {"shape": x.shape, "seed": list(KINDS).index(name) + 50},
            "labels": None if labels is None else labels.tolist(),
            "params_sha256": params_hash(params),
            "loss": loss,
            "gradients": {key: digest(g).tolist() for key, g in {"pixel_values": dpixels, **grads}.items()},
        }  # fmt: skip
        rows = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in golden["gradients"].items()]
        golden["gradients"] = "HERE"
        text = json.dumps(golden, indent=1).replace('"HERE"', "{\n" + ",\n".join(rows) + "\n }")
        (HERE / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        print(name)


if __name__ == "__main__":
    main()
