"""Pyramid rollout and the statistics of heads: against cases worked out by hand, and for conservation."""

from dataclasses import replace

import numpy as np
import pytest

from pvt_numpy import PvtConfig, PvtV2Config, parameter_shapes, plots
from pvt_numpy.analysis import rollout
from pvt_numpy.analysis.rollout import attention_distance, head_statistics, key_blocks, pyramid_rollout, spread
from pvt_numpy.layers.softmax import softmax
from pvt_numpy.model import start, trunk
from tests.plots.plot_cases import V1, V2, traced


def two_stages():
    """A trace written by hand: stage 0 has 2 x 4 tokens and 1 x 2 keys (R = 2), stage 1 has 1 x 2 tokens and R = 1."""
    config = PvtV2Config(num_encoder_blocks=2, depths=(1, 1), hidden_sizes=(2, 2), patch_sizes=(7, 3), strides=(4, 2),
                         num_attention_heads=(2, 1), mlp_ratios=(1, 1), sr_ratios=(2, 1))  # fmt: skip
    first = np.zeros((1, 2, 8, 2))
    first[0, 0, :, 0] = 1  # head 0 reads key 0 alone, head 1 both alike: 3/4 and 1/4 on average
    first[0, 1] = 0.5
    second = np.array([[[[0.0, 1.0], [0.5, 0.5]]]])
    return {
        "stages.0.grid": (2, 4), "stages.0.tokens": np.zeros((1, 8, 2)), "stages.0.blocks.0.attn.probs": first,
        "stages.1.grid": (1, 2), "stages.1.tokens": np.zeros((1, 2, 2)), "stages.1.blocks.0.attn.probs": second,
    }, config  # fmt: skip


def test_rollout_by_hand():
    trace, config = two_stages()
    below, top = pyramid_rollout(trace, config)
    # The mean head starts with (1/2, 1/2); attention gives (1/2)(0, 1) + (1/2)(1/2, 1/2) = (1/4, 3/4); half of each:
    np.testing.assert_allclose(top, [[3 / 8, 5 / 8]], rtol=1e-15)
    # Each is spread over 2 x 2 tokens: 3/32 and 5/32. Attention reads 3/4 and 1/4, spread over 4 tokens: 3/16 and 1/16.
    left, right = (3 / 32 + 3 / 16) / 2, (5 / 32 + 1 / 16) / 2
    np.testing.assert_allclose(below, [[left, left, right, right]] * 2, rtol=1e-15)


def test_rollout_of_one_token_by_hand():
    trace, config = two_stages()
    (below,) = pyramid_rollout(trace, config, query=(0, 1, 3))
    expected = np.array([[3 / 16, 3 / 16, 1 / 16, 1 / 16]] * 2) / 2
    expected[1, 3] += 1 / 2  # the residual
    np.testing.assert_allclose(below, expected, rtol=1e-15)
    np.testing.assert_allclose(pyramid_rollout(trace, config, query=(1, 0, 0))[1], [[1 / 2, 1 / 2]], rtol=1e-15)


def test_class_token_is_the_query_and_is_left_out():
    config = PvtConfig(image_size=8, num_encoder_blocks=1, depths=(1,), hidden_sizes=(2,), patch_sizes=(4,),
                       strides=(4,), num_attention_heads=(1,), mlp_ratios=(1,),
                       sequence_reduction_ratios=(1,))  # fmt: skip
    probs = np.full((1, 1, 5, 5), 1e9)  # only the class token's row may be read
    probs[0, 0, 0] = [0.2, 0.1, 0.2, 0.3, 0.2]
    trace = {"stages.0.grid": (2, 2), "stages.0.tokens": np.zeros((1, 5, 2)), "stages.0.blocks.0.attn.probs": probs}
    (shares,) = pyramid_rollout(trace, config)
    np.testing.assert_allclose(shares, np.array([[0.1, 0.2], [0.3, 0.2]]) / 0.8, rtol=1e-15)


@pytest.mark.parametrize(("config", "size"), [
    (V1, (64, 64)), (V1, (76, 100)), (V2, (64, 96)), (V2, (75, 101)), (replace(V2, linear_attention=True), (64, 80)),
])  # fmt: skip
def test_shares_are_conserved(config, size):
    trace = traced(config, *size, B=2)[1]
    for picture in (0, 1):
        for query in (None, (3, 1, 0), (1, 2, 3)):
            maps = pyramid_rollout(trace, config, picture=picture, query=query)
            assert [m.shape for m in maps] == [trace[f"stages.{i}.grid"] for i in range(len(maps))]
            assert len(maps) == (4 if query is None else query[0] + 1)
            for shares in maps:
                assert abs(shares.sum() - 1) < 1e-12
                assert shares.min() >= 0
    one, other = (pyramid_rollout(trace, config, picture=picture)[0] for picture in (0, 1))
    assert np.abs(one - other).max() > 1e-6


