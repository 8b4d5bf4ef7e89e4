"""What all commands share: exit statuses, one-line errors, and help that teaches."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib import import_module

import pytest

from pvt_numpy.system.cli import complain, run, say_working, whole_number
from pvt_numpy.system.paths import SHIPPED
from tests import processes
from tests.processes import BALL, COMMANDS, ROOT

unix = pytest.mark.skipif(os.name == "nt", reason="sends signals and closes streams as Unix does")


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


@unix
def test_ctrl_c_after_the_work_is_too_late():
    """Python's own end, here a function that it calls then, must not show a traceback."""
    code = "import atexit, os, signal\natexit.register(os.kill, os.getpid(), signal.SIGINT)"
    assert processes.run("-c", job("return 0", code)) == (0, "", "")


@pytest.mark.parametrize(("error", "status", "said"), [
    (repr(ValueError("two\nlines \x1b[31m")), 1, "job: error: two lines \\x1b[31m\n"),
    ("FileNotFoundError(2, 'No such file', 'a b.jpg')", 1, "job: error: a b.jpg: No such file\n"),
    ("KeyboardInterrupt", 130, "job: stopped\n"), ("MemoryError", 1, "job: error: MemoryError\n"),
    ("BrokenPipeError", 141, "")])  # fmt: skip
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


@unix
@pytest.mark.parametrize(("closed", "status"), [("<&-", 1), (">&-", 0), ("2>&-", 0), ("<&- >&-", 1)])
def test_closed_streams_are_no_traceback(closed, status):
    image = "-" if "<&-" in closed else "notebooks/golf_ball.jpg"
    line = f'"{sys.executable}" -m pvt_numpy.classify {image} {closed}'
    done = subprocess.run(["sh", "-c", line], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, len(done.stderr.splitlines())) == (status, status)
    assert "Traceback" not in done.stderr


@unix
def test_a_terminated_command_clears_away_what_is_half_written(tmp_path):
    body = "with atomic_file(sys.argv[1]):\n        print('writing', flush=True)\n        time.sleep(60)"
    code = job(body, "import sys, time; from pvt_numpy.system.files import atomic_file")
    with processes.start("-c", code, tmp_path / "out") as process:
        assert process.stdout.readline() == "writing\n"
        assert len(list(tmp_path.iterdir())) == 1
        process.send_signal(signal.SIGTERM)
        assert (process.wait(timeout=30), process.stderr.read()) == (143, "")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def left():
    """A stdout whose reader has left."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@unix
@pytest.mark.parametrize("arguments", [
    ["classify", BALL], ["classify", "--help"], ["summary", "pvt_tiny"], ["validate", "--golden", "--break", "kv"],
])  # fmt: skip
def test_without_a_reader_a_command_whose_result_is_what_it_prints_is_not_done(arguments, left):
    assert processes.command(*arguments, stdout=left) == (141, None, "")


TRAIN = ["train", "shapes", "--image-size", "16", "--drawn", "32", "--epochs", "2", "-o"]
EVALUATE = ["evaluate", "photos", "--confusion"]


@unix
@pytest.mark.parametrize(("arguments", "file", "status"), [
    (["convert", SHIPPED, "-o"], "m.safetensors", 0), (["convert", SHIPPED, "--to", "hf", "-o"], "hf", 0),
    (["explore", BALL, "-o"], "page.html", 0), (["plots", "cost", "-o"], "cost.png", 0),
    (TRAIN, "run", 0), (EVALUATE, "confusion.png", 0), (EVALUATE, "unreadable.png", 1),
])  # fmt: skip
def test_without_a_reader_a_file_is_written_all_the_same(arguments, file, status, tmp_path, left):
    (tmp_path / "photos" / "golf ball").mkdir(parents=True)
    shutil.copy(BALL, tmp_path / "photos" / "golf ball" / "1.jpg")
    if status:
        (tmp_path / "photos" / "golf ball" / "2.jpg").write_bytes(b"no picture")
    users = {"PYTHONWARNINGS": None}  # with it, old pyparsing under old matplotlib checks itself and complains
    found, _, err = processes.command(*arguments, file, stdout=left, cwd=tmp_path, env=users)
    assert (found, err.count("\n")) == (status, status), err
    written = tmp_path / file
    assert (written / "model.safetensors" if written.is_dir() else written).stat().st_size > 1000


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_does_not_end_the_work_but_is_said(tmp_path):
    with open("/dev/full", "w") as full:
        found = processes.command("convert", SHIPPED, "-o", tmp_path / "m.safetensors", stdout=full)
    assert found == (1, None, "convert: error: standard output: No space left on device\n")
    assert (tmp_path / "m.safetensors").stat().st_size > 6_800_000


@unix
def test_nobody_who_reads_stderr_is_no_end_either(left):
    assert processes.run("-c", job("raise ValueError('unheard')"), stderr=left) == (1, "", None)
    body = "print('lost', file=sys.stderr, flush=True); print('done')"
    assert processes.run("-c", job(body), stderr=left) == (0, "done\n", None)


def test_what_libraries_say_on_stderr_is_left_out():
    """Their warnings and log lines; with -W or PYTHONWARNINGS the warnings are shown."""
    body = "warnings.warn('aside'); logging.getLogger('matplotlib').warning('aside')"
    code = job(body, "import logging, sys, warnings")
    assert processes.run("-c", code, env={"PYTHONWARNINGS": None}) == (0, "", "")
    status, _, err = processes.run("-c", code, env={"PYTHONWARNINGS": "default"})
    assert (status, err.count("UserWarning: aside")) == (0, 1)  # from Python 3.13 on with its line of the program


def stopped(process, number, times=1):
    """Sends it the signal; (exit status, stderr) of its end, which must come soon. On an idle machine that is within
    two seconds; here others may share it, and what it is busy with takes more than a minute."""
    for _ in range(times):
        process.send_signal(number)
        time.sleep(0.1)
    _, err = process.communicate(timeout=30)
    return process.returncode, err


def ended(number, name):
    """(exit status, stderr) of a command that was stopped."""
    return (130, f"{name}: stopped\n") if number == signal.SIGINT else (143, "")


@unix
@pytest.mark.parametrize(("name", "number"), [*((name, signal.SIGINT) for name in [*COMMANDS, ""]),
                                              ("train", signal.SIGTERM)])  # fmt: skip
def test_a_signal_during_the_imports(name, number, tmp_path):
    (tmp_path / "numpy.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(60)")
    where = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    with processes.start("-m", f"pvt_numpy.{name}".rstrip("."), cwd=tmp_path, env=where) as process:
        assert process.stdout.readline() == "importing\n"
        assert stopped(process, number) == ended(number, name or "pvt_numpy")


BUSY = {
    "a library": "hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)",
    "threads": "pool = ThreadPoolExecutor(1)\n    with pool: pool.submit(time.sleep, 60).result()",
    "swallowed": "try: time.sleep(60)\n    except BaseException: time.sleep(60)",
    "no exception gets out": "Lost()",
}
BEFORE = """
import hashlib, signal, sys, time
from concurrent.futures import ThreadPoolExecutor
from pvt_numpy.system import stopping
from pvt_numpy.system.files import atomic_file
class Lost:
    def __del__(self): time.sleep(60)
