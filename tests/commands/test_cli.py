"""What all commands share: exit statuses, one-line errors, and help that teaches."""

import argparse
import os
import signal
import subprocess
import sys
from importlib import import_module

import pytest

from pvt_numpy.system.cli import complain, run, say_working, whole_number
from tests import processes
from tests.processes import BALL, COMMANDS, ROOT


@pytest.fixture(autouse=True)
def _signals():
    """What `run` sets for the process that it ends is taken back: this one goes on."""
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(kind) for kind in kinds]
    yield
    for kind, handler in zip(kinds, before, strict=True):
        signal.signal(kind, handler)


def job(body, before="import sys"):
    """The code of a program whose `main` is this."""
    return f"{before}\nfrom pvt_numpy.system.cli import run\ndef main():\n    {body}\nrun(main, 'job')"


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
def test_ctrl_c_after_the_work_is_too_late():
    """Python's own end, here a function that it calls then, must not show a traceback."""
    code = "import atexit, os, signal\natexit.register(os.kill, os.getpid(), signal.SIGINT)"
    assert processes.run("-c", job("return 0", code)) == (0, "", "")


@pytest.mark.parametrize(("error", "status", "said"), [
    (repr(ValueError("two\nlines \x1b[31m")), 1, "job: error: two lines \\x1b[31m\n"),
    ("FileNotFoundError(2, 'No such file', 'a b.jpg')", 1, "job: error: a b.jpg: No such file\n"),
    ("KeyboardInterrupt", 130, "job: stopped\n"), ("MemoryError", 1, "job: error: MemoryError\n"),
    ("BrokenPipeError", 0, "")])  # fmt: skip
def test_errors_become_one_line_and_a_status(error, status, said):
    assert processes.run("-c", job(f"raise {error}")) == (status, "", said)


def test_a_bug_still_shows_its_traceback_and_the_status_of_main_is_that_of_the_process():
    with pytest.raises(KeyError):
        run(lambda: {}["bug"], "job")
    with pytest.raises(SystemExit) as stopped:
        run(lambda: 1, "job")
    assert stopped.value.code == 1


def test_a_missing_package_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # importing it now raises ModuleNotFoundError
    with pytest.raises(SystemExit) as stopped:
        run(lambda: import_module("matplotlib.figure"), "job")
    said = "job: error: the package matplotlib is not installed; pip install matplotlib (the extra [plots])\n"
    assert (stopped.value.code, capsys.readouterr().err) == (1, said)


@pytest.mark.parametrize(("error", "start", "end"), [
    ("what was wrong", "job: error: what was wrong\n", "wrong\n"),
    ("model.bin: " + "\x1b" * 10**6, "job: error: model.bin: \\x1b\\x1b", " more characters)\n")])  # fmt: skip
def test_complain_writes_a_line_that_is_no_megabyte_to_stderr(capsys, error, start, end):
    complain("job", error)
    out, said = capsys.readouterr()
    assert (out, said[: len(start)], said[-len(end) :]) == ("", start, end)
    assert len(said) < 4100


def test_of_a_path_that_is_too_long_the_reason_is_still_said(capsys):
    complain("job", f"{'a' * 5000}: found a file that cannot be read (File name too long); expected a picture")
    said = capsys.readouterr().err
    assert "found a file that cannot be read (File name too long); expected a picture (1,0" in said


@pytest.mark.parametrize("watched", [True, False])
def test_only_a_terminal_is_told_of_work_in_progress(capsys, monkeypatch, watched):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: watched)
    say_working("comparing")
    assert capsys.readouterr().err == "comparing ...\n" * watched


def test_whole_numbers_have_limits():
    assert whole_number(2, 5)("5") == 5
    for text in ("6", "1", "-1", "2.0", "nan", "9" * 5000):
        with pytest.raises(argparse.ArgumentTypeError, match="expected a whole number from 2 to 5") as refused:
            whole_number(2, 5)(text)
        assert len(str(refused.value)) < 120
    with pytest.raises(argparse.ArgumentTypeError, match="expected a whole number from 1 on"):
        whole_number(1)("9" * 5000)


