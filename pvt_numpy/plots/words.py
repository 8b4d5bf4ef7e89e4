"""A figure in words, for those who can not see it: made from the numbers that are drawn."""

import re

import numpy as np

from .style import times


def listed(parts):
    """
    >>> listed(["a", "b", "c"]), listed(["a"])
    ('a, b and c', 'a')
    """
    *first, last = map(str, parts)
    return f"{', '.join(first)} and {last}" if first else last


def told(*sentences):
    """Sentences, each with a full stop and, unless it begins with a name such as v1, a capital; on one line.

    >>> told("one", "two\\nlines.", "v1")
    'One. Two lines. v1.'
    """
    lines = (" ".join(str(sentence).split()).rstrip(".") for sentence in sentences)
    return " ".join(
        f"{line if re.match(r'[a-z_]+[0-9_]', line) else line[0].upper() + line[1:]}." for line in lines if line
    )


def short(number):
    """A number to three digits, as people write it.

    >>> short(0.0339), short(12), short(3e-17), short(25362856)
    ('0.0339', '12', '3e-17', '25.4 million')
    """
    for size, name in ((1e9, "billion"), (1e6, "million")):
        if size <= abs(number) < 1e12:
            return f"{number / size:.3g} {name}"
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"


def highest(weights, shape, count=3):
    """Where the largest of weights (H * W,) on a map of this shape are, and how large.

    >>> highest(np.array([0.1, 0.2, 0.7, 0.0]), (2, 2), 2)
    'row 2, column 1 (0.7) and row 1, column 2 (0.2)'
    """
    flat = np.asarray(weights).ravel()
    places = {}  # of equal ones, as the tokens of one key are, the first is named
    for n in np.argsort(-flat, kind="stable"):
        places.setdefault(short(flat[n]), np.unravel_index(n, shape))
        if len(places) == count:
            break
    return listed(f"row {y + 1}, column {x + 1} ({value})" for value, (y, x) in places.items())


def span(values):
    """From the smallest to the largest."""
    return f"from {short(np.nanmin(values))} to {short(np.nanmax(values))}"


def course(x, y):
    """A curve: where it begins, where it ends, and its extremes if they lie between.

    >>> course([0, 1, 2], [4.0, 1.0, 2.0])
    '4 at 0, 2 at 2, lowest 1 at 1'
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    text = f"{short(y[0])} at {short(x[0])}, {short(y[-1])} at {short(x[-1])}"
    for name, n in (("lowest", y.argmin()), ("highest", y.argmax())):
        if y[n] not in (y[0], y[-1]):
            text += f", {name} {short(y[n])} at {short(x[n])}"
    return text


def described(figure):
    """Any Figure in words: what is written in it, its curves and its pictures. Our own say more by themselves."""
    said = [figure.get_suptitle()]
    for axes in figure.axes:
        if not axes.get_visible() or hasattr(axes, "_colorbar"):
            continue
        names = [" ".join(text.split()) for text in (axes.get_title(), axes.get_xlabel(), axes.get_ylabel())]
        about = names[0] + (f", {names[2]} over {names[1]}" if all(names[1:]) else "")
        parts = []
        for line in axes.lines:
            label, (x, y) = line.get_label(), line.get_data()
            if len(x) and np.isfinite(np.asarray([x, y], float)).all() and line.get_transform() == axes.transData:
                parts.append(("" if label.startswith("_") else f"{label}: ") + course(x, y))
        parts += [f"a map of {times(*image.get_array().shape[:2])}, {span(image.get_array())}" for image in axes.images]
        if about or parts:
            said.append(": ".join(filter(None, [about, "; ".join(parts)])))
    return told(*said)
