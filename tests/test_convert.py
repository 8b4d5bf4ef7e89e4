"""Every public kind of checkpoint becomes ours and goes back, bit for bit; offline with generated files.

The same with PyTorch's own files and models: test_convert_torch.py.
"""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from checkpoint_files import (
    LINEAR,
    SMALL_V1,
    SMALL_V2,
    V1,
    V2,
    assert_same_params,
    make_model,
    state_dict,
    write_json,
    write_raw,
)  # fmt: skip

from pvt_numpy import convert, hub, imagenet
from pvt_numpy.checkpoint import describe, load_model, save_model, write_safetensors
from pvt_numpy.config import VARIANTS, config_from_dict, config_to_dict
from pvt_numpy.export import export_hf, export_timm
from pvt_numpy.names import our_names
from pvt_numpy.parameters import flatten, unflatten
from pvt_numpy.recipes import RECIPES

SPLIT = {"layer_norm_eps": 1e-6, "patch_norm_eps": 1e-5}
TIMM_CONFIG = {
    "architecture": "pvt_v2_b0",
    "num_classes": 3,
    "pretrained_cfg": {
        "input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": 0.9, "crop_mode": "center",
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
    },
}  # fmt: skip
KINDS = {"official": (V1, V2, LINEAR), "timm": (V2, LINEAR), "hf-v1": (V1,), "hf-v2": (V2, LINEAR)}
EVERY = [(kind, config) for kind, configs in KINDS.items() for config in configs]
IDS = [f"{kind}-{'linear' if config is LINEAR else config.model_type}" for kind, config in EVERY]


@pytest.fixture
def run(capsys):
    """Runs the command in this process; returns what it printed."""

    def run(*arguments):
        assert convert.main([str(argument) for argument in arguments]) == 0
        return capsys.readouterr().out

    return run


def bare_file(path, model, kind, **fields):
    write_safetensors(path, state_dict(model, kind), {}, "float32")
    return path


def hf_folder(folder, model, **fields):
    """A Hugging Face folder, config.json written here and not by the exporter under test."""
    folder.mkdir()
    v1, bare = model.config.model_type == "pvt", not model.config.num_labels
    write_safetensors(
        folder / "model.safetensors", state_dict(model, "hf-v1" if v1 else "hf-v2", bare), {"format": "pt"}, "float32"
    )
    values = config_to_dict(model.config)
    count = values.pop("num_labels")
    del values["patch_norm_eps"]
    if v1:
        values["patch_sizes"], values["strides"] = values["strides"], values["patch_sizes"]
    name = "Pvt" if v1 else "PvtV2"
    values["architectures"] = [f"{name}Model" if bare else f"{name}ForImageClassification"]
    values["id2label"] = {str(n): f"LABEL_{n}" for n in range(count or 2)}
    write_json(folder / "config.json", values | fields)
    return folder


# --- what a checkpoint is, from its names and shapes alone ---


@pytest.mark.parametrize(("kind", "config"), EVERY, ids=IDS)
def test_bare_state_dicts(tmp_path, run, kind, config):
    """Configuration from shapes, epsilons and recipe from the maker, arrays bit for bit; shown and recorded."""
    model = make_model(config)
    shown = run(bare_file(tmp_path / "found.safetensors", model, kind), "-o", tmp_path / "ours.safetensors")
    ours = load_model(tmp_path / "ours.safetensors")
    assert_same_params(ours.params, model.params)
    assert ours.config == replace(config, **({} if kind.startswith("hf") else SPLIT))
    recipe = "hf" if kind.startswith("hf") else kind
    if config is V1:  # made for 32 pixels, and the recipe with it
        recipe += " at 32x32"
        assert (ours.preprocessing["crop_size"] or ours.preprocessing["size"]) == {"height": 32, "width": 32}
    else:
        assert ours.preprocessing == RECIPES[recipe]
    assert ours.origin["recipe"] == recipe
    assert ours.origin["source"] == "found.safetensors"
    for text in (f"recipe {recipe}\n", "eps 1e-06", "from found.safetensors of ", "3 outputs", "float32"):
        assert text in shown
    assert ("1e-05 in patch embeddings and SRA" in shown) == (not kind.startswith("hf"))


