"""Twins of layers, and threads: the same result, sooner; the tricks stand here.

A twin has its formula's name and arguments, and stays only while it saves a tenth of its layer's time. In float64 the
two agree to 1e-12; in float32, if the file does not say otherwise, to 2e-6 of the largest number, which is rounding
(tests/layers/test_twins.py). What a twin saves was measured by this project with `timeit`: best of repeated calls,
float32, sizes of pvt_tiny and pvt_v2_b0, two threads of an x86 machine (AVX2) with NumPy 2.4 and OpenBLAS.
"""

from .cores import threads
from .memory import keep_freed_blocks
from .switch import plain

__all__ = ["plain", "threads"]

keep_freed_blocks()
