"""What the notebooks' exercises ask for beside layers: a number, a name or a small function, and the slips one makes.

A question is called after its place, "3.2" for the second exercise of notebook 3. `practice.check(answer, "3.2")` says
whether it is right, and which slip gives exactly this answer.
"""

from functools import cache
from itertools import count
from typing import NamedTuple

import numpy as np

from ..config import VARIANTS
from ..parameters import parameter_shapes
from ..plots import attention_cost

B0 = VARIANTS["pvt_v2_b0"]  # but for its thousand labels, the model that ships


class Question(NamedTuple):
    """right and the slips, text -> wrong: numbers or names; or functions, and then `calls` are the arguments by name.
    A row of numbers, a tuple, need be right to two decimals only.

    results  what a function returns
    """

    right: object
    slips: dict
    calls: tuple = ()
    results: tuple = ("the result",)

    def inputs(self):
        """(arguments, options) of each call, as an exercise has them."""
        return [(call, {}) for call in self.calls]


def numbers_in(part):
    """How many parameters the shipped model has under a name."""
    return sum(int(np.prod(shape)) for name, shape in parameter_shapes(B0).items() if name.startswith(part))


def dearer(step=1):
    """The first side, of those `step` pixels apart, at which SRA takes more multiply-adds than linear SRA."""
    for side in count(step, step):
        sra, linear = (attention_cost(B0, (side, side), kind)[0] for kind in ("SRA", "linear SRA"))
        if sra > linear:
            return side


def squares(x, grid, ratio):
    """Tokens (B, N, C) as (B, row of squares, R, column of squares, R, C)."""
    return x.reshape(len(x), grid[0] // ratio, ratio, grid[1] // ratio, ratio, -1)


def pool(x, grid, ratio, how=np.mean, turned=False):
    pooled = how(squares(x, grid, ratio), axis=(2, 4))
    return (pooled.swapaxes(1, 2) if turned else pooled).reshape(len(x), -1, x.shape[-1])


def absorb(weight, bias, mean, std, shift=True):
    weight = weight / std[:, None, None]
    return weight, bias - shift * np.einsum("ockl,c->o", weight, mean)


def split(x, heads):
    return x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2)


def variation(probs, axis=-2):
    return probs.std(axis=axis).mean(axis=-1) * probs.shape[-1]


def step_back(w, A, U, a, b):
    return (a * w + b * (w @ A @ U)) / (a + b)


def move_squares(x, grid, ratio, order, axis=1):
    return np.take(squares(x, grid, ratio), order, axis=axis).reshape(x.shape)


def from_the_mean(tokens, weight, bias, start=1):
    return tokens[:, start:].mean(axis=1) @ weight.T + bias


