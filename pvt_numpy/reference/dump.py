"""Every number of one forward and one backward pass, in files that any language reads.

One file an array, and `manifest.json`, which says of each what it is, its axes, and what it is made from. `against.py`
reads such a folder, whoever wrote it.

Left out: gradients of intermediates, which the backward pass does not keep. Those of the logits, of the pixels and of
every parameter are there.
"""

import json

import numpy as np

from ..config import config_to_dict
from ..gradients import model_backward
from ..layers.losses import cross_entropy_backward
from ..model import forward
from ..parameters import flatten
from .golden import params_hash
from .steps import step_of

MANIFEST, FORMAT = "manifest.json", "pvt_numpy dump 1"
LABEL = 0  # the class whose cross-entropy the gradients are of
LEGEND = {
    "B": "pictures", "H": "rows", "W": "columns", "C": "channels", "C'": "channels that come out", "d": "C / heads",
    "N": "query tokens, row by row of the map", "M": "key tokens", "heads": "attention heads", "k": "side of a kernel",
    "hidden": "channels inside the MLP", "labels": "classes", "N'": "rows of a position table, a class token's first",
    "1": "an axis of length 1",
}  # fmt: skip


def arrays_of(config, params, pixels, gradients=False):
    """name -> array: the parameters, every intermediate in the order in which the model computes it, the gradients."""
    trace = {}
    forward(pixels, params, config, trace=trace)
    arrays = flatten(params) | {name: array for name, array in trace.items() if not name.endswith(".grid")}
    return arrays | (gradients_of(config, params, pixels, trace["logits"]) if gradients else {})


def gradients_of(config, params, pixels, logits):
    """ "gradients.NAME" -> array, of the cross-entropy with class 0: the logits' first, the pixels' last."""
    dlogits = cross_entropy_backward(1.0, logits, np.full(len(logits), LABEL))
    dpixels, grads = model_backward(dlogits, pixels, params, config)
    grads = flatten(grads)
    found = {"logits": dlogits} | {name: grads[name] for name in reversed(flatten(params))} | {"pixel_values": dpixels}
    return {f"gradients.{name}": array for name, array in found.items()}


def said_of(name, config, params):
    """What the manifest says of the array of that name: a dict for JSON."""
    names = list(flatten(params))
    if name.startswith("gradients."):
        of = name.partition(".")[2]
        axes = said_of(of, config, params)["axes"]
        return {"kind": "gradient", "of": of, "axes": axes, "where": "gradients.py: model_backward"}
    if name in names:
        return {"kind": "parameter", "axes": _parameter_axes(name, flatten(params)[name].ndim)}
    step = step_of(name, config)
    used = [one for one in names if any(one == given or one.startswith(given + ".") for given in step.parameters)]
    return {"kind": "intermediate", **step._asdict(), "parameters": used}


def _parameter_axes(name, ndim):
    if ndim == 3:
        return ["1", "N'" if name.endswith("pos_embed") else "1", "C"]
    return ["C'", "1" if ".dwconv." in name else "C", "k", "k"][:ndim]


def write_dump(folder, config, params, pixels, about, gradients=False, raw=False):
    """Writes every array and the manifest into a folder that is there and empty; returns how many arrays.

    about  more entries of the manifest: the model's and the picture's names
    raw    the numbers alone, NAME.raw, in place of NAME.npy
    """
    entries = []
    for order, (name, array) in enumerate(arrays_of(config, params, pixels, gradients).items()):
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        file = folder / f"{name}.{'raw' if raw else 'npy'}"
        file.write_bytes(array.tobytes()) if raw else np.save(file, array)
        entries.append({"name": name, "file": file.name, "order": order, **said_of(name, config, params),
                        "shape": array.shape, "dtype": array.dtype.str, "min": float(array.min()),
                        "max": float(array.max())})  # fmt: skip
    top = {"format": FORMAT, **about, "params_sha256": params_hash(params), "config": config_to_dict(config),
           "legend": LEGEND}  # fmt: skip
    lines = [f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in top.items()]
    each = ",\n".join("  " + json.dumps(entry, ensure_ascii=False) for entry in entries)  # an array a line
    text = "{\n" + ",\n".join([*lines, f' "arrays": [\n{each}\n ]']) + "\n}\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    return len(entries)
