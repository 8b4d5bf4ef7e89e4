"""Commands as a user runs them, each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def start(*arguments, cwd=ROOT, env=None, **options):
    """A Python process, begun, whose output is text; `env`: what it finds set beside what is set here, or None: not."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"} | (env or {})
    environment = {name: value for name, value in environment.items() if value is not None}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "encoding": "utf-8"} | options
    return subprocess.Popen([sys.executable, *map(str, arguments)], cwd=cwd, env=environment, **options)


def run(*arguments, timeout=120, **options):
    """(exit status, stdout, stderr) of a Python process."""
    with start(*arguments, **options) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return process.returncode, out, err


def command(name, *arguments, **options):
    """(exit status, stdout, stderr) of `python -m pvt_numpy.NAME`."""
    return run("-m", f"pvt_numpy.{name}", *arguments, **options)