@pytest.mark.parametrize("variant", VARIANTS)
def test_published_variants_are_recognised_by_their_shapes(tmp_path, variant):
    """All eleven, from official names. Only the header is real: the arrays are a hole in the file."""
    from pvt_numpy.identify import identify
    from pvt_numpy.names import file_names
    from pvt_numpy.parameters import parameter_shapes
    from pvt_numpy.sources import Source

    shapes = {file_names(n, "official")[0]: shape for n, shape in parameter_shapes(VARIANTS[variant]).items()}
    identity = identify(Source(tmp_path, shapes, None), "x.pth", "x.pth")
    assert identity.config == replace(VARIANTS[variant], **SPLIT)
    assert identity.labels == imagenet.class_names()
    assert identity.preprocessing == RECIPES["official"]
    assert identity.origin["recipe"] == "official"


@pytest.mark.parametrize(
    "config",
    [
        replace(V2, num_channels=5, depths=(2, 1, 1, 3), num_labels=0),
        replace(V2, mlp_ratios=(2.5, 1 / 3, 4, 4), qkv_bias=False),
        replace(V2, num_encoder_blocks=2, depths=(1, 1), hidden_sizes=(64, 128), patch_sizes=(3, 5), strides=(2, 3),
                num_attention_heads=(1, 2), mlp_ratios=(1, 1), sr_ratios=(4, 1)),
        replace(V1, image_size=64, sequence_reduction_ratios=(4, 1, 2, 1), num_labels=0),
        replace(V1, num_encoder_blocks=1, depths=(2,), hidden_sizes=(32,), patch_sizes=(8,), strides=(8,),
                num_attention_heads=(1,), mlp_ratios=(2,), sequence_reduction_ratios=(1,)),
    ],
    ids=["five channels, no head", "odd ratios", "two stages", "v1 at 64", "one stage"],
)  # fmt: skip
def test_sizes_that_were_never_published(tmp_path, config):
    model = make_model(config)
    ours = load_model(bare_file(tmp_path / "m.safetensors", model, "official"))
    for field in ("mlp_ratios",):  # any ratio that gives the hidden width is right
        widths = [int(c * r) for c, r in zip(config.hidden_sizes, config.mlp_ratios, strict=True)]
        assert [int(c * r) for c, r in zip(config.hidden_sizes, getattr(ours.config, field), strict=True)] == widths
    assert replace(ours.config, mlp_ratios=config.mlp_ratios) == replace(config, **SPLIT)
    assert_same_params(ours.params, model.params)


def test_prefixes_of_wrappers_are_taken_off(tmp_path):
    model = make_model(V2)
    state = {f"module.backbone.{name}": value for name, value in state_dict(model, "official").items()}
    write_safetensors(tmp_path / "m.safetensors", state, {}, "float32")
    assert_same_params(load_model(tmp_path / "m.safetensors").params, model.params)


def test_keys_are_the_first_rows_of_kv(tmp_path):
    model = make_model(SMALL_V1)
    ours = load_model(hf_folder(tmp_path / "hf", model)).params["stages"][1]["blocks"][0]["attn"]["kv"]
    state = state_dict(model, "hf-v1")
    name = "pvt.encoder.block.1.0.attention.self.{}.{}"
    for leaf, value in ours.items():
        np.testing.assert_array_equal(value[:8], state[name.format("key", leaf)])
        np.testing.assert_array_equal(value[8:], state[name.format("value", leaf)])


def test_bfloat16_is_widened_exactly(tmp_path):
    """A bfloat16 is the upper half of a float32: cut the lower half off, and the same must come back."""
    model = make_model(V2)
    header, data = {}, b""
    for name, value in state_dict(model, "timm").items():
        halves = (value.view(np.uint32) >> 16).astype("<u2").tobytes()
        header[name] = {"dtype": "BF16", "shape": value.shape, "data_offsets": [len(data), len(data) + len(halves)]}
        data += halves
    ours = flatten(load_model(write_raw(tmp_path / "m.safetensors", header, data)).params)
    for name, value in flatten(model.params).items():
        np.testing.assert_array_equal(ours[name], (value.view(np.uint32) & 0xFFFF0000).view(np.float32))


# --- folders ---


