"""The sound models that fuzzing damages, a few kilobytes each, and what a loaded one must be equal to.

`read` is a second, strict reader of safetensors, written from the format's description: what it does not find sound
must not be loaded, and what is loaded must hold the numbers that it finds.
"""

import json
import math
import tempfile
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np

from pvt_numpy.checkpoints.checkpoint import save_model
from pvt_numpy.checkpoints.export import hf_fields
from pvt_numpy.checkpoints.names import file_names
from pvt_numpy.checkpoints.safetensors_file import write_safetensors
from pvt_numpy.config import PvtConfig, PvtV2Config, config_to_dict
from pvt_numpy.parameters import flatten, parameter_shapes
from pvt_numpy.pictures.recipes import RECIPES
from tests.checkpoints.models import make_model, state_dict

from .edits import strictly

TWO_STAGES = {"num_encoder_blocks": 2, "depths": (1, 1), "hidden_sizes": (8, 16), "num_attention_heads": (1, 2),
              "mlp_ratios": (2, 2), "num_labels": 3}  # fmt: skip
V1 = PvtConfig(**TWO_STAGES, patch_sizes=(4, 2), strides=(4, 2), sequence_reduction_ratios=(2, 1), image_size=16)
V2 = PvtV2Config(**TWO_STAGES, patch_sizes=(7, 3), strides=(4, 2), sr_ratios=(2, 1), image_size=32)
# A published width, so that shapes alone tell the model.
ONE_STAGE = {"num_encoder_blocks": 1, "depths": (1,), "hidden_sizes": (32,), "num_attention_heads": (1,),
             "mlp_ratios": (1,), "num_labels": 3}  # fmt: skip
BY_SHAPE = PvtV2Config(**ONE_STAGE, patch_sizes=(3,), strides=(2,), sr_ratios=(2,))
LABELS = ("tench", "golf ball", "a <b> {0} %s \x1b[31m")
RECIPE = RECIPES["official"] | {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}}
SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


@dataclass(frozen=True)
class Sound:
    """A sound checkpoint: the parts of its safetensors file, what lies beside it, and how its maker names things."""

    name: str
    kind: str
    config: PvtConfig | PvtV2Config
    header: dict
    data: bytes
    beside: dict[str, dict]

    @property
    def raw(self):
        return assembled(json.dumps(self.header).encode(), self.data)


def assembled(header, data, length=None):
    """The bytes of a safetensors file; `length` is what it says of its header."""
    return (len(header) if length is None else length).to_bytes(8, "little") + header + data


@cache
def sound_models():
    """Every kind of checkpoint, small."""
    v1, v2 = (make_model(config, labels=LABELS, preprocessing=RECIPE, origin={"source": "x"}) for config in (V1, V2))
    labels = {"id2label": dict(enumerate(LABELS)), "architectures": ["PvtForImageClassification"]}
    processor = {"image_processor_type": "PvtImageProcessor", "size": {"height": 32, "width": 32}}
    hf = {config: {"config": hf_fields(config) | labels, "preprocessor_config": processor} for config in (V1, V2)}
    timm = {"config": {"model_type": "pvt_v2", "label_names": list(LABELS), "pretrained_cfg": {
        "input_size": [3, 32, 32], "crop_pct": 0.9, "interpolation": "bicubic", "mean": [0.5] * 3, "std": [0.5] * 3,
    }} | config_to_dict(V2)}  # fmt: skip
    return (
        _sound("ours, v1", "ours", v1),
        _sound("ours, v2 in float16", "ours", v2, dtype="float16"),
        _sound("a Hugging Face folder, v1", "hf-v1", v1, hf[V1]),
        _sound("a Hugging Face folder, v2", "hf-v2", v2, hf[V2]),
        _sound("a timm folder", "timm", v2, timm),
        _sound("an official file", "official", make_model(BY_SHAPE)),
        _sound("bfloat16 of Hugging Face's", "hf-v2", v2, hf[V2], dtype="bfloat16"),
    )


def _sound(name, kind, model, beside=None, dtype="float32"):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        if kind == "ours":
            save_model(path, model, dtype)
        else:
            write_safetensors(path, state_dict(model, kind), {"format": "pt"}, dtype.replace("bfloat", "float"))
        raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    for entry in header.values():
        if dtype == "bfloat16" and "dtype" in entry:
            entry["dtype"] = "BF16"
    return Sound(name, kind, model.config, header, raw[8 + size :], json.loads(json.dumps(beside or {})))


