"""How a command names and loads a model: the options that all of them share."""

import argparse
import re
from dataclasses import replace
from pathlib import Path

from .checkpoints.checkpoint import load_model
from .config import VARIANTS
from .fast.cores import MOST, SETTING
from .parameters import flatten, parameter_shapes
from .pictures.recipes import PICTURE_CHANNELS, RECIPES, at_size
from .system.checks import wrong
from .system.cli import image_size, whole_number
from .system.memory import check_memory
from .system.paths import SHIPPED


def add_model_options(parser, positional=False, required=False, several=False):
    """--model and what goes with it, which every command that loads a model has; positional: the model is also what
    stands without an option's name; several: it may be given again, and the option is a list. Returns the group of the
    ways to name a model, of which one may be used."""
    one_of = parser.add_mutually_exclusive_group(required=required)
    if positional:
        one_of.add_argument("model", metavar="SOURCE", nargs="?", default=argparse.SUPPRESS,
                            help="the same as --model SOURCE")  # fmt: skip
    one_of.add_argument(
        "--model", metavar="SOURCE", action="append" if several else "store",
        help="a checkpoint file, a Hugging Face or timm folder, a model's name (pvt_tiny; classify --list-models "
             "shows all) or a Hub id" + "; by default pvt_v2_b0_imagenette, which ships" * (not required)
             + "; may be given several times" * several,
    )  # fmt: skip
    parser.add_argument("--local-files-only", action="store_true", help="never download")
    parser.add_argument("--weights", choices=("raw", "ema"), help="of a training checkpoint that keeps both, the last "
                        "step's weights or their moving average (default: the average)")  # fmt: skip
    parser.add_argument("--prefix", help="of several PVTs in one file, that whose names start so: student.backbone")
    return one_of


def add_threads_option(parser):
    """--threads, for commands that compute; in Python it is `with pvt_numpy.threads(N)`."""
    parser.add_argument("--threads", metavar="N", type=whole_number(1, MOST),
                        help=f"threads that compute (default: {SETTING}, or one for each core)")  # fmt: skip


def add_picture_options(parser):
    """--recipe and --image-size, for commands that show pictures to the model."""
    parser.add_argument(
        "--recipe", choices=sorted(RECIPES), help="how pictures are prepared; by default the model's own way"
    )
    parser.add_argument("--image-size", metavar="HxW", type=image_size, help="pixels instead of the recipe's own, 224 "
                        "or 224x320; a crop keeps its proportion")  # fmt: skip


def model_from(options, dtype="float32"):
    """The model that the options ask for, with the recipe that they ask for."""
    recipe = getattr(options, "recipe", None)
    model = load_model(options.model, dtype, options.local_files_only, recipe, options.weights, options.prefix)
    if getattr(options, "image_size", None):
        from .analysis.cost import memory  # not for a picture of the model's own size: it imports the model

        size = H, W = options.image_size
        check_memory("--image-size", f"{H} x {W} pixels", memory(model.config, size))
        note = re.sub(r",? at \d+ ?x ?\d+|, as asked for", "", model.origin.get("recipe", "not recorded"))
        model = replace(model, preprocessing=at_size(model.preprocessing, size),
                        origin=model.origin | {"recipe": f"{note}, at {H} x {W}, as asked for"})  # fmt: skip
    return model


def architecture_from(options):
    """(configuration, dotted name -> shape) of that model; a published name alone needs no weights, and no download."""
    if not Path(options.model or "").exists() and options.model in VARIANTS:
        check_weights_unasked(options, options.model)
        return VARIANTS[options.model], parameter_shapes(VARIANTS[options.model])
    model = model_from(options)
    return model.config, {name: array.shape for name, array in flatten(model.params).items()}


def check_weights_unasked(options, name):
    """Refuses --weights and --prefix where no checkpoint is opened from which they could choose."""
    for flag, value in (("--weights", options.weights), ("--prefix", options.prefix)):
        if value is not None:
            raise wrong(flag, f"{value!r} for {name}, of which no file is read", "a file or a folder as the model")


def model_name(options):
    """What the user calls the model."""
    return options.model or SHIPPED.stem


def classifier_from(options):
    """The same model, which must have a classifier."""
    model = model_from(options)
    if not model.config.num_labels:
        raise ValueError(f"{model_name(options)}: found no classifier (num_labels 0); expected a model with labels")
    if (channels := model.config.num_channels) not in PICTURE_CHANNELS:
        raise wrong(model_name(options), f"a model of {channels} channels", "1, 3 or 4, as pictures have")
    return model
