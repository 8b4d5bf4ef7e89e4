"""Every number of one forward and one backward pass, in files that any language reads, and the way back.

`write_dump` writes one file an array and `manifest.json`, which says of each what it is, its axes, and what it is made
from. `read_dump` reads such a folder, whoever wrote it: any part of the names, maps with the channels last or first,
with or without the axis of the batch.

Left out: gradients of intermediates. Those of the pixels and of every parameter are there.
"""

import json
import re
from pathlib import Path

import numpy as np

from ..config import config_from_dict, config_to_dict
from ..gradients import loss_and_gradients, model_backward
from ..layers.losses import cross_entropy_backward
from ..model import forward
from ..parameters import flatten, unflatten
from ..system.checks import wrong
from .steps import steps_of

MANIFEST = "manifest.json"
VERSION = 1
LEGEND = {"B": "pictures", "N": "query tokens", "M": "key tokens", "C": "channels", "heads": "attention heads",
          "d": "channels of a head", "hidden": "channels inside the MLP", "H": "rows", "W": "columns"}  # fmt: skip


def arrays_of(config, params, pixels, label=None):
    """name -> (array, what the manifest says of it), in the order in which the model computes them.

    label  a class: the gradient of its cross-entropy is added; None: no backward pass
    """
    found, trace = {}, {}
    forward(pixels, params, config, trace=trace)
    for name, array in flatten(params).items():
        found[name] = array, {"kind": "parameter"}
    names = list(found)
    for name, array in trace.items():
        if name.endswith(".grid"):
            continue  # two whole numbers, which the shapes say
        step = steps_of(name, config)
        used = [one for given in step.parameters for one in names if one == given or one.startswith(given + ".")]
        found[name] = array, {"kind": "intermediate", "operation": step.operation, "formula": step.formula,
                              "where": step.where, "axes": list(step.axes), "inputs": list(step.inputs),
                              "parameters": used}  # fmt: skip
    if label is not None:
        labels = np.full(len(pixels), label)
        _, logits, grads = loss_and_gradients(pixels, params, config, labels)
        dlogits = cross_entropy_backward(1.0, logits, labels)
        dpixels, _ = model_backward(dlogits, pixels, params, config)
        about = {"kind": "gradient", "operation": f"of the cross-entropy with label {label}, the mean over the pictures",
                 "where": "gradients.py"}  # fmt: skip
        for name, array in {"logits": dlogits, "pixel_values": dpixels, **flatten(grads)}.items():
            found[f"gradients.{name}"] = array, about | {"of": name}
    return found


def write_dump(folder, arrays, config, about, raw=False):
    """Writes every array of `arrays_of` and the manifest into a folder that is there and empty.

    about  more entries of the manifest: the model's and the picture's names
    raw    little-endian numbers without a header, NAME.raw, in place of NAME.npy
    """
    entries = []
    for order, (name, (array, said)) in enumerate(arrays.items()):
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        file = f"{name}.{'raw' if raw else 'npy'}"
        if raw:
            (Path(folder) / file).write_bytes(array.tobytes())
        else:
            np.save(Path(folder) / file, array)
        entries.append({"name": name, "file": file, "order": order, **said, "shape": list(array.shape),
                        "dtype": array.dtype.str, "min": float(array.min()), "max": float(array.max())})  # fmt: skip
    manifest = {"format": "pvt_numpy dump", "version": VERSION, **about, "config": config_to_dict(config),
                "legend": LEGEND, "arrays": entries}  # fmt: skip
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    text = re.sub(r"\[\s+([^][{}]*?)\s+\]", lambda m: "[" + re.sub(r"\s*\n\s*", " ", m[1]) + "]", text)  # short lists on a line
    (Path(folder) / MANIFEST).write_text(text + "\n", encoding="utf-8")


def read_manifest(folder):
    """The manifest of a folder; None if there is none. Raises ValueError if it is none of ours."""
    path = Path(folder) / MANIFEST
    if not path.exists():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["format"] != "pvt_numpy dump" or manifest["version"] != VERSION:
            raise KeyError
        manifest["arrays"] = {entry["name"]: entry for entry in manifest["arrays"]}
    except (ValueError, KeyError, TypeError):
        raise wrong(path, "another text", "a manifest that validate --dump wrote") from None
    return manifest


def model_of(folder, manifest, dtype):
    """(config, params, pixels) that a folder's manifest describes and its files hold."""
    config = config_from_dict(manifest["config"])
    files = {name: entry for name, entry in manifest["arrays"].items()
             if entry["kind"] == "parameter" or name == "pixel_values"}  # fmt: skip
    arrays = {name: read_array(Path(folder) / entry["file"], entry).astype(dtype) for name, entry in files.items()}
    pixels = arrays.pop("pixel_values")
    return config, unflatten(arrays), pixels


def read_dump(folder, manifest):
    """name -> array of every file in a folder, and the names of files that hold none.

    A .raw file is read with the shape and type that the manifest gives it.
    """
    found, others = {}, []
    entries = {} if manifest is None else manifest["arrays"]
    for path in sorted(Path(folder).iterdir()):
        if path.suffix == ".npy" or (path.suffix == ".raw" and path.stem in entries):
            found[path.stem] = read_array(path, entries.get(path.stem))
        elif path.name != MANIFEST:
            others.append(path.name)
    if not found:
        raise wrong(folder, "no .npy file", "arrays named as validate --dump names them")
    return found, others


def read_array(path, entry):
    """One array of numbers. Raises ValueError if the file holds none."""
    if path.suffix == ".raw":
        numbers = np.frombuffer(path.read_bytes(), entry["dtype"])
        if numbers.size != np.prod(entry["shape"]):
            raise wrong(path, f"{numbers.size} numbers", f"{entry['shape']}, as the manifest says")
        return numbers.reshape(entry["shape"])
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise wrong(path, str(error).partition("\n")[0], "an array as numpy.save writes it") from None
    if array.dtype.kind not in "fiu":
        raise wrong(path, f"numbers of type {array.dtype}", "floats")
    return array


def fitted(array, expected, axes):
    """`array` in the layout of `expected`, and in words what had to be changed; None if it cannot be meant.

    >>> array, how = fitted(np.zeros((8, 5, 4)), np.zeros((1, 20, 8)), ("B", "N", "C"))
    >>> array.shape, how
    ((1, 20, 8), 'without the axis B, channels first')
    """
    if array.shape == expected.shape:
        return array, ""
    said = []
    if array.shape[:1] != expected.shape[:1] or array.ndim < expected.ndim:
        array, said = array[None], ["without the axis B"]
    if array.shape == expected.shape:
        return array, said[0]
    if axes == ("B", "N", "C") and array.ndim == 4:
        if array.shape[1] == expected.shape[2] and array[0, 0].size == expected.shape[1]:
            return array.reshape(*array.shape[:2], -1).swapaxes(1, 2), ", ".join([*said, "channels first"])
        if array.shape[3] == expected.shape[2] and array[0, ..., 0].size == expected.shape[1]:
            return array.reshape(len(array), -1, array.shape[3]), ", ".join([*said, "as a map"])
    if array.ndim == expected.ndim == 3 and array.swapaxes(1, 2).shape == expected.shape:
        return array.swapaxes(1, 2), ", ".join([*said, "channels first"])
    if array.ndim == expected.ndim == 4:
        for order, how in (((0, 3, 1, 2), "channels last"), ((0, 2, 1, 3), "tokens before heads")):
            if array.transpose(order).shape == expected.shape:
                return array.transpose(order), ", ".join([*said, how])
    return None
