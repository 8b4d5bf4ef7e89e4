"""Twins of layers: the same result, sooner; every trick stands here and nowhere else.

A twin has its formula's name and arguments, and stays only while it saves a tenth of its layer's time. The savings that
these files name are best times of repeated calls, float32, sizes of pvt_tiny and pvt_v2_b0, two threads of an x86
machine with NumPy 2.4 and OpenBLAS.
"""

from .memory import keep_freed_blocks
from .switch import plain

__all__ = ["plain"]

keep_freed_blocks()
