"""Calibration: each number against its published definition, written out with loops."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pvt_numpy import convert, evaluate, load_model, save_model
from pvt_numpy.analysis.calibration import calibration_error, fit_temperature, wilson_interval
from pvt_numpy.checkpoints.safetensors_file import read_safetensors, write_safetensors
from pvt_numpy.classify import classify
from pvt_numpy.classify import main as classify_command
from pvt_numpy.reference.golden import seeded_params
from pvt_numpy.system.paths import SAMPLE_PICTURE
from tests.training.test_training import V2


def drawn(n=600, K=4, temperature=2.5, seed=0):
    """Logits, and labels drawn from softmax(logits / temperature): a model that is too sure by just this much."""
    rng = np.random.default_rng(seed)
    logits = 4 * rng.standard_normal((n, K))
    chances = np.exp(logits / temperature)
    chances /= chances.sum(axis=1, keepdims=True)
    return logits, np.array([rng.choice(K, p=row) for row in chances])


def surprise(logits, labels, T):
    """The mean of -log softmax(z / T)[label], picture by picture."""
    return np.mean([-z[y] / T + math.log(sum(math.exp(v / T) for v in z)) for z, y in zip(logits, labels, strict=True)])


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_is_that_of_the_least_surprise(temperature):
    """Guo et al., section 4.2."""
    logits, labels = drawn(temperature=temperature)
    T = fit_temperature(logits, labels)
    assert pytest.approx(temperature, rel=0.2) == T
    for other in (0.99 * T, 1.01 * T):
        assert surprise(logits, labels, T) < surprise(logits, labels, other)
    assert fit_temperature(logits, logits.argmax(axis=1)) == 0.05, "always right: as sure as may be"
    assert fit_temperature(logits, logits.argmin(axis=1)) == 20, "always wrong: as unsure as may be"


def test_the_calibration_error_is_that_of_the_paper():
    """Guo et al., equation 3: the sum over bins of |B| / n |accuracy(B) - confidence(B)|, B = ((m - 1) / M, m / M]."""
    logits, labels = drawn()
    expected, n = 0.0, len(labels)
    answers = []
    for z, y in zip(logits, labels, strict=True):
        p = [math.exp(v) / sum(math.exp(w) for w in z) for v in z]
        answers.append((max(p), p.index(max(p)) == y))
    for m in range(1, 16):
        inside = [(p, right) for p, right in answers if (m - 1) / 15 < p <= m / 15]
        if inside:
            accuracy, confidence = (sum(column) / len(inside) for column in list(zip(*inside, strict=True))[::-1])
            expected += len(inside) / n * abs(accuracy - confidence)
    assert calibration_error(logits, labels) == pytest.approx(expected, rel=1e-12)
    assert calibration_error(logits / 2.5, labels) < expected / 3


def test_wilsons_interval_holds_the_shares_that_the_count_could_come_from():
    """Its ends are the p for which |right / n - p| = z sqrt(p (1 - p) / n)."""
    for right, n in ((115, 120), (1, 2), (7, 30), (0, 9), (9, 9)):
        for p in wilson_interval(right, n):
            assert abs(right / n - p) == pytest.approx(1.96 * math.sqrt(max(0, p * (1 - p)) / n), abs=1e-12)


@pytest.fixture
def mine(tmp_path):
    """A file of a small model for two classes, and a folder with pictures of both, on one of which it is wrong."""
    config = replace(V2, num_labels=2, image_size=16)
    model = replace(load_model(), config=config, params=seeded_params(config, 3), labels=("cat", "dog"))
    recipe = model.preprocessing | {"size": {"height": 16, "width": 16}}
    save_model(tmp_path / "mine.safetensors", replace(model, preprocessing=recipe))
    model = load_model(tmp_path / "mine.safetensors")
    pictures = np.random.default_rng(0).integers(256, size=(8, 20, 20, 3), dtype=np.uint8)
    files = [tmp_path / f"{k}.png" for k in range(8)]
    for file, picture in zip(files, pictures, strict=True):
        Image.fromarray(picture).save(file)
    answers = [classify(str(file), model) for file in files]
    least_sure = min(range(8), key=lambda k: answers[k][0]["probability"])
    for k, file in enumerate(files):
        folder = tmp_path / "photos" / answers[k][k == least_sure]["label"]
        folder.mkdir(parents=True, exist_ok=True)
        file.rename(folder / file.name)
    return tmp_path / "mine.safetensors", tmp_path / "photos"


def test_a_calibrated_file_says_so_and_its_logits_are_as_before(mine, capsys):
    path, photos = mine
    before, plain = load_model(path), classify(str(SAMPLE_PICTURE), load_model(path))
    assert evaluate.main([str(photos), "--model", str(path), "--calibrate", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["calibration"]
    assert found["after"]["loss"] <= found["before"]["loss"]
    model = load_model(path)
    T = model.temperature
    assert found["temperature"] == pytest.approx(T)
    assert (model.config, model.labels, model.origin) == (before.config, before.labels, before.origin)
    assert all(
        (a == b).all() for a, b in zip(model.params["head"].values(), before.params["head"].values(), strict=True)
    )
    sure = classify(str(SAMPLE_PICTURE), model)
    assert [p["logit"] for p in sure] == [p["logit"] for p in plain]
    logits = [p["logit"] for p in sure]
    for p in sure:
        assert p["probability"] == pytest.approx(math.exp(p["logit"] / T) / sum(math.exp(z / T) for z in logits))
    assert classify_command([str(SAMPLE_PICTURE), "--model", str(path)]) == 0
    assert f"probabilities calibrated (temperature {T:.3g})" in capsys.readouterr().out
    assert classify_command([str(SAMPLE_PICTURE), "--model", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["temperature"] == T
    convert.main([str(path), "-o", str(path.with_name("half.safetensors")), "--dtype", "float16"])
    assert load_model(path.with_name("half.safetensors")).temperature == T, "it was lost on the way"
    capsys.readouterr()
    convert.main([str(path), "-o", str(path.with_name("hf")), "--to", "hf"])
    assert f"note: the temperature, {T:.3g}, stays behind" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "said"), [
    ([], "--calibrate: found no --model"), (["--model", "MINE", "--recipe", "hf"], "found --recipe beside it"),
    (["--model", "MINE", "--image-size", "32"], "found --image-size beside it")])  # fmt: skip
def test_what_cannot_be_calibrated_is_refused_before_the_work(mine, monkeypatch, arguments, said):
    path, photos = mine
    monkeypatch.setattr(evaluate, "run_all", None)
    with pytest.raises(ValueError, match=said):
        evaluate.main([str(photos), "--calibrate", *(str(path) if a == "MINE" else a for a in arguments)])


@pytest.mark.parametrize("text", ["0", "NaN", '"1"', "[1]", "1e9", "true", "-1", "x"])
def test_a_temperature_that_is_none_is_refused(mine, text):
    path, _ = mine
    metadata, shapes, read = read_safetensors(path)
    arrays = {name: read(name) for name in shapes}
    write_safetensors(path, arrays, metadata | {"temperature": text}, "float32")
    with pytest.raises(ValueError, match="temperature|JSON") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)
