"""Stopped, killed, or without room: a command leaves the old file or the new one, and says what went wrong in one line.

The kills are a few of those of kill.py, at moments with a fixed seed; a training's are in test_train.py, and how
signals and readers that leave are answered in test_cli.py. A disk without
room is a limit on the size of files and, if Linux lets a user have one, a file system of a few kilobytes that is
really full; a folder without the right to write is one that the kernel keeps to itself, so that the administrator is
refused as well. The notebooks' own script is in test_notebooks.py, the download in test_hub.py.
"""

import contextlib
import errno
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import pvt_numpy
from pvt_numpy.checkpoints.safetensors_file import write_safetensors
from pvt_numpy.explorer.page import explore
from pvt_numpy.system import files
from pvt_numpy.system.files import atomic_file, atomic_folder, check_writable
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
@pytest.mark.parametrize(("times", "works"), [(12, ["convert", "convert --to hf"]), (6, ["explore", "download"])])
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


@pytest.fixture
def apart(tmp_path):
    """Two folders, for a link in one and what it leads to in the other."""
    (tmp_path / "links").mkdir()
    (tmp_path / "files").mkdir()
    return tmp_path / "links" / "out", tmp_path / "files" / "target"


def write(path, content=b"new"):
    with atomic_file(path) as file:
        file.write(content)


@posix
@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_what_it_leads_to_is_written(apart, there):
    link, target = apart
    link.symlink_to(Path("..") / "files" / "target")
    if there:
        target.write_bytes(OLD)
    write(link)
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert [path.name for path in link.parent.iterdir()] == ["out"]
    assert [path.name for path in target.parent.iterdir()] == ["target"]


@posix
def test_a_link_to_an_empty_folder_stays_and_that_folder_is_filled(apart):
    link, target = apart
    link.symlink_to(target)
    target.mkdir(mode=0o750)
    with atomic_folder(link) as new:
        (new / "a").write_text("a")
    assert link.is_symlink()
    assert kill.tree(target) == {"a": b"a"}
    assert stat.S_IMODE(target.stat().st_mode) == 0o750


@posix
def test_a_link_that_leads_to_nothing_writable_is_named_and_stays(apart):
    link, _ = apart
    for target, said in ((link, "found a link in a circle"), (link.parent / "none" / "x", "found no folder")):
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        with pytest.raises((ValueError, OSError), match=f"links/out: {said}"):
            write(link)
        assert link.is_symlink()


@posix
@pytest.mark.parametrize("mode", [0o600, 0o664, 0o444])
def test_a_file_keeps_its_owner_and_permissions(mode, tmp_path):
    if mode == 0o444 and os.geteuid():
        pytest.skip("only an administrator may write into a protected file")
    path, seen = tmp_path / "out", []
    path.write_bytes(OLD)
    path.chmod(mode)
    if not os.geteuid():
        os.chown(path, 12345, 54321)
    before = path.stat()
    with atomic_file(path) as file:
        seen.append(os.fstat(file.fileno()).st_mode)  # also while it is written
        file.write(b"new")
    after = path.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert (seen, path.read_bytes()) == ([before.st_mode], b"new")


@posix
def test_a_new_file_is_as_the_user_wants_new_files(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "out")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o640


@pytest.fixture
def as_anybody(monkeypatch):
    """A folder that lets everybody in, and no administrator's rights for the length of a test."""
    folder, administrator = Path(tempfile.mkdtemp()), os.geteuid() == 0
    folder.chmod(0o777)
    monkeypatch.chdir(folder)
    if administrator:
        os.setresuid(65534, 65534, 0)
    yield folder
    if administrator:
        os.setresuid(0, 0, 0)
    shutil.rmtree(folder)


@linux
def test_what_is_protected_is_refused_before_the_work(as_anybody):
    Path("out").write_bytes(OLD)
    Path("out").chmod(0o444)
    Path("closed").mkdir(mode=0o555)
    with pytest.raises(PermissionError) as refused:
        check_writable("out")
    assert refused.value.filename in ("out", Path("out"))
    with pytest.raises(ValueError, match="found no right to write into closed"):
        check_writable("closed/out")
    assert Path("out").read_bytes() == OLD


@pytest.mark.parametrize("name", ["n" * 242, "n" * 255, "é" * 127, "𝄞" * 63])
@pytest.mark.parametrize("atomic", [atomic_file, atomic_folder])
def test_every_name_that_the_system_takes(name, atomic, tmp_path):
    """And what a killed process has left under the hidden name is cleared away."""
    with atomic(tmp_path / name):
        (hidden,) = tmp_path.iterdir()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    if os.name != "nt" and atomic is atomic_file:
        hidden.touch()
        write(tmp_path / name)
        assert [path.name for path in tmp_path.iterdir()] == [name]


def test_four_writers_of_one_file_never_get_in_each_others_way(tmp_path):
    """The longer one writes, the likelier another one starts, looks for leftovers, and finds a file without a lock."""
    code = ("import sys\nfrom pvt_numpy.system.files import atomic_file\nfor k in range(150):\n"
            "    with atomic_file('out') as file: file.write(sys.argv[1].encode() * 1000)")  # fmt: skip
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(processes.start("-c", code, letter, cwd=tmp_path)) for letter in "abcd"]
        assert [(w.communicate(timeout=300)[1], w.returncode) for w in writers] == [("", 0)] * 4
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    assert content == content[:1] * 1000


