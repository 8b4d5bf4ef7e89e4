"""Cases of checkpoints: damaged safetensors, config.json, preprocessor_config.json, metadata and shard indexes."""

import json
import tempfile
from codecs import BOM_UTF8
from collections import Counter
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from pvt_numpy.checkpoints.checkpoint import load_model
from pvt_numpy.pictures.processor import preprocess
from pvt_numpy.pictures.recipes import FILTERS, HF_PROCESSORS
from pvt_numpy.training import report
from pvt_numpy.training.loop import progress_of
from pvt_numpy.training.state import GROUPS, Settings, fresh, read_state, write_state

from .edits import VALUES, Pairs, Raw, bent, damaged_bytes, damaged_object, damaged_text, rendered, strictly
from .judge import Case
from .models import V1 as SMALL
from .models import assembled, read, same_config, same_metadata, same_parameters, sound_models

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 31, 3), dtype=np.uint8))
WEIGHTS = "model.safetensors"
CLAIMS = [
    {"dtype": "F32", "shape": [250_000_000], "data_offsets": [0, 10**9]},
    {"dtype": "F32", "shape": [2**62, 8], "data_offsets": [0, 4]},
    {"dtype": "U8", "shape": [2**63], "data_offsets": [0, 2**63]},
    {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]},
    {"dtype": "F32", "shape": [0, 10**18], "data_offsets": [0, 0]},
    {"dtype": "F32", "shape": [1] * 1000, "data_offsets": [0, 4]},
    {"dtype": "F32", "shape": [], "data_offsets": [0, 4]},
    {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
    {"dtype": "F32", "shape": [1.0], "data_offsets": [4, 0]},
]


def kinds_of(*names):
    """One of the sound models whose kind is among `names`."""
    return st.sampled_from([sound for sound in sound_models() if sound.kind in names])


ANY = ("ours", "hf-v1", "hf-v2", "timm", "official")


def beside(sound):
    """The JSON files of a sound folder, as bytes."""
    return {f"{name}.json": json.dumps(values).encode() for name, values in sound.beside.items()}


def prepared(path):
    """The model, and a picture as its recipe prepares it, or None if that refuses it."""
    model = load_model(path)
    try:
        return model, preprocess(PHOTO, **model.preprocessing)
    except ValueError:
        return model, None


def model_case(sound, story, changed, *checks, memory=512 << 20):
    """The Case of a sound model with `changed` files: its parameters must be those in its file, and `checks` hold."""
    files = {WEIGHTS: sound.raw} | beside(sound) | changed

    def check(result):
        model, pixels = result
        same_parameters(model, sound.kind, files[WEIGHTS])
        if sound.kind == "ours":
            same_metadata(model, files[WEIGHTS])
        if pixels is not None:
            assert (pixels.dtype, pixels.ndim) == (np.float32, 4)
            assert np.isfinite(pixels).all(), "pixels are not finite"
        for each in checks:
            each(model)

    opened = "" if sound.beside else WEIGHTS  # the folder if there is a config.json, else the file
    return Case(f"{sound.name}, {story}", files, opened, prepared, check, memory)


# Safetensors


