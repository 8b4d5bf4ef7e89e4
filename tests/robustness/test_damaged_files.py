"""Damaged files and files that are no model: one sentence each, and no memory for what they only claim."""

import json
import re
import tracemalloc

import numpy as np
import pytest

from pvt_numpy.checkpoints.checkpoint import load_model, save_model
from pvt_numpy.checkpoints.export import export_hf
from pvt_numpy.checkpoints.sources import open_source
from pvt_numpy.pictures.decode import open_image
from pvt_numpy.pictures.recipes import RECIPES
from pvt_numpy.training.state import Settings, fresh, read_state, write_state
from tests.checkpoints.checkpoint_files import refused, rewrite, rewrite_config, write_raw
from tests.checkpoints.models import SMALL_V1, SMALL_V2, make_model
from tests.robustness.fuzzing.judge import Case, judge


@pytest.fixture
def saved(tmp_path):
    save_model(tmp_path / "m.safetensors", make_model(SMALL_V2, preprocessing=RECIPES["official"]))
    return tmp_path / "m.safetensors"


HEADERS = {
    "empty": b"",
    "three bytes": b"abc",
    "no header": (10**9).to_bytes(8, "little") + b"{}",
    "huge header": (2**63).to_bytes(8, "little") + b"{}",
    "text": b"This is not a model at all.\n" * 4,
    "picture": b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(100),
}
SOUND = b'"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'
LIES = {
    "not JSON": b"{nothing",
    "a list": b"[1, 2]",
    "not UTF-8": b'{"\xff": 1}',
    "unknown type": {"x": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}},
    "overlap": {n: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for n in "xy"},
    "gap": {"x": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}},
    "shape and size": {"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}},
    "1 GB in 1 kB": {"x": {"dtype": "F32", "shape": [250_000_000], "data_offsets": [0, 10**9]}},
    "overflow": {"x": {"dtype": "F32", "shape": [2**62, 8], "data_offsets": [0, 4]}},
    "negative": {"x": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
    "metadata of nothing": {"__metadata__": None},
    "metadata of numbers": {"__metadata__": {"pvt_numpy.format": 1}},
    "a name twice": b'{"x": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}, ' + SOUND,
    "metadata twice": b'{"__metadata__": {"config": "{}", "config": "[]"}, ' + SOUND,
}


@pytest.mark.parametrize("content", HEADERS.values(), ids=HEADERS)
def test_files_that_are_no_safetensors(tmp_path, content):
    (tmp_path / "m.safetensors").write_bytes(content)
    refused(tmp_path / "m.safetensors", ": found no whole safetensors file (")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("m.npz", "NumPy's archive of arrays"),
        ("tf_model.h5", "an HDF5 file, as Keras writes"),
        ("M.ONNX", "an ONNX model"),
    ],
)
def test_files_of_other_frameworks_are_called_by_their_names(tmp_path, saved, name, kind):
    path = tmp_path / name
    with open(path, "wb") as file:  # an archive begins as PyTorch's pickles do, and is not called a damaged one
        np.savez(file, weight=np.ones(3))
    refused(path, f"{name}: found {kind}, which is not read; expected a safetensors file (safetensors.numpy.save_file")
    path.write_bytes(saved.read_bytes())
    assert load_model(path).config == load_model(saved).config, "what is inside counts, if it can be read"


@pytest.mark.parametrize("header", LIES.values(), ids=LIES)
def test_headers_that_lie(tmp_path, header):
    path = write_raw(tmp_path / "m.safetensors", header, bytes(4))
    tracemalloc.start()
    try:
        refused(path, ": found no whole safetensors file (")
        assert tracemalloc.get_traced_memory()[1] < 5e6, "memory was given to a claim"
    finally:
        tracemalloc.stop()


POINTER = b"""version https://git-lfs.github.com/spec/v1
oid sha256:83f9f76db888d15a114a2a4f29f7a951cd22faaa461ded0e64d97c120bcc6314
size 14689528
"""
STAND_INS = {
    "a Git LFS pointer; expected the file itself: git lfs pull": POINTER,
    "a web page; expected the file itself": b"\n<!DOCTYPE html>\n<html><body>Sign in</body></html>",
}


@pytest.mark.parametrize("found", STAND_INS)
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "m.pth", "m.ckpt", "config.json",
                                  "preprocessor_config.json", "model.safetensors.index.json", "photo.jpg",
                                  "checkpoint.safetensors"])  # fmt: skip
