"""Everything that runs a model is tested both ways: with the twins of `fast/`, and with the formulas of `layers/`."""

import contextlib

import pytest

import pvt_numpy

WITHOUT_A_MODEL = ("tests.model.test_config",)


def pytest_generate_tests(metafunc):
    if metafunc.module.__name__ not in WITHOUT_A_MODEL:
        metafunc.fixturenames.append("_way")
        metafunc.parametrize("_way", ["twins", "formulas"], indirect=True)


@pytest.fixture
def _way(request):
    with pvt_numpy.plain() if request.param == "formulas" else contextlib.nullcontext():
        yield