@st.composite
def safetensors(draw):
    """A safetensors file whose header lies or whose bytes are damaged."""
    sound = draw(kinds_of(*ANY))
    level = draw(st.sampled_from(["unchanged", "entry", "entry", "entry", "header", "bytes", "bytes", "numbers"]))
    raw, story = sound.raw, ""
    if level == "entry":
        pairs, story = draw(lying_header(sound.header))
        raw = assembled(rendered(pairs).encode(), sound.data)
    elif level == "header":
        text, length = json.dumps(sound.header).encode(), None
        how = draw(st.sampled_from(["length", "text", "JSON", "padding"]))
        if how == "length":
            length = draw(st.sampled_from([0, 1, len(text) - 1, len(text) + 1, 10**8, 10**9, 2**63, 2**64 - 1]))
            story = f"says {length} for its length"
        elif how == "text":
            text, story = draw(damaged_text(text.decode()))
        elif how == "JSON":
            text = rendered(draw(VALUES)).encode()
            story = f"is {text[:60]!r}"
        else:
            text = draw(st.sampled_from([b" " + text, text + b" " * 9, text + b"\0", text + b"{}"]))
            story = "padded"
        raw = assembled(text, sound.data, length)
    elif level == "bytes":
        size = len(raw) - len(sound.data)
        ends = [size + entry["data_offsets"][1] for entry in sound.header.values() if "dtype" in entry]
        raw, story = draw(damaged_bytes(raw, (size, *ends)))
    elif level == "numbers":
        at, new = draw(st.integers(0, len(sound.data) - 8)), draw(st.sampled_from([b"\0\0\xc0\x7f", b"\0\0\x80\xff"]))
        at -= at % 4
        raw = raw[: -len(sound.data)] + sound.data[:at] + new + sound.data[at + 4 :]
        story = f"NaN or infinite at {at}"
    return model_case(sound, f"{level} {story}".rstrip(), {WEIGHTS: raw}, memory=64 << 20)


@st.composite
def lying_header(draw, header):
    """(Pairs, story): up to three entries dropped, doubled, renamed, or wrong in type, shape or place."""
    pairs, story = Pairs((name, dict(entry)) for name, entry in header.items()), []
    if draw(st.integers(0, 9)) == 0:
        prefix = draw(st.sampled_from(["module.", "backbone.", "_orig_mod.", "module." * 2000, "x."]))
        pairs = Pairs((name if name == "__metadata__" else prefix + name, entry) for name, entry in pairs)
        story.append(f"every name after {prefix[:20]!r}")
    for _ in range(draw(st.integers(0 if story else 1, 3))):
        at = draw(st.integers(0, len(pairs) - 1))
        name, entry = pairs[at]
        how = draw(st.sampled_from(["drop", "double", "double", "rename", "claim", "dtype", "shape", "place", "swap",
                                    "any", "many", "extra", "reshape"]))  # fmt: skip
        if how == "drop":
            pairs = Pairs(pairs[:at] + pairs[at + 1 :]) or pairs
        elif how == "double":
            twin = draw(st.sampled_from([entry, *CLAIMS]) | (bent(entry) if entry else VALUES))
            pairs.insert(draw(st.integers(0, len(pairs))), (name, twin))
        elif how == "rename":
            other = draw(st.sampled_from([pair[0] for pair in pairs] + ["", "x" * 10**5, "a\n\x1b[2J", "." * 999]))
            pairs[at] = other, entry
        elif how == "claim":
            pairs.append(("extra", draw(st.sampled_from(CLAIMS))))
        elif how == "any":
            pairs[at] = name, draw(VALUES)
        elif how == "many":
            pairs += [(f"x{n}", {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}) for n in range(5000)]
        elif how == "extra" and isinstance(entry, dict):
            pairs[at] = name, entry | {draw(st.sampled_from(["x", "dtype2", "shapes"])): draw(VALUES)}
        elif how == "reshape" and isinstance(entry, dict) and isinstance(entry.get("shape"), list):
            shape = entry["shape"]  # as many numbers, and sound to the library
            pairs[at] = name, entry | {"shape": draw(st.sampled_from([[1, *shape], [*shape, 1], shape[::-1]]))}
        elif isinstance(entry, dict) and "dtype" in entry:
            key = {"dtype": "dtype", "shape": "shape"}.get(how, "data_offsets")
            other = pairs[draw(st.integers(0, len(pairs) - 1))][1]
            if how == "swap" and isinstance(other, dict) and key in other:
                entry[key], other[key] = other[key], entry[key]
            else:
                types = st.sampled_from(["F16", "BF16", "F64", "I32", "I64", "U8", "BOOL", "F8_E4M3", "F99", "f32", ""])
                pairs[at] = name, entry | {key: draw(types if key == "dtype" else bent(entry[key]) | VALUES)}
        story.append(f"{how} {name[:50]!r}")
    return pairs, ", ".join(story)


