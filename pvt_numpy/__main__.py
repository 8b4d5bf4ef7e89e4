"""`python -m pvt_numpy`: the list of commands, each with the first line of its own documentation."""

import argparse
import ast
import re
import shlex
from difflib import get_close_matches

from . import __doc__ as about
from . import __version__
from .system.cli import run
from .system.paths import PACKAGE


def commands():
    """name -> the first line of its docstring, of every module that is a command; none of them is imported."""
    found = {}
    for path in [*PACKAGE.glob("[!_]*.py"), *PACKAGE.glob("*/__main__.py")]:
        text = path.read_text(encoding="utf-8")
        if '__name__ == "__main__"' in text:
            name = path.parent.name if path.stem == "__main__" else path.stem
            line = ast.get_docstring(ast.parse(text)).splitlines()[0]
            line = re.sub(r"^`[^`]*`: ", "", line)  # without the call, which the list shows itself
            found[name] = line[:1].upper() + line[1:]
    return dict(sorted(found.items()))


def main(argv=None):
    """Prints the list. Returns the exit status."""
    listed = "\n".join(f"  {name:<12}{line}" for name, line in commands().items())
    parser = argparse.ArgumentParser(
        prog="python -m pvt_numpy", usage="python -m pvt_numpy.COMMAND [--help] ...",
        description=f"{(about or 'pvt_numpy.').splitlines()[0]} Version {__version__}.\n\ncommands:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    _, given = parser.parse_known_args(argv)
    if given:
        name, *rest = given
        close = get_close_matches(name, commands(), n=1)
        call = shlex.join([close[0], *rest]) if close else f"COMMAND, one of {', '.join(commands())}"
        parser.error(f"found {name!r} after a space; expected a dot: python -m pvt_numpy.{call}")
    parser.print_help()
    return 0


if __name__ == "__main__":
    run(main=main, name="pvt_numpy")
