"""`python -m pvt_numpy.plots FIGURE IMAGE`: draws one of the figures into a file. No display is needed.

Stages, blocks and heads count from 1; the rows and columns of --query are pixels and count from 0 at the top left.

examples:
  python -m pvt_numpy.plots pyramid notebooks/golf_ball.jpg -o pyramid.png
  python -m pvt_numpy.plots attention notebooks/golf_ball.jpg --stage 3 --block 2 --query 120,100
  python -m pvt_numpy.plots cost --model pvt_v2_b2 -o cost.pdf

exit status: 0 drawn; 1 failed, said on stderr; 2 wrong usage
"""

import argparse
import sys

from .. import plots
from ..analysis.cost import shapes
from ..analysis.observe import observe
from ..config import VARIANTS, stage_grids
from ..options import add_model_options, add_picture_options, architecture_from, model_from, model_name
from ..pictures.processor import preprocess
from ..reference.cases import by_precision, golden_case, live_case
from ..reference.pytorch import missing_packages
from ..system.checks import wrong
from ..system.cli import command_parser, printable, result_is_a_file, run, say_working
from ..system.paths import SHIPPED_V1
from .photo import telling_stage


def _over_photo(name, *options):
    """How the figure `plots.NAME` over the photo is drawn from what is given, with those of the options that are."""

    def draw(given):
        chosen = {option: value for option in options if (value := getattr(given, option)) is not None}
        return getattr(plots, name)(given.photo, given.trace, given.config, **chosen)

    return draw


def _patches(given):
    """The given model beside a published one of the other generation."""
    both = {"v1": VARIANTS["pvt_tiny"], "v2": VARIANTS["pvt_v2_b0"]}
    both["v1" if given.config.model_type == "pvt" else "v2"] = given.config
    return plots.patches(given.photo, both, pixel=given.pixel)


def _versions(given):
    """One published model of each version; the given one takes the place of its kind."""
    kinds = {name: VARIANTS[name] for name in ("pvt_small", "pvt_v2_b2", "pvt_v2_b2_li")}
    if given.model is not None:
        kind = next(name for name, one in kinds.items() if (one.model_type, one.linear_attention)
                    == (given.config.model_type, given.config.linear_attention))  # fmt: skip
        kinds = {model_name(given) if name == kind else name: given.config if name == kind else one
                 for name, one in kinds.items()}  # fmt: skip
    models = {name: (shapes(config, given.image_size), config) for name, config in kinds.items()}
    return plots.versions(models, stage=given.stage or 0)


def _positions(given):
    if given.config.model_type != "pvt":
        raise wrong("model", "a PVT v2, which has no position table", f"PVT v1, such as {SHIPPED_V1}")
    stage = telling_stage(given.config) if given.stage is None else given.stage
    resized = given.image_size and stage_grids(given.config, given.image_size)[stage]
    table = given.params["stages"][stage]["pos_embed"]
    title = f"position table of stage {stage + 1}"
    return plots.positions(table, stage_grids(given.config)[stage], resized, title=title)


def _difference(given):
    missing = missing_packages()
    say_working("comparing with PyTorch in float64 and float32")

    def case(dtype):
        model = model_from(given, dtype)
        return golden_case(model, dtype) if missing else live_case("", model, given.pixels.astype(dtype))

    exact, single = case("float64"), case("float32")
    title = "difference to PyTorch, layer by layer"
    if missing:
        title += f": golden numbers, for {missing[0]} is not installed\n{exact.title}"
    return plots.difference(by_precision(exact, single), title=title)


# name -> (what it is drawn from besides the model; what it shows; how it is drawn)
FIGURES = {
    "pyramid": ("IMAGE", "the picture and its four stages, to scale",
                lambda given: plots.pyramid(given.photo, [given.trace[f"stages.{i}"] for i in given.stages],
                                            given.config.num_channels)),
    "patches": ("IMAGE --query", "which pixels a token is made from, without and with overlap", _patches),
    "kernels": ("", "the first patch embedding's kernels",
                lambda given: plots.kernels(given.params["stages"][0]["patch_embed"]["proj"]["weight"])),
    "attention": ("IMAGE --stage --block --head --query", "one token asks: every head",
                  _over_photo("attention", "stage", "block", "head", "pixel")),
    "stages": ("IMAGE --block --query", "the same place asks in all stages",
               _over_photo("attention_stages", "block", "pixel")),
    "sra": ("IMAGE --stage --block", "one attention layer: the map, its squares, the keys, the scores, the map",
            lambda given: plots.sra(given.trace, given.config, stage=given.stage or 0, block=given.block or 0)),
    "block": ("--stage --image-size", "one block's layers as boxes, with their shapes",
              lambda given: plots.block(given.trace, given.config, stage=given.stage or 0)),
    "versions": ("--stage --image-size", "v1, v2 and v2 linear side by side, differences marked", _versions),
    "architecture": ("[IMAGE] --image-size", "the whole model on one sheet",
                     lambda given: plots.architecture(given.trace, given.config, given.photo)),
    "statistics": ("IMAGE", "entropy and attention distance of every head",
                   lambda given: plots.statistics(given.trace, given.config)),
    "class-token": ("IMAGE", "what v1's class token reads in the last stage", _over_photo("class_attention")),
    "rollout": ("IMAGE --stage --query", "attention followed back to the picture, from the head or from --query",
                _over_photo("rollout", "stage", "pixel")),
    "positions": ("--stage --image-size", "v1's position table; with --image-size also resized for it", _positions),
    "cost": ("", "what attention costs as the picture grows",
             lambda given: plots.cost(given.config)),
    "difference": ("IMAGE", "the difference to PyTorch, layer by layer", _difference),
}  # fmt: skip
NO_WEIGHTS = ("block", "versions", "architecture", "cost")  # a published name is enough, unless there is an IMAGE
OPTIONS = {"--stage": "stage", "--block": "block", "--head": "head", "--query": "pixel", "--recipe": "recipe",
           "--image-size": "image_size", "IMAGE": "image"}  # fmt: skip


