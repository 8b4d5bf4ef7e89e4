"""JSON as its standard has it: stricter than Python's own reader, which takes NaN for a number and the last of two
equal names, so that a file could say one thing to people and another to the program."""

import json
from itertools import chain

from ..system.checks import wrong
from ..system.files import check_not_stand_in, check_readable

LONGEST = 4 << 20  # bytes; the names of 21,841 classes, twice, are 2 MB
DEEPEST = 32  # levels; a checkpoint's files have four, and Python cannot even print a thousand


def read_json(path):
    """The JSON object in the file at `path`, as a dict."""
    check_readable(path)
    with open(path, "rb") as file:
        data = file.read(LONGEST + 1)
    check_not_stand_in(path, data[:64])
    try:
        if len(data) > LONGEST:
            raise ValueError(f"more than {LONGEST:,} bytes, far beyond any model's")
        value = parse_json(data.decode("utf-8-sig"))  # Windows' editors put a mark before UTF-8
    except ValueError as error:  # also text that is not UTF-8
        raise wrong(path, f"no valid JSON ({error})", "a JSON object") from None
    if not isinstance(value, dict):
        raise wrong(path, f"a JSON {type(value).__name__}", "a JSON object")
    return value


def parse_json(text):
    """The value of a JSON text, or a ValueError that says what is wrong with it.

    >>> parse_json('{"depths": [2, 2], "depths": [3, 3]}')
    Traceback (most recent call last):
    ...
    ValueError: 'depths' is there twice
    """
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [value] * isinstance(value, dict | list)
    for _ in range(DEEPEST):
        inner = chain.from_iterable(one.values() if isinstance(one, dict) else one for one in level)
        level = [one for one in inner if isinstance(one, (dict, list))]
    if level:
        raise ValueError(f"it is nested deeper than {DEEPEST} levels")
    return value


def _once(pairs):
    table = {}
    for name, value in pairs:
        if name in table:
            raise ValueError(f"{name!r} is there twice")
        table[name] = value
    return table


def _no_number(constant):
    raise ValueError(f"{constant} is no number of JSON")
