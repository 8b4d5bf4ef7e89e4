"""`python -m pvt_numpy.train DATA -o FOLDER`: trains a small PVT v1 from nothing, in NumPy alone.

DATA is a folder with one sub-folder of pictures per class, or the word `shapes`: coloured shapes, drawn as they are
needed. The output folder gets checkpoint.safetensors (all that --resume needs, after every epoch), log.csv, curve.png
and at the end model.safetensors, which every other command reads. Ctrl-C saves and stops.

examples:
  python -m pvt_numpy.train shapes -o runs/shapes --image-size 32 --epochs 8
  python -m pvt_numpy.train photos/train --val photos/val -o runs/photos
  python -m pvt_numpy.train --resume runs/photos
  python -m pvt_numpy.train --benchmark --threads 1

exit status: 0 trained to the end; 1 failed, said on stderr; 2 wrong usage; 130 stopped (Ctrl-C, SIGTERM) and saved
"""

import argparse
import shlex
import sys
import time
from dataclasses import fields
from pathlib import Path

from . import plots
from .analysis.cost import memory
from .checkpoints.checkpoint import Model, save_model
from .config import PvtConfig
from .parameters import unflatten
from .system import stopping
from .system.cli import LARGEST_SIDE, command_parser, result_is_a_file, run, whole_number
from .system.memory import check_memory
from .timing import training_step
from .training import data, loop, report, state

NANO = {"hidden_sizes": (32, 64, 128, 192), "depths": (2, 2, 2, 2), "num_attention_heads": (1, 2, 4, 4),
        "mlp_ratios": (4, 4, 4, 4), "sequence_reduction_ratios": (4, 2, 1, 1), "patch_sizes": (4, 2, 2, 1),
        "strides": (4, 2, 2, 1), "layer_norm_eps": 1e-6}  # fmt: skip

STOPPING = (
    "train: stopping after this step, to save it; Ctrl-C or SIGTERM again ends at once, with the last epoch saved"
)
WRITTEN = ("checkpoint.safetensors", "log.csv", "model.safetensors", "curve.png")


SIDE, COUNT = whole_number(1, LARGEST_SIDE), whole_number(0)  # `Settings` knows the limits of each
OPTIONS = (  # the setting, its option, what stands behind it, how that is read, what it is
    ("output", "--output", "FOLDER", str, "the folder to write into; made if it is missing"),
    ("resume", "--resume", "FOLDER", str, "go on with the training in this folder, with its settings and classes"),
    ("validation", "--val", "FOLDER", str, "pictures to measure with, never trained on; a sub-folder a class"),
    ("image_size", "--image-size", "N", SIDE, "the model reads N x N pixels"),
    ("epochs", "--epochs", "N", COUNT, "times that every picture is seen"),
    ("minutes", "--minutes", "M", float, "end the schedule after this time in training steps, measuring not counted"),
    ("batch", "--batch-size", "N", COUNT, "pictures whose mean gradient makes one step"),
    ("microbatch", "--microbatch-size", "N", COUNT, "pictures computed at a time: fewer need less memory"),
    ("rate", "--learning-rate", "X", float, "how far a step goes at most: after the warm-up, before it falls to 0"),
    ("warmup", "--warmup", "X", float, "share of the training in which the learning rate rises"),
    ("decay", "--weight-decay", "X", float, "how strongly each step pulls the matrices towards 0"),
    ("clip", "--clip", "X", float, "a longer gradient is shortened to this length"),
    ("smoothing", "--label-smoothing", "X", float, "share of the truth spread over all labels, against overconfidence"),
    ("averaging", "--averaging", "X", float, "how much of the averaged weights stays at each step"),
    ("drop_path", "--drop-path", "X", float, "how often the last block is skipped; earlier blocks less often"),
    ("smallest_crop", "--smallest-crop", "X", float, "least share of a picture's area that a crop aims at"),
    ("jitter", "--jitter", "X", float, "how much brightness, contrast and saturation vary"),
    ("keep_size", "--keep-size", "N", SIDE, "pictures kept in memory at N x N pixels (default 3/2 of --image-size)"),
    ("measure_every", "--measure-every", "N", COUNT, "epochs from one measurement to the next"),
    ("drawn", "--drawn", "N", COUNT, "pictures an epoch of shapes"),
    ("seed", "--seed", "N", COUNT, "where random numbers start: the same seed, the same training"),
)  # fmt: skip
FLAGS = {name: flag for name, flag, *_ in OPTIONS} | {"skip_unreadable": "--skip-unreadable"}


