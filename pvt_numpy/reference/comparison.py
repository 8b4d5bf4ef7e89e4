"""Two runs of a model, layer by layer: how far apart, and which layer departs first.

`differences` compares two dicts of arrays, such as the trace of `forward` and the one that PyTorch leaves. `cases.py`
runs the two.
"""

from typing import NamedTuple

import numpy as np

# The largest relative difference that is still rounding. Measured on all eleven variants (reference/README.md):
# float64 stays below 2e-14 and float32 below 1e-5; trained weights may have larger scores, and so more rounding.
TOLERANCES = {"float64": 1e-10, "float32": 1e-4}


class Difference(NamedTuple):
    """One layer's row: the largest and the mean absolute difference, and the largest over the reference's largest."""

    name: str
    max_abs: float
    mean_abs: float
    relative: float

    def departs(self, tolerance):
        """True beyond the tolerance, and for NaN."""
        return not self.relative <= tolerance


def differences(ours, reference):
    """A `Difference` for every name in `reference`, in its order. Both are dicts of arrays or tuples of numbers.

    Raises ValueError if a name is missing in `ours` or a shape is another.

    >>> differences({"logits": np.array([1.0, 2.5])}, {"logits": np.array([1.0, 2.0])})
    [Difference(name='logits', max_abs=0.5, mean_abs=0.25, relative=0.25)]
    """
    rows = []
    for name, expected in reference.items():
        if name not in ours:
            raise ValueError(f"{name}: found in the reference only; expected in both runs")
        found, expected = np.asarray(ours[name]), np.asarray(expected)
        if found.shape != expected.shape:
            raise ValueError(f"{name}: found shape {found.shape}; expected {expected.shape}, as in the reference")
        distance, size = np.abs(found - expected), np.abs(expected).max()
        largest = distance.max()
        rows.append(Difference(name, float(largest), float(distance.mean()), float(largest / (size or 1))))
    return rows


def first_departure(rows, tolerance):
    """The first row beyond the tolerance, or None."""
    return next((row for row in rows if row.departs(tolerance)), None)
