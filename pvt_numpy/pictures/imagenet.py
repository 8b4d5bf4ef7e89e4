"""The 1000 classes of ImageNet-1k (ILSVRC 2012) in the order of every published model's outputs.

Source: WordNet's synset numbers and one everyday name for each, in `imagenet_classes.txt`, one class per line. Two
names, "crane" and "maillot", stand for two classes each: only the synset number is unique. Left out: synonyms.
"""

from functools import cache

from ..system.paths import IMAGENET_CLASSES


@cache
def classes():
    """The (synset number, name) pairs, a tuple of 1000.

    >>> classes()[0], len(classes())
    (('n01440764', 'tench'), 1000)
    """
    text = IMAGENET_CLASSES.read_text(encoding="utf-8")
    return tuple(tuple(line.split(" ", 1)) for line in text.splitlines())


def class_names():
    """The names alone, a tuple of 1000."""
    return tuple(name for _, name in classes())
