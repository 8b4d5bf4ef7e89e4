"""Where a faster form of a formula takes its place: the same result, sooner.

`layers/` holds every layer as the paper writes it. If a faster form is worth having, it stands in `fast/` under the
same name, with its tricks explained, and `fast/` enters it here. Nothing in this room imports `fast/`.
"""

import functools

import numpy as np

TWINS = {}  # a formula's name -> the function that runs in its place


def has_twin(formula):
    """Marks a formula that `fast/` has a twin of. The formula itself is `layer.__wrapped__`.

    Twins are for arrays of one type, float32 or float64; whole numbers and mixtures, whose type NumPy's rules decide,
    are left to the formula.
    """

    @functools.wraps(formula)
    def layer(*args, **kwargs):
        types = {array.dtype.char for array in (*args, *kwargs.values()) if isinstance(array, np.ndarray)}
        return (TWINS.get(formula.__name__, formula) if types in ({"f"}, {"d"}) else formula)(*args, **kwargs)

    return layer
