"""What the tests of the commands share: where the project lies, which commands there are, and how one is run."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BALL = ROOT / "notebooks" / "golf_ball.jpg"
COMMANDS = sorted(
    path.stem if path.parent.name == "pvt_numpy" else path.parent.name
    for path in [*ROOT.glob("pvt_numpy/*.py"), *ROOT.glob("pvt_numpy/*/__main__.py")]
    if "run(main, " in path.read_text(encoding="utf-8")
)


def start(*arguments, cwd=ROOT, **options):
    """A Python in a process of its own, to which every warning is an error."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "OPENBLAS_NUM_THREADS": "1"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    return subprocess.Popen([sys.executable, *map(str, arguments)], cwd=cwd, env=environment, **streams | options)


def run(*arguments, given="", **options):
    """(exit status, what it printed, what it complained) of `python ARGUMENTS`."""
    with start(*arguments, stdin=subprocess.PIPE, **options) as process:
        out, err = process.communicate(given, timeout=300)
    return process.returncode, out, err


def command(name, *arguments, **options):
    """The same of `python -m pvt_numpy.NAME ARGUMENTS`."""
    return run("-m", f"pvt_numpy.{name}", *arguments, **options)
