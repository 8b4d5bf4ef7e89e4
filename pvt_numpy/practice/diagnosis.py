"""What is wrong with a learner's function, in words: from its results on an exercise's small inputs.

It may be not written yet, raise, return something of another kind or shape, or wrong numbers. Wrong numbers are
compared with those of every known mistake (`reference/mistakes`), and of every two of them together.
"""

import contextlib
import traceback
from itertools import combinations
from typing import NamedTuple

import numpy as np

from ..fast import plain
from ..reference.mistakes import MISTAKES, in_place
from ..system.checks import wrong
from .exercises import EXERCISES
from .questions import questions

NEAR = 1e-9  # relative to the largest number that is expected; float64 gives 1e-14


class Verdict(NamedTuple):
    """What a check found; a notebook shows it as its line of text."""

    name: str
    right: bool
    text: str
    mistakes: tuple[str, ...] = ()  # the names of those that give exactly these numbers

    def __repr__(self):
        return f"{self.name}: {self.text}"


def check(function, name=None):
    """Checks a learner's function against the layer of its name; `name` says which, if it has another, or which
    exercise of a notebook it answers ("3.2": the second of notebook 3), where an answer may be a number too.

    >>> def gelu(x):
    ...     return x / (1 + np.exp(-1.702 * x))
    >>> check(gelu)
    gelu: wrong numbers; they are what comes out if GELU is x sigmoid(1.702 x), the coarse form

    Raises ValueError if there is no exercise of that name.
    """
    name = name or getattr(function, "__name__", str(function))
    if name in questions():
        return check_question(function, name, questions()[name])
    if name not in EXERCISES:
        raise wrong("check", repr(name), "a function named as a layer: " + ", ".join(EXERCISES))
    exercise = EXERCISES[name]
    with plain(), np.errstate(all="ignore"):
        right, found = outcomes(exercise, exercise.right), outcomes(exercise, function)
        problem = next(filter(None, map(problem_of, found, right)), None)
        if problem is None:
            return Verdict(name, True, "right")
        mistakes = named(exercise, found, right)
    if not mistakes:
        return Verdict(name, False, problem + which_call(exercise, found, right))
    kind = "wrong numbers" if "wrong shape" not in problem else problem
    texts = " and ".join(MISTAKES[one].text for one in mistakes)
    return Verdict(name, False, f"{kind}; they are what comes out if {texts}", mistakes)


def check_question(answer, name, question):
    """The Verdict on the answer to a notebook's exercise: a function, a number or a name."""
    if answer is None or answer is ...:
        return Verdict(name, False, "not answered yet")
    if isinstance(question.right, tuple):
        problem, wrongs = check_row(answer, question)
    elif not question.calls:
        kind = str if isinstance(question.right, str) else int | float | np.number
        if not isinstance(answer, kind) or isinstance(answer, bool):
            return Verdict(name, False, f"found {kind_of(answer)}; expected a {'name' if kind is str else 'number'}")
        right, wrongs = answer == question.right, [text for text, slip in question.slips.items() if answer == slip]
        if right or kind is str:
            problem = None if right else f"found {answer!r}"
        else:
            problem = f"{answer:,} is too {'large' if answer > question.right else 'small'}"
    elif not callable(answer):
        return Verdict(name, False, f"found {kind_of(answer)}; expected a function")
    else:
        found, right = outcomes(question, answer), outcomes(question, question.right)
        problem = next(filter(None, map(problem_of, found, right)), None)
        slips = {text: outcomes(question, slip) for text, slip in question.slips.items()}
        wrongs = [text for text, results in slips.items() if agree(found, results)]
    if problem is None:
        return Verdict(name, True, "right")
    return Verdict(name, False, f"wrong: that is what comes out if {wrongs[0]}" if wrongs else problem)


def check_row(answer, question):
    """What is wrong with a row of numbers, to two decimals as on paper, or None; and the slips that give it."""

    def same(expected):
        expected = np.asarray(expected, float)
        near = max(0.01 * np.abs(expected).max(), 0.006)
        return found.shape == expected.shape and bool(np.abs(found - expected).max() <= near)

    try:
        found = np.atleast_1d(np.asarray(answer, float))
    except (TypeError, ValueError):
        return f"found {kind_of(answer)}; expected numbers", []
    wrongs = [text for text, slip in question.slips.items() if same(slip)]
    if found.shape != (len(question.right),):
        return f"found {found.size} number{'s' * (found.size != 1)}; expected {len(question.right)}", wrongs
    return None if same(question.right) else "wrong numbers", wrongs


def outcomes(exercise, function):
    """For each call, the named results, or the exception that was raised instead."""
    found = []
    for arrays, options in exercise.inputs():
        try:
            result = function(**arrays, **options)
        except Exception as error:  # a learner's function may raise anything
            found.append(error)
            continue
        several = result if isinstance(result, tuple) and len(exercise.results) > 1 else (result,)
        as_expected = len(several) == len(exercise.results)
        found.append(dict(zip(exercise.results, several, strict=True)) if as_expected else several)
    return found


