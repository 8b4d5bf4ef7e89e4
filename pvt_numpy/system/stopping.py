"""Ctrl-C and SIGTERM: a command that is asked to stop has ended within two seconds, wherever it was.

While a command is being imported there is nothing to clear away: it ends at once. Later an exception goes up through
it and clears away what is half written. A library may keep the main thread busy, wait for threads or swallow the
exception; then a thread that every signal wakes ends the process a little later. A second signal ends it at once.
Left out: Python's own start, before the first line of this package.
"""

import _thread
import contextlib
import os
import signal
import sys
import threading
from time import sleep

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}  # the exit status, as a shell counts
BUSY = 1.0  # seconds after a signal in which the main thread must have ended

_name = ""  # of the command
_stderr = 2  # where the command says that it was stopped; another number, for `quiet` may have closed this one
_wake = -1  # a pipe into which Python writes a byte for every signal; -1: signals are not ours
_unwinds = False  # whether an exception would meet somebody who waits for it
_met = []  # the signals that have reached the main thread
_ending = []  # those of them that end the process
_patience = []  # what the next signal calls in place of that
_undo = []  # (function, argument) that clear away what is half written


def begin():
    """From here on signals are answered, if Python is on its way to run `python -m pvt_numpy.COMMAND`."""
    if getattr(sys, "argv", [])[:1] == ["-m"]:  # while Python imports the packages around the module that it will run
        package, _, name = sys.orig_argv[-len(sys.argv)].partition(".")
        if package == __package__.partition(".")[0]:
            _begin(name.partition(".")[0] or package)


@contextlib.contextmanager
def stoppable(name):
    """For the length of the command `name`, a signal is a KeyboardInterrupt, after which the process ends."""
    global _unwinds, _wake, _stderr
    hook = sys.unraisablehook
    _begin(name)
    try:
        sys.unraisablehook = lambda found: _ending or hook(found)  # says nothing of a KeyboardInterrupt that is lost
        _unwinds = True
        yield
    finally:
        _unwinds = False
        if _ending:  # whatever became of the exception
            end()
        sys.unraisablehook = hook
        if _wake != -1:
            for number in STATUS:
                signal.signal(number, signal.SIG_IGN)  # too late; Python, as it ends, would show a traceback
            signal.set_wakeup_fd(-1)
            os.close(_wake)  # which an event loop of this command may have left unset
            os.close(_stderr)
            _wake, _stderr = -1, 2


@contextlib.contextmanager
def patient(said):
    """Within, the first signal ends nothing: `said` goes to stderr, and the list that this gives is no longer empty."""
    asked = []
    _patience.append(lambda: (asked.append(True), _say(said)))
    try:
        yield asked
    finally:
        _patience.clear()


@contextlib.contextmanager
def undone(function, argument):
    """Within, `function(argument)` is called if the process ends without going up through its `with` blocks."""
    _undo.append((function, argument))
    try:
        yield
    finally:
        _undo.remove((function, argument))


def end():
    """Ends the process, with what it has printed and without what is half written."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    _leave()


def _begin(name):
    global _name, _stderr, _wake
    _name = name
    if _wake != -1 or threading.current_thread() is not threading.main_thread():
        return
    while (spare := os.open(os.devnull, os.O_RDWR)) < 3:  # a stream that was closed; its number must not be the pipe's
        pass
    os.close(spare)
    _stderr, (woken, _wake) = os.dup(2), os.pipe()
    if os.name != "nt":
        os.set_blocking(_wake, False)
    signal.set_wakeup_fd(_wake, warn_on_full_buffer=False)
    with contextlib.suppress(RuntimeError):  # no room for a thread: the main one is on its own
        threading.Thread(target=_watch, args=[woken], daemon=True).start()
    for number in STATUS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as a shell has it for what runs in the background
            signal.signal(number, _meet)


def _meet(number, frame):
    """The main thread meets a signal, between two of its steps."""
    _met.append(number)
    if _patience:
        return _patience.pop()()
    _ending.append(number)
    if not _unwinds or len(_met) > 1:
        end()
    raise KeyboardInterrupt


def _watch(woken):
    """Ends the process if the main thread has not met a signal in time, or not ended after it."""
    with open(woken, "rb", buffering=0) as pipe:
        for count, byte in enumerate(iter(lambda: pipe.read(1), b""), 1):
            sleep(BUSY)
            if len(_met) < count:
                _ending.append(byte[0])
            if _ending:
                _thread.start_new_thread(sys.stdout.flush, ())  # which may wait for a reader, or for the main thread
                sleep(0.2)
                _leave()


def _leave():
    for function, argument in list(_undo):
        with contextlib.suppress(Exception):
            function(argument)
    if _ending[:1] != [signal.SIGTERM]:
        _say(f"{_name}: stopped")
    os._exit(STATUS[(_ending or [signal.SIGINT])[0]])


def _say(text):
    """A line on stderr, whatever Python's own stream is in the middle of."""
    with contextlib.suppress(OSError):
        os.write(_stderr, ("\n" * os.isatty(_stderr) + text + "\n").encode("utf-8", "backslashreplace"))
