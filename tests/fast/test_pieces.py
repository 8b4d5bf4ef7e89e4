"""Who computes what changes no bit of a result; and whatever happens, BLAS is as it was and nobody waits for ever.

A small model's pictures are cut as if they were large: `PIECE` is made small. BLAS is a stand-in that remembers how
many threads it was given, so that the tests see it without threadpoolctl too.
"""

import asyncio
import os
import signal
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_all_start_methods, get_context

import numpy as np
import pytest

from pvt_numpy import forward, pyramid, threads
from pvt_numpy.fast import cores, pieces
from pvt_numpy.reference.golden import seeded_params, seeded_pixels
from tests import processes
from tests.model.model_cases import KINDS

NUMBERS = (1, 2, 3, 7)


class Library:
    """What threadpoolctl gives for a BLAS."""

    def __init__(self):
        self.num_threads, self.given = 5, []

    def set_num_threads(self, number):
        self.num_threads = number
        self.given.append(number)


@pytest.fixture(autouse=True)
def blas(monkeypatch):
    """BLAS's stand-in, which must have all its threads again when the test is over, and nobody the crew."""
    library = Library()
    monkeypatch.setattr(pieces, "_libraries", lambda: [library])
    monkeypatch.setattr(pieces, "PIECE", 2 * 32 * 32)
    monkeypatch.setattr(pieces, "AT_ONCE", 2**30)
    monkeypatch.setattr(pieces, "SMALL", 1)
    yield library
    assert (library.num_threads, pieces._before, pieces._computing) == (5, [], set())
    assert pieces._helpers.get() == (None, 0)
    assert not pieces._crew.locked()


def model(name, batch=7, dtype=np.float32):
    config, size, _ = KINDS[name]
    return seeded_pixels((batch, 3, *size), 0, dtype), seeded_params(config, 0, dtype), config


def bits(found):
    """All the bytes of nested arrays."""
    if isinstance(found, np.ndarray | np.generic):
        return found.tobytes()
    return [bits(part) for part in found if part is not None]


@pytest.mark.parametrize(("name", "block"), [("v1", 2**18), ("v2_linear", 2**18), ("v2_odd_no_bias", 2**18),
                                             ("v1_odd_regression", 2**10), ("v2", 2**10)])  # fmt: skip
def test_any_number_of_threads_gives_the_same_bits(name, block, monkeypatch):
    monkeypatch.setattr(pieces, "BLOCK", block)
    monkeypatch.setattr(sys.modules["pvt_numpy.fast.linear"], "BLOCK", 64 * block)
    x, params, config = model(name)
    for batch in (x, x[:1]):  # in pieces; and one alone, with helpers
        found = []
        for number in NUMBERS:
            with threads(number):
                found.append(bits([forward(batch, params, config, output_attentions=True, output_hidden_states=True),
                                   pyramid(batch, params, config)]))  # fmt: skip
        assert all(one == found[0] for one in found), len(batch)


def test_pieces_are_the_whole_in_order_and_of_every_form():
    x = np.arange(7 * 3 * 32 * 32, dtype=np.float32).reshape(7, 3, 32, 32)
    seen = []

    def compute(piece):
        seen.append(len(piece))
        time.sleep(0.001 * (8 - float(piece[0, 0, 0, 0]) / 3072))  # the first takes longest
        return piece[:, 0, 0], {"double": [piece * 2]}

    for number in NUMBERS:
        with threads(number):
            first, found = pieces.in_pieces(compute, x)
        assert (first == x[:, 0, 0]).all()
        assert (found["double"][0] == 2 * x).all()
    assert sorted(seen) == sorted([1, 2, 2, 2] * len(NUMBERS)), "the cuts depend on the number of threads"


def test_noise_and_traces_are_of_the_whole_batch():
    x, params, config = model("v2")
    whole, trace = {}, {}
    forward(x, params, config, trace=whole)
    with threads(3):
        forward(x, params, config, trace=trace)
        first, again = (forward(x, params, config, seed=1).logits.tobytes() for _ in range(2))
    assert first == again
    assert list(trace) == list(whole)
    assert all(bits(np.asarray(trace[name])) == bits(np.asarray(whole[name])) for name in whole)


def test_two_threads_run_at_once_and_no_more_than_asked():
    running, most, both = set(), [], threading.Barrier(2, timeout=10)

    def work(n):
        running.add(threading.get_ident())
        if n < 2:
            both.wait()
        most.append((len(running), pieces._libraries()[0].num_threads))
        return n

    with threads(2):
        assert list(pieces.side_by_side(work, range(9))) == list(range(9))
    assert max(most) == (2, 1)


def test_items_are_begun_as_they_are_needed():
    """Results that nobody takes do not pile up."""
    begun = []
    with threads(2):
        results = pieces.side_by_side(lambda n: begun.append(n) or n, range(1000))
        assert next(results) == 0
        time.sleep(0.05)
        assert len(begun) <= 5
        results.close()