def pixel_at(text):
    """An argparse type: "Y,X" as (y, x)."""
    parts = text.split(",")
    if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"found {text!r}; expected a pixel's row and column such as 112,80")
    return int(parts[0]), int(parts[1])


def main(argv=None):
    """The command. Returns its exit status."""
    listed = "\n".join(f"  {name:<12} {text} ({uses or 'no IMAGE'}{'; no weights' * (name in NO_WEIGHTS)})"
                       for name, (uses, text, _) in FIGURES.items())  # fmt: skip
    parser = command_parser("plots", __doc__, f"figures, and what each is drawn from:\n{listed}\n\n")
    parser.add_argument("figure", metavar="FIGURE", choices=FIGURES, help="which figure, see below")
    parser.add_argument("image", metavar="IMAGE", nargs="?", help="the picture to run the model on")
    parser.add_argument("-o", "--output", metavar="FILE", help="default: FIGURE.png; the suffix chooses the format")
    for name, text in (("stage", " (default: the third; for sra, block and versions the first; "
                        "for a rollout from --query the last)"),
                       ("block", "; -1 is a stage's last (default: the first; for stages the last)"),
                       ("head", " (default: all, and their mean)")):  # fmt: skip
        parser.add_argument(f"--{name}", metavar=name[0].upper(), type=int, help=f"counted from 1{text}")
    parser.add_argument("--query", dest="pixel", metavar="Y,X", type=pixel_at,
                        help="row and column, counted from 0, of a pixel of the picture as the model sees it, whose "
                        "token asks (default: the middle; for patches where light meets dark)")  # fmt: skip
    add_model_options(parser)
    add_picture_options(parser)
    given = parser.parse_args(argv)
    uses, _, draw = FIGURES[given.figure]
    needs_image, uses = "IMAGE" in uses.split(), uses.replace("[", "").replace("]", "").split()
    if needs_image or given.image is not None:
        uses += ["--recipe", "--image-size"]
    for flag, name in OPTIONS.items():
        if flag not in uses and getattr(given, name) is not None:
            expected = ", ".join(dict.fromkeys(uses)) or "nothing"
            parser.error(f"{flag}: found it for the figure {given.figure}; expected {expected} beside --model")
    missing = missing_packages() if given.figure == "difference" else []
    if needs_image and given.image is None and not missing:
        parser.error(f"IMAGE: found none; expected a picture for the figure {given.figure}, as notebooks/golf_ball.jpg")
    output = given.output or f"{given.figure}.png"
    result_is_a_file(output, given.image, given.model)
    if missing and given.image is not None:
        print(f"{printable(given.image)} is not used: without {' and '.join(missing)}, golden numbers of a picture of "
              "noise are drawn", file=sys.stderr)  # fmt: skip
    prepare(given, given.image is not None and not missing)
    plots.save(draw(given), output)
    print(printable(output))
    return 0


def prepare(given, needs_image):
    """Adds to the options what a figure is drawn from: the model, its numbering, and the trace of a forward pass."""
    if given.figure in NO_WEIGHTS and not needs_image:
        given.config, _ = architecture_from(given)
        given.stage, given.photo = from_zero("stage", given.stage, given.config.num_encoder_blocks), None
        if given.figure in ("block", "architecture"):
            given.trace = shapes(given.config, given.image_size)
        return
    model = model_from(given)
    config, params = model.config, model.params
    vars(given).update(config=config, params=params, stages=range(config.num_encoder_blocks))
    given.stage = from_zero("stage", given.stage, config.num_encoder_blocks)
    stage = given.stage if given.stage is not None else 0 if given.figure == "sra" else telling_stage(config)
    depth = min(config.depths) if given.figure == "stages" else config.depths[stage]
    given.block = given.block if given.block == -1 else from_zero("block", given.block, depth, ", or -1 for the last")
    given.head = from_zero("head", given.head, config.num_attention_heads[stage])
    if needs_image:
        given.pixels = preprocess(given.image, **model.preprocessing)
        given.photo = plots.photo_of(given.pixels, **model.preprocessing)
        if given.figure != "difference":
            _, given.trace = observe(model, given.pixels, given.image)


def from_zero(name, number, count, others=""):
    """What people count from 1 as the code counts it, from 0; None stays None."""
    if number is not None and not 1 <= number <= count:
        raise ValueError(f"--{name}: found {number}; expected 1 to {count}{others}")
    return number and number - 1


if __name__ == "__main__":
    run(main, "plots")
