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
NOISES = {"dropout": lambda run, x, what: run.dropout(x, run.path_rate, what), "drop_path": Run.drop_path}
EACH_NOISE = pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
ONES = np.ones((5000, 4, 5))


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.9])
@EACH_NOISE
@DTYPES
def test_its_share_is_dropped_the_rest_grows_and_the_gradient_likewise(noise, rate, dtype):
    run = RUN._replace(path_rate=rate)
    x, dy = np.random.default_rng(0).normal(size=(2, *ONES.shape)).astype(dtype)
    x.setflags(write=False)
    y, factor = noise(run, x, "probs"), noise(run, ONES.astype(dtype), "probs")
    assert y.dtype == factor.dtype == dtype
    assert set(np.unique(factor)) == {0, dtype(1 / (1 - rate))}
    draws = factor.size if noise is NOISES["dropout"] else len(factor)
    assert abs((factor == 0).mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / draws)
    assert (y == x * factor).all()
    assert (noise(run, dy, "probs") == dy * factor).all()


def test_dropout_drops_numbers_and_drop_path_whole_pictures():
    assert 0.39 < (RUN.dropout(ONES, 0.4, "probs") == 0).mean() < 0.41
    assert (RUN.drop_path(ONES, "probs") == RUN.drop_path(ONES, "probs")[:, :1, :1]).all()


@EACH_NOISE
def test_seed_place_and_purpose_decide_and_the_order_does_not(noise):
    calls = [(RUN, "probs"), (RUN._replace(seed=4), "probs"), (RUN.at("y"), "probs"), (RUN, "y")]
    masks = [noise(run, ONES, what) for run, what in calls]
    assert (np.array(masks) == [noise(run, ONES, what) for run, what in calls[::-1]][::-1]).all()
    assert len(np.unique(masks, axis=0)) == len(calls)


@EACH_NOISE
def test_without_a_seed_or_a_rate_the_input_comes_back(noise):
    for quiet in (RUN._replace(seed=None), RUN._replace(path_rate=0.0), QUIET):
        assert noise(quiet, ONES, "probs") is ONES


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
    seen = Only(r"a\.\w")
    seen["a.b"] = seen["ab"] = seen["a.bb"] = 1
    seen.update({"a.c": 2, "b.a.c": 3}, d=4)
    assert dict(seen) == {"a.b": 1, "a.c": 2}
