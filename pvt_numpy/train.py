"""Trains a small PVT v1 from nothing, in NumPy alone.

    python -m pvt_numpy.train shapes --out runs/shapes --image-size 32 --epochs 8
    python -m pvt_numpy.train photos/train --val photos/val --out runs/photos
    python -m pvt_numpy.train --resume runs/photos

DATA is a folder with one subfolder of photos for each class, or the word `shapes`: coloured shapes, drawn as they are
needed. The output folder gets checkpoint.safetensors (all that --resume needs, after every epoch), log.csv, curve.png
and at the end model.safetensors, which every other command reads. Ctrl-C saves and stops.
"""

import argparse
import signal
import sys
import time
from dataclasses import fields
from pathlib import Path

from .checkpoint import Model, save_model
from .cli import run
from .config import PvtConfig
from .parameters import unflatten
from .training import benchmark, data, loop, report, state

NAME = "pvt_numpy.train"
NANO = {"hidden_sizes": (32, 64, 128, 192), "depths": (2, 2, 2, 2), "num_attention_heads": (1, 2, 4, 4),
        "mlp_ratios": (4, 4, 4, 4), "sequence_reduction_ratios": (4, 2, 1, 1), "patch_sizes": (4, 2, 2, 1),
        "strides": (4, 2, 2, 1), "layer_norm_eps": 1e-6}  # fmt: skip


def nano_config(image_size, num_labels, drop_path_rate=0.1):
    """PVT v1 for small pictures: 1.5 million parameters; at 64 pixels grids of 16, 8, 4 and 4 tokens a side.

    The last stage keeps the grid of the third, for a 2 x 2 grid would leave its class token little to look at.
    """
    return PvtConfig(image_size=image_size, num_labels=num_labels, drop_path_rate=drop_path_rate, **NANO)


def main(arguments=None):
    """Parses the arguments, trains, and returns an exit status."""
    options = parser().parse_args(arguments)
    if options.benchmark:
        benchmark.benchmark(nano_config(benchmark.SIZE, 10), options.threads)
        return 0
    if (options.resume is None) == (options.data is None):
        parser().error("expected either DATA with --out FOLDER, or --resume FOLDER")
    if options.resume is not None:
        folder = Path(options.resume)
        training = state.read_state(folder / "checkpoint.safetensors")
        task = make_task(training.settings, training.config.image_size)
    else:
        if options.out is None:
            parser().error("DATA needs --out FOLDER")
        folder = Path(options.out)
        if (folder / "checkpoint.safetensors").exists():
            raise ValueError(f"{folder}: holds a training already; go on with --resume, or choose another folder")
        settings = state.Settings(**{f.name: getattr(options, f.name) for f in fields(state.Settings)})
        task = make_task(settings, options.image_size)
        training = state.fresh(settings, nano_config(options.image_size, len(task.labels), options.drop_path))
        folder.mkdir(parents=True, exist_ok=True)
    return work(training, task, folder, options.threads)


