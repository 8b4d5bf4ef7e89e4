"""One training step, ours and PyTorch's, side by side: `python -m pvt_numpy.train --benchmark`.

Both take the same AdamW step (loss, gradients, clipping, update; ours also averages the weights) for the nano model on
the same 32 pictures of 64 x 64 with the same number of threads, in float32, PyTorch in eager mode. They take turns
within one process; printed are medians. Without PyTorch only ours. What the backward pass costs, which computes much of
the forward pass again, shows in the share of the forward pass alone.
"""

from concurrent.futures import ThreadPoolExecutor
from statistics import median

import numpy as np

from ..gradients import loss_and_gradients
from ..model import forward
from ..parameters import unflatten
from ..reference.pytorch import hf_model, missing_packages
from ..training.loop import Batch, step
from ..training.state import Settings, fresh
from .turns import compared, take_turns, timed

BATCH, SIZE, WARM_UP = 32, 64, 3


def benchmark(config, threads, runs=15):
    """Times the steps and prints a few lines. config: a PVT for pictures of 64 x 64."""
    settings = Settings("benchmark", batch=BATCH, microbatch=-(-BATCH // threads))
    state = fresh(settings, config)
    rng = np.random.default_rng(0)
    pixels = rng.normal(size=(BATCH, 3, SIZE, SIZE)).astype(np.float32)
    labels = rng.integers(config.num_labels, size=BATCH)
    nested = unflatten(state.arrays["params"])
    piece = pixels[: settings.microbatch], nested, config
    with ThreadPoolExecutor(threads) as pool:
        contenders = {"pvt_numpy": lambda: step(state, Batch(pixels, labels), settings.rate, pool),
                      "forward": lambda: forward(*piece),
                      "both ways": lambda: loss_and_gradients(*piece, labels[: settings.microbatch])}  # fmt: skip
        if not missing_packages():
            contenders["PyTorch"] = torch_step(config, nested, pixels, labels, settings, threads)
        times = take_turns({name: timed(work) for name, work in contenders.items()}, runs, WARM_UP)
    share = median(times.pop("forward")) / median(times.pop("both ways"))
    row = compared(times, {})
    print(f"one step, {BATCH} pictures of {SIZE} x {SIZE}, {threads} threads, median of {runs}")
    for name in times:
        elapsed, ratio = row[f"{name}_ms"], row.get(f"ratio_to_{name}", 1)
        print(f"{name:<9}  {elapsed:7.1f} ms  {1000 * BATCH / elapsed:6.0f} pictures/s   ratio {ratio:.2f}")
    print(f"forward alone is {share:.0%} of forward and backward: about what computing it again costs")


def torch_step(config, nested, pixels, labels, settings, threads):
    """The same step with transformers' model, as a function without arguments."""
    import torch

    torch.set_num_threads(threads)
    model = hf_model(nested, config).train()
    for parameter in model.parameters():  # of its own memory, for ours trains too
        parameter.data = parameter.data.clone()
        parameter.requires_grad_(True)
    adamw = torch.optim.AdamW(model.parameters(), lr=settings.rate, weight_decay=settings.decay)
    measure = torch.nn.CrossEntropyLoss(label_smoothing=settings.smoothing)
    x, y = torch.from_numpy(pixels), torch.from_numpy(labels)

    def call():
        adamw.zero_grad()
        measure(model(x).logits, y).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        adamw.step()

    return call
