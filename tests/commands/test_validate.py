"""`python -m pvt_numpy.validate`: its verdicts, its exit status, its report, with PyTorch and without."""

import contextlib
import json
import sys
from argparse import Namespace
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from pvt_numpy import VARIANTS, model, validate
from pvt_numpy.checkpoints.checkpoint import Model, load_model, save_model
from pvt_numpy.reference.cases import golden_case
from pvt_numpy.reference.comparison import TOLERANCES, Difference, differences, first_departure
from pvt_numpy.reference.golden import seeded_params, seeded_pixels
from pvt_numpy.reference.mistakes import MISTAKES, OF_A_MODEL, made
from pvt_numpy.reference.mistakes.making import RUN_BY
from tests import processes

SAMPLE = str(processes.BALL)
GOLDEN = Namespace(json=False, model=None, local_files_only=True, weights=None, prefix=None)


def answer(capsys, *arguments):
    """(exit status, the JSON object) of a run in this process."""
    status = validate.main([*arguments, "--json"])
    return status, json.loads(capsys.readouterr().out)


def small_model(tmp_path, size=(64, 64), **changes):
    """A file with a narrow model of random weights, and a recipe that makes pictures of this size."""
    narrow = {"image_size": 64, "hidden_sizes": (8, 16, 24, 32), "num_attention_heads": (1, 2, 3, 4), "num_labels": 5}
    config = replace(VARIANTS["pvt_tiny"], **narrow | changes)
    recipe = {"do_resize": True, "size": dict(zip(("height", "width"), size, strict=True))}
    path = tmp_path / "small.safetensors"
    save_model(path, Model(config, seeded_params(config, 3, np.float32), preprocessing=recipe))
    return str(path)


@pytest.mark.torch
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_the_shipped_model_agrees_with_pytorch_on_the_sample(capsys, dtype):
    status, result = answer(capsys, "--dtype", dtype)
    assert (status, result["first_departure"], result["golden"]) == (0, None, False)
    assert "PvtV2ForImageClassification" in result["reference"]
    assert "golf_ball.jpg" in result["model"]
    layers = result["layers"]
    assert [row["name"] for row in layers[:2]] == ["stages.0.patch_embed", "stages.0.tokens"]
    assert len(layers) == 138
    assert max(row["relative"] for row in layers) < (1e-13 if dtype == "float64" else 1e-5)


@pytest.mark.torch
@pytest.mark.parametrize(("mistake", "eps", "first"), [("eps", 1e-5, "patch_embed"), ("pos", None, "tokens"),
    ("gelu", 1e-5, "blocks.0.mlp.act"), ("kv", 1e-5, "blocks.0.attn.k")])  # fmt: skip
def test_a_mistake_is_found_where_it_was_made(capsys, mistake, eps, first, tmp_path):
    model = small_model(tmp_path, patch_norm_eps=eps)
    status, result = answer(capsys, "--model", model, "--break", mistake, "--image", SAMPLE)
    assert (status, result["first_departure"]) == (1, f"stages.0.{first}")


@pytest.mark.torch
def test_the_official_pair_of_epsilons_is_the_references_too(capsys, tmp_path):
    assert answer(capsys, small_model(tmp_path, patch_norm_eps=1e-3), "--image", SAMPLE)[0] == 0


@pytest.mark.torch
def test_a_picture_that_hugging_faces_v1_cannot_take_is_refused(tmp_path):
    with pytest.raises(ValueError, match="picture: found 96 x 64 pixels; expected 64 x 64, as Hugging Face's PVT v1"):
        validate.main([small_model(tmp_path, (96, 64)), "--image", SAMPLE])


@pytest.mark.torch
def test_random_weights_of_a_variant(capsys):
    status, result = answer(capsys, "--random", "pvt_v2_b0", "--dtype", "float32")
    assert (status, result["model"]) == (0, "pvt_v2_b0, random weights; picture: noise")


