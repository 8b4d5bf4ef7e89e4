"""Keeps a C library from writing to stderr: what it would say becomes one of our own lines, or is of no use to anyone.

libtiff, inside Pillow, prints what it finds wrong with a file, past Python. Left out: any other library; none does.
"""

import contextlib
import os
import threading

STDERR = threading.RLock()  # held by whoever writes a line that must arrive, and while nothing does


@contextlib.contextmanager
def stderr_closed():
    """Sends the process's stderr nowhere for a while. Threads take turns, `cli.complain` among them."""
    with STDERR:
        try:
            saved = os.dup(2)
        except OSError:  # closed already
            yield
            return
        try:
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
