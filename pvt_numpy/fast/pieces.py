"""A batch in pieces, side by side in threads, each with one thread of BLAS.

BLAS gives every matrix product to all cores, but the passes between the products, half of the time, run on one. So a
batch is cut into pieces of two pictures of 224 x 224 (or as many pixels) and each thread takes the next piece: all
cores compute all the time, and the memory that a pass reads is still in the cache from the pass before. How many
threads there are changes who computes a piece, never what is in it: the results are the same to the last bit. Cuts are
coarse, for threads that run many small NumPy calls wait for Python's lock. A piece alone has BLAS's threads, whose
number may change its last bits, and helpers for its longest passes, whose number may not.

Only one computation at a time has such threads: one inside another, or beside it in a thread pool of the user's, does
all its work in the thread that it is in. While several threads compute, BLAS has one thread for each; what it had
before is set again when the last is done, however that ends. Without threadpoolctl, which sets it, pieces follow one
another on BLAS's own threads.
"""

import contextlib
import contextvars
import os
import threading
from collections import deque
from functools import cache
from itertools import islice

import numpy as np

from .cores import asked, for_blas, for_pieces

PIECE = 2 * 224 * 224  # pixels
AT_ONCE = 8 * PIECE  # pixels in all threads together: larger pictures follow one another, to bound the memory
SMALL = 64 * 64  # pixels, which are not worth a second thread

_lock, _crew = threading.Lock(), threading.Lock()
_wishes = {}  # one entry for everyone who computes: how many threads BLAS may have
_before = []  # BLAS's libraries, and how many threads each had when nobody computed
_helpers = contextvars.ContextVar("helpers", default=(None, 0))  # of a piece alone: their pool, and how many they are


def in_pieces(compute, x):
    """compute(x) for a batch x (B, C, H, W): an array, or a tuple, list or dict of arrays, with B rows each."""
    size = max(1, PIECE // max(1, x.shape[2] * x.shape[3]))
    count = -(-len(x) // size)
    if count < 2:
        return _alone(compute, x)
    cuts = [len(x) * k // count for k in range(count + 1)]
    pieces = (x[start:stop] for start, stop in zip(cuts, cuts[1:], strict=False))
    return _joined(list(side_by_side(compute, pieces, pixels=size * x[0, 0].size)))


def side_by_side(work, items, pixels=1):
    """work(item) of every item, in order, several at a time; the next are begun while the first is waited for.

    pixels  how many an item has, if it is large
    """
    number, items = min(for_pieces(), max(1, AT_ONCE // pixels)), iter(items)
    if number < for_pieces():
        yield from (_alone(work, item) for item in items)
    elif number > 1 and (_libraries() is not None or asked()) and _crew.acquire(blocking=False):
        try:
            with blas_threads(1), _pool(number) as pool:
                begin = lambda item: pool.submit(contextvars.copy_context().run, work, item)  # noqa: E731
                try:
                    begun = deque(map(begin, islice(items, 2 * number)))
                    while begun:
                        yield begun.popleft().result()
                        begun.extend(map(begin, islice(items, 1)))
                finally:
                    pool.shutdown(wait=False, cancel_futures=True)
        finally:
            _crew.release()
    else:
        with blas_threads(1):
            yield from map(work, items)


def _alone(work, item):
    """work(item), with all threads that are free; a small item, or one beside others, with none but its own."""
    if item.size < SMALL or not _crew.acquire(blocking=False):
        with blas_threads(1):
            return work(item)
    try:
        number = for_blas()
        with blas_threads(number), _pool(max(1, number - 1)) as pool:
            before = _helpers.set((pool, number - 1))
            try:
                return work(item)
            finally:
                _helpers.reset(before)
    finally:
        _crew.release()


def spread(work, blocks):
    """work(block) of every block, by the thread that calls and the helpers that it has."""
    (pool, number), blocks = _helpers.get(), iter(blocks)

    def take():
        for block in blocks:
            work(block)

    taking = [pool.submit(contextvars.copy_context().run, take) for _ in range(number)]
    take()
    for helper in taking:
        helper.result()


@contextlib.contextmanager
def blas_threads(number):
    """BLAS has at most so many threads for the length of the with block, and one if others compute, too."""
    me = object()
    try:
        _wish(me, number)
        yield
    finally:
        _wish(me, None)


def _wish(who, number):
    with _lock:
        if number is None:
            _wishes.pop(who, None)
        else:
            _wishes[who] = number
        least = 1 if len(_wishes) > 1 else min(_wishes.values(), default=None)
        if not _before and least is not None and least < (os.cpu_count() or 1):
            _before.extend((library, library.num_threads) for library in _libraries() or ())
        for library, number_before in _before:
            library.set_num_threads(min(number_before, least or number_before))
        if not _wishes:
            _before.clear()


@cache
def _libraries():
    """What threadpoolctl can set of BLAS in this process; None without threadpoolctl."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return ThreadpoolController().select(user_api="blas").lib_controllers


def _pool(number):
    from concurrent.futures import ThreadPoolExecutor  # here, for importing it takes a moment

    return ThreadPoolExecutor(number)


def _joined(parts):
    first = parts[0]
    if isinstance(first, dict):
        return {name: _joined([part[name] for part in parts]) for name in first}
    if isinstance(first, (tuple, list)):
        return type(first)(map(_joined, zip(*parts, strict=True)))
    return np.concatenate(parts)
