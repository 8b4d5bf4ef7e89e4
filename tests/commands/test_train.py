"""The command `python -m pvt_numpy.train`, as a user runs it: from nothing to a model, stopped, killed and resumed."""

import json
import math
import os
import re
import signal
import sys
import time

import pytest
from PIL import Image

from pvt_numpy import classify, config, evaluate, summary
from pvt_numpy.checkpoints.checkpoint import load_model, save_model
from pvt_numpy.config import stage_grids
from pvt_numpy.parameters import flatten, parameter_shapes
from pvt_numpy.system.paths import SHIPPED
from pvt_numpy.train import STOPPING, main, nano_config, worse_than_before
from pvt_numpy.training.shapes import SHAPES
from pvt_numpy.training.state import read_state
from tests.processes import ROOT, command, start
from tests.training.test_finetune import model_of
from tests.training.test_training import V2, write_photos

SMALL = ["shapes", "--image-size", "16", "--drawn", "64", "--seed", "3", "--batch-size", "32",
         "--microbatch-size", "16"]  # fmt: skip


def begin(folder, epochs=3):
    """A small training that writes into the folder, begun."""
    return start("-m", "pvt_numpy.train", *SMALL, "--epochs", epochs, "--output", folder)


def train(*arguments):
    return command("train", *arguments)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training of three epochs that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    status, out, err = train(*SMALL, "--epochs", "3", "--output", folder)
    assert (status, err) == (0, "")
    assert "epoch   3" in out
    return folder


def test_it_leaves_a_model_a_log_and_a_curve(whole):
    model = load_model(whole / "model.safetensors")
    assert (model.labels, model.preprocessing["size"]) == (SHAPES, {"height": 16, "width": 16})
    assert len((whole / "log.csv").read_text(encoding="utf-8").splitlines()) == 4
    assert {path.name for path in whole.iterdir()} >= {"checkpoint.safetensors", "log.csv", "model.safetensors"}
    average = read_state(whole / "checkpoint.safetensors").arrays["average"]
    assert (average["head.weight"] == model.params["head"]["weight"]).all()


