"""`python -m pvt_numpy.validate [SOURCE]`: the model here and in PyTorch, layer by layer, and the first that departs.

With PyTorch installed the reference is Hugging Face transformers, run now on the same weights and the same picture
(with the official pair of epsilons where the model has it). Without it the golden numbers in `reference/` are checked
instead, which PyTorch wrote once: for the model that ships, its own; for any other, its architecture's.

`--break` puts one of the classic porting mistakes in and shows what such a report looks like. The comparison is in
float64 unless asked otherwise, for float32's rounding hides the smaller mistakes: a wrong epsilon, for instance.
"""

import argparse
import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .checkpoints.checkpoint import describe, load_model
from .config import VARIANTS, config_from_dict, variant_name
from .model import forward
from .pictures.processor import preprocess
from .reference.comparison import MISTAKES, TOLERANCES, broken, differences, first_departure
from .reference.golden import digests, params_hash, read_golden, seeded_params, seeded_pixels
from .system.cli import printable, run, say_working
from .system.paths import SAMPLE_PICTURE

SEED = 1  # of the random weights; the noise picture's is one more
EPILOG = """examples:
  python -m pvt_numpy.validate                                    the model that ships
  python -m pvt_numpy.validate pvt_v2_b2 --image photo.jpg        a published model (downloads it on first use)
  python -m pvt_numpy.validate --random pvt_tiny --break pos      what a misread position table looks like
  python -m pvt_numpy.validate --variants                         the README's table

exit status: 0 every layer agrees; 1 one departs, or something failed, said on stderr; 2 wrong usage"""


class Case(NamedTuple):
    """A model, a picture, and what they should give: a dict of arrays, or of digests where `golden`."""

    title: str
    reference: str
    config: object
    params: dict
    pixels: np.ndarray
    expected: dict
    golden: bool


