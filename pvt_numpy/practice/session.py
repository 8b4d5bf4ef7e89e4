"""A learner's file: written with empty functions, read back, and run as a model."""

import inspect
import runpy
import textwrap
import traceback
from pathlib import Path

import numpy as np

from .. import layers
from ..checkpoints.checkpoint import load_model
from ..layers.softmax import softmax
from ..model import forward
from ..pictures.processor import preprocess
from ..reference.mistakes import in_place
from ..system.checks import wrong
from ..system.paths import SAMPLE_PICTURE
from .diagnosis import Verdict, check
from .exercises import BACKWARD, FORWARD

OPENING = '''"""PVT, layer by layer, in NumPy. Fill in the bodies, from the top: later functions may call earlier ones.

    python -m pvt_numpy.practice check {name}

{legend}
"""

import math

import numpy as np
'''
SECOND_HALF = """

# The second half: each function's backward pass. dy is the gradient of the loss for what the function returned.
"""


def start(file):
    """Writes a file with all functions to fill in. Raises ValueError if there is one of that name already."""
    try:
        with open(file, "x", encoding="utf-8") as opened:
            opened.write(skeleton(Path(file).name))
    except FileExistsError:
        raise wrong(file, "a file of that name already", "a new name, so that nothing of yours is lost") from None


def skeleton(name):
    """The text of a new file: every exercise's signature and docstring as `layers/` has them, and no body."""
    doc = inspect.getdoc(layers) or ""  # python -OO keeps none
    legend = "    " + doc[doc.find("B      pictures") : doc.find("Tokens are")].strip()
    halves = ("".join(map(empty, half)) for half in (FORWARD, BACKWARD))
    return OPENING.format(name=name, legend=legend) + SECOND_HALF.join(halves)


def empty(exercise):
    """One function without its body."""
    doc = inspect.getdoc(exercise.right) or ""
    text = textwrap.indent(f'"""{doc}{chr(10) * (chr(10) in doc)}"""', "    ").replace("\\", "\\\\")
    text = "\n".join(line.rstrip() for line in text.splitlines())
    return f"\n\ndef {exercise.name}{exercise.signature}:\n{text}\n    raise NotImplementedError\n"


def read(file):
    """The names that a learner's file defines. It is run, as `python FILE` would run it.

    Raises ValueError with the line if it cannot be run.
    """
    try:
        return runpy.run_path(str(file), run_name="practice")
    except OSError:
        raise
    except SyntaxError as error:
        found = f"{error.msg}: {(error.text or '').strip()}"
        raise wrong(f"{file}, line {error.lineno}", found, "Python") from None
    except (Exception, SystemExit) as error:  # whatever a learner's file does
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
        where, found = f", line {lines[-1]}" if lines else "", f"{type(error).__name__}: {error}"
        raise wrong(f"{file}{where}", found, "a file that runs") from None


def verdict(functions, name):
    """What `check` says of the function of that name, or that there is none."""
    if callable(functions.get(name)):
        return check(functions[name], name)
    return Verdict(name, False, "not in the file; expected a function of that name")


def run_the_model(functions):
    """The model that ships, made of a learner's functions: the label of the sample picture, and its probability."""

    def learners(function):
        def layer(right, *args, run=None, **options):
            return function(*args, **options)

        return layer

    model = load_model()
    pixels = preprocess(SAMPLE_PICTURE, **model.preprocessing)
    with in_place(**{exercise.name: learners(functions[exercise.name]) for exercise in FORWARD}):
        logits = forward(pixels, model.params, model.config).logits
    shares = softmax(np.asarray(logits, np.float64))[0]
    return model.labels[int(shares.argmax())], float(shares.max())
