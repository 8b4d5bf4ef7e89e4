"""The house's plan holds: which room may use which, and that nobody goes upstairs.

The graph is read from the sources with `ast`: every import, also inside functions, and `import_module` of a literal.
"""

import ast

import pytest

from tests.processes import ROOT

PACKAGE = ROOT / "pvt_numpy"
# from the ground up; an import leads to the same floor or to one below it
FLOORS = [
    ["system"], ["layers"], ["fast"], ["config", "parameters", "model", "gradients"], ["pictures"], ["checkpoints"],
    ["analysis"], ["reference"], ["plots", "explorer"], ["training"], ["timing"], ["options"], ["practice"],
    ["hugging_face"], ["pvt_numpy"], ["commands"]]  # fmt: skip
HEIGHT = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
# of the package; the rest are commands
TOP = {"__init__", "config", "parameters", "model", "gradients", "options"}
# room -> what it may not import although it lies below
FORBIDDEN = dict.fromkeys(["fast", "parameters", "model", "gradients"], {"system"})
FORBIDDEN["pictures"] = HEIGHT.keys() - {"pictures", "system"}


def module_name(path):
    """a/b.py -> a.b; a/__init__.py -> a."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


SOURCES = {module_name(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}


def imported(name, text, modules, package):
    """The names of all modules that a module imports; of our own the innermost that exists."""
    base = name if package else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(base.split(".")[: len(base.split(".")) - node.level + 1]) if node.level else ""
            start = ".".join(filter(None, [start, node.module]))
            wanted = [f"{start}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "import_module":
            target, anchor = (getattr(arg, "value", None) for arg in [*node.args, None][:2])
            wanted = [(anchor or name) + target if target.startswith(".") else target] if target else []
        else:
            continue
        for one in wanted:
            while one.startswith("pvt_numpy.") and one not in modules:
                one = one.rpartition(".")[0]
            found.add(one)
    return found


def graph_of(sources):
    """module -> the modules that it imports."""
    packages = {name.rpartition(".")[0] for name in sources}
    return {name: imported(name, text, sources, name in packages) for name, text in sources.items()}


GRAPH = graph_of(SOURCES)


def room(module):
    """The room of a module of ours; "commands" for a command, wherever it lies."""
    first, *rest = module.split(".")[1:] or ["pvt_numpy"]
    if first == "__main__" or rest == ["__main__"]:
        return "commands"
    return first if first in HEIGHT else "commands"


def ours(modules):
    return sorted(one for one in modules if one.split(".")[0] == "pvt_numpy")


def arrows(graph):
    """(module, module that it imports), of all that are ours."""
    return [(module, other) for module, others in graph.items() for other in ours(others)]


def upwards(module, other):
    return HEIGHT[room(other)] > HEIGHT[room(module)] or room(other) in FORBIDDEN.get(room(module), ())


def cycles(graph):
    """The modules that are left when all that import nothing (but what was taken away before) are taken away."""
    left = {module: set(ours(others)) - {module} for module, others in graph.items()}
    while free := [module for module, others in left.items() if not others & left.keys()]:
        for module in free:
            del left[module]
    return sorted(left)


def test_no_arrow_leads_upwards():
    assert [arrow for arrow in arrows(GRAPH) if upwards(*arrow)] == []


def test_there_is_no_cycle():
    assert cycles(GRAPH) == []


def test_nobody_imports_a_command():
    """A package may import its own parts, and its __main__ is none of them."""
    assert [arrow for arrow in arrows(GRAPH) if room(arrow[1]) == "commands"] == []


def test_at_the_top_stand_what_is_read_and_what_is_run_and_nothing_else():
    run = {path.stem for path in PACKAGE.glob("*.py") if '__name__ == "__main__"' in path.read_text(encoding="utf-8")}
    assert {path.stem for path in PACKAGE.glob("*.py")} == run | TOP
    assert not run & TOP
    assert {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()} <= HEIGHT.keys()


def test_checkpoints_know_recipes_and_names_but_open_no_picture():
    used = {other for module, other in arrows(GRAPH) if (room(module), room(other)) == ("checkpoints", "pictures")}
    assert used <= {"pvt_numpy.pictures.recipes", "pvt_numpy.pictures.imagenet"}


# what the arithmetic needs besides NumPy and math
BESIDES = {"layers.run": {"re", "zlib", "collections", "typing"}, "layers.twins": {"functools"},
           "fast.switch": {"contextlib", "os", "sys"},
           "fast.cores": {"contextlib", "contextvars", "functools", "os", "pathlib", "time"},
           "fast.pieces": {"collections", "concurrent", "contextlib", "contextvars", "functools", "itertools", "os",
                           "threading", "threadpoolctl"}}  # fmt: skip


def test_the_arithmetic_needs_numpy_and_math_alone():
    for module in [module for module in GRAPH if room(module) in ("layers", "fast")]:
        outside = {other.split(".")[0] for other in GRAPH[module]} - {"pvt_numpy", "numpy", "math"}
        assert outside == BESIDES.get(module.partition(".")[2], set()), module


@pytest.mark.parametrize("drawn", ["plots", "explorer"])
def test_what_is_drawn_runs_no_model_itself(drawn):
    used = {other for module, other in arrows(GRAPH) if module.split(".")[1:2] == [drawn]}
    assert not used & {"pvt_numpy.model", "pvt_numpy.gradients"}


def words_of(text):
    """Every name and every text in a source, docstrings left out."""
    tree = ast.parse(text)
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def test_only_system_knows_where_things_lie_and_nothing_is_read_from_the_tests():
    for module, text in SOURCES.items():
        words = list(words_of(text))
        assert room(module) == "system" or "__file__" not in words, module
        assert not [word for word in words if word == "tests" or "tests/" in word], module


@pytest.mark.parametrize(("module", "line"), [
    ("pvt_numpy.layers.linear", "from ..fast import anything"),
    ("pvt_numpy.layers.linear", "from ..model import forward"),
    ("pvt_numpy.system.files", "import pvt_numpy.config"),
    ("pvt_numpy.pictures.decode", "from .. import config"),
    ("pvt_numpy.pictures.decode", "from .. import load_model"),
    ("pvt_numpy.model", "def f():\n    import_module('pvt_numpy.plots.style')"),
    ("pvt_numpy.checkpoints", "def f():\n    import_module('.reference.golden', 'pvt_numpy')"),
    ("pvt_numpy.timing.processes", "from ..train import main")])  # fmt: skip
def test_an_arrow_upwards_would_be_found(module, line):
    made_up = graph_of(SOURCES | {module: line})
    assert [arrow[0] for arrow in arrows(made_up) if upwards(*arrow)] == [module]


def test_a_cycle_would_be_found():
    made_up = graph_of(SOURCES | {"pvt_numpy.layers.linear": "from .attention import attend"})
    assert {"pvt_numpy.layers.linear", "pvt_numpy.layers.attention"} <= set(cycles(made_up))
