"""A `with` block in which nothing reaches stderr, not even what a C library prints past Python.

libtiff, inside Pillow, does that when it meets a damaged file. What it says is of no use to anyone: the command says in
a line of its own what is wrong with the file.
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
