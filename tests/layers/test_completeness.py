"""No layer is forgotten: every file of `layers/` has its test file here, every function a backward pass and a case."""

import inspect
from importlib import import_module
from pkgutil import iter_modules

import pytest

from pvt_numpy import layers

FILES = {module.name for module in iter_modules(layers.__path__)} - {"run", "twins", "trace", "dropout"}
PARTS = {
    "split_heads", "merge_heads", "as_map", "tokens",  # the same numbers in another order; each undoes another
    "windows", "shifted_copies",  # views, whose pieces the backward passes add up
    "bilinear_matrix", "pooling_matrix",  # constants of the grid
    "normal_cdf", "normal_tail",  # the slope is the bell curve that gelu_backward writes out
    "attend", "project", "activate_and_narrow",  # what two layers share; the cases of both run it
    "through_softmax", "loss_kind",  # the heart of softmax_backward itself; a decision
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_function_has_a_backward_pass_of_the_same_arguments_and_a_case(name):
    module, tests = import_module(f"pvt_numpy.layers.{name}"), import_module(f"tests.layers.test_{name}")
    functions = {n: f for n, f in vars(module).items() if inspect.isfunction(f) and f.__module__ == module.__name__}
    public = {n for n in functions if not n.startswith("_")} - PARTS
    forward = {n for n in public if not n.endswith("_backward")}
    assert {case.layer.name for case in tests.CASES} == {f"{name}.{function}" for function in forward}
    assert tests.MISTAKES
    for function in forward:
        parameters = [str(p) for p in inspect.signature(functions[function]).parameters.values()]
        wanted = ["dy", *(p for p in parameters if p not in ("trace=None", f"name='{name}'", "name='attn'"))]
        backward = inspect.signature(functions[f"{function}_backward"]).parameters.values()
        assert [str(p) for p in backward] == wanted
