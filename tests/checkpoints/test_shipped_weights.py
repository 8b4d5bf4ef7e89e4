"""The models that ship: their files, the logs of their trainings, and what weights/README.md says of them."""

import csv
import io
import re

import numpy as np
import pytest

import pvt_numpy
from pvt_numpy.train import nano_config
from pvt_numpy.training.data import list_folder
from tests.processes import BALL, ROOT, photos

WEIGHTS = ROOT / "weights"
V2, NANO = "pvt_v2_b0_imagenette", "pvt_v1_nano_imagenette"
LOGS = {f"{V2}_160": 12, f"{V2}_224": 2, NANO: 200}  # name -> epochs


def rows(name):
    with open(WEIGHTS / f"{name}.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def readme(heading):
    """The part of weights/README.md below a heading of the first level."""
    text = (WEIGHTS / "README.md").read_text(encoding="utf-8")
    (part,) = (part for part in re.split(r"^# ", text, flags=re.MULTILINE) if part.startswith(heading + "\n"))
    return part


def right_of(model, each=None):
    """How many of the photos are right, and how many there are; of the first `each` of every class."""
    files, labels, _ = list_folder(photos())  # the folders' order is the labels'
    if each:
        chosen = np.concatenate([np.flatnonzero(labels == label)[:each] for label in range(10)])
        files, labels = [files[k] for k in chosen], labels[chosen]
    right = 0
    for start in range(0, len(files), 128):
        x = pvt_numpy.preprocess(files[start : start + 128], **model.preprocessing)
        logits = pvt_numpy.forward(x, model.params, model.config).logits
        right += int((logits.argmax(axis=-1) == labels[start : start + 128]).sum())
    return right, len(files)


def test_the_nano_is_small_and_complete():
    assert (WEIGHTS / f"{NANO}.safetensors").stat().st_size < 5e6
    model = pvt_numpy.load_model(NANO)
    assert model.config == nano_config(64, 10, drop_path_rate=model.config.drop_path_rate)
    assert model.labels == pvt_numpy.load_model().labels
    assert model.preprocessing["size"] == {"height": 64, "width": 64}
    count = sum(int(np.prod(shape)) for shape in pvt_numpy.parameter_shapes(model.config).values())
    assert 1e6 < count < 2e6
    assert f"{count:,} parameters" in readme("The v1")


@pytest.mark.parametrize("name", LOGS)
def test_the_log_is_of_one_whole_training(name):
    epochs = [int(row["epoch"]) for row in rows(name)]
    assert epochs == list(range(epochs[0], LOGS[name] + 1))
    assert epochs[0] in (0, 1)
    seconds = [float(row["seconds"]) for row in rows(name)]
    assert seconds == sorted(seconds)
    assert float(rows(name)[-1]["learning_rate"]) < 1e-4, "the schedule was not finished"


@pytest.mark.parametrize(("name", "log"), [(V2, f"{V2}_224"), (NANO, NANO)])
def test_the_file_carries_the_log_of_the_training_that_made_it(name, log):
    history = list(csv.DictReader(io.StringIO(pvt_numpy.load_model(name).origin["history"])))
    assert history == [{key: text for key, text in row.items() if key != "seconds"} for row in rows(log)]


@pytest.mark.parametrize("name", [V2, NANO])
def test_it_sees_the_golf_ball(name):
    model = pvt_numpy.load_model(name)
    x = pvt_numpy.preprocess(BALL, **model.preprocessing)
    assert model.labels[int(pvt_numpy.forward(x, model.params, model.config).logits.argmax())] == "golf ball"


def test_the_accuracy_of_the_nano_is_what_the_readme_says():
    right, count = right_of(pvt_numpy.load_model(NANO))
    assert f"| {100 * right / count:.2f} % | {right} of {count:,} |" in readme("The v1")


def test_the_accuracy_of_the_v2_is_what_the_readme_says():
    right, count = right_of(pvt_numpy.load_model(), each=20)  # all of them take a minute
    assert f"Of {count} photos, the first twenty of each class (`--limit 200`), it names {right}." in readme("The v2")
