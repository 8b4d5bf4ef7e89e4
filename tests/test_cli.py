"""What all commands share: exit statuses, one-line errors, and help that teaches."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from pvt_numpy.cli import complain, find_images, run

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = sorted(
    path.stem if path.parent.name == "pvt_numpy" else path.parent.name
    for path in [*ROOT.glob("pvt_numpy/*.py"), *ROOT.glob("pvt_numpy/*/__main__.py")]
    if "run(main, " in path.read_text(encoding="utf-8") and path.stem != "cli"
)


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ValueError("two\nlines \x1b[31m"), 1, "job: error: two lines \\x1b[31m\n"),
        (FileNotFoundError(2, "No such file", "a b.jpg"), 1, "job: error: a b.jpg: No such file\n"),
        (KeyboardInterrupt(), 130, "job: stopped\n"),
        (MemoryError(), 1, "job: error: MemoryError\n"),
        (BrokenPipeError(), 0, ""),
    ],
)  # fmt: skip
def test_errors_become_one_line_and_a_status(error, status, said):
    code = f"import sys, traceback; from pvt_numpy.cli import run\ndef main():\n    raise {error!r}\nrun(main, 'job')"
    if isinstance(error, FileNotFoundError):
        code = code.replace(repr(error), "FileNotFoundError(2, 'No such file', 'a b.jpg')")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == status
    assert done.stderr == said


def test_a_bug_still_shows_its_traceback():
    with pytest.raises(KeyError):
        run(lambda: {}["bug"], "job")


def test_a_missing_package_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # importing it now raises ModuleNotFoundError

    def main():
        import matplotlib.figure

        return bool(matplotlib.figure)

    with pytest.raises(SystemExit) as stopped:
        run(main, "job")
    assert stopped.value.code == 1
    assert capsys.readouterr().err == (
        "job: error: the package matplotlib is not installed; pip install -r requirements.txt\n"
    )


def test_status_of_main_is_the_status_of_the_process():
    with pytest.raises(SystemExit) as stopped:
        run(lambda: 1, "job")
    assert stopped.value.code == 1


def test_complain_writes_to_stderr(capsys):
    complain("job", "what was wrong")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "job: error: what was wrong\n"


def test_find_images_is_ordered_and_does_not_follow_links(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("z.JPG", "b/a.png", "b/notes.txt"):
        (tmp_path / name).write_bytes(b"")
    with suppress(OSError):  # Windows without the right to make links
        (tmp_path / "b" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert find_images(tmp_path) == [tmp_path / "b" / "a.png", tmp_path / "z.JPG"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(command):
    done = subprocess.run([sys.executable, "-m", f"pvt_numpy.{command}", "--help"], cwd=ROOT, capture_output=True,
                          text=True, timeout=60)  # fmt: skip
    assert done.returncode == 0
    assert done.stderr == ""
    assert f"pvt_numpy.{command}" in done.stdout


def test_the_list_of_commands_is_not_empty():
    assert {"classify", "convert", "evaluate", "summary", "benchmark"} <= set(COMMANDS)
