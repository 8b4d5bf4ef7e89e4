"""`python -m pvt_numpy.classify IMAGE...`: pictures in, their most likely labels out. The project's main job.

Each picture is prepared as the model's recipe says, and several are run side by side; one that cannot be read is
reported on stderr, and the others are still classified. Of a folder, every file is taken whose suffix is that of a
format which Pillow decodes; the rest is counted on stderr. A picture may have 89,478,485 pixels, a JPEG four times as
many, which is then decoded at half its width and height; PVT_NUMPY_MAX_PIXELS in the environment is another limit.

examples:
  python -m pvt_numpy.classify notebooks/golf_ball.jpg
  python -m pvt_numpy.classify photos/ --top-k 1 --json > labels.jsonl
  python -m pvt_numpy.classify photo.jpg --model pvt_v2_b2       (downloads it on first use)
  cat photo.jpg | python -m pvt_numpy.classify -

exit status: 0 all pictures classified; 1 some failed, said on stderr; 2 wrong usage
"""

import contextlib
import json
import os
import sys
from collections import Counter
from itertools import chain

import numpy as np

from .checkpoints.checkpoint import chosen_notes, describe
from .fast import threads
from .fast.pieces import piece_size, side_by_side
from .options import add_model_options, add_picture_options, add_threads_option, classifier_from, model_name
from .pictures.folders import find_pictures, passed_over
from .pictures.recipes import pixels_of
from .system.checks import about
from .system.cli import command_parser, complain, note, printable, run, whole_number
from .system.paths import SHIPPED_MODELS

UNSURE = 0.6  # below it the model that ships is wrong about half of the photos, even of its own ten classes
BAR = 30  # characters for 100 %


def main(argv=None):
    """The command. Returns its exit status."""
    parser = command_parser("classify", __doc__)
    parser.add_argument("images", metavar="IMAGE", nargs="*", help="a picture, a folder of pictures, or - for stdin")
    parser.add_argument("--top-k", metavar="K", type=whole_number(1), default=5, help="labels per picture (default 5)")
    parser.add_argument("--json", action="store_true", help="one JSON object per picture and line, for programs")
    parser.add_argument("--list-models", action="store_true", help="show the published models, and stop")
    add_model_options(parser)
    add_picture_options(parser)
    add_threads_option(parser)
    options = parser.parse_args(argv)
    if options.list_models:
        from .checkpoints.published import list_models

        print(list_models())
        return 0
    if not options.images:
        parser.error("IMAGE: found none; expected a picture, such as notebooks/golf_ball.jpg")
    if options.images.count("-") > 1:
        parser.error("-: found more than once; expected once, as standard input holds one picture")

    model, name = classifier_from(options), model_name(options)
    if not options.json:
        print(printable(describe(model)))
    (pictures, failed), unsure = expand(options.images), False
    pixels = pixels_of(model.preprocessing)
    size = 1 if len(pictures) < 3 or "-" in pictures else piece_size(pixels)
    chunks = [pictures[start : start + size] for start in range(0, len(pictures), size)]
    with threads(options.threads):
        answered = side_by_side(lambda chunk: answers(chunk, model, options.top_k), chunks, size * pixels)
        answered = progress(chain.from_iterable(answered), len(pictures), quiet=options.json)
        for picture, found in zip(pictures, answered, strict=True):
            if isinstance(found, Exception):
                complain("classify", found)
                failed = True
            else:
                print(as_json(picture, name, found, model) if options.json else as_table(picture, found))
                unsure |= found[0].get("probability", 1) < UNSURE
    if unsure and model.origin.get("source") in SHIPPED_MODELS and not options.json:
        names = printable(", ".join(model.label_names))
        print(f"\nUnsure? This model knows ten things only: {names}.\nOne that knows ImageNet's "
              "thousand: --model pvt_v2_b2, downloaded on first use, after pip install huggingface_hub")  # fmt: skip
    return 1 if failed else 0


def expand(arguments):
    """The pictures that the arguments name, folders opened, and whether an argument named none."""
    pictures, failed = [], False
    for argument in arguments:
        if not os.path.isdir(argument):  # unlike Path's, no error if a name is too long
            pictures.append(argument)
            continue
        found = find_pictures(argument, passed := Counter())
        pictures += map(str, found)
        if passed:
            note("classify", passed_over(argument, passed))
        if not found:
            complain("classify", f"{argument}: found a folder without pictures; expected .jpg, .png or others")
            failed = True
    return pictures, failed


def classify(picture, model, top_k=5):
    """The `top_k` most likely labels of one picture, a path or "-" for standard input, most likely first.

    Returns dicts with index, label, logit and what a person reads in it, see `analysis/answers.py`: its "probability"
    or, for a regression, its "value".
    """
    from .pictures.processor import preprocess

    source = sys.stdin.buffer if picture == "-" else picture
    return predicted(preprocess(source, **model.preprocessing), [picture], model, top_k)[0]


def predicted(pixel_values, names, model, top_k):
    """The same for each of some pictures of one shape that are prepared."""
    from .analysis.answers import predictions
    from .analysis.observe import check_finite
    from .model import forward

    logits = forward(pixel_values, model.params, model.config).logits
    check_finite(logits, names)
    return [predictions(row, model, top_k) for row in logits]


def answers(pictures, model, top_k):
    """What `classify` returns for each of the pictures, or the error that it raises; run together, if all goes well."""
    if len(pictures) > 1:
        from .pictures.processor import preprocess

        with contextlib.suppress(ValueError, OSError, MemoryError):
            return predicted(np.concatenate([preprocess(picture, **model.preprocessing) for picture in pictures]),
                             pictures, model, top_k)  # fmt: skip
        return [answer for picture in pictures for answer in answers([picture], model, top_k)]
    try:
        with about("standard input" if pictures == ["-"] else pictures[0]):
            return [classify(pictures[0], model, top_k)]
    except (ValueError, OSError) as error:
        return [error]


def as_json(picture, source, predictions, model):
    """One line of JSON; with which weights of a file were taken, if there was a choice, and the temperature, if the
    probabilities are calibrated."""
    said = chosen_notes(model) | ({} if model.temperature is None else {"temperature": model.temperature})
    return json.dumps({"image": picture, "model": source, "predictions": predictions} | said, allow_nan=False)


def as_table(picture, predictions):
    """A few lines for people: label, probability, bar; or label and value."""
    width = max(len(printable(prediction["label"])) for prediction in predictions)
    lines = [printable(picture)]
    for prediction in predictions:
        share = prediction.get("probability")
        answer = f"{prediction['value']:>11.6g}" if share is None else f"{share:>7.1%}  {bar(share)}"
        lines.append(f"  {printable(prediction['label']):<{width}} {answer}".rstrip())
    return "\n".join(lines)


def bar(share):
    """A bar of length `share` (0 to 1), in eighths of a character if the terminal can show them."""
    try:
        "█▏".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "#" * round(share * BAR)
    full, eighths = divmod(round(share * BAR * 8), 8)
    return "█" * full + " ▏▎▍▌▋▊▉"[eighths].strip()


def progress(answers, count, quiet):
    """`answers` behind a progress bar, if stderr is a terminal and no results for people scroll past there."""
    if count < 3 or (sys.stdout.isatty() and not quiet):
        return answers
    from tqdm import tqdm  # not for one picture: importing it would be a tenth of the whole time

    return tqdm(answers, total=count, unit=" pictures", disable=None)


if __name__ == "__main__":
    run(main, "classify")
