"""A PVT is found wherever it lies in a checkpoint, what lies beside it is counted, and a choice is never silent.

Pickles, and the tables in which training scripts keep raw and averaged weights, are in test_convert_torch.py.
"""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from pvt_numpy import classify, convert, evaluate
from pvt_numpy.checkpoints.checkpoint import describe, load_model, save_model
from pvt_numpy.checkpoints.export import export_hf
from pvt_numpy.checkpoints.inside import choose
from pvt_numpy.checkpoints.safetensors_file import write_safetensors
from pvt_numpy.checkpoints.sources import Source
from pvt_numpy.model import pyramid
from pvt_numpy.pictures.recipes import RECIPES
from tests.checkpoints.checkpoint_files import bare_file, refused, rewrite, write_json
from tests.checkpoints.models import LINEAR, SMALL_V2, V1, V2, assert_same, make_model, state_dict
from tests.processes import BALL

HEADLESS = replace(V2, num_labels=0)
NECK = {"neck.lateral_convs.0.conv.weight": np.zeros((8, 32, 1, 1), np.float32),
        "neck.lateral_convs.0.conv.bias": np.zeros(8, np.float32),
        "decode_head.conv_seg.weight": np.zeros((19, 8, 1, 1), np.float32)}  # fmt: skip
COUNTED = "3 other arrays (neck 2, decode_head 1)"


def under(prefix, state):
    return {prefix + name: value for name, value in state.items()}


def file_of(path, state):
    write_safetensors(path, state, {}, "float32")
    return path


def chosen(state, **options):
    """(the arrays that `choose` takes, its notes)."""
    source, notes = choose(
        Source({name: value.shape for name, value in state.items()}, state.__getitem__), "x", **options
    )
    return {name: source.read(name) for name in source.shapes}, notes


# --- prefixes ---

KINDS = [("official", V2, False), ("official", V1, False), ("timm", LINEAR, False), ("hf-v2", V2, False),
         ("hf-v2", HEADLESS, True), ("hf-v1", V1, False), ("hf-v1", replace(V1, num_labels=0), True)]  # fmt: skip


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.", "net.", "backbone.", "encoder.",
                                    "backbone.bottom_up.", "module.model.backbone.", "visual.trunk."])  # fmt: skip
def test_whatever_stands_before_the_names(prefix):
    for kind, config, bare in KINDS:
        state = state_dict(make_model(config), kind, bare)
        taken, notes = chosen(under(prefix, state) | {"neck.0.weight": np.ones(1)})
        assert taken == state, (kind, "the very same arrays")
        assert notes == {"left aside": "1 other array (neck 1)"}


def test_a_segmenter_becomes_a_backbone(tmp_path):
    """As mmsegmentation and detectron2 write it: the model without a head, and what else there was counted."""
    model = make_model(HEADLESS)
    for prefix, more, counted in (
        ("backbone.", NECK, COUNTED),
        ("module.backbone.", under("module.", NECK), COUNTED),
        ("backbone.bottom_up.", {"backbone.fpn_lateral2.weight": np.ones(3)}, "1 other array (fpn_lateral2 1)"),
        ("", {"head.0.weight": np.ones(3), "fc.weight": np.ones((3, 256))}, "2 other arrays (head 1, fc 1)"),
        ("", {"head.weight": np.ones((3, 256, 1, 1)), "head.bias": np.ones(3)}, "2 other arrays (head 2)"),
    ):
        ours = load_model(file_of(tmp_path / "m.safetensors", under(prefix, state_dict(model, "official")) | more))
        assert_same(ours.params, model.params)
        assert ours.config.num_labels == 0
        assert ours.origin["left aside"] == counted
        assert f"; left aside {counted}; " in describe(ours)


def test_what_a_counter_of_operations_left_behind():
    state = state_dict(make_model(V2), "official")
    modules = {"", *(name.rpartition(".")[0] + "." for name in state)}
    counters = {f"{module}{what}": np.zeros(1) for module in modules for what in ("total_ops", "total_params")}
    taken, notes = chosen(under("module.", state | counters))
    assert taken == state
    each = len(modules)
    assert notes == {"left aside": f"{2 * each} other arrays (total_ops {each}, total_params {each})"}


def test_timms_features_only():
    state = state_dict(make_model(HEADLESS), "timm")
    renamed = {re.sub(r"^stages\.", "stages_", name): value for name, value in state.items()}
    assert "stages_1.downsample.proj.weight" in renamed
    assert chosen(renamed) == (state, {})
    assert chosen(under("backbone.", renamed)) == (state, {})


