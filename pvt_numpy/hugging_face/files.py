"""Folders as transformers writes and reads them: where a source lies, and what its JSON files say."""

import json
import os
from pathlib import Path

from ..checkpoints.checkpoint import load_model
from ..checkpoints.sources import within
from ..checkpoints.strict_json import read_json
from ..config import config_from_dict, config_to_dict
from ..system.checks import rule
from ..system.files import atomic_file
from ..system.paths import SHIPPED, SHIPPED_MODELS
from .arguments import type_name

PLACE = rule(lambda one: one is None or isinstance(one, str | os.PathLike), "a folder, a file, a name, or None")


def place_of(source, model_type, local_files_only=False):
    """Where `source` lies: the model that ships for None, the downloaded folder for a published name or a Hub id."""
    from ..checkpoints import hub, published

    PLACE("source", source)
    if source is None:
        return SHIPPED_MODELS["pvt_v1_nano_imagenette"] if model_type == "pvt" else SHIPPED
    return hub.download(source, local_files_only) if published.is_hub_name(source) else source


def json_at(place, name):
    """The JSON object in the file `name` of the folder `place`, or in `place` itself; None if there is none."""
    path = Path(place)
    file = path / name if path.is_dir() else path
    return read_json(within(file)) if file.suffix == ".json" and os.path.lexists(file) else None


def told_at(place):
    """The fields of the configuration at `place`: those of its config.json, or of the model that is loaded from it."""
    values = json_at(place, "config.json") or {}
    return values if "model_type" in values else fields_of(load_model(place, recipe="hf"))


def fields_of(loaded, told=None):
    """The fields of a loaded model as a dict for `from_dict`; told: what a config.json beside it says."""
    values = config_to_dict(loaded.config)
    if told is None or "model_type" not in told:
        return values | ({"id2label": dict(enumerate(loaded.labels))} if loaded.labels else {})
    return told | values | {"num_labels": config_from_dict(told).num_labels}  # a model without a head keeps its number


def float_type_at(dtype, place=None):
    """The name of the type that `dtype` asks for; for "auto" or None that of the files at `place`, or float32."""
    name = type_name(dtype)
    if name in ("None", "auto"):
        told = (json_at(place, "config.json") or {}) if place else {}
        return "float64" if told.get("dtype", told.get("torch_dtype")) == "float64" else "float32"
    rule(lambda name: name in ("float32", "float64"), "float32 or float64, in which NumPy computes here")("dtype", name)
    return name


def json_text(values):
    """The text of a JSON file, its names in order."""

    def other(value):  # a PyTorch type, an array
        return value.tolist() if hasattr(value, "tolist") else type_name(value)

    return json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False, default=other) + "\n"


def made_folder(path):
    """`path` as a folder to write into, made if it is not there."""
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{path}: found a file; expected the name of a folder to write into")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_json(folder, name, text):
    """Writes a text into a folder, whole or not at all; returns the paths of what was written."""
    path = made_folder(folder) / name
    with atomic_file(path) as file:
        file.write(text.encode())
    return [str(path)]
