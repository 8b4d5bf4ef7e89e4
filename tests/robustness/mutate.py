"""Would the tests notice? Random small changes, one at a time, in a copy of the project, before the tests of its file.

    python tests/robustness/mutate.py layers pictures --count 40 --log mutants.txt

A change is a number, a comparison, an operator, a condition, two swapped arguments, an option left out or a line left
out; what a refusal says is left alone. A line is printed for each: "caught", "slow" (no answer within the limit: it
hangs, or the machine is busy) or "UNSEEN". With --log the lines are kept, and what stands there is not tried again. An
unseen change has no effect, or is a missing check: someone has to look. Not part of the tests: 100 take half an hour.
"""

import argparse
import ast
import importlib
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# room -> (its files; the tests that each of them is tried before at first; those after, if nothing was noticed)
ROOMS = {
    "layers": ("layers/[!_]*.py", "layers/test_{}.py", "layers model/test_golden.py"),
    "fast": ("fast/[!_]*.py", "layers/test_twins.py", "layers model/test_golden.py"),
    "model": ("model.py", "model/test_golden.py model/test_pyramid.py", "model layers/test_run.py"),
    "config": ("config.py", "model/test_config.py", "model checkpoints/test_checkpoint.py"),
    "parameters": ("parameters.py", "model/test_config.py", "model checkpoints/test_checkpoint.py"),
    "gradients": ("gradients.py", "model/test_model_gradients.py", "model training"),
    "training": ("training/[!_]*.py", "training", "commands/test_train.py robustness/test_interrupted.py"),
    "checkpoints": ("checkpoints/[!_]*.py", "checkpoints/test_{}.py", "checkpoints"),
    "pictures": ("pictures/[!_]*.py", "pictures", "commands/test_channels.py commands/test_classify.py"),
}
QUICK, SLOWER = "not torch and not browser and not network", "torch and not network"
OTHER_WAY = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip


def changed(node):
    """The source of each small change of this node alone."""

    def but(**fields):
        return ast.unparse(type(node)(**{name: getattr(node, name) for name in node._fields} | fields))

    match node:
        case ast.Constant(value=bool(value)):
            yield str(not value)
        case ast.Constant(value=int(value)):
            yield from (f"{value + 1}", f"({value - 1})")
        case ast.Constant(value=float(value)):
            yield f"{value * 1.25 if value else 0.1}"
        case ast.Compare(ops=[op], comparators=[_]) if type(op) in OTHER_WAY:
            yield but(ops=[OTHER_WAY[type(op)]()])
        case ast.BoolOp(op=op) | ast.BinOp(op=op) if type(op) in OTHER_WAY:
            yield f"({but(op=OTHER_WAY[type(op)]())})"
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield f"({ast.unparse(operand)})"
        case ast.IfExp():
            yield f"({but(body=node.orelse, orelse=node.body)})"
        case ast.Call(args=[first, second, *rest]) if not any(isinstance(a, ast.Starred) for a in (first, second)):
            yield but(args=[second, first, *rest])
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.If(orelse=[]) | ast.Assign(targets=[ast.Subscript()]):
            yield "pass"
    match node:
        case ast.Call(keywords=[_, *_]):
            for k in range(len(node.keywords)):
                yield but(keywords=node.keywords[:k] + node.keywords[k + 1 :])


def nodes_of(node):
    """The nodes whose change could matter: no wording, no annotation, nothing inside an f-string."""
    yield node
    for name, field in ast.iter_fields(node):
        if name in ("annotation", "returns"):
            continue
        for child in field if isinstance(field, list) else [field]:
            said = isinstance(child, ast.Call) and getattr(child.func, "id", getattr(child.func, "attr", "")) == "wrong"
            if isinstance(child, ast.AST) and not said and not isinstance(child, ast.JoinedStr | ast.Raise):
                yield from nodes_of(child)


def mutants_of(path):
    """(place, what becomes what, the whole file with the change) of every small change in the file."""
    source = path.read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for node in nodes_of(ast.parse(source)):
        for new in changed(node):
            start, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
            old = " ".join(source[start:end].decode().split())
            place = f"{path.relative_to(ROOT).as_posix()}:{node.lineno}:{node.col_offset + 1}"
            yield place, f"{old[:70]}  →  {new[:70]}", source[:start] + new.encode() + source[end:]


