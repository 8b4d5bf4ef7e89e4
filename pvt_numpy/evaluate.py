"""`python -m pvt_numpy.evaluate FOLDER`: how often a model is right, over a folder with one sub-folder per class.

Sub-folders are named by label (`golf ball`) or by WordNet's synset number (`n03445777`). Pictures that cannot be read,
or that the model cannot take, are named and counted, and count neither as right nor as wrong; so are files that are no
pictures. How large a picture may be: `classify --help`. Of a multi-label model's answers only that for the sub-folder's
label is known to be right; the share of pictures in which it is given (50 % or more) is printed too.

examples:
  python -m pvt_numpy.evaluate photos/val                             photos/val/golf ball/1.jpg and so on
  python -m pvt_numpy.evaluate imagenet/val --model pvt_v2_b2 --recipe official --limit 5000
  python -m pvt_numpy.evaluate photos/val --confusion confusion.png --pytorch
  python -m pvt_numpy.evaluate photos/val --model runs/mine/model.safetensors --calibrate

exit status: 0 done; 1 not all pictures counted, or no temperature stored, said on stderr; 2 wrong usage
"""

import json
import warnings
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np

from . import plots
from .analysis.answers import answers
from .analysis.calibration import TEMPERATURES, calibration_error, fit_temperature
from .analysis.observe import check_finite
from .checkpoints.checkpoint import chosen_notes, describe, is_ours, set_temperature
from .fast import threads
from .fast.pieces import piece_size, side_by_side
from .layers.losses import cross_entropy
from .model import forward
from .options import add_model_options, add_picture_options, add_threads_option, classifier_from, model_name
from .pictures.folders import class_folders, passed_over
from .pictures.imagenet import classes
from .pictures.processor import preprocess
from .pictures.recipes import pixels_of
from .reference.pytorch import INSTALL, hf_model, missing_packages
from .system.checks import about, counted, wrong
from .system.cli import command_parser, complain, note, printable, result_is_a_file, run, whole_number
from .system.files import check_writable


def main(argv=None):
    """The command. Returns its exit status."""
    parser = command_parser("evaluate", __doc__)
    parser.add_argument("folder", metavar="FOLDER", help="a sub-folder per class, named by label (golf ball) or "
                        "WordNet synset number (n03445777)")  # fmt: skip
    add_model_options(parser)
    add_picture_options(parser)
    parser.add_argument("--batch-size", metavar="N", type=whole_number(1), help="pictures at once in each thread "
                        "(default 2 of 224 x 224, or as many pixels)")  # fmt: skip
    add_threads_option(parser)
    parser.add_argument("--limit", metavar="N", type=whole_number(1), help="only N pictures, spread over the classes")
    parser.add_argument("--confusion", metavar="FILE", help="draw the confusion matrix (.png, .svg, .pdf)")
    parser.add_argument("--pytorch", action="store_true", help="run PyTorch too and name every differing prediction")
    parser.add_argument("--calibrate", action="store_true", help="store in the model's file the temperature that makes "
                        "its probabilities honest on these pictures; no answer changes")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="one JSON object, for programs")
    options = parser.parse_args(argv)

    if options.confusion:
        result_is_a_file(options.confusion, options.model)
        plots.file_kind(options.confusion)
    model = classifier_from(options)
    check_choice(model, model_name(options))
    if options.calibrate:
        check_calibration(options, model)
    pictures = labelled_pictures(options.folder, model, options.limit)
    if options.confusion:
        check_writable(options.confusion, *(picture for picture, _ in pictures))
    models = [lambda x: forward(x, model.params, model.config).logits]
    models += [pytorch(model)] if options.pytorch else []  # before the work, which would be lost without PyTorch
    with threads(options.threads):
        (logits, *theirs), truth, names = run_all(pictures, model, options.batch_size, models)
    if not names:
        raise wrong(options.folder, f"{counted(len(pictures), 'picture')}, none of which can be read", "some that can")
    finite = np.isfinite(logits).all(axis=1)
    if not finite.all():
        if not finite.any():
            check_finite(logits, names)  # which ends here: it is the model, and no single picture
        for name in np.compress(~finite, names):
            complain("evaluate", f"{name}: found outputs of the model that are not finite; expected numbers")
        logits, truth, names, *theirs = (np.compress(finite, rows, axis=0) for rows in (logits, truth, names, *theirs))
    result = {"model": model_name(options), **chosen_notes(model), "folder": options.folder,
              "unreadable": len(pictures) - len(names), **score(logits, truth, model)}  # fmt: skip
    if options.calibrate:
        try:
            result["calibration"] = calibrate(options.model, logits, truth)
        except ValueError as error:  # the answers, on which the time went, are shown all the same
            complain("evaluate", error)
    for other in theirs:
        result["pytorch"] = score(other, truth, model) | {
            "differing": [{"image": names[r], "ours": logits[r].tolist(), "pytorch": other[r].tolist()}
                          for r in np.flatnonzero(logits.argmax(axis=1) != other.argmax(axis=1))],
            "largest_difference": float(np.abs(logits - other).max()),
        }  # fmt: skip
    print(json.dumps(result) if options.json else as_text(result, model))
    if options.confusion:
        draw_confusion(options.confusion, result, model)
    failed = result["unreadable"] or (options.calibrate and "calibration" not in result)
    return 1 if failed else 0


