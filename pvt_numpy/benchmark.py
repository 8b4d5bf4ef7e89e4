"""`python -m pvt_numpy.benchmark`: this package against PyTorch, side by side.

Four measurements: forward passes; a training step (AdamW, of the small v1, on 32 pictures of 64 x 64); a folder, from
the files to the labels; and the cold start, from the shell prompt to the labels of one picture. Each contender runs in
a process of its own with the same number of threads and waits its turn; the turns alternate, so that a machine that
slows down slows both. Printed are medians and the ratio ours / PyTorch's. Beside a forward pass stands its floor: the
model's own matrix products, one BLAS call each, and nothing else.

Without PyTorch only our own times are shown.

examples:
  python -m pvt_numpy.benchmark                                              all of it, ten minutes
  python -m pvt_numpy.benchmark --busy --only forward training-step          beside a process that keeps a core busy
  python -m pvt_numpy.benchmark --models pvt_v2_b2 --batch-sizes 1 8 --only forward --extras
  python -m pvt_numpy.benchmark --models pvt_tiny --batch-sizes 1 --image-sizes 128 256 512 1024 --only forward
  python -m pvt_numpy.benchmark --only cold-start --json

columns, medians of the runs:
  GMACs           billions of multiply-adds in this forward pass, as `summary` counts them
  ours, PyTorch   milliseconds; PyTorch's if it and transformers are installed
  ratio           ours / PyTorch's, turn by turn
  products        the model's matrix products alone, one BLAS call each
  share           products / ours: 100 % would mean that nothing but BLAS takes time
  ms/GMAC         ours / GMACs: if it stays the same, time grows as the theory says. Most GMACs grow with the batch
                  and the pixels; SRA's score table, every token by every merged one, with the square of the pixels
                  (but linear SRA's, in pvt_v2_b2_li, with the pixels)
  memory          the largest that each process has had

exit status: 0 measured; 1 failed, said on stderr; 2 wrong usage
"""

import time
from contextlib import ExitStack

from .analysis.cost import memory
from .config import VARIANTS
from .options import add_threads_option
from .reference.pytorch import missing_packages
from .system.cli import LARGEST_SIDE, command_parser, run, whole_number
from .system.memory import check_memory
from .timing import tables
from .timing.contenders import EXTRAS, STEP_BATCH, STEP_SIZE
from .timing.processes import ask, running
from .timing.programs import cold_start, folder
from .timing.turns import compared, take_turns

MODELS = ["pvt_tiny", "pvt_small", "pvt_v2_b0", "pvt_v2_b2", "pvt_v2_b2_li"]
KINDS = ("forward", "training-step", "folder", "cold-start")
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
    parser.add_argument("--photos", metavar="N", type=whole_number(2), default=100,
                        help="pictures in the folder (default 100)")  # fmt: skip
    add_threads_option(parser)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS, help="some of the four (default: all)")
    parser.add_argument("--busy", action="store_true", help="beside a neighbour that keeps one core busy all the time")
    parser.add_argument("--without-pytorch", action="store_true", help="time this package and its floor alone")
    parser.add_argument("--extras", action="store_true", help="ONNX Runtime and torch.compile too, if installed")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object per row and line, for programs")
    form.add_argument("--markdown", action="store_true", help="tables in Markdown, as in timing/README.md")
    options = parser.parse_args(argv)

    from tqdm import tqdm

    pytorch = ["pytorch"] * (not (options.without_pytorch or missing_packages()))
    extras = [name for name, missing in EXTRAS.items() if pytorch and options.extras and not missing()]
    models = [(name, batch, size) for name in options.models for size in options.image_sizes
              for batch in options.batch_sizes if "forward" in options.only]  # fmt: skip
    for name, batch, size in models:
        found = f"{size} x {size} pixels, {batch} at a time"
        check_memory("--image-sizes", found, batch * memory(VARIANTS[name], (size, size)))
    jobs = [("forward", ["pvt_numpy", "products", *pytorch, *extras], *model) for model in models]
    jobs += [("training step", ["pvt_numpy", *pytorch], "nano", STEP_BATCH, STEP_SIZE)] * (
        "training-step" in options.only
    )
    programs = [(folder, 2, [options.photos])] * ("folder" in options.only)
    programs += [(cold_start, 1, [])] * ("cold-start" in options.only)
    total = (WARM_UP + options.runs) * sum(len(contenders) for _, contenders, *_ in jobs)
    total += (1 + options.runs) * (1 + len(pytorch)) * sum(processes for _, processes, _ in programs)
    show = tables.printer("json" if options.json else "markdown" if options.markdown else "text")
    with ExitStack() as stack:
        if options.busy:
            stack.enter_context(running("neighbour", ["-c", "while True: pass"], 1))
        bar = stack.enter_context(tqdm(total=total, unit=" runs", leave=False, disable=None))  # on stderr

        def show_row(row):
            bar.clear()
            show(row | {"busy": True} if options.busy else row)

        for job in jobs:
            show_row(measure(*job, options.runs, options.threads, bar.update))
        for program, _, more in programs:
            show_row(program(*more, options.runs, options.threads, bool(pytorch), bar.update))
    return 0


def measure(kind, contenders, model, batch, image_size, runs, threads, tick):
    """Alternates the contenders; returns the medians in milliseconds, the ratios and the peak memory in MB.

    `tick` is called after every run.
    """
    with ExitStack() as stack:

        def work(contender):
            arguments = ["-m", "pvt_numpy.timing.contenders", kind, contender, model, batch, image_size]
            process = stack.enter_context(running(contender, arguments, threads))
            return process, lambda: time.sleep(REST) or ask(process, "run")

        started = {contender: work(contender) for contender in contenders}
        times = take_turns({contender: once for contender, (_, once) in started.items()}, runs, WARM_UP, tick)
        counted = {"gmacs": ask(started["products"][0], "gmacs")} if "products" in started else {}
        peaks = {name: ask(process, "peak") for name, (process, _) in started.items() if name != "products"}
    return {"measured": kind, "model": model, "batch": batch, "image_size": image_size, "threads": threads,
            "runs": runs, **counted, **compared(times, peaks)}  # fmt: skip


if __name__ == "__main__":
    run(main, "benchmark")