def test_large_items_follow_one_another(monkeypatch):
    monkeypatch.setattr(pieces, "AT_ONCE", 1000)
    me = threading.get_ident()
    with threads(2):
        assert set(pieces.side_by_side(lambda n: threading.get_ident(), range(5), pixels=501)) == {me}
        assert me not in set(pieces.side_by_side(lambda n: threading.get_ident(), range(5), pixels=100))


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError])
def test_after_an_error_all_is_as_it_was(error, number, blas):
    def work(n):
        assert blas.num_threads == 1
        if n == 3:
            raise error("here")
        return n

    with threads(number), pytest.raises(error, match="here"):
        list(pieces.side_by_side(work, range(50)))
    with threads(number), pytest.raises(error, match="here"):
        pieces.alone(lambda n: pieces.spread(work, range(50)), None)
    assert blas.given[-1] == 5


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [1, 2])
def test_after_ctrl_c_all_is_as_it_was(number):
    main, started = threading.main_thread().ident, threading.Event()
    kill = threading.Thread(target=lambda: started.wait(10) and signal.pthread_kill(main, signal.SIGINT))
    kill.start()
    with threads(number), pytest.raises(KeyboardInterrupt):
        list(pieces.side_by_side(lambda n: started.set() or time.sleep(0.1), range(100)))
    kill.join()


def test_a_computation_inside_another_has_no_threads_of_its_own():
    x, params, config = model("v1")
    expected = forward(x, params, config).logits.tobytes()

    def work(_):
        return forward(x, params, config).logits.tobytes(), threading.active_count()

    with threads(2):
        found = list(pieces.side_by_side(work, range(6)))
    assert {logits for logits, _ in found} == {expected}
    assert max(count for _, count in found) <= threading.active_count() + 2


def test_a_thread_pool_of_the_users(blas):
    """Eight threads of theirs and two of ours: one computation has ours, and all get the same bits."""
    x, params, config = model("v2")
    expected, before = forward(x, params, config).logits.tobytes(), threading.active_count()

    def work(_):
        with threads(2):
            return forward(x, params, config).logits.tobytes(), threading.active_count()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(16)))
    assert {logits for logits, _ in found} == {expected}
    assert max(count for _, count in found) <= before + 8 + 2 + 1  # a pool that ends while the next begins


def test_an_event_loop_goes_on():
    """As Jupyter's: a cell computes in the loop's own thread, or beside it in an executor."""
    x, params, config = model("v1")
    expected = forward(x, params, config).logits.tobytes()

    async def cells():
        loop = asyncio.get_running_loop()
        beside = [loop.run_in_executor(None, lambda: forward(x, params, config).logits.tobytes()) for _ in range(4)]
        return [forward(x, params, config).logits.tobytes(), *await asyncio.wait_for(asyncio.gather(*beside), 60)]

    with threads(2):
        assert set(asyncio.run(cells())) == {expected}


def in_child(_):
    x, params, config = model("v2", batch=5)
    with threads(2):
        logits = forward(x, params, config).logits.tobytes()
    return logits, [number for _, number in pieces._before], pieces._crew.locked()


