"""The main job as a user meets it: `python -m pvt_numpy.classify`, its output, its errors and its exit statuses."""

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pvt_numpy import VARIANTS, classify, evaluate, forward, load_model, preprocess, save_model
from pvt_numpy.classify import bar, main
from pvt_numpy.layers.softmax import softmax
from pvt_numpy.system.paths import SHIPPED_MODELS
from tests import processes
from tests.checkpoints.checkpoint_files import rewrite
from tests.pictures.picture_cases import NOISE
from tests.processes import command

BALL = str(processes.BALL)


def answers(capsys, *arguments, status=0):
    """The JSON lines and the complaints of a run in this process."""
    assert main([*map(str, arguments), "--json"]) == status
    out, err = capsys.readouterr()
    return list(map(json.loads, out.splitlines())), err.splitlines()


@pytest.fixture
def changed(tmp_path):
    """A function that writes the model that ships, changed, and gives the file's path."""

    def write(**changes):
        save_model(tmp_path / "m.safetensors", replace(load_model(), **changes))
        return tmp_path / "m.safetensors"

    return write


def test_the_sample_picture_is_a_golf_ball_under_every_recipe(capsys):
    for recipe in ("hf", "hf-bilinear", "official", "timm"):
        first = answers(capsys, BALL, "--recipe", recipe)[0][0]["predictions"][0]
        assert (first["label"], first["probability"] > 0.8) == ("golf ball", True)


def test_json_is_what_the_model_says(capsys):
    (line,), _ = answers(capsys, BALL, "--top-k", "10")
    assert (set(line), line["image"]) == ({"image", "model", "predictions"}, BALL)
    model = load_model()
    logits = forward(preprocess(BALL, **model.preprocessing), model.params, model.config).logits[0]
    chances = softmax(logits.astype(np.float64))
    assert [p["index"] for p in line["predictions"]] == np.argsort(-logits).tolist()
    for prediction in line["predictions"]:
        i = prediction["index"]
        assert prediction == {"index": i, "label": model.labels[i], "logit": pytest.approx(logits[i], abs=1e-6),
                              "probability": pytest.approx(chances[i], abs=1e-9)}  # fmt: skip
    assert sum(p["probability"] for p in line["predictions"]) == pytest.approx(1)


def test_threads_change_no_digit_and_a_bad_picture_costs_itself_alone(capsys, tmp_path):
    """Pictures of a folder are run some at a time, and one after the other if one of them cannot be read."""
    for n in range(7):
        Image.open(BALL).rotate(20 * n).save(tmp_path / f"{n}.png")
    for n in (3, 4):
        (tmp_path / f"{n}.png").write_bytes(b"no picture")
    one, two, five = (answers(capsys, tmp_path, "--threads", n, status=1) for n in (1, 2, 5))
    assert one == two == five
    assert [Path(line["image"]).stem for line in one[0]] == ["0", "1", "2", "5", "6"]
    assert [Path(said.split(": ")[2]).stem for said in one[1]] == ["3", "4"]
    for line in one[0]:
        alone = answers(capsys, line["image"])[0][0]["predictions"]
        assert [p["index"] for p in alone] == [p["index"] for p in line["predictions"]]
        assert [p["logit"] for p in alone] == pytest.approx([p["logit"] for p in line["predictions"]], abs=1e-5)


@pytest.mark.parametrize("wish", ["0", "two", "1000"])
def test_a_number_of_threads_that_there_cannot_be_is_one_line(wish):
    said = f"classify: error: PVT_NUMPY_THREADS: found '{wish}'; expected a whole number from 1 to 256, or nothing\n"
    status, _, err = processes.run("-m", "pvt_numpy.classify", BALL, BALL, env={"PVT_NUMPY_THREADS": wish})
    assert (status, err) == (1, said)
    assert command("classify", BALL, "--threads", wish)[0] == 2


def test_table_for_people(capsys):
    assert main([BALL, "--top-k", "2"]) == 0
    header, name, first, second = capsys.readouterr().out.splitlines()
    assert all(words in header for words in ("pvt_v2_b0", "recipe hf"))
    assert (name, first.split()[:2]) == (BALL, ["golf", "ball"])
    assert float(first.split()[2].rstrip("%")) > float(second.split("%")[0].split()[-1])
    assert first.count("█") > second.count("█")


@pytest.mark.parametrize(("encoding", "share", "drawn"), [
    ("utf-8", 0, ""), ("utf-8", 1 / 240, "▏"), ("utf-8", 1 / 30, "█"), ("utf-8", 0.55, "█" * 16 + "▌"),
    ("ascii", 0.5, "#" * 15)])  # fmt: skip
