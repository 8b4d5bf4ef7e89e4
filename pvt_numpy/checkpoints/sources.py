"""Opens what holds a checkpoint - a safetensors file, a PyTorch pickle, a folder - without deciding what it means.

Pickles are opened with `weights_only=True` and never otherwise. Every damaged file ends in one ValueError that names
it. Which part of it is a PVT is told by `inside`, what its names mean by `names` and `identify`; whether names and
shapes are those of a model, by `checkpoint`. Left out: other frameworks' files, and parameters of whole numbers.
"""

import contextlib
import os
import re
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..system.checks import wrong
from ..system.files import check_not_dangling, check_not_stand_in, check_readable, named
from .safetensors_file import read_safetensors
from .strict_json import read_json

STEMS = ("model.safetensors", "pytorch_model.bin")
FOLDER_FILES = tuple(stem + end for stem in STEMS for end in ("", ".index.json"))  # the first that is there counts
FORMAT_KEY = "pvt_numpy.format"  # in the metadata of our own files, which need nothing beside them
PICKLES = (".pth", ".pt", ".bin", ".ckpt")
NO_MODEL = re.compile(r"(training_args|optimizer|scheduler|scaler|rng_state)|.*-\d{5}-of-\d{5}\.")  # a shard is a part
AVERAGES = {"n_averaged", "num_updates", "decay"}  # what the keepers of an average count beside the weights
FOREIGN_FORMATS = {  # by the suffix, for not all begin alike
    ".npz": "NumPy's archive of arrays", ".npy": "an array of NumPy", ".h5": "an HDF5 file, as Keras writes",
    ".keras": "a Keras model", ".onnx": "an ONNX model", ".pb": "a TensorFlow model", ".tflite": "a TensorFlow model",
    ".msgpack": "Flax's parameters", ".gguf": "a GGUF file",
}  # fmt: skip
PICKLED = ("torch.float64", "torch.float32", "torch.float16", "torch.bfloat16")
FOREIGN = re.compile(r"(?:GLOBAL|nsupported class) ([\w.]+)")  # how PyTorch names what it refuses to make


@dataclass(frozen=True)
class Source:
    """An opened checkpoint: what it holds, and `read(name)`, which gives one array in the file's own precision."""

    shapes: dict[str, tuple[int, ...]]
    read: Callable[[str], np.ndarray]
    metadata: dict[str, str] = field(default_factory=dict)
    tables: dict[str, bool | None] = field(default_factory=dict)  # of a pickle, as `_averaged` tells
    config: dict | None = None  # config.json beside it
    preprocessor: dict | None = None  # preprocessor_config.json beside it
    chosen: str = ""  # the weights that were chosen from a folder, and out of which


def open_source(path, preprocessor=True):
    """Opens a file, or a folder as Hugging Face and timm publish them. Returns a Source.

    config.json and preprocessor_config.json beside the weights count whatever the weights are called, but for those of
    another kind of model beside a file that was named by itself. `preprocessor`: whether the second is read.
    """
    with named(path):
        return _open_source(Path(path), preprocessor)


def _open_source(path, preprocessor):
    weights, chosen = _weights_in(path) if path.is_dir() else (path, "")
    source = _open_sharded(weights) if ".index." in weights.name else _open_file(weights)
    if FORMAT_KEY in source.metadata:
        return source
    config = _beside(weights, "config.json")
    kind = (config or {}).get("model_type", (config or {}).get("architecture", "pvt"))
    if weights == path and path.name not in FOLDER_FILES and not str(kind).startswith("pvt"):
        return source
    processor = _beside(weights, "preprocessor_config.json") if preprocessor else None
    return replace(source, config=config, preprocessor=processor, chosen=chosen)


def _beside(weights, name):
    """The JSON in a file of the same folder. One that cannot be read, a broken link for instance, is not as none."""
    file = weights.with_name(name)
    return read_json(within(file)) if os.path.lexists(file) else None