def nano_config(image_size, num_labels, drop_path_rate=0.1):
    """PVT v1 for small pictures: 1.6 million parameters; at 64 pixels grids of 16, 8, 4 and 4 tokens a side.

    The last stage keeps the grid of the third, for a 2 x 2 grid would leave its class token little to look at.
    """
    return PvtConfig(image_size=image_size, num_labels=num_labels, drop_path_rate=drop_path_rate, **NANO)


def main(argv=None):
    """The command. Returns its exit status."""
    parser = make_parser()
    options = vars(parser.parse_args(argv))  # holds only what was given, but for data, benchmark and threads
    source, timed, threads = (options.pop(key) for key in ("data", "benchmark", "threads"))
    others = [source] * bool(source) + [FLAGS[name] for name in options if name != "resume"]
    if timed:
        if others or "resume" in options:
            found = (others or ["--resume"])[0]
            parser.error(f"--benchmark: found {found} beside it; expected --threads at most")
        training_step.benchmark(nano_config(training_step.SIZE, 10), threads)
        return 0
    if "resume" in options:
        if others:
            parser.error(f"--resume: found {others[0]} beside it; expected nothing, for its settings are its own")
        folder = Path(options["resume"])
        training = state.read_state(folder / "checkpoint.safetensors")
        state.check_labels(training, data.labels_of(training.settings.data))
        check_room(training.settings, training.config, threads)
        task = make_task(training.settings, training.config.image_size)
    else:
        if not (source and options.get("output")):
            parser.error("DATA: found too little; expected either DATA with --output FOLDER, or --resume FOLDER")
        folder = Path(options.pop("output"))
        for name in WRITTEN:
            if (folder / name).exists():
                raise ValueError(f"{folder}: found a training already ({name}); expected an empty folder, or --resume")
        if source == "shapes" and "validation" in options:
            parser.error("--val: found it beside shapes, which are measured on shapes; expected a folder as DATA")
        image_size, drop_path = options.pop("image_size", 64), options.pop("drop_path", 0.1)
        try:
            settings = state.Settings(source, **options)
            config = nano_config(image_size, 2, drop_path)  # refused before pictures are read
        except ValueError as error:  # it names the setting; the user knows the option
            name, _, reason = str(error).partition(":")
            raise ValueError(f"{FLAGS.get(name.replace('drop_path_rate', 'drop_path'), name)}:{reason}") from None
        check_room(settings, config, threads)
        task = make_task(settings, image_size)
        training = state.fresh(settings, nano_config(image_size, len(task.labels), drop_path))
        folder.mkdir(parents=True, exist_ok=True)
    for change in state.enter(training, task):
        print("note:", change)
    return work(training, task, folder, threads)


def make_parser():
    """The command's arguments; those of a training itself have the names and defaults of `Settings`."""
    # no abbreviations: a setting may be added whose name begins as another's does
    parser = command_parser("train", __doc__, allow_abbrev=False)
    parser.add_argument("data", nargs="?", metavar="DATA", help="a folder of pictures, or the word shapes")
    parser.add_argument("--benchmark", action="store_true", help="time a training step, PyTorch beside it, and stop")
    parser.add_argument("--threads", type=whole_number(1, 256), metavar="N", default=2,
                        help="pieces of a batch computed side by side (default 2); "
                             "set OPENBLAS_NUM_THREADS=1 beside it")  # fmt: skip
    defaults = {f.name: f.default for f in fields(state.Settings)} | {"image_size": 64, "drop_path": 0.1}
    for name, flag, metavar, read, text in OPTIONS:
        shown = text if defaults.get(name) is None else f"{text} (default {defaults[name]})"
        parser.add_argument(*["-o"] * (name == "output"), flag, dest=name, metavar=metavar, type=read,
                            default=argparse.SUPPRESS, help=shown)  # fmt: skip
    parser.add_argument("--skip-unreadable", action="store_true", default=argparse.SUPPRESS,
                        help="leave out pictures that cannot be read; they are named in either case")  # fmt: skip
    return parser


