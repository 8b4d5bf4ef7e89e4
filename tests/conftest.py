"""What all tests share: one thread for NumPy, layers and models with and without twins, and the `torch` marker.

A test marked `torch` compares live with PyTorch and is skipped if requirements-torch.txt is not installed. With
PVT_REQUIRE_TORCH=1 in the environment it fails there instead, so that a run without PyTorch cannot pass for the other.
"""

import os
import re
import signal
import warnings

import pytest

from tests.axe import axe  # noqa: F401 - a fixture
from tests.processes import do_without

# One thread for NumPy's matrix products, unless asked otherwise: those of the tests are small, and two threads that
# share the machine with anything else spend their time waiting for each other. NumPy reads the setting once, when it
# is imported; then it is taken back, so that the commands and notebooks which tests start run as they always do.
if "OPENBLAS_NUM_THREADS" not in os.environ:
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    import numpy  # noqa: F401

    del os.environ["OPENBLAS_NUM_THREADS"]

# A shell's background jobs ignore Ctrl-C, and so would the commands that tests start and stop.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

collect_ignore = ["robustness/fuzz.py", "robustness/kill.py", "robustness/mutate.py"]  # scripts, not modules


# Whatever runs a layer or a model is tested both ways: with the twins of fast/, and with the formulas of layers/.
BOTH_WAYS = re.compile(r"tests\.(layers\.test_(?!completeness|run|twins)|model\.test_(?!config$)).*")


def pytest_generate_tests(metafunc):
    if BOTH_WAYS.fullmatch(metafunc.module.__name__):
        metafunc.parametrize("way", ["twins", "formulas"], indirect=True)


@pytest.fixture(autouse=True)
def way(request):
    if getattr(request, "param", "twins") == "twins":
        yield "twins"
    else:
        import pvt_numpy

        with pvt_numpy.plain():
            yield "formulas"


@pytest.fixture(scope="session")
def chrome():
    """A browser for the tests marked `browser`."""
    from tests.explorer import browser

    with browser.start() as driver:
        yield driver


def pytest_runtest_setup(item):
    if item.get_closest_marker("torch") is not None:
        require_torch()


def require_torch():
    """Imports torch, for one thread, and transformers; warnings of their own imports are not ours to fail on."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import torch
            import transformers  # noqa: F401
            from transformers import PvtForImageClassification, PvtV2ForImageClassification  # noqa: F401
    except ImportError as error:
        do_without("TORCH", f"requirements-torch.txt is not installed: {error}")
    torch.set_num_threads(1)
