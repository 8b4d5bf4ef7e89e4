"""`python -m pvt_numpy.train DATA -o FOLDER`: teaches a PVT your classes, in NumPy alone.

DATA is a folder with one sub-folder of pictures per class, or the word `shapes`: coloured shapes, drawn as they are
needed. With --model it starts from a model that already sees, whose head is kept for the classes that it knows by name
and drawn for the others; without, from nothing. The output folder gets checkpoint.safetensors (all that --resume needs,
after every epoch), log.csv and at the end model.safetensors, which every other command reads, with curve.png,
confusion.png and worst.png, the worst mistakes. Ctrl-C saves and stops.

examples:
  python -m pvt_numpy.train shapes -o runs/shapes --image-size 32 --epochs 8
  python -m pvt_numpy.train photos/train --val photos/val -o runs/photos
  python -m pvt_numpy.train my_photos --val-split 0.2 --model weights/pvt_v2_b0_imagenette.safetensors \
      --freeze head-only -o runs/mine
  python -m pvt_numpy.train photos/train --val photos/val --variant pvt_v2_b0 --image-size 128 -o runs/b0
  python -m pvt_numpy.train --resume runs/photos

exit status: 0 trained to the end; 1 failed, said on stderr; 2 wrong usage; 130 stopped (Ctrl-C, SIGTERM) and saved
"""

import argparse
import shlex
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

from . import plots
from .analysis.calibration import wilson_interval
from .checkpoints.checkpoint import load_model, save_model
from .checkpoints.strict_json import read_json
from .config import VARIANTS, config_from_dict
from .fast import threads
from .model import forward
from .options import add_threads_option
from .system import stopping
from .system.checks import about, wrong
from .system.cli import LARGEST_SIDE, command_parser, result_is_a_file, run, whole_number
from .training import assess, data, loop, report, start, state
from .training.start import nano_config

STOPPING = (
    "train: stopping after this step, to save it; Ctrl-C or SIGTERM again ends at once, with the last epoch saved"
)
WRITTEN = ("checkpoint.safetensors", "log.csv", "model.safetensors", "worse.safetensors", "curve.png", "confusion.png",
           "worst.png")  # fmt: skip


SIDE, COUNT = whole_number(1, LARGEST_SIDE), whole_number(0)  # `Settings` knows the limits of each
OPTIONS = (  # the setting, its option, what stands behind it, how that is read, what it is
    ("output", "--output", "FOLDER", str, "the folder to write into; made if it is missing"),
    ("resume", "--resume", "FOLDER", str, "go on with the training in this folder, with its settings and classes"),
    ("model", "--model", "SOURCE", str, "start from this model instead of from nothing: a file, a folder, a name"),
    ("freeze", "--freeze", "WHAT", str, "what does not learn: head-only (all but the head), or stages=1,2"),
    ("variant", "--variant", "NAME", str, "without --model: what is trained, nano or a published name (default nano)"),
    ("config", "--config", "FILE", str, "without --model: what is trained, in the form of Hugging Face's config.json"),
    ("validation", "--val", "FOLDER", str, "pictures to measure with, never trained on; a sub-folder a class"),
    ("split", "--val-split", "X", float, "without --val: the share of each class that is kept back to measure with"),
    ("image_size", "--image-size", "N", SIDE, "the model reads N x N pixels"),
    ("epochs", "--epochs", "N", COUNT, "rounds through the pictures; what fills no batch waits for the next"),
    ("minutes", "--minutes", "M", float, "end the schedule after this time in training steps, measuring not counted"),
    ("batch", "--batch-size", "N", COUNT, "pictures whose mean gradient makes one step"),
    ("microbatch", "--microbatch-size", "N", COUNT, "pictures computed at a time: fewer need less memory"),
    ("rate", "--learning-rate", "X", float, "how far a step goes at most: after the warm-up, before it falls to 0"),
    ("warmup", "--warmup", "X", float, "share of the training in which the learning rate rises"),
    ("decay", "--weight-decay", "X", float, "how strongly each step pulls the matrices towards 0"),
    ("clip", "--clip", "X", float, "a longer gradient is shortened to this length"),
    ("smoothing", "--label-smoothing", "X", float, "share of the truth spread over all labels, against overconfidence"),
    ("averaging", "--averaging", "X", float, "how much of the averaged weights stays at each step"),
    ("mixup", "--mixup", "ALPHA", float, "mix two pictures, by Beta(ALPHA, ALPHA): the authors' 0.8; 0 is off"),
    ("cutmix", "--cutmix", "ALPHA", float, "paste a part of one picture into another: the authors' 1; 0 is off"),
    ("mixed", "--mixed", "X", float, "share of the batches that are mixed, if one of these two is on"),
    ("erasing", "--erasing", "X", float, "share of the pictures of which a part is painted over: the authors' 0.25"),
    ("views", "--views", "N", COUNT, "with head-only: epochs whose pictures are drawn anew, before they come again"),
    ("drop_path", "--drop-path", "X", float, "how often the last block is skipped; earlier blocks less often"),
    ("smallest_crop", "--smallest-crop", "X", float, "least share of a picture's area that a crop aims at"),
    ("jitter", "--jitter", "X", float, "how much brightness, contrast and saturation vary"),
    ("keep_size", "--keep-size", "N", SIDE, "pictures kept in memory at N x N pixels (default 3/2 of --image-size)"),
    ("measure_every", "--measure-every", "N", COUNT, "epochs from one measurement to the next"),
    ("drawn", "--drawn", "N", COUNT, "pictures an epoch of shapes"),
    ("seed", "--seed", "N", COUNT, "where random numbers start: the same seed, the same training"),
)  # fmt: skip
FLAGS = {name: flag for name, flag, *_ in OPTIONS} | {"skip_unreadable": "--skip-unreadable"}