@pytest.mark.parametrize(
    "config",
    [SMALL_V1, SMALL_V2, replace(SMALL_V1, num_labels=0), replace(SMALL_V2, num_labels=0),
     replace(SMALL_V1, image_size=96, patch_sizes=(4, 3, 2, 2))],
)  # fmt: skip
def test_hugging_face_folders(tmp_path, config):
    """config.json counts, epsilon is one, and the image size without a preprocessor_config.json is the model's."""
    model = make_model(replace(config, patch_norm_eps=None, layer_norm_eps=1e-5))
    folder = hf_folder(tmp_path / "hf", model)
    ours = load_model(folder)
    assert ours.config == model.config
    assert_same_params(ours.params, model.params)
    assert ours.labels is None
    assert ours.preprocessing["size"] == dict(zip(("height", "width"), config.image_hw, strict=True))
    assert load_model(folder / "model.safetensors").origin == ours.origin
    assert ours.origin["source"] == "hf"


def test_hugging_face_labels_and_preprocessor(tmp_path):
    names = ["tench", "goldfish", "gr\u00fcn", "crane"]
    folder = hf_folder(tmp_path / "hf", make_model(SMALL_V2), id2label={str(n): names[n] for n in (2, 0, 1, 3)})
    write_json(folder / "preprocessor_config.json", {"image_processor_type": "PvtImageProcessor", "resample": 2})
    model = load_model(folder)
    assert model.labels == tuple(names)
    assert model.preprocessing == RECIPES["hf-bilinear"]
    assert model.origin["recipe"] == "hf-bilinear"


