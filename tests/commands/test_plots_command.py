"""`python -m pvt_numpy.plots`: every figure from the shell, and every refusal."""

import json
import sys
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from PIL import Image

from pvt_numpy import init_params, plots, preprocess, pyramid, summary
from pvt_numpy.analysis.observe import observe
from pvt_numpy.checkpoints.checkpoint import Model, save_model
from pvt_numpy.config import stage_grids
from pvt_numpy.explorer.page import explore
from pvt_numpy.parameters import flatten
from pvt_numpy.pictures.recipes import at_size
from pvt_numpy.plots.__main__ import FIGURES, main
from tests import processes
from tests.explorer.explorer_pages import data_of
from tests.plots.plot_cases import V1

BALL = str(processes.BALL)


@pytest.fixture
def v1_file(tmp_path):
    save_model(tmp_path / "v1.safetensors", Model(V1, init_params(V1, np.random.default_rng(0))))
    return str(tmp_path / "v1.safetensors")


@pytest.mark.parametrize("name", [name for name in FIGURES if name not in ("class-token", "positions", "difference")])
def test_every_figure_from_the_shell(name, tmp_path, capsys):
    output = tmp_path / "out.png"
    used = FIGURES[name][0]
    given = [BALL, "--image-size", "64x96"] if "IMAGE" in used else []
    given += ["--query", "40,70"] if "--query" in used else []
    assert main([name, *given, "-o", str(output)]) == 0
    assert capsys.readouterr().out.strip() == str(output)
    with Image.open(output) as picture:
        assert min(picture.size) > 200
        assert np.asarray(picture.convert("L")).std() > 5


def test_v1_figures_from_the_shell(tmp_path, v1_file):
    for name, *image in (("class-token", BALL), ("positions",), ("rollout", BALL)):
        output = tmp_path / f"{name}.svg"
        assert main([name, *image, "--model", v1_file, "-o", str(output)]) == 0
        assert output.read_text(encoding="utf-8").count("<svg") == 1


def test_a_detectors_v1_is_drawn_explored_and_counted_without_its_class_token(tmp_path, capsys):
    """Its maps are drawn, as `pyramid` gives them; what only a class token has is refused in a line."""
    params = init_params(V1, np.random.default_rng(0))
    del params["norm"], params["stages"][-1]["cls_token"]
    params.pop("head", None)
    params["stages"][-1]["pos_embed"] = params["stages"][-1]["pos_embed"][:, 1:]
    config = replace(V1, num_labels=0)
    model = Model(config, params, preprocessing=at_size({}, config.image_hw))
    save_model(tmp_path / "d.safetensors", model)
    for name in ("pyramid", "attention", "stages", "statistics", "rollout", "patches"):
        assert main([name, BALL, "--model", str(tmp_path / "d.safetensors"), "-o", str(tmp_path / "o.png")]) == 0
    with pytest.raises(ValueError, match="no class token, as in a detector's backbone; expected a classifier, such as"):
        main(["class-token", BALL, "--model", str(tmp_path / "d.safetensors")])
    x = preprocess(BALL, **model.preprocessing)
    _, trace = observe(model, x, "ball")
    for i, map in enumerate(pyramid(x, params, config, class_token=False)):
        assert np.array_equal(trace[f"stages.{i}"], map)
    assert [stage["classToken"] for stage in data_of(explore(BALL, model).html)["stages"]] == [False] * 4
    capsys.readouterr()
    assert summary.main([str(tmp_path / "d.safetensors"), "--json"]) == 0
    counted = json.loads(capsys.readouterr().out)
    assert counted["parameters"] == sum(array.size for array in flatten(params).values())
    assert {"norm", "stages.3.cls_token", "head"}.isdisjoint(row["name"] for row in counted["layers"])
    (H, W), row = stage_grids(config)[3], {row["name"]: row for row in counted["layers"]}
    assert row["stages.3.blocks.0.attn.q kᵀ"]["output"][1:] == [H * W, H * W]  # and no row for a class token


def test_refusals_of_the_command(tmp_path):
    for arguments, message in ((["class-token", BALL], "no class token"), (["positions"], "no position table"),
                               (["cost", "-o", str(tmp_path / "x.doc")], "'doc'"),
                               (["cost", "-o", str(tmp_path / "no" / "x.png")], "no folder")):  # fmt: skip
        with pytest.raises((ValueError, OSError), match=message):
            main(arguments)
    assert not list(tmp_path.iterdir())


