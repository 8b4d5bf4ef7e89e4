"""`python -m pvt_numpy.convert SOURCE`: any public PVT checkpoint as our self-contained file, or back to PyTorch.

Everything that `load_model` reads can be the source, the pickles of the official code included (those need PyTorch).
What a model computes stays as it is; only precision, labels and the notes on its origin can change.

examples:
  python -m pvt_numpy.convert pvt_tiny                                 downloads it, writes pvt_tiny.safetensors
  python -m pvt_numpy.convert pvt_v2_b2.pth -o b2.safetensors --dtype float16
  python -m pvt_numpy.convert b2.safetensors --to hf -o b2-hf          a folder for from_pretrained

exit status: 0 written; 1 failed, said on stderr; 2 wrong usage
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from .checkpoints.checkpoint import describe, save_model
from .checkpoints.export import export_hf, export_timm, uncalibrated
from .checkpoints.published import plain_name
from .options import add_model_options, model_from
from .parameters import flatten
from .pictures.recipes import RECIPES
from .system.checks import counted, wrong
from .system.cli import command_parser, printable, result_is_a_file, run

EXPORTS = {"hf": export_hf, "timm": export_timm}


def main(argv=None):
    """The command. Returns its exit status."""
    parser = command_parser("convert", __doc__)
    add_model_options(parser, positional=True, required=True)
    parser.add_argument("-o", "--output", metavar="FILE", help="the file to write; with --to, the folder "
                        "(default: SOURCE's name, in the current folder)")  # fmt: skip
    parser.add_argument("--dtype", choices=("float32", "float16"), help="precision of the file (default: float16 if "
                        "that changes no number, else float32; with --to float32, as PyTorch computes)")  # fmt: skip
    parser.add_argument("--labels", metavar="FILE", help="class names to put in: text, one per line, UTF-8")
    parser.add_argument("--recipe", choices=sorted(RECIPES), help="how pictures are prepared, whatever the files say")
    parser.add_argument("--origin", metavar="KEY=TEXT", type=note, action="append", default=[],
                        help="a note on where the model comes from, repeatable")  # fmt: skip
    parser.add_argument("--to", choices=EXPORTS, help="write a folder for transformers or timm instead")
    options = parser.parse_args(argv)

    output = Path(options.output or _default_output(options.model, options.to))
    result_is_a_file(None if options.to else output, options.labels)
    model = model_from(options)
    if options.labels:
        model = replace(model, labels=read_labels(options.labels, model.config.num_labels))
    model = replace(model, origin=model.origin | dict(options.origin))
    print("model:", printable(describe(model)))
    if model.labels:
        print("labels:", printable(", ".join(model.labels[:4])) + ", ..." * (len(model.labels) > 4))

    dtype = options.dtype or ("float32" if options.to else _shortest(model))
    if options.to:
        remarks = EXPORTS[options.to](output, model, dtype)
        if model.temperature is not None:
            remarks.append(uncalibrated(model.temperature))
        for remark in remarks:
            print("note:", remark)
        written = output / "model.safetensors"
    else:
        save_model(output, model, dtype)
        written = output
    print(f"wrote: {printable(str(output))}, {dtype}, {written.stat().st_size / 1e6:.1f} MB")
    return 0


def _shortest(model):
    """The precision that keeps every number: a float16 file stays one."""
    with np.errstate(over="ignore"):
        same = all(np.array_equal(value, value.astype(np.float16)) for value in flatten(model.params).values())
    return "float16" if same else "float32"


def note(text):
    """An argparse type: "KEY=TEXT" as (key, text)."""
    key, found, value = text.partition("=")
    if not found:
        raise argparse.ArgumentTypeError(f"found {text!r}; expected KEY=TEXT")
    return key, value


def read_labels(path, count):
    """The class names in a text file, one per line; a ValueError unless there are `count`."""
    try:
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8-sig").rstrip().splitlines()]
    except UnicodeDecodeError:
        raise wrong(path, "bytes that are no UTF-8", "text") from None
    if not all(lines):
        raise wrong(path, f"nothing in line {lines.index('') + 1}", f"{count} class names, one per line")
    if len(lines) != count:
        raise wrong(path, counted(len(lines), "class name"), f"{count}, one per line")
    return tuple(lines)


def _default_output(source, to):
    """NAME.safetensors, NAME-hf or NAME-timm in the current folder, if it is free."""
    path = Path(source)
    remote = plain_name(source).split("/", 1)[-1].replace("/", "-")
    name = path.stem if path.is_file() else path.resolve().name if path.is_dir() else remote
    output = Path(f"{name}-{to}" if to else f"{name}.safetensors")
    if output.exists():
        raise wrong(output, "something of that name", "a free one (-o says what to write)")
    return output


if __name__ == "__main__":
    run(main, "convert")
