"""`python -m pvt_numpy.summary [SOURCE]`: layer by layer, what a PVT is made of and what it costs.

Nothing is counted by a formula for the whole: the model is run once over a picture of zeros with a trace, every
parameter comes from the table of shapes, and a layer's multiply-adds follow from the shapes of its own arrays.
Counted as in the papers: convolutions, linear layers and the two attention products; not norms, activations, softmax.
"""

import argparse
import json

from .analysis.cost import summarise
from .checkpoints.checkpoint import load_model
from .config import VARIANTS
from .system.cli import image_size, run

EPILOG = f"""variants, which need no weights: {", ".join(list(VARIANTS)[:4])},
{", ".join(list(VARIANTS)[4:])}

examples:
  python -m pvt_numpy.summary
  python -m pvt_numpy.summary pvt_v2_b2 --image-size 800x1280 --compare-attention

exit status: 0 counted; 1 failed, said on stderr; 2 wrong usage"""


def main(argv=None):
    """The command. Returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m pvt_numpy.summary", description="Shapes, parameters, multiply-adds and memory of every layer.",
        epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("source", metavar="SOURCE", nargs="?", help="a variant, a file, a folder or a published name "
                        "(default: the model that ships)")  # fmt: skip
    parser.add_argument("--image-size", metavar="HxW", type=image_size,
                        help="pixels, such as 224 or 224x320 (default: the model's)")  # fmt: skip
    parser.add_argument("--compare-attention", action="store_true", help="add what full attention would have cost")
    parser.add_argument("--local-files-only", action="store_true", help="never download")
    parser.add_argument("--json", action="store_true", help="one JSON object, for programs")
    options = parser.parse_args(argv)

    config = VARIANTS.get(options.source)
    if config is None:
        config = load_model(options.source, local_files_only=options.local_files_only).config
    result = summarise(config, options.image_size)
    print(json.dumps(result) if options.json else as_text(result, options.compare_attention))
    return 0


def as_text(result, compare_attention=False):
    """The table for people, a total after every stage."""
    H, W = result["image_size"]
    lines = [f"{result['model']}, one picture of {H} x {W} pixels, float32", "",
             f"{'layer':<32} {'output':>16} {'parameters':>12} {'MMACs':>10} {'MB':>7}"]  # fmt: skip
    stage, stage_rows = "", []
    for row in [*result["layers"], None]:
        own = ".".join(row["name"].split(".")[:2]) if row and row["name"].startswith("stages.") else ""
        if stage and own != stage:
            lines += [_line(f"{stage} in all", "", stage_rows), ""]
        if own != stage:
            stage, stage_rows = own, []
        if row:
            stage_rows.append(row)
            lines.append(_line(row["name"], " x ".join(map(str, row["output"])), [row]))
    lines += ["", _line("in all", "", result["layers"]), "",
              f"{result['parameters']:,} parameters, {result['macs'] / 1e9:.3f} GMACs"]  # fmt: skip
    if compare_attention:
        lines.append(
            f"attention products: {result['attention_macs'] / 1e9:.3f} GMACs; with every token as a key, as in "
            f"full attention, {result['full_attention_macs'] / 1e9:.3f}"
        )
        tables = [row for row in result["layers"] if row["name"].endswith("q kᵀ")]
        largest = max(tables, key=lambda row: row["full_bytes"])
        lines.append(
            f"largest score table: {max(row['bytes'] for row in tables) / 1e6:.2f} MB; with every token as a key "
            f"{largest['full_bytes'] / 1e6:.2f} MB"
        )
    return "\n".join(lines)


def _line(name, output, rows):
    parameters, macs, size = (sum(row[key] for row in rows) for key in ("parameters", "macs", "bytes"))
    return f"{name:<32} {output:>16} {parameters:>12,} {macs / 1e6:>10,.2f} {size / 1e6:>7.2f}"


if __name__ == "__main__":
    run(main, "summary")
