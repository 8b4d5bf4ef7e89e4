"""No layer is forgotten: every file of `layers/` has its test file here, every function a backward pass and a case."""

from importlib import import_module
from inspect import signature
from pkgutil import iter_modules

import pytest

from pvt_numpy import layers

FILES = {module.name for module in iter_modules(layers.__path__)} - {"run", "twins"}
PARTS = {
    "split_heads", "merge_heads", "as_map", "tokens",  # the same numbers in another order; each undoes another
    "windows", "shifted_copies",  # views, whose pieces the backward passes add up
    "bilinear_matrix", "pooling_matrix",  # constants of the grid
    "normal_cdf",  # the slope is the bell curve that gelu_backward writes out
    "attend",  # what both attentions share, and their cases run
    "through_softmax", "loss_kind",  # the heart of softmax_backward itself; a decision
    "check_kernels",  # a refusal
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_function_has_a_backward_pass_of_the_same_arguments_and_a_case(name):
    module, tests = import_module(f"pvt_numpy.layers.{name}"), import_module(f"tests.layers.test_{name}")
    public = {n for n, f in vars(module).items() if n[0] != "_" and getattr(f, "__module__", "") == module.__name__}
    forward = {n for n in public - PARTS if not n.endswith("_backward")}
    assert {case.layer.name for case in tests.CASES} == {f"{name}.{function}" for function in forward}
    assert tests.MISTAKES
    for function in forward:
        arguments, backward = (str(signature(getattr(module, f)))[1:] for f in (function, f"{function}_backward"))
        assert backward == f"dy, {arguments}"
