"""Opens what holds a checkpoint - a safetensors file, a PyTorch pickle, a folder - without deciding what it means.

Safetensors are memory-mapped and read one array at a time; pickles are opened with `weights_only=True` and never
otherwise. Every damaged file ends in one ValueError that names it. Left out: what the names
mean (`names`, `identify`), and whether names and shapes are those of a model (`checkpoint`).
"""

import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import numpy as np

STEMS = ("model.safetensors", "pytorch_model.bin")
FOLDER_FILES = tuple(stem + end for stem in STEMS for end in ("", ".index.json"))  # the first that is there counts
WRAPPERS = ("model", "state_dict")  # under which training scripts keep the parameters in a pickle
PREFIXES = ("module.", "_orig_mod.", "backbone.")  # put before every name by DataParallel, torch.compile, detectors
DEEPEST_JSON = 32  # levels; a checkpoint's files have four, and Python cannot even print a thousand


@dataclass(frozen=True)
class Source:
    """An opened checkpoint: what it holds, and `read(name)`, which gives one array in the file's own precision."""

    path: Path
    shapes: dict[str, tuple[int, ...]]
    read: Callable[[str], np.ndarray]
    metadata: dict[str, str] = field(default_factory=dict)
    config: dict | None = None  # config.json beside it
    preprocessor: dict | None = None  # preprocessor_config.json beside it


def open_source(path):
    """Opens a file, or a folder as Hugging Face and timm publish them. Returns a Source."""
    path = Path(path)
    if path.is_dir():
        found = [path / name for name in FOLDER_FILES if (path / name).is_file()]
        if not found:
            raise FileNotFoundError(f"{path} is a folder with no model in it; expected {' or '.join(FOLDER_FILES)}")
        weights, folder = _within(found[0]), path
    else:
        weights, folder = path, (path.parent if path.name in FOLDER_FILES else None)
    source = _open_sharded(weights) if weights.name.endswith(".index.json") else _open_file(weights)
    if folder is not None:
        beside = [folder / name for name in ("config.json", "preprocessor_config.json")]
        # One that is there but cannot be read, a broken link for instance, is not the same as none.
        config, preprocessor = (read_json(_within(file)) if os.path.lexists(file) else None for file in beside)
        source = replace(source, path=path, config=config, preprocessor=preprocessor)
    return _without_prefix(source)


def _within(path):
    """`path`, which a folder holds, unless it is a link that leads out of that folder: a checkpoint that came from
    elsewhere must not reach beyond itself. The Hub's own cache may: its snapshots link to the blobs two folders up."""
    folder = path.parent.resolve()
    allowed = (folder, folder.parent.parent / "blobs") if folder.parent.name == "snapshots" else (folder,)
    try:
        inside = any(path.resolve(strict=True).is_relative_to(place) for place in allowed)
    except (OSError, RuntimeError):  # a link to nothing, or in a circle (RuntimeError before Python 3.13)
        inside = False
    if path.is_symlink() and not inside:
        raise ValueError(f"{path} is a link that leads out of its folder or nowhere; expected the file itself")
    return path


def read_json(path):
    """The JSON object in the file at `path`, as a dict."""
    try:
        value = parse_json(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:  # also text that is not UTF-8
        raise ValueError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds a JSON {type(value).__name__}; expected an object")
    return value


def parse_json(text):
    """The value of a JSON text, or a ValueError. Stricter than Python's own reader, which takes NaN for a number and
    the last of two equal names, so that a file could say one thing to people and another to the program.

    >>> parse_json('{"depths": [2, 2], "depths": [3, 3]}')
    Traceback (most recent call last):
    ...
    ValueError: 'depths' is there twice
    """
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [value]
    for _ in range(DEEPEST_JSON):
        inner = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, (dict, list))]
        level = list(chain.from_iterable(inner))
    if level:
        raise ValueError(f"it is nested deeper than {DEEPEST_JSON} levels")
    return value


def _once(pairs):
    table = dict(pairs)
    if len(table) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"{twice!r} is there twice")
    return table


def _no_number(constant):
    raise ValueError(f"{constant} is no number of JSON")


def _open_file(path):
    with open(path, "rb") as file:
        head = file.read(9)
    # Safetensors start with eight bytes of length and a brace; PyTorch's files are zip archives or bare pickles.
    if head[8:] != b"{" and (head[:2] == b"PK" or head[:1] == b"\x80" or path.suffix in (".pth", ".pt", ".bin")):
        return _open_pickle(path)
    return _open_safetensors(path)


