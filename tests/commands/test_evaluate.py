"""`python -m pvt_numpy.evaluate` on small folders whose right answer is known."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pvt_numpy import evaluate, load_model
from pvt_numpy.evaluate import label_index, main, score
from tests.processes import BALL, photos


def answer(capsys, folder, *arguments, status=1):
    """The JSON object and the complaints of a run in this process; the status is 1 if a picture is unreadable."""
    assert main([str(folder), "--json", *map(str, arguments)]) == status
    out, err = capsys.readouterr()
    return json.loads(out), err


@pytest.fixture
def folder(tmp_path):
    """Three readable pictures, of which the model gets two right, one damaged file, one file that is no picture."""
    for name in ("n03445777", "tench"):
        (tmp_path / name).mkdir()
    photo = Image.open(BALL)
    photo.save(tmp_path / "n03445777" / "1.png")
    photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "n03445777" / "2.png")
    photo.save(tmp_path / "tench" / "wrong.png")
    (tmp_path / "tench" / "damaged.jpg").write_bytes(BALL.read_bytes()[:3000])
    (tmp_path / "tench" / "readme.txt").write_text("not counted")
    return tmp_path


def test_counts(folder, capsys, tmp_path):
    picture = tmp_path / "confusion.png"
    result, complaints = answer(capsys, folder, "--batch-size", 2, "--confusion", picture)
    assert (result["images"], result["unreadable"], result["top1"]) == (3, 1, pytest.approx(2 / 3))
    assert result["per_class"] == {"tench": 0.0, "golf ball": 1.0}
    confusion = np.array(result["confusion"])
    assert (confusion[0, 8], confusion[8, 8], confusion.sum()) == (1, 2, 3)
    assert "damaged.jpg" in complaints
    with Image.open(picture) as drawn:
        assert drawn.format == "PNG"


def test_what_is_passed_over_is_said_in_a_line(folder, capsys):
    for name in ("tench/a.heic", "tench/b.TXT", "loose.png"):
        (folder / name).touch()
    _, said = answer(capsys, folder)
    line = next(line for line in said.splitlines() if line.startswith("evaluate: note: "))
    assert f"{folder}: 4 files are no pictures: 2 .txt, 1 " in line
    assert all(kind in line for kind in ("1 .heic", "1 .png beside the classes", "HEIC must become JPEG"))


def test_a_picture_for_which_memory_lacks_is_named_and_the_others_are_counted(folder, capsys, monkeypatch):
    def short(picture, ours=evaluate.preprocess, **recipe):
        if picture.name == "wrong.png":
            raise MemoryError
        return ours(picture, **recipe)

    monkeypatch.setattr(evaluate, "preprocess", short)
    found, said = answer(capsys, folder)
    assert (found["images"], found["unreadable"], found["top1"]) == (2, 2, 1)
    assert f"{folder / 'tench' / 'wrong.png'}: there is not enough memory for it" in said


def test_a_batch_for_which_memory_lacks_is_run_one_by_one(folder, capsys, monkeypatch):
    def short(x, *rest, ours=evaluate.forward):
        if len(x) > 1:
            raise MemoryError
        return ours(x, *rest)

    expected = answer(capsys, folder)
    monkeypatch.setattr(evaluate, "forward", short)
    assert answer(capsys, folder) == expected


def test_one_picture_whose_outputs_are_not_finite_costs_that_picture_alone(folder, capsys, monkeypatch):
    def ask(models, batch, ours=evaluate.ask):
        return [
            (name, label, row * (np.nan if name.endswith("2.png") else 1)) for name, label, row in ours(models, batch)
        ]

    monkeypatch.setattr(evaluate, "ask", ask)
    result, said = answer(capsys, folder)
    assert (result["images"], result["unreadable"], result["per_class"]) == (2, 2, {"tench": 0.0, "golf ball": 1.0})
    assert f"{folder / 'n03445777' / '2.png'}: found outputs of the model that are not finite" in said


def test_the_text_says_the_numbers():
    model = load_model()
    result = {"images": 7, "folder": "here", "unreadable": 2, "top1": 0.125, "top5": 0.875, "given": 0.375,
              "per_class": {"tench": 0.0, "golf ball": 0.0625}}  # fmt: skip
    lines = evaluate.as_text(result, model).splitlines()
    told = ["", "7 pictures of here", "2 more could not be read, or not be run", "top-1 12.50%   top-5 87.50%",
            "multi-label: the sub-folder's label gets 50 % or more in 37.50% of the pictures", "",
            "     0.0%  tench", "     6.2%  golf ball"]  # fmt: skip
    assert lines[-len(told) :] == told
    del result["given"]
    whole = evaluate.as_text(result | {"unreadable": 0}, model).splitlines()
    assert whole == [line for line in lines if "multi-label" not in line and "2 more" not in line]
    other = {"top1": 0.25, "top5": 0.5, "largest_difference": 3.2e-6, "differing": []}
    assert evaluate.as_text(result | {"pytorch": other}, model).endswith(
        "\nPyTorch: top-1 25.00%, top-5 50.00%; largest difference of a logit 3.2e-06; predictions that differ: 0"
    )


def test_a_run_of_pytorch_that_differs_is_told(folder, capsys, monkeypatch):
    """Of three pictures the second has every logit the other way round."""

    def pytorch(model):
        def predict(x):
            logits = evaluate.forward(x, model.params, model.config).logits
            return np.concatenate([logits[:1], -logits[1:2], logits[2:]])

        return predict

    monkeypatch.setattr(evaluate, "pytorch", pytorch)
    result, _ = answer(capsys, folder, "--pytorch", "--batch-size", 3)
    (case,) = result["pytorch"]["differing"]
    assert case["image"] == str(folder / "n03445777" / "2.png")
    assert case["pytorch"] == [-number for number in case["ours"]]
    assert (result["top1"], result["pytorch"]["top1"]) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert result["pytorch"]["largest_difference"] == pytest.approx(2 * max(map(abs, case["ours"])))
    assert main([str(folder), "--pytorch", "--batch-size", "3"]) == 1
    text = capsys.readouterr().out.splitlines()
    assert "top-1 66.67%   top-5 " in text[4]
    assert text[-2].startswith("PyTorch: top-1 33.33%, top-5 ")
    assert f"a logit {result['pytorch']['largest_difference']:.1e}; predictions that differ: 1" in text[-2]
    ours, theirs = ([round(sign * number, 4) for number in case["ours"]] for sign in (1, -1))
    name, _, numbers = text[-1].partition(": ours ")
    assert (name.strip(), json.loads(f"[{numbers.replace('PyTorch ', '')}]")) == (case["image"], [ours, theirs])


@pytest.mark.torch
def test_pytorch_predicts_the_same(folder, capsys):
    result, _ = answer(capsys, folder, "--pytorch")
    theirs = result["pytorch"]
    assert theirs["differing"] == []
    assert 0 < theirs["largest_difference"] < 1e-4  # float32, added up in another order
    for name in ("top1", "top5", "per_class", "confusion", "images"):
        assert theirs[name] == result[name]


def test_pytorch_is_missed_before_the_work(folder, monkeypatch):
    monkeypatch.setattr(evaluate, "missing_packages", lambda: ["torch", "transformers"])
    monkeypatch.setattr(evaluate, "run_all", None)
    with pytest.raises(ValueError, match=r"^--pytorch: found no torch and no transformers; expected both: pip install"):
        main([str(folder), "--pytorch"])


def test_batches_workers_and_limits_do_not_change_the_answer(folder, capsys):
    one, three = (answer(capsys, folder, "--batch-size", n, "--threads", n) for n in (1, 3))
    assert one == three
    assert answer(capsys, folder, "--limit", 1, status=0)[0]["images"] == 1


def test_another_image_size_keeps_the_crop_in_proportion(folder, monkeypatch):
    seen = []
    monkeypatch.setattr(evaluate, "run_all", lambda _, model, *rest: ([seen.append(model.preprocessing)], [], []))
    with pytest.raises(ValueError, match="found 4 pictures, none of which"):
        main([str(folder), "--recipe", "official", "--image-size", "448"])
    assert (seen[0]["size"], seen[0]["crop_size"]) == ({"shortest_edge": 512}, {"height": 448, "width": 448})


def test_score_counts_by_hand():
    result = score(np.eye(10, dtype=np.float32)[[0, 1, 2, 2]], np.array([0, 1, 1, 9]), load_model())
    # the third picture's truth, 1, comes second or third; the fourth's, 9, last
    assert (result["top1"], result["top5"]) == (0.5, 0.75)


def test_every_imagenette_synset_finds_its_label():
    index = label_index(load_model())
    numbers = "01440764 02102040 02979186 03000684 03028079 03394916 03417042 03425413 03445777 03888257"
    assert [index[f"n{number}"] for number in numbers.split()] == list(range(10))


def test_a_name_of_two_labels_is_none_of_them_and_case_can_tell_them_apart():
    model = load_model()
    crane = replace(model, labels=("A", "a", "crane", "crane", *model.labels[4:]))
    index = label_index(crane)
    assert [index.get(name) for name in ("A", "a", "golf ball", "crane")] == [0, 1, 8, None]
    logits = np.eye(10)[[2, 3, 3]]
    assert score(logits, np.array([2, 3, 2]), crane)["per_class"] == {"crane (label 2)": 0.5, "crane (label 3)": 1.0}


def test_photos_that_keep_their_own_shapes_are_measured_one_by_one(folder, monkeypatch, capsys):
    model = load_model()
    recipe = model.preprocessing | {"size": {"shortest_edge": 64}}
    monkeypatch.setattr(evaluate, "classifier_from", lambda options: replace(model, preprocessing=recipe))
    Image.new("RGB", (90, 70)).save(folder / "tench" / "wide.png")
    assert answer(capsys, folder)[0]["images"] == 4


@pytest.mark.parametrize(("kind", "given", "said"), [
    ("nothing", "nowhere", "no such folder"), ("flat", "data", "no sub-folders"), ("unknown", "data", "'walrus'"),
    ("empty", "data", "no pictures")])  # fmt: skip
def test_folders_that_say_nothing_are_refused(tmp_path, kind, given, said):
    (tmp_path / "data" / {"unknown": "walrus", "empty": "tench"}.get(kind, ".")).mkdir(parents=True)
    if kind == "flat":
        Image.new("RGB", (8, 8)).save(tmp_path / "data" / "a.png")
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        main([str(tmp_path / given)])


def test_hidden_folders_are_no_classes(folder, capsys):
    (folder / ".ipynb_checkpoints").mkdir()
    assert answer(capsys, folder)[0]["images"] == 3


@pytest.mark.parametrize("name", ["matrix.xyz", "missing/matrix.png", "tench"])
def test_a_picture_that_cannot_be_written_is_refused_before_the_work(folder, monkeypatch, name):
    monkeypatch.setattr(evaluate, "run_all", None)
    with pytest.raises((ValueError, OSError), match=f"{name}: found (the suffix 'xyz'|no folder|a folder)"):
        main([str(folder), "--confusion", str(folder / name)])


def test_shipped_model_on_real_photos(capsys):
    result, _ = answer(capsys, photos(), "--limit", 60, status=0)
    assert (result["images"], result["top1"] >= 0.75) == (60, True)
