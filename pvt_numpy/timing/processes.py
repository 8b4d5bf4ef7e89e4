"""Processes that are measured: started, asked, and ended whatever happens.

Each has a process group of its own, so that Ctrl-C reaches the command alone, which then ends them all. What they say
on stderr is kept back, for the one line that reports a process which failed.

On Linux a process's peak memory begins with that of the process which started it: a command that measures others must
itself stay smaller than they are, and leave all computing to them. What is computed: `contenders`.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from typing import IO, NamedTuple

from ..fast.cores import SETTING, cores
from ..system.checks import wrong
from ..system.paths import PACKAGE

THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


class Running(NamedTuple):
    """A process that runs, and the file that holds what it said on stderr."""

    name: str
    process: subprocess.Popen
    complaints: IO


@contextlib.contextmanager
def running(name, arguments, threads):
    """`python arguments...` without network, as a Running; it ends with the `with`.

    threads  of each, whatever computes in it; None: a thread for each core, and ours decide for themselves
    """
    settings = dict.fromkeys(THREAD_SETTINGS, str(threads or cores())) | {SETTING: str(threads or "")}
    settings |= {"HF_HUB_OFFLINE": "1", "PYTHONIOENCODING": "utf-8"}
    windows = sys.platform == "win32"
    group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP} if windows else {"start_new_session": True}
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen([sys.executable, *map(str, arguments)], env=os.environ | settings,
                                   cwd=PACKAGE.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=complaints, encoding="utf-8", errors="replace", **group)  # fmt: skip
        try:
            yield Running(name, process, complaints)
        finally:
            process.kill()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.stdout.close()
            process.wait()


def ask(contender, question):
    """The number that the process prints in answer to one line; ValueError with its last words if it is gone."""
    with contextlib.suppress(BrokenPipeError):  # it is gone: then there is no answer either
        print(question, file=contender.process.stdin, flush=True)
    answer = contender.process.stdout.readline()
    if not answer:
        contender.process.wait()
        raise wrong(contender.name, f"a process that stopped ({_last_words(contender)})", "its answer")
    return float(answer)


def run_once(name, arguments, threads):
    """Runs `python arguments...` from start to end. Returns (milliseconds, peak MB, what it printed)."""
    started = time.perf_counter()
    with running(name, arguments, threads) as contender:
        process, peak = contender.process, 0.0
        printed = process.stdout.read()
        if hasattr(os, "wait4"):  # not on Windows
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode, peak = os.waitstatus_to_exitcode(status), _megabytes(usage.ru_maxrss)
        process.wait()
        elapsed = (time.perf_counter() - started) * 1e3
        if process.returncode:
            raise wrong(name, f"a process that failed ({_last_words(contender)})", "exit status 0")
    return elapsed, peak, printed


def own_peak():
    """The most memory that this very process has had, in MB; 0 if the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    return _megabytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _last_words(contender):
    """The last line on stderr, in which a traceback has its reason; or how the process ended, if it said nothing."""
    contender.complaints.seek(0)
    lines = contender.complaints.read().decode("utf-8", "replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    status = contender.process.returncode
    if status < 0:  # of no use then: a killed process has no time for a reason
        return f"ended by signal {-status}" + (", as a system does that runs out of memory" if status == -9 else "")
    return said[-1] if said else f"exit status {status}"


def _megabytes(ru_maxrss):
    return ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)  # bytes there, kilobytes elsewhere