def main(argv=None):
    """The command. Returns its exit status."""
    parser = make_parser()
    options = vars(parser.parse_args(argv))  # holds only what was given, but for data and threads
    with threads(options.pop("threads")):
        return begin_or_resume(parser, options.pop("data"), options)


def begin_or_resume(parser, source, options):
    """The same, with the threads that were asked for."""
    others = [source] * bool(source) + [FLAGS[name] for name in options if name != "resume"]
    if "resume" in options:
        if others:
            parser.error(f"--resume: found {others[0]} beside it; expected nothing, for its settings are its own")
        folder = Path(options["resume"])
        training = state.read_state(folder / "checkpoint.safetensors")
        state.check_labels(training, data.labels_of(training.settings.data))
        task = start.task_of(training)
    else:
        training, task, folder = begin(parser, source, options)
    for change in state.enter(training, task):
        print("note:", change)
    return work(training, task, folder)


def begin(parser, source, options):
    """A training that has not begun, its task and its folder, from what was given."""
    if not (source and options.get("output")):
        parser.error("DATA: found too little; expected either DATA with --output FOLDER, or --resume FOLDER")
    folder = Path(options.pop("output"))
    for name in WRITTEN:
        if (folder / name).exists():
            raise ValueError(f"{folder}: found a training already ({name}); expected an empty folder, or --resume")
    if source == "shapes" and "validation" in options:
        parser.error("--val: found it beside shapes, which are measured on shapes; expected a folder as DATA")
    shapes = [name for name in ("model", "variant", "config") if name in options]
    if len(shapes) > 1:
        parser.error(f"{FLAGS[shapes[0]]}: found {FLAGS[shapes[1]]} beside it; expected one of them")
    if "freeze" in options and "model" not in options:
        parser.error("--freeze: found no --model beside it; expected one, for what is drawn by chance has to learn")
    learned = load_model(options["model"]) if "model" in options else None
    shape, told = shape_of(options.pop("variant", "nano"), options.pop("config", None))
    options = told | options
    try:
        training, task = start.begin(source, learned, shape, **options)
    except ValueError as error:  # it names the setting; the user knows the option
        name, _, reason = str(error).partition(":")
        raise ValueError(f"{FLAGS.get(name.replace('drop_path_rate', 'drop_path'), name)}:{reason}") from None
    folder.mkdir(parents=True, exist_ok=True)
    return training, task, folder