def read(raw):
    """(metadata, name -> float array) of a safetensors file. Raises AssertionError if it is not sound."""
    size = int.from_bytes(raw[:8], "little")
    assert len(raw) >= 8 + size, "the header is longer than the file"
    header, data = strictly(raw[8 : 8 + size]), raw[8 + size :]
    metadata, arrays, end = header.pop("__metadata__", {}), {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, stop = entry["data_offsets"]
        assert begin == end, f"{name} begins at {begin}, what comes before ends at {end}"
        assert stop - begin == math.prod(entry["shape"]) * SIZES[entry["dtype"]], f"{name}'s shape and size differ"
        end, part = stop, data[begin:stop]
        if entry["dtype"] == "BF16":
            values = (np.frombuffer(part, "<u2").astype("<u4") << 16).view("<f4")
        else:
            assert entry["dtype"] in ("F64", "F32", "F16"), f"{name} holds no floating-point numbers"
            values = np.frombuffer(part, {"F64": "<f8", "F32": "<f4", "F16": "<f2"}[entry["dtype"]])
        arrays[name] = values.reshape(entry["shape"])
    assert end == len(data), f"{len(data) - end} bytes are left over"
    return metadata, arrays


def same_parameters(model, kind, raw):
    """Raises AssertionError unless the model's parameters are the arrays in the file, every one, bit for bit."""
    _, arrays = read(raw)
    while next(iter(arrays)).startswith(("module.", "_orig_mod.", "backbone.")):
        arrays = {name.partition(".")[2]: value for name, value in arrays.items()}
    bare = kind.startswith("hf") and not any(name.startswith("pvt") for name in arrays)
    left, params = set(arrays), flatten(model.params)
    shapes = {name: value.shape for name, value in params.items()}
    assert shapes == parameter_shapes(model.config), "the shapes are not those of the configuration"
    for name, value in params.items():
        parts = file_names(name, kind, bare)
        expected = np.concatenate([arrays[part] for part in parts]).astype(np.float32)
        assert value.dtype == np.float32
        assert np.array_equal(value, expected), f"{name} is not what the file holds"
        assert np.isfinite(value).all(), f"{name} is not finite"
        left -= set(parts)
    assert not left, f"{left} were not loaded"


def same_metadata(model, raw):
    """Raises AssertionError unless configuration, labels and preprocessing are those in our file's metadata."""
    metadata, _ = read(raw)
    values = {key: strictly(metadata[key].encode("utf-8", "surrogatepass"))
              for key in ("config", "labels", "preprocessing")}  # fmt: skip
    assert json.loads(json.dumps({"model_type": model.config.model_type} | asdict(model.config))) == values["config"]
    assert (None if model.labels is None else list(model.labels)) == values["labels"]
    assert model.labels is None or len(model.labels) == model.config.num_labels
    assert model.preprocessing == values["preprocessing"]


def same_config(model, kind, values):
    """Raises AssertionError unless what config.json says is what the configuration is, and labels are one per class."""
    config = json.loads(json.dumps(asdict(model.config)))
    told = {name: value for name, value in values.items() if name in config}
    if kind in ("timm", "official"):
        told |= {"layer_norm_eps": 1e-6, "patch_norm_eps": 1e-5}
    if model.config.model_type == "pvt" and "patch_norm_eps" not in told:  # Hugging Face's names mean each other
        told |= {"patch_sizes": told.get("strides", config["patch_sizes"])}
        told |= {"strides": values.get("patch_sizes", config["strides"])}
    for name, value in told.items():
        assert (config[name], type(config[name])) == (value, type(value)), f"{name} is {value!r}, not {config[name]!r}"
    if values.get("id2label") is not None and model.config.num_labels:
        table = values["id2label"]
        stand_ins = {str(n): f"LABEL_{n}" for n in range(len(table))}
        names = tuple(table[str(n)] for n in range(len(table)))
        assert model.labels == names or (table == stand_ins and model.labels is None), f"labels {model.labels}"
    assert model.labels is None or len(model.labels) == model.config.num_labels