def test_sharded_folder(tmp_path):
    model = make_model(SMALL_V2)
    folder = hf_folder(tmp_path / "hf", model)
    (folder / "model.safetensors").unlink()
    state = state_dict(model, "hf-v2")
    files = [f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
    for n, file in enumerate(files):
        write_safetensors(folder / file, dict(list(state.items())[n::3]), {}, "float32")
    weight_map = {name: files[n % 3] for n, name in enumerate(state)}
    index = folder / "model.safetensors.index.json"
    write_json(index, {"metadata": {}, "weight_map": weight_map})
    assert_same_params(load_model(folder).params, model.params)
    assert_same_params(load_model(index).params, model.params)

    outside = tmp_path / "outside.safetensors"
    (folder / files[2]).rename(outside)
    with pytest.raises(FileNotFoundError, match=f"lists {files[2]}, which is not there"):
        load_model(folder)
    for path in ("../outside.safetensors", str(outside), "..\\outside.safetensors", "..", "", "C:outside.safetensors"):
        write_json(index, {"weight_map": weight_map | {"classifier.bias": path}})
        with pytest.raises(ValueError, match="is not the name of a file in the same folder"):
            load_model(folder)
    for damage in ({}, {"weight_map": []}, {"weight_map": {"classifier.bias": 3}}):
        write_json(index, damage)
        with pytest.raises(ValueError, match=r"index\.json: weight_map is not a table"):
            load_model(folder)
    write_json(index, {"weight_map": {"head": files[0]}})
    with pytest.raises(ValueError, match=f"head is not in {files[0]}"):
        load_model(folder)


def test_timm_folder(tmp_path):
    model = make_model(replace(VARIANTS["pvt_v2_b0"], num_labels=3, num_channels=1))
    write_safetensors(tmp_path / "model.safetensors", state_dict(model, "timm"), {}, "float32")
    write_json(tmp_path / "config.json", TIMM_CONFIG | {"label_names": ["a", "b", "c"]})
    ours = load_model(tmp_path)
    assert ours.config == replace(model.config, **SPLIT)
    assert ours.labels == ("a", "b", "c")
    assert ours.preprocessing == RECIPES["timm"]
    assert ours.origin == {"format": "timm", "source": tmp_path.name, "recipe": "timm"}
    assert_same_params(ours.params, model.params)

    write_json(tmp_path / "config.json", TIMM_CONFIG | {"architecture": "pvt_v2_b2.in1k"})
    with pytest.raises(ValueError, match=r"configuration \(these are the parameters of pvt_v2_b0\); ") as caught:
        load_model(tmp_path)
    assert str(caught.value).endswith(
        "of another shape: patch_embed.proj.weight is (32, 1, 7, 7), expected (64, 1, 7, 7), patch_embed.proj.bias, "
        "patch_embed.norm.*, stages.0.blocks.0.*, stages.0.blocks.1.*, stages.0.norm.*, stages.1.downsample.*, "
        "stages.1.blocks.0.*, stages.1.blocks.1.*, stages.1.norm.*, stages.2.downsample.*, stages.2.blocks.0.*, "
        "stages.2.blocks.1.*, stages.2.norm.*, stages.3.downsample.*, stages.3.blocks.0.*, stages.3.blocks.1.*, "
        "stages.3.norm.*, head.weight"
    )


def test_imagenets_names_where_there_are_1000_outputs_and_none_of_their_own(tmp_path):
    write_safetensors(
        tmp_path / "m.safetensors", state_dict(make_model(replace(V2, num_labels=1000)), "timm"), {}, "float32"
    )
    labels = load_model(tmp_path / "m.safetensors").labels
    assert len(labels) == 1000
    assert (labels[0], labels[134], labels[517], labels[999]) == ("tench", "crane", "crane", "toilet tissue")
    assert imagenet.classes()[134][0] != imagenet.classes()[517][0]
    folder = hf_folder(tmp_path / "hf", make_model(replace(SMALL_V2, num_labels=1000)))
    assert load_model(folder).labels == labels, "LABEL_0, LABEL_1, ... are no names"


def test_downloaded_names(tmp_path, monkeypatch):
    folder = hf_folder(tmp_path / "snapshot", make_model(SMALL_V1))
    asked = []

    def download(source, local_files_only):
        asked.append((source, local_files_only))
        return folder

    monkeypatch.setattr(hub, "download", download)
    model = load_model("Zetatech/pvt-tiny-224", local_files_only=True)
    assert asked == [("Zetatech/pvt-tiny-224", True)]
    assert model.origin["source"] == "Zetatech/pvt-tiny-224", "the name, not the place in some cache"
    write_json(folder / "config.json", {"model_type": "pvt"})
    with pytest.raises(ValueError, match="^Zetatech/pvt-tiny-224: the parameters do not fit pvt_tiny; missing"):
        load_model("Zetatech/pvt-tiny-224")


CONFIGS = {
    "no JSON": ("{", "config.json is not valid JSON"),
    "not UTF-8": (b"\xff\xfe{", "config.json is not valid JSON"),
    "too deep": ("[" * 100_000, "config.json is not valid JSON"),
    "a list": ("[]", "config.json holds a JSON list"),
    "another model": ('{"model_type": "vit"}', "model_type is 'vit'"),
    "a nonsense field": ('{"model_type": "pvt_v2", "depths": "deep"}', "depths is 'deep'"),
    "not finite": ('{"model_type": "pvt_v2", "layer_norm_eps": NaN}', "layer_norm_eps is nan"),
    "gaps in labels": ('{"model_type": "pvt_v2", "id2label": {"0": "a", "5": "b"}}', "id2label does not number"),
    "labels no text": (
        '{"model_type": "pvt_v2", "id2label": {"0": "a", "1": 2, "2": "c", "3": "d"}}',
        "expected 4 texts",
    ),
    "labels of timm": ('{"architecture": "pvt_v2_b9", "label_names": 4}', "expected 4 texts"),
    "timm's cfg": ('{"architecture": "pvt_v2_b0", "pretrained_cfg": {"crop_pct": -1}}', "crop_pct: found -1"),
}


@pytest.mark.parametrize(("text", "said"), CONFIGS.values(), ids=CONFIGS)
def test_damaged_config_json(tmp_path, text, said):
    model = make_model(replace(V2, num_labels=4))
    write_safetensors(
        tmp_path / "model.safetensors", state_dict(model, "timm" if "arch" in str(text) else "hf-v2"), {}, "float32"
    )
    (tmp_path / "config.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match="^[^\n]+$") as caught:
        load_model(tmp_path)
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path))