def test_stages_blocks_and_heads_count_from_1(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "attention", lambda *_, **options: drawn.append(options))
    monkeypatch.setattr(plots, "save", lambda *_: None)
    assert main(["attention", BALL, "--stage", "3", "--block", "2", "--head", "5", "--query", "0,9"]) == 0
    assert main(["attention", BALL, "--block", "-1"]) == 0
    assert drawn == [{"stage": 2, "block": 1, "head": 4, "pixel": (0, 9)}, {"block": -1}]
    for wrong, said in ((["--stage", "5"], "--stage: found 5; expected 1 to 4"),
                        (["--stage", "0"], "--stage: found 0; expected 1 to 4"),
                        (["--block", "3"], "--block: found 3; expected 1 to 2, or -1 for the last"),
                        (["--stage", "4", "--head", "9"], "--head: found 9; expected 1 to 8"),
                        (["--head", "-1"], "--head: found -1; expected 1 to 5")):  # fmt: skip
        with pytest.raises(ValueError, match=f"^{said}$"):
            main(["attention", BALL, *wrong])


@pytest.mark.parametrize(("name", "function", "given", "expected"), [
    ("attention", "attention", "--stage 2 --block 1 --head 2", {"stage": 1, "block": 0, "head": 1}),
    ("stages", "attention_stages", "--block 2 --query 3,9", {"block": 1, "pixel": (3, 9)}),
    ("stages", "attention_stages", "--block -1", {"block": -1}),
    ("rollout", "rollout", "--stage 2 --query 3,9", {"stage": 1, "pixel": (3, 9)}),
    ("patches", "patches", "--query 3,9", {"pixel": (3, 9)}), ("pyramid", "pyramid", "", {}),
    ("statistics", "statistics", "", {}),
])  # fmt: skip
def test_what_is_given_is_what_is_drawn(monkeypatch, name, function, given, expected):
    drawn = []
    monkeypatch.setattr(plots, function, lambda *parts, **options: drawn.append((parts, options)))
    monkeypatch.setattr(plots, "save", lambda *_: None)
    assert main([name, BALL, "--image-size", "64x96", *given.split()]) == 0
    ((parts, options),) = drawn
    assert options == expected
    photos = [part.shape for part in parts if isinstance(part, np.ndarray)]
    assert photos == ([] if name == "statistics" else [(64, 96, 3)])
    grids = [part["stages.0.grid"] for part in parts if isinstance(part, Mapping) and "stages.0.grid" in part]
    assert grids == ([] if name in ("patches", "pyramid") else [(16, 24)])
    if name == "pyramid":
        assert [features.shape[2:] for features in parts[1]] == [(16, 24), (8, 12), (4, 6), (2, 3)]


def test_positions_are_of_the_stage_and_for_the_size_that_are_given(monkeypatch, v1_file):
    drawn = []
    monkeypatch.setattr(plots, "positions", lambda *parts, title: drawn.append((*parts, title)))
    monkeypatch.setattr(plots, "save", lambda *_: None)
    for given in ([], ["--stage", "1", "--image-size", "64x128"]):
        assert main(["positions", "--model", v1_file, *given]) == 0
    tables = [stage["pos_embed"] for stage in init_params(V1, np.random.default_rng(0))["stages"]]
    third, first = drawn
    np.testing.assert_array_equal(first[0], tables[0])
    np.testing.assert_array_equal(third[0], tables[2])
    assert third[1:] == ((4, 4), None, "position table of stage 3")  # nobody asked for another size
    assert first[1:] == ((16, 16), (16, 32), "position table of stage 1")


GIVEN = {"--stage": "1", "--block": "1", "--head": "1", "--query": "1,1", "--recipe": "hf", "--image-size": "64"}
USED = {"attention": "--stage --block --head --query", "stages": "--block --query", "rollout": "--stage --query",
        "patches": "--query", "positions": "--stage --image-size", "sra": "--stage --block",
        "block": "--stage --image-size", "versions": "--stage --image-size"}  # fmt: skip
NO_PICTURE = ("kernels", "positions", "cost", "block", "versions")


