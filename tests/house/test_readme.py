"""The README is a promise: every block in it runs and prints what it shows."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pvt_numpy import VARIANTS
from pvt_numpy.analysis.cost import summarise
from pvt_numpy.checkpoints.hub import OFFICIAL_TOP1
from tests.commands.test_cli import COMMANDS
from tests.house.readme_blocks import README, blocks, commands

ROOT = README.parent
CHECKER = doctest.OutputChecker()
SETTINGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def run_command(command):
    """What a shell prints for `command` in the project's folder, with this Python first on the path."""
    scripts = str(Path(sys.executable).parent)
    environment = os.environ | {"PATH": scripts + os.pathsep + os.environ["PATH"], "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, shell=True, cwd=ROOT, env=environment, capture_output=True, timeout=300)
    expected = 1 if "--break" in command else 0  # a model that was broken on purpose does not validate
    assert done.returncode == expected, done.stderr.decode()
    return done.stdout.decode()


CONSOLE = [pair for block in blocks("console") for pair in commands(block)]


@pytest.mark.parametrize(("command", "expected"), CONSOLE, ids=[command for command, _ in CONSOLE])
def test_console_blocks(command, expected):
    found = run_command(command)
    assert CHECKER.check_output(expected, found, SETTINGS), f"$ {command}\nREADME:\n{expected}\nfound:\n{found}"


def test_python_blocks():
    assert blocks("python")
    for block in blocks("python"):
        done = subprocess.run([sys.executable, "-c", block], cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        shown = [line.split("# ", 1)[1] for line in block.splitlines() if line.startswith("print(") and "# " in line]
        assert done.stdout.splitlines() == shown


def test_there_is_no_other_kind_of_block_and_the_integration_runs_the_set_up():
    fences = re.findall(r"^```(.+)$", README.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(fences) <= {"sh", "console", "python"}
    integration = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for n in range(len(blocks("sh"))):
        assert f"readme_block {n}\n" in integration


def table(heading):
    """The rows of the first table below a heading, as lists of cells, without the line of titles."""
    section = README.read_text(encoding="utf-8").split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_table_of_variants():
    expected = []
    for name, config in VARIANTS.items():
        counted = summarise(config)
        expected.append([name, ", ".join(map(str, config.depths)), f"{counted['parameters']:,}",
                         f"{counted['macs'] / 1e9:.3f}", str(OFFICIAL_TOP1[name])])  # fmt: skip
    assert table("Variants") == expected


def test_the_table_of_commands_names_them_all():
    assert sorted(name.strip("`") for name, _ in table("Commands")) == COMMANDS


def test_no_figure_is_left_to_be_filled_in():
    text = README.read_text(encoding="utf-8")
    missing = [n for n, line in enumerate(text.splitlines(), 1) if "FIGURE" in line]
    assert not missing, f"FIGURE stands in lines {missing}"


def test_links_lead_somewhere():
    text = README.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text) + re.findall(r'src="(?!https?:)([^"]+)"', text):
        assert (ROOT / target).exists(), target
