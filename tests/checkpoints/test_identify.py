"""Every public kind of checkpoint is recognised and becomes ours, bit for bit; offline, with generated files.

The way back is in test_export.py, PyTorch's own files and models in test_convert_torch.py.
"""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from pvt_numpy import classify, convert, save_model
from pvt_numpy.checkpoints import hub
from pvt_numpy.checkpoints.checkpoint import load_model, write_safetensors
from pvt_numpy.checkpoints.export import export_hf, export_timm
from pvt_numpy.checkpoints.identify import identify
from pvt_numpy.checkpoints.names import file_names
from pvt_numpy.checkpoints.sources import Source
from pvt_numpy.config import VARIANTS, config_to_dict
from pvt_numpy.parameters import flatten, parameter_shapes
from pvt_numpy.pictures import imagenet
from pvt_numpy.pictures.recipes import RECIPES
from tests.checkpoints.checkpoint_files import bare_file, refused, rewrite, write_json, write_raw
from tests.checkpoints.models import LINEAR, SMALL_V1, SMALL_V2, SPLIT, V1, V2, assert_same, make_model, state_dict
from tests.processes import BALL

TIMM_RECIPE = {"input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": 0.9, "crop_mode": "center",
               "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}  # fmt: skip
TIMM_CONFIG = {"architecture": "pvt_v2_b0", "num_classes": 3, "pretrained_cfg": TIMM_RECIPE}
KINDS = {"official": (V1, V2, LINEAR), "timm": (V2, LINEAR), "hf-v1": (V1,), "hf-v2": (V2, LINEAR)}
EVERY = [(kind, config) for kind, configs in KINDS.items() for config in configs]
IDS = [f"{kind}-{'linear' if config is LINEAR else config.model_type}" for kind, config in EVERY]


def hf_folder(folder, model, **fields):
    """A Hugging Face folder, config.json written here and not by the exporter under test."""
    folder.mkdir()
    v1, bare = model.config.model_type == "pvt", not model.config.num_labels
    state = state_dict(model, "hf-v1" if v1 else "hf-v2", bare)
    write_safetensors(folder / "model.safetensors", state, {"format": "pt"}, "float32")
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
def test_bare_state_dicts(tmp_path, capsys, kind, config):
    """Configuration from shapes, epsilons and recipe from the maker, arrays bit for bit; shown and recorded."""
    model = make_model(config)
    found = bare_file(tmp_path / "found.safetensors", model, kind)
    assert convert.main([str(found), "-o", str(tmp_path / "ours.safetensors")]) == 0
    shown = capsys.readouterr().out
    ours = load_model(tmp_path / "ours.safetensors")
    assert_same(ours.params, model.params)
    assert ours.config == replace(config, **({} if kind.startswith("hf") else SPLIT))
    recipe = "hf" if kind.startswith("hf") else kind
    if config is V1:  # made for 32 pixels, and the recipe with it
        recipe += " at 32x32"
        assert (ours.preprocessing["crop_size"] or ours.preprocessing["size"]) == {"height": 32, "width": 32}
    else:
        assert ours.preprocessing == RECIPES[recipe]
    assert (ours.origin["recipe"], ours.origin["source"]) == (recipe, "found.safetensors")
    for text in (f"recipe {recipe}\n", "eps 1e-06", "from found.safetensors of ", "3 outputs", "float32"):
        assert text in shown
    assert ("1e-05 in patch embeddings and SRA" in shown) == (not kind.startswith("hf"))


@pytest.mark.parametrize("variant", VARIANTS)
def test_published_variants_are_recognised_by_their_shapes(tmp_path, variant):
    """All eleven, from official names. Only the header is real: the arrays are a hole in the file."""
    shapes = {file_names(n, "official")[0]: shape for n, shape in parameter_shapes(VARIANTS[variant]).items()}
    identity = identify(Source(shapes, None), "x.pth", "x.pth")
    assert (identity.config, identity.labels) == (replace(VARIANTS[variant], **SPLIT), imagenet.class_names())
    assert (identity.preprocessing, identity.origin["recipe"]) == (RECIPES["official"], "official")


UNPUBLISHED = {
    "five channels, no head": replace(V2, num_channels=5, depths=(2, 1, 1, 3), num_labels=0),
    "odd ratios": replace(V2, mlp_ratios=(2.5, 1 / 3, 4, 4), qkv_bias=False),
    "every ratio above 1": replace(V2, sr_ratios=(4, 2, 3, 2)),
    "two stages": replace(V2, num_encoder_blocks=2, depths=(1, 1), hidden_sizes=(64, 128), patch_sizes=(3, 5),
                          strides=(2, 3), num_attention_heads=(1, 2), mlp_ratios=(1, 1), sr_ratios=(4, 1)),
    "v1 at 64": replace(V1, image_size=64, sequence_reduction_ratios=(4, 1, 2, 1), num_labels=0),
    "one stage": replace(V1, num_encoder_blocks=1, depths=(2,), hidden_sizes=(32,), patch_sizes=(8,), strides=(8,),
                         num_attention_heads=(1,), mlp_ratios=(2,), sequence_reduction_ratios=(1,))}  # fmt: skip


@pytest.mark.parametrize("config", UNPUBLISHED.values(), ids=UNPUBLISHED)
def test_sizes_that_were_never_published(tmp_path, config):
    model = make_model(config)
    ours = load_model(bare_file(tmp_path / "m.safetensors", model, "official"))
    # Of the ratios that give the same hidden width, any is right.
    assert replace(ours.config, mlp_ratios=config.mlp_ratios) == replace(config, **SPLIT)
    assert_same(ours.params, model.params)


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


@pytest.mark.parametrize("config", [
    SMALL_V1, SMALL_V2, replace(SMALL_V1, num_labels=0), replace(SMALL_V2, num_labels=0),
    replace(SMALL_V1, image_size=96, patch_sizes=(4, 3, 2, 2))])  # fmt: skip
def test_hugging_face_folders(tmp_path, config):
    """config.json counts, epsilon is one, and the image size without a preprocessor_config.json is the model's."""
    model = make_model(replace(config, patch_norm_eps=None, layer_norm_eps=1e-5))
    folder = hf_folder(tmp_path / "hf", model)
    ours = load_model(folder)
    assert_same(ours.params, model.params)
    assert (ours.config, ours.labels, ours.origin["source"]) == (model.config, None, "hf")
    assert ours.preprocessing["size"] == dict(zip(("height", "width"), config.image_hw, strict=True))
    assert load_model(folder / "model.safetensors").origin == ours.origin


def test_hugging_face_labels_and_preprocessor(tmp_path):
    names = ["tench", "goldfish", "gr\u00fcn", "crane"]
    folder = hf_folder(tmp_path / "hf", make_model(SMALL_V2), id2label={str(n): names[n] for n in (2, 0, 1, 3)})
    write_json(folder / "preprocessor_config.json", {"image_processor_type": "PvtImageProcessor", "resample": 2})
    model = load_model(folder)
    assert (model.labels, model.preprocessing) == (tuple(names), RECIPES["hf-bilinear"])
    assert model.origin["recipe"] == "hf-bilinear"


UNREADABLE = {
    "another processor": '{"image_processor_type": "LevitImageProcessor"}',
    "a filter": '{"resample": 99}',
    "no JSON": "{",
    "a Git LFS pointer": "version https://git-lfs.github.com/spec/v1\nsize 5\n",
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_a_recipe_that_is_asked_for_counts_whatever_the_files_say(tmp_path, capsys, what):
    """Here and with --recipe; a refusal that this helps with says so."""
    export_hf(tmp_path / "hf", make_model(replace(SMALL_V2, num_labels=3)))
    (tmp_path / "hf" / "preprocessor_config.json").write_text(UNREADABLE[what])
    said = refused(tmp_path / "hf")
    assert ("--recipe hf" in said) == (what in ("another processor", "a filter"))
    model = load_model(tmp_path / "hf", recipe="hf-bilinear")
    assert (model.preprocessing, model.origin["recipe"]) == (RECIPES["hf-bilinear"], "hf-bilinear, as asked for")
    options = ["--recipe", "hf-bilinear", "--model", str(tmp_path / "hf")]
    assert classify.main([str(BALL), *options]) == 0
    assert "recipe hf-bilinear, as asked for" in capsys.readouterr().out


def test_a_recipe_counts_for_our_files_and_timm_s_too(tmp_path):
    model = make_model(SMALL_V2, preprocessing=RECIPES["official"] | {"resample": 3})
    save_model(tmp_path / "m.safetensors", model)

    def change(header):
        text = header["__metadata__"]["preprocessing"]
        header["__metadata__"]["preprocessing"] = text.replace('"resample": 3', '"resample": 9')

    refused(rewrite(tmp_path / "m.safetensors", change), "the metadata's resample: found 9")
    assert load_model(tmp_path / "m.safetensors", recipe="timm").preprocessing == RECIPES["timm"]
    export_timm(tmp_path / "timm", make_model(VARIANTS["pvt_v2_b0"]))
    values = json.loads((tmp_path / "timm" / "config.json").read_text())
    write_json(tmp_path / "timm" / "config.json", values | {"pretrained_cfg": {"interpolation": "random"}})
    refused(tmp_path / "timm", "interpolation: found 'random'", "--recipe hf")
    assert load_model(tmp_path / "timm", recipe="timm").preprocessing == RECIPES["timm"]
    with pytest.raises(ValueError, match="^recipe: found 'mine'; expected None or 'official'"):
        load_model(recipe="mine")


def test_sharded_folder(tmp_path):
    model = make_model(SMALL_V2)
    folder = hf_folder(tmp_path / "hf", model)
    (folder / "model.safetensors").unlink()
    state = state_dict(model, "hf-v2")
    shards = [f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
    for n, file in enumerate(shards):
        write_safetensors(folder / file, dict(list(state.items())[n::3]), {}, "float32")
    weight_map = {name: shards[n % 3] for n, name in enumerate(state)}
    index = folder / "model.safetensors.index.json"
    write_json(index, {"metadata": {}, "weight_map": weight_map})
    assert_same(load_model(folder).params, model.params)
    assert_same(load_model(index).params, model.params)

    outside = tmp_path / "outside.safetensors"
    (folder / shards[2]).rename(outside)
    with pytest.raises(FileNotFoundError, match=f"index.json: found no {shards[2]}; expected it, for the index lists"):
        load_model(folder)
    paths = ["../outside.safetensors", str(outside), "..\\outside.safetensors", "..", "", "C:outside.safetensors"]
    elsewhere = [{"weight_map": weight_map | {"classifier.bias": path}} for path in paths]
    no_tables = [{}, {"weight_map": []}, {"weight_map": {"classifier.bias": 3}}]
    for damages, said in ((elsewhere, "weight_map: found .*; expected the name of a file in the same folder"),
                          (no_tables, r"index\.json: weight_map: found something else; expected a table"),
                          ([{"weight_map": {"head": shards[0]}}],
                           f"head: found no such parameter in {shards[0]}")):  # fmt: skip
        for damage in damages:
            write_json(index, damage)
            assert re.search(said, refused(folder))


def test_timm_folder(tmp_path):
    model = make_model(replace(VARIANTS["pvt_v2_b0"], num_labels=3, num_channels=1))
    bare_file(tmp_path / "model.safetensors", model, "timm")
    write_json(tmp_path / "config.json", TIMM_CONFIG | {"label_names": ["a", "b", "c"]})
    ours = load_model(tmp_path)
    assert (ours.config, ours.labels) == (replace(model.config, **SPLIT), ("a", "b", "c"))
    averaged = {"num_channels": 1, "image_mean": [pytest.approx(0.449)], "image_std": [pytest.approx(0.226)]}
    assert ours.preprocessing == RECIPES["timm"] | averaged
    recipe = "timm, in grey, means and deviations averaged"
    assert ours.origin == {"format": "timm", "source": tmp_path.name, "recipe": recipe}
    assert_same(ours.params, model.params)

    write_json(tmp_path / "config.json", TIMM_CONFIG | {"architecture": "pvt_v2_b2.in1k"})
    said = refused(tmp_path)
    assert "found parameters of pvt_v2_b0 (missing: " in said
    assert said.endswith(
        "of another shape: patch_embed.proj.weight is (32, 1, 7, 7), expected (64, 1, 7, 7), patch_embed.proj.bias, "
        "patch_embed.norm.*, stages.0.blocks.0.*, stages.0.blocks.1.*, stages.0.norm.*, stages.1.downsample.*, "
        "stages.1.blocks.0.*, stages.1.blocks.1.*, stages.1.norm.*, stages.2.downsample.*, stages.2.blocks.0.*, "
        "stages.2.blocks.1.*, stages.2.norm.*, stages.3.downsample.*, stages.3.blocks.0.*, stages.3.blocks.1.*, "
        "stages.3.norm.*, head.weight); expected those of the configuration"
    )


def test_imagenets_names_where_there_are_1000_outputs_and_none_of_their_own(tmp_path):
    labels = load_model(bare_file(tmp_path / "m.safetensors", make_model(replace(V2, num_labels=1000)), "timm")).labels
    assert [labels[n] for n in (0, 134, 517, 999)] == ["tench", "crane", "crane", "toilet tissue"]
    assert len(labels) == 1000
    assert imagenet.classes()[134][0] != imagenet.classes()[517][0]
    folder = hf_folder(tmp_path / "hf", make_model(replace(SMALL_V2, num_labels=1000)))
    assert load_model(folder).labels == labels, "LABEL_0, LABEL_1, ... are no names"


def test_downloaded_names(tmp_path, monkeypatch):
    folder = hf_folder(tmp_path / "snapshot", make_model(SMALL_V1))
    asked = []
    monkeypatch.setattr(hub, "download", lambda source, **options: asked.append((source, options)) or folder)
    model = load_model("Zetatech/pvt-tiny-224", local_files_only=True)
    assert asked == [("Zetatech/pvt-tiny-224", {"local_files_only": True})]
    assert model.origin["source"] == "Zetatech/pvt-tiny-224", "the name, not the place in some cache"
    write_json(folder / "config.json", {"model_type": "pvt"})
    said = refused("Zetatech/pvt-tiny-224")
    assert re.match(r"Zetatech/pvt-tiny-224: found parameters .*missing.*; .* of pvt_tiny$", said)


V2_SAYS = '{"model_type": "pvt_v2", '
NAMED, GAPS = V2_SAYS + '"id2label": ', "id2label: found other numbers; expected labels that are numbered 0, 1, 2"
CONFIGS = {
    "no JSON": ("{", "config.json: found no valid JSON ("),
    "not UTF-8": (b"\xff\xfe{", "config.json: found no valid JSON ("),
    "too deep": ("[" * 100_000, "config.json: found no valid JSON ("),
    "deep where Python prints": (V2_SAYS + f'"depths": {"[" * 900 + "]" * 900}}}', "found no valid JSON ("),
    "a list": ("[]", "config.json: found a JSON list"),
    "another model": ('{"model_type": "vit"}', "model_type: found 'vit'"),
    "a nonsense field": (V2_SAYS + '"depths": "deep"}', "depths: found 'deep'"),
    "not finite": (V2_SAYS + '"layer_norm_eps": NaN}', "NaN is no number of JSON"),
    "gaps in labels": (NAMED + '{"0": "a", "5": "b"}}', GAPS),
    "labels no text": (NAMED + '{"0": "a", "1": 2, "2": "c", "3": "d"}}', "expected 4 texts"),
    "labels a list": (NAMED + '["a"], "num_labels": 4}', "id2label: found a JSON list"),
    "labels of timm": ('{"architecture": "pvt_v2_b9", "label_names": 4}', "expected 4 texts"),
    "timm's cfg": ('{"architecture": "pvt_v2_b0", "pretrained_cfg": {"crop_pct": -1}}', "crop_pct: found -1"),
}


@pytest.mark.parametrize(("text", "said"), CONFIGS.values(), ids=CONFIGS)
def test_damaged_config_json(tmp_path, text, said):
    model = make_model(replace(V2, num_labels=4))
    bare_file(tmp_path / "model.safetensors", model, "timm" if "arch" in str(text) else "hf-v2")
    (tmp_path / "config.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert said in refused(tmp_path)


def test_what_is_no_pvt(tmp_path):
    with pytest.raises(FileNotFoundError, match="a folder with no model in it; expected model.safetensors or"):
        load_model(tmp_path)
    path = tmp_path / "m.safetensors"
    write_raw(path, {"bert.x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(4))
    assert refused(path).endswith("the parameters: found bert.x; expected those of a public PVT checkpoint")
    said = refused(bare_file(path, make_model(SMALL_V2), "timm"))
    assert re.search(r"channels: found \(8, 8, 20, 16\), which no published variant has.*config\.json", said)
    said = refused(bare_file(path, make_model(replace(V1, image_size=(32, 64))), "official"))
    assert "first position table: found 128 rows, which are no square grid" in said
    state = state_dict(make_model(V2), "official")
    del state["patch_embed2.proj.weight"]
    write_safetensors(path, state, {}, "float32")
    assert "m.safetensors: patch_embed2.proj.weight: found no such parameter" in refused(path)
