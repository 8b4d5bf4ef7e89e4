"""`python -m pvt_numpy.validate [SOURCE]`: the model here and in PyTorch, layer by layer, and the first that departs.

With PyTorch installed the reference is Hugging Face transformers, run now on the same weights and the same picture
(with the official pair of epsilons if the model has it). Without it the golden numbers in `reference/` are checked
instead, which PyTorch wrote once: for the model that ships, its own; for any other, its architecture's. The comparison
itself is `reference/cases.py`.

`--break` puts one of the classic porting mistakes in and shows what such a report looks like. The comparison is in
float64 unless asked otherwise, for float32's rounding hides the smaller mistakes: a wrong epsilon, for instance.
`--plain` checks the formulas of `layers/` themselves, without the faster twins of `fast/`.

For a port to another language, `--dump` writes every number of a pass into a folder of files, and `--against` compares
a folder that the port wrote, named in the same way, whole or in part: it names the first array that departs and the
mistake that gives these very numbers. pvt_numpy/reference/PORTING.md is the page on it.

examples:
  python -m pvt_numpy.validate                                    the model that ships
  python -m pvt_numpy.validate pvt_v2_b2 --image photo.jpg        a published model (downloads it on first use)
  python -m pvt_numpy.validate --random pvt_tiny --break pos      what a misread position table looks like
  python -m pvt_numpy.validate --variants                         the table in pvt_numpy/reference/README.md
  python -m pvt_numpy.validate --dump numbers --toy v2            every number of a tiny model, as files
  python -m pvt_numpy.validate --against my_port --toy v2         what a port made of them

exit status: 0 every layer agrees, or all is written; 1 one departs, or something failed, said on stderr; 2 wrong usage
"""

import contextlib
import json
import math
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np

from .analysis.observe import place
from .checkpoints.checkpoint import Model, describe
from .config import VARIANTS
from .fast import plain
from .layers.twins import TWINS
from .model import forward
from .options import add_model_options, check_weights_unasked, model_from
from .pictures.processor import preprocess
from .pictures.recipes import PICTURE_CHANNELS, RECIPES
from .reference import against
from .reference.cases import compare, golden_case, live_case
from .reference.comparison import TOLERANCES, first_departure
from .reference.dump import write_dump
from .reference.golden import params_hash, seeded_params, seeded_pixels
from .reference.mistakes import MISTAKES, OF_A_MODEL, made
from .reference.pytorch import missing_packages
from .reference.toys import TOYS, toy
from .system.checks import wrong
from .system.cli import command_parser, printable, run, say_working
from .system.files import atomic_folder
from .system.paths import SAMPLE_PICTURE

MISTAKE_WIDTH = max(map(len, OF_A_MODEL))
PLAIN = "run: the formulas of layers/, without the faster twins of fast/"
SEED = 1  # of the random weights; the noise picture's is one more


def main(argv=None):
    """The command. Returns its exit status."""
    listed = "".join(f"  {name:{MISTAKE_WIDTH}} {MISTAKES[name].text}\n" for name in OF_A_MODEL)
    parser = command_parser("validate", __doc__, f"mistakes for --break:\n{listed}\n")
    one_of = add_model_options(parser, positional=True)
    one_of.add_argument("--random", metavar="VARIANT", choices=VARIANTS, help="random weights of a published variant "
                        "instead: " + ", ".join(VARIANTS))  # fmt: skip
    one_of.add_argument("--toy", choices=[*TOYS, "all"], nargs="?", const="all", help="for --dump, --against: a tiny "
                        "model with random weights; without a name all of them, each in a folder inside")  # fmt: skip
    parser.add_argument("--image", metavar="FILE", help="default: the sample picture (golden or random: noise)")
    parser.add_argument("--dtype", choices=TOLERANCES, help="default: float64")
    parser.add_argument("--break", dest="mistake", choices=OF_A_MODEL, metavar="NAME",
                        help="put one of the mistakes in that are listed below")  # fmt: skip
    parser.add_argument("--golden", action="store_true", help="check the golden numbers even with PyTorch installed")
    one_of.add_argument("--variants", action="store_true", help="a Markdown table of all eleven variants, with random "
                        "weights, and of the model that ships, each in float64 and in float32")  # fmt: skip
    files = parser.add_mutually_exclusive_group()
    files.add_argument(
        "--dump", metavar="DIR", help="write parameters and intermediates as .npy files into a new folder"
    )
    files.add_argument("--against", metavar="DIR", help="compare a folder of arrays that another program wrote; the "
                       "model may be left out if the manifest of a toy's or --random's dump is there")  # fmt: skip
    parser.add_argument("--gradients", action="store_true", help="with --dump: one backward pass, too")
    parser.add_argument("--raw", action="store_true", help="with --dump: little-endian numbers alone, not .npy")
    parser.add_argument("--plain", action="store_true", help="run the formulas of layers/, not their faster twins")
    parser.add_argument("--json", action="store_true", help="one JSON object per model and line, for programs")
    options = parser.parse_args(argv)
    if options.variants and (options.image or options.mistake or options.dtype):
        parser.error("--variants: found --image, --break or --dtype beside it; expected none of them")
    if (options.gradients or options.raw) and not options.dump:
        parser.error("--gradients, --raw: found no --dump; expected it beside them")
    if options.toy and (options.image or not (options.dump or options.against)):
        parser.error("--toy: expected --dump or --against beside it, and no --image")
    if (options.dump or options.against) and (options.variants or options.golden):
        parser.error("--dump, --against: found --variants or --golden; expected a model to run here")
    if options.against and options.mistake or options.dump and options.json:
        parser.error("found --against with --break, or --dump with --json; expected one without the other")
    if unread := options.random or options.toy or ("--variants" if options.variants else None):
        check_weights_unasked(options, unread)
    options.dtype = options.dtype or "float64"

    with plain() if options.plain else contextlib.nullcontext():
        if options.against:
            return max([compare_with(one) for one in each_toy(options)])
        return dump(options) if options.dump else work(options)