def test_what_is_no_pvt(tmp_path):
    with pytest.raises(FileNotFoundError, match="a folder with no model in it; expected model.safetensors or"):
        load_model(tmp_path)
    write_raw(tmp_path / "m.safetensors", {"bert.x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(4))
    with pytest.raises(ValueError, match=r"not those of a public PVT checkpoint; found bert\.x$"):
        load_model(tmp_path / "m.safetensors")
    bare_file(tmp_path / "m.safetensors", make_model(SMALL_V2), "timm")
    with pytest.raises(ValueError, match=r"\(8, 8, 20, 16\) channels, which no published variant has.*config\.json"):
        load_model(tmp_path / "m.safetensors")
    bare_file(tmp_path / "m.safetensors", make_model(replace(V1, image_size=(32, 64))), "official")
    with pytest.raises(ValueError, match="first position table has 128 rows, which is no square grid"):
        load_model(tmp_path / "m.safetensors")
    state = state_dict(make_model(V2), "official")
    del state["patch_embed2.proj.weight"]
    write_safetensors(tmp_path / "m.safetensors", state, {}, "float32")
    with pytest.raises(ValueError, match=r"m\.safetensors: patch_embed2\.proj\.weight is missing"):
        load_model(tmp_path / "m.safetensors")


# --- the way back ---


@pytest.mark.parametrize(
    "config",
    [SMALL_V1, SMALL_V2, V1, LINEAR, replace(SMALL_V2, num_labels=0, qkv_bias=False),
     replace(SMALL_V1, num_labels=0, patch_sizes=(3, 2, 2, 2))],
)  # fmt: skip
def test_there_and_back_through_hugging_face(tmp_path, config):
    config = replace(config, patch_norm_eps=None)
    labels = ("a", "b", "c", "gr\u00fcn")[: config.num_labels] or None
    model = make_model(config, labels=labels, preprocessing=RECIPES["hf-bilinear"])
    assert export_hf(tmp_path / "hf", model) == []
    back = load_model(tmp_path / "hf")
    assert_same_params(back.params, model.params)
    assert (back.config, back.labels, back.preprocessing) == (config, labels, model.preprocessing)
    written = json.loads((tmp_path / "hf" / "config.json").read_text(encoding="utf-8"))
    assert "patch_norm_eps" not in written
    assert config_from_dict(written) == config


def test_what_hugging_face_cannot_say(tmp_path):
    model = make_model(SMALL_V1, preprocessing=RECIPES["official"])
    remarks = export_hf(tmp_path / "hf", model)
    assert "Hugging Face has one epsilon: 1e-05 in patch embeddings and SRA becomes 1e-06" in remarks[0]
    assert "may start one pixel earlier" in remarks[1]
    back = load_model(tmp_path / "hf")
    assert back.config == replace(model.config, patch_norm_eps=None)
    assert back.preprocessing == model.preprocessing | {"crop_offset": "floor"}
    for size in ((64, 96), 72):
        with pytest.raises(ValueError, match="it cannot be written as its folder"):
            export_hf(tmp_path / "no", make_model(replace(SMALL_V1, image_size=size, strides=(4, 2, 2, 1))))
    assert [path.name for path in tmp_path.iterdir()] == ["hf"]


@pytest.mark.parametrize("recipe", [*RECIPES, "none"])
def test_there_and_back_through_timm(tmp_path, recipe):
    config = replace(VARIANTS["pvt_v2_b0"], num_labels=3, **SPLIT)
    preprocessing = {} if recipe == "none" else RECIPES[recipe]
    model = make_model(config, labels=("a", "b", "c"), preprocessing=preprocessing)
    remarks = export_timm(tmp_path / "timm", model)
    assert remarks == (
        ["timm cannot say this model's preprocessing; config.json leaves it out"] if recipe == "none" else []
    )
    back = load_model(tmp_path / "timm")
    assert_same_params(back.params, model.params)
    assert (back.config, back.labels) == (config, model.labels)
    square = {"do_center_crop": True, "crop_size": {"height": 224, "width": 224}, "crop_offset": "round"}
    if recipe != "none":  # timm always crops; a crop of the whole picture changes nothing
        assert back.preprocessing == preprocessing | square


def test_timm_names_are_timms(tmp_path):
    from safetensors.numpy import load_file

    model = make_model(replace(VARIANTS["pvt_v2_b0"], num_labels=0))
    remarks = export_timm(tmp_path / "timm", model)
    assert "timm's epsilons are fixed" in remarks[0]
    names = load_file(tmp_path / "timm" / "model.safetensors").keys()
    assert len(our_names(names, "timm")) == len(names) == len(flatten(model.params))
    assert {"patch_embed.proj.weight", "stages.3.downsample.norm.bias", "stages.0.blocks.0.mlp.dwconv.bias"} <= names


def test_what_timm_does_not_have(tmp_path):
    for config, name in ((VARIANTS["pvt_tiny"], "pvt_tiny"), (SMALL_V2, "this configuration")):
        with pytest.raises(ValueError, match=f"^{name} is not a model of timm"):
            export_timm(tmp_path / "timm", replace(make_model(SMALL_V2), config=config))


@pytest.mark.parametrize("write", [export_hf, export_timm])
def test_a_folder_is_written_whole_or_not_at_all(tmp_path, write):
    model = make_model(replace(VARIANTS["pvt_v2_b0"], num_labels=3))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(ValueError, match="exists already; expected a new or an empty folder"):
        write(tmp_path / "full", model)
    (tmp_path / "empty").mkdir()
    flat = flatten(model.params)
    huge = replace(model, params=unflatten(flat | {"head.bias": np.full(3, 1e5, np.float32)}))
    with pytest.raises(ValueError, match="float16 reaches to 65504"):
        write(tmp_path / "empty", huge, "float16")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "full"]
    assert not list((tmp_path / "empty").iterdir())
    write(tmp_path / "empty", model)
    assert_same_params(load_model(tmp_path / "empty").params, model.params)


# --- the command ---


def test_retype_relabel_and_note(tmp_path, run):
    model = make_model(SMALL_V2, labels=("a", "b", "c", "d"), origin={"source": "first", "recipe": "hf"})
    path = tmp_path / "m.safetensors"
    save_model(path, model)
    (tmp_path / "labels.txt").write_bytes("\ufefftench\r\ngr\u00fcn\r\ncrane\r\n crane \r\n\r\n".encode())
    shown = run(
        path, "-o", path, "--dtype", "float16", "--labels", tmp_path / "labels.txt", "--origin", "licence=CC0 = free"
    )
    assert shown.splitlines()[1:] == ["labels: tench, gr\u00fcn, crane, crane", f"wrote: {path}, float16, 0.1 MB"]
    ours = load_model(path)
    assert ours.labels == ("tench", "gr\u00fcn", "crane", "crane")
    assert ours.origin == {"source": "first", "recipe": "hf", "licence": "CC0 = free"}
    rounded = {name: value.astype(np.float16).astype(np.float32) for name, value in flatten(model.params).items()}
    assert_same_params(ours.params, unflatten(rounded))


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"a\nb\nc\n", "names 3 classes; expected 4"), (b"a\n\nb\nc\n", "names 3 classes; expected 4"),
     (b"a\nb\nc\n\xff\n", "is not UTF-8 text")],
)  # fmt: skip
def test_labels_that_do_not_fit(tmp_path, content, said):
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(ValueError, match=said):
        convert.read_labels(tmp_path / "labels.txt", 4)


