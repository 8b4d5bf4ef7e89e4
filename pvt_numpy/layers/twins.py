"""Where a faster form of a formula takes its place: the same result, sooner.

`layers/` holds every layer as the paper writes it. If a faster form is worth having, it stands in `fast/` under the
same name, with its tricks explained, and `fast/` enters it here. Nothing in this room imports `fast/`.
"""

import functools

TWINS = {}  # a formula's name -> the function that runs in its place


def has_twin(formula):
    """Marks a formula that `fast/` has a twin of. The formula itself is `layer.__wrapped__`."""

    @functools.wraps(formula)
    def layer(*args, **kwargs):
        return TWINS.get(formula.__name__, formula)(*args, **kwargs)

    return layer
