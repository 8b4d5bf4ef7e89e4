"""`python -m pvt_numpy.benchmark`: this package against PyTorch, side by side.

Each contender runs in a process of its own with the same number of threads and waits its turn; the turns alternate, so
that a machine that slows down slows both. Printed are medians and the ratio ours / PyTorch's. The third contender is
the floor: the model's own matrix products, one BLAS call each, and nothing else.

Without PyTorch only our own times are shown. Left out: accuracy, which `validate` and `evaluate` measure.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from statistics import median

from .cli import LARGEST_SIDE, run, whole_number
from .config import VARIANTS

EPILOG = """columns, medians of the runs:
  ours, PyTorch   milliseconds of a forward pass; PyTorch where requirements-torch.txt is installed
  ratio           ours / PyTorch's, turn by turn
  products        the model's matrix products alone, one BLAS call each
  share           products / ours: 100 % would mean that nothing but BLAS takes time
  memory          the largest that each process has had

examples:
  python -m pvt_numpy.benchmark
  python -m pvt_numpy.benchmark --models pvt_v2_b2 --batch-sizes 1 8 --threads 4

exit status: 0 measured; 1 failed, said on stderr; 2 wrong usage"""
WARM_UP = 2  # runs that are not counted
REST = 0.2  # seconds before each run: the threads of the one before still spin for a while, on the same cores
THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def main(argv=None):
    """The command. Returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m pvt_numpy.benchmark", description="Times this package and PyTorch side by side, float32.",
        epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--models", metavar="NAME", nargs="+", choices=sorted(VARIANTS),
                        default=["pvt_tiny", "pvt_v2_b0"],
                        help="variants, with random weights (default pvt_tiny pvt_v2_b0)")  # fmt: skip
    parser.add_argument("--batch-sizes", metavar="B", nargs="+", type=whole_number(1), default=[1],
                        help="pictures in one forward pass (default 1)")  # fmt: skip
    parser.add_argument("--image-size", metavar="N", type=whole_number(32, LARGEST_SIDE), default=224,
                        help="pixels on a side (default 224)")  # fmt: skip
    parser.add_argument("--runs", metavar="N", type=whole_number(1), default=10,
                        help="timed runs of each (default 10)")  # fmt: skip
    parser.add_argument("--threads", metavar="N", type=whole_number(1, 256), default=2, help="of each (default 2)")
    parser.add_argument("--json", action="store_true", help="one JSON object per model and line, for programs")
    parser.add_argument("--contender", help=argparse.SUPPRESS)  # what the command starts for each contender
    options = parser.parse_args(argv)
    if options.contender:
        return serve(options.contender, options.models[0], options.batch_sizes[0], options.image_size, options.threads)

    contenders = ["pvt_numpy", "products"] + ["pytorch"] * all(map(find_spec, ("torch", "transformers")))
    if not options.json:
        print(f"{'model':<14} {'batch':>5} {'ours':>10} {'PyTorch':>10} {'ratio':>6} {'products':>10} {'share':>6}"
              f" {'our memory':>11} {'PyTorch':>8}")  # fmt: skip
    for name in options.models:
        for batch in options.batch_sizes:
            result = measure(contenders, name, batch, options)
            print(json.dumps(result) if options.json else as_line(result), flush=True)
    return 0


