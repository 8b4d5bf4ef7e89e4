"""Twins of layers: the same result, sooner; every trick stands here and nowhere else.

A twin has its formula's name and arguments, and stays only while it saves a tenth of its layer's time.
"""

from .memory import keep_freed_blocks
from .switch import plain

__all__ = ["plain"]

keep_freed_blocks()
