"""What a checkpoint, a picture or a name from elsewhere must not be able to do: run code, reach outside its folder,
steer a terminal, become HTML or a formula. (Pickles that would run a program: test_convert_torch.py, with PyTorch.)"""

import ast
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pvt_numpy import classify, convert, evaluate, load_model, save_model
from pvt_numpy.checkpoints.export import export_hf
from pvt_numpy.checkpoints.safetensors_file import write_safetensors
from pvt_numpy.pictures.decode import open_image
from pvt_numpy.pictures.folders import class_folders
from pvt_numpy.training.state import read_state
from tests.checkpoints.checkpoint_files import write_json
from tests.checkpoints.models import SMALL_V2, V2, make_model, state_dict
from tests.explorer.explorer_pages import data_of
from tests.processes import ROOT, command

HOSTILE = ("<img src=x onerror=alert(1)>", "{0.__class__} %s %(x)d", "\x1b[2J\x1b]0;owned\x07\r\n\u202e",
           "$\\frac{1}{$ 日本")  # fmt: skip


@pytest.fixture
def hostile(tmp_path):
    """A model whose every text wants to be something else, and a photo of such a name."""
    origin = {"source": HOSTILE[2], "recipe": HOSTILE[1], "format": HOSTILE[0]}
    model = make_model(SMALL_V2, labels=HOSTILE, preprocessing={"size": {"height": 64, "width": 64}}, origin=origin)
    save_model(tmp_path / "m.safetensors", model)
    photo = tmp_path / "{0}%s.png"
    Image.new("RGB", (40, 30), "red").save(photo)
    return tmp_path / "m.safetensors", photo


def assert_harmless(text):
    assert all(c.isprintable() or c == "\n" for c in text), text


# No code


