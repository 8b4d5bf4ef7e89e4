"""A Figure: how it is begun, shown in a notebook and written into a file. Without pyplot: no display, no global state,
nothing to close."""

import functools
import io
from pathlib import Path

from ..system.files import atomic_file
from .style import STYLE
from .words import described


def drawing(draw):
    """Decorates a function that draws a Figure: our style applies whatever the reader's own is, and notebooks show it.

    The function returns the Figure, or the Figure and its alternative text: what is seen, in words and numbers, for
    those who can not see it. Without one, `words.described` makes it. It is kept as `figure.alt`.

    A notebook asks any object for `_repr_mimebundle_`; a Figure that pyplot has not made has no answer of its own.
    """

    @functools.wraps(draw)
    def styled(*args, **options):
        import matplotlib

        with matplotlib.rc_context(STYLE):
            drawn = draw(*args, **options)
            figure, figure.alt = drawn if isinstance(drawn, tuple) else (drawn, described(drawn))
            figure._repr_mimebundle_ = functools.partial(for_notebook, figure)
        return figure

    return styled


def new_figure(width, height, title=None):
    """An empty Figure of so many inches, at 100 dots per inch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    if title:
        figure.suptitle(title)
    return figure


def as_bytes(figure, kind="png", dpi=None):
    """The Figure as the bytes of a file. No date or version goes in, so equal figures are equal files; but matplotlib
    always writes the time into PostScript and .svgz."""
    import matplotlib

    alt = getattr(figure, "alt", None)  # a file that has a place for it says what it shows
    options = {
        "jpeg": {"pil_kwargs": {"quality": 90, "subsampling": 0}},
        "png": {"metadata": {"Software": None} | ({"Description": alt} if alt else {})},
        "pdf": {"metadata": {"CreationDate": None, "Creator": None, "Producer": None, "Subject": alt}},
        "svg": {"metadata": {"Date": None, "Creator": None, "Description": alt}},
    }
    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": "pvt_numpy"}):  # the names of clips, otherwise random
        figure.savefig(buffer, format=kind, dpi=dpi or figure.dpi, **options.get(kind, {}))
    return buffer.getvalue()


def for_notebook(figure, **_):
    """What a notebook keeps: PNG, or JPEG if that is smaller, as it is for photos; and the alternative text, twice:
    where nbconvert's classic template reads it, and as what is shown in place of a picture."""
    kind, content = min(((kind, as_bytes(figure, kind)) for kind in ("png", "jpeg")), key=lambda file: len(file[1]))
    return {f"image/{kind}": content, "text/plain": figure.alt}, {f"image/{kind}": {"alt": figure.alt}}


def save(figure, path, dpi=150):
    """Writes the Figure as PNG, PDF, SVG or whatever matplotlib makes of the file's suffix; whole or not at all."""
    content = as_bytes(figure, file_kind(path), dpi)
    with atomic_file(path) as file:
        file.write(content)


def file_kind(path):
    """What `save` will make of the file's suffix, such as "png"; ValueError if matplotlib makes nothing of it."""
    suffix, known = Path(path).suffix.lower().lstrip("."), new_figure(1, 1).canvas.get_supported_filetypes()
    if suffix not in known:
        raise ValueError(f"{path}: found the suffix {suffix!r}; expected one of {', '.join(sorted(known))}")
    return suffix