@pytest.mark.skipif("fork" not in get_all_start_methods(), reason="the system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_process_pool_forked_while_others_compute():
    """The child has none of the threads that hold a lock or the crew in its parent."""
    expected, going = in_child(None)[0], threading.Event()

    def busy(n):
        going.wait(60)
        return n

    with threads(2), ThreadPoolExecutor(1) as pool:
        work = pool.submit(lambda: list(pieces.side_by_side(busy, range(4))))
        while not pieces._crew.locked():
            time.sleep(0.001)
        try:
            with ProcessPoolExecutor(2, mp_context=get_context("fork")) as children:
                found = list(children.map(in_child, range(4), timeout=60))
        finally:
            going.set()
        assert work.result() == [0, 1, 2, 3]
    assert found == [(expected, [], False)] * 4


def test_memory_does_not_grow_with_the_batch(monkeypatch):
    """Beyond the results themselves. Two threads' pieces may be at their largest together: twice as much."""

    monkeypatch.setattr(pieces, "PIECE", 2 * 128 * 128)  # two of these pictures, as of 224 x 224 otherwise
    _, params, config = model("v2")

    def peak(batch, number):
        x = seeded_pixels((batch, 3, 128, 128), 0, np.float32)
        with threads(number):
            tracemalloc.start()
            output = forward(x, params, config)
            found = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return found - output.logits.nbytes - output.last_hidden_state.nbytes

    alone = peak(8, 1)
    assert peak(32, 1) < 1.2 * alone
    assert peak(32, 2) < 2.4 * alone


def test_without_threadpoolctl_pieces_follow_one_another(monkeypatch, blas):
    monkeypatch.setattr(pieces, "_libraries", lambda: None)
    monkeypatch.setattr(cores, "cores", lambda: 4)
    monkeypatch.delenv(cores.SETTING, raising=False)
    me = threading.get_ident()
    assert set(pieces.side_by_side(lambda n: threading.get_ident(), range(9))) == {me}
    with threads(2):  # who asks has them in any case
        assert me not in set(pieces.side_by_side(lambda n: threading.get_ident(), range(9)))
    assert blas.given == []


def test_errstate_reaches_the_threads():
    with threads(2), np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        list(pieces.side_by_side(lambda n: np.float64(1) / np.float64(n - n), range(4)))


@pytest.mark.parametrize(("length", "width"), [(0, 1), (1, 1), (7, 1), (64, 1), (65, 1), (56, 40), (5, 1000)])
def test_parts_cover_all_once(length, width, monkeypatch):
    monkeypatch.setattr(pieces, "BLOCK", 64)
    found = pieces.parts(length, width)
    assert [n for part in found for n in range(part.start, part.stop)] == list(range(length))


def test_real_blas_is_limited_and_given_back():
    pytest.importorskip("threadpoolctl")
    code = """
from threadpoolctl import threadpool_info
import numpy, pvt_numpy
from pvt_numpy.fast import pieces
def now(): return [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]
before = now()
with pieces.one_blas_thread():
    with pieces.one_blas_thread():
        inside = now()
print(before == now(), set(inside) <= {1})
"""
    assert processes.run("-c", code, env={"OPENBLAS_NUM_THREADS": None}) == (0, "True True\n", "")


# how many threads


@pytest.fixture
def free_choice(monkeypatch):
    monkeypatch.delenv(cores.SETTING, raising=False)
    monkeypatch.setattr(cores, "cores", lambda: 4)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    cores._load[:] = -1.0, 0
    yield
    cores._load[:] = -1.0, 0


@pytest.mark.parametrize(("others", "free"), [([0], 4), ([4, 4, 4], 4), ([6, 6, 6], 2), ([99, 99, 99], 1), ([6, 0], 4)])
def test_neighbours_leave_fewer_helpers_but_as_many_pieces(others, free, free_choice, monkeypatch):
    looks = iter(others)
    monkeypatch.setattr(cores, "others_running", lambda: next(looks))
    assert cores.for_one_piece() == free
    assert cores.for_one_piece() == free, "the load was asked again at once"
    assert cores.for_pieces() == 4


def test_what_was_asked_for_is_used(free_choice, monkeypatch):
    monkeypatch.setattr(cores, "others_running", lambda: 99)
    monkeypatch.setenv(cores.SETTING, "3")
    assert (cores.for_pieces(), cores.for_one_piece()) == (3, 3)
    with threads(6), threads(None):
        assert (cores.for_pieces(), cores.for_one_piece()) == (6, 6)
    for wish in ("0", "-1", "two", "257", "1.5"):
        monkeypatch.setenv(cores.SETTING, wish)
        with pytest.raises(ValueError, match=f"^PVT_NUMPY_THREADS: found '{wish}'; expected a whole number from 1 to"):
            cores.for_pieces()


@pytest.mark.parametrize(("files", "expected"), [
    ({}, cores.MOST), ({"cpu.max": "max 100000"}, cores.MOST), ({"cpu.max": "250000 100000"}, 2.5),
    ({"cpu.max": "10000 100000"}, 1), ({"cpu.max": "odd"}, cores.MOST),
    ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
    ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, cores.MOST)])  # fmt: skip
def test_a_containers_share(files, expected, tmp_path):
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert cores.quota(tmp_path) == expected


@pytest.mark.parametrize(("loadavg", "states", "others"), [
    ("0.5 0.1 0.1 5/200 77", "RS", 4), ("0.5 0.1 0.1 2/200 77", "RR", 0), ("0.5 0.1 0.1 1/200 77", "RR", 0),
    ("odd", "R", 0), (None, "R", 0)])  # fmt: skip
def test_who_else_runs(loadavg, states, others, tmp_path):
    if loadavg:
        (tmp_path / "loadavg").write_text(loadavg)
    for n, state in enumerate(states):
        (tmp_path / "self" / "task" / str(n)).mkdir(parents=True)
        (tmp_path / "self" / "task" / str(n) / "stat").write_text(f"{n} (a (name) R) {state} 1 2 3")
    assert cores.others_running(tmp_path) == others


def test_the_cores_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    for quota, expected in ((cores.MOST, 3), (2.5, 2), (1, 1)):
        monkeypatch.setattr(cores, "quota", lambda quota=quota: quota)
        assert cores.cores.__wrapped__() == expected
