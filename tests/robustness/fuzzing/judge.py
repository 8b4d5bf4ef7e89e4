"""What must hold for every case: a right result or a refusal of one line that names the file, and nothing else.

Nothing else means: no other exception, no warning, not a byte on stderr, no memory for what a file only claims, no
long wait. Memory is measured if the operating system tells it (not on Windows).
"""

import contextlib
import ctypes
import io
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pvt_numpy.system.cli import complain

SECONDS = 5  # of the processor, so that a busy machine is no failure
LONGEST_LINE = 5000  # characters of a refusal


class Failed(AssertionError):
    """A case that ended in anything but a right result or a proper refusal."""


@dataclass(frozen=True)
class Case:
    """One input, before it is tried.

    story   what was done to which file, for people: hypothesis prints it if the case fails
    files   name -> bytes; written into an empty folder
    opened  what the user names: one of the files, or "" for the folder
    load    load(path) -> a result
    check   check(result) raises AssertionError if the result is not what the bytes say
    memory  bytes that it may take at most
    """

    story: str
    files: dict[str, bytes]
    opened: str
    load: Callable[[Path], Any]
    check: Callable[[Any], None]
    memory: int = 64 << 20

    def __repr__(self):
        return self.story


@dataclass(frozen=True)
class Verdict:
    """How a case ended, and what it took. `grown`: bytes by which the process's peak memory rose."""

    accepted: bool
    said: str
    seconds: float
    grown: int


def judge(case):
    """The Verdict on `case`. Raises Failed with the reason if it did not end as it must."""
    with tempfile.TemporaryDirectory(prefix="fuzz", ignore_cleanup_errors=True) as folder:
        for name, content in case.files.items():
            Path(folder, name).write_bytes(content)
        path = Path(folder, case.opened)
        result, error, peak = None, None, peak_memory(forget=True)
        with listening() as heard:
            start = time.process_time()
            try:
                result = case.load(path)
            except (ValueError, OSError) as refusal:
                error = refusal
            except Exception as bug:
                raise Failed(f"{case.story}: {type(bug).__name__}: {str(bug)[:300]}") from bug
            seconds, grown = time.process_time() - start, peak_memory() - peak
        demand(not heard, case, f"said on stderr: {''.join(heard)[:300]!r}")
        demand(seconds <= SECONDS, case, f"took {seconds:.1f} s")
        demand(grown <= case.memory, case, f"took {grown >> 20} MiB, expected at most {case.memory >> 20}")
        if error is None:
            try:
                with listening():  # what a check makes Pillow say does not count
                    case.check(result)
            except Exception as wrong:
                raise Failed(f"{case.story}: a wrong answer: {repr(wrong)[:300]}") from None
        said = "" if error is None else line_for(error)
    if error is not None:
        demand(said.startswith("fuzz: error: ") and said.endswith("\n"), case, f"no line: {said[:300]!r}")
        demand(said[:-1].isprintable(), case, f"more than a line of text: {said[:300]!r}")
        demand(len(said) <= LONGEST_LINE, case, f"a line of {len(said)} characters: {said[:100]!r}")
        demand(str(folder) in said, case, f"does not name the file: {said[:300]!r}")
    return Verdict(error is None, said.replace(str(folder), "FOLDER"), seconds, grown)


def demand(holds, case, otherwise):
    """Raises Failed with the case's story unless it `holds`."""
    if not holds:
        raise Failed(f"{case.story}: {otherwise}")


def line_for(error):
    """What a command would print on stderr for `error`."""
    with contextlib.redirect_stderr(io.StringIO()) as stderr:
        complain("fuzz", error)
    return stderr.getvalue()


@contextlib.contextmanager
def listening():
    """Collects whatever would reach the terminal as stderr: warnings, log lines, prints, and what C libraries write."""
    heard, printed = [], io.StringIO()
    handlers, last_resort = logging.root.handlers, logging.lastResort
    listener = logging.Handler(logging.WARNING)
    listener.emit = lambda record: heard.append(f"log: {record.getMessage()}\n")
    logging.root.handlers, logging.lastResort = [], listener  # as in a command, where nobody has set up logging
    saved = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stderr(printed):
                warnings.simplefilter("always")
                yield heard
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            logging.root.handlers, logging.lastResort = handlers, last_resort
            written.seek(0)
            heard += [f"{one.category.__name__}: {one.message}\n" for one in caught]
            heard += [text for text in (printed.getvalue(), written.read().decode(errors="replace")) if text]


def peak_memory(forget=False):
    """The most memory, in bytes, that the process has held, on Linux since it was last told to `forget`; 0 if the
    operating system does not tell."""
    with contextlib.suppress(OSError):
        if forget:
            with contextlib.suppress(AttributeError):  # memory that the allocator keeps would hide what a case takes
                ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5")
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
