"""Who computes what: a batch in pieces, side by side in threads, and BLAS with one thread for each.

BLAS gives every matrix product to all cores, but the passes between the products, half of the time, would run on one.
So the threads are ours, and BLAS has one. A batch is cut into pieces of two pictures of 224 x 224 (or as many pixels),
and each thread takes the next piece (`side_by_side`): what a pass reads is still in the cache from the pass before,
and memory does not grow with the batch. A piece that is alone has helpers instead, who share the blocks of its long
passes (`spread`). Pieces and blocks are the same however many threads there are, which only changes who computes them:
the results are equal to the last bit. They are coarse, for threads that run many small NumPy calls wait for Python's
lock; and our threads sleep while they wait, where BLAS's spin, which beside a busy neighbour costs more than it brings.

Only one computation at a time has more than its own thread: one inside another, or beside it in a thread pool of the
user's, does all its work where it is. What BLAS had before is set again when the last is done, however that ends.
Without threadpoolctl, which sets it, pieces follow one another, and BLAS has its own threads, whose number may change
last bits.
"""

import contextlib
import contextvars
import os
import threading
from collections import deque
from functools import cache
from itertools import islice

import numpy as np

from .cores import asked, for_one_piece, for_pieces

PIECE = 2 * 224 * 224  # pixels
AT_ONCE = 8 * PIECE  # pixels in all threads together: larger pictures follow one another, which bounds the memory
SMALL = 64 * 64  # pixels, which are not worth a second thread
BLOCK = 2**18  # numbers of a pass: they stay in the cache, and it is long enough not to wait for Python's lock

_lock = threading.Lock()
_crew = threading.Lock()  # held by the computation that has more than its own thread
_computing = set()  # one entry for everyone who wants BLAS to have one thread
_before = []  # BLAS's libraries, and how many threads each had when nobody did
_helpers = contextvars.ContextVar("helpers", default=(None, 0))  # of a piece alone: their pool, and how many they are


def in_pieces(compute, x, whole=False):
    """compute(x) for a batch x (B, C, H, W), or for its pieces: a tuple, list or dict of arrays, with B rows each."""
    size = piece_size(x.shape[2] * x.shape[3])
    count = 1 if whole else -(-len(x) // size)
    if count < 2:
        return alone(compute, x, small=x[:, 0].size < SMALL)
    cuts = [len(x) * k // count for k in range(count + 1)]
    pieces = [x[start:stop] for start, stop in zip(cuts, cuts[1:], strict=False)]
    return _joined(list(side_by_side(compute, pieces, pixels=size * x[0, 0].size)))


def piece_size(pixels):
    """How many pictures of so many pixels are computed at once in each thread."""
    return max(1, int(PIECE // max(1, pixels)))


def side_by_side(work, items, pixels=1):
    """work(item) of every item, in order, several at a time; the next are begun while the first is waited for.

    items   a list
    pixels  how many an item has: large items follow one another, each with helpers; so does a single one
    """
    number = for_pieces()
    if len(items) < 2 or pixels > AT_ONCE // number:
        yield from (alone(work, item) for item in items)
    elif number > 1 and _may_have_threads() and _crew.acquire(blocking=False):
        items = iter(items)
        try:
            with one_blas_thread(), _pool(number) as pool:
                try:
                    begun = deque(_begin(pool, work, item) for item in islice(items, 2 * number))
                    while begun:
                        yield begun.popleft().result()
                        begun.extend(_begin(pool, work, item) for item in islice(items, 1))
                finally:
                    pool.shutdown(wait=False, cancel_futures=True)
        finally:
            _crew.release()
    else:
        for item in items:
            with one_blas_thread():
                result = work(item)
            yield result


def alone(work, item, small=False):
    """work(item), with helpers if it is worth them and nobody else has them."""
    if small or not _may_have_threads() or not _crew.acquire(blocking=False):
        with one_blas_thread():
            return work(item)
    try:
        number = for_one_piece() - 1
        with one_blas_thread(), _pool(max(1, number)) as pool:
            return _begin_here(work, item, helpers=(pool, number))
    finally:
        _crew.release()


def spread(work, blocks):
    """work(block) of every block, by this thread and the helpers that it has."""
    (pool, number), rest = _helpers.get(), iter(blocks)

    def take(rest):
        for block in rest:
            work(block)

    helping = [_begin(pool, take, rest) for _ in range(min(number, len(blocks) - 1))]
    _begin_here(take, rest)
    for helper in helping:
        helper.result()


def parts(length, width):
    """Slices of the length, of about `BLOCK` numbers each; where the length allows it an even number of them, for two
    threads to share."""
    count = -(-length * width // BLOCK)
    size = -(-length // max(1, count + count % 2 * (count > 1)))
    return [slice(start, min(length, start + size)) for start in range(0, length, max(1, size))]


def _pool(number):
    from concurrent.futures import ThreadPoolExecutor  # when there is something to compute: its import takes a moment

    return ThreadPoolExecutor(number)


def _begin(pool, work, item):
    """The future of work(item) in another thread, for which np.errstate and `threads` are as they are here."""
    return pool.submit(contextvars.copy_context().run, _begin_here, work, item)


def _begin_here(work, item, helpers=(None, 0)):
    before = _helpers.set(helpers)
    try:
        return work(item)
    finally:
        _helpers.reset(before)


@contextlib.contextmanager
def one_blas_thread():
    """BLAS has one thread for the length of the with block, and of all others that it meets."""
    me = object()
    try:
        with _lock:
            _computing.add(me)
            if not _before:
                _before.extend((library, library.num_threads) for library in _libraries() or ())
                for library, _ in _before:
                    library.set_num_threads(1)
        yield
    finally:
        with _lock:
            _computing.discard(me)
            if not _computing:
                _restore()


def _restore():
    while _before:
        library, number = _before.pop()
        library.set_num_threads(number)


def _after_fork():
    """A child process has none of its parent's threads, and so nobody who would give back what they hold."""
    global _lock, _crew
    _lock, _crew = threading.Lock(), threading.Lock()
    _computing.clear()
    _restore()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _may_have_threads():
    """Whether BLAS leaves the cores to our threads, or the user wants them in any case."""
    return _libraries() is not None or asked()


@cache
def _libraries():
    """What threadpoolctl can set of BLAS in this process; None without threadpoolctl."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return ThreadpoolController().select(user_api="blas").lib_controllers


def _joined(parts):
    first = parts[0]
    if isinstance(first, dict):
        return {name: _joined([part[name] for part in parts]) for name in first}
    if isinstance(first, (tuple, list)):
        return type(first)(map(_joined, zip(*parts, strict=True)))
    return np.concatenate(parts)
