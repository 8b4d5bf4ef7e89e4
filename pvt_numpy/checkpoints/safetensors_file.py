"""Safetensors files, read one array at a time and written always in the same bytes.

The format: the header's length (8 bytes, little-endian), the header (JSON, padded with spaces to 8 bytes), the arrays
one after another. The safetensors library judges whether a file is sound; the arrays are read here, because NumPy has
no bfloat16, and written here, because the library orders the metadata by chance.
Source: github.com/huggingface/safetensors. Left out: arrays of whole numbers, which no PVT has.
"""

import json

import numpy as np

from ..system.checks import one_of, wrong
from ..system.files import atomic_file, check_not_stand_in
from .strict_json import LONGEST, parse_json

MOST_ARRAYS = 10_000  # the largest PVT has a thousand, the state of its training four times as many
READ = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
WRITTEN = {"float32": ("F32", "<f4"), "float16": ("F16", "<f2"), "float64": ("F64", "<f8")}


def read_safetensors(path):
    """(metadata, name -> shape, function that reads the array of a name) of a file; ValueError if it is damaged."""
    from safetensors import SafetensorError, safe_open

    with open(path, "rb") as file:
        check_not_stand_in(path, start := file.read(64))
        size = int.from_bytes(start[:8], "little")
        file.seek(8)
        text = file.read(min(size, LONGEST + 1))
    try:
        if size > LONGEST or text.count(b'"dtype"') > MOST_ARRAYS:  # before it is taken apart
            raise ValueError(f"its header of {size:,} bytes lists far more than any PVT has")
        safe_open(path, framework="numpy")  # refuses whatever lies about sizes and places
        header = parse_json(text.decode("utf-8"))  # the library would take the last of two equal names
    except (SafetensorError, ValueError) as error:
        raise wrong(path, f"no whole safetensors file ({error})", "one") from None
    metadata, data = header.pop("__metadata__", None) or {}, np.asarray(np.memmap(path, np.uint8, "r"))

    def read(name):
        entry = header[name]
        if entry["dtype"] not in READ:
            raise wrong(f"{path}: {name}", f"the type {entry['dtype']}", "F64, F32, F16 or BF16")
        start, end = (8 + size + offset for offset in entry["data_offsets"])
        array = np.array(data[start:end].view(READ[entry["dtype"]])).reshape(entry["shape"])  # a copy of its own
        # bfloat16 is the upper half of a float32, so 16 zero bits make it one, exactly
        return (array.astype(np.uint32) << 16).view(np.float32) if entry["dtype"] == "BF16" else array

    return metadata, {name: tuple(entry["shape"]) for name, entry in header.items()}, read


def write_safetensors(path, arrays, metadata, dtype):
    """Writes named arrays, all as numbers of one type, and a table of texts: the whole file or none."""
    one_of(*WRITTEN)("dtype", dtype)
    code, stored = WRITTEN[dtype][0], np.dtype(WRITTEN[dtype][1])
    limit = float(np.finfo(stored).max)
    too_large = [name for name, value in arrays.items() if not np.abs(value).max(initial=0) <= limit]  # also for NaN
    if too_large:
        raise wrong(", ".join(too_large), f"NaN, or numbers that {dtype} cannot hold", f"at most {limit:g}")
    header, end = {"__metadata__": metadata}, 0
    for name, value in arrays.items():
        start, end = end, end + value.size * stored.itemsize
        header[name] = {"dtype": code, "shape": list(value.shape), "data_offsets": [start, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":"))
    text = text.encode("utf-8", "replace")  # the origin notes the name of a file, which may hold bytes that are no text
    text += b" " * (-len(text) % 8)
    with atomic_file(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for value in arrays.values():
            file.write(np.ascontiguousarray(value, dtype=stored).tobytes())