def problem_of(found, right):
    """What is wrong with the outcome of one call, in words; None if nothing is."""
    if isinstance(found, NotImplementedError):
        return "not written yet"
    if isinstance(found, Exception):
        return raised(found)
    if not isinstance(found, dict):
        if len(found) == 1 and found[0] is None:
            return "returns nothing; is the `return` missing?"
        return f"returns {len(found)} result{'s' * (len(found) != 1)}; expected {len(right)}: {' and '.join(right)}"
    for name, expected in right.items():
        if problem := problem_of_one(name, found[name], expected):
            return problem
    return None


def problem_of_one(name, found, expected):
    """As `problem_of`, of the result of that name: an array, a grid, or a nested dict of gradients."""
    if isinstance(expected, dict):
        if not isinstance(found, dict):
            return f"{name} is {kind_of(found)}; expected a dict with {', '.join(expected) or 'nothing in it'}"
        if found.keys() != expected.keys():
            held, asked = (", ".join(map(str, keys)) or "nothing" for keys in (found, expected))
            return f"{name} holds {held}; expected {asked}"
        problems = (problem_of_one(f"{name}[{key!r}]", found[key], expected[key]) for key in expected)
        return next(filter(None, problems), None)
    if isinstance(expected, tuple):  # a grid
        same = isinstance(found, tuple | list) and tuple(found) == expected
        return None if same else f"{name} is {found}; expected {expected}"
    if found is None:
        return f"{name} is None; expected an array (is the `return` missing?)"
    if not isinstance(found, np.ndarray | np.generic):
        return f"{name} is {kind_of(found)}; expected an array"
    if found.shape != expected.shape:
        return f"wrong shape: {name} is {found.shape}; expected {expected.shape}"
    if found.dtype != expected.dtype:
        return f"{name} is of type {found.dtype}; expected {expected.dtype}, as the inputs"
    return None if near(found, expected) else numbers(name, found, expected)


def near(found, expected):
    """Whether all numbers agree; NaN agrees with NaN, for a mistake may make it."""
    scale = np.abs(expected[np.isfinite(expected)]).max(initial=1e-300)
    return bool(np.allclose(found, expected, rtol=0, atol=NEAR * scale, equal_nan=True))


def numbers(name, found, expected):
    """Which numbers are wrong, and in which simple way if there is one."""
    off = ~np.isclose(found, expected, rtol=0, atol=NEAR * np.abs(expected).max(initial=1e-300))
    place = tuple(int(i) for i in np.argwhere(off)[0])
    text = (f"wrong numbers: {off.sum():,} of {off.size:,} of {name}, the first at {list(place)}: "
            f"found {found[place]:.6g}; expected {expected[place]:.6g}")  # fmt: skip
    if not np.isfinite(found).all():
        return f"{text}; some are NaN or infinity"
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio, shift = found[off] / expected[off], found[off] - expected[off]
    if np.ptp(ratio) < 1e-6 * abs(ratio.mean()):
        return f"{text}; each is {ratio.mean():.4g} times what it should be"
    if np.ptp(shift) < 1e-6 * abs(shift.mean()):
        return f"{text}; each is {abs(shift.mean()):.4g} too {'large' if shift.mean() > 0 else 'small'}"
    return text


def raised(error):
    """The exception, and the line of the learner's file that it came from."""
    if "read-only" in str(error):
        text = "writes into an array that it was given; expected a new array"
    else:
        text = f"raises {type(error).__name__}: {' '.join(str(error).split())}"
    _, *frames = traceback.extract_tb(error.__traceback__)  # the first is ours, which made the call
    own = [frame for frame in frames if frame.filename == frames[0].filename]
    return f"{text} (line {own[-1].lineno}: {own[-1].line})" if own and own[-1].line else text


def which_call(exercise, found, right):
    """With which options, if it is not wrong with all of them."""
    bad = [problem_of(*both) is not None for both in zip(found, right, strict=True)]
    if all(bad):
        return ""
    arrays, options = list(exercise.inputs())[bad.index(True)]
    shown = [f"{name} {array.shape}" for name, array in arrays.items() if not isinstance(array, dict)]
    shown += [f"{name} {value}" for name, value in options.items()]
    left_out = [name for name in exercise.signature.parameters if name not in arrays | options]
    return f"; called with {', '.join(shown)}" + (f", without {', '.join(left_out)}" if left_out else "")


def named(exercise, found, right):
    """The names of the one mistake, or else of the two, that give exactly these results; () if none do."""
    if not any(isinstance(outcome, dict) for outcome in found):
        return ()  # nothing to tell a mistake by
    wrongs = {}
    for name in MISTAKES:
        with in_place(**{MISTAKES[name].layer: MISTAKES[name].wrong}):
            wrongs[name] = outcomes(exercise, exercise.right)
        if agree(found, wrongs[name]):
            return (name,)
    changing = [name for name in wrongs if not agree(wrongs[name], right)]
    for two in combinations(changing, 2):
        with contextlib.ExitStack() as stack:
            for name in two:
                stack.enter_context(in_place(**{MISTAKES[name].layer: MISTAKES[name].wrong}))
            if agree(found, outcomes(exercise, exercise.right)):
                return two
    return ()


def agree(one, other):
    """Whether two lists of outcomes are the same: the same numbers where there are any, and both raise elsewhere."""

    def same(a, b):
        if not (isinstance(a, dict) and isinstance(b, dict)):
            return isinstance(a, Exception) and isinstance(b, Exception)
        return problem_of(a, b) is None

    return all(map(same, one, other))


def kind_of(value):
    return f"a {type(value).__name__}"