def measure(contenders, name, batch, options):
    """Alternates the contenders; returns the medians in milliseconds, the ratios and the peak memory in MB."""
    environment = os.environ | dict.fromkeys(THREAD_SETTINGS, str(options.threads))
    arguments = ["--models", name, "--batch-sizes", batch, "--image-size", options.image_size,
                 "--threads", options.threads, "--contender"]  # fmt: skip
    started = {
        contender: subprocess.Popen(
            [sys.executable, "-m", "pvt_numpy.benchmark", *map(str, arguments), contender], env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for contender in contenders
    }  # fmt: skip
    try:
        times = {contender: [] for contender in contenders}
        for turn in range(WARM_UP + options.runs):
            for contender, process in started.items():
                time.sleep(REST)
                answer = _ask(process, "run", contender)
                if turn >= WARM_UP:
                    times[contender].append(float(answer))
        memory = {contender: float(_ask(process, "memory", contender)) for contender, process in started.items()}
    finally:
        for process in started.values():
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.stdout.close()
            process.wait()
    result = {"model": name, "batch": batch, "image_size": options.image_size, "threads": options.threads,
              "runs": options.runs}  # fmt: skip
    for contender in contenders:
        result[f"{contender}_ms"] = median(times[contender])
    for contender in contenders[1:]:  # all but ourselves
        result[f"ratio_to_{contender}"] = median(
            ours / other for ours, other in zip(times["pvt_numpy"], times[contender], strict=True)
        )
    return result | {f"{contender}_peak_mb": memory[contender] for contender in contenders if contender != "products"}


def _ask(process, question, contender):
    with contextlib.suppress(BrokenPipeError):  # it is gone: then there is no answer either
        print(question, file=process.stdin, flush=True)
    answer = process.stdout.readline()
    if not answer:
        raise ValueError(f"the contender {contender} stopped without an answer; its message is above")
    return answer


def as_line(result):
    """One row of the table; a dash where PyTorch is not installed."""
    torch = "pytorch_ms" in result
    theirs = f"{result['pytorch_ms']:>7.1f} ms {result['ratio_to_pytorch']:>6.2f}" if torch else f"{'-':>10} {'-':>6}"
    memory = f"{result['pytorch_peak_mb']:>5.0f} MB" if torch else f"{'-':>8}"
    return (
        f"{result['model']:<14} {result['batch']:>5} {result['pvt_numpy_ms']:>7.1f} ms {theirs} "
        f"{result['products_ms']:>7.1f} ms {1 / result['ratio_to_products']:>6.0%} "
        f"{result['pvt_numpy_peak_mb']:>8.0f} MB {memory}"
    )


def serve(contender, name, batch, image_size, threads):
    """A contender's process: prepares the model, then answers every "run" on stdin with the milliseconds it took."""
    work = {"pvt_numpy": _ours, "products": _products, "pytorch": _pytorch}[contender](name, batch, image_size, threads)
    for question in map(str.strip, sys.stdin):
        if question == "memory":
            print(_peak_megabytes(), flush=True)
            continue
        start = time.perf_counter()
        work()
        print((time.perf_counter() - start) * 1e3, flush=True)
    return 0


def _model(name, image_size):
    """The variant made for this size, for Hugging Face's v1 runs at no other."""
    import numpy as np

    from .parameters import init_params

    config = replace(VARIANTS[name], image_size=image_size)
    return config, init_params(config, np.random.default_rng(0))


def _pixels(batch, image_size):
    import numpy as np

    return np.random.default_rng(1).standard_normal((batch, 3, image_size, image_size), np.float32)


def _ours(name, batch, image_size, threads):
    from .model import forward

    config, params = _model(name, image_size)
    x = _pixels(batch, image_size)
    return lambda: forward(x, params, config)


def _pytorch(name, batch, image_size, threads):
    import torch

    from .pytorch import hf_model

    torch.set_num_threads(threads)
    config, params = _model(name, image_size)
    model, x = hf_model(params, config), torch.from_numpy(_pixels(batch, image_size))

    def work():
        with torch.inference_mode():
            model(x)

    return work


def _products(name, batch, image_size, threads):
    import math

    import numpy as np

    from .summary import summarise

    operands = []
    for row in summarise(VARIANTS[name], (image_size, image_size))["layers"]:
        if row["macs"] and ".dwconv" not in row["name"]:
            tokens, channels = math.prod(row["output"][:-1]), row["output"][-1]
            inner = row["macs"] // (tokens * channels)
            shapes = (batch * tokens, inner), (inner, channels), (batch * tokens, channels)
            operands.append([np.ones(shape, np.float32) for shape in shapes])
    return lambda: [np.matmul(left, right, out=product) for left, right, product in operands]


def _peak_megabytes():
    """The largest memory this process has had; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


if __name__ == "__main__":
    run(main, "benchmark")