def check_choice(model, name):
    """Raises ValueError if the outputs are no classes, of which the name of a sub-folder could be the right one."""
    if answers(np.zeros(model.config.num_labels), model.config)[0] == "value":
        raise wrong(name, "a regression (problem_type), whose outputs are no classes", "a classifier")
    if model.config.num_labels == 1:
        raise wrong(name, "one output, which is right whatever it says", "a classifier with two or more")


def check_calibration(options, model):
    """Refuses what a temperature cannot be fitted to, or not be stored in."""
    changed = [flag for flag, value in (("--recipe", options.recipe), ("--image-size", options.image_size)) if value]
    if changed:
        raise wrong("--calibrate", f"{changed[0]} beside it", "the model's own recipe, for which the temperature holds")
    if model.config.problem_type not in (None, "single_label_classification") or model.config.num_labels < 2:
        kind = model.config.problem_type or "one output"
        raise wrong("--calibrate", f"a model for {kind}", "one whose labels exclude each other")
    if not (options.model and Path(options.model).is_file() and is_ours(options.model)):
        found = f"{options.model}, which is none of our files" if options.model else "no --model"
        raise wrong("--calibrate", found, "--model with a file that train or convert has written, to store it in")
    check_writable(options.model)


def calibrate(path, logits, truth):
    """Fits the temperature, stores it in the file, and returns it with what it changes on these pictures.

    Raises ValueError, and stores nothing, if no temperature is best: if all answers are right, a surer model always is.
    """
    temperature = fit_temperature(logits, truth)
    if temperature in TEMPERATURES:
        right = int((logits.argmax(axis=1) == truth).sum())
        found = f"{right} of {counted(len(truth), 'picture')} right, for which no temperature is the best"
        raise wrong("--calibrate", found, "more of them, some right and some wrong; nothing is stored")
    set_temperature(path, temperature)
    exact = logits.astype(np.float64)
    before, after = ({"error": calibration_error(z, truth), "loss": float(cross_entropy(z, truth))}
                     for z in (exact, exact / temperature))  # fmt: skip
    return {"temperature": temperature, "before": before, "after": after}


def labelled_pictures(folder, model, limit=None):
    """(path, label index) of every picture, class by class; with a limit, the first ones of every class in turn."""
    folders = class_folders(folder, passed := Counter())
    if passed:
        note("evaluate", passed_over(folder, passed))
    if not folders:
        raise wrong(folder, "no sub-folders", "one per class, named by label or synset number")
    index = label_index(model)
    labels = {name: index.get(name, index.get(_plain(name))) for name in folders}
    unknown = [name for name, label in labels.items() if label is None]
    if unknown:
        found = f"{unknown[0]!r}, which is no label of the model, or the name of more than one"
        raise wrong(folder, found, f"names such as {list(index)[:3]}")
    groups = [[(picture, labels[name]) for picture in found] for name, found in folders.items()]
    if not any(groups):
        raise wrong(folder, f"no pictures in its {counted(len(folders), 'sub-folder')}", "some in each")
    turns = (group[turn] for turn in range(max(map(len, groups))) for group in groups if turn < len(group))
    return list(islice(turns, limit))


def label_index(model):
    """Every name by which a sub-folder can mean one label: the label itself, and ImageNet's synset number for it.

    A name that stands for two labels, as ImageNet's "crane" does, means neither.
    """
    names = model.label_names
    index = _unique(map(_plain, names)) | _unique(names)
    if len(names) == len(classes()):  # two names of ImageNet's stand for two classes each: there only the order decides
        return index | {synset: i for i, (synset, _) in enumerate(classes())}
    return index | {synset: index[_plain(name)] for synset, name in classes() if _plain(name) in index}


def _unique(names):
    """name -> its place, of the names that are there once."""
    names = list(names)
    often = Counter(names)
    return {name: i for i, name in enumerate(names) if often[name] == 1}


def _plain(name):
    return name.lower().replace("_", " ")


def run_all(pictures, model, batch_size, models):
    """The logits (n, num_labels) of each of `models` (functions of pixel values), the true labels, and the names of all
    pictures that can be read and that the models take; the others are reported."""
    from tqdm import tqdm

    def answers_of(chunk):
        batch, errors = [], []
        for path, label in chunk:
            try:
                with about(path):
                    batch.append((str(path), label, preprocess(path, **model.preprocessing)))
            except (ValueError, OSError) as error:
                errors.append(error)
        return errors, ask(models, batch)

    pixels = pixels_of(model.preprocessing)
    batch_size = batch_size or piece_size(pixels)
    chunks = [pictures[start : start + batch_size] for start in range(0, len(pictures), batch_size)]
    answers = []
    with tqdm(total=len(pictures), unit=" pictures", disable=None) as bar:
        found = side_by_side(answers_of, chunks, batch_size * pixels)
        for chunk, (errors, answered) in zip(chunks, found, strict=True):
            for error in errors:
                complain("evaluate", error)
            answers += answered
            bar.update(len(chunk))
    names, truth, *logits = zip(*answers, strict=True) if answers else [()] * (2 + len(models))
    return [np.array(rows) for rows in logits], np.array(truth), names