def test_what_lies_within_the_pvts_own_modules_is_not_left_aside(tmp_path):
    """It would change what the model computes."""
    state = under("backbone.", state_dict(make_model(V2), "official"))
    refused(
        file_of(tmp_path / "m.safetensors", state | {"backbone.block1.0.gamma": np.ones(3)}),
        "unexpected: block1.0.gamma",
    )
    del state["backbone.block1.0.attn.q.bias"]
    refused(file_of(tmp_path / "m.safetensors", state), "missing: block1.0.attn.q.bias")


def test_another_networks_patches_are_no_pvt():
    vit = {"vit.stages.1.downsample.proj.weight": np.ones((8, 3, 4, 4)), "vit.blocks.0.attn.qkv.weight": np.ones(1)}
    state = state_dict(make_model(V2), "timm")
    assert chosen(vit | under("pvt.", state)) == (state, {"left aside": "2 other arrays (vit 2)"})
    assert chosen(vit) == (vit, {}), "what it is, is said by `identify`"


# --- several ---


def test_of_two_a_prefix_chooses(tmp_path):
    student, teacher = (state_dict(make_model(V2, seed), "official") for seed in (0, 1))
    path = file_of(
        tmp_path / "m.safetensors", under("student.backbone.", student) | under("teacher.backbone.", teacher)
    )
    refused(
        path,
        "found 2 PVTs, under student.backbone and under teacher.backbone; expected one",
        "as --prefix teacher.backbone",
    )
    for prefix in ("teacher", "teacher.", "teacher.backbone", "teacher.backbone."):
        ours = load_model(path, prefix=prefix)
        assert_same(ours.params, make_model(V2, 1).params)
    assert "; weights under teacher.backbone; left aside 102 other arrays (student 102)" in describe(ours)
    for prefix in ("tea", "backbone.teacher", "x"):
        with pytest.raises(
            ValueError, match=f"no PVT under '{prefix}'; expected what is there: under student.backbone and"
        ):
            load_model(path, prefix=prefix)
    with pytest.raises(ValueError, match="2 PVTs under 'backbone'"):
        load_model(path, prefix="backbone")
    convert.main([str(path), "--prefix", "student", "-o", str(tmp_path / "ours.safetensors")])
    assert_same(load_model(tmp_path / "ours.safetensors").params, make_model(V2, 0).params)


