"""Exercises whose answer is a number, or a few: what is right, and which slips give what else.

They belong to the notebooks: `check(found, "notebook 0, exercise 1")`.
"""

from typing import NamedTuple

import numpy as np

NEAR, LEAST = 0.01, 0.006  # two decimals on paper will do: relative to the largest number, and absolute


class Number(NamedTuple):
    """What is right, one number or a row of them; `slips`: what a known slip gives -> what it is."""

    right: tuple | float
    slips: dict


NUMBERS = {
    "notebook 0, exercise 1": Number((3, 1, -1, 1), {
        (3, -1, 1, 1): "a patch is read column by column; its row is top left, top right, bottom left, bottom right",
        (1.41, 0, -1.41, 0): "the token is normed already; here the raw one is asked for",
    }),
    "notebook 0, exercise 3": Number(0, {
        32: "attention tells all tokens of a change in one; but was there a change after the norm?",
        4: "only token 7 moves; but does it, after the norm?",
    }),
    "notebook 0, exercise 4": Number((1, 1, -1, -1), {
        (0.5, 0.5, -0.5, -0.5): "the scores are divided by √C; it is √d, and d is 1",
        (0.71, 0.71, -0.71, -0.71): "the scores are divided by √2, the √d of two heads; d is 1 now",
        0: "the heads are summed; each has a score of its own",
    }),
    "notebook 0, exercise 7": Number((1.91, 0.68, 0, 2.99), {
        (1.95, -0.16, 0, 3.0): "only GELU(x) is counted; W₂ adds GELU(−x) to it",
        (2, -1, 0, 3): "GELU(−x) is subtracted; W₂ adds it",
        (2, 1, 0, 3): "the activation is ReLU; GELU's corner is round",
    }),
    "notebook 0, exercise 8": Number((-0.125, 0.125), {
        (-0.347, -0.292): "the average is forgotten: ds = p (dp − L)",
        (-0.361, 0.192): "the shares are forgotten: ds = p (dp − L)",
        (-0.089, 0.089): "it is divided by √d once too often; that belongs to the step after",
        (0.125, -0.125): "the sign is turned around",
    }),
    "notebook 8, exercise 1": Number(3136, {
        49: "that is linear SRA, which has 7 x 7 keys at every size",
        200704: "those are the queries; R x R of them make one key",
        25088: "the tokens are divided by R; a square has R x R of them",
        50176: "a patch is 4 pixels wide: divide by the stride first",
    }),
    "notebook 8, exercise 2": Number(100, {
        49: "that is after the first block; the second one's windows lie elsewhere",
        196: "rolled-in tokens are masked: no window reaches across the edge",
        81: "it is no square around the token; the windows stand still",
    }),
    "notebook 8, exercise 3": Number(286, {
        339: "SRA's reduction is forgotten; it costs another N C²",
        71.6: "those are tokens; a token is 4 pixels wide in stage 1",
        5120: "those are tokens, all of them; the side in pixels is asked for",
        97: "the keys are counted as N / R; they are N / R², and R² is 64",
    }),
}  # fmt: skip


def judged(found, name):
    """A learner's number against the right one of that exercise: (whether it is right, in words, the slips)."""
    right, slips = NUMBERS[name]
    if found is None:
        return False, "no answer yet"
    try:
        found, expected = np.asarray(found, float), np.asarray(right, float)
    except (TypeError, ValueError):
        return False, f"found {found!r}; expected {how_many(np.size(right))}"
    if same(found, expected):
        return True, "right"
    for value, slip in slips.items():
        if same(found, np.asarray(value, float)):
            return False, f"not yet: {slip}", (slip,)
    if found.shape != expected.shape:
        return False, f"found {how_many(found.size)}; expected {how_many(expected.size)}"
    return False, "not yet, and no slip that is known gives it: see the hint"


def same(found, expected):
    """Whether the numbers agree as far as paper does."""
    near = max(NEAR * np.abs(expected).max(), LEAST)
    return found.shape == expected.shape and bool(np.abs(found - expected).max() <= near)


def how_many(numbers):
    return "a number" if numbers == 1 else f"{numbers} numbers"
