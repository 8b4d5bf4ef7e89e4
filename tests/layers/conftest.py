"""The tests of a layer run twice: with the faster twins of `fast/`, and with the formulas of `layers/` alone."""

import contextlib

import pytest

import pvt_numpy

pytest.register_assert_rewrite("tests.layers.helpers")  # its failures show their numbers, as those of tests do
FORMS = {"twins": contextlib.nullcontext, "formula": getattr(pvt_numpy, "plain", contextlib.nullcontext)}


def pytest_generate_tests(metafunc):
    if hasattr(metafunc.module, "CASES"):
        metafunc.parametrize("form", FORMS, indirect=True)


@pytest.fixture(autouse=True)
def form(request):
    with FORMS[getattr(request, "param", "twins")]():
        yield
