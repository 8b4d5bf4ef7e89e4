"""Practice: a learner writes the layers, and is told what is wrong with them, down to the known mistake.

`python -m pvt_numpy.practice start my_pvt.py` writes the file to fill in, `check` reads it. In a notebook:

>>> import numpy as np
>>> from pvt_numpy import practice
>>> def softmax(x):
...     return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)
>>> practice.check(softmax)
softmax: wrong numbers; they are what comes out if the largest score is not taken off first, and exp overflows
"""

from .diagnosis import Verdict, check

__all__ = ["Verdict", "check"]
