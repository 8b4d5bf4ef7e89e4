"""The way back to Hugging Face's and timm's folders, and the command that goes both ways; offline."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from pvt_numpy import convert
from pvt_numpy.checkpoints.checkpoint import describe, load_model, save_model
from pvt_numpy.checkpoints.export import _timm_recipe, export_hf, export_timm
from pvt_numpy.checkpoints.names import our_names
from pvt_numpy.config import VARIANTS, config_from_dict
from pvt_numpy.parameters import flatten, unflatten
from pvt_numpy.pictures.recipes import RECIPES
from tests.checkpoints.checkpoint_files import bare_file, refused
from tests.checkpoints.models import LINEAR, SMALL_V1, SMALL_V2, SPLIT, V1, V2, assert_same, make_model, retyped
from tests.processes import command


@pytest.fixture
def run(capsys):
    """Runs the command in this process; returns what it printed."""

    def run(*arguments):
        assert convert.main([str(argument) for argument in arguments]) == 0
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize("config", [SMALL_V1, SMALL_V2, V1, LINEAR, replace(SMALL_V2, num_labels=0, qkv_bias=False),
                                    replace(SMALL_V1, num_labels=0, patch_sizes=(3, 2, 2, 2))])  # fmt: skip
def test_there_and_back_through_hugging_face(tmp_path, config):
    config = replace(config, patch_norm_eps=None)
    labels = ("a", "b", "c", "gr\u00fcn")[: config.num_labels] or None
    model = make_model(config, labels=labels, preprocessing=RECIPES["hf-bilinear"])
    assert export_hf(tmp_path / "hf", model) == []
    back = load_model(tmp_path / "hf")
    assert_same(back.params, model.params)
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
    inexpressible = "position tables for .*; expected .* Hugging Face's configuration can express"
    for size in ((64, 96), 72):
        with pytest.raises(ValueError, match=inexpressible):
            export_hf(tmp_path / "no", make_model(replace(SMALL_V1, image_size=size, strides=(4, 2, 2, 1))))
    assert [path.name for path in tmp_path.iterdir()] == ["hf"]


HF_KEYS = """depths hidden_act hidden_sizes initializer_range layer_norm_eps mlp_ratios model_type num_attention_heads
    num_channels num_encoder_blocks num_labels patch_sizes qkv_bias strides id2label label2id architectures dtype
    image_size drop_path_rate hidden_dropout_prob attention_probs_dropout_prob"""
V1_KEYS, V2_KEYS = "sequence_reduction_ratios", "sr_ratios linear_attention"
PROCESSOR_KEYS = """image_processor_type do_resize size resample do_center_crop crop_size do_rescale rescale_factor
    do_normalize image_mean image_std"""


@pytest.mark.parametrize(("config", "own", "name"), [(SMALL_V1, V1_KEYS, "Pvt"), (SMALL_V2, V2_KEYS, "PvtV2")])
def test_keys_of_hugging_faces_folder(tmp_path, config, own, name):
    """As transformers' documentation of PvtConfig, PvtV2Config and PvtImageProcessor has them, and no others."""
    labels = ("a", "b", "b", "d")
    export_hf(tmp_path / "hf", make_model(config, labels=labels, preprocessing=RECIPES["official"]), "float16")
    assert sorted(path.name for path in (tmp_path / "hf").iterdir()) == [
        "config.json", "model.safetensors", "preprocessor_config.json"]  # fmt: skip
    values, processor = (json.loads((tmp_path / "hf" / file).read_text()) for file in
                         ("config.json", "preprocessor_config.json"))  # fmt: skip
    assert values.keys() - {"problem_type"} == {*HF_KEYS.split(), *own.split()}
    assert values["architectures"] == [f"{name}ForImageClassification"]
    assert (values["dtype"], values["num_labels"], values["image_size"]) == ("float16", 4, config.image_size)
    assert values["id2label"] == {"0": "a", "1": "b", "2": "b", "3": "d"}
    assert values["label2id"] == {"a": 0, "b": 2, "d": 3}
    assert processor.keys() <= set(PROCESSOR_KEYS.split())
    assert processor["image_processor_type"] == "PvtImageProcessor"
    with (tmp_path / "hf" / "model.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    assert header["__metadata__"]["format"] == "pt"  # without it transformers refuses the file
    assert {entry["dtype"] for key, entry in header.items() if key != "__metadata__"} == {"F16"}
    headless = make_model(replace(config, num_labels=0))
    export_hf(tmp_path / "headless", headless)
    values = json.loads((tmp_path / "headless" / "config.json").read_text())
    assert (values["architectures"], values["num_labels"]) == ([f"{name}Model"], 0)
    assert not {"id2label", "label2id"} & values.keys()


def test_keys_of_timms_folder(tmp_path):
    """As timm's `save_for_hf` writes them; the words for the recipe are those of timm's pretrained_cfg."""
    config = replace(VARIANTS["pvt_v2_b2_li"], num_labels=3)
    export_timm(tmp_path / "timm", make_model(config, labels=("a", "b", "c"), preprocessing=RECIPES["timm"]))
    values = json.loads((tmp_path / "timm" / "config.json").read_text())
    told = values.pop("pretrained_cfg")
    assert values == {"architecture": "pvt_v2_b2_li", "num_classes": 3, "num_features": 512,
                      "label_names": ["a", "b", "c"]}  # fmt: skip
    assert told == {"num_classes": 3, "first_conv": "patch_embed.proj", "classifier": "head", "crop_pct": 0.9,
                    "crop_mode": "center", "input_size": [3, 224, 224], "interpolation": "bicubic",
                    "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}  # fmt: skip


@pytest.mark.parametrize("changed", [
    {"do_resize": False}, {"do_rescale": False}, {"do_normalize": False}, {"rescale_factor": 1 / 256},
    {"do_center_crop": False},  # the short side alone
    {"size": {"height": 256, "width": 256}}, {"crop_size": {"height": 224, "width": 192}},
    {"size": {"height": 224, "width": 224}, "do_center_crop": True, "crop_size": {"height": 200, "width": 200}},
], ids=str)  # fmt: skip
def test_recipes_that_timm_cannot_say_are_left_out_and_that_is_said(tmp_path, changed):
    """timm rescales by 1/255 and normalises always, and crops squares out of what the short side made."""
    model = make_model(replace(VARIANTS["pvt_v2_b0"], num_labels=3), preprocessing=RECIPES["official"] | changed)
    assert "timm cannot say this model's recipe; config.json leaves it out" in export_timm(tmp_path / "timm", model)
    told = json.loads((tmp_path / "timm" / "config.json").read_text())["pretrained_cfg"]
    assert told.keys() == {"num_classes", "first_conv", "classifier"}


def test_every_crop_that_timm_can_say_comes_back(tmp_path):
    """timm resizes the short side to floor(crop / crop_pct)."""
    for edge in range(200, 260, 7):
        for side in (64, 160, 199, 200):
            sizes = {"size": {"shortest_edge": edge}, "crop_size": {"height": side, "width": side}}
            told = _timm_recipe(RECIPES["official"] | sizes)
            assert (told["input_size"], int(side / told["crop_pct"])) == ([3, side, side], edge)


@pytest.mark.parametrize("recipe", [*RECIPES, "none"])
def test_there_and_back_through_timm(tmp_path, recipe):
    config = replace(VARIANTS["pvt_v2_b0"], num_labels=3, **SPLIT)
    preprocessing = {} if recipe == "none" else RECIPES[recipe]
    model = make_model(config, labels=("a", "b", "c"), preprocessing=preprocessing)
    remarks = export_timm(tmp_path / "timm", model)
    left_out = "timm cannot say this model's recipe; config.json leaves it out"
    assert remarks == ([left_out] if recipe == "none" else [])
    back = load_model(tmp_path / "timm")
    assert_same(back.params, model.params)
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
    for config, name in ((VARIANTS["pvt_tiny"], "pvt_tiny"), (SMALL_V2, "no published architecture")):
        with pytest.raises(ValueError, match=f"^the model: found {name}; expected one of timm's"):
            export_timm(tmp_path / "timm", replace(make_model(SMALL_V2), config=config))


@pytest.mark.parametrize("write", [export_hf, export_timm])
def test_a_folder_is_written_whole_or_not_at_all(tmp_path, write):
    model = make_model(replace(VARIANTS["pvt_v2_b0"], num_labels=3))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(ValueError, match="found something there already; expected a new or an empty folder"):
        write(tmp_path / "full", model)
    with pytest.raises(FileNotFoundError, match="found no folder .*nowhere; expected one to write into"):
        write(tmp_path / "nowhere" / "new", model)
    (tmp_path / "empty").mkdir()
    huge = replace(model, params=unflatten(flatten(model.params) | {"head.bias": np.full(3, 1e5, np.float32)}))
    too_large = r"\.bias: found NaN, or numbers that float16 cannot hold; expected at most 65504"
    with pytest.raises(ValueError, match=too_large):
        write(tmp_path / "empty", huge, "float16")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "full"]
    assert not list((tmp_path / "empty").iterdir())
    write(tmp_path / "empty", model)
    assert_same(load_model(tmp_path / "empty").params, model.params)


# --- the command ---


def test_retype_relabel_and_note(tmp_path, run):
    model = make_model(SMALL_V2, labels=("a", "b", "c", "d"), origin={"source": "first", "recipe": "hf"})
    path = tmp_path / "m.safetensors"
    save_model(path, model)
    (tmp_path / "labels.txt").write_bytes("\ufefftench\r\ngr\u00fcn\r\ncrane\r\n crane \r\n\r\n".encode())
    changes = ("--dtype", "float16", "--labels", tmp_path / "labels.txt", "--origin", "licence=CC0 = free")
    shown = run(path, "-o", path, *changes)
    assert shown.splitlines()[1:] == ["labels: tench, gr\u00fcn, crane, crane", f"wrote: {path}, float16, 0.1 MB"]
    ours = load_model(path)
    assert ours.labels == ("tench", "gr\u00fcn", "crane", "crane")
    assert ours.origin == {"source": "first", "recipe": "hf", "licence": "CC0 = free"}
    assert_same(ours.params, retyped(model.params, np.float16, np.float32))


@pytest.mark.parametrize(("content", "said"), [
    (b"a\nb\nc\n", "found 3 class names; expected 4"),
    (b"a\n\nb\nc\n", "found nothing in line 2; expected 4 class names"),
    (b"a\nb\nc\n\xff\n", "no UTF-8; expected text"),
])  # fmt: skip
def test_labels_that_do_not_fit(tmp_path, content, said):
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(ValueError, match=said):
        convert.read_labels(tmp_path / "labels.txt", 4)


@pytest.mark.parametrize(("options", "name"), [
    ([], "m.safetensors"), (["--to", "hf"], "m-hf"), (["--to", "timm"], "m-timm"),
])  # fmt: skip
def test_default_output_overwrites_nothing(tmp_path, run, monkeypatch, options, name):
    (tmp_path / "in").mkdir()
    save_model(tmp_path / "in" / "m.bin.safetensors", make_model(replace(VARIANTS["pvt_v2_b0"], num_labels=3)))
    source = (tmp_path / "in" / "m.bin.safetensors").rename(tmp_path / "in" / "m.safetensors")
    monkeypatch.chdir(tmp_path)
    shown = run(source, *options)
    assert f"wrote: {name}" in shown
    assert_same(load_model(tmp_path / name).params, load_model(source).params)
    with pytest.raises(ValueError, match=f"{name}: found something of that name; expected a free one"):
        convert.main([str(source), *options])


def test_errors_of_the_command_are_one_line(tmp_path):
    (tmp_path / "cut.safetensors").write_bytes(b"\x10")
    status, out, err = command("convert", tmp_path / "cut.safetensors", "-o", tmp_path / "x.safetensors")
    assert (status, out) == (1, "")
    assert err.startswith(f"convert: error: {tmp_path / 'cut.safetensors'}: found no whole safetensors file")
    assert err.count("\n") == 1
    assert not (tmp_path / "x.safetensors").exists()
    status, _, err = command("convert", "x", "--origin", "no equals sign")
    assert status == 2
    *_, line = err.splitlines()  # below the usage
    assert line.startswith("python -m pvt_numpy.convert: error: ")
    assert "expected KEY=TEXT" in line


def test_a_pickle_without_pytorch_is_one_clear_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for content in (b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", b""):
        (tmp_path / "pvt_tiny.pth").write_bytes(content)
        refused(tmp_path / "pvt_tiny.pth", ".pth: found a PyTorch pickle; expected PyTorch to open it: pip")


def test_describe_of_each_maker_differs(tmp_path):
    model = make_model(V2)
    files = [bare_file(tmp_path / kind, model, kind) for kind in ("official", "timm", "hf-v2")]
    assert len({describe(load_model(file)).replace(file.name, "") for file in files}) == 3