def dump(options):
    """Writes the folder that the options name; returns the exit status."""
    with atomic_folder(options.dump) as folder:  # refused before the work
        for one in each_toy(options):
            title, model, pixels = model_and_pixels(one, one.random, one.dtype)
            say_working("computing")
            about = {"model": title, "toy": one.toy, "random": one.random, "mistake": one.mistake}
            inside = folder if one is options else folder / one.toy
            inside.mkdir(exist_ok=True)
            with made(one.mistake) if one.mistake else contextlib.nullcontext():
                count = write_dump(inside, model.config, model.params, pixels, about, one.gradients, one.raw)
            print(f"{printable(one.dump)}: {count} arrays and a manifest; {printable(title)}")
    return 0


def each_toy(options):
    """The options, or those for each toy, with its own folder inside, if they name all toys."""
    if options.toy != "all":
        return [options]
    way = "dump" if options.dump else "against"
    return [Namespace(**vars(options) | {"toy": name, way: str(Path(vars(options)[way]) / name)}) for name in TOYS]


def compare_with(options):
    """Compares a folder that another program wrote and prints the findings; returns the exit status."""
    manifest = against.read_manifest(options.against)
    if not (options.model or options.toy or options.random):
        options.toy, options.random = manifest.get("toy"), manifest.get("random")
        if options.toy not in (None, *TOYS) or options.random not in (None, *VARIANTS):
            raise wrong(options.against, "a manifest of an unknown toy or variant", "one that validate --dump wrote")
    title, model, pixels = model_and_pixels(options, options.random, options.dtype)
    if manifest.get("params_sha256", params_hash(model.params)) != params_hash(model.params):
        raise wrong(
            options.against, f"the manifest of another model than {title}", "that model: SOURCE, --toy, --random"
        )
    say_working("comparing")
    found = against.examine(options.against, model.config, model.params, pixels, options.dtype)
    print(json.dumps(against.as_dict(found, title)) if options.json else against.report(found, title))
    return int(found.first is not None)


def work(options):
    """Compares what the options name and prints the result; returns the exit status."""
    missing = [] if options.golden else missing_packages()
    live = not (missing or options.golden)
    if options.variants:
        return table(options, live)
    say_working("comparing with PyTorch" if live else "comparing with golden numbers")
    case = make_case(options, options.random, options.dtype, live)
    rows = compare(case, options.mistake)
    to = sys.stderr if options.json else None
    if missing:
        print(f"not installed: {', '.join(missing)}; checking golden numbers instead, written once by PyTorch", file=to)
    if options.image and not live:
        print(f"{printable(options.image)} is not used: golden numbers are those of a picture of noise", file=to)
    if options.json:
        print(json.dumps(as_dict(case, rows, options.dtype, options.mistake)))
    else:
        print(report(case, rows, options.dtype, options.mistake))
    return int(first_departure(rows, TOLERANCES[options.dtype]) is not None)


def make_case(options, variant, dtype, live):
    """The case of a variant with random weights, or else of the model that the options name."""
    if not live:
        return golden_case(variant or model_from(options, dtype), dtype)
    return live_case(*model_and_pixels(options, variant, dtype))


