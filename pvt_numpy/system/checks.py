"""How a value is refused: one grammar for every mistake, and rules to make tables of.

Which value has which rule is said by the tables in `config` and `pictures/recipes`.
"""

import contextlib
import reprlib


def wrong(name, found, expected):
    """The ValueError for a mistake; `found` and `expected` in words.

    >>> wrong("photo.jpg", "a folder", "a picture")
    ValueError('photo.jpg: found a folder; expected a picture')
    """
    return ValueError(f"{name}: found {found}; expected {expected}")


@contextlib.contextmanager
def about(name):
    """An error inside, one for which memory lacks too, becomes a ValueError that begins with the name of the picture.

    >>> with about("photo.jpg"):
    ...     raise MemoryError
    Traceback (most recent call last):
    ...
    ValueError: photo.jpg: there is not enough memory for it
    """
    try:
        yield
    except (ValueError, MemoryError) as error:
        text = str(error)
        if isinstance(error, MemoryError):
            text = "there is not enough memory for it" + f" ({text})" * bool(text)
        raise ValueError(text if text.startswith(f"{name}: ") else f"{name}: {text}") from error


def counted(number, noun):
    """How many there are, in words.

    >>> counted(1, "picture"), counted(5000, "picture")
    ('1 picture', '5,000 pictures')
    """
    return f"{number:,} {noun}" + "s" * (number != 1)


def rule(holds, expected):
    """A function that refuses, by name, every value of which `holds(value)` is not true.

    >>> rule(bool, "something")("depths", [])
    Traceback (most recent call last):
    ...
    ValueError: depths: found []; expected something
    """

    def check(name, value):
        if not holds(value):
            raise wrong(name, reprlib.repr(value), expected)

    return check


def one_of(*choices):
    """A rule: one of these. Texts are compared; None, True and False must be the very object: 0 is not False."""

    def holds(value):
        return any(value is choice or (isinstance(value, str) and value == choice) for choice in choices)

    return rule(holds, " or ".join(map(repr, choices)))


def is_whole(value, low=1, high=2**31 - 1, types=int):
    """Whether it is a whole number, `low` and `high` included; with `types=numbers.Integral` it may be NumPy's."""
    return is_number(value, low, high, types)


def is_number(value, low=0, high=1e6, types=(int, float)):
    """Whether it is a number, `low` and `high` included; NaN never is."""
    return isinstance(value, types) and not isinstance(value, bool) and low <= value <= high


FLAG = rule(lambda value: isinstance(value, bool), "True or False")
