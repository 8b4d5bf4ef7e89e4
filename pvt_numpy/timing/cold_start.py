"""From the shell prompt to the labels of one picture: `python -m pvt_numpy.classify` against a script for transformers.

Both start as fresh processes, do the same job with the same weights and the same threads, and take turns; measured is
until the process has ended, as a shell's `time` does. The script is the shortest that transformers' documentation
suggests; its model is ours, written as transformers' folder by `convert --to hf` beforehand. Each has run once before
the counted runs, so that both find their files in the system's cache. Nothing is downloaded.
"""

import re
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

from ..system.paths import SAMPLE_PICTURE, SHIPPED
from .processes import run_once
from .turns import compared, take_turns

PICTURE = "/".join(SAMPLE_PICTURE.parts[-2:])  # its name in the checkout
TRANSFORMERS = """
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


def cold_start(runs, threads, with_pytorch, tick):
    """Medians of time and peak memory of both, and the ratio of the times turn by turn, as a row for JSON.

    `tick` is called after every process. Raises ValueError if one fails, or if the two name the picture differently.
    """
    with tempfile.TemporaryDirectory() as folder:
        commands = {"pvt_numpy": ["-m", "pvt_numpy.classify", SAMPLE_PICTURE]}
        if with_pytorch:
            model = Path(folder, "model")
            run_once("convert", ["-m", "pvt_numpy.convert", SHIPPED, "--to", "hf", "-o", model], threads)
            commands["pytorch"] = ["-c", TRANSFORMERS, model, SAMPLE_PICTURE]
        jobs = {name: partial(run_once, name, command, threads) for name, command in commands.items()}
        measured = take_turns(jobs, runs, 1, tick)
    labels = {name: first_label(results[0][2]) for name, results in measured.items()}
    if len(set(labels.values())) > 1:
        raise ValueError(f"{PICTURE}: found two first labels, {labels}; expected one, or it is not the same job")
    times = {name: [time for time, _, _ in results] for name, results in measured.items()}
    peaks = {name: median(peak for _, peak, _ in results) for name, results in measured.items()}
    return {"measured": "cold start", "model": SHIPPED.stem, "picture": PICTURE, "label": labels["pvt_numpy"],
            "threads": threads, "runs": runs, **compared(times, peaks)}  # fmt: skip


def first_label(printed):
    """What a program that prints labels with percentages puts first.

    >>> first_label("pvt_v2_b0, 10 outputs\\nball.jpg\\n  golf ball   93.1%  ####\\n  gas pump     1.1%")
    'golf ball'
    """
    found = re.search(r"^\s*(\S.*?) +[\d.]+%", printed, flags=re.MULTILINE)
    return found.group(1) if found else None


def as_text(row):
    """The row for people."""
    lines = [f"from the shell prompt to the labels of {row['picture']}, medians of {row['runs']} fresh processes:"]
    for name, what in (("pvt_numpy", "python -m pvt_numpy.classify"), ("pytorch", "the same in transformers")):
        if f"{name}_ms" in row:
            lines.append(f"  {what:<30} {row[f'{name}_ms']:>8.0f} ms {row[f'{name}_peak_mb']:>8.0f} MB at most")
    if "pytorch_ms" in row:
        memory = row["pvt_numpy_peak_mb"] / (row["pytorch_peak_mb"] or float("nan"))  # 0: the system does not tell
        lines.append(f"  {'ratio':<30} {row['ratio_to_pytorch']:>8.2f}    {memory:>8.2f}")
    both = "both say" if "pytorch_ms" in row else "it says"
    return "\n".join([*lines, f"  {both} {row['label']}"])
