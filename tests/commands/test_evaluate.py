"""`python -m pvt_numpy.evaluate` on small folders whose right answer is known."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pvt_numpy import evaluate, load_model
from pvt_numpy.evaluate import label_index, main, score
from tests.processes import BALL, PHOTOS


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


def test_batches_workers_and_limits_do_not_change_the_answer(folder, capsys):
    one, three = (answer(capsys, folder, "--batch-size", n, "--workers", n) for n in (1, 3))
    assert one == three
    assert answer(capsys, folder, "--limit", 1, status=0)[0]["images"] == 1


def test_another_image_size_keeps_the_crop_in_proportion(folder, monkeypatch):
    seen = []
    monkeypatch.setattr(evaluate, "run_all", lambda _, model, *rest: ([seen.append(model.preprocessing)], [], []))
    with pytest.raises(ValueError, match="found 4 pictures, none of which"):
        main([str(folder), "--recipe", "official", "--image-size", "448"])
    assert (seen[0]["size"], seen[0]["crop_size"]) == ({"shortest_edge": 512}, {"height": 448, "width": 448})


def test_score_counts_by_hand():
    logits = np.eye(10, dtype=np.float32)[[0, 1, 2, 2]]
    result = score(logits, np.array([0, 1, 1, 9]), load_model())
    assert result["top1"] == 0.5
    assert result["top5"] == 0.75  # the third picture's truth, 1, comes second or third; the fourth's, 9, last


def test_every_imagenette_synset_finds_its_label():
    index = label_index(load_model())
    synsets = ["n01440764", "n02102040", "n02979186", "n03000684", "n03028079",
               "n03394916", "n03417042", "n03425413", "n03445777", "n03888257"]  # fmt: skip
    assert [index[name] for name in synsets] == list(range(10))


def test_a_name_of_two_labels_is_none_of_them_and_case_can_tell_them_apart():
    model = load_model()
    crane = replace(model, labels=("A", "a", "crane", "crane", *model.labels[4:]))
    index = label_index(crane)
    assert (index["A"], index["a"], index["golf ball"]) == (0, 1, 8)
    assert "crane" not in index
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
    ("empty", "data", "no pictures"),
])  # fmt: skip
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
    with pytest.raises((ValueError, FileNotFoundError), match=f"{name}: found (the suffix 'xyz'|no such|a folder)"):
        main([str(folder), "--confusion", str(folder / name)])


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="needs the photos in ../shared/imagenette160")
def test_shipped_model_on_real_photos(capsys):
    result, _ = answer(capsys, PHOTOS, "--limit", 60, status=0)
    assert result["images"] == 60
    assert result["top1"] >= 0.75
