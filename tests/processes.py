"""Where the project lies, which commands there are, and how a user runs them: each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BALL = ROOT / "notebooks" / "golf_ball.jpg"
COMMANDS = sorted(
    path.stem if path.parent.name == "pvt_numpy" else path.parent.name
    for path in [*ROOT.glob("pvt_numpy/*.py"), *ROOT.glob("pvt_numpy/*/__main__.py")]
    if "run(main, " in path.read_text(encoding="utf-8")
)


def do_without(what, reason):
    """Skips a test that needs something which this machine lacks; fails it with PVT_REQUIRE_{what}=1."""
    if os.environ.get(f"PVT_REQUIRE_{what}") == "1":
        pytest.fail(f"PVT_REQUIRE_{what}=1, and {reason}", pytrace=False)
    pytest.skip(reason)


def shared(path):
    """What lies at this path in ../shared, which is too large for the repository, or another's."""
    if not (found := ROOT.parent / "shared" / path).exists():
        do_without("SHARED", f"../shared/{path} is not here")
    return found


def photos():
    """Real photos: a folder with a sub-folder per class."""
    return shared("imagenette160/val")


def start(*arguments, cwd=ROOT, env=None, **options):
    """A Python process, begun, to which every warning is an error.

    `env`: what it finds set beside what is set here, or None: not set. Its streams carry text unless `encoding=None`.
    """
    ours = {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "OPENBLAS_NUM_THREADS": "1"} | (env or {})
    environment = {name: value for name, value in (os.environ | ours).items() if value is not None}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"} | options
    return subprocess.Popen([sys.executable, *map(str, arguments)], cwd=cwd, env=environment, **options)


def run(*arguments, given=None, timeout=300, **options):
    """(exit status, stdout, stderr) of a Python process, which reads `given` from its standard input."""
    with start(*arguments, stdin=subprocess.PIPE, **options) as process:
        try:
            out, err = process.communicate(given, timeout)
        except BaseException:
            process.kill()
            raise
    return process.returncode, out, err


def command(name, *arguments, **options):
    """(exit status, stdout, stderr) of `python -m pvt_numpy.NAME`."""
    return run("-m", f"pvt_numpy.{name}", *arguments, **options)