# What stands beside the weights


@st.composite
def config_json(draw):
    """A folder whose config.json is not what it was."""
    sound = draw(kinds_of("hf-v1", "hf-v2", "timm"))
    text, story = draw(config_text(sound.beside["config"]))
    return model_case(sound, f"config.json {story}", {"config.json": text},
                      lambda model: same_config(model, sound.kind, strictly(text.removeprefix(BOM_UTF8))))  # fmt: skip


@st.composite
def config_text(draw, values):
    """(bytes, story): a JSON object, damaged as an object, as a text, or replaced."""
    if draw(st.integers(0, 15)) == 0:
        value = draw(VALUES)
        return rendered(value).encode("utf-8", "surrogatepass"), f"is {str(value)[:60]!r}"
    pairs, story = draw(damaged_object(values))
    text, how = draw(damaged_text(rendered(pairs)))
    return text, f"{story}, {how}"


@st.composite
def preprocessor_json(draw):
    """A folder whose preprocessor_config.json, or the pretrained_cfg of timm, is not what it was."""
    sound = draw(kinds_of("hf-v1", "hf-v2", "timm"))
    if sound.kind == "timm":
        recipe, story = draw(damaged_object(sound.beside["config"]["pretrained_cfg"]))
        text = rendered(sound.beside["config"] | {"pretrained_cfg": recipe}).encode()
        name = "config.json"
    else:
        recipe = {"do_resize": True, "resample": 3, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
                  "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "do_center_crop": True, "crop_pct": 0.875,
                  "crop_size": {"height": 32, "width": 32}}  # fmt: skip
        kind = draw(st.sampled_from(sorted(HF_PROCESSORS)))
        recipe["resample"] = draw(st.sampled_from([*FILTERS, *FILTERS.values()]))
        values = recipe | sound.beside["preprocessor_config"] | {"image_processor_type": kind}
        if kind.startswith("ConvNext"):
            values |= {"do_center_crop": False, "size": {"shortest_edge": 32}}
        text, story = draw(config_text(values))
        name = "preprocessor_config.json"
    return model_case(sound, f"{name} {story}", {name: text}, lambda model: strictly(text.removeprefix(BOM_UTF8)))


@st.composite
def metadata(draw):
    """One of our files whose metadata is not what it was."""
    sound = draw(kinds_of("ours"))
    table = dict(sound.header["__metadata__"])
    key = draw(st.sampled_from(["config", "config", "config", "labels", "preprocessing", "preprocessing", "origin",
                                "table"]))  # fmt: skip
    if key == "table":
        pairs, story = draw(damaged_object(table))
    elif key == "labels":
        value = draw(bent(json.loads(table[key])) | VALUES)
        pairs, story = Pairs((table | {key: rendered(value)}).items()), f"is {str(value)[:60]!r}"
    else:
        text, story = draw(config_text(json.loads(table[key])))
        pairs = Pairs((table | {key: text.decode("utf-8", "replace")}).items())
    header = Pairs((sound.header | {"__metadata__": Raw(rendered(pairs))}).items())
    raw = assembled(rendered(header).encode("utf-8", "replace"), sound.data)
    return model_case(sound, f"{key} {story}", {WEIGHTS: raw})


@cache
def sound_state():
    """(header, data) of a training of one epoch, as `train` writes it."""
    state = fresh(Settings("shapes", epochs=3, seed=5), SMALL)
    state.step, state.seconds, state.sums = 7, 1.5, [2.5, 3, 4]
    state.history = [{"epoch": 1, "step": 5, "seconds": 1.0, "learning_rate": 1e-3, "train_loss": 1.5,
                      "train_accuracy": 0.5, "val_loss": 1.25, "val_accuracy": 0.25}]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        write_state(Path(folder, "x"), state)
        raw = Path(folder, "x").read_bytes()
    size = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + size]), raw[8 + size :]