def main(argv=None):
    """The command. Returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m pvt_numpy.validate", description="Compares every layer with PyTorch's.", epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("source", metavar="SOURCE", nargs="?", help="a file, a folder or a published name; "
                        "default: the model that ships")  # fmt: skip
    parser.add_argument("--random", metavar="VARIANT", choices=VARIANTS, help="random weights of a published variant "
                        "instead: " + ", ".join(VARIANTS))  # fmt: skip
    parser.add_argument("--image", metavar="FILE", help="the picture; default: a sample, or noise for random weights")
    parser.add_argument("--dtype", choices=TOLERANCES, default="float64", help="default: float64")
    parser.add_argument("--break", dest="mistake", choices=MISTAKES, help="put a mistake in: "
                        + "; ".join(f"{name}: {what}" for name, (what, _) in MISTAKES.items()))  # fmt: skip
    parser.add_argument("--golden", action="store_true", help="check the golden numbers even with PyTorch installed")
    parser.add_argument("--variants", action="store_true", help="a Markdown table of all eleven variants, with random "
                        "weights, and of the model that ships, each in float64 and in float32")  # fmt: skip
    parser.add_argument("--local-files-only", action="store_true", help="never download")
    parser.add_argument("--json", action="store_true", help="one JSON object per model and line, for programs")
    options = parser.parse_args(argv)
    if options.source and options.random:
        parser.error("SOURCE and --random exclude each other")
    if options.variants and (options.source or options.random or options.image or options.mistake):
        parser.error("--variants takes no SOURCE, --random, --image or --break")

    missing = [] if options.golden else missing_packages()
    live = not (missing or options.golden)
    if options.variants:
        return table(live, options.json)
    say_working("comparing with PyTorch" if live else "comparing with golden numbers")
    model = None if options.random else load_model(options.source, options.dtype, options.local_files_only)
    case = (live_case if live else golden_case)(model, options.random, options.image, options.dtype)
    rows = compare(case, options.mistake)
    if options.json:
        print(json.dumps(as_dict(case, rows, options.dtype, options.mistake)))
    else:
        if missing:
            print(f"not installed: {', '.join(missing)}; checking golden numbers instead, written once by PyTorch")
        if options.image and not live:
            print(f"{printable(options.image)} is not used: golden numbers are those of a picture of noise")
        print(report(case, rows, options.dtype, options.mistake))
    return int(first_departure(rows, TOLERANCES[options.dtype]) is not None)


def missing_packages():
    """Which of the packages that a live comparison needs are not installed."""
    missing = []
    for name in ("torch", "transformers"):
        try:
            __import__(name)
        except ImportError:
            missing.append(name)
    return missing


def live_case(model, random, image, dtype):
    """A model and a picture, run in PyTorch now."""
    from .pictures.recipes import RECIPES

    if random:
        config = VARIANTS[random]
        params, preprocessing = seeded_params(config, SEED, np.dtype(dtype).type), RECIPES["hf"]
        title = f"{random}, random weights"
    else:
        config, params, preprocessing = model.config, model.params, model.preprocessing
        title = describe(model)
    if image or (not random and SAMPLE_PICTURE.is_file()):
        title += f"; picture {Path(image or SAMPLE_PICTURE).name}"
        x = preprocess(image or SAMPLE_PICTURE, **preprocessing).astype(dtype)
    else:
        title += "; picture: noise"
        x = seeded_pixels((1, config.num_channels, *config.image_hw), SEED + 1, np.dtype(dtype).type)
    return _live(title, config, params, x)


def _live(title, config, params, x):
    import torch
    import transformers

    from .reference.pytorch import hf_model, hf_trace

    if config.model_type == "pvt" and x.shape[2:] != config.image_hw:
        found, expected = ("{} x {}".format(*size) for size in (x.shape[2:], config.image_hw))
        raise ValueError(f"the picture is {found} pixels for the model; Hugging Face's PVT v1 runs at {expected} only")
    module = hf_model(params, config)
    expected, _ = hf_trace(module, x, config)
    reference = f"{type(module).__name__} of transformers {transformers.__version__}, PyTorch {torch.__version__}"
    return Case(title, reference, config, params, x, expected, False)


def golden_case(model, random, image, dtype):
    """What PyTorch wrote down for this model, or else for its architecture with random weights."""
    name = random
    if not random:
        name = variant_name(model.config)
        shipped = read_golden("shipped")
        if params_hash(model.params) == shipped["params_sha256"]:
            return _golden(describe(model), shipped, model.config, model.params, dtype)
        if name is None:
            raise ValueError("there are golden numbers for the published architectures only; to compare this one live: "
                             "pip install -r requirements-torch.txt")  # fmt: skip
    golden = read_golden(name)
    config = config_from_dict(golden["config"])
    title = f"{name}, random weights" + ("" if random else ", for these weights there are no golden numbers")
    return _golden(title, golden, config, seeded_params(config, golden["params"]["seed"], np.dtype(dtype).type), dtype)


def _golden(title, golden, config, params, dtype):
    x = seeded_pixels(golden["pixels"]["shape"], golden["pixels"]["seed"], np.dtype(dtype).type)
    versions = golden["versions"]
    reference = (f"golden numbers in golden_numbers/{golden['model']}.json, by {golden['reference']} "
                 f"(transformers {versions['transformers']}, PyTorch {versions['torch']})")  # fmt: skip
    return Case(f"{title}; picture: noise", reference, config, params, x, golden["numbers"], True)


def compare(case, mistake=None):
    """Our run of the case, with a mistake in it or not, against what is expected: a list of `Difference`."""
    config, params = broken(mistake, case.config, case.params) if mistake else (case.config, case.params)
    trace = {}
    forward(case.pixels, params, config, trace=trace)
    rows = differences(digests(trace, config) if case.golden else trace, case.expected)
    return [row for row in rows if row.name != "pixel_values" and not row.name.endswith(".grid")]


def as_dict(case, rows, dtype, mistake=None):
    """The result for a program."""
    first = first_departure(rows, TOLERANCES[dtype])
    layers = [{key: value if key == "name" or math.isfinite(value) else None for key, value in row._asdict().items()}
              for row in rows]  # fmt: skip
    return {"model": case.title, "reference": case.reference, "golden": case.golden, "dtype": dtype, "break": mistake,
            "tolerance": TOLERANCES[dtype], "first_departure": first and first.name,
            "layers": layers}  # fmt: skip


def report(case, rows, dtype, mistake=None):
    """The result for a reader: a line for each layer, then the verdict."""
    tolerance = TOLERANCES[dtype]
    first = first_departure(rows, tolerance)
    width = max(len(row.name) for row in rows)
    lines = [printable(case.title), f"reference: {case.reference}"]
    if mistake:
        lines.append(f"mistake put in: {MISTAKES[mistake][0]}")
    lines += [f"{dtype}; tolerance {tolerance:g}, relative to the largest number of the layer", "",
              f"{'layer':{width}}  {'max abs':>8}  {'mean abs':>8}  {'relative':>8}"]  # fmt: skip
    for row in rows:
        mark = "  <- first to depart" if row is first else "  departs" if row.departs(tolerance) else ""
        numbers = "  ".join(f"{number:8.1e}" for number in row[1:])
        lines.append(f"{row.name:{width}}  {numbers}{mark}")
    if first:
        verdict = f"first layer that departs: {first.name}, by {first.relative:.1e}"
    else:
        worst = max(rows, key=lambda row: row.relative)
        verdict = f"all {len(rows)} agree; the largest relative difference is {worst.relative:.1e}, in {worst.name}"
    return "\n".join([*lines, "", verdict])


def table(live, as_json=False):
    """Prints the README's table, a row as soon as it is known; returns the exit status."""
    status = 0
    if not as_json:
        print(f"reference: {'transformers, run now' if live else 'golden numbers, written once by PyTorch'}\n")
        print("| model | layers compared | float64: largest relative difference | float64: logits, absolute "
              "| float32: largest relative difference | float32: logits, absolute | same top 5 |\n"
              + "|---" * 7 + "|")  # fmt: skip
    for name in [*VARIANTS, None]:
        cells = []
        for dtype in TOLERANCES:
            model = None if name else load_model(None, dtype)
            case = (live_case if live else golden_case)(model, name, None, dtype)
            rows = compare(case)
            status |= first_departure(rows, TOLERANCES[dtype]) is not None
            if as_json:
                print(json.dumps(as_dict(case, rows, dtype)), flush=True)
            cells += [f"{max(row.relative for row in rows):.1e}", f"{rows[-1].max_abs:.1e}"]
        if not as_json:
            print(f"| {name or 'the model that ships'} | {len(rows)} | {' | '.join(cells)} "
                  f"| {'yes' if same_top(case) else 'no'} |", flush=True)  # fmt: skip
    return int(status)


def same_top(case, k=5):
    """Whether the k largest logits are the same labels in the same order."""
    ours = forward(case.pixels, case.params, case.config).logits
    return bool((np.argsort(-ours)[:, :k] == np.argsort(-case.expected["logits"])[:, :k]).all())


if __name__ == "__main__":
    run(main, "validate")