def test_what_programs_read_says_which_weights_they_are(tmp_path, capsys):
    """As the line for people does; of a model without a choice nothing is said."""
    two = under("a.", state_dict(make_model(V2, 0), "official")) | under("b.", state_dict(make_model(V2, 1), "timm"))
    path = str(file_of(tmp_path / "two.safetensors", two))
    (tmp_path / "pictures" / "LABEL_1").mkdir(parents=True)
    shutil.copy(BALL, tmp_path / "pictures" / "LABEL_1")
    for main, picture in ((classify.main, str(BALL)), (evaluate.main, str(tmp_path / "pictures"))):
        assert main([picture, "--model", path, "--prefix", "b", "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert (said["model"], said["weights"], said["left aside"]) == (path, "under b", "102 other arrays (a 102)")
    one = str(file_of(tmp_path / "one.safetensors", state_dict(make_model(V2), "timm")))
    assert classify.main([str(BALL), "--model", one, "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == ["image", "model", "predictions"]


def test_what_chooses_nothing_is_refused(tmp_path):
    """--weights and --prefix choose from a file: a variant alone has none, nor have random weights."""
    from pvt_numpy import summary, validate
    from pvt_numpy.plots.__main__ import main as plots

    for flag in (["--weights", "ema"], ["--weights", "raw"], ["--prefix", ""], ["--prefix", "student"]):
        said = f"^{flag[0]}: found '{flag[1]}' for (pvt_v2_b0|--variants), of which no file is read; expected a file"
        for main, given in ((summary.main, ["pvt_v2_b0"]), (validate.main, ["--random", "pvt_v2_b0"]),
                            (validate.main, ["--variants"]),
                            (plots, ["cost", "--model", "pvt_v2_b0", "-o", str(tmp_path / "cost.png")])):  # fmt: skip
            with pytest.raises(ValueError, match=said):
                main([*given, *flag])


def test_one_at_the_top_can_be_chosen():
    top, below = (state_dict(make_model(V2, seed), "official") for seed in (0, 1))
    assert chosen(top | under("teacher.", below), prefix="")[0] == top
    with pytest.raises(ValueError, match="x: found 2 PVTs, at the top and under teacher; .* --prefix teacher$"):
        chosen(top | under("teacher.", below))
    many = {f"m{n}.patch_embed1.proj.weight": np.ones(1) for n in range(1000)}
    with pytest.raises(ValueError, match="x: found 1,000 PVTs; expected at most"):
        chosen(many)


@pytest.mark.parametrize("twin", ["model_ema.module.", "ema.", "ema_model.", "swa_model.", "model.ema_backbone."])
def test_the_average_comes_first(twin):
    raw, average = (state_dict(make_model(V2, seed), "official") for seed in (0, 1))
    state = under("model.", raw) | under(twin, average)
    assert chosen(state)[0] == chosen(state, weights="ema")[0] == average
    assert chosen(state)[1]["weights"] == f"averaged, under {twin.strip('.')}"
    taken, notes = chosen(state, weights="raw")
    assert taken == raw
    assert notes["weights"] == "raw, under model"
    assert chosen(under(twin, average))[0] == average
    for part, weights, said in ((twin, "raw", "raw weights; expected .*, averaged"),
                                ("model.", "ema", "averaged weights; expected .* under model, raw")):  # fmt: skip
        with pytest.raises(ValueError, match=f"^x: found no PVT of {said}$"):
            chosen(under(part, raw), weights=weights)
    with pytest.raises(ValueError, match="weights: found 'both'; expected None or 'raw' or 'ema'"):
        chosen(raw, weights="both")


def test_schema_is_no_ema():
    state = state_dict(make_model(V2), "official")
    assert chosen(under("schema.cinema.", state)) == (state, {})


# --- v1 without a class token ---


@pytest.mark.parametrize("rows", ["with the class token's row", "without it"])
def test_v1_as_detectors_keep_it(tmp_path, rows):
    whole = make_model(V1)
    state = {name: value for name, value in state_dict(whole, "official").items() if name != "cls_token"}
    if rows == "without it":
        state["pos_embed4"] = np.ascontiguousarray(state["pos_embed4"][:, 1:])
    norm_and_head = [state.pop(name) for name in ("norm.weight", "norm.bias", "head.weight", "head.bias")]
    assert len(norm_and_head) == 4
    ours = load_model(file_of(tmp_path / "m.safetensors", under("backbone.", state) | NECK))
    assert ours.config == replace(V1, num_labels=0, layer_norm_eps=1e-6, patch_norm_eps=1e-5)
    last = ours.params["stages"][3]
    np.testing.assert_array_equal(last["pos_embed"], whole.params["stages"][3]["pos_embed"][:, 1:])
    assert_same({"stages": ours.params["stages"][:3]}, {"stages": whole.params["stages"][:3]})
    assert not {"norm", "head"} & ours.params.keys()
    assert "cls_token" not in last
    assert "no class token and no outputs; " in describe(ours)
    maps = pyramid(np.ones((1, 3, 64, 64), np.float32), ours.params, ours.config)
    assert [m.shape for m in maps] == [(1, 64, 16, 16), (1, 128, 8, 8), (1, 320, 4, 4), (1, 512, 2, 2)]
    save_model(tmp_path / "ours.safetensors", ours)
    again = load_model(tmp_path / "ours.safetensors")
    assert_same(again.params, ours.params)
    assert replace(again, params={}) == replace(ours, params={})
    with pytest.raises(ValueError, match="found no class token; expected one, which Hugging Face's PVT always has"):
        export_hf(tmp_path / "hf", ours)  # and `validate`, through the same names


def test_the_norm_and_head_of_a_lost_class_token_are_left_aside(tmp_path):
    state = state_dict(make_model(V1), "official")
    del state["cls_token"]
    ours = load_model(file_of(tmp_path / "m.safetensors", state))
    assert ours.origin["left aside"] == "4 other arrays (norm 2, head 2)"
    save_model(tmp_path / "ours.safetensors", make_model(V1))
    rewrite(tmp_path / "ours.safetensors", lambda header: header.update(x=header.pop("stages.3.cls_token")))
    refused(tmp_path / "ours.safetensors", "unexpected: ")  # of our own files nothing is left aside


# --- a file inside its folder ---


@pytest.fixture
def folder(tmp_path):
    """A Hugging Face folder that says what shapes cannot."""
    config = replace(SMALL_V2, num_attention_heads=(2, 4, 5, 8), layer_norm_eps=1e-3, hidden_act="relu")
    export_hf(tmp_path / "hf", make_model(config, labels=tuple("abcd"), preprocessing=RECIPES["hf-bilinear"]))
    return tmp_path / "hf"


def told(model):
    return model.config, model.labels, model.preprocessing


@pytest.mark.parametrize("name", ["model.fp16.safetensors", "best.safetensors", "epoch 12.st"])
def test_weights_of_any_name_take_what_lies_beside_them(folder, name):
    expected = load_model(folder)
    assert expected.config.layer_norm_eps == 1e-3
    (folder / "model.safetensors").rename(folder / name)
    ours = load_model(folder / name)
    assert told(ours) == told(expected)
    assert_same(ours.params, expected.params)
    write_json(folder / "config.json", json.loads((folder / "config.json").read_text()) | {"depths": [2, 2, 2, 2]})
    refused(folder / name, "expected those of the configuration, as config.json beside it says")


def test_what_another_model_left_beside_a_file_is_not_taken(tmp_path):
    path = bare_file(tmp_path / "pvt.safetensors", make_model(V2), "timm")
    alone = load_model(path)
    (tmp_path / "preprocessor_config.json").write_text("no JSON")
    for other in ({"model_type": "bert", "layer_norm_eps": 3}, {"architecture": "resnet50", "pretrained_cfg": 3}):
        write_json(tmp_path / "config.json", other)
        assert told(load_model(path)) == told(alone)
    ours = tmp_path / "ours.safetensors"
    save_model(ours, alone)
    (tmp_path / "config.json").write_text("no JSON")
    assert told(load_model(ours)) == told(alone), "our own files need nothing beside them"


def test_a_folder_whose_weights_have_other_names(folder):
    expected, weights = load_model(folder), folder / "model.safetensors"
    weights.rename(folder / "model.fp16.safetensors")
    for other in ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "README.md"):
        (folder / other).write_bytes(b"?")
    ours = load_model(folder)
    assert told(ours) == told(expected)
    assert "; chosen model.fp16.safetensors; " in describe(ours)

    save_model(folder / "a.safetensors", make_model(SMALL_V2), "float16")  # smaller, and so not chosen
    shutil.copy(folder / "model.fp16.safetensors", folder / "best.safetensors")
    (folder / "large.bin").write_bytes(bytes(10**6))  # a pickle comes last
    said = "best.safetensors, the first of best.safetensors, model.fp16.safetensors, a.safetensors, large.bin"
    assert load_model(folder).origin["chosen"] == said
    (folder / "config.json").unlink()
    refused(folder, f"several checkpoints and no config.json, {said.split(' of ')[1]}", "the name of one of them")


def test_a_variant_in_several_files(folder):
    expected, weights = load_model(folder), folder / "model.safetensors"
    shard = "model.fp16-00001-of-00001.safetensors"
    names = state_dict(expected, "hf-v2")
    write_json(folder / "model.safetensors.index.fp16.json", {"weight_map": dict.fromkeys(names, shard)})
    weights.rename(folder / shard)
    assert_same(load_model(folder).params, expected.params)
    assert_same(load_model(folder / "model.safetensors.index.fp16.json").params, expected.params)


# --- what convert keeps ---


def test_the_notes_on_the_origin_travel_into_a_folder_and_back(tmp_path):
    model = make_model(V2, preprocessing=RECIPES["hf"], origin={"source": "x.pth", "licence": "research \u00fc only"})
    save_model(tmp_path / "m.safetensors", model)
    assert convert.main([str(tmp_path / "m.safetensors"), "--to", "hf", "-o", str(tmp_path / "hf")]) == 0
    assert load_model(tmp_path / "hf").origin == {
        "licence": "research \u00fc only", "source": "hf", "recipe": "hf",
        "format": "Hugging Face transformers (PvtV2)",
    }  # fmt: skip


def test_float16_stays_float16_unless_asked(tmp_path, capsys):
    half, ours, again = (tmp_path / name for name in ("half", "ours", "again"))
    save_model(half, make_model(SMALL_V2), "float16")
    assert convert.main([str(half), "-o", str(ours)]) == 0
    assert "float16, 0.1 MB" in capsys.readouterr().out
    assert ours.read_bytes() == half.read_bytes()
    assert convert.main([str(half), "-o", str(again), "--dtype", "float32"]) == 0
    assert convert.main([str(again), "-o", str(ours)]) == 0, "no number needs more"
    assert ours.read_bytes() == half.read_bytes()
    assert convert.main([str(half), "--to", "hf", "-o", str(tmp_path / "hf")]) == 0
    assert json.loads((tmp_path / "hf" / "config.json").read_text())["dtype"] == "float32"  # as PyTorch computes
    save_model(half, make_model(SMALL_V2), "float32")
    assert convert.main([str(half), "-o", str(ours)]) == 0
    assert ours.read_bytes() == half.read_bytes()