def test_without_pytorch_the_shipped_models_own_golden_numbers_are_checked(capsys, monkeypatch):
    for name in ("torch", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it now raises ImportError
    assert validate.main(["--image", SAMPLE]) == 0
    text = capsys.readouterr().out
    assert text.startswith("not installed: torch, transformers; checking golden numbers instead, written once")
    assert f"{SAMPLE} is not used" in text
    assert "golden numbers in golden_numbers/shipped.json, by transformers PvtV2ForImageClassification" in text
    assert "\nall 26 agree; the largest relative difference is" in text
    status, result = answer(capsys)
    assert (status, result["golden"], result["layers"][-1]["name"]) == (0, True, "logits")


def test_other_weights_of_a_published_variant_are_checked_with_its_golden_numbers(capsys, tmp_path):
    shipped, path = load_model(), tmp_path / "other.safetensors"
    shipped.params["head"]["bias"][0] += 1
    save_model(path, shipped)
    status, result = answer(capsys, str(path), "--golden")
    said = "pvt_v2_b0, random weights, for these weights there are no golden numbers"
    assert (status, said in result["model"]) == (0, True)


def test_an_architecture_without_golden_numbers_is_said_so(tmp_path):
    with pytest.raises(ValueError, match="found no golden numbers; expected a published.* pip install torch"):
        validate.main([small_model(tmp_path), "--golden"])


@pytest.mark.parametrize(("mistake", "first"), [("eps", "tokens"), ("gelu", "blocks.0"),
                                                ("kv", "blocks.0.attn.probs"), ("pos", "tokens")])  # fmt: skip
@pytest.mark.parametrize("variant", ["pvt_small", "pvt_v2_b1"])
def test_golden_numbers_find_a_mistake_too(capsys, mistake, first, variant):
    arguments = ["--random", variant, "--golden", "--break", mistake]
    if (mistake, variant) == ("pos", "pvt_v2_b1"):
        with pytest.raises(ValueError, match="pos: found a model that has no add_positions; expected one that runs it"):
            validate.main(arguments)
        return
    status, result = answer(capsys, *arguments)
    assert (status, result["first_departure"]) == (1, f"stages.0.{first}")


def test_the_report_marks_the_first_departure_and_those_after_it(capsys):
    assert validate.main(["--golden", "--break", "kv"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "mistake put in: the joint matrix of keys and values is read values first" in lines
    (first,) = (k for k, line in enumerate(lines) if line.endswith("<- first to depart"))
    names = [line.split(" ")[0] for line in lines[first - 1 : first + 1]]
    assert names == ["stages.0.tokens", "stages.0.blocks.0.attn.probs"]
    assert lines[first + 1].endswith("  departs")
    assert lines[-1].startswith("first layer that departs: stages.0.blocks.0.attn.probs (stage 1, block 1), by ")


def test_the_table_has_a_line_for_every_variant_and_the_shipped_model(capsys, monkeypatch):
    monkeypatch.setattr(validate, "VARIANTS", {name: VARIANTS[name] for name in ("pvt_tiny", "pvt_v2_b0")})
    assert validate.table(GOLDEN, live=False) == 0
    first, empty, *lines = capsys.readouterr().out.splitlines()
    assert (first, empty) == ("reference: golden numbers, written once by PyTorch", "")
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| pvt_tiny", "| pvt_v2_b0", "| the model that ships"]
    assert {line.count("|") for line in lines} == {8}
    assert all(line.endswith("| yes |") for line in lines[2:])


def test_the_table_fails_where_a_row_does(capsys, monkeypatch):
    monkeypatch.setattr(validate, "VARIANTS", {})
    monkeypatch.setitem(TOLERANCES, "float32", 1e-12)
    assert validate.table(GOLDEN, live=False) == 1


def test_a_different_order_of_the_top_labels_is_seen(capsys):
    case = golden_case(load_model(), "float32")
    assert validate.same_top(case)
    case.expected["logits"] = case.expected["logits"][:, ::-1]
    assert not validate.same_top(case)


def test_differences_are_what_they_are_called():
    ours, theirs = ({"a": np.array([1.0, middle, 3.0]), "b": np.zeros(2)} for middle in (2.0, 4.0))
    rows = differences(ours, theirs)
    assert rows == [Difference("a", 2.0, 2 / 3, 0.5), Difference("b", 0.0, 0.0, 0.0)]
    assert first_departure(rows, 0.5) is None
    assert first_departure(rows, 0.4).name == "a"


def test_nan_departs():
    rows = differences({"a": np.array([np.nan, 1])}, {"a": np.array([0.0, 1])})
    assert first_departure(rows, 1e9) is rows[0]


def test_missing_names_and_other_shapes_are_errors():
    with pytest.raises(ValueError, match="logits: found in the reference only; expected in both"):
        differences({}, {"logits": np.zeros(2)})
    with pytest.raises(ValueError, match=r"logits: found shape \(2, 1\); expected \(2,\), as in the reference"):
        differences({"logits": np.zeros((2, 1))}, {"logits": np.zeros(2)})


def test_a_mistake_that_a_model_has_no_room_for_is_said():
    status, _, err = processes.run("-m", "pvt_numpy.validate", "--golden", "--break", "pos")
    said = "validate: error: mistake pos: found a model that has no add_positions; expected one that runs it, a v1: "
    assert (status, err.count("\n")) == (1, 1)
    assert err.startswith(said + "--random pvt_tiny or, with PyTorch, --model pvt_v1_nano_imagenette (weights/")
    assert validate.main(["--break", "pos", "--golden", "--random", "pvt_tiny"]) == 1


@pytest.mark.parametrize(
    "name", [name for name in OF_A_MODEL if any(MISTAKES[name].layer in layers.split() for layers, _ in RUN_BY)]
)
def test_the_variant_that_is_named_has_room_for_the_mistake(name):
    with pytest.raises(ValueError, match="expected one that runs it.*: --random ") as refused, made(name):
        pass
    variant = VARIANTS[str(refused.value).split("--random ")[1].split()[0]]
    config = replace(variant, depths=(1,) * 4, hidden_sizes=(8, 8, 20, 16), image_size=64, num_labels=3)
    with made(name):
        model.forward(seeded_pixels((1, 3, 64, 64), 0, np.float32), seeded_params(config, 1, np.float32), config)


def test_a_mistake_is_gone_when_it_is_over():
    before = model.layer_norm
    during = []
    with contextlib.suppress(KeyError), made("eps"):
        during.append(model.layer_norm)
        raise KeyError
    assert (during == [before], model.layer_norm is before) == (False, True)


def test_noise_is_as_large_as_a_normalised_photo():
    x = seeded_pixels((1, 3, 64, 64), 0)
    assert -2 <= x.min() < -1.9 < 1.9 < x.max() < 2


def test_json_has_null_where_a_difference_is_no_number():
    case = SimpleNamespace(title="a model", reference="another", golden=False)
    (row,) = validate.as_dict(case, [Difference("logits", np.inf, np.nan, 0.5)], "float32")["layers"]
    assert row == {"name": "logits", "max_abs": None, "mean_abs": None, "relative": 0.5}


def test_the_report_says_which_form_of_the_layers_was_run(capsys):
    said = "\nrun: the formulas of layers/, without the faster twins of fast/\n"
    for arguments, plain in ((["--golden"], False), (["--golden", "--plain"], True)):
        assert validate.main(arguments) == 0
        assert (said in capsys.readouterr().out) == plain
        assert answer(capsys, *arguments)[1]["plain"] == plain