def test_bar_measures_in_eighths_and_is_plain_where_the_terminal_cannot_show_them(monkeypatch, encoding, share, drawn):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert bar(share) == drawn


def test_folders_several_files_and_more_labels_than_there_are(capsys, tmp_path):
    folder = tmp_path / "my photos"
    (folder / "more").mkdir(parents=True)
    Image.open(BALL).save(folder / "b.png")
    Image.new("L", (40, 30), 128).save(folder / "more" / "a.jpg")
    (folder / "notes.txt").write_text("no picture")
    lines, said = answers(capsys, folder, BALL, "--top-k", "99")
    assert said == [f"classify: note: {folder}: 1 file is no picture: 1 .txt"]
    found = [(Path(line["image"]).name, len(line["predictions"])) for line in lines]
    assert found == [("b.png", 10), ("a.jpg", 10), ("golf_ball.jpg", 10)]


def test_standard_input():
    status, out, err = command("classify", "-", "--json", given=Path(BALL).read_bytes(), encoding=None)
    assert (status, err) == (0, b"")
    line = json.loads(out)
    assert (line["image"], line["predictions"][0]["label"]) == ("-", "golf ball")


def test_bad_pictures_get_one_line_each_and_the_others_are_classified(capsys, tmp_path):
    bad = {"text.jpg": b"this is no picture", "cut.jpg": Path(BALL).read_bytes()[:20000], "empty.png": b"",
           "bomb.ppm": b"P6 60000 60000 255\n"}  # fmt: skip
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "nothing").mkdir()
    names = [*bad, "missing.jpg", "nothing"]
    (line,), errors = answers(capsys, *(tmp_path / name for name in names), BALL, status=1)
    assert line["predictions"][0]["label"] == "golf ball"
    assert [sum(name in error for error in errors) for name in names] == [1] * len(errors)
    assert all(error.startswith("classify: error: ") for error in errors)


@pytest.mark.parametrize(("damage", "said"), [
    (lambda path: path.write_bytes(path.read_bytes()[:100_000]), "whole safetensors"),
    (lambda path: path.unlink(), "no such file"),
    (lambda path: rewrite(path, lambda header: header["head.weight"].update(shape=[256, 10])), "head.weight"),
    (lambda path: rewrite(path, lambda header: header.update(other=header.pop("head.bias"))), "head.bias"),
], ids=["cut", "absent", "shape", "missing"])  # fmt: skip
def test_bad_model_files_get_one_line(changed, damage, said):
    path = changed()
    damage(path)
    status, out, err = command("classify", BALL, "--model", path)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("classify: error: ")
    assert all(words in err for words in (path.name, said))


@pytest.mark.parametrize("main", [classify.main, evaluate.main])
def test_a_model_without_a_classifier_is_refused_with_a_sentence(changed, main):
    model = load_model()
    params = {name: value for name, value in model.params.items() if name != "head"}
    path = changed(params=params, config=replace(model.config, num_labels=0), labels=None)
    with pytest.raises(ValueError, match=r"m\.safetensors: found no classifier \(num_labels 0\); expected a model"):
        main([BALL, "--model", str(path)])


