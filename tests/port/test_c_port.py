"""A port to another language, checked as any port is: `pvt.c` reads a toy's numbers and writes its own.

It proves that the files are enough, and that a mistake in a foreign program is named. It is compiled here; without a C
compiler these tests are skipped, or fail with PVT_REQUIRE_C=1.
"""

import shutil
import subprocess
from functools import cache

import numpy as np
import pytest

from pvt_numpy import validate
from pvt_numpy.parameters import flatten
from pvt_numpy.reference import against
from pvt_numpy.reference.dump import arrays_of
from pvt_numpy.reference.toys import TOYS, toy
from tests.processes import ROOT, do_without

SOURCE = ROOT / "tests" / "port" / "pvt.c"
MISTAKES = [  # what pvt.c is compiled with, a toy in which it shows, and what our list calls it
    ("TANH_GELU", "v1", "gelu"), ("VALUES_FIRST", "v2", "kv"), ("ONE_EPS", "v2", "eps"),
    ("SAME_PADDING", "v2_linear", "same-padding"), ("KERNEL_LAYOUT", "v2", "kernel-layout"),
    ("ALIGNED_CORNERS", "v1", "corners"), ("FLOOR_BINS", "v2_linear", "floor-bins")]  # fmt: skip


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """A function: the folder that the port, compiled with this macro or none, writes for a toy."""
    compiler = shutil.which("cc") or do_without("C", "there is no C compiler, cc")
    root = tmp_path_factory.mktemp("port")

    @cache
    def compiled(macro):
        options = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", *([f"-D{macro}"] if macro else [])]
        subprocess.run([compiler, *options, SOURCE, "-lm", "-o", root / f"pvt{macro}"], check=True)
        return root / f"pvt{macro}"

    @cache
    def numbers(name):
        assert validate.main(["--dump", str(root / name), "--toy", name, "--raw"]) == 0
        return root / name

    def run(name, macro=""):
        folder = root / f"{name}{macro}.out"
        folder.mkdir()
        subprocess.run([compiled(macro), numbers(name), folder, name], check=True)
        return folder

    return run


@pytest.mark.parametrize("name", TOYS)
def test_it_agrees_in_every_array(port, name):
    folder, (config, params, pixels) = port(name), toy(name, np.float64)
    assert validate.main(["--against", str(folder), "--toy", name]) == 0
    found = against.examine(folder, config, params, pixels)
    given = [*flatten(params), "pixel_values"]
    assert [row.name for row in found.rows] == [one for one in arrays_of(config, params, pixels) if one not in given]
    assert max(row.relative for row in found.rows) < 1e-13
    assert found.unknown == []


@pytest.mark.parametrize(("macro", "name", "mistake"), MISTAKES)
def test_a_mistake_in_it_is_named(port, macro, name, mistake):
    found = against.examine(port(name, macro), *toy(name, np.float64))
    assert [one for one, _ in found.mistakes] == [mistake]


def test_it_is_a_page_to_read():
    text = SOURCE.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    assert {macro for macro, _, _ in MISTAKES} == {
        line.split()[1] for line in text.splitlines() if line.startswith("#ifdef")
    }