@cache
def questions():
    """name -> `Question`, in the order of the notebooks."""
    rng = np.random.default_rng(17)

    def shares(*shape):
        drawn = rng.random(shape) ** 3
        return drawn / drawn.sum(axis=-1, keepdims=True)

    squared = ({"x": rng.normal(size=(2, 48, 3)), "grid": (6, 8), "ratio": 2},)
    step = {"w": shares(6), "A": shares(6, 2), "U": shares(2, 6), "a": 3.0, "b": 2.0}
    return {
        "0.1": Question((3, 1, -1, 1), {
            "a patch is read column by column: it is top left, top right, bottom left, bottom right": (3, -1, 1, 1),
            "the token is normed already, and the raw one is asked for": (1.414, 0, -1.414, 0),
        }),
        "0.3": Question(0, {
            "attention tells all tokens of a change in one; but is there a change left after the norm?": 32,
            "token 7 alone changes; but does it, after the norm?": 4,
        }),
        "0.4": Question((1, 1, -1, -1), {
            "the scores are divided by √C; it is √d, and d is 1": (0.5, 0.5, -0.5, -0.5),
            "the scores are divided by the √2 of two heads; d is 1 now": (0.707, 0.707, -0.707, -0.707),
            "the heads are summed; each has a score of its own": (0,),
        }),
        "0.7": Question((1.909, 0.683, 0, 2.992), {
            "only GELU(x) is counted; W₂ adds GELU(−x) to it": (1.954, -0.159, 0, 2.996),
            "GELU(−x) is subtracted; W₂ adds it": (2, -1, 0, 3),
            "the activation is ReLU; GELU's corner is round": (2, 1, 0, 3),
        }),
        "0.8": Question((-0.125, 0.125), {
            "the average is forgotten: ds = p (dp − L)": (-0.347, -0.292),
            "the shares are forgotten: ds = p (dp − L)": (-0.361, 0.192),
            "it is divided by √d once too often; that belongs to the step after": (-0.089, 0.089),
            "the sign is turned around": (0.125, -0.125),
        }),
        "1.1": Question(numbers_in("stages.3."), {
            "stage 3 is counted, for in code `stages.3` is stage 4": numbers_in("stages.2."),
            "the whole model is counted, all stages and the head": numbers_in("stages") + 10 * 257,
            "arrays are counted, and not the numbers in them": sum(
                n.startswith("stages.3.") for n in parameter_shapes(B0)),
        }),
        "1.2": Question(lambda x: x[:, :, ::-1], {
            "left and right are exchanged": lambda x: x[..., ::-1],
            "it is turned by half a turn, so that left and right are exchanged as well": lambda x: x[:, :, ::-1, ::-1],
            "the colours are put in another order": lambda x: x[:, ::-1],
            "the pictures of the batch are put in another order": lambda x: x[::-1],
        }, ({"x": rng.normal(size=(2, 3, 4, 5))},)),
        "1.3": Question(256**4, {
            "tokens are counted; the table has a score for each pair of them": 256**2,
            "every pixel is a token; a token of stage 1 is 4 x 4 pixels": 1024**4,
            "the keys are those of SRA with R = 8, which is notebook 3": 256**2 * 32**2,
            "bytes are counted, and not scores": 4 * 256**4,
        }),
        "2.1": Question(31, {
            "the stage is counted as in code: this is stage 4": 63,
            "the stage is counted from 0, or a step is left out: this is stage 2": 15,
            "the patches do not overlap, as in v1": 16,
            "tokens of stage 1 are counted, and not pixels": 7,
        }),
        "2.3": Question(absorb, {
            "the weight is multiplied by the deviation instead of divided": lambda weight, bias, mean, std: absorb(
                weight, bias, mean, 1 / std),
            "the bias stays as it is, and the mean is not subtracted": lambda weight, bias, mean, std: absorb(
                weight, bias, mean, std, shift=False),
            "the mean is not divided by the deviation": lambda weight, bias, mean, std: (
                weight / std[:, None, None], absorb(weight, bias, mean, np.ones(3))[1]),
            "the mean is added instead of subtracted": lambda weight, bias, mean, std: absorb(weight, bias, -mean, std),
        }, ({"weight": rng.normal(size=(5, 3, 4, 4)), "bias": rng.normal(size=5), "mean": rng.normal(size=3),
             "std": rng.random(3) + 0.5},), ("weight", "bias")),
        "3.1": Question(pool, {
            "the tokens of a square are added, and not averaged": lambda x, grid, ratio: pool(x, grid, ratio, np.sum),
            "the largest of a square is taken, and not the mean": lambda x, grid, ratio: pool(x, grid, ratio, np.max),
            "the squares are in the order of columns, and not of rows": lambda x, grid, ratio: pool(
                x, grid, ratio, turned=True),
            "tokens that follow each other in memory are taken for a square": lambda x, grid, ratio: x.reshape(
                len(x), -1, ratio**2, x.shape[-1]).mean(axis=2),
        }, squared),
        "3.2": Question(58**2 - 56**2, {
            "the four tokens of the corner are counted twice": 4 * 58,
            "only the corner is counted, and not the rows and columns that end in it": 4,
            "only rows or only columns are counted": 2 * 58,
            "keys are counted": 49,
            "the convolution pads, which it does not": 0,
        }),
        "3.4": Question(split, {
            "a head gets channels that are `heads` apart, and not neighbours": lambda x, heads: np.moveaxis(
                x.reshape(*x.shape[:2], -1, heads), -1, 1),
            "tokens are cut into pieces: a reshape alone does not exchange axes": lambda x, heads: x.reshape(
                len(x), heads, x.shape[1], -1),
        }, ({"x": rng.normal(size=(3, 5, 12)), "heads": 2},)),
        "4.1": Question(variation, {
            "the deviation is taken over the keys, and not over the queries": lambda probs: variation(probs, -1),
            "it is not divided by the mean probability, 1/M": lambda probs: variation(probs) / probs.shape[-1],
            "the heads are averaged, too": lambda probs: variation(probs.mean(axis=0)),
        }, ({"probs": shares(2, 5, 4)},)),
        "4.2": Question(step_back, {
            "the lengths are exchanged: a is the token's, b is attention's": lambda w, A, U, a, b: step_back(
                w, A, U, b, a),
            "the halves are still one half each": lambda w, A, U, a, b: step_back(w, A, U, 1, 1),
            "the two do not sum to 1: they are not divided by a + b": lambda w, A, U, a, b: a * w + b * (w @ A @ U),
            "it goes forward, from the keys to the queries": lambda w, A, U, a, b: step_back(w, U.T, A.T, a, b),
        }, (step,)),
        "4.4": Question(from_the_mean, {
            "the class token is averaged, too": lambda tokens, weight, bias: from_the_mean(tokens, weight, bias, 0),
            "the answer is still read from the class token": lambda tokens, weight, bias: (
                tokens[:, 0] @ weight.T + bias),
            "the last token is left out, and not the first": lambda tokens, weight, bias: from_the_mean(
                tokens[:, ::-1], weight, bias),
        }, ({"tokens": rng.normal(size=(2, 5, 3)), "weight": rng.normal(size=(4, 3)), "bias": rng.normal(size=4)},)),
        "5.1": Question(27, {
            "the row that the patch embedding has reached already is counted for a block": 28,
            "the border goes all the way to the other side": 55,
            "all rows of the grid are counted": 56,
        }),
        "5.2": Question(move_squares, {
            "columns of squares are moved, and not rows": lambda x, grid, ratio, order: move_squares(
                x, grid, ratio, order, 3),
            "they go the other way: place i gets the squares that were at order[i]": lambda x, grid, ratio, order: (
                move_squares(x, grid, ratio, np.argsort(order))),
        }, ({"x": rng.normal(size=(2, 36, 3)), "grid": (6, 6), "ratio": 2, "order": np.array([1, 2, 0])},)),
        "5.3": Question(dearer(), {
            "only every second side is tried": dearer(2),
            "only multiples of 4 are tried: v2 rounds its grids up, so 209 to 212 pixels cost the same": dearer(4),
            "only multiples of 8 are tried": dearer(8),
            "only multiples of 32 are tried": dearer(32),
        }),
        "6.1": Question((0.0180,), {"all ten logits are averaged, and not the largest taken": (0.0064,)}),
        "6.2": Question(3, {"the swapped keys and values are thought to change the answer": 2}),
        "6.3": Question("stages.2.blocks.0", {
            "it is the block of the next stage: `stages.2` is stage 3": "stages.3.blocks.0",
            "attention is blamed, which comes before the MLP and is right": "stages.2.blocks.0.attn",
        }),
        "7.3": Question(4, {
            "none is seen to be zero: 1e-15 is rounding": 0,
            "all are counted; those of the values are not zero": 8,
            "the keys' entries of one head are counted; there are two": 2,
        }),
        "7.4": Question((0.421,), {
            "the truth gets 1; but the smoothed truth gives it only 0.917": (0,),
            "the truth gets 0.9, its share of the 0.1 is forgotten, and the other classes cost nothing": (0.105,),
            "the truth's term alone is counted; the other five have 0.017 each": (0.087,),
            "the 0.1 is spread over the five others; it is spread over all six": (0.486,),
            "the logarithm has base 2; the loss has the natural one": (0.607,),
        }),
        "7.5": Question(35, {
            "1 / 0.02 is taken: after 50 steps 0.36 is left, for 0.98 is multiplied and not 0.02 subtracted": 50,
            "0.02 is subtracted each time; 0.98 is multiplied": 25,
            "it is rounded down: after 34 steps a little more than half is left": 34,
        }),
        "8.1": Question(3136, {
            "it is linear SRA, which has 7 x 7 keys at every size": 49,
            "queries are counted; R x R of them make one key": 448**2,
            "the tokens are divided by R; a square has R x R of them": 448**2 // 8,
            "pixels are taken for tokens: a token is 4 pixels wide": 224**2,
        }),
        "8.2": Question(100, {
            "one block is counted; the second one's windows lie elsewhere": 49,
            "windows reach across the edge; but what is rolled in is masked": 196,
            "a square around the token is counted; the windows stand still": 81,
        }),
        "8.3": Question((286.2,), {
            "SRA's reduction is forgotten; it costs another N C²": (338.7,),
            "tokens are counted; one is 4 pixels wide in stage 1": (71.6,),
            "all tokens are counted; the side in pixels is asked for": (5120,),
            "the keys are counted as N / R; they are N / R², and R² is 64": (96.7,),
        }),
    }  # fmt: skip
