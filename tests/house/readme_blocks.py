"""The fenced blocks of the READMEs and of PORTING.md, for the test that runs them and for continuous integration.

`sh` blocks set up a machine: `.ci/run` executes them from empty environments (`readme_blocks.py N` prints
README.md's Nth). `console` blocks show commands after `$` and what they print; `python` blocks are Python.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # not from tests.processes: this is a script as well
README = ROOT / "README.md"
READMES = [README, *sorted([*ROOT.glob("[!.]*/README.md"), *ROOT.glob("pvt_numpy/*/README.md")]),
           ROOT / "pvt_numpy" / "reference" / "PORTING.md"]  # fmt: skip


def blocks(language, file=README):
    """The texts of all blocks in `file` whose opening fence says `language`."""
    text = file.read_text(encoding="utf-8")
    return re.findall(rf"^```{re.escape(language)}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def commands(block):
    """(command, expected output) of a `console` block."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [tuple(part.split("\n", 1)) for part in parts]


if __name__ == "__main__":
    print(blocks("sh")[int(sys.argv[1])], end="")
