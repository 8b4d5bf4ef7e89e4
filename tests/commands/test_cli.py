"""What all commands share: exit statuses, one-line errors, and help that teaches."""

import argparse
import os
import signal
import subprocess
import sys
from contextlib import suppress
from importlib import import_module

import pytest

from pvt_numpy.pictures.folders import class_folders, find_images
from pvt_numpy.system.cli import complain, run, say_working, whole_number
from tests.commands import command_line
from tests.commands.command_line import BALL, COMMANDS, ROOT


@pytest.fixture(autouse=True)
def _signals():
    """What `run` sets for the process that it ends is taken back: this one goes on."""
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(kind) for kind in kinds]
    yield
    for kind, handler in zip(kinds, before, strict=True):
        signal.signal(kind, handler)


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
def test_ctrl_c_after_the_work_is_too_late():
    """Python's own end, here a function that it calls then, must not show a traceback."""
    code = (
        "import atexit, os, signal; from pvt_numpy.system.cli import run\n"
        "atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))\n"
        "run(lambda: 0, 'job')"
    )
    assert command_line.run("-c", code) == (0, "", "")


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (repr(ValueError("two\nlines \x1b[31m")), 1, "job: error: two lines \\x1b[31m\n"),
        ("FileNotFoundError(2, 'No such file', 'a b.jpg')", 1, "job: error: a b.jpg: No such file\n"),
        ("KeyboardInterrupt", 130, "job: stopped\n"),
        ("MemoryError", 1, "job: error: MemoryError\n"),
        ("BrokenPipeError", 0, ""),
    ],
)  # fmt: skip
def test_errors_become_one_line_and_a_status(error, status, said):
    code = f"import sys; from pvt_numpy.system.cli import run\ndef main():\n    raise {error}\nrun(main, 'job')"
    assert command_line.run("-c", code) == (status, "", said)


def test_a_bug_still_shows_its_traceback_and_the_status_of_main_is_that_of_the_process():
    with pytest.raises(KeyError):
        run(lambda: {}["bug"], "job")
    with pytest.raises(SystemExit) as stopped:
        run(lambda: 1, "job")
    assert stopped.value.code == 1


def test_a_missing_package_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # importing it now raises ModuleNotFoundError

    def main():
        import matplotlib.figure

        return bool(matplotlib.figure)

    with pytest.raises(SystemExit) as stopped:
        run(main, "job")
    assert stopped.value.code == 1
    assert capsys.readouterr().err == (
        "job: error: the package matplotlib is not installed; pip install matplotlib (the extra [plots])\n"
    )


@pytest.mark.parametrize(("error", "start", "end"), [
    ("what was wrong", "job: error: what was wrong\n", "wrong\n"),
    ("model.bin: " + "\x1b" * 10**6, "job: error: model.bin: \\x1b\\x1b", " more characters)\n"),
])  # fmt: skip
def test_complain_writes_a_line_that_is_no_megabyte_to_stderr(capsys, error, start, end):
    complain("job", error)
    out, said = capsys.readouterr()
    assert (out, said[: len(start)], said[-len(end) :]) == ("", start, end)
    assert len(said) < 4100