def make_task(settings, image_size):
    """The data that the settings name."""
    if settings.data == "shapes":
        return data.shapes_task(image_size, settings.seed, settings.drawn)
    return data.folder_task(settings.data, settings.validation, image_size, settings.keep_size,
                            settings.smallest_crop, settings.jitter, settings.skip_unreadable)  # fmt: skip


def check_room(settings, config, threads):
    """Refuses pictures too large for the memory there is: before the first one is drawn or read."""
    H, W = config.image_hw
    there_and_back, there = (memory(config, (H, W), training) for training in (True, False))
    pictures = (3 * settings.batch + data.DRAWN * (settings.data == "shapes")) * 12 * H * W
    needed = pictures + threads * settings.microbatch * max(there_and_back, loop.MEASURED * there)
    check_memory("--image-size", f"{H} x {W} pixels", needed, "; --microbatch-size 1 and --threads 1 need less")


def work(training, task, folder, threads):
    """Trains, writes after every epoch, and returns 0, or 130 if Ctrl-C stopped it."""
    settings, checkpoint = training.settings, folder / "checkpoint.safetensors"
    result_is_a_file()
    count = sum(p.size for p in training.arrays["params"].values())
    clock, pictures = time.perf_counter(), 0

    def after_step(training):
        nonlocal pictures
        pictures += min(settings.batch, task.size)
        if sys.stdout.isatty():
            speed = pictures / (time.perf_counter() - clock)
            mean = training.sums[0] / training.sums[2]
            print(f"\rstep {training.step}  loss {mean:.3f}  {speed:.0f} pictures/s ", end="", flush=True)

    def after_epoch(training):
        nonlocal clock, pictures
        speed = pictures / (time.perf_counter() - clock)
        save(training)  # before anything is printed, whose reader may have gone
        print(("\r" if sys.stdout.isatty() else "") + report.epoch_line(training.history[-1], speed), flush=True)
        clock, pictures = time.perf_counter(), 0

    def save(training):
        state.write_state(checkpoint, training)
        report.write_csv(folder / "log.csv", training.history)

    with stopping.patient(STOPPING) as asked:
        save(training)  # what cannot be written is better known now
        print(f"{count:,} parameters, {len(task.labels)} classes, {task.size:,} pictures an epoch; writing to {folder}",
              flush=True)  # fmt: skip
        complete = loop.train(training, task, threads, lambda: bool(asked), after_step, after_epoch)
        save(training)
    if not complete:
        print(f"\nstopped after step {training.step}, saved; go on with: python -m pvt_numpy.train --resume "
              f"{shlex.quote(str(folder))}")  # fmt: skip
        return 130
    finish(training, task, folder)
    return 0


def finish(training, task, folder):
    """Writes the averaged model and the curve."""
    origin = {"format": "pvt_numpy.train", "recipe": "hf"}  # called by its file's name, whatever that will be
    model = Model(training.config, unflatten(training.arrays["average"]), task.labels, task.recipe, origin)
    save_model(folder / "model.safetensors", model)
    try:
        plots.save(plots.curves(training.history), folder / "curve.png", dpi=110)
    except ImportError:
        print("curve.png: found no matplotlib to draw it with; pip install matplotlib (the extra [plots])")
    print(f"done: {folder / 'model.safetensors'}")


if __name__ == "__main__":
    run(main, "train")
