"""A fixed few hundred of the cases that `fuzz.py` tries by the thousand, and proof that they can fail."""

import logging
import os
import sys
import time
import warnings
from collections import Counter

import pytest

from tests.robustness import fuzz
from tests.robustness.fuzzing.commands import COMMANDS
from tests.robustness.fuzzing.judge import Case, Failed, judge
from tests.robustness.fuzzing.kinds import KINDS, try_cases


@pytest.fixture(autouse=True)
def without_pytorch(monkeypatch, request):
    if not request.node.get_closest_marker("torch"):
        monkeypatch.setitem(sys.modules, "torch", None)  # importing it raises ImportError


@pytest.mark.parametrize(
    "kind", [pytest.param(name, marks=[pytest.mark.torch] * kind.torch) for name, kind in KINDS.items()]
)
def test_a_result_or_one_line(kind):
    verdicts = []
    try_cases(kind, max(12, round(500 * KINDS[kind].share)), judged=verdicts.append)
    assert len(verdicts) >= 12
    ends = {verdict.accepted for verdict in verdicts}
    assert ends == {"sound pictures": {True}, "no pictures": {False}, "names": {False}}.get(kind, {True, False})


@pytest.mark.parametrize("command", COMMANDS)
def test_whole_commands(command, tmp_path):
    command(tmp_path)


def _raise(error):
    raise error


def _take_long(_):
    until = time.process_time() + 0.3
    while time.process_time() < until:
        pass


WRONG = {
    "RecursionError": lambda path: _raise(RecursionError("deep")),
    "KeyError": lambda path: _raise(KeyError("x")),
    "MemoryError": lambda path: _raise(MemoryError()),
    "does not name the file": lambda path: _raise(ValueError("something is wrong")),
    "a C library complains": lambda path: os.write(2, b"a C library complains\n"),
    "careless": lambda path: warnings.warn("careless", stacklevel=2),
    "log: careless": lambda path: logging.getLogger("library").warning("careless"),
    "took 0.": _take_long,
    "MiB": lambda path: len(b"x" * (200 << 20)),
    "a wrong answer": lambda path: "wrong",
}


@pytest.mark.parametrize("reason", WRONG)
def test_the_judge_can_say_no(reason, monkeypatch):
    if reason == "MiB" and sys.platform == "win32":
        pytest.skip("Windows does not tell")
    if reason == "took 0.":
        monkeypatch.setattr("tests.robustness.fuzzing.judge.SECONDS", 0.2)
    with pytest.raises(Failed, match=reason):
        judge(Case("a story", {"x": b""}, "x", WRONG[reason], right))


def right(result):
    assert result != "wrong", "not this"


def test_a_kind_goes_on_after_its_first_failure(monkeypatch, capsys):
    """Each round is tried; a failure that comes again is told once."""
    rounds, total = [], Counter()
    case = Case("a story", {"x": b""}, "x", lambda path: _raise(KeyError(str(len(rounds) // 3))), right)
    monkeypatch.setattr(fuzz, "AT_ONCE", 5)
    monkeypatch.setattr(fuzz, "try_cases", lambda kind, count, seed, *_: rounds.append((count, seed)) or judge(case))
    assert fuzz.run_kind("names", 18, 7, total) == 2
    assert rounds == [(5, 7000), (5, 7001), (5, 7002), (3, 7003)]
    assert capsys.readouterr().out.count("FAILED, names: a story: KeyError") == 2


def test_other_cases_every_time_and_the_seed_is_told(monkeypatch, capsys):
    seeds = []
    monkeypatch.setattr(fuzz, "limit_memory", lambda: None)
    monkeypatch.setattr(fuzz, "run_kind", lambda kind, count, seed, total: seeds.append(seed) or 0)
    for arguments in (["--kinds", "names"], ["--kinds", "names"], ["--kinds", "names", "--seed", "7"]):
        assert fuzz.main(arguments) == 0
        assert f"--seed {seeds[-1]}\n" in capsys.readouterr().out
    assert (seeds[0] != seeds[1], seeds[2]) == (True, 7)
