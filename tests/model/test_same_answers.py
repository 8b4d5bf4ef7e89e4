"""The same question gets the same answer: in any batch, in any order, beside other threads, from run to run.

Across batch sizes and orders 1e-5 is allowed, for the matrix products sum in another order there; everywhere else the
bits must be the same. What a picture's logits should be is for the comparisons with PyTorch to say.
"""

import hashlib
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from pvt_numpy import forward, preprocess
from pvt_numpy.pictures.decode import _one_sentence
from pvt_numpy.reference.golden import seeded_params, seeded_pixels
from tests import processes
from tests.model.model_cases import KINDS
from tests.model.test_mutations import put
from tests.pictures.picture_cases import photo

CHOSEN = ("v1", "v1_odd_regression", "v1_resized", "v1_no_bias_no_head", "v2", "v2_odd_no_bias", "v2_linear")


def runner(name, dtype=np.float32, batch=8, seed=0):
    """(function of pixels -> output bits to compare, pixels (batch, 3, H, W)) of a small model at its own odd size."""
    config, size, _ = KINDS[name]
    params = seeded_params(config, list(KINDS).index(name), dtype)

    def run(x):
        out = forward(x, params, config)
        return out.last_hidden_state if out.logits is None else out.logits

    return run, seeded_pixels((batch, 3, *size), seed, dtype)


def worst_over_batches(name):
    """How far the answers to eight pictures depend on who else is in the batch, and where."""
    run, x = runner(name)
    whole, order = run(x), np.array([5, 2, 7, 0, 3, 6, 1, 4])
    pieces = np.concatenate([run(x[start:stop]) for start, stop in ((0, 1), (1, 4), (4, 8))])
    assert np.ptp(whole, axis=0).max() > 1e-2, "all pictures get the same answer: this could not tell them apart"
    return max(np.abs(pieces - whole).max(), np.abs(run(x[order]) - whole[order]).max())


@pytest.mark.parametrize("name", CHOSEN)
def test_batches_and_orders(name):
    assert worst_over_batches(name) < 1e-5


def test_a_layer_that_looks_at_its_neighbours_is_seen(monkeypatch):
    def mistaken(right, x, *weights, **options):
        return right(x, *weights, **options) + 1e-4 * x[:1]

    put(monkeypatch, "layer_norm", mistaken)
    assert min(worst_over_batches(name) for name in CHOSEN) > 1e-5


def side_by_side(first, second, times=25):
    """Whether two calls give the same bits in two threads at once, again and again, as one after the other."""
    alone = [call().tobytes() for call in (first, second)]
    ready = threading.Barrier(2, timeout=10)

    def again(call):
        ready.wait()
        return {call().tobytes() for _ in range(times)}

    with ThreadPoolExecutor(2) as pool:
        return [{bits} for bits in alone] == list(pool.map(again, (first, second)))


def calls(first, second, dtype):
    """The two models, each with pictures of its own."""
    for seed, name in enumerate((first, second)):
        run, x = runner(name, dtype, batch=2, seed=seed)
        yield lambda run=run, x=x: run(x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("first", "second"), [("v1", "v2"), ("v2_linear", "v2"), ("v1", "v1"), ("v2", "v2")])
def test_two_threads(first, second, dtype):
    assert side_by_side(*calls(first, second, dtype))


def test_a_layer_that_keeps_its_memory_is_seen(monkeypatch):
    kept = {}

    def mistaken(right, x):
        scores = kept.setdefault(x.shape, np.empty_like(x))
        scores[...] = right(x)
        time.sleep(1e-4)  # the other thread's turn
        return scores

    put(monkeypatch, "softmax", mistaken)
    assert not side_by_side(*calls("v2", "v2", np.float32))


def test_two_threads_prepare_pictures(tmp_path):
    for number, size in enumerate([(300, 200), (90, 130)]):
        Image.fromarray(photo(*size, seed=number)).save(tmp_path / f"{number}.png")
    before = list(warnings.filters)
    assert side_by_side(*(lambda number=number: preprocess(tmp_path / f"{number}.png") for number in range(2)))
    assert warnings.filters == before


def test_pictures_that_are_decoded_at_once_leave_the_warnings_as_they_were():
    """Python's own catch_warnings, left by one thread, takes away what another thread has set."""
    before, inside = list(warnings.filters), threading.Event()

    def first():
        with _one_sentence("first"):
            inside.set()
            time.sleep(0.05)

    def second():
        assert inside.wait(10)
        with _one_sentence("second"):
            time.sleep(0.1)
            warnings.warn("a bomb", Image.DecompressionBombWarning, stacklevel=1)

    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(first), pool.submit(second)]
        with pytest.raises(ValueError, match="second: found a picture of decompression-bomb size"):
            done[1].result()
    assert warnings.filters == before


def hashes():
    """A hash of the logits of every kind of model, as text."""
    return " ".join(hashlib.sha256(run(x).tobytes()).hexdigest()[:16] for run, x in map(runner, CHOSEN))


def test_two_processes_give_the_same_bits(way):
    """With Python's hashes seeded differently, and as many threads as NumPy likes."""
    code = "from tests.model.test_same_answers import hashes; print(hashes())"
    found = set()
    for seed in ("1", "2"):
        settings = {
            "PYTHONHASHSEED": seed,
            "PVT_NUMPY_PLAIN": str(int(way == "formulas")),
            "OPENBLAS_NUM_THREADS": None,
        }
        status, out, err = processes.run("-c", code, env=settings)
        assert (status, err) == (0, "")
        found.add(out)
    assert len(found) == 1
    assert len(set(found.pop().split())) == len(CHOSEN)