def test_what_stands_where_a_file_should_be_is_called_by_its_name(tmp_path, name, found):
    export_hf(tmp_path / "hf", make_model(SMALL_V2, preprocessing=RECIPES["hf"]))
    (tmp_path / "hf" / name).write_bytes(STAND_INS[found])
    if name in ("pytorch_model.bin", "model.safetensors.index.json"):
        (tmp_path / "hf" / "model.safetensors").unlink()
    opener = {"photo.jpg": open_image, "checkpoint.safetensors": read_state}.get(name, load_model)
    opened = tmp_path / "hf" / name if name.startswith(("m.", "photo", "check")) else tmp_path / "hf"
    with pytest.raises(ValueError, match=re.escape(f"hf/{name}: ") + f".*found {found}"):
        opener(opened)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_a_byte_order_mark_is_no_damage(tmp_path, name):
    export_hf(tmp_path / "hf", make_model(SMALL_V2, preprocessing=RECIPES["hf-bilinear"]))
    expected = load_model(tmp_path / "hf")
    text = (tmp_path / "hf" / name).read_text(encoding="utf-8")
    (tmp_path / "hf" / name).write_text(text, encoding="utf-8-sig")
    found = load_model(tmp_path / "hf")
    assert (found.config, found.preprocessing) == (expected.config, expected.preprocessing)


ENTRY = b'{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
LONG_LIST = b"[" + b"0," * 9_999_999 + b"0]"
COSTLY = {
    "400,000 arrays": lambda: ("m.safetensors", b"{%s}" % b",".join(b'"a.%d":%s' % (n, ENTRY) for n in range(400_000))),
    "15,000 arrays": lambda: ("m.safetensors", b"{%s}" % b",".join(b'"a.%d":%s' % (n, ENTRY) for n in range(15_000))),
    "a long shape": lambda: ("m.safetensors", b'{"x":{"dtype":"F32","shape":%s,"data_offsets":[0,0]}}' % LONG_LIST),
    "long metadata": lambda: ("m.safetensors", b'{"__metadata__":{"pvt_numpy.format":"1","config":"%s"}}' % LONG_LIST),
    "a long config": lambda: ("config.json", b'{"model_type":"pvt","depths":%s}' % LONG_LIST),
    "long labels": lambda: ("config.json", b'{"model_type":"pvt","label_names":%s}' % LONG_LIST),
    "a long mean": lambda: ("preprocessor_config.json", b'{"image_mean":%s}' % LONG_LIST),
    "a long index": lambda: ("model.safetensors.index.json", b'{"weight_map":%s}' % LONG_LIST),
}  # fmt: skip


@pytest.mark.parametrize("what", COSTLY)
def test_a_refusal_costs_little(tmp_path, monkeypatch, what):
    """Less than a second and 100 MB beside the file, however long it is."""
    monkeypatch.setattr("tests.robustness.fuzzing.judge.SECONDS", 1)
    name, text = COSTLY[what]()
    export_hf(tmp_path / "hf", make_model(SMALL_V2, preprocessing=RECIPES["hf"]))
    files = {path.name: path.read_bytes() for path in (tmp_path / "hf").iterdir()}
    if name == "model.safetensors.index.json":
        del files["model.safetensors"]
    if name == "m.safetensors":
        text = len(text).to_bytes(8, "little") + text
    case = Case(what, files | {name: text}, name if name.startswith("m.") else "", load_model, None, memory=100 << 20)
    verdict = judge(case)
    assert not verdict.accepted
    assert re.search("far beyond any model's|far more than any PVT has", verdict.said)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.999])
def test_cut_off_files(saved, kept):
    raw = saved.read_bytes()
    saved.write_bytes(raw[: int(kept * len(raw))])
    refused(saved, ": found no whole safetensors file (")


@pytest.mark.parametrize("code", ["I32", "F8_E4M3", "BOOL"])
def test_parameters_that_are_not_floating_point(saved, code):
    def change(header):
        header["head.bias"]["dtype"] = code
        if code != "I32":  # one byte each: the same 16 bytes are as many entries
            header["head.bias"]["shape"] = [16]

    source = open_source(rewrite(saved, change))
    with pytest.raises(ValueError, match=f"head.bias: found the type {code}; expected F64, F32, F16 or BF16"):
        source.read("head.bias")
    if code == "I32":  # the others do not even have the bias's shape
        refused(saved, f"head.bias: found the type {code};")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_parameters_that_are_no_numbers_are_named(saved, value):
    raw = bytearray(saved.read_bytes())
    raw[-4:] = np.float32(value).tobytes()  # the last number of the last array
    saved.write_bytes(raw)
    assert refused(saved).endswith("found NaN or infinite numbers in head.bias; expected finite ones")