def test_find_images_is_ordered_and_does_not_follow_links(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("z.JPG", "b/a.png", "b/notes.txt"):
        (tmp_path / name).write_bytes(b"")
    with suppress(OSError):  # Windows without the right to make links
        (tmp_path / "b" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert find_images(tmp_path) == [tmp_path / "b" / "a.png", tmp_path / "z.JPG"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_find_images_leaves_out_pipes_and_keeps_broken_links(tmp_path):
    """A pipe among the pictures of a folder must not keep a command waiting for ever."""
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    assert find_images(tmp_path) == [tmp_path / "gone.jpg"]


def test_a_folder_that_cannot_be_read_is_named_as_a_picture_would_be(tmp_path, monkeypatch):
    """Simulated, as the administrator can read every folder."""

    def walk(folder, onerror):
        onerror(PermissionError(13, "Permission denied", str(tmp_path / "closed")))
        yield str(tmp_path), ["closed"], ["a.png"]

    (tmp_path / "a.png").touch()
    monkeypatch.setattr(os, "walk", walk)
    assert find_images(tmp_path) == [tmp_path / "a.png", tmp_path / "closed"]


def test_class_folders_are_in_order_and_hidden_ones_are_left_out(tmp_path):
    for name in ("b", "a", ".hidden"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(b"")
    (tmp_path / "loose.png").write_bytes(b"")
    assert list(class_folders(tmp_path).items()) == [(name, [tmp_path / name / "1.png"]) for name in ("a", "b")]
    with pytest.raises(FileNotFoundError, match="no such folder"):
        class_folders(tmp_path / "nowhere")


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
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == status


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without telling it")
def test_a_terminated_command_clears_away_what_is_half_written(tmp_path):
    code = (
        "import sys, time; from pvt_numpy.system.files import atomic_file; from pvt_numpy.system.cli import run\n"
        "def main():\n"
        "    with atomic_file(sys.argv[1]) as file:\n"
        "        print('writing', flush=True)\n"
        "        time.sleep(60)\n"
        "run(main, 'job')"
    )
    with command_line.start("-c", code, tmp_path / "out") as process:
        assert process.stdout.readline() == "writing\n"
        assert len(list(tmp_path.iterdir())) == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 143
        assert process.stderr.read() == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(command):
    status, out, err = command_line.command(command, "--help")
    assert (status, err) == (0, "")
    assert f"pvt_numpy.{command}" in out
    assert ("--model SOURCE" in out) == (command not in ("benchmark", "train"))  # these two make models of their own


def test_the_list_of_commands_is_not_empty():
    assert {"classify", "convert", "evaluate", "summary", "benchmark"} <= set(COMMANDS)


WRONG_SIZES = ["0", "224x", "axb", "1x2x3", "20000", "9" * 5000]
WRONG_USAGE = [
    ("benchmark", ["--models", "pvt_v3"], "--models"),
    ("benchmark", ["--image-sizes", "8"], "--image-sizes"),
    ("benchmark", ["--only", "lunch"], "--only"),
    ("benchmark", ["--runs", "0"], "--runs"),
    ("classify", [], "IMAGE: found none"),
    ("classify", [BALL, "--top-k", "0"], "--top-k: found '0'; expected a whole number from 1 on"),
    ("classify", [BALL, "--top-k", "x"], "--top-k"),
    ("classify", [BALL, "--recipe", "mine"], "--recipe"),
    ("classify", ["-", "-"], "more than once"),
    ("convert", [], "one of the arguments SOURCE --model is required"),
    ("convert", ["x", "--model", "y"], "--model: not allowed with argument SOURCE"),
    ("convert", ["x", "--origin", "y"], "--origin: found 'y'; expected KEY=TEXT"),
    ("plots", ["attention"], "IMAGE: found none; expected a picture"),
    ("plots", ["nonsense"], "FIGURE: invalid choice"),
    ("plots", ["attention", "x.jpg", "--query", "3"], "--query: found '3'; expected a pixel's row and column"),
    ("plots", ["attention", "x.jpg", "--query", "-3,4"], "--query"),
    *(("summary", ["pvt_tiny", "--image-size", size], "expected pixels") for size in WRONG_SIZES),
    ("validate", ["--random", "pvt_tiny", "x"], "SOURCE"),
    ("validate", ["--variants", "--break", "kv"], "--variants"),
    ("validate", ["--variants", "--random", "pvt_tiny"], "--variants"),
    ("validate", ["--dtype", "half"], "--dtype"),
]  # fmt: skip


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
    status, out, err = command_line.command(command, *option, "no-such-file.safetensors")
    assert (status, out) == (1, "")
    assert err.startswith(f"{command}: error: no-such-file.safetensors: ")
    assert err.count("\n") == 1