@pytest.mark.parametrize(
    ("options", "name"), [([], "m.safetensors"), (["--to", "hf"], "m-hf"), (["--to", "timm"], "m-timm")]
)
def test_default_output_overwrites_nothing(tmp_path, run, monkeypatch, options, name):
    (tmp_path / "in").mkdir()
    save_model(tmp_path / "in" / "m.bin.safetensors", make_model(replace(VARIANTS["pvt_v2_b0"], num_labels=3)))
    source = (tmp_path / "in" / "m.bin.safetensors").rename(tmp_path / "in" / "m.safetensors")
    monkeypatch.chdir(tmp_path)
    shown = run(source, *options)
    assert f"wrote: {name}" in shown
    assert_same_params(load_model(tmp_path / name).params, load_model(source).params)
    with pytest.raises(ValueError, match=f"{name} exists already; say with -o what to write"):
        convert.main([str(source), *options])


def test_errors_of_the_command_are_one_line(tmp_path):
    def command(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "pvt_numpy.convert", *map(str, arguments)],
            cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False,
        )  # fmt: skip

    (tmp_path / "cut.safetensors").write_bytes(b"\x10")
    missing = command(tmp_path / "cut.safetensors", "-o", tmp_path / "x.safetensors")
    assert missing.returncode == 1
    assert missing.stdout == ""
    assert missing.stderr.startswith(f"convert: error: {tmp_path / 'cut.safetensors'} is not a whole safetensors file")
    assert missing.stderr.count("\n") == 1
    assert not (tmp_path / "x.safetensors").exists()
    usage = command("x", "--origin", "no equals sign")
    assert usage.returncode == 2
    assert "expected KEY=TEXT" in usage.stderr


def test_a_pickle_without_pytorch_is_one_clear_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for content in (b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", b""):
        (tmp_path / "pvt_tiny.pth").write_bytes(content)
        with pytest.raises(ValueError, match=r"pvt_tiny\.pth is a PyTorch pickle, and only PyTorch can open it: pip"):
            load_model(tmp_path / "pvt_tiny.pth")


def test_describe_of_each_maker_differs(tmp_path):
    model = make_model(V2)
    lines = {
        describe(load_model(bare_file(tmp_path / "m.safetensors", model, kind)))
        for kind in ("official", "timm", "hf-v2")
    }
    assert len(lines) == 3
