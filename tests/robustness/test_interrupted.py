"""Stopped, killed, or without room: a command leaves the old file or the new one, and says what went wrong in one line.

The kills are a few of those of kill.py, at moments with a fixed seed; a training's are in test_train.py. A disk without
room is a limit on the size of files and, if Linux lets a user have one, a file system of a few kilobytes that is
really full; a folder without the right to write is one that the kernel keeps to itself, so that the administrator is
refused as well. The notebooks' own script is in test_notebooks.py, the download in test_hub.py.
"""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pvt_numpy.system.files import atomic_file, atomic_folder
from pvt_numpy.train import nano_config
from pvt_numpy.training.state import Settings, fresh, write_state
from tests import processes
from tests.processes import ROOT
from tests.robustness import kill
from tests.robustness.kill import BALL, OLD, SHIPPED

posix = pytest.mark.skipif(os.name == "nt", reason="sends SIGKILL and SIGINT, which Windows does not know")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's /proc or its name spaces")

WRITERS = kill.WRITERS | {
    "convert --to timm": (["convert", SHIPPED, "--to", "timm", "-o", "OUT"], ""),
    "evaluate": (["evaluate", "PHOTOS", "--confusion", "OUT"], ".png"),
}
WRITERS_AND_TRAINING = WRITERS | {"train": (kill.TRAIN, "")}


@posix
@pytest.mark.parametrize(("times", "works"), [(16, ["convert", "convert --to hf"]), (6, ["explore", "download"])])
def test_killed_at_any_moment(times, works):
    counts, faults = kill.kill(times, 3, works)
    assert faults == []
    assert sum(count["kills"] for count in counts.values()) == times


@posix
@pytest.mark.parametrize("atomic", [atomic_file, atomic_folder])
def test_what_a_killed_process_left_is_taken_away_by_the_next(tmp_path, atomic):
    """But neither what somebody is writing at the moment, nor what belongs to another target."""
    folder = atomic is atomic_folder
    stale, other = tmp_path / ".out.0123abcd.tmp", tmp_path / ".out2.0123abcd.tmp"
    for path in (stale, other):
        path.mkdir() if folder else path.touch()
    with atomic(tmp_path / "out"):
        (first,) = set(tmp_path.iterdir()) - {other}
        with atomic(tmp_path / "out"):
            assert first.exists()
            assert len(list(tmp_path.iterdir())) == 3
    assert {path.name for path in tmp_path.iterdir()} == {"out", other.name}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_or_a_device_is_not_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe: found a device or a pipe; expected"), atomic_file(tmp_path / "pipe"):
        pass
    assert (tmp_path / "pipe").is_fifo()


def test_the_folder_one_is_in_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="found the folder you are in; expected"), atomic_folder("."):
        pass
    assert tmp_path.is_dir()


def test_an_empty_folder_is_replaced_and_a_full_one_is_not(tmp_path):
    (tmp_path / "out").mkdir()
    with atomic_folder(tmp_path / "out") as new:
        (new / "a").write_text("a")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "a"]
    with pytest.raises(ValueError, match="found something there already"), atomic_folder(tmp_path / "out"):
        pass


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of one photo to evaluate."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "golf ball").mkdir()
    (folder / "golf ball" / "1.jpg").write_bytes(BALL.read_bytes())
    return folder


def command(arguments, output, photos, **options):
    """(status, stdout, stderr) of a command that writes `output`."""
    words = {"PHOTOS": photos, "OUT": output}
    return processes.command(*(words.get(word, word) for word in arguments), **options)


def assert_one_line(found, name, *words):
    status, _, err = found
    assert (status, err.count("\n")) == (1, 1), found
    assert err.startswith(f"{name}: error: ")
    for word in words:
        assert word in err


