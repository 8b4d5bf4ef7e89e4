"""What the figures of attention draw: which keys, where, and how dark."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from pvt_numpy import PvtV2Config, plots
from pvt_numpy.analysis.rollout import head_statistics, pyramid_rollout
from tests.plots.plot_cases import SMALL, V1, V2, boxes, panels_of, query, shown, traced


def test_attention_shades_each_key_by_its_probability():
    photo, trace, _, _ = traced(V2)
    figure = plots.attention(photo, trace, V2, stage=2, block=0, pixel=(40, 70))
    probs = trace["stages.2.blocks.0.attn.probs"][0]  # a grid of 4 x 6 tokens of 16 pixels, keys of 2 x 2 tokens
    token = 2 * 6 + 4
    who, *panels = panels_of(figure)
    assert query(who) == (64, 32, 16, 16)
    assert [axes.get_title() for axes in panels] == [*(f"head {h + 1}" for h in range(5)), "mean of the heads"]
    for h, axes in enumerate(panels):
        found, weights = boxes(axes)
        np.testing.assert_array_equal(found, [[x, y, 32, 32] for y in (0, 32) for x in (0, 32, 64)])
        np.testing.assert_array_equal(weights, probs[h, token] if h < 5 else probs[:, token].mean(axis=0))
        assert axes.collections[0].get_clim() == (0, max(probs[:, token].max(), 4 / 6))
        assert query(axes) == (64, 32, 16, 16)
    assert "stage 3, block 1: the token in row 3, column 5 of 4 × 6 asks 2 × 3 keys" in shown(figure)


def test_what_is_read_alike_is_pale_and_marked_on_the_scale():
    photo, trace, _, _ = traced(V2)
    even = trace | {"stages.2.blocks.0.attn.probs": np.full((1, 5, 24, 6), 1 / 6)}
    figure = plots.attention(photo, even, V2)  # stage 3, if nothing is said
    bar = figure.axes[-1]
    assert (bar.get_ylim(), bar.lines[-1].get_ydata()[0]) == ((0, 4 / 6), 1 / 6)
    assert [text.get_text() for text in bar.texts] == ["1/6"]
    drawn = panels_of(figure)[1].collections[0]
    assert drawn.cmap(drawn.norm(1 / 6))[3] < 0.5


def test_attention_of_one_head():
    photo, trace, _, _ = traced(V2)
    panels = panels_of(plots.attention(photo, trace, V2, stage=1, block=-1, head=1))
    assert [axes.get_title() for axes in panels] == ["who asks", "head 2"]
    np.testing.assert_array_equal(boxes(panels[1])[1], trace["stages.1.blocks.0.attn.probs"][0, 1, 4 * 12 + 6])


def test_attention_of_v1_leaves_out_the_class_token():
    photo, trace, _, _ = traced(V1)
    panels = panels_of(plots.attention(photo, trace, V1, stage=3, block=1, pixel=(0, 95)))
    probs = trace["stages.3.blocks.1.attn.probs"][0]
    assert probs.shape == (4, 7, 7)  # 2 x 3 tokens after the class token
    np.testing.assert_array_equal(boxes(panels[1])[1], probs[0, 1 + 2, 1:])


def test_keys_of_linear_attention_are_its_uneven_bins():
    config = PvtV2Config(linear_attention=True, **SMALL)
    found = plots.key_boxes((10, 7), config, 0)
    assert found.shape == (49, 4)
    # the eighth has rows 1 and 2: the bins overlap
    np.testing.assert_array_equal(found[[0, 1, 2, 7]], [[0, 0, 4, 8], [4, 0, 4, 8], [8, 0, 4, 8], [0, 4, 4, 8]])


def test_keys_leave_out_the_tail():
    expected = [[x, y, 32, 32] for y in (0, 32) for x in (0, 32)]
    np.testing.assert_array_equal(plots.key_boxes((5, 4), V2, 2), expected)


def test_stages_side_by_side():
    photo, trace, _, _ = traced(V2)
    panels = panels_of(plots.attention_stages(photo, trace, V2, pixel=(40, 70)))
    assert len(panels) == 4
    for i, axes in enumerate(panels):
        H, W = trace[f"stages.{i}.grid"]
        cell = 4 * 2**i
        token = 40 // cell * W + 70 // cell
        probs = trace[f"stages.{i}.blocks.{V2.depths[i] - 1}.attn.probs"][0]
        found, weights = boxes(axes)
        np.testing.assert_allclose(weights, probs[:, token].mean(axis=0), rtol=1e-6)
        np.testing.assert_array_equal(found[:, 2:], 32)
        assert query(axes) == (70 // cell * cell, 40 // cell * cell, cell, cell)
        assert f"{H * W} × {probs.shape[-1]} scores" in axes.get_title()


def test_stages_of_v1_counts_the_class_token_too():
    photo, trace, _, _ = traced(V1)
    last = plots.attention_stages(photo, trace, V1).axes[3].get_title()
    N, M = trace[f"stages.3.blocks.{V1.depths[3] - 1}.attn.probs"].shape[-2:]
    assert last == f"stage 4, block {V1.depths[3]}\n{N} × {M} scores\n(class token not shown)"
    assert N == 2 * 3 + 1


def test_class_attention():
    photo, trace, _, _ = traced(V1)
    panels = panels_of(plots.class_attention(photo, trace, V1))
    assert len(panels) == 2 * 5
    for k, axes in enumerate(panels):
        row = trace[f"stages.3.blocks.{k // 5}.attn.probs"][0, :, 0]
        row = row.mean(axis=0) if k % 5 == 4 else row[k % 5]
        np.testing.assert_array_equal(boxes(axes)[1], row[1:])
        assert f"itself {row[0]:.2f}" in axes.get_title()


def test_class_attention_needs_v1():
    with pytest.raises(ValueError, match="found a PVT v2, which has no class token"):
        plots.class_attention(*traced(V2)[:2], V2)


def test_statistics_are_those_of_the_heads():
    _, trace, _, _ = traced(V2)
    figure = plots.statistics(trace, V2)
    found = head_statistics(trace, V2)
    for axes, name in zip(figure.axes, ("entropy", "distance"), strict=True):
        *stages, level = axes.lines
        assert [(text.get_text(), text.xy[0]) for text in axes.texts[:-1]] == [
            ("stage 1", pytest.approx(0.5)), ("stage 2", 2), ("stage 3", 3), ("stage 4", 4.5)]  # fmt: skip
        places, heights = np.concatenate([line.get_data() for line in stages], axis=1)
        np.testing.assert_array_equal(heights, [getattr(s, name) for s in found])
        assert places.tolist() == [0, 1, 2, 2, 3, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5]
        assert level.get_ydata()[0] == getattr(found[0], f"uniform_{name}")
        assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "1", "1", "1", "2"]


@pytest.mark.parametrize("stage", [None, 2])
def test_rollout_is_drawn_relative_to_its_mean(stage):
    photo, trace, _, _ = traced(V2)
    pixel, token = (None, None) if stage is None else ((40, 70), (2, 2, 4))
    panels = panels_of(plots.rollout(photo, trace, V2, stage=stage, pixel=pixel))
    maps = pyramid_rollout(trace, V2, query=token)
    assert len(panels) == len(maps) + 1
    for i, axes in zip(reversed(range(len(maps))), panels[1:], strict=True):
        drawn = axes.images[-1]
        np.testing.assert_allclose(drawn.get_array(), np.clip(maps[i] * maps[i].size, 0.25, 4), rtol=1e-12)
        H, W = maps[i].shape
        assert drawn.get_extent() == [0, W * 4 * 2**i, H * 4 * 2**i, 0]
        assert axes.get_title() == f"entering stage {i + 1}\n{H} × {W}"
    if stage is not None:
        assert query(panels[0]) == (64, 32, 16, 16)


def test_a_wrong_query_stage_block_or_head_is_named():
    photo, trace, _, _ = traced(V2)
    for options, found in (({"pixel": (64, 0)}, "query: found pixel 64,0; expected row 0 to 63, column 0 to 95"),
                           ({"pixel": (0, 96)}, "query: found pixel 0,96"),
                           ({"pixel": (-1, 0)}, "query: found pixel -1,0"),
                           ({"stage": 4}, "stage: found 4; expected 0 to 3$"), ({"stage": -1}, "stage: found -1"),
                           ({"stage": 1, "block": 1}, "block: found 1; expected 0 to 0 in stages.1"),
                           ({"head": 5}, "head: found 5; expected 0 to 4 in stages.2")):  # fmt: skip
        with pytest.raises(ValueError, match=found):
            plots.attention(photo, trace, V2, **options)
