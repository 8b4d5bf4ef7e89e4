"""Which of the two runs, the formula or its twin.

The twins run. The formulas run with `PVT_NUMPY_PLAIN=1` (or true or yes) in the environment, or inside
`with pvt_numpy.plain():`.
"""

import contextlib
import os
import sys

from ..layers.twins import TWINS
from .activations import gelu, gelu_backward
from .depthwise import depthwise_conv2d
from .layernorm import layer_norm, layer_norm_backward
from .linear import linear
from .softmax import softmax, through_softmax

REGISTERED = {
    twin.__name__: twin
    for twin in (depthwise_conv2d, gelu, gelu_backward, layer_norm, layer_norm_backward, linear, softmax,
                 through_softmax)
}  # fmt: skip
_wishes = []  # one entry for everyone who wants the formulas


@contextlib.contextmanager
def plain():
    """The formulas run in place of their twins, in all threads, for the length of the with block."""
    _wishes.append("plain")
    TWINS.clear()
    try:
        yield
    finally:
        _wishes.pop()
        if not _wishes:
            TWINS.update(REGISTERED)


wish = os.environ.get("PVT_NUMPY_PLAIN", "")
if wish.lower() in ("", "0", "false", "no"):
    TWINS.update(REGISTERED)
elif wish.lower() in ("1", "true", "yes"):
    _wishes.append("PVT_NUMPY_PLAIN")
else:
    error = f"PVT_NUMPY_PLAIN: found {wish!r}; expected 1, true or yes for the formulas, or 0, false, no or nothing"
    # a command, which is still being looked for, has no traceback
    raise SystemExit(f"error: {error}") if sys.argv[:1] == ["-m"] else ValueError(error)
