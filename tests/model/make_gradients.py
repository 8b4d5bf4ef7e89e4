"""Writes the golden gradients, with PyTorch: `python tests/model/make_gradients.py`.

One JSON file for each kind of model in model_cases.py: who computed it, the parameters' hash, the loss, and for the
pixels and every parameter the digest (see `reference/golden.py`) of the gradient, all in float64.
"""

import json
import platform
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "pvt_numpy" / "reference" / "golden_gradients"


def main():
    """Writes all files."""
    sys.path[:0] = [str(ROOT)]
    import numpy as np
    import torch
    import transformers

    from pvt_numpy.config import config_to_dict
    from pvt_numpy.reference.golden import digest, params_hash
    from tests.model.model_cases import KINDS, case, torch_gradients

    for name in KINDS:
        config, params, x, labels = case(name)
        loss, dpixels, grads = torch_gradients(name)
        reference = "reference/v1_functional.py" if name == "v1_resized" else "transformers' ForImageClassification"
        golden = {
            "model": name,
            "reference": f"{reference}, PyTorch autograd, float64",
            "versions": {"torch": torch.__version__, "transformers": transformers.__version__,
                         "numpy": np.__version__, "python": platform.python_version()},
            "written_by": "tests/model/make_gradients.py",
            "config": config_to_dict(config),
            "params_seed": list(KINDS).index(name),
            "pixels": {"shape": x.shape, "seed": list(KINDS).index(name) + 50},
            "labels": None if labels is None else labels.tolist(),
            "params_sha256": params_hash(params),
            "loss": loss,
            "gradients": {key: digest(g).tolist() for key, g in {"pixel_values": dpixels, **grads}.items()},
        }  # fmt: skip
        rows = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in golden["gradients"].items()]
        golden["gradients"] = "FOLDER"
        text = json.dumps(golden, indent=1).replace('"FOLDER"', "{\n" + ",\n".join(rows) + "\n }")
        (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        print(name)


if __name__ == "__main__":
    main()
