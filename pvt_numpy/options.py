"""How a command names and loads a model: the options that all of them share."""

from dataclasses import replace

from .checkpoints.checkpoint import load_model
from .pictures.recipes import RECIPES


def add_model_options(parser):
    """--model, --recipe and --local-files-only, which every command that runs a model has."""
    parser.add_argument(
        "--model", metavar="SOURCE",
        help="a checkpoint file, a Hugging Face or timm folder, a published name (pvt_tiny; classify --list-models "
             "shows all) or a Hub id; by default the model that ships in weights/",
    )  # fmt: skip
    parser.add_argument(
        "--recipe", choices=sorted(RECIPES), help="how pictures are prepared; by default the model's own way"
    )
    parser.add_argument("--local-files-only", action="store_true", help="never download")


def model_from(options):
    """The model that the options of `add_model_options` ask for."""
    model = load_model(options.model, local_files_only=options.local_files_only)
    if options.recipe:
        note = f"{options.recipe}, as asked for"
        model = replace(model, preprocessing=RECIPES[options.recipe], origin=model.origin | {"recipe": note})
    return model
