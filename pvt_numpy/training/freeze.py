"""What a training leaves as it is: whole stages, or all but the head.

The backward pass ends at the lowest stage that learns. A frozen stage above that one is passed through, and its own
gradients are left out of the step. If the head alone learns, all that it reads of a picture is one row of features, so
these are computed once for each picture drawn, and the training itself is one of a linear classifier (a "linear
probe").
"""

from ..layers.linear import linear, linear_backward
from ..system.checks import wrong

HEAD_ONLY = "head-only"
EXPECTED = f"{HEAD_ONLY}, or stages, counted from 1, such as stages=1,2"


def frozen_stages(freeze):
    """The stages, counted from 0, that `freeze` names.

    >>> sorted(frozen_stages("stages=1,2")), frozen_stages(None), frozen_stages("head-only")
    ([0, 1], frozenset(), frozenset())
    """
    if freeze in (None, HEAD_ONLY):
        return frozenset()
    word, _, numbers = freeze.partition("=")
    stages = numbers.split(",")
    if word != "stages" or not all(n.isdecimal() and 1 <= int(n) <= 99 for n in stages):
        raise wrong("freeze", freeze, EXPECTED)
    return frozenset(int(n) - 1 for n in stages)


def check_freeze(freeze, config):
    """Refuses stages that the model does not have, and all of them."""
    stages, there = frozen_stages(freeze), len(config.depths)
    if stages and (max(stages) >= there or len(stages) == there):
        raise wrong("freeze", freeze, f"stages from 1 to {there}, but not all of them: that would be {HEAD_ONLY}")


def frozen(name, freeze):
    """Whether the parameter of this dotted name does not learn.

    >>> [frozen(name, "stages=1") for name in ("stages.0.norm.weight", "stages.1.norm.weight", "head.bias")]
    [True, False, False]
    """
    if freeze == HEAD_ONLY:
        return not name.startswith("head.")
    return any(name.startswith(f"stages.{i}.") for i in frozen_stages(freeze))


def lowest_stage(freeze):
    """The lowest stage that learns, counted from 0.

    >>> lowest_stage("stages=1,2"), lowest_stage("stages=2")
    (2, 0)
    """
    stages = frozen_stages(freeze)
    return next(i for i in range(len(stages) + 1) if i not in stages)


def head_there_and_back(measure, features, params):
    """As `there_and_back` of the whole model, for the head alone, which reads features (B, C)."""
    logits = linear(features, **params["head"])
    value, dlogits = measure(logits)
    dfeatures, grads = linear_backward(dlogits, features, **params["head"])
    return value, logits, dfeatures, {"head": grads}