def test_labels_and_names_cannot_steer_the_terminal(capsys, tmp_path, changed):
    path = changed(labels=tuple(f"\x1b[31m{i}" for i in range(10)))
    picture = tmp_path / "a\x1b[2Jb.png"
    Image.new("RGB", (32, 32)).save(picture)
    assert main([str(picture), "--model", str(path)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert r"ten things only: \x1b[31m0, " in out  # the grey picture is no sure answer


@pytest.mark.parametrize("name", ["classify", "explore", "evaluate", "plots"])
def test_outputs_that_are_no_numbers_are_one_line(tmp_path, changed, name):
    params = load_model().params
    # as large as a finite float32 may be: the logits overflow
    head = {name: np.nan_to_num(value * np.float32(3e38)) for name, value in params["head"].items()}
    path = changed(params=params | {"head": head})
    (tmp_path / "photos" / "golf ball").mkdir(parents=True)
    photo = tmp_path / "photos" / "golf ball" / "a.jpg"
    photo.write_bytes(Path(BALL).read_bytes())
    given = {"evaluate": [photo.parent.parent], "plots": ["pyramid", photo]}.get(name, [photo])
    # an overflow on the way is no warning of its own
    status, _, err = command(name, *given, "--model", path, cwd=tmp_path)
    assert (status, err.count("\n"), err.startswith(f"{name}: error: ")) == (1, 1, True)
    assert err.endswith("a.jpg: found outputs of the model that are not finite; expected numbers\n")


def without_resizing(changed):
    """The model that ships, with a recipe that leaves pictures as they are."""
    return changed(preprocessing=load_model().preprocessing | {"do_resize": False, "do_center_crop": False})


@pytest.mark.parametrize("name", ["classify", "evaluate", "explore", "plots"])
def test_a_picture_that_the_model_cannot_take_is_named_and_the_others_are_done(capsys, tmp_path, changed, name):
    """The thumbnail leaves stage 4 no patch."""
    path = without_resizing(changed)
    folder = tmp_path / "photos" / "tench"
    folder.mkdir(parents=True)
    for file, side in (("a.png", 64), ("b.png", 20), ("c.png", 64)):
        Image.new("RGB", (side, side)).save(folder / file)
    one = folder / "b.png"
    given = {"classify": [folder], "evaluate": [folder.parent], "plots": ["pyramid", one, "-o", tmp_path / "o.png"],
             "explore": [one, "-o", tmp_path / "o.html"]}[name]  # fmt: skip
    status, out, err = command(name, *given, "--model", path)
    assert (status, err.count("\n")) == (1, 1), err
    assert err.startswith(f"{name}: error: {one.name if name == 'explore' else one}: ")
    if name == "classify":
        assert [f"{folder / file}\n" in out for file in ("a.png", "b.png", "c.png")] == [True, False, True]
    if name == "evaluate":
        assert "2 pictures of" in out
        assert "1 more could not be read, or not be run" in out


def test_a_picture_for_which_memory_lacks_is_named_and_the_others_are_classified(monkeypatch, capsys, tmp_path):
    def short_of_memory(picture, *rest, ours=classify.classify):
        if picture != BALL:
            raise MemoryError("Unable to allocate 1.00 TiB")
        return ours(picture, *rest)

    monkeypatch.setattr(classify, "classify", short_of_memory)
    (line,), (error,) = answers(capsys, "large.jpg", BALL, status=1)
    assert error.startswith("classify: error: large.jpg: there is not enough memory for it (Unable to allocate")
    assert line["image"] == BALL


def test_list_models(capsys):
    assert main(["--list-models"]) == 0
    text = capsys.readouterr().out
    assert all(words in text for words in (*VARIANTS, "75.1", "13,229,288"))


def test_the_models_that_ship_have_names(capsys):
    for name, outputs in (("pvt_v2_b0_imagenette", "3,412,330"), ("pvt_v1_nano_imagenette", "1,566,186")):
        assert main([BALL, "--model", name]) == 0
        header, _, first, *_ = capsys.readouterr().out.splitlines()
        assert (f"{outputs} parameters" in header, f"from {name} of " in header) == (True, True)
        assert first.split()[:2] == ["golf", "ball"]
        assert main(["--list-models"]) == 0
        assert f"\n  {name} " in capsys.readouterr().out


def test_the_header_says_the_size_that_is_read(capsys):
    for arguments, said in ((["--image-size", "96x128"], "hf, at 96 x 128"),
                            (["--recipe", "official", "--image-size", "64"], "official, at 64 x 64"),
                            (["--model", "pvt_v1_nano_imagenette", "--image-size", "96"],
                             "hf, at 96 x 96")):  # fmt: skip
        assert main([BALL, *arguments]) == 0
        assert capsys.readouterr().out.splitlines()[0].endswith(f"; recipe {said}, as asked for")


def test_a_shipped_model_that_is_unsure_says_once_what_it_knows(capsys, tmp_path, changed):
    for name in ("a.png", "b.png"):
        Image.fromarray(NOISE).save(tmp_path / name)
    pictures = [str(tmp_path / name) for name in ("a.png", "b.png")]
    for name in SHIPPED_MODELS:
        model = load_model(name)
        head = {part: 0 * array for part, array in model.params["head"].items()}  # every answer is worth a tenth
        save_model(tmp_path / "unsure", replace(model, params=model.params | {"head": head}))
        assert main([*pictures, BALL, "--model", str(tmp_path / "unsure")]) == 0
        text = capsys.readouterr().out
        assert text.count("knows ten things only: tench, English springer, ") == text.count("--model pvt_v2_b2") == 1
    nothing = {"weight": np.zeros((10, 256)), "bias": np.zeros(10)}
    unknown = changed(origin={}, params=load_model().params | {"head": nothing})
    assert main([BALL]) == main([*pictures, "--model", str(unknown)]) == 0
    assert "things" not in capsys.readouterr().out
    assert len(answers(capsys, *pictures)[0]) == 2  # nothing but JSON


def test_a_model_without_a_name_is_refused():
    for call in (lambda: main([BALL, "--model", ""]), lambda: load_model("")):
        with pytest.raises(ValueError, match="^the model: found an empty name; expected a file, a folder or the name"):
            call()