def shape_of(variant, file):
    """The configuration of what is trained from nothing: a published name, nano, or what a JSON file says; and the
    settings of a training that such a file has."""
    if file is not None:
        values = read_json(file)
        with about(file):
            shape = config_from_dict(values)
        if len(set(shape.image_hw)) > 1:
            raise wrong(file, f"pictures of {' x '.join(map(str, shape.image_hw))}", "squares, image_size one number")
        told = {"image_size": shape.image_hw[0], "drop_path": shape.drop_path_rate}
        return shape, {name: told[name] for name in told if name.replace("drop_path", "drop_path_rate") in values}
    if variant != "nano" and variant not in VARIANTS:
        raise wrong("--variant", variant, f"nano, {', '.join(VARIANTS)}")
    return (nano_config(64, 2) if variant == "nano" else VARIANTS[variant]), {}


def make_parser():
    """The command's arguments; those of a training itself have the names and defaults of `Settings`."""
    # no abbreviations: a setting may be added whose name begins as another's does
    parser = command_parser("train", __doc__, allow_abbrev=False)
    parser.add_argument("data", nargs="?", metavar="DATA", help="a folder of pictures, or the word shapes")
    add_threads_option(parser)
    defaults = {f.name: f.default for f in fields(state.Settings)} | start.USES["from nothing"]

    def said(name):
        """The default from nothing and, if they are others, of a model and of a head that learns alone."""
        with_model, head = (start.USES[use].get(name, defaults[name]) for use in ("fine-tuning", "the head alone"))
        others = f"; with --model {with_model}, for the head alone {head}" * ({with_model, head} != {defaults[name]})
        return f"(default {defaults[name]})" + ("; with --model the recipe's" if name == "image_size" else others)

    for name, flag, metavar, read, text in OPTIONS:
        shown = text if defaults.get(name) is None else f"{text} {said(name)}"
        parser.add_argument(*["-o"] * (name == "output"), flag, dest=name, metavar=metavar, type=read,
                            default=argparse.SUPPRESS, help=shown)  # fmt: skip
    parser.add_argument("--skip-unreadable", action="store_true", default=argparse.SUPPRESS,
                        help="leave out pictures that cannot be read; they are named in either case")  # fmt: skip
    return parser


def work(training, task, folder):
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
              *report.opening(training, task), sep="\n", flush=True)  # fmt: skip
        complete = loop.train(training, task, lambda: bool(asked), after_step, after_epoch)
        save(training)
    if not complete:
        print(f"\nstopped after step {training.step}, saved; go on with: python -m pvt_numpy.train --resume "
              f"{shlex.quote(str(folder))}")  # fmt: skip
        return 130
    finish(training, task, folder)
    return 0


def finish(training, task, folder):
    """Measures the averaged model, says how it went, and writes it and its figures."""
    model = start.trained(training, task)
    pixels, labels = task.validation or (None, None)
    logits = None if labels is None else forward(pixels, model.params, model.config).logits
    name, worse = "model.safetensors", logits is not None and worse_than_before(training.history, len(labels))
    if logits is not None:
        model = replace(model, origin=model.origin | {"measured": assess.measured(logits, labels)})
        print(assess.as_text(logits, labels, task.labels))
    if worse:
        name = "worse.safetensors"
    save_model(folder / name, model)
    try:
        plots.save(plots.curves(training.history), folder / "curve.png", dpi=110)
        if logits is not None:
            print("drawn:", ", ".join(["curve.png", *assess.draw(folder, logits, pixels, labels, model)]))
    except ImportError:
        print("figures: found no matplotlib to draw them with; pip install matplotlib (the extra [plots])")
    if worse:
        raise ValueError(worse + f"; written as {folder / name}, not as model.safetensors")
    print(f"done: {folder / name}")


def worse_than_before(history, pictures):
    """What to say if the model knew more before the training, by more than chance explains; None if not."""
    if history[0]["epoch"] or "val_accuracy" not in history[-1]:
        return None
    before, after = history[0]["val_accuracy"], history[-1]["val_accuracy"]
    if after >= wilson_interval(round(before * pictures), pictures)[0]:
        return None
    return (f"the trained model: found {after:.1%} right, and {before:.1%} before the training; expected no less (a "
            "lower --learning-rate, fewer --epochs or --freeze head-only change less)")  # fmt: skip


if __name__ == "__main__":
    run(main, "train")
