"""A trace of `forward` that keeps a part: all intermediates of a large model would be gigabytes."""

import re


class Only(dict):
    """A trace that keeps nothing but the names that match a regular expression as a whole."""

    def __init__(self, pattern):
        self.pattern = re.compile(pattern)

    def __setitem__(self, name, array):
        if self.pattern.fullmatch(name):
            super().__setitem__(name, array)

    def update(self, named):
        for name, array in named:
            self[name] = array
