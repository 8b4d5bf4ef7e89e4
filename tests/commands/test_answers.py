"""What a person reads in the logits: `classify`, `evaluate` and `explore` say of every kind of model what transformers'
pipeline says of it, and keep saying so after a model was saved, converted and exported."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pvt_numpy import classify, convert, evaluate, load_model, save_model
from pvt_numpy.analysis.answers import answers, predictions
from pvt_numpy.checkpoints.export import export_hf
from pvt_numpy.explorer.page import explore
from tests.checkpoints.models import SMALL_V1, SMALL_V2, make_model
from tests.explorer.explorer_pages import data_of
from tests.processes import BALL

MULTI, SINGLE = "multi_label_classification", "single_label_classification"
# problem_type, the logits, what is made of them: e^0.5 / (1 + e^0.5) = 0.62246, e^-1.5 / (1 + e^-1.5) = 0.18243
KINDS = {
    "several labels": (MULTI, [0.5, -1.5], "probability", [0.6224593312, 0.1824255238]),
    "several of one": (MULTI, [0.5], "probability", [0.6224593312]),
    "one output": (None, [-1.5], "probability", [0.1824255238]),
    "one output, classified": (SINGLE, [-1.5], "probability", [0.1824255238]),
    "one number": ("regression", [-1.5], "value", [-1.5]),
    "numbers": ("regression", [0.5, -1.5, 40.0], "value", [0.5, -1.5, 40.0]),
    "one of two": (None, [0.5, -1.5], "probability", [0.8807970780, 0.1192029220]),  # e^2 / (1 + e^2)
    "one of two, said": (SINGLE, [0.5, -1.5], "probability", [0.8807970780, 0.1192029220]),
    "far out": (MULTI, [800.0, -800.0], "probability", [1.0, 0.0]),
}


def model_of(problem, outputs, base=SMALL_V2, **fields):
    """Small, with attention and answers of realistic size."""
    model = make_model(replace(base, problem_type=problem, num_labels=outputs, patch_norm_eps=None), **fields)
    model.params["head"]["weight"] *= 0.5
    return model


@pytest.mark.parametrize(("problem", "logits", "name", "numbers"), KINDS.values(), ids=KINDS)
def test_what_a_person_reads(problem, logits, name, numbers):
    config = replace(SMALL_V2, problem_type=problem, num_labels=len(logits))
    for dtype in (np.float32, np.float64):
        found = answers(np.array([logits, logits[::-1]], dtype), config)  # for a batch
        assert (found[0], found[1].dtype) == (name, np.float64)
        np.testing.assert_allclose(found[1], [numbers, numbers[::-1]], atol=1e-9)
    rows = [{"index": i, "label": f"LABEL_{i}", "logit": logits[i], name: pytest.approx(numbers[i], abs=1e-9)}
            for i in sorted(range(len(logits)), key=lambda i: -logits[i])]  # fmt: skip
    assert predictions(np.array(logits), model_of(problem, len(logits))) == rows


@pytest.mark.torch
@pytest.mark.parametrize(("base", "problem", "outputs"), [  # one output cannot be SINGLE there
    (SMALL_V2, MULTI, 4), (SMALL_V2, MULTI, 1), (SMALL_V2, None, 1), (SMALL_V2, "regression", 1), (SMALL_V2, None, 4),
    (SMALL_V2, "regression", 7), (SMALL_V2, SINGLE, 4), (SMALL_V1, MULTI, 4), (SMALL_V1, None, 1)])  # fmt: skip
def test_the_answer_is_that_of_transformers_pipeline(tmp_path, capsys, base, problem, outputs):
    from transformers import pipeline
    from transformers.models.pvt.image_processing_pil_pvt import PvtImageProcessorPil

    recipe = {"do_resize": True, "size": {"height": 64, "width": 64}}
    export_hf(tmp_path / "hf", model_of(problem, outputs, base, preprocessing=recipe))
    processor = PvtImageProcessorPil.from_pretrained(tmp_path / "hf")
    theirs = pipeline("image-classification", str(tmp_path / "hf"), image_processor=processor)(str(BALL))
    capsys.readouterr()
    assert classify.main([str(BALL), "--model", str(tmp_path / "hf"), "--json"]) == 0
    ours, name = (
        json.loads(capsys.readouterr().out)["predictions"],
        "value" if problem == "regression" else "probability",
    )
    assert [one["label"] for one in ours] == [one["label"] for one in theirs]
    np.testing.assert_allclose([one[name] for one in ours], [one["score"] for one in theirs], atol=1e-4, rtol=1e-5)


def test_the_kind_survives_saving_converting_and_export(tmp_path, capsys):
    for problem, outputs in ((MULTI, 3), ("regression", 1)):
        folder = tmp_path / problem
        folder.mkdir()
        save_model(folder / "a.safetensors", model_of(problem, outputs))
        assert convert.main([str(folder / "a.safetensors"), "-o", str(folder / "b"), "--to", "hf"]) == 0
        assert convert.main([str(folder / "b"), "-o", str(folder / "c.safetensors"), "--dtype", "float16"]) == 0
        assert f"({problem})" in capsys.readouterr().out
        assert load_model(folder / "c.safetensors").config.problem_type == problem
        assert json.loads((folder / "b" / "config.json").read_text())["problem_type"] == problem


def test_what_the_table_and_the_page_show(tmp_path, capsys):
    for problem, name in ((MULTI, "probability"), ("regression", "value")):
        model = model_of(problem, 2, preprocessing={"size": {"height": 64, "width": 64}}, labels=("cat", "dog"))
        shown = data_of(explore(BALL, model).html)["predictions"]
        save_model(tmp_path / "m.safetensors", model)
        assert classify.main([str(BALL), "--model", str(tmp_path / "m.safetensors")]) == 0
        lines = capsys.readouterr().out.splitlines()[2:]
        logits = np.array([one["logit"] for one in shown])
        expected = logits if name == "value" else 1 / (1 + np.exp(-logits))
        np.testing.assert_allclose([one[name] for one in shown], expected)
        assert [line.split()[0] for line in lines] == [one["label"] for one in shown]
        said = [float(line.split()[1].rstrip("%")) / (1 if name == "value" else 100) for line in lines]
        np.testing.assert_allclose(said, expected, atol=6e-4, rtol=1e-5)
        assert all("%" in line for line in lines) == (name == "probability")


def test_evaluate_counts_what_a_folder_can_say(tmp_path, capsys):
    recipe = {"size": {"height": 64, "width": 64}}
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    (tmp_path / "photos" / "cat" / "1.jpg").write_bytes(BALL.read_bytes())
    arguments = [str(tmp_path / "photos"), "--model", str(tmp_path / "m.safetensors")]
    for problem, labels, said in (("regression", ("cat", "dog"), "a regression"), (None, ("cat",), "one output"),
                                  ("regression", ("cat",), "a regression"), (MULTI, ("c",), "one output")):  # fmt: skip
        save_model(arguments[-1], model_of(problem, len(labels), labels=labels, preprocessing=recipe))
        with pytest.raises(ValueError, match=f"m.safetensors: found {said}.*; expected a classifier"):
            evaluate.main(arguments)
    save_model(tmp_path / "m.safetensors", model_of(MULTI, 2, labels=("cat", "dog"), preprocessing=recipe))
    assert evaluate.main(arguments) == 0
    text = capsys.readouterr().out
    assert "\n1 picture of " in text
    assert "multi-label: the sub-folder's label gets 50 % or more in " in text


def test_evaluate_counts_the_labels_that_a_multi_label_model_gives():
    logits, truth = np.array([[2.0, 1.0], [-1.0, -2.0], [3.0, -0.1], [0.5, 0.0]]), np.array([1, 0, 1, 1])
    result = evaluate.score(logits, truth, model_of(MULTI, 2))
    assert (result["top1"], result["given"]) == (0.25, 0.5)  # the first and the last label are given, as is another
    assert "given" not in evaluate.score(logits, truth, model_of(None, 2))
