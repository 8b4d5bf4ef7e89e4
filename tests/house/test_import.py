"""`import pvt_numpy` is light: no heavy package comes with it, and it takes little longer than NumPy itself."""

import pytest

from tests.processes import COMMANDS, ROOT, run

HEAVY = ("torch", "transformers", "timm", "matplotlib", "huggingface_hub", "tqdm", "jupyter", "IPython", "ipykernel",
         "nbclient", "nbformat", "hypothesis", "selenium")  # fmt: skip
MODULES = [f"pvt_numpy.{name}" if (ROOT / f"pvt_numpy/{name}.py").exists() else f"pvt_numpy.{name}.__main__"
           for name in COMMANDS]  # fmt: skip
LIMIT = 0.3  # seconds beyond NumPy's own import


def fresh(code):
    """What a new Python prints for `code`, run from the checkout."""
    status, out, err = run("-c", code)
    assert (status, err) == (0, "")
    return out


@pytest.mark.parametrize("module", ["pvt_numpy", "pvt_numpy.model", *MODULES])
def test_no_heavy_package_is_imported(module):
    loaded = fresh(f"import sys, {module}; print(*sys.modules)").split()
    assert module in loaded
    assert not set(HEAVY) & set(loaded)


def test_naming_one_photo_takes_nothing_that_it_does_not_need():
    """tqdm and secrets (which brings OpenSSL) would take a tenth of the whole time, and 7 MB."""
    code = (
        "import sys; from pvt_numpy.classify import main; main(['notebooks/golf_ball.jpg', '--json']); "
        "print(*sys.modules)"
    )
    loaded = fresh(code).splitlines()[-1].split()
    assert "pvt_numpy.model" in loaded
    assert not {*HEAVY, "secrets", "hashlib"} & set(loaded)


def test_it_is_quick():
    code = "import time, numpy; start = time.perf_counter(); import pvt_numpy; print(time.perf_counter() - start)"
    assert any(float(fresh(code)) < LIMIT for _ in range(15))  # the best one counts: others may share the machine
