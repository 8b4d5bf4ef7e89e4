"""Files and folders that appear whole or not at all, whatever stops the program that writes them.

What is written lies under a hidden name beside its target, `.NAME.XXXXXXXX.tmp`, and takes the target's place in one
step when it is complete. An exception, Ctrl-C included, clears it away; a process that is killed cannot, so the next
one that writes the same target does. A lock, which ends with its process, tells it what nobody is writing any more.
Left out: that clearing on Windows, which has no such locks.
"""

import contextlib
import glob
import os
import shutil
from pathlib import Path

from .checks import wrong


@contextlib.contextmanager
def atomic_file(path):
    """A binary file to write into, which takes the place of `path` only when all went well."""
    check_writable(path)
    with _temporary(Path(path), Path.touch) as temporary:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)


def check_writable(path):
    """Refuses the name of a file that could not be written: before the work, not after it."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path}: found a folder; expected the name of a file to write")
    if path.exists() and not path.is_file():
        raise wrong(path, "a device or a pipe", "the name of a file to write")
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
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: found no folder {path.parent}; expected one to write into")


@contextlib.contextmanager
def atomic_folder(path):
    """A folder to write files into, which becomes `path`, new or empty before, only when all went well."""
    path = Path(path)
    if not path.name:
        raise wrong(path, "the folder you are in", "the name of a new one")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise wrong(path, "something there already", "a new or an empty folder")
    with _temporary(path, Path.mkdir) as temporary:
        yield temporary
        if os.name == "nt" and path.exists():  # elsewhere an empty folder is replaced in the same step
            path.rmdir()
        os.replace(temporary, path)


@contextlib.contextmanager
def _temporary(path, make):
    """Something that `make` makes beside `path` (same folder: a rename, not a copy), gone again if anything fails."""
    _check_folder(path)
    for stale in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 8}.tmp"):
        with contextlib.suppress(OSError, ImportError), _locked(stale):
            _remove(stale)
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
    try:
        make(temporary)
        with contextlib.ExitStack() as held:
            with contextlib.suppress(OSError, ImportError):  # a file system without locks: it is written all the same
                held.enter_context(_locked(temporary))
            yield temporary
    except BaseException as error:
        _remove(temporary)
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None  # the name that the user knows
        raise


@contextlib.contextmanager
def _locked(path):
    """Holds the lock on a file or folder for the length of a with block.

    Raises OSError if another process holds it or the file system knows no locks, ImportError on Windows.
    """
    import fcntl

    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _remove(path):
    shutil.rmtree(path, ignore_errors=True)  # does nothing to a file
    with contextlib.suppress(OSError):
        path.unlink()
