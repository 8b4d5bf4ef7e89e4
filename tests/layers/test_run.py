"""What goes along beside the numbers: the name of the place, who watches, and noise that is a function of the place.

A mask depends on the seed, the place and what it is for. So nothing has to be kept for the backward pass, which makes
the same call on the gradient, and the order of calls plays no part.
"""

import numpy as np
import pytest
from pvt_numpy.layers.run import QUIET, Only, Run

from tests.layers import test_attention, test_mlp
from tests.layers.helpers import DTYPES, check_gradients

RUN = Run("stages.0.blocks.1.attn", seed=3, hidden_rate=0.3, probs_rate=0.2, path_rate=0.4)
NOISE = {
    "dropout": lambda run, x, what: run.dropout(x, 0.4, what),
    "drop_path": lambda run, x, what: run.drop_path(x, what),
}
EACH_NOISE = pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE)
ONES = np.ones((60, 5, 4))


@EACH_NOISE
@DTYPES
def test_a_number_is_dropped_or_grows_and_its_gradient_with_it(noise, dtype):
    x, dy = np.random.default_rng(0).normal(size=(2, *ONES.shape)).astype(dtype)
    x.setflags(write=False)
    y, factor = noise(RUN, x, "probs"), noise(RUN, ONES.astype(dtype), "probs")
    assert y.dtype == dtype
    assert set(np.unique(factor)) == {0, dtype(1 / 0.6)}
    assert 0.2 < (factor == 0).mean() < 0.6
    assert (y == x * factor).all()
    assert (noise(RUN, dy, "probs") == dy * factor).all()


def test_the_mean_stays():
    assert abs(RUN.dropout(np.ones(100_000), 0.4, "probs").mean() - 1) < 0.01


def test_drop_path_drops_whole_pictures():
    y = RUN.drop_path(ONES, "attn").reshape(60, -1)
    assert (y == y[:, :1]).all()


@EACH_NOISE
def test_seed_place_and_purpose_decide_and_the_order_does_not(noise):
    calls = [(RUN, "probs"), (RUN._replace(seed=4), "probs"), (RUN.at("y"), "probs"), (RUN, "y")]
    masks = [noise(run, ONES, what) for run, what in calls]
    again = [noise(run, ONES, what) for run, what in calls[::-1]][::-1]
    assert (np.array(masks) == again).all()
    assert len(np.unique(masks, axis=0)) == len(calls)


@EACH_NOISE
def test_without_a_seed_or_a_rate_the_input_comes_back(noise):
    assert noise(RUN._replace(seed=None), ONES, "probs") is ONES
    assert RUN.dropout(ONES, 0.0, "probs") is RUN._replace(path_rate=0.0).drop_path(ONES, "attn") is ONES


@pytest.mark.parametrize("case", [*test_attention.CASES, *test_mlp.CASES], ids=str)
def test_layers_with_noise_have_the_gradients_of_central_differences(case):
    noisy = case._replace(options=case.options | {"run": RUN})
    check_gradients(noisy)
    assert (noisy.forward(noisy.numbers())[0] != case.forward(case.numbers())[0]).any()


def test_watchers_see_what_is_noted_under_its_place():
    seen, some = {}, Only(r".*\.probs")
    Run("stages.0", watchers=(seen, some)).at("attn").note("y", probs="p", k="k")
    assert seen == {"stages.0.attn": "y", "stages.0.attn.probs": "p", "stages.0.attn.k": "k"}
    assert dict(some) == {"stages.0.attn.probs": "p"}
    assert QUIET.at("attn").name == "attn"


def test_only_keeps_the_names_that_match_as_a_whole_however_they_come():
    seen = Only(r"a\..*")
    seen["a.b"] = seen["ab"] = 1
    seen.update({"a.c": 2, "b.a.c": 3}, d=4)
    seen |= {"a.e": 5, "e": 6}
    assert dict(seen) == {"a.b": 1, "a.c": 2, "a.e": 5}
