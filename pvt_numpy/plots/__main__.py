"""`python -m pvt_numpy.plots PICTURE IMAGE`: draws one of the pictures into a file. No display is needed."""

import argparse
from types import SimpleNamespace

import numpy as np

from .. import plots
from ..checkpoints.checkpoint import load_model
from ..config import VARIANTS, stage_grids
from ..model import forward
from ..options import add_model_options, model_from
from ..pictures.processor import preprocess
from ..pictures.recipes import at_size
from ..system.cli import image_size, printable, run, say_working

EPILOG = """pictures (those in brackets need no IMAGE):
{pictures}

examples:
  python -m pvt_numpy.plots pyramid notebooks/golf_ball.jpg -o pyramid.png
  python -m pvt_numpy.plots attention notebooks/golf_ball.jpg --stage 2 --block 1 --query 120,100
  python -m pvt_numpy.plots cost --model pvt_v2_b2 -o cost.pdf

exit status: 0 drawn; 1 failed, said on stderr; 2 wrong usage"""


def _attention(given):
    return plots.attention(given.photo, given.trace, given.config, stage=given.stage or 0, block=given.block or 0,
                           head=given.head, pixel=given.query)  # fmt: skip


def _stages(given):
    block = -1 if given.block is None else given.block
    return plots.attention_stages(given.photo, given.trace, given.config, block=block, pixel=given.query)


def _rollout(given):
    last = given.config.num_encoder_blocks - 1
    stage = last if given.stage is None and given.query else given.stage
    return plots.rollout(given.photo, given.trace, given.config, stage=stage, pixel=given.query)


def _patches(given):
    """The given model beside a published one of the other generation."""
    both = {"v1": VARIANTS["pvt_tiny"], "v2": VARIANTS["pvt_v2_b0"]}
    both["v1" if given.config.model_type == "pvt" else "v2"] = given.config
    return plots.patches(given.photo, both, pixel=given.query)


def _positions(given):
    if given.config.model_type != "pvt":
        raise ValueError("this model has no position table; expected PVT v1 (--model pvt_tiny, for instance)")
    stage = given.stage or 0
    if not 0 <= stage < given.config.num_encoder_blocks:
        raise ValueError(f"stage is {stage}; expected 0 to {given.config.num_encoder_blocks - 1}")
    H, W = given.config.image_hw
    resized = stage_grids(given.config, given.image_size or (H, W * 3 // 2))[stage]
    table = given.params["stages"][stage]["pos_embed"]
    return plots.positions(table, stage_grids(given.config)[stage], resized, title=f"position table of stage {stage}")


def _difference(given):
    def load(dtype):
        model = load_model(given.model, dtype=dtype, local_files_only=given.local_files_only)
        return model.params, model.config

    say_working("comparing with PyTorch in float64 and float32")
    try:
        lines = plots.live(load, given.pixels)
    except ImportError:
        if given.model is not None:
            raise ValueError("comparing another model than the shipped one needs PyTorch and transformers: "
                             "pip install -r requirements-torch.txt") from None  # fmt: skip
        title = "difference to PyTorch's golden numbers, layer by layer (a picture of noise; PyTorch is not installed)"
        return plots.difference(plots.from_golden("shipped", load), title=title)
    return plots.difference(lines)


# name -> (does it need an IMAGE?, what it shows, how it is drawn)
PICTURES = {
    "pyramid": (True, "the picture and its four stages, to scale",
                lambda given: plots.pyramid(given.photo, [given.trace[f"stages.{i}"] for i in range(given.stages)])),
    "patches": (True, "which pixels a token is made from, without and with overlap (--query)",
                _patches),
    "kernels": (False, "the first patch embedding's kernels",
                lambda given: plots.kernels(given.params["stages"][0]["patch_embed"]["proj"]["weight"])),
    "attention": (True, "one token asks: every head (--stage, --block, --head, --query)", _attention),
    "stages": (True, "the same place asks in all stages (--block, --query)", _stages),
    "statistics": (True, "entropy and attention distance of every head",
                   lambda given: plots.statistics(given.trace, given.config)),
    "class-token": (True, "what v1's class token reads in the last stage",
                    lambda given: plots.class_attention(given.photo, given.trace, given.config)),
    "rollout": (True, "attention followed back to the picture, from the head or from --query in --stage", _rollout),
    "positions": (False, "v1's position table (--stage), and resized for --image-size", _positions),
    "cost": (False, "what attention costs as the picture grows", lambda given: plots.cost(given.config)),
    "difference": (True, "the difference to PyTorch, layer by layer", _difference),
}  # fmt: skip


def pixel(text):
    """An argparse type: "Y,X" as (y, x)."""
    parts = text.split(",")
    if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a pixel's row and column such as 112,80")
    return int(parts[0]), int(parts[1])


def main(argv=None):
    """The command. Returns its exit status."""
    listed = "\n".join(f"  {name if image else f'({name})':<14} {text}" for name, (image, text, _) in PICTURES.items())
    parser = argparse.ArgumentParser(
        prog="python -m pvt_numpy.plots", description="Draws what happens inside a PVT.",
        epilog=EPILOG.format(pictures=listed), formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("picture", metavar="PICTURE", choices=PICTURES, help="which picture, see below")
    parser.add_argument("image", metavar="IMAGE", nargs="?", help="the photo to run the model on")
    parser.add_argument("-o", "--output", metavar="FILE",
                        help="default: PICTURE.png; the suffix chooses the format")  # fmt: skip
    parser.add_argument("--stage", metavar="S", type=int, help="from 0 (default: the first; for a rollout "
                        "from --query the last)")  # fmt: skip
    parser.add_argument("--block", metavar="B", type=int, help="from 0; -1 is a stage's last (default: the first; for "
                        "stages the last)")  # fmt: skip
    parser.add_argument("--head", metavar="H", type=int, help="from 0 (default: all, and their mean)")
    parser.add_argument("--query", metavar="Y,X", type=pixel, help="a pixel, of the picture as the model sees it, "
                        "whose token asks (default: the middle)")  # fmt: skip
    parser.add_argument("--image-size", metavar="HxW", type=image_size, help="pixels instead of the recipe's own, 224 "
                        "or 224x320; a crop keeps its proportion")  # fmt: skip
    add_model_options(parser)
    options = parser.parse_args(argv)
    needs_image, _, draw = PICTURES[options.picture]
    if needs_image and options.image is None:
        parser.error(f"the picture {options.picture!r} needs an IMAGE; try notebooks/golf_ball.jpg")

    plots.save(draw(_given(options, needs_image)), output := options.output or f"{options.picture}.png")
    print(printable(output))
    return 0


def _given(options, needs_image):
    """What a picture is drawn from: options, model and, where an image is needed, the trace of a forward pass."""
    model = model_from(options)
    given = SimpleNamespace(**vars(options), config=model.config, params=model.params,
                            stages=model.config.num_encoder_blocks)  # fmt: skip
    if needs_image:
        recipe = at_size(model.preprocessing, options.image_size)
        given.trace, given.pixels = {}, preprocess(options.image, **recipe)
        given.photo = plots.photo_of(given.pixels, **recipe)
        if options.picture != "difference":
            logits = forward(given.pixels, model.params, model.config, trace=given.trace).logits
            if not np.isfinite(logits).all():
                raise ValueError(f"{options.image}: the model's outputs are not finite; expected numbers")
    return given


if __name__ == "__main__":
    run(main, "plots")
