"""Files and folders that appear whole or not at all, whatever stops the program that writes them.

What is written lies under a hidden name beside its target, `.NAME.XXXXXXXX.tmp`, and takes the target's place in one
step when it is complete. An exception, Ctrl-C included, clears it away; a process that is killed cannot, so the next
one that writes the same target does. A lock, which ends with its process, tells it what nobody is writing any more.
The target of a link is what the link leads to, and a file that takes another's place gets its owner and permissions.
Left out: that clearing on Windows, which has no such locks; access lists; hard links, whose other names keep the old.
"""

import contextlib
import glob
import os
import shutil
import stat
import zlib
from pathlib import Path

from . import stopping
from .checks import wrong

LONGEST_NAME = 200  # bytes; file systems take 255, and what is added to a name is shorter than the rest


@contextlib.contextmanager
def atomic_file(path):
    """A binary file to write into, which takes the place of `path` only when all went well."""
    check_writable(path)
    with _temporary(Path(path), Path.touch) as (temporary, target):
        with open(temporary, "wb") as file:
            _keep_permissions(target, temporary)  # before there is anything to read
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)


def check_writable(path, *read):
    """Refuses the name of a file that could not be written, or that is one of the files `read` (None: no file):
    before the work, not after it."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path}: found a folder; expected the name of a file to write")
    if path.exists():
        if not path.is_file():
            raise wrong(path, "a device or a pipe", "the name of a file to write")
        if any(os.path.samefile(path, one) for one in read if one is not None and os.path.exists(one)):
            raise wrong(path, "a file that is read for it", "another name to write to")
        os.close(os.open(path, os.O_WRONLY))  # a file that is protected is not replaced
    _check_folder(path)


STAND_INS = {  # how a file begins that came in place of another -> what it is, and the way to the other
    b"version https://git-lfs.github.com/spec/": ("a Git LFS pointer", "the file itself: git lfs pull fetches it"),
    b"<!doctype html": ("a web page", "the file itself, for which a server may want a login or another address"),
    b"<html": ("a web page", "the file itself, for which a server may want a login or another address"),
}


def check_not_stand_in(name, head):
    """Refuses, by its first bytes, what git or a web server leaves where a file should be."""
    for begins, (found, expected) in STAND_INS.items():
        if head.lstrip()[:64].lower().startswith(begins):
            raise wrong(name, found, expected)


def check_not_dangling(path):
    """Refuses a link to nothing (or in a circle), for which the system says that the link itself is not there."""
    if os.path.islink(path) and not os.path.exists(path):
        raise FileNotFoundError(f"{path}: found a dangling link, to {os.readlink(path)}; expected what it leads to")


def _check_folder(path):
    folder = Path(os.path.realpath(path)).parent if path.is_symlink() else path.parent
    if not folder.is_dir():
        raise FileNotFoundError(f"{path}: found no folder {folder}; expected one to write into")
    if not os.access(folder, os.W_OK):
        raise wrong(path, f"no right to write into {folder}", "a folder of yours")


def check_readable(path):
    """Refuses a pipe, on which one could wait for ever and which can be read only once, and a device."""
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise wrong(path, "a pipe or a device", "a file; write what the pipe gives into one first")


@contextlib.contextmanager
def named(path):
    """An error of the system's that names no file gets this name."""
    try:
        yield
    except OSError as error:
        if error.errno and error.filename is None:
            error.filename = str(path)
        raise


@contextlib.contextmanager
def atomic_folder(path):
    """A folder to write files into, which becomes `path`, new or empty before, only when all went well."""
    path = Path(path)
    _check_new(path)
    with _temporary(path, Path.mkdir) as (temporary, target):
        yield temporary
        _keep_permissions(target, temporary)
        if os.name == "nt" and target.exists():  # elsewhere an empty folder is replaced in the same step
            target.rmdir()
        try:
            os.replace(temporary, target)
        except OSError:
            _check_new(path)  # another process was quicker
            raise


def _check_new(path):
    if os.path.realpath(path) == os.getcwd():
        raise wrong(path, "the folder you are in", "the name of a new one")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise wrong(path, "something there already", "a new or an empty folder")


@contextlib.contextmanager
def _temporary(path, make):
    """(something that `make` makes beside the target of `path`: a rename, not a copy; that target); the first is gone
    again if anything fails."""
    _check_folder(path)
    target = Path(os.path.realpath(path))  # what a link leads to, be it there or not
    if target.is_symlink():
        raise wrong(path, "a link in a circle", "the name of a file or folder to write")
    name = target.name
    if len(os.fsencode(name)) > LONGEST_NAME:
        name = f"{name[: LONGEST_NAME // 4]}~{zlib.crc32(os.fsencode(name)):08x}"  # 4 bytes a character at most
    for stale in target.parent.glob(f".{glob.escape(name)}.{'[0-9a-f]' * 8}.tmp"):
        with contextlib.suppress(OSError, ImportError), _locked(stale, wait=False):
            _remove(stale)
    temporary = _hidden(target, name)
    try:
        with contextlib.ExitStack() as held:
            while True:
                held.enter_context(stopping.undone(_remove, temporary))
                make(temporary)
                with contextlib.suppress(OSError, ImportError):  # no locks here: it is written all the same
                    held.enter_context(_locked(temporary, wait=True))
                if temporary.exists():
                    break
                temporary = _hidden(target, name)  # another process saw it before the lock was on it
            yield temporary, target
    except BaseException as error:
        _remove(temporary)
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None  # the name that the user knows
        raise


def _hidden(target, name):
    return target.with_name(f".{name}.{os.urandom(4).hex()}.tmp")


@contextlib.contextmanager
def _locked(path, wait):
    """Holds the lock on a file or folder for the length of a with block.

    Raises OSError if the file system knows no locks, or if another process holds it and we do not `wait`; ImportError
    on Windows.
    """
    import fcntl

    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(handle)


def _keep_permissions(target, temporary):
    """What takes the target's place belongs to whom the target belonged, and lets in whom it let in."""
    with contextlib.suppress(FileNotFoundError):
        before = os.stat(target)
        with contextlib.suppress(PermissionError, AttributeError):  # only an administrator may; Windows has none of it
            os.chown(temporary, before.st_uid, before.st_gid)
        mode = stat.S_IMODE(before.st_mode)
        os.chmod(temporary, mode if os.stat(temporary).st_gid == before.st_gid else mode & ~stat.S_IRWXG)


def _remove(path):
    shutil.rmtree(path, ignore_errors=True)  # does nothing to a file
    with contextlib.suppress(OSError):
        path.unlink()