@pytest.mark.parametrize("name", FIGURES)
def test_what_a_figure_does_not_use_is_refused(name, tmp_path, capsys):
    used = USED.get(name, "").split() + ([] if name in NO_PICTURE else ["--recipe", "--image-size"])
    image = [] if name in NO_PICTURE else [BALL]
    for flag, value in GIVEN.items():
        if flag not in used:
            with pytest.raises(SystemExit, match="2"):
                main([name, *image, flag, value, "-o", str(tmp_path / "x.png")])
            assert f"error: {flag}: found it for the figure {name}; expected " in capsys.readouterr().err
    if name in NO_PICTURE:
        with pytest.raises(SystemExit, match="2"):
            main([name, BALL])
        assert f"error: IMAGE: found it for the figure {name}; expected " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_needs_a_v1_names_the_one_that_ships(tmp_path):
    for arguments in (["class-token", BALL], ["positions"]):
        with pytest.raises(ValueError, match=r"--model pvt_v1_nano_imagenette \(weights/pvt_v1_nano_imagenette.safet"):
            main(arguments)
        assert main([*arguments, "--model", "pvt_v1_nano_imagenette", "-o", str(tmp_path / "x.png")]) == 0


def test_diagrams_of_a_published_name_and_of_a_picture(tmp_path, monkeypatch, v1_file):
    drawn = []
    monkeypatch.setattr(plots, "save", lambda figure, path: drawn.append(figure.alt))
    small = ["--image-size", "64x96"]
    assert main(["block", "--model", "pvt_v2_b1", "--stage", "2", *small]) == 0
    assert main(["versions", "--model", v1_file, *small]) == 0  # it takes the place of pvt_small
    assert main(["architecture", "--model", "pvt_medium", *small]) == 0
    assert main(["architecture", BALL, *small]) == 0
    assert main(["sra", BALL, "--stage", "2", "--block", "-1", *small]) == 0
    for said, alt in zip(("Pvt_v2_b1, stage 2: one of its 2 blocks", f"{v1_file}: patches 4 × 4", "18 blocks of",
                          "→ 10 labels", "Stage 2, block 2: spatial"), drawn, strict=True):  # fmt: skip
        assert said.lower() in alt.lower()
    with pytest.raises(ValueError, match="--stage: found 5; expected 1 to 4"):
        main(["block", "--stage", "5"])
    with pytest.raises(SystemExit, match="2"):
        main(["architecture", "--recipe", "hf"])  # which prepares a picture


def test_a_published_name_is_enough_for_the_cost(tmp_path, monkeypatch):
    from pvt_numpy import VARIANTS, options

    drawn = []
    monkeypatch.setattr(plots, "cost", drawn.append)
    monkeypatch.setattr(plots, "save", lambda *_: None)
    monkeypatch.setattr(options, "load_model", None)  # nothing is loaded, nor downloaded
    assert main(["cost", "--model", "pvt_v2_b2"]) == 0
    assert drawn == [VARIANTS["pvt_v2_b2"]]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pvt_v2_b2").mkdir()  # a folder of that name is what the user means
    with pytest.raises(TypeError):
        main(["cost", "--model", "pvt_v2_b2"])


@pytest.fixture
def compared(monkeypatch):
    """(labels, title) of every figure of differences that is drawn."""
    found = []
    monkeypatch.setattr(plots, "difference", lambda lines, title: found.append((list(lines), title)))
    monkeypatch.setattr(plots, "save", lambda *_: None)
    return found


@pytest.mark.torch
def test_difference_with_pytorch_is_live(compared):
    assert main(["difference", BALL, "--image-size", "64"]) == 0
    assert compared == [(["NumPy, float64", "NumPy, float32", "PyTorch, float32"],
                         "difference to PyTorch, layer by layer")]  # fmt: skip


def test_difference_without_pytorch_takes_the_golden_numbers(v1_file, monkeypatch, compared, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it now raises ImportError
    assert main(["difference", BALL]) == main(["difference"]) == 0
    assert capsys.readouterr().err.startswith(f"{BALL} is not used: without torch")
    assert compared[0] == compared[1]
    labels, title = compared[0]
    assert labels == ["NumPy, float64", "NumPy, float32"]
    assert ": golden numbers, for torch is not installed\npvt_v2_b0" in title
    with pytest.raises(ValueError, match="found no golden numbers; expected a published architecture, or PyTorch"):
        main(["difference", BALL, "--model", v1_file])