def parser():
    """The command's arguments; those of a training itself have the names and defaults of `Settings`."""
    known = argparse.ArgumentParser(prog=f"python -m {NAME}", description=__doc__.split("\n\n")[0],
                                    epilog="\n\n".join(__doc__.split("\n\n")[1:]),
                                    formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    known.add_argument("data", nargs="?", metavar="DATA", help="a folder of photos, or the word shapes")
    known.add_argument("--out", metavar="FOLDER", help="where to write")
    known.add_argument("--resume", metavar="FOLDER", help="go on with the training in this folder, with its settings")
    known.add_argument("--benchmark", action="store_true", help="time a training step, PyTorch beside it, and stop")
    known.add_argument("--image-size", type=int, default=64, help="pixels of a side (default 64)")
    known.add_argument("--drop-path", type=float, default=0.1, help="drop path rate of the last block (default 0.1)")
    known.add_argument("--threads", type=int, default=2, help="pieces of a batch computed side by side (default 2); "
                       "set OPENBLAS_NUM_THREADS=1 beside it")  # fmt: skip
    helps = {
        "validation": "a folder of photos to measure with", "epochs": "passes over the data",
        "minutes": "end the schedule after this time at the latest", "batch": "pictures a step",
        "microbatch": "pictures computed at a time, for memory", "rate": "highest learning rate",
        "warmup": "share of the training with a rising learning rate", "decay": "weight decay",
        "clip": "longest gradient", "smoothing": "label smoothing", "averaging": "of the weights, per step",
        "smallest_crop": "least share of a photo's area", "jitter": "of brightness, contrast and saturation",
        "keep_size": "photos are kept in memory at this size (3/2 of image size)",
        "measure_every": "epochs from one measurement to the next",
        "drawn": "pictures an epoch of shapes",
        "seed": "of all random numbers",
    }  # fmt: skip
    kinds = {"validation": str, "minutes": float, "keep_size": int}
    for f in fields(state.Settings):
        if f.name == "data":
            continue
        flags = ["--" + f.name.replace("_", "-")] + (["--val"] if f.name == "validation" else [])
        shown = helps[f.name] if f.default is None else f"{helps[f.name]} (default {f.default})"
        known.add_argument(*flags, dest=f.name, type=kinds.get(f.name, type(f.default)), default=f.default, help=shown)
    return known


def make_task(settings, image_size):
    """The data that the settings name."""
    if settings.data == "shapes":
        return data.shapes_task(image_size, settings.seed, settings.drawn)
    return data.folder_task(settings.data, settings.validation, image_size, settings.keep_size,
                            settings.smallest_crop, settings.jitter)  # fmt: skip


def work(training, task, folder, threads):
    """Trains, writes after every epoch, and returns 0, or 130 where Ctrl-C stopped it."""
    settings, checkpoint = training.settings, folder / "checkpoint.safetensors"
    asked = []
    handlers = {kind: signal.signal(kind, lambda *_: asked.append(True)) for kind in (signal.SIGINT, signal.SIGTERM)}
    count = sum(p.size for p in training.arrays["params"].values())
    print(f"{count:,} parameters, {len(task.labels)} classes, {task.size:,} pictures an epoch; writing to {folder}",
          flush=True)  # fmt: skip
    clock, pictures = time.perf_counter(), 0

    def after_step(training):
        nonlocal pictures
        pictures += min(settings.batch, task.size)
        if sys.stdout.isatty():
            speed = pictures / (time.perf_counter() - clock)
            mean = training.sums[0] / training.sums[2]
            print(f"\rstep {training.step}  loss {mean:.3f}  {speed:.0f} images/s ", end="", flush=True)

    def after_epoch(training):
        nonlocal clock, pictures
        speed = pictures / (time.perf_counter() - clock)
        print(("\r" if sys.stdout.isatty() else "") + report.epoch_line(training.history[-1], speed), flush=True)
        save(training)
        clock, pictures = time.perf_counter(), 0

    def save(training):
        state.write_state(checkpoint, training)
        report.write_csv(folder / "log.csv", training.history)

    try:
        complete = loop.train(training, task, threads, lambda: bool(asked), after_step, after_epoch)
    except FloatingPointError as error:
        raise ValueError(str(error)) from None
    finally:
        for kind, handler in handlers.items():
            signal.signal(kind, handler)
    save(training)
    if not complete:
        print(f"\nstopped after step {training.step}, saved; go on with: python -m {NAME} --resume {folder}")
        return 130
    finish(training, task, folder)
    return 0


def finish(training, task, folder):
    """Writes the averaged model and the curve."""
    origin = {"format": "pvt_numpy", "source": f"trained with python -m {NAME}", "recipe": "hf"}
    model = Model(training.config, unflatten(training.arrays["average"]), task.labels, task.preparation, origin)
    save_model(folder / "model.safetensors", model)
    try:
        report.draw_curve(folder / "curve.png", training.history)
    except ImportError:
        print("no curve.png: matplotlib is not installed")
    print(f"done: {folder / 'model.safetensors'}")


if __name__ == "__main__":
    run(main, NAME)