def model_and_pixels(options, variant, dtype):
    """(title, `Model`, pixels) of a toy, of a variant with random weights, or of the model that the options name."""
    kind = np.dtype(dtype).type
    if options.toy:
        config, params, pixels = toy(options.toy, kind)
        return f"the toy {options.toy}, random weights; picture: noise", Model(config, params), pixels
    if variant:
        params, title = seeded_params(VARIANTS[variant], SEED, kind), f"{variant}, random weights"
        model = Model(VARIANTS[variant], params, None, RECIPES["hf"])
    else:
        model = model_from(options, dtype)
        title = describe(model)
    sample = not variant and model.config.num_channels in PICTURE_CHANNELS and SAMPLE_PICTURE.is_file()
    picture = options.image or (SAMPLE_PICTURE if sample else None)
    if picture:
        pixels, shown = preprocess(picture, **model.preprocessing).astype(dtype), f" {Path(picture).name}"
    else:
        pixels, shown = seeded_pixels((1, model.config.num_channels, *model.config.image_hw), SEED + 1, kind), ": noise"
    return f"{title}; picture{shown}", model, pixels


def as_dict(case, rows, dtype, mistake=None):
    """The result for a program."""
    first = first_departure(rows, TOLERANCES[dtype])
    layers = [{key: value if key == "name" or math.isfinite(value) else None for key, value in row._asdict().items()}
              for row in rows]  # fmt: skip
    return {"model": case.title, "reference": case.reference, "golden": case.golden, "dtype": dtype, "break": mistake,
            "plain": not TWINS, "tolerance": TOLERANCES[dtype], "first_departure": first and first.name,
            "layers": layers}  # fmt: skip


def report(case, rows, dtype, mistake=None):
    """The result for a reader: a line for each layer, then the verdict."""
    tolerance = TOLERANCES[dtype]
    first = first_departure(rows, tolerance)
    width = max(len(row.name) for row in rows)
    lines = [printable(case.title), f"reference: {case.reference}"]
    if not TWINS:
        lines.append(PLAIN)
    if mistake:
        lines.append(f"mistake put in: {MISTAKES[mistake].text}")
    lines += [f"{dtype}; tolerance {tolerance:g}, relative to the largest number of the layer", "",
              f"{'layer':{width}}  {'max abs':>8}  {'mean abs':>8}  {'relative':>8}"]  # fmt: skip
    for row in rows:
        mark = "  <- first to depart" if row is first else "  departs" if row.departs(tolerance) else ""
        numbers = "  ".join(f"{number:8.1e}" for number in row[1:])
        lines.append(f"{row.name:{width}}  {numbers}{mark}")
    shown = first or max(rows, key=lambda row: row.relative)
    where = f"{shown.name} ({place(shown.name)})" if place(shown.name) else shown.name
    verdict = f"first layer that departs: {where}, by {first.relative:.1e}" if first else (
        f"all {len(rows)} agree; the largest relative difference is {shown.relative:.1e}, in {where}")  # fmt: skip
    return "\n".join([*lines, "", verdict])


def table(options, live):
    """Prints the table of all variants, a row as soon as it is known; returns the exit status."""
    status = 0
    if not options.json:
        print(f"reference: {'transformers, run now' if live else 'golden numbers, written once by PyTorch'}")
        print("" if TWINS else f"{PLAIN}\n")
        print("| model | layers compared | float64: largest relative difference | float64: logits, absolute "
              "| float32: largest relative difference | float32: logits, absolute | same top 5 |\n"
              + "|---" * 7 + "|")  # fmt: skip
    for variant in [*VARIANTS, None]:
        cells = []
        for dtype in TOLERANCES:
            case = make_case(options, variant, dtype, live)
            rows = compare(case)
            status |= first_departure(rows, TOLERANCES[dtype]) is not None
            if options.json:
                print(json.dumps(as_dict(case, rows, dtype)), flush=True)
            cells += [f"{max(row.relative for row in rows):.1e}", f"{rows[-1].max_abs:.1e}"]
        if not options.json:
            print(f"| {variant or 'the model that ships'} | {len(rows)} | {' | '.join(cells)} "
                  f"| {'yes' if same_top(case) else 'no'} |", flush=True)  # fmt: skip
    return int(status)


def same_top(case, k=5):
    """Whether the k largest logits are the same labels in the same order."""
    ours = forward(case.pixels, case.params, case.config).logits
    return bool((np.argsort(-ours)[:, :k] == np.argsort(-case.expected["logits"])[:, :k]).all())


if __name__ == "__main__":
    run(main, "validate")
