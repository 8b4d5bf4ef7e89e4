"""What every command shares: a user's mistake is one line and an exit status, never a traceback.

Exit status 0: all done; 1: something failed, said on stderr; 2: wrong usage (argparse); 130: stopped with Ctrl-C;
143: ended by SIGTERM (train, which saves: 130); 141: whoever read what a command prints has left before its end. A
command whose result is a file goes on without a reader, and ends as if it had one.
"""

import argparse
import contextlib
import errno
import logging
import os
import sys
import warnings

from . import stopping
from .files import check_writable
from .quiet import STDERR

LARGEST_SIDE = 4096  # pixels, of the picture that the model reads
LONGEST_LINE = 4000  # characters of an error
STOPPED = "every command: 130 stopped with Ctrl-C; 143 by SIGTERM; 141 the reader of what it prints has left"
# which extra of pyproject.toml holds a package that not every command needs
EXTRAS = {"huggingface_hub": "hub", "math_core": "site", "matplotlib": "plots", "torch": "torch",
          "transformers": "torch"}  # fmt: skip


def command_parser(name, doc, choices="", **options):
    """The parser of `python -m pvt_numpy.NAME`. Its help is the module's docstring: the options stand before the
    examples in it, and what there is to choose from, if anything, between the two."""
    about, examples = (doc or "\nexamples:\n").split("\nexamples:\n")  # python -OO leaves no docstrings
    return argparse.ArgumentParser(prog=f"python -m pvt_numpy.{name}", description=about,
                                   epilog=f"{choices}examples:\n{examples.rstrip()}\n{STOPPED}",
                                   formatter_class=argparse.RawDescriptionHelpFormatter, **options)  # fmt: skip


def run(main, name):
    """Calls `main()`, which returns an exit status, and leaves the process with it.

    `name` is the command's, for its messages. ValueError and OSError are what the package raises for bad input.
    Any other exception is a mistake of ours and keeps its traceback.
    """
    for name_of_stream, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name_of_stream) is None:  # closed by whoever started the command
            setattr(sys, name_of_stream, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - for good
    # Numbers that overflow in a layer are not finite in the end, which is what a command says, once. Libraries' own
    # warnings and log lines are for programmers, who ask for the warnings with -W.
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="pvt_numpy")
    last_resort, logging.lastResort = logging.lastResort, logging.NullHandler()  # which would print on stderr
    streams = sys.stdout, sys.stderr
    for stream in streams:
        stream.reconfigure(errors="backslashreplace")  # a name that the console cannot show is no reason to fail
    sys.stdout, sys.stderr = Stream(sys.stdout, "standard output"), Stream(sys.stderr, "standard error", needed=False)
    try:
        with stopping.stoppable(name):
            status = _status(main, name)
    finally:
        sys.stdout, sys.stderr = streams
        logging.lastResort = last_resort
    sys.exit(status)


def _status(main, name):
    """The exit status of `main()`, whatever it raises."""
    stdout = sys.stdout
    try:
        try:
            status = main()
        except SystemExit as stop:  # argparse's, which has said why
            status = stop.code
        stdout.flush()
        if stdout.failure and (stdout.needed or not isinstance(stdout.failure, BrokenPipeError)):
            raise stdout.failure
        return status
    except KeyboardInterrupt:
        stopping.end()
    except ModuleNotFoundError as error:
        if not error.name or error.name.startswith("pvt_numpy"):
            raise
        package = error.name.partition(".")[0]
        extra = f" (the extra [{EXTRAS[package]}])" if package in EXTRAS else ""
        complain(name, f"the package {package} is not installed; pip install {package}{extra}")
    except BrokenPipeError:  # the reader, `head` for instance, has seen enough
        return 141
    except (ValueError, OSError, MemoryError) as error:
        complain(name, error)
    return 1


class Stream:
    """stdout or stderr of a command. Once it fails, for its reader has left or the disk behind it is full, the command
    ends if the stream is needed, and otherwise goes on without it."""

    def __init__(self, stream, name, needed=True):
        self.stream, self.name, self.needed, self.failure = stream, name, needed, None

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def write(self, text):
        self._try(self.stream.write, text)
        return len(text)

    def flush(self):
        self._try(self.stream.flush)

    def _try(self, act, *given):
        try:
            if not self.failure:
                act(*given)
        except OSError as error:
            gone = error.errno == errno.EPIPE or (os.name == "nt" and error.errno == errno.EINVAL)
            self.failure = (BrokenPipeError if gone else OSError)(error.errno, os.strerror(error.errno), self.name)
            with contextlib.suppress(OSError, ValueError):  # what is left in the buffer goes nowhere, without a word
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self.fileno())
                os.close(nowhere)
            if self.needed:
                raise self.failure from None


def result_is_a_file(path=None, *read):
    """Said by a command before its work: it goes on if nobody reads what it prints. Refuses a `path` that cannot be
    written, or that is one of the files `read`."""
    if isinstance(sys.stdout, Stream):
        sys.stdout.needed = False
    if path is not None:
        check_writable(path, *read)


def complain(name, error):
    """One line on stderr for `error`, whatever line breaks or control characters its text holds."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        error = f"{error.filename}: {error.strerror}"
    text = printable(" ".join(str(error).split()) or type(error).__name__)
    if len(text) > LONGEST_LINE:  # it quotes what a damaged file holds, or a path that is too long
        text = f"{text[: LONGEST_LINE - 200]} ... {text[-200:]} ({len(text) - LONGEST_LINE:,} more characters)"
    with STDERR:
        print(f"{name}: error: {text}", file=sys.stderr, flush=True)


def note(name, text):
    """One line on stderr that is no error."""
    with STDERR:
        print(f"{name}: note: {printable(text)}", file=sys.stderr, flush=True)


def printable(text):
    """`text` with control characters escaped, so that a file's name cannot steer a terminal.

    >>> printable("a\\x1b[31mb")
    'a\\\\x1b[31mb'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def say_working(text):
    """One line on stderr, if somebody watches it, before work that takes more than a moment."""
    if sys.stderr.isatty():
        with STDERR:
            print(f"{text} ...", file=sys.stderr, flush=True)


def whole_number(low, high=10**18):
    """An argparse type: a whole number, at least `low` and at most `high`."""

    def parse(text):
        if not text.isdecimal() or len(text) > 19 or not low <= int(text) <= high:
            limits = f"from {low} on" if high == 10**18 else f"from {low} to {high}"
            raise argparse.ArgumentTypeError(f"found {text[:40]!r}; expected a whole number {limits}")
        return int(text)

    return parse


def image_size(text):
    """An argparse type: "224" or "224x320" as (height, width)."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and len(side) < 9 for side in sides):
        sides = ["0"]
    if not all(1 <= int(side) <= LARGEST_SIDE for side in sides):
        expected = f"pixels such as 224 or 224x320, at most {LARGEST_SIDE}"
        raise argparse.ArgumentTypeError(f"found {text[:40]!r}; expected {expected}")
    return int(sides[0]), int(sides[-1])