@pytest.mark.skipif(sys.platform == "win32", reason="closes streams as a Unix shell does")
@pytest.mark.parametrize(("closed", "status"), [("<&-", 1), (">&-", 0), ("2>&-", 0)])
def test_closed_streams_are_no_traceback(closed, status):
    image = "-" if closed == "<&-" else "notebooks/golf_ball.jpg"
    line = f'"{sys.executable}" -m pvt_numpy.classify {image} {closed}'
    done = subprocess.run(["sh", "-c", line], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, len(done.stderr.splitlines())) == (status, status)
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without telling it")
def test_a_terminated_command_clears_away_what_is_half_written(tmp_path):
    body = "with atomic_file(sys.argv[1]):\n        print('writing', flush=True)\n        time.sleep(60)"
    code = job(body, "import sys, time; from pvt_numpy.system.files import atomic_file")
    with processes.start("-c", code, tmp_path / "out") as process:
        assert process.stdout.readline() == "writing\n"
        assert len(list(tmp_path.iterdir())) == 1
        process.send_signal(signal.SIGTERM)
        assert (process.wait(timeout=30), process.stderr.read()) == (143, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(command):
    status, out, err = processes.command(command, "--help")
    assert (status, err) == (0, "")
    assert f"pvt_numpy.{command}" in out
    assert ("--model SOURCE" in out) == (
        command not in ("benchmark", "practice", "train")
    )  # these make models of their own


def test_the_list_of_commands_is_not_empty():
    assert {"classify", "convert", "evaluate", "summary", "benchmark"} <= set(COMMANDS)


WRONG_SIZES = ["0", "224x", "axb", "1x2x3", "20000", "9" * 5000]
WRONG_USAGE = [
    ("benchmark", ["--models", "pvt_v3"], "--models"), ("benchmark", ["--image-sizes", "8"], "--image-sizes"),
    ("benchmark", ["--only", "lunch"], "--only"), ("benchmark", ["--runs", "0"], "--runs"),
    ("classify", [], "IMAGE: found none"), ("classify", ["-", "-"], "more than once"),
    ("classify", [BALL, "--top-k", "0"], "--top-k: found '0'; expected a whole number from 1 on"),
    ("classify", [BALL, "--top-k", "x"], "--top-k"), ("classify", [BALL, "--recipe", "mine"], "--recipe"),
    ("convert", [], "one of the arguments SOURCE --model is required"),
    ("convert", ["x", "--model", "y"], "--model: not allowed with argument SOURCE"),
    ("convert", ["x", "--origin", "y"], "--origin: found 'y'; expected KEY=TEXT"),
    ("plots", ["attention"], "IMAGE: found none; expected a picture"),
    ("plots", ["nonsense"], "FIGURE: invalid choice"),
    ("plots", ["attention", "x.jpg", "--query", "3"], "--query: found '3'; expected a pixel's row and column"),
    ("plots", ["attention", "x.jpg", "--query", "-3,4"], "--query"),
    *(("summary", ["pvt_tiny", "--image-size", size], "expected pixels") for size in WRONG_SIZES),
    ("validate", ["--random", "pvt_tiny", "x"], "SOURCE"), ("validate", ["--dtype", "half"], "--dtype"),
    ("validate", ["--variants", "--break", "kv"], "--variants"),
    ("validate", ["--variants", "--dtype", "float32"], "--variants: found --image, --break or --dtype"),
    ("validate", ["--variants", "--random", "pvt_tiny"], "--variants")]  # fmt: skip


@pytest.mark.parametrize(("command", "arguments", "said"), WRONG_USAGE)
def test_wrong_usage_is_status_2(command, arguments, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        import_module(f"pvt_numpy.{command}" + ".__main__" * (command == "plots")).main(list(map(str, arguments)))
    assert stopped.value.code == 2
    usage, found = capsys.readouterr().err.split("error: ")
    assert usage.startswith("usage: ")
    assert said in found


@pytest.mark.parametrize("command", ["convert", "summary", "validate"])
@pytest.mark.parametrize("option", [[], ["--model"]])
def test_a_model_is_named_with_or_without_the_option_and_a_mistake_is_one_line(command, option):
    status, out, err = processes.command(command, *option, "no-such-file.safetensors")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"{command}: error: no-such-file.safetensors: ")


@pytest.mark.parametrize(("given", "said"), [
    (["classify", "my photo.jpg", "--json"], "a dot: python -m pvt_numpy.classify 'my photo.jpg' --json"),
    (["clasify"], "a dot: python -m pvt_numpy.classify"),
    (["xyz"], "a dot: python -m pvt_numpy.COMMAND, one of benchmark")])  # fmt: skip
def test_a_command_after_a_space_is_shown_with_its_dot(capsys, given, said):
    from pvt_numpy.__main__ import main

    with pytest.raises(SystemExit, match="2"):
        main(given)
    assert f"error: found {given[0]!r} after a space; expected {said}" in capsys.readouterr().err
