"""From the shell prompt to the labels of one photo: `python -m pvt_numpy.classify` against a script for transformers.

Both start as fresh processes, do the same job with the same weights and the same threads, and take turns; measured is
until the process has ended, as a shell's `time` does. The script is the shortest that transformers' documentation
suggests; its model is ours, written as transformers' folder by `convert --to hf` beforehand. Each has run once before
the counted runs, so that both find their files in the system's cache. Left out: downloads.
"""

import re
import tempfile
from pathlib import Path
from statistics import median

from ..checkpoints.checkpoint import SHIPPED
from .processes import run_once

PHOTO = "notebooks/golf_ball.jpg"
TRANSFORMERS = """
import sys
import torch
from PIL import Image
from transformers import AutoImageProcessor, PvtV2ForImageClassification

folder, photo = sys.argv[1:]
processor = AutoImageProcessor.from_pretrained(folder)
model = PvtV2ForImageClassification.from_pretrained(folder)
inputs = processor(Image.open(photo), return_tensors="pt")
with torch.inference_mode():
    logits = model(**inputs).logits[0]
for chance, index in zip(*logits.softmax(-1).topk(5)):
    print(f"{model.config.id2label[index.item()]} {chance:.1%}")
"""


def cold_start(runs, threads, with_pytorch, tick):
    """Medians of time and peak memory of both, and the ratio of the times turn by turn, as a row for JSON.

    `tick` is called after every process. Raises ValueError where one fails, or the two name the photo differently.
    """
    with tempfile.TemporaryDirectory() as folder:
        commands = {"pvt_numpy": ["-m", "pvt_numpy.classify", PHOTO]}
        if with_pytorch:
            model = Path(folder, "model")
            run_once("convert", ["-m", "pvt_numpy.convert", SHIPPED, "--to", "hf", "-o", model], threads)
            commands["pytorch"] = ["-c", TRANSFORMERS, model, PHOTO]
        measured = {name: [] for name in commands}
        for _ in range(1 + runs):
            for name, command in commands.items():
                measured[name].append(run_once(name, command, threads))
                tick()
    labels = {name: first_label(runs[0][2]) for name, runs in measured.items()}
    if len(set(labels.values())) > 1:
        raise ValueError(f"{PHOTO}: the first labels differ, so this is not the same job: {labels}")
    row = {"measured": "cold start", "model": SHIPPED.stem, "photo": PHOTO, "label": labels["pvt_numpy"],
           "threads": threads, "runs": runs}  # fmt: skip
    times = {name: [time for time, _, _ in runs[1:]] for name, runs in measured.items()}
    row |= {f"{name}_ms": median(values) for name, values in times.items()}
    if with_pytorch:
        row["ratio_to_pytorch"] = median(a / b for a, b in zip(times["pvt_numpy"], times["pytorch"], strict=True))
    return row | {f"{name}_peak_mb": median(peak for _, peak, _ in runs[1:]) for name, runs in measured.items()}


def first_label(printed):
    """What a program that prints labels with percentages puts first.

    >>> first_label("pvt_v2_b0, 10 outputs\\nball.jpg\\n  golf ball   93.1%  ####\\n  gas pump     1.1%")
    'golf ball'
    """
    found = re.search(r"^\s*(\S.*?) +[\d.]+%", printed, flags=re.MULTILINE)
    return found.group(1) if found else None


def as_text(row):
    """The row for people."""
    lines = [f"from the shell prompt to the labels of {row['photo']}, medians of {row['runs']} fresh processes:"]
    for name, what in (("pvt_numpy", "python -m pvt_numpy.classify"), ("pytorch", "the same in transformers")):
        if f"{name}_ms" in row:
            lines.append(f"  {what:<30} {row[f'{name}_ms']:>8.0f} ms {row[f'{name}_peak_mb']:>8.0f} MB at most")
    if "pytorch_ms" in row:
        memory = row["pvt_numpy_peak_mb"] / (row["pytorch_peak_mb"] or float("nan"))  # 0: the system does not tell
        lines.append(f"  {'ratio':<30} {row['ratio_to_pytorch']:>8.2f}    {memory:>8.2f}")
    both = "both say" if "pytorch_ms" in row else "it says"
    return "\n".join([*lines, f"  {both} {row['label']}"])