def dangerous(code):
    """What in a module could run code or unpickle data that came from elsewhere, as (line, name)."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            found += [(node.lineno, name) for name in names & {"pickle", "marshal", "shelve", "dill", "joblib"}]
        if not isinstance(node, ast.Call):
            continue
        name, given = ast.unparse(node.func), {keyword.arg: keyword.value for keyword in node.keywords}
        if name in ("eval", "exec", "compile", "os.system", "os.popen", "np.load", "numpy.load"):
            found.append((node.lineno, name))
        if name == "torch.load" and ast.unparse(given.get("weights_only", node)) != "True":
            found.append((node.lineno, "torch.load without weights_only=True"))
        if "shell" in given or "trust_remote_code" in given:
            found.append((node.lineno, "shell or trust_remote_code"))
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "pvt_numpy").rglob("*.py")), ids=lambda path: path.stem)
def test_no_module_can_run_what_it_reads(path):
    assert dangerous(path.read_text(encoding="utf-8")) == []


def test_danger_is_seen():
    for code in ("import pickle", "from marshal import loads", "eval(x)", "np.load(p)", "torch.load(p)",
                 "torch.load(p, weights_only=False)", "subprocess.run(c, shell=True)"):  # fmt: skip
        assert dangerous(code), code
    assert dangerous("torch.load(p, weights_only=True); model.eval(); json.load(f)") == []


def test_a_picture_that_is_a_program_is_refused(tmp_path, monkeypatch):
    Image.new("RGB", (8, 8)).save(tmp_path / "p.jpg", "EPS")
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_: pytest.fail("Ghostscript was started"))
    with pytest.raises(ValueError, match=r"p\.jpg: .*EPS is a program"):
        open_image(tmp_path / "p.jpg")


# Nothing outside the folder


@pytest.fixture
def model_folder(tmp_path):
    """A Hugging Face folder in two files beside a file that it must not read."""
    model = make_model(SMALL_V2)
    state = state_dict(model, "hf-v2")
    export_hf(tmp_path / "hf", model)
    (tmp_path / "hf" / "model.safetensors").rename(tmp_path / "outside.safetensors")
    for n in (0, 1):
        write_safetensors(tmp_path / "hf" / f"{n}.safetensors", dict(list(state.items())[n::2]), {}, "float32")
    weight_map = {name: f"{n % 2}.safetensors" for n, name in enumerate(state)}
    write_json(tmp_path / "hf" / "model.safetensors.index.json", {"weight_map": weight_map})
    load_model(tmp_path / "hf")
    return tmp_path / "hf"


def link(path, target):
    try:
        path.symlink_to(target)
    except OSError:
        pytest.skip("Windows makes no links without the right to")


@pytest.mark.parametrize("name", ["1.safetensors", "config.json", "model.safetensors", "model.safetensors.index.json"])
def test_a_link_out_of_the_folder_is_refused(model_folder, name):
    outside = model_folder.parent / "outside.safetensors"
    if name != "model.safetensors":
        outside.unlink()
        (model_folder / name).rename(outside)
    link(model_folder / name, outside)
    with pytest.raises(ValueError, match=re.escape(f"{name}: found a link that leads out of its folder")):
        load_model(model_folder)
    (model_folder / name).unlink()
    (model_folder / "sub").mkdir()
    outside.rename(model_folder / "sub" / "inside")
    link(model_folder / name, Path("sub", "inside"))  # a link inside is none of our business
    load_model(model_folder)


NAMES = ["config.json", "preprocessor_config.json", "model.safetensors.index.json", "1.safetensors", "", "photo.png"]


@pytest.mark.parametrize("target", ["nowhere", "itself"])
@pytest.mark.parametrize("name", NAMES)
def test_a_dangling_link_is_called_that_and_is_not_the_same_as_nothing(model_folder, name, target):
    broken, opener = model_folder / name, open_image if name == "photo.png" else load_model
    if not name:
        broken = model_folder.parent / "link"
    broken.unlink(missing_ok=True)
    link(broken, broken if target == "itself" else "nowhere")
    opened = broken if broken.name in ("photo.png", "link") else model_folder
    with pytest.raises(FileNotFoundError, match=re.escape(f"{broken}: found a dangling link, to ")):
        opener(opened)


def test_a_training_and_a_folder_of_classes_may_be_dangling_links_too(tmp_path):
    link(tmp_path / "checkpoint.safetensors", "nowhere")
    for opener in (read_state, class_folders):
        with pytest.raises(FileNotFoundError, match="found a dangling link, to nowhere"):
            opener(tmp_path / "checkpoint.safetensors")


def test_links_that_the_user_or_the_hub_s_cache_made_are_followed(model_folder, tmp_path):
    link(tmp_path / "mine", model_folder)
    load_model(tmp_path / "mine")
    commit = tmp_path / "models--a--b" / "snapshots" / "c0ffee"
    (tmp_path / "models--a--b" / "blobs").mkdir(parents=True)
    commit.mkdir(parents=True)
    for n, file in enumerate(sorted(model_folder.iterdir())):
        file.rename(tmp_path / "models--a--b" / "blobs" / str(n))
        link(commit / file.name, Path("..", "..", "blobs", str(n)))
    load_model(commit)


def test_a_parameter_in_two_files_is_refused(model_folder):
    (model_folder / "1.safetensors").write_bytes((model_folder.parent / "outside.safetensors").read_bytes())
    with pytest.raises(ValueError, match=r"index\.json: found a parameter in two of the files 0\.safetensors, 1\.safe"):
        load_model(model_folder)


# Texts stay texts


def test_classify(hostile, capsys):
    model, photo = hostile
    assert classify.main([str(photo), "--model", str(model)]) == 0
    shown = capsys.readouterr().out
    assert_harmless(shown)
    for text in (str(photo), HOSTILE[0], HOSTILE[1], r"\x1b[2J\x1b]0;owned\x07\r\n\u202e"):
        assert text in shown
    assert classify.main([str(photo), "--model", str(model), "--json"]) == 0
    shown = capsys.readouterr().out
    assert_harmless(shown)
    assert {one["label"] for one in json.loads(shown)["predictions"]} == set(HOSTILE)


def test_explore(hostile, tmp_path):
    model, photo = hostile
    page = tmp_path / "page.html"
    assert command("explore", photo, "--model", model, "-o", page)[0] == 0
    html = page.read_text(encoding="utf-8")
    assert "<img src=x" not in html
    data = data_of(html)
    assert (data["file"], data["model"]["origin"]["recipe"]) == (photo.name, HOSTILE[1])
    assert {one["label"] for one in data["predictions"]} == set(HOSTILE)


@pytest.mark.filterwarnings("error")
def test_evaluate_and_its_picture(hostile, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    model, photo = hostile
    place = tmp_path / "photos" / HOSTILE[1]
    place.mkdir(parents=True)
    photo.rename(place / "a.png")
    drawn = tmp_path / "matrix.svg"
    assert evaluate.main([str(place.parent), "--model", str(model), "--confusion", str(drawn)]) == 0
    assert_harmless(capsys.readouterr().out)
    assert "<img" not in drawn.read_text(encoding="utf-8")


def test_convert_and_export(hostile, tmp_path, capsys):
    model, _ = hostile
    assert convert.main([str(model), "--to", "hf", "-o", str(tmp_path / "hf")]) == 0
    assert_harmless(capsys.readouterr().out)
    assert load_model(tmp_path / "hf").labels == HOSTILE
    assert sorted(os.listdir(tmp_path / "hf")) == ["config.json", "model.safetensors", "preprocessor_config.json"]


def test_names_in_a_file_are_never_paths(tmp_path):
    """Parameters named like files, in a source of any kind, are refused by name and touch nothing."""
    state = state_dict(make_model(replace(V2, num_labels=3)), "timm") | {"../../x": np.zeros(1, np.float32)}
    write_safetensors(tmp_path / "m.safetensors", state, {"origin": "/etc/passwd"}, "float32")
    with pytest.raises(ValueError, match=r"unexpected: \.\./\.\./x\)"):
        load_model(tmp_path / "m.safetensors")
    assert os.listdir(tmp_path) == ["m.safetensors"]
