"""Cases of names: what a user, or a list of files from elsewhere, may call a model or a picture that is not there."""

from hypothesis import strategies as st

from pvt_numpy.checkpoints.checkpoint import load_model
from pvt_numpy.pictures.decode import open_image

from .judge import Case

NAMES = ["", ".", "..", "a\0b", "\0", "a\nb", "\x1b[2J", "n" * 300, "d/" * 3000, "\udce9", "\ud800", "~", "%s", "{0}",
         "con", "a/../b", "model.safetensors/", "x.json", "*"]  # fmt: skip


@st.composite
def path_names(draw):
    """A file that is not there, under any name."""
    name = draw(st.sampled_from(NAMES) | st.text(st.characters(codec=None), max_size=40))
    load = draw(st.sampled_from([load_model, open_image]))
    name = name.lstrip("/\\")
    return Case(f"{load.__name__} of {name[:60]!r}", {}, name, load, nothing_is_there)


def nothing_is_there(result):
    """There was nothing to be read, so this is a mistake whatever it is."""
    raise AssertionError(f"something was read: {str(result)[:80]}")
