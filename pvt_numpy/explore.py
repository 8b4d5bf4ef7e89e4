"""`python -m pvt_numpy.explore IMAGE`: writes one self-contained HTML page on what a photo's tokens attend to.

The page needs no server and no network; it opens from disk in any current browser. `pvt_numpy.explore(...)` makes the
same page in a notebook and shows it in place. How the page is made: `explorer/`.
"""

import argparse
import os
import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path
from types import ModuleType

from .checkpoints.checkpoint import Model, load_model
from .options import add_model_options, model_from
from .system.cli import image_size, printable, run
from .system.files import atomic_file

EPILOG = """examples:
  python -m pvt_numpy.explore notebooks/golf_ball.jpg
  python -m pvt_numpy.explore photo.jpg --image-size 448 -o photo.html
  python -m pvt_numpy.explore photo.jpg --model pvt_tiny                 downloads it on first use

exit status: 0 written; 1 failed, said on stderr; 2 wrong usage"""


@dataclass(frozen=True, repr=False)
class Page:
    """A finished page: `html` is its text. A notebook shows it in place."""

    name: str
    html: str

    def __repr__(self):
        return f"<explorer page for {self.name}, {len(self.html.encode()) / 1e6:.2f} MB>"

    def _repr_html_(self):
        """The page in a frame of its own, so that it and the notebook leave each other's style alone."""
        return (
            f'<iframe title="Attention explorer" srcdoc="{escape(self.html)}" '
            'style="width:100%;height:900px;border:0" loading="lazy"></iframe>'
        )

    def save(self, path):
        """Writes the page; the file appears at `path` whole or not at all."""
        with atomic_file(path) as file:
            file.write(self.html.encode("utf-8"))


def explore(image, model=None, path=None, *, size=None, name=None):
    """A `Page` on what the tokens of `image` attend to, in every head of every block.

    image  a path, a binary file, a Pillow image or an array
    model  a `Model`, or what `load_model` takes; None: the model that ships
    path   where to write the page; None: nowhere
    size   pixels on a side (at most 512), or (height, width), instead of the recipe's own; a crop keeps its proportion
    name   to show for the picture; None: the file's
    """
    from .explorer.page import build

    if not isinstance(model, Model):
        model = load_model(model)
    if name is None:
        source = image if isinstance(image, str | os.PathLike) else getattr(image, "name", None)
        name = Path(source).name if isinstance(source, str | os.PathLike) else "picture"
    name = name.encode("utf-8", "replace").decode()  # a file's name may hold bytes that are no text
    page = Page(name, build(image, model, name, size))
    if path is not None:
        page.save(path)
    return page


def main(argv=None):
    """The command. Returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m pvt_numpy.explore", epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Writes one HTML page that shows what a photo's tokens attend to.\n"
                    "It needs no network and opens in any browser.",
    )  # fmt: skip
    parser.add_argument("image", metavar="IMAGE", help="a photo")
    parser.add_argument("-o", "--output", metavar="FILE", default="explorer.html",
                        help="the page to write (default %(default)s)")  # fmt: skip
    parser.add_argument("--image-size", metavar="HxW", type=image_size, help="pixels instead of the recipe's own, 224 "
                        "or 224x320, at most 512; a crop keeps its proportion")  # fmt: skip
    add_model_options(parser)
    options = parser.parse_args(argv)
    page = explore(options.image, model_from(options), options.output, size=options.image_size)
    print(f"{printable(options.output)}: {len(page.html.encode()) / 1e6:.2f} MB; open it in a browser")
    return 0


class _Callable(ModuleType):
    """`pvt_numpy.explore` is this module and also the function of the same name."""

    def __call__(self, *args, **kwargs):
        return explore(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable

if __name__ == "__main__":
    run(main, "explore")