def tried(tree, tests, marked, limit):
    """ "caught", "slow" or "UNSEEN": what pytest finds in the tree. Whatever it started ends with it."""
    process = multiprocessing.get_context("fork").Process(target=ask_pytest, args=(tree, tests, marked))
    process.start()
    process.join(limit)
    if process.is_alive():
        os.killpg(process.pid, signal.SIGKILL)
        return "slow"
    return "UNSEEN" if process.exitcode in (0, 5) else "caught"  # 5: no test is so marked


def ask_pytest(tree, tests, marked):
    """The forked process, in which what takes long to import is there already."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.chdir(tree)
    sys.path.insert(0, str(tree))
    early = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of a plugin that transformers has imported
    os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *early, "-m", marked, *tests]))


@cache
def sound(tree, tests, marked, limit):
    """Ends all if these tests fail without a change."""
    if (found := tried(tree, tests, marked, limit)) != "UNSEEN":
        raise SystemExit(f"without a change {' '.join(tests)} (-m {marked!r}) is {found}; expected it to pass")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help=f"of {', '.join(ROOMS)} (default: all)")
    parser.add_argument("--count", type=int, default=20, help="changes in each room (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="default: another each time, printed")
    parser.add_argument("--log", type=Path, help="where the lines are added; what stands there is not tried again")
    parser.add_argument("--only", default="", help="only changes whose line has this in it, such as model.py:67")
    parser.add_argument("--limit", type=int, default=300, help="seconds for each run of tests (default: %(default)s)")
    given = parser.parse_args()
    if unknown := set(given.rooms) - set(ROOMS):
        parser.error(f"ROOM: found {', '.join(unknown)}; expected some of {', '.join(ROOMS)}")
    print(f"seed {given.seed}", flush=True)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before NumPy is there
    for name in ("numpy", "PIL.Image", "matplotlib.figure", "safetensors.numpy", "torch", "transformers"):
        with suppress(ImportError):
            importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "project")
        ours = shutil.ignore_patterns("__pycache__", "runs", ".git", ".venv*", ".ruff_cache", ".pytest_cache")
        shutil.copytree(ROOT, tree, ignore=ours)
        if (ROOT.parent / "shared").exists():
            Path(folder, "shared").symlink_to(ROOT.parent / "shared")
        for room in given.rooms or ROOMS:
            try_room(room, given, tree)


def try_room(room, given, tree):
    files, first, then = ROOMS[room]
    found = [(path, *mutant) for path in sorted((ROOT / "pvt_numpy").glob(files)) for mutant in mutants_of(path)]
    found = [mutant for mutant in found if given.only in f"{mutant[1]}  {mutant[2]}"]
    random.Random(f"{given.seed} {room}").shuffle(found)
    known = given.log.read_text(encoding="utf-8").splitlines() if given.log and given.log.exists() else []
    counts = Counter()
    for path, place, what, source in found[: given.count]:
        if before := [line for line in known if f"{place}  {what}" in line]:
            counts[before[0].split()[0]] += 1
            continue
        suites = [tuple(f"tests/{name.format(path.stem)}" for name in names.split()) for names in (first, then)]
        steps = [(suite, marked) for suite in suites if (ROOT / suite[0]).exists() for marked in (QUICK, SLOWER)]
        begun = time.time()
        verdict = look(tree, tree / path.relative_to(ROOT), source, steps, given.limit)
        counts[verdict] += 1
        line = f"{verdict:<7} {place}  {what}  ({time.time() - begun:.0f} s)"
        print(line, flush=True)
        if given.log:
            with given.log.open("a", encoding="utf-8") as log:
                log.write(line + "\n")
    print(f"{room}: {counts['caught']} caught, {counts['slow']} slow, {counts['UNSEEN']} unseen", flush=True)


def look(tree, target, source, steps, limit):
    """What the steps (tests, how they are marked) find, one after the other, while `target` is changed."""
    untouched = target.read_bytes()
    for step in steps:
        sound(tree, *step, limit)
        try:
            written(target, source)
            if (verdict := tried(tree, *step, limit)) != "UNSEEN":
                return verdict
        finally:
            written(target, untouched)
    return "UNSEEN"


def written(target, source):
    target.write_bytes(source)
    for compiled in target.parent.glob(f"__pycache__/{target.stem}.*"):
        compiled.unlink()  # it may be of the same second and size


if __name__ == "__main__":
    main()