def _weights_in(folder):
    """(the file of weights in a folder, words on the choice if there was one).

    The first of FOLDER_FILES that is there. Without any, what has another name, such as model.fp16.safetensors or
    best.pth: safetensors before pickles, the largest first, then in the order of their names.
    """
    for name in FOLDER_FILES:
        if (folder / name).is_file() or (folder / name).is_symlink():
            return within(folder / name), ""
    files = [file for file in folder.iterdir() if file.is_file() and not NO_MODEL.match(file.name)]
    files = [file for file in files if file.suffix in (".safetensors", *PICKLES) or ".index." in file.name]
    files.sort(key=lambda file: (".safetensors" not in file.name, -file.stat().st_size, file.name))
    names = [file.name for file in files]
    if len(names) > 1 and not (folder / "config.json").is_file():
        raise wrong(folder, f"several checkpoints and no config.json, {', '.join(names)}", "the name of one of them")
    if not names:
        raise FileNotFoundError(f"{folder}: found a folder with no model in it; expected {' or '.join(FOLDER_FILES)}")
    return within(files[0]), names[0] if len(names) == 1 else f"{names[0]}, the first of {', '.join(names)}"


def within(path):
    """`path`, which a folder holds, unless it is a link that leads out of that folder: a checkpoint that came from
    elsewhere must not reach beyond itself. The Hub's own cache may: its snapshots link to the blobs two folders up."""
    check_not_dangling(path)
    folder = path.parent.resolve()
    allowed = (folder, folder.parent.parent / "blobs") if folder.parent.name == "snapshots" else (folder,)
    if path.is_symlink() and not any(path.resolve().is_relative_to(place) for place in allowed):
        raise wrong(path, "a link that leads out of its folder", "the file itself")
    return path


def _open_file(path):
    check_not_dangling(path)
    check_readable(path)
    with open(path, "rb") as file:
        check_not_stand_in(path, head := file.read(64))
    if path.suffix.lower() in FOREIGN_FORMATS and head[8:9] != b"{":
        expected = "a safetensors file (safetensors.numpy.save_file writes one) or what torch.save writes"
        raise wrong(path, f"{FOREIGN_FORMATS[path.suffix.lower()]}, which is not read", expected)
    # Safetensors start with eight bytes of length and a brace; PyTorch's files are zip archives or bare pickles.
    if head[8:9] != b"{" and (head[:2] == b"PK" or head[:1] == b"\x80" or path.suffix in PICKLES):
        return _open_pickle(path)
    metadata, shapes, read = read_safetensors(path)
    return Source(shapes, read, metadata)


def read_weight_map(index_path):
    """Name of a parameter -> file in the same folder that holds it, as `*.index.json` lists them."""
    weight_map = read_json(index_path).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
        raise wrong(f"{index_path}: weight_map", "something else", "a table of names and files")
    for file in weight_map.values():
        # A plain name and nothing else: an index that came from elsewhere must not reach outside its folder.
        if file in ("", ".", "..") or any(mark in file for mark in "/\\:\0"):
            raise wrong(f"{index_path}: weight_map", repr(file), "the name of a file in the same folder")
    return weight_map


def _open_sharded(index_path):
    """A model in several files."""
    weight_map, shards = read_weight_map(index_path), {}
    for file in sorted(set(weight_map.values())):
        check_not_dangling(index_path.with_name(file))
        if not index_path.with_name(file).is_file():
            raise FileNotFoundError(f"{index_path}: found no {file}; expected it, for the index lists it")
        shards[file] = _open_file(within(index_path.with_name(file)))
    held = {name: shard for shard in shards.values() for name in shard.shapes}
    if len(held) < sum(len(shard.shapes) for shard in shards.values()):
        raise wrong(index_path, f"a parameter in two of the files {', '.join(shards)}", "each in one")
    for name, file in weight_map.items():
        if name not in shards[file].shapes:
            raise wrong(f"{index_path}: {name}", f"no such parameter in {file}", "it there")
    return Source({name: held[name].shapes[name] for name in held}, lambda name: held[name].read(name))