def test_one_row_equals_the_product_of_whole_matrices():
    """The vector propagated backwards is a row of the rollout matrix that the usual, square method builds."""
    trace, config = traced(V2, 64, 64)[1], V2
    full = np.eye(4)
    for i in range(3, -1, -1):
        rows, columns = key_blocks(trace[f"stages.{i}.grid"], config, i)
        to_tokens = np.kron(rows, columns)  # (M, N)
        for j in reversed(range(config.depths[i])):
            probs = trace[f"stages.{i}.blocks.{j}.attn.probs"][0].mean(axis=0)
            full = full @ (0.5 * np.eye(probs.shape[0]) + 0.5 * probs @ to_tokens)
        if i:
            full = full @ np.kron(*[rollout.merge_matrix(2 * n, n, 2) for n in trace[f"stages.{i}.grid"]])
    np.testing.assert_allclose(pyramid_rollout(trace, config)[0].ravel(), full.mean(axis=0), atol=1e-15)
    np.testing.assert_allclose(pyramid_rollout(trace, config, query=(3, 1, 0))[0].ravel(), full[2], atol=1e-15)


def test_tail_tokens_get_no_weight():
    rows, columns = key_blocks((5, 7), PvtV2Config(), 2)  # R = 2
    shares = spread(np.ones(6), rows, columns)
    expected = np.zeros((5, 7))
    expected[:4, :6] = 0.25
    np.testing.assert_array_equal(shares, expected, strict=True)


def test_spread_keeps_the_sum_over_leading_axes():
    weights = softmax(np.random.default_rng(0).standard_normal((2, 3, 49)))
    shares = spread(weights, *key_blocks((10, 13), PvtV2Config(linear_attention=True), 0))
    assert shares.shape == (2, 3, 10, 13)
    np.testing.assert_allclose(shares.sum(axis=(-1, -2)), 1, rtol=1e-12)


def test_distance_by_hand():
    """A 2 x 4 grid with 1 x 2 keys: their centres are at row 0.5, columns 0.5 and 2.5."""
    rows, columns = key_blocks((2, 4), PvtV2Config(), 2)
    near, far = (np.tile(np.hypot(0.5, np.arange(4) - centre), 2) for centre in (0.5, 2.5))
    for first in (1, 0.25):
        found = attention_distance(np.array([[first, 1 - first]] * 8), (2, 4), rows, columns)
        np.testing.assert_allclose(found, first * near + (1 - first) * far, rtol=1e-15)


def test_statistics_of_uniform_and_of_sharp_heads():
    probs = np.zeros((1, 2, 64, 4))
    probs[:, 0] = 0.25
    probs[:, 1, :, 3] = 1
    found = head_statistics(traced(V2, 64, 64)[1] | {"stages.1.blocks.0.attn.probs": probs}, V2)
    heads = [(i, j, h) for i in range(4) for j in range(V2.depths[i]) for h in range(V2.num_attention_heads[i])]
    assert [(s.stage, s.block, s.head) for s in found] == heads
    even, sharp = (s for s in found if s.stage == 1)
    assert (even.keys, even.entropy, even.uniform_entropy, sharp.entropy) == (4, 2, 2, 0)
    assert even.distance == pytest.approx(even.uniform_distance)
    y, x = np.indices((8, 8))  # key 3 stands for rows and columns 4 .. 7, its centre is at 5.5; a token is 8 pixels
    assert sharp.distance == pytest.approx(8 * np.hypot(y - 5.5, x - 5.5).mean())


def test_statistics_leave_the_class_token_out():
    probs = np.zeros((1, 4, 5, 5))
    probs[..., :2] = 0.9, 0.1
    trace = traced(V1, 64, 64)[1] | {"stages.3.blocks.1.attn.probs": probs}
    found = [s for s in head_statistics(trace, V1) if (s.stage, s.block) == (3, 1)]
    assert {(s.keys, s.entropy) for s in found} == {(4, 0.0)}
    assert found[0].distance == pytest.approx(32 * (0 + 1 + 1 + 2**0.5) / 4)


def test_entropy_needs_no_logarithm_of_zero():
    with np.errstate(all="raise"):
        assert rollout.entropy(np.array([0.0, 1.0])) == 0


def test_cell_sizes():
    assert rollout.cell_sizes(PvtV2Config()) == [4, 8, 16, 32]


@pytest.mark.parametrize("query", [(-1, 0, 0), (4, 0, 0), (3, 2, 0), (0, 0, -1)])
def test_a_query_that_is_no_token_is_refused(query):
    with pytest.raises(ValueError, match="^query: found .*; expected stage 0 to 3"):
        pyramid_rollout(traced(V2)[1], V2, query=query)


def test_without_a_class_token_the_mean_of_the_tokens_is_followed():
    """A detector's v1: what its last map is made from, as of v2; and the figures do not speak of a class token."""
    photo, _, x, params = traced(V1)
    params = params | {"stages": [stage | {"cls_token": None} for stage in params["stages"]]}
    trunk(x, params, V1, start(V1, watchers=(trace := {},)))
    H, W = trace["stages.3.grid"]
    each = [pyramid_rollout(trace, V1, query=(3, y, z)) for y in range(H) for z in range(W)]
    for found, *alone in zip(pyramid_rollout(trace, V1), *each, strict=True):
        np.testing.assert_allclose(found, np.mean(alone, axis=0), rtol=1e-12)
    assert "from the mean of all tokens" in plots.rollout(photo, trace, V1).get_suptitle()
    total = sum(np.prod(shape) for shape in parameter_shapes(V1, class_token=False).values())
    sheet = plots.architecture(trace, V1).alt
    assert "class token" not in sheet
    assert f"{total:,} parameters" in sheet.replace("\u202f", ",")