def test_killed_and_resumed_it_makes_the_same_model(whole, tmp_path):
    process = begin(tmp_path)
    while not (tmp_path / "checkpoint.safetensors").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.kill()
    process.communicate()
    assert not (tmp_path / "model.safetensors").exists()
    assert train("--resume", tmp_path)[::2] == (0, "")
    assert (tmp_path / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send Ctrl-C to one process")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_a_resumed_training_ends_in_the_same_model(number, whole, tmp_path):
    process = begin(tmp_path)
    assert "parameters" in process.stdout.readline()
    process.send_signal(number)
    out, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (130, f"{STOPPING}\n")
    assert f"go on with: python -m pvt_numpy.train --resume {tmp_path}" in out
    assert read_state(tmp_path / "checkpoint.safetensors").step < 6
    assert train("--resume", tmp_path)[0] == 0
    assert (tmp_path / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_resuming_a_finished_training_changes_nothing(whole):
    before = (whole / "model.safetensors").read_bytes()
    assert train("--resume", whole)[0] == 0
    assert (whole / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(("arguments", "status", "said"), [
    (["nowhere", "--output", "x"], 1, "nowhere: found no such folder"),
    (["--resume", "nowhere"], 1, "no such checkpoint"),
    (["shapes"], 2, "expected either DATA with --output FOLDER"),
    (["shapes", "--output", ""], 2, "expected either DATA with --output FOLDER"),
    (["--resume", "x", "--epochs", "100"], 2, "found --epochs"), (["--resume", "x", "shapes"], 2, "found shapes"),
    (["shapes", "--output", "x", "--threads", "0"], 2, "whole number from 1"),
    (["shapes", "--output", "x", "--image-size", "100000"], 2, "--image-size"),
    (["shapes", "--output", "x", "--keep-size", "0"], 2, "--keep-size"),
    (["shapes", "--out", "x"], 2, "unrecognized arguments: --out x"),
    (["shapes", "--output", "x", "--val", "photos"], 2, "--val: found it beside shapes"),
    (["--resume", "x", "--batch-size", "3"], 2, "found --batch-size"),
    ([], 2, "expected either DATA with --output FOLDER, or --resume FOLDER"),
    (["shapes", "--output", "x", "--learning-rate", "-1"], 1, "--learning-rate: found -1.0; expected"),
    (["shapes", "--output", "x", "--drop-path", "2"], 1, "--drop-path: found 2.0; expected"),
    (["shapes", "--output", "x", "--image-size", "8"], 1, "which leave stage 3 without a patch"),
    (["shapes", "-o", "x", "--variant", "pvt_v2_b0", "--image-size", "16"], 1, "size: found 16; expected at least 29,"),
    (["shapes", "--output", "x", "--variant", "pvt_v3"], 1, "--variant: found pvt_v3; expected nano, pvt_tiny"),
    (["shapes", "--output", "x", "--variant", "nano", "--model", "y"], 2, "--model: found --variant beside it"),
    (["shapes", "--output", "x", "--config", "nowhere.json"], 1, "nowhere.json"),
    (["shapes", "--output", "x", "--config", "pyproject.toml"], 1, "pyproject.toml: "),
    (["shapes", "--output", "x", "--freeze", "head-only"], 2, "--freeze: found no --model beside it"),
    (["shapes", "--output", "x", "--model", SHIPPED, "--freeze", "stages=5"], 1, "--freeze: found stages=5; expected"),
    (["shapes", "--output", "x", "--val-split", "0.2"], 1, "--val-split: found 0.2 beside pictures"),
    (["shapes", "--output", "x", "--mixup", "-1"], 1, "--mixup: found -1.0; expected 0 to 100"),
    (["shapes", "--output", "x", "--model", "nowhere.safetensors"], 1, "nowhere.safetensors: found no such file"),
])  # fmt: skip
def test_mistakes_are_one_line(arguments, status, said):
    found, _, err = train(*arguments)
    assert (found, said in err, "Traceback" in err) == (status, True, False), err
    assert not (ROOT / "x").exists()


@pytest.mark.parametrize("source", ["shapes", "photos"])
def test_pictures_that_no_memory_holds_are_refused_before_they_are_drawn_or_read(monkeypatch, source):
    monkeypatch.setattr("pvt_numpy.system.memory.free_memory", lambda: 16e9)
    for task in ("shapes_task", "folder_task"):
        monkeypatch.setattr(f"pvt_numpy.training.start.{task}", lambda *_: pytest.fail("it was begun"))
    said = (
        "^--image-size: found 1024 x 1024 pixels, which need about 2[0-9][0-9] GB of memory; expected at most the 16 "
    )
    with pytest.raises(ValueError, match=said + "GB that are free; --microbatch-size 1 and --threads 1 need less"):
        main([source, "--image-size", "1024", "-o", "x", "--threads", "2"])
    monkeypatch.setattr("pvt_numpy.system.memory.free_memory", lambda: 25e9)  # 13 for the pictures, 10 for the pass
    with pytest.raises(pytest.fail.Exception, match="it was begun"):
        main([source, "--image-size", "1024", "-o", "x", "--microbatch-size", "1", "--threads", "1"])


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of a shell")
def test_a_reader_that_leaves_does_not_cost_the_epoch(tmp_path):
    process = begin(tmp_path, epochs=2)
    process.stdout.readline()
    process.stdout.close()
    process.wait(timeout=300)
    process.stderr.close()
    assert read_state(tmp_path / "checkpoint.safetensors").history


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "model.safetensors"])
def test_a_folder_that_holds_a_training_or_another_model_is_left_alone(tmp_path, name):
    (tmp_path / name).write_bytes(b"mine")
    status, _, err = train(*SMALL, "--output", tmp_path)
    assert f"found a training already ({name}); expected an empty folder, or --resume" in err
    assert (status, [path.read_bytes() for path in tmp_path.iterdir()]) == (1, [b"mine"])


def test_the_nano_model_is_what_is_said_of_it():
    config = nano_config(64, 10)
    assert stage_grids(config) == [(16, 16), (8, 8), (4, 4), (4, 4)]
    assert sum(math.prod(shape) for shape in parameter_shapes(config).values()) == 1_566_186
    assert (config.num_labels, config.drop_path_rate, nano_config(64, 10, 0.0).drop_path_rate) == (10, 0.1, 0.0)
    status, said, _ = train("--help")
    assert status == 0
    for default in (
        "reads N x N pixels (default 64)",
        "less often (default 0.1)",
        "compute (default: PVT_NUMPY_THREADS, or",
    ):
        assert default in " ".join(said.split())


def test_pictures_that_cannot_be_read_are_all_named_at_once_and_can_be_left_out(tmp_path):
    bad = {"train/a/2.png": b"letter", "train/b/2.jpg": b"", "val/b/2.gif": b"GIF89a"}
    for name in ("train/a/1.png", "train/b/1.png", "val/a/1.png", "val/b/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16)).save(tmp_path / name)
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "train" / "a" / "notes.txt").touch()
    out = tmp_path / "out"
    arguments = [tmp_path / "train", "--val", tmp_path / "val", "-o", out, "--image-size", "16", "--epochs", "1"]
    status, _, err = train(*arguments)
    lines = err.splitlines()
    assert (status, len(lines), out.exists()) == (1, 5, False), err
    assert lines[0] == f"train: note: {tmp_path / 'train'}: 1 file is no picture: 1 .txt"
    for line, name in zip(lines[1:4], bad, strict=True):
        assert line.startswith(f"train: error: {tmp_path / name}: found ")
    assert lines[4] == (f"train: error: {tmp_path / 'train'}: found 2 of 4 pictures that cannot be read, named above; "
                        "expected none; --skip-unreadable leaves them out")  # fmt: skip
    for again in ([*arguments, "--skip-unreadable"], ["--resume", out]):
        status, said, err = train(*again)
        assert (status, "2 classes, 2 pictures an epoch" in said) == (0, True), err
        assert [line.startswith("train: note: left out: ") for line in err.splitlines()] == [False, True, True, True]
    (tmp_path / "val" / "a" / "1.png").write_bytes(b"letter")
    status, _, err = train("--resume", out)
    assert (status, "found no picture of a that can be read; expected some of each class" in err) == (1, True), err


def grey(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (16, 16)).save(path)


def test_a_training_whose_classes_have_changed_does_not_go_on_and_one_with_other_pictures_says_so(tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    for name in "ab":
        grey(data / name / "1.png")
    assert train(data, "--output", out, "--image-size", "16", "--epochs", "1")[::2] == (0, "")
    assert train("--resume", out)[0] == 0
    began = "expected the 2 with which this training began, a, b; or --output, to begin another training"
    (data / "b").rename(data / "c")
    status, _, err = train("--resume", out)
    assert (status, f"{data}: found 2 classes, new c, missing b; {began}" in err) == (1, True), err
    (data / "c").rename(data / "b")
    grey(data / "b" / "2.png")
    status, said, err = train("--resume", out)
    assert (status, err) == (0, "")
    assert said.startswith("note: 3 training pictures, not the same as the 2 before\n")


FAST = ["--learning-rate", "0.05"]  # for the head of a model that has not learnt to see


def test_a_model_learns_new_classes_and_works_in_every_command(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    photos, source = write_photos(tmp_path / "photos", ("cat", "owl"), each=10), tmp_path / "small.safetensors"
    save_model(source, model_of(V2))
    folder = tmp_path / "mine"
    status, out, err = train(
        photos, "--val-split", "0.3", "--model", source, "--freeze", "head-only", "-o", folder, *FAST
    )
    assert (status, err) == (0, "")
    assert f"from {source}, the head alone learns: 16 x 16 pixels, 40 epochs, batches of 16, learning rate 0.05" in out
    assert "note: cat: found 7 pictures to learn from; expected 10 or more" in out
    assert "right 100.0 % of 6 pictures (95 % interval: 61.0 to 100.0 %)" in out
    assert "  100.0%  3 of 3  owl" in out
    assert "expected calibration error" in out
    assert (folder / "confusion.png").is_file()
    assert not (folder / "worst.png").exists(), "there is no mistake to draw"
    path, owl = folder / "model.safetensors", next((photos / "owl").iterdir())
    model = load_model(path)
    assert (model.labels, model.preprocessing["size"]) == (("cat", "owl"), {"height": 16, "width": 16})
    assert model.origin["started from"] == "small of a test"
    assert {"training", "history", "measured"} <= set(model.origin)
    assert classify.classify(str(owl), model)[0]["label"] == "owl"
    assert evaluate.main([str(photos), "--model", str(path), "--calibrate"]) == 1
    out, err = capsys.readouterr()
    assert "top-1 100.00%" in out
    assert "--calibrate: found 20 of 20 pictures right, for which no temperature is the best; expected more" in err
    assert load_model(path).temperature is None
    assert summary.main(["--model", str(path)]) == 0
    assert f"{sum(p.size for p in flatten(model.params).values()):,} parameters" in capsys.readouterr().out
    # and on from there: both classes are known now, and what was learnt is measured before it starts
    again = tmp_path / "again"
    arguments = [photos, "--val", photos, "--model", path, "--epochs", "1", "-o", again]
    status, out, err = train(*arguments)
    assert (status, err) == (0, "")
    assert "head: 2 of 2 classes" in out
    assert "before it  validation 100.0 %" in out
    origin = load_model(again / "model.safetensors").origin
    assert origin["trained before"] == model.origin["training"] != origin["training"]
    assert (origin["source"], origin["started from"]) == ("again", "mine of pvt_numpy.train")


def test_a_model_that_knew_more_before_is_not_written_over(tmp_path):
    photos, source = write_photos(tmp_path / "photos", ("cat", "owl"), each=10), tmp_path / "mine"
    save_model(tmp_path / "small.safetensors", model_of(V2))
    assert (
        train(photos, "--model", tmp_path / "small.safetensors", "--freeze", "head-only", "-o", source, *FAST)[0] == 0
    )
    swapped = tmp_path / "swapped"
    swapped.mkdir()
    for name, other in (("cat", "owl"), ("owl", "cat")):
        (photos / name).rename(swapped / other)
    (tmp_path / "val").mkdir()
    write_photos(tmp_path / "val", ("cat", "owl"), each=10)
    status, _, err = train(swapped, "--val", tmp_path / "val", "--model", source / "model.safetensors", "-o",
                           tmp_path / "worse", "--learning-rate", "0.01", "--averaging", "0")  # fmt: skip
    assert status == 1
    assert re.search(r"the trained model: found 0.0% right, and (9|10)\d.0% before the training; expected no less", err)
    assert not (tmp_path / "worse" / "model.safetensors").exists()
    assert load_model(tmp_path / "worse" / "worse.safetensors").labels == ("cat", "owl")


def test_a_little_worse_may_be_chance():
    history = [{"epoch": 0, "val_accuracy": 0.95}, {"epoch": 1, "val_accuracy": 0.92}]
    assert worse_than_before(history, 100) is None
    assert "found 92.0% right, and 95.0% before" in worse_than_before(history, 1000)
    assert worse_than_before(history[1:], 1000) is None


@pytest.mark.parametrize("arguments", [["--variant", "pvt_v2_b0", "--image-size", "32"], ["--config", "linear.json"]])
def test_any_variant_learns_from_nothing(tmp_path, arguments):
    linear = {"depths": [1, 1], "hidden_sizes": [8, 12], "num_attention_heads": [1, 2], "mlp_ratios": [2, 2],
              "num_encoder_blocks": 2, "patch_sizes": [7, 3], "strides": [4, 2], "sr_ratios": [2, 1],
              "linear_attention": True, "model_type": "pvt_v2", "image_size": 32, "drop_path_rate": 0.3}  # fmt: skip
    (tmp_path / "linear.json").write_text(json.dumps(linear))
    arguments = [tmp_path / part if part.endswith("json") else part for part in arguments]
    status, _, err = train(
        "shapes", "--drawn", "16", "--epochs", "1", "--batch-size", "8", "-o", tmp_path / "out", *arguments
    )
    assert (status, err) == (0, "")
    model = load_model(tmp_path / "out" / "model.safetensors")
    assert model.labels == SHAPES
    if "--variant" in arguments:
        assert config.variant_name(model.config) == "pvt_v2_b0"
    else:
        assert (model.config.linear_attention, model.config.image_size, model.config.drop_path_rate) == (True, 32, 0.3)