def small_files():
    """For a child process: no file may grow beyond 2000 bytes; longer ones meet an error, as on a full disk."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


@posix
@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_one_line(name, tmp_path, photos):
    arguments, suffix = WRITERS[name]
    output = tmp_path / f"out{suffix}"
    output.write_bytes(OLD) if suffix else output.mkdir()
    found = command(arguments, output, photos, preexec_fn=small_files)
    assert_one_line(found, arguments[0], f"{output}: File too large")
    assert list(tmp_path.iterdir()) == [output]
    assert kill.tree(output) == (OLD if suffix else {})


@posix
def test_a_full_disk_ends_a_training_in_one_line_and_leaves_the_old_checkpoint(tmp_path, photos):
    settings = Settings("shapes", epochs=1, drawn=16, batch=16, measure_every=9)
    write_state(tmp_path / "checkpoint.safetensors", fresh(settings, nano_config(16, 6)))
    before = kill.tree(tmp_path)
    found = command(["train", "--resume", "OUT"], tmp_path, photos, preexec_fn=small_files)
    assert_one_line(found, "train", f"{tmp_path / 'checkpoint.safetensors'}: File too large")
    assert kill.tree(tmp_path) == before


@linux
@pytest.mark.parametrize("name", ["convert", "convert --to hf", "explore", "train"])
def test_a_folder_that_nobody_may_write_into_is_one_line(name, photos):
    arguments, suffix = WRITERS_AND_TRAINING[name]
    output = Path(f"/proc/out{suffix}")
    assert_one_line(command(arguments, output, photos), arguments[0], str(output))


@pytest.mark.parametrize("name", WRITERS_AND_TRAINING)
def test_a_file_where_the_folder_should_be_is_one_line(name, tmp_path, photos):
    arguments, suffix = WRITERS_AND_TRAINING[name]
    file = tmp_path / "file"
    file.write_bytes(OLD)
    assert_one_line(command(arguments, file / f"out{suffix}", photos), arguments[0], str(file))
    assert kill.tree(tmp_path) == {"file": OLD}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["classify", str(BALL)], ["summary", "pvt_tiny"], ["validate", "--golden"]])
def test_a_full_disk_behind_standard_output_is_one_line(arguments):
    with open("/dev/full", "w") as full:
        found = processes.command(*arguments, stdout=full)
    assert found == (1, None, f"{arguments[0]}: error: [Errno 28] No space left on device\n")


# A file system of our own, which goes with the process: full, or mounted again for reading only.
MOUNTED = """
mount -t tmpfs -o size=600k tmpfs {folder} || exit 99
cd {folder} && printf old > {output}
{then}
PYTHONPATH={root} {python} -m pvt_numpy.{arguments}
echo "status $?"; echo "there:" *; echo "hidden:" .*.tmp; cat {output}
"""


@linux
@pytest.mark.parametrize("state", ["full", "read-only"])
@pytest.mark.parametrize("name", ["convert", "explore"])
def test_a_file_system_that_is_full_or_read_only(name, state, tmp_path):
    arguments, suffix = WRITERS[name]
    output = f"out{suffix}"
    fill = "dd if=/dev/zero of=filler bs=1k count=590 2>/dev/null"
    script = MOUNTED.format(
        folder=shlex.quote(str(tmp_path)), output=output, root=shlex.quote(str(ROOT)), python=sys.executable,
        then=fill if state == "full" else "mount -o remount,ro .",
        arguments=shlex.join(output if word == "OUT" else str(word) for word in arguments),
    )  # fmt: skip
    try:
        done = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, timeout=120)
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    if done.returncode == 99 or "unshare" in done.stderr:
        pytest.skip(f"no file system of one's own can be mounted here: {done.stderr.strip()}")
    said = {"full": "No space left on device", "read-only": "Read-only file system"}[state]
    assert done.stderr == f"{name}: error: {output}: {said}\n"
    assert "status 1\n" in done.stdout
    assert f"there: {'filler ' if state == 'full' else ''}{output}\nhidden: .*.tmp\nold" in done.stdout


@posix
def test_ctrl_c_ends_in_one_line():
    process = processes.start("-m", "pvt_numpy.classify", "-", stdin=subprocess.PIPE)
    assert "parameters" in process.stdout.readline()  # now it waits for the picture
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "classify: stopped\n")