def _open_safetensors(path):
    from safetensors import SafetensorError, safe_open

    try:
        file = safe_open(path, framework="numpy")
        kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 - not a dict
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in kinds}
        metadata = file.metadata() or {}
        header, start = _header(path)  # the library would take the last of two parameters of the same name
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from None

    def read(name):
        if kinds[name] == "BF16":
            return _read_bfloat16(path, header, start, name)
        if kinds[name] not in ("F64", "F32", "F16"):
            raise ValueError(f"{path}: {name} is of type {kinds[name]}; expected F64, F32, F16 or BF16")
        return file.get_tensor(name)

    return Source(path, shapes, read, metadata)


def _header(path):
    """(the header of a safetensors file that the library has found sound, position of the first array)."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        return parse_json(file.read(size).decode("utf-8")), 8 + size


def _read_bfloat16(path, header, start, name):
    """NumPy has no bfloat16; it is the upper half of a float32, so 16 zero bits make it one, exactly."""
    begin, end = header[name]["data_offsets"]
    with open(path, "rb") as file:
        file.seek(start + begin)
        halves = np.frombuffer(file.read(end - begin), dtype="<u2")
    return (halves.astype(np.uint32) << 16).view(np.float32).reshape(header[name]["shape"])


def _open_sharded(index_path):
    """A model in several files, listed in `*.index.json`: name of the parameter -> file in the same folder."""
    weight_map = read_json(index_path).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
        raise ValueError(f"{index_path}: weight_map is not a table of names and files")
    shards = {}
    for file in sorted(set(weight_map.values())):
        # A plain name and nothing else: an index that came from elsewhere must not reach outside its folder.
        if file in ("", ".", "..") or any(mark in file for mark in "/\\:\0"):
            raise ValueError(f"{index_path}: {file!r} is not the name of a file in the same folder")
        if not index_path.with_name(file).is_file():
            raise FileNotFoundError(f"{index_path} lists {file}, which is not there")
        shards[file] = _open_file(_within(index_path.with_name(file)))
    held = {name: shard for shard in shards.values() for name in shard.shapes}
    if len(held) < sum(len(shard.shapes) for shard in shards.values()):
        raise ValueError(f"{index_path}: a parameter is in two of the files {', '.join(shards)}")
    for name, file in weight_map.items():
        if name not in shards[file].shapes:
            raise ValueError(f"{index_path}: {name} is not in {file}")
        held[name] = shards[file]
    shapes = {name: shard.shapes[name] for name, shard in held.items()}
    return Source(index_path, shapes, lambda name: held[name].read(name))


def _open_pickle(path):
    """A state dict saved by PyTorch, bare or under one of WRAPPERS."""
    try:
        import torch
    except ImportError:
        raise ValueError(
            f"{path} is a PyTorch pickle, and only PyTorch can open it: pip install -r requirements-torch.txt"
        ) from None
    from argparse import Namespace  # the official training script keeps its options beside the parameters

    try:
        with torch.serialization.safe_globals([Namespace]):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # the unpickler raises whatever the damage leads to
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(
            f"{path} is damaged or holds more than tensors, and a pickle that does is not opened, "
            f"for it could run any program: {lines[0]}"
        ) from None
    for key in WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not state:
        raise ValueError(f"{path} holds no table of parameters, bare or under {' or '.join(map(repr, WRAPPERS))}")
    others = [str(name) for name, value in state.items() if not torch.is_tensor(value)]
    if others:
        raise ValueError(f"{path} holds entries that are not tensors: {', '.join(others[:20])}")
    state = {str(name): tensor for name, tensor in state.items()}

    def read(name):
        tensor = state[name].detach()
        if not tensor.is_floating_point() or tensor.layout != torch.strided:
            raise ValueError(f"{path}: {name} is of type {tensor.dtype}; expected floating-point numbers")
        return np.array((tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy())

    return Source(path, {name: tuple(tensor.shape) for name, tensor in state.items()}, read)


def _without_prefix(source):
    """`source` with its names shortened by what stands before every one of them, be it several prefixes."""
    common, length = os.path.commonprefix(list(source.shapes)), 0
    while prefix := next((p for p in PREFIXES if common.startswith(p, length)), ""):
        length += len(prefix)
    shapes = {name[length:]: shape for name, shape in source.shapes.items()}
    return replace(source, shapes=shapes, read=lambda name: source.read(common[:length] + name))
