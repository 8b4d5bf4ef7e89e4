"""`python -m pvt_numpy.benchmark`: this package against PyTorch, side by side.

Each contender runs in a process of its own with the same number of threads and waits its turn; the turns alternate, so
that a machine that slows down slows both. Printed are medians and the ratio ours / PyTorch's. The third contender is
the floor: the model's own matrix products, one BLAS call each, and nothing else. Below the table stands the cold start,
from the shell prompt to the labels of one picture (`timing/cold_start.py`).

Without PyTorch only our own times are shown. Training has a measurement of its own, `train --benchmark`.

examples:
  python -m pvt_numpy.benchmark                                              all of it, several minutes
  python -m pvt_numpy.benchmark --models pvt_v2_b2 --batch-sizes 1 8 --only forward
  python -m pvt_numpy.benchmark --models pvt_tiny --batch-sizes 1 --image-sizes 128 256 512 1024 --only forward
  python -m pvt_numpy.benchmark --only cold-start --json

columns, medians of the runs:
  GMACs           billions of multiply-adds in this forward pass, as `summary` counts them
  ours, PyTorch   milliseconds of a forward pass; PyTorch's if it and transformers are installed
  ratio           ours / PyTorch's, turn by turn
  products        the model's matrix products alone, one BLAS call each
  share           products / ours: 100 % would mean that nothing but BLAS takes time
  ms/GMAC         ours / GMACs: if it stays the same, time grows as the theory says. Most GMACs grow with the batch
                  and the pixels; SRA's score table, every token by every merged one, with the square of the pixels
                  (but linear SRA's, in pvt_v2_b2_li, with the pixels)
  memory          the largest that each process has had

exit status: 0 measured; 1 failed, said on stderr; 2 wrong usage
"""

import json
import time
from contextlib import ExitStack

from .analysis.cost import memory
from .config import VARIANTS
from .reference.pytorch import missing_packages
from .system.cli import LARGEST_SIDE, command_parser, run, whole_number
from .system.memory import check_memory
from .timing.cold_start import as_text, cold_start
from .timing.processes import ask, running
from .timing.turns import compared, take_turns

MODELS = ["pvt_tiny", "pvt_small", "pvt_v2_b0", "pvt_v2_b2", "pvt_v2_b2_li"]
WARM_UP = 2  # runs that are not counted
REST = 0.2  # seconds before each run: the threads of the one before still spin for a while, on the same cores


def main(argv=None):
    """The command. Returns its exit status."""
    parser = command_parser("benchmark", __doc__)
    parser.add_argument("--models", metavar="NAME", nargs="+", choices=sorted(VARIANTS), default=MODELS,
                        help=f"variants, with random weights (default {' '.join(MODELS)})")  # fmt: skip
    parser.add_argument("--batch-sizes", metavar="B", nargs="+", type=whole_number(1), default=[1, 8],
                        help="pictures in one forward pass (default 1 8)")  # fmt: skip
    parser.add_argument("--image-sizes", metavar="N", nargs="+", type=whole_number(32, LARGEST_SIDE), default=[224],
                        help="pixels on a side (default 224)")  # fmt: skip
    parser.add_argument("--runs", metavar="N", type=whole_number(1), default=10,
                        help="timed runs of each (default 10)")  # fmt: skip
    parser.add_argument("--threads", metavar="N", type=whole_number(1, 256), default=2, help="of each (default 2)")
    parser.add_argument("--only", choices=("forward", "cold-start"), help="one of the two measurements (default: both)")
    parser.add_argument("--without-pytorch", action="store_true", help="time this package and its floor alone")
    parser.add_argument("--json", action="store_true", help="one JSON object per row and line, for programs")
    options = parser.parse_args(argv)

    from tqdm import tqdm

    with_pytorch = not (options.without_pytorch or missing_packages())
    contenders = ["pvt_numpy", "products"] + ["pytorch"] * with_pytorch
    rows = [(name, batch, size) for name in options.models for size in options.image_sizes
            for batch in options.batch_sizes if options.only != "cold-start"]  # fmt: skip
    for name, batch, size in rows:
        found = f"{size} x {size} pixels, {batch} at a time"
        check_memory("--image-sizes", found, batch * memory(VARIANTS[name], (size, size)))
    total = len(rows) * (WARM_UP + options.runs) * len(contenders)
    total += (1 + options.runs) * (1 + with_pytorch) * (options.only != "forward")
    if rows and not options.json:
        print(HEADER, flush=True)
    with tqdm(total=total, unit=" runs", leave=False, disable=None) as bar:  # on stderr, if that is a terminal

        def show(row, in_words):
            bar.clear()
            print(json.dumps(row) if options.json else in_words(row), flush=True)

        for name, batch, size in rows:
            show(measure(contenders, name, batch, size, options.runs, options.threads, bar.update), as_line)
        if options.only != "forward":
            row = cold_start(options.runs, options.threads, with_pytorch, bar.update)
            show(row, lambda row: "\n" * bool(rows) + as_text(row))
    return 0


def measure(contenders, model, batch, image_size, runs, threads, tick):
    """Alternates the contenders; returns the medians in milliseconds, the ratios and the peak memory in MB.

    `tick` is called after every run.
    """
    with ExitStack() as stack:

        def work(contender):
            arguments = ["-m", "pvt_numpy.timing.contenders", contender, model, batch, image_size, threads]
            process = stack.enter_context(running(contender, arguments, threads))
            return process, lambda: time.sleep(REST) or ask(process, "run")

        started = {contender: work(contender) for contender in contenders}
        times = take_turns({contender: once for contender, (_, once) in started.items()}, runs, WARM_UP, tick)
        gmacs = ask(started["products"][0], "gmacs")
        peaks = {name: ask(process, "peak") for name, (process, _) in started.items() if name != "products"}
    return {"measured": "forward", "model": model, "batch": batch, "image_size": image_size, "threads": threads,
            "runs": runs, "gmacs": gmacs, **compared(times, peaks)}  # fmt: skip


HEADER = (
    f"{'model':<14} {'pixels':>6} {'batch':>5} {'GMACs':>7} {'ours':>11} {'PyTorch':>11} {'ratio':>5} "
    f"{'products':>11} {'share':>5} {'ms/GMAC':>7} {'our memory':>10} {'PyTorch':>8}"
)


def as_line(row):
    """One row of the table; dashes if PyTorch did not run."""
    torch = "pytorch_ms" in row
    theirs = f"{row['pytorch_ms']:>8.1f} ms {row['ratio_to_pytorch']:>5.2f}" if torch else f"{'-':>11} {'-':>5}"
    memory = f"{row['pytorch_peak_mb']:>5.0f} MB" if torch else f"{'-':>8}"
    return (
        f"{row['model']:<14} {row['image_size']:>6} {row['batch']:>5} {row['gmacs']:>7.2f} "
        f"{row['pvt_numpy_ms']:>8.1f} ms {theirs} {row['products_ms']:>8.1f} ms {1 / row['ratio_to_products']:>5.0%} "
        f"{row['pvt_numpy_ms'] / row['gmacs']:>7.1f} {row['pvt_numpy_peak_mb']:>7.0f} MB {memory}"
    )


if __name__ == "__main__":
    run(main, "benchmark")
