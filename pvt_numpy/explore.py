"""`python -m pvt_numpy.explore IMAGE…`: writes one self-contained HTML page on what a picture's tokens attend to.

The page needs no server and no network; it opens from disk in any current browser. The function `pvt_numpy.explore`
makes the same page in a notebook and shows it in place. How the page is made: `explorer/`.
The model may read at most 512 pixels on a side. Of several pictures, or with several models, the reader chooses on the
page; each pair of them takes up to 6 MB.

examples:
  python -m pvt_numpy.explore notebooks/golf_ball.jpg
  python -m pvt_numpy.explore photo.jpg --image-size 448 -o photo.html
  python -m pvt_numpy.explore photo.jpg --model pvt_tiny                 downloads it on first use
  python -m pvt_numpy.explore A.jpg B.jpg C.jpg -o class.html
  python -m pvt_numpy.explore photo.jpg --model pvt_v2_b0_imagenette --model pvt_v1_nano_imagenette

exit status: 0 written; 1 failed, said on stderr; 2 wrong usage
"""

import sys
from argparse import Namespace
from types import ModuleType

from .explorer.page import explore
from .options import add_model_options, add_picture_options, model_from
from .system.cli import command_parser, printable, result_is_a_file, run


class _Command(ModuleType):
    """`import pvt_numpy.explore` puts this module in the place of the function; called, it does what that does."""

    __call__ = staticmethod(explore)


sys.modules[__name__].__class__ = _Command


def main(argv=None):
    """The command. Returns its exit status."""
    parser = command_parser("explore", __doc__)
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="a picture, or several")
    parser.add_argument("-o", "--output", metavar="FILE", default="explorer.html",
                        help="the page to write (default %(default)s)")  # fmt: skip
    add_model_options(parser, several=True)
    add_picture_options(parser)
    options = parser.parse_args(argv)
    sources = options.model or [None]
    result_is_a_file(options.output, *options.images, *sources)
    models = [model_from(Namespace(**vars(options) | {"model": source})) for source in sources]
    page = explore(options.images, models, options.output, source=sources)
    print(f"{printable(options.output)}: {len(page.html.encode()) / 1e6:.2f} MB; open it in a browser")
    return 0


if __name__ == "__main__":
    run(main, "explore")
