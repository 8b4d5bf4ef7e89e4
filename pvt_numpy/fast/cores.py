"""How many threads compute: as many as this process has cores.

Its cores are those that it may run on (affinity), in a container no more than its share of time (cgroup). Threads that
take whole pieces of a batch may share a core with a busy neighbour. But those that help with one piece are waited for
in every layer, so they are no more than cores are free: Linux says how many threads of the whole machine run at this
moment, and which of them are ours. A number that is asked for, with `threads(N)`, `--threads N` or PVT_NUMPY_THREADS,
is used whatever the machine does.
"""

import contextlib
import contextvars
import os
import time
from functools import cache
from pathlib import Path

SETTING = "PVT_NUMPY_THREADS"
MOST = 256
LOOKS, PAUSE = 3, 0.0005  # seconds: what runs for a moment only is no neighbour
REMEMBERED = 0.2  # seconds for which the load is not asked again
_asked = contextvars.ContextVar("threads", default=None)
_load = [-1.0, 0]  # when it was asked, and what was said


@contextlib.contextmanager
def threads(number):
    """So many threads compute, for the length of the with block; None: as before."""
    token = _asked.set(number or _asked.get())
    try:
        yield
    finally:
        _asked.reset(token)


def asked():
    """The number of threads that the user asked for; None: he did not."""
    number, wish = _asked.get(), os.environ.get(SETTING, "")
    if number is None and wish:
        number = int(wish) if wish.isdecimal() else 0
        if not 1 <= number <= MOST:
            raise ValueError(f"{SETTING}: found {wish!r}; expected a whole number from 1 to {MOST}, or nothing")
    return number


def for_pieces():
    """How many threads compute pieces side by side."""
    return asked() or cores()


def for_one_piece():
    """How many threads share the work of one piece."""
    return asked() or max(1, min(cores(), (os.cpu_count() or 1) - neighbours()))


@cache
def cores():
    """How many cores this process may use, at least one."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(affinity, int(quota())))


def quota(root=Path("/sys/fs/cgroup")):
    """How many cores' time a container is given, by cgroup version 2 or 1; infinity if there is no limit."""
    for files in (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]):
        with contextlib.suppress(OSError, ValueError):  # no such file; "max" is no number
            given, period = map(int, " ".join((root / file).read_text() for file in files).split())
            if given > 0:
                return max(1, given / period)
    return MOST


def neighbours():
    """How many threads of others run now; 0 if the system does not say."""
    if time.monotonic() - _load[0] > REMEMBERED:
        found = others_running()
        for _ in range(LOOKS - 1):
            if found:
                time.sleep(PAUSE)
                found = min(found, others_running())
        _load[:] = time.monotonic(), found
    return _load[1]


def others_running(proc=Path("/proc")):
    """The same at one look."""
    try:
        running = int((proc / "loadavg").read_text().split()[3].partition("/")[0])
        ours = [(task / "stat").read_text().rpartition(")")[2].split()[0] for task in (proc / "self/task").iterdir()]
    except (OSError, ValueError, IndexError):  # no Linux, or a thread that has just ended
        return 0
    return max(0, running - ours.count("R"))
