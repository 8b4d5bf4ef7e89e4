"""Opens what holds a checkpoint - a safetensors file, a PyTorch pickle, a folder - without deciding what it means.

Pickles are opened with `weights_only=True` and never otherwise. Every damaged file ends in one ValueError that names
it. What the names mean is told by `names` and `identify`; whether names and shapes are those of a model, by
`checkpoint`. Left out: TensorFlow's and Flax's files, and parameters of whole numbers.
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
from ..system.files import check_not_dangling, check_not_stand_in
from .safetensors_file import read_safetensors
from .strict_json import read_json

STEMS = ("model.safetensors", "pytorch_model.bin")
FOLDER_FILES = tuple(stem + end for stem in STEMS for end in ("", ".index.json"))  # the first that is there counts
WRAPPERS = ("model", "state_dict")  # under which training scripts keep the parameters in a pickle
PICKLED = ("torch.float64", "torch.float32", "torch.float16", "torch.bfloat16")
FOREIGN = re.compile(r"(?:GLOBAL|nsupported class) ([\w.]+)")  # how PyTorch names what it refuses to make
PREFIXES = ("module.", "_orig_mod.", "backbone.")  # put before every name by DataParallel, torch.compile, detectors


@dataclass(frozen=True)
class Source:
    """An opened checkpoint: what it holds, and `read(name)`, which gives one array in the file's own precision."""

    shapes: dict[str, tuple[int, ...]]
    read: Callable[[str], np.ndarray]
    metadata: dict[str, str] = field(default_factory=dict)
    config: dict | None = None  # config.json beside it
    preprocessor: dict | None = None  # preprocessor_config.json beside it


def open_source(path, preprocessor=True):
    """Opens a file, or a folder as Hugging Face and timm publish them. Returns a Source.

    `preprocessor`: whether preprocessor_config.json is read.
    """
    path = Path(path)
    if path.is_dir():
        found = [path / name for name in FOLDER_FILES if (path / name).is_file() or (path / name).is_symlink()]
        if not found:
            raise FileNotFoundError(f"{path}: found a folder with no model in it; expected {' or '.join(FOLDER_FILES)}")
        weights, folder = _within(found[0]), path
    else:
        weights, folder = path, (path.parent if path.name in FOLDER_FILES else None)
    source = _open_sharded(weights) if weights.name.endswith(".index.json") else _open_file(weights)
    if folder is not None:
        beside = {"config": folder / "config.json", "preprocessor": folder / "preprocessor_config.json"}
        # One that is there but cannot be read, a broken link for instance, is not the same as none.
        found = [what for what in beside if os.path.lexists(beside[what]) and (preprocessor or what == "config")]
        source = replace(source, **{what: read_json(_within(beside[what])) for what in found})
    return _without_prefix(source)


def _within(path):
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
    with open(path, "rb") as file:
        check_not_stand_in(path, head := file.read(64))
    # Safetensors start with eight bytes of length and a brace; PyTorch's files are zip archives or bare pickles.
    if head[8:9] != b"{" and (head[:2] == b"PK" or head[:1] == b"\x80" or path.suffix in (".pth", ".pt", ".bin")):
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
        shards[file] = _open_file(_within(index_path.with_name(file)))
    held = {name: shard for shard in shards.values() for name in shard.shapes}
    if len(held) < sum(len(shard.shapes) for shard in shards.values()):
        raise wrong(index_path, f"a parameter in two of the files {', '.join(shards)}", "each in one")
    for name, file in weight_map.items():
        if name not in shards[file].shapes:
            raise wrong(f"{index_path}: {name}", f"no such parameter in {file}", "it there")
    return Source({name: held[name].shapes[name] for name in held}, lambda name: held[name].read(name))


def _open_pickle(path):
    """A state dict saved by PyTorch, bare or under one of WRAPPERS."""
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
    for key in WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not state:
        raise wrong(path, "no table of parameters", f"one, bare or under {' or '.join(map(repr, WRAPPERS))}")
    others = [str(name) for name, value in state.items() if not torch.is_tensor(value)]
    if others:
        raise wrong(path, f"entries that are not tensors: {', '.join(others[:20])}", "tensors alone")
    state = {str(name): tensor for name, tensor in state.items()}
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

    return Source({name: tuple(tensor.shape) for name, tensor in state.items()}, read)


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


def _without_prefix(source):
    """`source` with its names shortened by what stands before every one of them, be it several prefixes."""
    common, length = os.path.commonprefix(list(source.shapes)), 0
    while prefix := next((p for p in PREFIXES if common.startswith(p, length)), ""):
        length += len(prefix)
    shapes = {name[length:]: shape for name, shape in source.shapes.items()}
    return replace(source, shapes=shapes, read=lambda name: source.read(common[:length] + name))