@st.composite
def training_state(draw):
    """The checkpoint of a training with damage in its settings, its progress, its header or its bytes."""
    header, data = sound_state()
    level = draw(st.sampled_from(["settings", "settings", "progress", "progress", "config", "entry", "bytes"]))
    if level in ("settings", "progress", "config"):
        text, story = draw(config_text(json.loads(header["__metadata__"][level])))
        texts = header["__metadata__"] | {level: text.decode("utf-8", "replace")}
        raw = assembled(rendered(header | {"__metadata__": texts}).encode("utf-8", "replace"), data)
    elif level == "entry":
        pairs, story = draw(lying_header(header))
        raw = assembled(rendered(pairs).encode(), data)
    else:
        raw, story = draw(damaged_bytes(assembled(json.dumps(header).encode(), data), (8, len(data))))

    def check(state):
        """It holds what the file says, and `train --resume` can work with it."""
        texts, arrays = read(raw)
        texts = {key: strictly(text.encode("utf-8", "surrogatepass")) for key, text in texts.items()}
        assert json.loads(json.dumps(asdict(state.settings))) == texts["settings"]
        for key in ("step", "seconds", "sums", "history"):
            assert getattr(state, key) == texts["progress"][key], key
        for group in GROUPS:
            for name, value in state.arrays[group].items():
                assert np.array_equal(value, arrays[f"{group}/{name}"], equal_nan=True), name
        assert progress_of(state, 5) >= 0
        with tempfile.TemporaryDirectory() as folder:
            report.write_csv(Path(folder, "log.csv"), state.history)
            write_state(Path(folder, "again"), state)
            assert read_state(Path(folder, "again")).settings == state.settings

    return Case(f"training state, {level} {story}", {"checkpoint.safetensors": raw}, "checkpoint.safetensors",
                read_state, check)  # fmt: skip


@st.composite
def shard_index(draw):
    """A model in three files whose index is not what it was."""
    sound = draw(kinds_of("hf-v1", "hf-v2"))
    _, arrays = read(sound.raw)
    shards = [f"model-{n}.safetensors" for n in range(3)]
    weight_map = {name: shards[n % 3] for n, name in enumerate(arrays)}
    files = beside(sound) | {
        shard: shard_bytes(sound, [name for name, file in weight_map.items() if file == shard]) for shard in shards
    }
    if draw(st.integers(0, 5)) == 0:  # names in two files, of which the index gives one
        files[shards[0]] = shard_bytes(sound, list(arrays))
    damaged, story = draw(damaged_object(weight_map, most=2))
    pairs = Pairs([("metadata", {}), ("weight_map", damaged)])
    if draw(st.booleans()) and damaged:
        at = draw(st.integers(0, len(damaged) - 1))
        places = ["../model.safetensors", "/etc/passwd", "..", ".", "", "C:x", "model-0.safetensors/", "model-0\0",
                  "config.json", "model.safetensors.index.json", "none.safetensors", "a" * 5000, "\n"]  # fmt: skip
        damaged[at] = damaged[at][0], draw(st.sampled_from(places + shards))
        story += f", {damaged[at][0]!r} in {damaged[at][1][:40]!r}"
    text, how = draw(damaged_text(rendered(pairs)))
    files["model.safetensors.index.json"] = text

    def check(model):
        told = strictly(text.removeprefix(BOM_UTF8))["weight_map"]
        held = Counter(name for shard in set(told.values()) for name in read(files[shard])[1])
        assert max(held.values()) == 1, "a name is in two files"
        assert all(name in read(files[shard])[1] for name, shard in told.items()), "a name is not where the index says"
        same_parameters(model, sound.kind, sound.raw)

    return Case(f"{sound.name}, index {story}, {how}", files, "", load_model, check)


def shard_bytes(sound, names):
    """A safetensors file with some of a sound one's arrays."""
    header, parts, end = {}, [], 0
    for name in names:
        entry = sound.header[name]
        begin, stop = entry["data_offsets"]
        header[name] = entry | {"data_offsets": [end, end := end + stop - begin]}
        parts.append(sound.data[begin:stop])
    return assembled(json.dumps(header).encode(), b"".join(parts))