def ask(models, batch):
    """(name, label, one row of logits from each of `models`) of the pictures [(name, label, pixel values)] that all
    models take. Together, if they have one shape and all goes well; else one by one, and what fails is reported."""
    if len({pixels.shape for _, _, pixels in batch}) == 1:  # a recipe may keep the pictures' own shapes
        names, labels, pixels = zip(*batch, strict=True)
        try:
            with about(names[0]):
                logits = [predict(np.concatenate(pixels)) for predict in models]
                return list(zip(names, labels, *logits, strict=True))
        except ValueError as error:
            if len(batch) == 1:
                complain("evaluate", error)
                return []
    return [answer for one in batch for answer in ask(models, [one])]


def pytorch(model):
    """Pixel values -> logits, by transformers' model with the same parameters."""
    if missing := missing_packages():
        raise wrong("--pytorch", f"no {' and no '.join(missing)}", f"both: {INSTALL}")
    import torch

    reference = hf_model(model.params, model.config)
    torch.set_num_threads(1)  # batches run side by side

    def predict(x):
        with torch.inference_mode():
            return reference(torch.from_numpy(x)).logits.numpy()

    return predict


def score(logits, truth, model):
    """Top-1 and top-5, right answers per class, and the confusion matrix (rows: truth, columns: prediction); of a
    multi-label model also the share of true labels that are given, with a probability of 50 % or more."""
    order = np.argsort(-logits, axis=1, kind="stable")
    K = model.config.num_labels
    confusion = np.zeros((K, K), int)
    np.add.at(confusion, (truth, order[:, 0]), 1)
    names, often = model.label_names, Counter(model.label_names)
    several = model.config.problem_type == "multi_label_classification"
    chances = answers(logits, model.config)[1][np.arange(len(truth)), truth]
    return {
        "images": len(truth),
        "top1": float((order[:, 0] == truth).mean()),
        "top5": float((order[:, :5] == truth[:, None]).any(axis=1).mean()),
        "per_class": {names[i] + f" (label {i})" * (often[names[i]] > 1): float(confusion[i, i] / confusion[i].sum())
                      for i in np.flatnonzero(confusion.any(axis=1))},
        "confusion": confusion.tolist(),
    } | ({"given": float((chances >= 0.5).mean())} if several else {})  # fmt: skip


def as_text(result, model):
    """The result for people."""
    lines = [printable(describe(model)), "", f"{counted(result['images'], 'picture')} of {printable(result['folder'])}"]
    if result["unreadable"]:
        lines.append(f"{result['unreadable']} more could not be read, or not be run")
    lines += [f"top-1 {result['top1']:.2%}   top-5 {result['top5']:.2%}"]
    if "given" in result:
        lines.append(f"multi-label: the sub-folder's label gets 50 % or more in {result['given']:.2%} of the pictures")
    lines.append("")
    lines += [f"  {share:>7.1%}  {printable(name)}" for name, share in result["per_class"].items()]
    if "calibration" in result:
        found = result["calibration"]
        lines += ["", f"temperature {found['temperature']:.3f}, stored in the model; on these pictures, to which it is "
                  "fitted, it changes no answer, but"]  # fmt: skip
        lines += [f"  {what}: {found['before'][key]:.4f} before, {found['after'][key]:.4f} now"
                  for what, key in (("expected calibration error", "error"), ("cross-entropy", "loss"))]  # fmt: skip
    if "pytorch" in result:
        other = result["pytorch"]
        lines += ["", f"PyTorch: top-1 {other['top1']:.2%}, top-5 {other['top5']:.2%}; largest difference of a logit "
                  f"{other['largest_difference']:.1e}; predictions that differ: {len(other['differing'])}"]  # fmt: skip
        lines += [f"  {printable(case['image'])}: ours {np.round(case['ours'], 4).tolist()}, "
                  f"PyTorch {np.round(case['pytorch'], 4).tolist()}" for case in other["differing"]]  # fmt: skip
    return "\n".join(lines)


def draw_confusion(path, result, model):
    """Writes the confusion matrix as a figure."""
    figure = plots.confusion(
        np.array(result["confusion"]), list(map(printable, model.label_names)), model=printable(result["model"])
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a label in a script that the font lacks is drawn as boxes
        plots.save(figure, path, dpi=120)


if __name__ == "__main__":
    run(main, "evaluate")