@posix
def test_a_writer_whose_file_is_cleared_away_before_its_lock_is_on_it_makes_another(tmp_path):
    """What four writers meet once in a while, on purpose: a cleaner between the making and the lock."""
    made = []

    def make(path):
        path.touch()
        if not made:
            path.unlink()
        made.append(path)

    with files._temporary(tmp_path / "out", make) as (temporary, _):
        assert temporary.exists()
    assert len(set(made)) == 2


def test_of_two_writers_of_one_folder_the_slower_is_told_so(tmp_path):
    late = pytest.raises(ValueError, match="out: found something there already")
    with late, atomic_folder(tmp_path / "out"), atomic_folder(tmp_path / "out") as quicker:
        (quicker / "a").write_text("a")
    assert kill.tree(tmp_path / "out") == {"a": b"a"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("arguments", [
    ["explore", "a.jpg", "-o", "a.jpg"], ["explore", "a.jpg", "-o", "link.jpg"], ["explore", "link.jpg", "-o", "a.jpg"],
    ["explore", "a.jpg", "--model", "m.safetensors", "-o", "m.safetensors"],
    ["plots", "pyramid", "photos/golf ball/b.png", "-o", "photos/golf ball/b.png"],
    ["plots", "cost", "--model", "m.safetensors", "-o", "m.safetensors"],
    ["evaluate", "photos", "--confusion", "photos/golf ball/b.png"],
    ["convert", "m.safetensors", "--labels", "labels.txt", "-o", "labels.txt"]], ids=" ".join)  # fmt: skip
def test_no_command_writes_over_what_it_reads(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos" / "golf ball").mkdir(parents=True)
    shutil.copy(BALL, "a.jpg")
    shutil.copy(BALL, "photos/golf ball/b.png")
    shutil.copy(SHIPPED, "m.safetensors")
    Path("labels.txt").write_text("\n".join("abcdefghij"))
    if "link.jpg" in arguments:
        if os.name == "nt":
            pytest.skip("Windows may not let one make links")
        Path("link.jpg").symlink_to("a.jpg")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    module = import_module(f"pvt_numpy.{arguments[0]}" + ".__main__" * (arguments[0] == "plots"))
    with pytest.raises(ValueError, match="found a file that is read for it; expected another name"):
        module.main(arguments[1:])
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


def test_a_page_does_not_take_the_place_of_its_picture(tmp_path):
    shutil.copy(BALL, tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="a.jpg: found a file that is read for it"):
        explore(tmp_path / "a.jpg", path=str(tmp_path / "a.jpg"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", ["pipe", "model.safetensors", "model.pth", "hf/config.json",
                                  "hf/preprocessor_config.json", "hf/model.safetensors.index.json"])  # fmt: skip
def test_a_pipe_is_no_model_and_nobody_waits_for_it(name, tmp_path):
    """A process substitution is one, too; these have no writer, so that reading them would never end."""
    (tmp_path / "hf").mkdir()
    if name.endswith("config.json"):
        write_safetensors(tmp_path / "hf" / "model.safetensors", {"x": np.zeros(1)}, {"format": "pt"}, "float32")
    os.mkfifo(tmp_path / name)
    found = processes.command("summary", "hf" if "/" in name else name, cwd=tmp_path, timeout=60)
    said = "hf" if name.endswith("index.json") else f"{name}: found a pipe or a device; expected a file"
    assert_one_line(found, "summary", said)


def test_an_error_of_the_system_that_names_no_file_gets_its_name(monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr("pvt_numpy.checkpoints.safetensors_file.np.memmap", full)
    with pytest.raises(OSError, match="Cannot allocate memory") as refused:
        pvt_numpy.load_model(SHIPPED)
    assert refused.value.filename == str(SHIPPED)


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
    assert found == (1, None, f"{arguments[0]}: error: standard output: No space left on device\n")


LITTLE_MEMORY = """
import resource, numpy
from pathlib import Path
from pvt_numpy.system.cli import run
from pvt_numpy.{name} import main
numpy.ones((500, 500)) @ numpy.ones((500, 500))  # OpenBLAS takes its own before
has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (has + (40 << 20),) * 2)
run(lambda: main({arguments}), "{name}")
"""


@linux
@pytest.mark.parametrize("name", ["classify", "explore"])
def test_little_memory_is_one_line(name, tmp_path):
    code = LITTLE_MEMORY.format(name=name, arguments=[str(BALL), "--image-size", "512"])
    assert_one_line(processes.run("-c", code, cwd=tmp_path), name, "--image-size: found 512 x 512 pixels, which need")
    assert list(tmp_path.iterdir()) == []


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
        folder=shlex.quote(str(tmp_path)), root=shlex.quote(str(ROOT)), python=shlex.quote(sys.executable),
        output=output, then=fill if state == "full" else "mount -o remount,ro .",
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


EVENT_LOOP = """
import asyncio, signal
from pvt_numpy.system.cli import run

async def job():
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, print)

run(lambda: asyncio.run(job()), "build")
"""


@posix
def test_a_command_may_have_an_event_loop():
    status, _, err = processes.run("-c", EVENT_LOOP)
    assert (status, err) == (0, "")
