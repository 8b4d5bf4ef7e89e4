"""How a command names and loads a model: the options that all of them share."""

import argparse
from dataclasses import replace

from .checkpoints.checkpoint import load_model
from .pictures.recipes import RECIPES, at_size
from .system.cli import image_size
from .system.memory import check_memory
from .system.paths import SHIPPED


def add_model_options(parser, positional=False, required=False):
    """--model and what goes with it, which every command that loads a model has; positional: the model is also what
    stands without an option's name. Returns the group of the ways to name a model, of which one may be used."""
    one_of = parser.add_mutually_exclusive_group(required=required)
    if positional:
        one_of.add_argument("model", metavar="SOURCE", nargs="?", default=argparse.SUPPRESS,
                            help="the same as --model SOURCE")  # fmt: skip
    one_of.add_argument(
        "--model", metavar="SOURCE",
        help="a checkpoint file, a Hugging Face or timm folder, a published name (pvt_tiny; classify --list-models "
             "shows all) or a Hub id" + "; by default the model that ships in weights/" * (not required),
    )  # fmt: skip
    parser.add_argument("--local-files-only", action="store_true", help="never download")
    parser.add_argument("--weights", choices=("raw", "ema"), help="of a training checkpoint that keeps both, the last "
                        "step's weights or their moving average (default: the average)")  # fmt: skip
    parser.add_argument("--prefix", help="of several PVTs in one file, that whose names start so: student.backbone")
    return one_of


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
        model = replace(model, preprocessing=at_size(model.preprocessing, size))
    return model


def model_name(options):
    """What the user calls the model."""
    return options.model or SHIPPED.stem


def classifier_from(options):
    """The same model, which must have a classifier."""
    model = model_from(options)
    if not model.config.num_labels:
        raise ValueError(f"{model_name(options)}: found no classifier (num_labels 0); expected a model with labels")
    return model
