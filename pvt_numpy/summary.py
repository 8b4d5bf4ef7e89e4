"""`python -m pvt_numpy.summary [SOURCE]`: layer by layer, what a PVT is made of and what it costs.

Counted as in the papers: convolutions, linear layers and the two attention products; not norms, activations, softmax.
The layers have the names of their arrays, which count stages and blocks from 0. How: `analysis/cost.py`.

examples:
  python -m pvt_numpy.summary
  python -m pvt_numpy.summary pvt_v2_b2 --image-size 800x1280 --compare-attention

exit status: 0 counted; 1 failed, said on stderr; 2 wrong usage
"""

import json
import re
from itertools import groupby

from .analysis.cost import summarise
from .analysis.observe import place
from .config import VARIANTS
from .options import add_model_options, architecture_from
from .system.cli import command_parser, image_size, run


def main(argv=None):
    """The command. Returns its exit status."""
    v1, v2 = (", ".join(name for name in VARIANTS if ("_v2" in name) == second) for second in (False, True))
    choices = f"SOURCE may also be a variant, which needs no weights: {v1},\n{v2}\n\n"
    parser = command_parser("summary", __doc__, choices)
    add_model_options(parser, positional=True)
    parser.add_argument("--image-size", dest="pixels", metavar="HxW", type=image_size,
                        help="pixels, such as 224 or 224x320 (default: the model's)")  # fmt: skip
    parser.add_argument("--compare-attention", action="store_true", help="add what full attention would have cost")
    parser.add_argument("--json", action="store_true", help="one JSON object, for programs")
    options = parser.parse_args(argv)

    config, shapes = architecture_from(options)
    result = summarise(config, options.pixels, shapes)
    print(json.dumps(result) if options.json else as_text(result, options.compare_attention))
    return 0


def as_text(result, compare_attention=False):
    """The table for people, a total after every stage."""
    H, W = result["image_size"]
    lines = [f"{result['model']}, one picture of {H} x {W} pixels, float32", "",
             f"{'layer':<32} {'output':>16} {'parameters':>12} {'MMACs':>10} {'MB':>7}"]  # fmt: skip
    for stage, rows in groupby(result["layers"], lambda row: re.match(r"stages\.\d+|", row["name"])[0]):
        rows = list(rows)
        lines += [_line(row["name"], " x ".join(map(str, row["output"])), [row]) for row in rows]
        lines += [_line(f"{place(stage)} ({stage}) in all", "", rows), ""] if stage else []
    lines += ["", _line("in all", "", result["layers"]), "",
              f"{result['parameters']:,} parameters, {result['macs'] / 1e9:.3f} GMACs"]  # fmt: skip
    if compare_attention:
        tables = [row for row in result["layers"] if row["name"].endswith("q kᵀ")]
        reduced, full = (max(row[key] for row in tables) / 1e6 for key in ("bytes", "full_bytes"))
        lines += [f"attention products: {result['attention_macs'] / 1e9:.3f} GMACs; with every token as a key, as in "
                  f"full attention, {result['full_attention_macs'] / 1e9:.3f}",
                  f"largest score table: {reduced:.2f} MB; with every token as a key {full:.2f} MB"]  # fmt: skip
    return "\n".join(lines)


def _line(name, output, rows):
    parameters, macs, size = (sum(row[key] for row in rows) for key in ("parameters", "macs", "bytes"))
    return f"{name:<32} {output:>16} {parameters:>12,} {macs / 1e6:>10,.2f} {size / 1e6:>7.2f}"


if __name__ == "__main__":
    run(main, "summary")
