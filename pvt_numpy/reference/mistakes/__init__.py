"""The mistakes that people make when they write PVT themselves, each made on purpose.

One list for all: `validate --break NAME` shows what a mistake does to a model, `practice` tells a learner's numbers by
it, and the tests put each of them into the package and must see it. A mistake is a wrong function in the place of a
right one; `made` puts it there for the length of a with block, and `in_place` any function of anyone's.
"""

from . import backward, forward  # noqa: F401 - they enter their mistakes into the list
from .making import MISTAKES, in_place, made

OF_A_MODEL = [  # those that a forward pass can make
    name for name, (_, layer, _) in MISTAKES.items() if not layer.endswith("_backward") and layer != "through_softmax"
]

__all__ = ["MISTAKES", "OF_A_MODEL", "in_place", "made"]
