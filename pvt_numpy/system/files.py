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

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextlib.contextmanager
def atomic_file(path):
    """A binary file to write into, which takes the place of `path` only when all went well."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.parent} to write it into")
    if path.is_dir():  # before the work, not after it
        raise IsADirectoryError(f"{path}: is a folder; expected the name of a file to write")
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: is a device or a pipe; expected the name of a file to write")
    with _temporary(path, lambda new: new.touch(exist_ok=False)) as temporary:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)


@contextlib.contextmanager
def atomic_folder(path):
    """A folder to write files into, which becomes `path`, new or empty before, only when all went well."""
    path = Path(path)
    if not path.name:
        raise ValueError(f"{path}: is the folder you are in; expected the name of a new one")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"{path} exists already; expected a new or an empty folder")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.parent} to make it in")
    with _temporary(path, Path.mkdir) as temporary:
        yield temporary
        if os.name == "nt" and path.exists():  # elsewhere an empty folder is replaced in the same step
            path.rmdir()
        os.replace(temporary, path)


@contextlib.contextmanager
def _temporary(path, make):
    """Something that `make` makes beside `path` (same folder: a rename, not a copy), gone again if anything fails."""
    for stale in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 8}.tmp"):
        with contextlib.suppress(OSError), _locked(stale) as free:
            if free:
                _remove(stale)
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
    try:
        make(temporary)
        with _locked(temporary):
            yield temporary
    except BaseException as error:
        _remove(temporary)
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None  # the name that the user knows
        raise


@contextlib.contextmanager
def _locked(path):
    """Holds the lock on a file or folder for the length of a with block, and says whether it could be had."""
    if fcntl is None:
        yield False
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # another process holds it, or the file system knows no locks
            yield False
        else:
            yield True
    finally:
        os.close(handle)


def _remove(path):
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
