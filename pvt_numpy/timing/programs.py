"""Whole programs, from the shell prompt to the labels: `python -m pvt_numpy.classify` against scripts for transformers.

They start as fresh processes, do the same job with the same weights and the same threads, and take turns; measured is
until the process has ended, as a shell's `time` does. The scripts are the shortest that transformers' and PyTorch's
documentations suggest; their model is ours, written as transformers' folder by `convert --to hf` beforehand. Each has
run once before the counted runs, so that all find their files in the system's cache. Nothing is downloaded.

The cold start is one picture. Of a folder, which is copies of one photo, both are timed with one picture too, and the
difference is the time of the others: what a program takes to start is not in it.
"""

import re
import shutil
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

from ..system.paths import SAMPLE_PICTURE, SHIPPED
from .processes import run_once
from .turns import compared, take_turns

PICTURE = "/".join(SAMPLE_PICTURE.parts[-2:])  # its name in the checkout
ONE_PICTURE = """
import sys
import torch
from PIL import Image
from transformers import AutoImageProcessor, PvtV2ForImageClassification

folder, picture = sys.argv[1:]
processor = AutoImageProcessor.from_pretrained(folder)
model = PvtV2ForImageClassification.from_pretrained(folder)
inputs = processor(Image.open(picture), return_tensors="pt")
with torch.inference_mode():
    logits = model(**inputs).logits[0]
for chance, index in zip(*logits.softmax(-1).topk(5)):
    print(f"{model.config.id2label[index.item()]} {chance:.1%}")
"""
FOLDER = """
import sys
from pathlib import Path
import torch
from PIL import Image
from transformers import AutoImageProcessor, PvtV2ForImageClassification

folder, pictures = sys.argv[1:]
processor = AutoImageProcessor.from_pretrained(folder)
model = PvtV2ForImageClassification.from_pretrained(folder).eval()

class Pictures(torch.utils.data.Dataset):
    files = sorted(Path(pictures).iterdir())
    def __len__(self):
        return len(self.files)
    def __getitem__(self, n):
        return processor(Image.open(self.files[n]).convert("RGB"), return_tensors="pt").pixel_values[0]

with torch.inference_mode():
    for x in torch.utils.data.DataLoader(Pictures(), batch_size=8, num_workers=2):
        for chances in model(x).logits.softmax(-1):
            index = chances.argmax().item()
            print(f"{model.config.id2label[index]} {chances[index]:.1%}")
"""


def cold_start(runs, threads, with_pytorch, tick):
    """Medians of time and peak memory of both, and the ratio of the times turn by turn, as a row for JSON.

    `tick` is called after every process. Raises ValueError if one fails, or if the two name the picture differently.
    """
    with tempfile.TemporaryDirectory() as place:
        measured = race(commands(place, with_pytorch, ONE_PICTURE, SAMPLE_PICTURE), runs, threads, tick)
    times = {name: [time for time, _, _ in results] for name, results in measured.items()}
    return {"measured": "cold start", "model": SHIPPED.stem, "picture": PICTURE, "label": label_of(measured),
            "threads": threads, "runs": runs, **compared(times, peaks_of(measured))}  # fmt: skip


def folder(photos, runs, threads, with_pytorch, tick):
    """The same for a folder of so many photos: the times are those of one of them."""
    with tempfile.TemporaryDirectory() as place:
        one, many = Path(place, "one"), Path(place, "many")
        for where, count in ((one, 1), (many, photos)):
            where.mkdir()
            for n in range(count):
                shutil.copy(SAMPLE_PICTURE, where / f"{n:06}.jpg")
        jobs = {(name, where.name): command for where in (one, many)
                for name, command in commands(place, with_pytorch, FOLDER, where).items()}  # fmt: skip
        measured = race(jobs, runs, threads, tick)
    times = {name: [(all_[0] - first[0]) / (photos - 1) for all_, first in
                    zip(measured[name, "many"], measured[name, "one"], strict=True)]
             for name, where in jobs if where == "many"}  # fmt: skip
    peaks = {name: peak for (name, where), peak in peaks_of(measured).items() if where == "many"}
    return {"measured": "folder", "model": SHIPPED.stem, "photos": photos, "label": label_of(measured),
            "threads": threads, "runs": runs, **compared(times, peaks)}  # fmt: skip


def commands(place, with_pytorch, script, pictures):
    """Contender -> what Python is called with to name the pictures, a file or a folder."""
    found = {"pvt_numpy": ["-m", "pvt_numpy.classify", pictures]}
    if with_pytorch:
        model = Path(place, "model")
        if not model.exists():
            run_once("convert", ["-m", "pvt_numpy.convert", SHIPPED, "--to", "hf", "-o", model], None)
        found["pytorch"] = ["-c", script, model, pictures]
    return found


def race(jobs, runs, threads, tick):
    """Job -> (milliseconds, peak MB, what it printed) of each run, the first not counted."""
    return take_turns({job: partial(run_once, job, command, threads) for job, command in jobs.items()}, runs, 1, tick)


def peaks_of(measured):
    return {job: median(peak for _, peak, _ in results) for job, results in measured.items()}


def label_of(measured):
    """What all of them put first."""
    labels = {job: first_label(results[0][2]) for job, results in measured.items()}
    if len(set(labels.values())) > 1:
        raise ValueError(f"{PICTURE}: found two first labels, {labels}; expected one, or it is not the same job")
    return next(iter(labels.values()))


def first_label(printed):
    """What a program that prints labels with percentages puts first.

    >>> first_label("pvt_v2_b0, 10 outputs\\nball.jpg\\n  golf ball   93.1%  ####\\n  gas pump     1.1%")
    'golf ball'
    """
    found = re.search(r"^\s*(\S.*?) +[\d.]+%", printed, flags=re.MULTILINE)
    return found.group(1) if found else None
