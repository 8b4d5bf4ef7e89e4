"""How a mistake is made on purpose: a wrong function takes a right one's place for a while."""

import contextlib
import sys
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from ... import gradients, model
from ...system.paths import SHIPPED_V1

LAYERS = [module for name, module in sys.modules.items() if name.startswith("pvt_numpy.layers.")]
HOME = {name: vars(module) for module in LAYERS for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__}  # fmt: skip
USERS = [vars(module) for module in (*LAYERS, model, gradients)]
TABLES = [value for user in USERS for name, value in user.items() if name.isupper() and isinstance(value, dict)]


class Mistake(NamedTuple):
    """text   what went wrong; completes "these are the numbers if ..."
    layer  the name of the function that it is made in
    wrong  called in that function's place, with the right function in front of its arguments
    """

    text: str
    layer: str
    wrong: Callable


MISTAKES = {}  # name -> Mistake
RUN_BY = [  # layers that not every model has; how validate is given one that does
    ("add_positions class_token_head", f", a v1: --random pvt_tiny or, with PyTorch, {SHIPPED_V1}"),
    ("mean_pool_head dwconv_mlp depthwise_conv2d", ", a v2: --random pvt_v2_b0"),
    ("linear_attention pooling_matrix relu", ": --random pvt_v2_b2_li"),
    ("attention", ": --random pvt_tiny"),
]


def mistake(name, layer, text):
    """Enters the decorated function into the list."""

    def enter(wrong):
        MISTAKES[name] = Mistake(text, layer, wrong)
        return wrong

    return enter


@contextlib.contextmanager
def made(name):
    """The package makes the mistake of that name, in all threads, for the length of the with block.

    Raises ValueError at its end if what ran has no such layer, so that the mistake could not be made.

    >>> import numpy as np
    >>> from pvt_numpy.layers import head
    >>> with made("bias"):
    ...     head.linear(np.ones((1, 2)), np.ones((1, 2)), bias=np.ones(1))
    array([[2.]])
    """
    mistake, calls = MISTAKES[name], []

    def wrong(right, *args, **kwargs):
        calls.append(name)
        return mistake.wrong(right, *args, **kwargs)

    with in_place(**{mistake.layer: wrong}):
        yield
    if not calls:
        way_out = next((way for layers, way in RUN_BY if mistake.layer in layers.split()), "")
        expected = f"one that runs it{way_out}"
        raise ValueError(f"mistake {name}: found a model that has no {mistake.layer}; expected {expected}")


@contextlib.contextmanager
def in_place(**functions):
    """Each function takes the place of the layer of that name, in all threads, for the length of the with block.

    It is called with the function that was there in front of the arguments, so that it can use it.
    """
    undo = []
    try:
        for name, function in functions.items():
            right = HOME[name][name]
            wrong = partial(function, right)
            vars(wrong).update(vars(right))  # a twin finds its formula by `__wrapped__`
            for place in (*USERS, *TABLES):
                for key in [key for key, value in place.items() if value is right]:
                    undo.append((place, key, right))
                    place[key] = wrong
        yield
    finally:
        for place, key, right in reversed(undo):
            place[key] = right


def inside(**functions):
    """A wrong layer: the right one, while these functions stand in the place of those that it calls."""

    def wrong(right, *args, **kwargs):
        with in_place(**functions):
            return right(*args, **kwargs)

    return wrong


def unchanged(right, x, *rest, **options):
    return x
