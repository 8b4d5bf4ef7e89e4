"""The package as others get it: built as a wheel, put into an empty environment, and run in another folder.

Only the build asks an index, for its backend; if there is none, these tests are skipped, or fail with
PVT_REQUIRE_WHEEL=1. What the wheel says it depends on is linked into the environment from this one, and nothing else,
so that a dependency which it forgets to name is missing.
"""

import os
import re
import shutil
import subprocess
import sys
import venv
from importlib.metadata import distribution, distributions

import pytest

import pvt_numpy
from pvt_numpy.system.cli import EXTRAS
from tests.house.readme_blocks import blocks
from tests.processes import ROOT, do_without

pytestmark = pytest.mark.skipif(os.name == "nt", reason="makes links")
UNREACHABLE = re.compile("No matching distribution|Could not find a version|No module named pip|ConnectionError")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A function that runs the environment's Python in a folder with photo.jpg alone, and the wheel's metadata."""
    root, pip = tmp_path_factory.mktemp("elsewhere"), [sys.executable, "-m", "pip"]
    build = [*pip, "wheel", ROOT, "--no-deps", "--wheel-dir", root, "--retries", "1"]
    built = subprocess.run(build, capture_output=True, text=True, timeout=300)
    if built.returncode and UNREACHABLE.search(built.stderr):
        do_without("WHEEL", f"pip finds no index that has the build backend: {built.stderr.splitlines()[-1]}")
    assert built.returncode == 0, built.stderr
    venv.create(root / "env", symlinks=True)
    python = str(root / "env" / "bin" / "python")
    install = [*pip, "--python", python, "install", "--quiet", "--no-deps", "--no-index", *root.glob("*.whl")]
    subprocess.run(install, check=True)
    (site,) = root.glob("env/lib/*/site-packages")
    (wheel,) = distributions(path=[str(site)])
    for name in [re.match(r"[\w-]+", line).group() for line in wheel.requires if "extra ==" not in line]:
        needed = distribution(name)
        for top in {file.parts[0] for file in needed.files} - {".."}:
            (site / top).symlink_to(needed.locate_file(top))
    folder = root / "here"
    folder.mkdir()
    shutil.copy(pvt_numpy.SAMPLE_PICTURE, folder / "photo.jpg")
    options = {"cwd": folder, "env": os.environ | {"PYTHONPATH": ""}, "capture_output": True, "encoding": "utf-8"}
    return lambda arguments: subprocess.run([python, *arguments], **options), wheel


@pytest.mark.parametrize(("arguments", "said"), [
    (["-m", "pvt_numpy"], "validate"),
    (["-m", "pvt_numpy.classify", "photo.jpg"], "golf ball         91.9%"),
    (["-m", "pvt_numpy.classify", *"...", "--json"], '"label": "golf ball"'),  # three pictures: a progress bar
    (["-m", "pvt_numpy.classify", "--list-models"], "pvt_v2_b5"),
    (["-m", "pvt_numpy.classify", "photo.jpg", "--model", "pvt_v1_nano_imagenette"], "golf ball"),
    (["-m", "pvt_numpy.validate", "--golden"], "all 26 agree"),
    (["-m", "pvt_numpy.explore", "photo.jpg"], "open it in a browser"),
    (["-c", "import pvt_numpy.system.paths as p; print(*(p.PACKAGE / 'reference').glob('toy_dumps/*'))"], "v2_linear"),
    *((["-c", block], "golf ball") for block in blocks("python"))])  # fmt: skip
def test_it_runs_in_any_folder(installed, arguments, said):
    done = installed[0](arguments)
    assert (done.returncode, said in done.stdout) == (0, True), done.stderr


def test_a_package_of_an_extra_is_named_if_it_is_missing(installed):
    done = installed[0](["-m", "pvt_numpy.plots", "cost"])
    said = "plots: error: the package matplotlib is not installed; pip install matplotlib (the extra [plots])\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_the_requirements_files_list_the_same_packages(installed):
    _, wheel = installed
    assert wheel.version == pvt_numpy.__version__
    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("requirements.txt", "requirements-torch.txt"))
    needed = [line.replace("-", "_") for line in wheel.requires]
    listed = {line.replace("-", "_") for line in re.findall(r"^\w\S+", text, flags=re.MULTILINE)}
    assert listed == {line.partition(";")[0] for line in needed}
    for package, extra in EXTRAS.items():
        assert any(re.fullmatch(f"{package}>=.*extra == .{extra}.", line) for line in needed)