METADATA = {  # the key, and what is wrong: the text that stands there (None: nothing), and what is said of it
    "pvt_numpy.format": ("2", "pvt_numpy.format: found '2'; expected '1', which this version reads"),
    "config gone": (None, "the metadata's 'config': found nothing; expected a JSON text"),
    "config no JSON": ("{", "the metadata's 'config': found no valid JSON ("),
    "config nested": ("[" * 100_000, "the metadata's 'config': found no valid JSON ("),
    "config nested a little": ('{"x": ' + "[" * 40 + "]" * 40 + "}", "it is nested deeper than 32 levels"),
    "config twice": ('{"model_type": "pvt", "model_type": "pvt_v2"}', "'model_type' is there twice"),
    "config NaN": ('{"layer_norm_eps": NaN}', "NaN is no number of JSON"),
    "config loss": (
        '{"model_type": "pvt_v2"}',
        "the metadata's 'config': found too few or unknown fields, attention_probs",
    ),
    "config list": ("[1]", "the metadata's 'config': found a JSON list; expected an object"),
    "config empty": ("{}", "the metadata's model_type: found None; expected 'pvt' or 'pvt_v2'"),
    "config field": (
        '{"model_type": "pvt_v2", "depths": [2, 2, 2, -1]}',
        "the metadata's depths[3]: found -1; expected",
    ),
    "labels gone": (None, "the metadata's 'labels': found nothing; expected a JSON text"),
    "labels too few": ('["a"]', "the metadata's 'labels': found 1 label; expected 4 texts"),
    "labels no text": ("[1, 2, 3, 4]", "expected 4 texts"),
    "labels dict": ('{"0": "a"}', "the metadata's 'labels': found a JSON dict; expected a list or null"),
    "preprocessing unknown": ('{"do_magic": true}', "the metadata's do_magic: found an unknown option; expected"),
    "preprocessing twice": ('{"resample": 2, "resample": 3}', "'resample' is there twice"),
    "preprocessing huge": ('{"image_mean": 1' + "0" * 400 + "}", "image_mean: found 1000"),
    "preprocessing edge": ('{"size": {"shortest_edge": 1' + "0" * 400 + "}}", "size: found {'short"),
    "preprocessing tiny": ('{"image_std": 1e-320}', "image_std: found 1e-320; expected one number above 0"),
    "preprocessing value": ('{"size": "big"}', "the metadata's size: found 'big'; expected"),
    "origin": ("3", "the metadata's 'origin': found a JSON int; expected an object"),
}


@pytest.mark.parametrize("what", METADATA)
def test_damaged_metadata(saved, what):
    key, (value, said) = what.split()[0], METADATA[what]

    def change(header):
        if value is None:
            del header["__metadata__"][key]
        else:
            header["__metadata__"][key] = value

    refused(rewrite(saved, change), said)


@pytest.mark.parametrize("field", ["hidden_sizes", "depths", "strides", "mlp_ratios", "num_labels", "image_size",
                                   "layer_norm_eps", "num_channels"])  # fmt: skip
@pytest.mark.parametrize("number", [2**31, 10**400], ids=["2**31", "10**400"])
def test_numbers_beyond_any_model_are_refused_by_name(saved, field, number):
    """Each is a number to Python; some, made into a float, a range or an array, were an OverflowError or a hang."""
    several = isinstance(getattr(SMALL_V2, field), tuple)
    message = refused(rewrite_config(saved, **{field: [number] * 4 if several else number}))
    assert f"{field}[0]: found " in message or f"{field}: found " in message
    assert len(message) < 300


STATES = {  # what would end in a traceback once the training went on
    "settings": [("data", 5), ("epochs", "3"), ("epochs", 2.5), ("seed", True), ("rate", None), ("minutes", "x")],
    "progress": [("step", -1), ("step", 1.5), ("seconds", "x"), ("sums", [1, 2]), ("sums", [1, 2, "x"]),
                 ("history", [1]), ("history", [{"epoch": []}]), ("history", None)],
}  # fmt: skip


@pytest.mark.parametrize(("text", "field", "value"), [(text, *one) for text in STATES for one in STATES[text]])
def test_a_training_that_cannot_go_on_is_refused(tmp_path, text, field, value):
    path = tmp_path / "checkpoint.safetensors"
    write_state(path, fresh(Settings("shapes"), SMALL_V1))
    assert read_state(path).settings == Settings("shapes")

    def change(header):
        header["__metadata__"][text] = json.dumps(json.loads(header["__metadata__"][text]) | {field: value})

    rewrite(path, change)
    with pytest.raises(ValueError, match=re.escape(str(path)) + ": found no checkpoint of a training"):
        read_state(path)


def test_prefixes_put_before_every_name_two_thousand_times(saved):
    def wrap(header):
        del header["__metadata__"]
        for name in list(header):
            header["module." * 2000 + name] = header.pop(name)

    refused(rewrite(saved, wrap), "lack the metadata of our files")


def test_our_names_without_our_metadata(saved):
    refused(rewrite(saved, lambda header: header.pop("__metadata__")), "lack the metadata of our files")


def test_no_such_file(tmp_path):
    said = "found no such file or folder; expected one, or the name of a published model"
    for source in (tmp_path / "none.safetensors", str(tmp_path / "none.safetensors"), "none.safetensors"):
        with pytest.raises(FileNotFoundError, match=said):
            load_model(source)
    with pytest.raises(ValueError, match=r"pvt_tny: found no published model of that name \(did you mean pvt_tiny\?\)"):
        load_model("pvt_tny")