def _open_pickle(path):
    """What torch.save wrote: a state dict, bare or in tables, whose names then start with the table's."""
    try:
        import torch
    except ImportError:
        raise wrong(path, "a PyTorch pickle", "PyTorch to open it: pip install torch (the extra [torch])") from None
    from argparse import Namespace  # the official training script keeps its options beside the parameters

    try:
        # PyTorch is given the file and not its name, by whose suffix it would choose another reader.
        with open(path, "rb") as file, warnings.catch_warnings(), torch.serialization.safe_globals([Namespace]):
            warnings.simplefilter("ignore")  # of PyTorch's old formats; a file is either good or refused
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises whatever the damage leads to
        found = f"a pickle that is damaged or holds more than tensors ({_reason(path, str(error))})"
        raise wrong(path, found, "tensors alone, for any other pickle could run any program") from None
    tables = _tables(state, torch.is_tensor)
    if not tables:
        raise wrong(path, "no table of parameters", "one, bare or in a table such as 'model' or 'state_dict'")
    averaged = _averaged(state, tables)
    names = [(place + key, value) for place, table in tables.items() for key, value in table.items()]
    state = {name: value for name, value in names if torch.is_tensor(value)}
    if len(state) < sum(torch.is_tensor(value) for _, value in names):
        raise wrong(path, "two parameters of one name", "each once")
    if nested := [name for name, tensor in state.items() if tensor.is_nested]:
        raise wrong(f"{path}: {', '.join(nested[:20])}", "a nested tensor, which has no shape", "plain tensors")

    def read(name):
        tensor = state[name].detach()
        plain = tensor.layout == torch.strided and not tensor.is_meta
        if not plain or str(tensor.dtype) not in PICKLED:
            kind = "without numbers (meta)" if tensor.is_meta else tensor.layout
            raise wrong(f"{path}: {name}", f"the type {tensor.dtype}, {kind}", "plain floating-point numbers")
        if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
            raise wrong(f"{path}: {name}", f"fewer numbers than its shape {tuple(tensor.shape)} has", "as many")
        return np.array((tensor.float() if tensor.dtype == torch.bfloat16 else tensor).resolve_neg().numpy())

    return Source({n: tuple(t.shape) for n, t in state.items()}, read, tables=averaged)


def _reason(path, said):
    """Why PyTorch could not open a pickle, out of what it `said`, which would advise to switch its safety off."""
    with open(path, "rb") as file:
        begins, size = file.read(1), file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 999))
        end = file.read()[:-1].rstrip()
    cut_off = f"its {size:,} bytes are cut off or damaged"
    whole = False
    with contextlib.suppress(zipfile.BadZipFile):
        whole = begins != b"P" or zipfile.is_zipfile(path)
    if not whole:
        return cut_off
    if "TorchScript" in said:
        return "it is a TorchScript archive; torch.jit.load(...).state_dict() gives what to save"
    foreign = FOREIGN.search(said)
    if foreign and not end.endswith("\n".join(foreign[1].rsplit(".", 1)).rstrip().encode()):  # not a name cut in two
        return f"it holds an object of {foreign[1]}; save the model's state_dict() by itself"
    if "Unsupported operand" in said:
        return "it is damaged, or saved with another pickle_protocol than 2, which torch.save takes by itself"
    return cut_off


def _tables(state, is_tensor):
    """The tables of named tensors in what a training script saved: path, as "state_dict.", -> the table.

    What else there is, counters, options and the optimiser's numbered states, is none of the model's.
    """
    tables, seen, waiting = {}, set(), [("", state)]
    while waiting:
        path, table = waiting.pop()
        if id(table) in seen or not isinstance(table, dict) or not all(isinstance(key, str) for key in table):
            continue
        seen.add(id(table))  # one that is there twice, or within itself, counts once
        if any(map(is_tensor, table.values())):
            tables[path] = table
        waiting += [(f"{path}{key}.", value) for key, value in reversed(table.items())]
    return tables


def _averaged(state, tables):
    """The path of each table -> whether its weights are an average, or None if only the path can tell."""
    told = {path: True if AVERAGES & table.keys() else None for path, table in tables.items()}
    meta = state.get("meta")
    if "ema_state_dict" in state and isinstance(meta, dict) and "mmengine_version" in meta:
        told |= {"state_dict.": True, "ema_state_dict.": False}  # its EMA hook exchanges the two before it saves
    return told
