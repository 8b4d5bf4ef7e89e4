"""The PVT v1 that this package trained: the file, its log, and what weights/README.md says of them."""

import csv
import re

import numpy as np

import pvt_numpy
from pvt_numpy.train import nano_config
from tests.processes import BALL, ROOT, photos

WEIGHTS = ROOT / "weights"
FILE, LOG = WEIGHTS / "pvt_v1_nano_imagenette.safetensors", WEIGHTS / "pvt_v1_nano_imagenette.csv"


def rows():
    with open(LOG, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def readme():
    text = (WEIGHTS / "README.md").read_text(encoding="utf-8")
    return text[text.index("pvt_v1_nano_imagenette") :]


def test_the_file_is_small_and_complete():
    assert FILE.stat().st_size < 5e6
    model = pvt_numpy.load_model(FILE)
    assert model.config == nano_config(64, 10, drop_path_rate=model.config.drop_path_rate)
    assert model.labels == pvt_numpy.load_model().labels
    assert model.preprocessing["size"] == {"height": 64, "width": 64}
    count = sum(int(np.prod(shape)) for shape in pvt_numpy.parameter_shapes(model.config).values())
    assert 1e6 < count < 2e6
    assert f"{count:,} parameters" in readme()


def test_the_log_is_of_one_whole_training():
    epochs = [int(row["epoch"]) for row in rows()]
    assert epochs == sorted(set(epochs))
    seconds = [float(row["seconds"]) for row in rows()]
    assert seconds == sorted(seconds)
    assert float(rows()[-1]["learning_rate"]) < 1e-4, "the schedule was not finished"


def test_it_sees_the_golf_ball():
    model = pvt_numpy.load_model(FILE)
    x = pvt_numpy.preprocess(BALL, **model.preprocessing)
    assert model.labels[int(pvt_numpy.forward(x, model.params, model.config).logits.argmax())] == "golf ball"


def test_the_accuracy_is_what_the_readme_says():
    from pvt_numpy.training.data import list_folder

    model = pvt_numpy.load_model(FILE)
    files, labels, _ = list_folder(photos())  # the folders' order is the labels'
    right = 0
    for start in range(0, len(files), 128):
        x = pvt_numpy.preprocess(files[start : start + 128], **model.preprocessing)
        logits = pvt_numpy.forward(x, model.params, model.config).logits
        right += int((logits.argmax(axis=-1) == labels[start : start + 128]).sum())
    assert f"{right} of {len(files):,}" in readme()
    assert re.search(rf"\b{100 * right / len(files):.2f} %", readme())