"""


@unix
@pytest.mark.parametrize(("what", "number", "times"), [
    *((what, signal.SIGINT, 1) for what in BUSY), ("threads", signal.SIGTERM, 1),
    ("a library", signal.SIGTERM, 2), ("swallowed", signal.SIGINT, 2)])  # fmt: skip
def test_a_signal_ends_a_busy_command_soon_and_leaves_nothing(what, number, times, tmp_path):
    body = f"with atomic_file('out'): busy()\ndef busy():\n    print('busy', flush=True)\n    {BUSY[what]}"
    code = job(body, BEFORE)
    code = code.replace("\nrun(main", "\n    time.sleep(60)\nrun(main")  # an exception that was lost ends it no more
    with processes.start("-c", code, cwd=tmp_path) as process:
        assert process.stdout.readline() == "busy\n"
        assert stopped(process, number, times) == ended(number, "job")
    assert list(tmp_path.iterdir()) == []


@unix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_saves_first_says_so_and_a_second_signal_ends_it_at_once(number):
    body = "with stopping.patient('job: saving') as asked:\n        print('begun', flush=True)\n        time.sleep(60)"
    with processes.start("-c", job(body, BEFORE)) as process:
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        assert process.stderr.readline() == "job: saving\n"
        assert stopped(process, number) == ended(number, "job")


@unix
def test_what_runs_in_the_background_and_ignores_ctrl_c_goes_on_ignoring_it():
    body = "signal.raise_signal(signal.SIGINT)\n    return 0"
    code = job(body, f"import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n{BEFORE}")
    assert processes.run("-c", code) == (0, "", "")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(command):
    status, out, err = processes.command(command, "--help")
    assert (status, err) == (0, "")
    assert f"pvt_numpy.{command}" in out
    assert ("--model SOURCE" in out) == (command not in ("benchmark", "practice"))  # these need none


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
