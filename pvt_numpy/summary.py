"""`python -m pvt_numpy.summary [SOURCE]`: layer by layer, what a PVT is made of and what it costs.

Nothing is counted by a formula for the whole: the model is run once over a picture of zeros with a trace, every
parameter comes from the table of shapes, and a layer's multiply-adds follow from the shapes of its own arrays.
Counted as in the papers: convolutions, linear layers and the two attention products; not norms, activations, softmax.
"""

import argparse
import json
import math
from collections import UserDict

import numpy as np

from .checkpoint import load_model
from .cli import image_size, run
from .config import VARIANTS, variant_name
from .model import forward
from .parameters import parameter_shapes, unflatten

EPILOG = f"""variants, which need no weights: {", ".join(list(VARIANTS)[:4])},
{", ".join(list(VARIANTS)[4:])}

examples:
  python -m pvt_numpy.summary
  python -m pvt_numpy.summary pvt_v2_b2 --image-size 800x1280 --compare-attention

exit status: 0 counted; 1 failed, said on stderr; 2 wrong usage"""
BYTES = 4  # of a float32


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


def summarise(config, image_hw=None):
    """The cost of one picture, as a dict: totals, and one row for every layer.

    A row has name, output (its shape without the batch), parameters, macs (multiply-adds) and bytes of the output in
    float32; attention products also have full_macs and full_bytes, the same with every token as a key.
    """
    H, W = image_hw or config.image_hw
    shapes = parameter_shapes(config)
    zeros = {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}  # takes no memory
    trace = _Shapes()
    forward(np.zeros((1, config.num_channels, H, W), np.float32), unflatten(zeros), config, trace=trace)
    rows = []
    for name, shape in shapes.items():
        layer, _, kind = name.rpartition(".")
        if kind == "bias":
            rows[-1]["parameters"] += math.prod(shape)
        else:
            rows.append(_layer_row(layer if kind == "weight" else name, shape, trace))
        if name.endswith(".attn.kv.weight"):
            products = _product_rows(layer.removesuffix(".kv"), trace)
        if name.endswith(".attn.proj.weight"):
            rows[-1:-1] = products  # where they are computed: after q and kv, before proj
    return {
        "model": variant_name(config) or config.model_type,
        "image_size": [H, W],
        "parameters": sum(row["parameters"] for row in rows),
        "macs": sum(row["macs"] for row in rows),
        "attention_macs": sum(row["macs"] for row in rows if "full_macs" in row),
        "full_attention_macs": sum(row.get("full_macs", 0) for row in rows),
        "layers": rows,
    }


class _Shapes(UserDict):
    """A trace that keeps the shapes and lets the numbers go: at 1024 pixels these would fill 7 GB."""

    def __setitem__(self, name, array):
        self.data[name] = np.broadcast_to(np.float32(0), np.shape(array))  # takes no memory


def _layer_row(layer, weight, trace):
    """The row of a layer with parameters: its matrix is applied once at every token of what it puts out."""
    output = _output_shape(layer, trace)
    applied = math.prod(output[:-1])
    macs = math.prod(weight) * applied if len(weight) in (2, 4) else 0  # norms and tables multiply no matrix
    return {"name": layer, "output": output, "parameters": math.prod(weight), "macs": macs,
            "bytes": math.prod(output) * BYTES}  # fmt: skip


def _output_shape(layer, trace):
    """Where the trace shows what `layer` puts out, as (tokens, channels)."""
    parent, _, last = layer.rpartition(".")
    if layer == "head":
        return list(trace["logits"].shape[1:])
    if last in ("pos_embed", "cls_token"):
        return list(trace[f"{parent}.tokens"].shape[1:])
    if last in ("q", "kv"):
        _, heads, tokens, d = trace[f"{parent}.{last[0]}"].shape
        return [tokens, heads * d * len(last)]
    if last in ("sr", "norm") and parent.endswith("attn"):
        return list(trace[f"{parent}.reduced"].shape[1:])
    if last == "fc2" or parent.endswith("patch_embed") or layer.endswith("attn.proj"):
        return list(trace[parent].shape[1:])
    return list(trace[layer].shape[1:])


def _product_rows(attn, trace):
    """The two products of an attention layer: queries with keys, and probabilities with values."""
    _, heads, N, M = trace[f"{attn}.scores"].shape
    d = trace[f"{attn}.q"].shape[-1]
    rows = []
    for name, output in ((f"{attn}.q kᵀ", [heads, N, M]), (f"{attn}.probs v", [heads, N, d])):
        full = heads * N * N if name.endswith("kᵀ") else heads * N * d
        rows.append({"name": name, "output": output, "parameters": 0, "macs": heads * N * M * d,
                     "bytes": math.prod(output) * BYTES, "full_macs": heads * N * N * d,
                     "full_bytes": full * BYTES})  # fmt: skip
    return rows


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
