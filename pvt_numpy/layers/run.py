"""What goes along beside the numbers: where we are in the model, who watches, and the noise of training.

A layer takes one `run` for all three and says what it computed with `note`. Inference is the quiet run, `QUIET`.

Source: Srivastava et al., "Dropout" (2014); Huang et al., "Deep Networks with Stochastic Depth" (2016) for drop path.
Left out: PyTorch's own random numbers; only the distribution is the same.
"""

import re
import zlib
from collections import UserDict
from typing import NamedTuple

import numpy as np


class Run(NamedTuple):
    """One forward pass, or the place in it that a layer stands at.

    name         the dotted name of this place, "stages.1.blocks.0.attn"
    watchers     dicts that receive what `note` shows
    seed         a whole number or a sequence of them: training, with noise; None: inference
    hidden_rate  how often dropout sets a number to 0
    probs_rate   the same for attention's probabilities
    path_rate    how often drop path leaves a branch of a picture out
    """

    name: str = ""
    watchers: tuple[dict, ...] = ()
    seed: int | tuple[int, ...] | None = None
    hidden_rate: float = 0.0
    probs_rate: float = 0.0
    path_rate: float = 0.0

    def at(self, part, **changes):
        """The same run, one place deeper.

        >>> Run("stages.1").at("norm").name
        'stages.1.norm'
        """
        return self._replace(name=f"{self.name}.{part}" if self.name else part, **changes)

    def note(self, array=None, **arrays):
        """Shows `array` to the watchers under this place's name, and `arrays` under names below it; None is nothing.

        >>> seen = {}
        >>> Run("stages.0.blocks.0.attn", watchers=(seen,)).note("what comes out", probs="the table")
        >>> seen
        {'stages.0.blocks.0.attn.probs': 'the table', 'stages.0.blocks.0.attn': 'what comes out'}
        """
        named = {self.at(part).name: value for part, value in arrays.items()} | {self.name: array}
        for watcher in self.watchers:
            for name in [name for name, value in named.items() if value is not None]:
                watcher[name] = named[name]

    def dropout(self, x, rate, what, shape=None):
        """Each number of x becomes 0 with probability `rate`; the others grow by 1 / (1 - rate), so the mean stays.

        Seed, place, `what`, rate and shape decide the factors f, each 0 or 1 / (1 - rate). So the backward pass makes
        the same call on the gradient: y = f x gives dx = f dy. shape: that of f, if it is not x's own.
        """
        if self.seed is None or rate == 0:
            return x
        rng = np.random.default_rng([*np.atleast_1d(self.seed), zlib.crc32(f"{self.name}.{what}".encode())])
        return x * ((rng.random(shape or x.shape) >= rate) / (1 - rate)).astype(x.dtype)

    def drop_path(self, x, what):
        """Dropout of a residual branch x (B, ...) for a whole picture at a time, at this run's path_rate."""
        return self.dropout(x, self.path_rate, what, shape=(len(x),) + (1,) * (x.ndim - 1))


QUIET = Run()


class Only(UserDict):
    """A watcher that keeps nothing but the names that match a regular expression as a whole.

    >>> seen = Only(r"stages\\.0\\..*")
    >>> seen["stages.0.tokens"] = seen["stages.1.tokens"] = "tokens"
    >>> list(seen)
    ['stages.0.tokens']
    """

    def __init__(self, pattern):
        super().__init__()
        self.pattern = re.compile(pattern)

    def __setitem__(self, name, array):
        if self.pattern.fullmatch(name):
            super().__setitem__(name, array)
