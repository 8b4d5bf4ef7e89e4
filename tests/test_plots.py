"""What the pictures draw: the numbers in them, where they are put, and what is written beside them."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from PIL import Image

from pvt_numpy import VARIANTS, PvtConfig, PvtV2Config, forward, init_params, plots, pyramid
from pvt_numpy.compare import Difference
from pvt_numpy.layers.position import resize_positions
from pvt_numpy.parameters import parameter_shapes
from pvt_numpy.plots.__main__ import PICTURES, main
from pvt_numpy.plots.style import as_bytes, for_notebook, show_photo
from pvt_numpy.rollout import head_statistics, pyramid_rollout
from pvt_numpy.summary import summarise

SMALL = {"depths": (2, 1, 1, 2), "hidden_sizes": (8, 8, 15, 16), "num_attention_heads": (1, 2, 5, 4), "num_labels": 3}
V1, V2 = PvtConfig(image_size=64, **SMALL), PvtV2Config(**SMALL)
GOLF_BALL = Path(__file__).resolve().parent.parent / "notebooks" / "golf_ball.jpg"


def traced(config, H=64, W=96):
    rng = np.random.default_rng(3)
    params = init_params(config, rng)
    for stage in params["stages"]:
        for block in stage["blocks"]:
            block["attn"]["q"]["weight"] *= 200
    x, trace = rng.standard_normal((1, 3, H, W)).astype(np.float32), {}
    forward(x, params, config, trace=trace)
    return plots.photo_of(x), trace, x, params


@pytest.fixture(scope="module")
def v2():
    return traced(V2)


@pytest.fixture(scope="module")
def v1():
    return traced(V1)


def boxes(axes):
    """(left, top, width, height) of every key that is drawn, and their weights."""
    (drawn,) = axes.collections
    corners = np.array([path.vertices[:4] for path in drawn.get_paths()])
    low, high = corners.min(axis=1), corners.max(axis=1)
    return np.concatenate([low, high - low], axis=1), np.asarray(drawn.get_array())


def query(axes):
    """(left, top, width, height) of the blue frame."""
    return axes.patches[-1].get_bbox().bounds


def shown(figure):
    """Every word in the figure, in one text."""
    texts = [figure.get_suptitle()]
    for axes in figure.axes:
        texts += [axes.get_title(), axes.get_ylabel(), *(text.get_text() for text in axes.texts)]
    return "\n".join(texts)


def test_photo_of_undoes_the_normalisation():
    photo = np.random.default_rng(0).random((4, 6, 3))
    mean, std = np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.25, 2.0])
    x = np.moveaxis((photo - mean) / std, -1, 0)[None]
    seen = plots.photo_of(x, image_mean=mean, image_std=std, size={"height": 4}, resample=3)
    np.testing.assert_allclose(seen, photo, atol=1e-12)
    np.testing.assert_array_equal(plots.photo_of(np.moveaxis(photo, -1, 0)[None], do_normalize=False), photo)


def test_pyramid_is_to_scale(v2):
    photo, _, x, params = v2
    maps = pyramid(x, params, V2)
    figure = plots.pyramid(photo, maps)
    (axes,) = figure.axes
    first, *rest = axes.images
    np.testing.assert_array_equal(first.get_array(), photo)
    assert first.get_extent() == [0, 96, 64, 0]
    for i, features in enumerate(maps):
        true, large = rest[2 * i : 2 * i + 2]
        left, right, bottom, top = true.get_extent()
        assert (bottom - top, right - left) == pytest.approx(features.shape[2:])  # a token as wide as a pixel
        left, right, bottom, top = large.get_extent()
        assert (right - left) / (bottom - top) == pytest.approx(96 / 64)
        np.testing.assert_array_equal(true.get_array(), plots.pca_colours(features[0]))
        np.testing.assert_array_equal(large.get_array(), plots.pca_colours(features[0]))
        H, W = features.shape[2:]
        assert f"stage {i}\n{H} × {W} tokens × {features.shape[1]}" in shown(figure)
    assert "64 × 96 pixels" in shown(figure)
    assert axes.get_aspect() == 1


def test_pca_colours_follow_the_strongest_direction():
    rng = np.random.default_rng(0)
    strength, direction = rng.random((5, 7)) ** 2, rng.standard_normal(6)
    features = direction[:, None, None] * strength + 1e-4 * rng.standard_normal((6, 5, 7))
    colours = plots.pca_colours(features)
    assert colours.shape == (5, 7, 3)
    assert colours.min() >= 0
    assert colours.max() <= 1
    assert np.corrcoef(colours[..., 0].ravel(), strength.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("constant", [np.zeros((4, 3, 3)), np.ones((1, 1, 1))])
def test_pca_colours_of_a_constant_map(constant):
    assert np.isfinite(plots.pca_colours(constant)).all()


def test_attention_shades_each_key_by_its_probability(v2):
    photo, trace, _, _ = v2
    figure = plots.attention(photo, trace, V2, stage=2, block=0, pixel=(40, 70))
    probs = trace["stages.2.blocks.0.attn.probs"][0]  # a grid of 4 x 6 tokens of 16 pixels, keys of 2 x 2 tokens
    token = 2 * 6 + 4
    who, *panels = [axes for axes in figure.axes if axes.get_visible() and axes.get_title()]
    assert query(who) == (64, 32, 16, 16)
    assert [axes.get_title() for axes in panels] == [*(f"head {h}" for h in range(5)), "mean of the heads"]
    for h, axes in enumerate(panels):
        found, weights = boxes(axes)
        expected = [[x, y, 32, 32] for y in (0, 32) for x in (0, 32, 64)]
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(weights, probs[h, token] if h < 5 else probs[:, token].mean(axis=0))
        assert axes.collections[0].get_clim() == (0, probs[:, token].max())
        assert query(axes) == (64, 32, 16, 16)
    assert "stage 2, block 0: token (2, 4) of 4 × 6 asks 2 × 3 keys" in shown(figure)


def test_attention_of_one_head(v2):
    photo, trace, _, _ = v2
    figure = plots.attention(photo, trace, V2, stage=1, block=-1, head=1)
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == ["who asks", "head 1"]
    np.testing.assert_array_equal(boxes(panels[1])[1], trace["stages.1.blocks.0.attn.probs"][0, 1, 4 * 12 + 6])


def test_attention_of_v1_leaves_out_the_class_token(v1):
    photo, trace, _, _ = v1
    figure = plots.attention(photo, trace, V1, stage=3, block=1, pixel=(0, 95))  # 2 x 3 tokens after the class token
    panels = [axes for axes in figure.axes if axes.get_title()]
    probs = trace["stages.3.blocks.1.attn.probs"][0]
    assert probs.shape == (4, 7, 7)
    np.testing.assert_array_equal(boxes(panels[1])[1], probs[0, 1 + 2, 1:])


def test_keys_of_linear_attention_are_its_uneven_bins():
    config = PvtV2Config(linear_attention=True, **SMALL)
    found = plots.key_boxes((10, 7), config, 0)
    assert found.shape == (49, 4)
    np.testing.assert_array_equal(found[:3], [[0, 0, 4, 8], [4, 0, 4, 8], [8, 0, 4, 8]])
    np.testing.assert_array_equal(found[7], [0, 4, 4, 8])  # rows 1 and 2: the bins overlap


def test_keys_leave_out_the_tail():
    np.testing.assert_array_equal(plots.key_boxes((5, 4), V2, 2), [[0, 0, 32, 32], [32, 0, 32, 32],
                                                                   [0, 32, 32, 32], [32, 32, 32, 32]])  # fmt: skip


def test_stages_side_by_side(v2):
    photo, trace, _, _ = v2
    figure = plots.attention_stages(photo, trace, V2, pixel=(40, 70))
    panels = [axes for axes in figure.axes if axes.get_title()]
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


def test_class_attention(v1):
    photo, trace, _, _ = v1
    figure = plots.class_attention(photo, trace, V1)
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert len(panels) == 2 * 5
    for k, axes in enumerate(panels):
        row = trace[f"stages.3.blocks.{k // 5}.attn.probs"][0, :, 0]
        row = row.mean(axis=0) if k % 5 == 4 else row[k % 5]
        np.testing.assert_array_equal(boxes(axes)[1], row[1:])
        assert f"itself {row[0]:.2f}" in axes.get_title()


def test_class_attention_needs_v1(v2):
    with pytest.raises(ValueError, match="no class token"):
        plots.class_attention(v2[0], v2[1], V2)


def test_statistics_are_those_of_the_heads(v2):
    _, trace, _, _ = v2
    figure = plots.statistics(trace, V2)
    found = head_statistics(trace, V2)
    for axes, name in zip(figure.axes, ("entropy", "distance"), strict=True):
        *stages, level = axes.lines
        heights = np.concatenate([line.get_ydata() for line in stages])
        np.testing.assert_array_equal(heights, [getattr(s, name) for s in found])
        places = np.concatenate([line.get_xdata() for line in stages])
        assert places.tolist() == [0, 1, 2, 2, 3, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5]
        assert level.get_ydata()[0] == getattr(found[0], f"uniform_{name}")
        assert [label.get_text() for label in axes.get_xticklabels()] == ["0.0", "0.1", "1.0", "2.0", "3.0", "3.1"]


@pytest.mark.parametrize("stage", [None, 2])
def test_rollout_is_drawn_relative_to_its_mean(v2, stage):
    photo, trace, _, _ = v2
    figure = plots.rollout(photo, trace, V2, stage=stage, pixel=None if stage is None else (40, 70))
    maps = pyramid_rollout(trace, V2, query=None if stage is None else (2, 2, 4))
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert len(panels) == len(maps) + 1
    for i, axes in zip(reversed(range(len(maps))), panels[1:], strict=True):
        drawn = axes.images[-1]
        np.testing.assert_allclose(drawn.get_array(), np.clip(maps[i] * maps[i].size, 0.25, 4), rtol=1e-12)
        H, W = maps[i].shape
        assert drawn.get_extent() == [0, W * 4 * 2**i, H * 4 * 2**i, 0]
        assert axes.get_title() == f"entering stage {i}\n{H} × {W}"
    if stage is not None:
        assert query(panels[0]) == (64, 32, 16, 16)


def test_patches_frame_the_pixels_that_a_token_reads():
    photo = np.random.default_rng(0).random((64, 64, 3))
    tiny = VARIANTS["pvt_tiny"]
    figure = plots.patches(photo, {"old": tiny, "new": VARIANTS["pvt_v2_b0"]}, pixel=(21, 30))
    near_v1, far_v1, near_v2, far_v2 = figure.axes
    assert query(near_v1) == (28, 20, 4, 4)
    assert near_v1.patches[0].get_bbox().bounds == (32, 20, 4, 4)  # its right neighbour
    assert query(near_v2) == (25, 17, 7, 7)
    assert near_v2.patches[0].get_bbox().bounds == (29, 17, 7, 7)
    assert "share 0 of 16 pixels" in near_v1.get_title()
    assert "share 21 of 49 pixels" in near_v2.get_title()
    assert [patch.get_width() for patch in far_v1.patches] == [4, 8, 16, 32]
    assert [patch.get_width() for patch in far_v2.patches] == [7, 15, 31, 63]


def test_seen_pixels_are_those_that_change_the_token():
    """Against the model itself: a pixel inside the frame moves the token's embedding, one outside does not."""
    rng = np.random.default_rng(0)
    config = PvtV2Config(**SMALL)
    params = init_params(config, rng, np.float64)
    x = rng.standard_normal((1, 3, 64, 64))

    def token(pixels):
        trace = {}
        forward(pixels, params, config, trace=trace)
        return trace["stages.0.patch_embed"].reshape(16, 16, -1)[5, 7]

    top, left, bottom, right = plots.seen_pixels(config, 0, (5, 7))
    before = token(x)
    for y, column, inside in ((top, left, True), (bottom - 1, right - 1, True), (top - 1, left, False),
                              (top, left - 1, False), (bottom, left, False), (top, right, False)):  # fmt: skip
        changed = x.copy()
        changed[0, :, y, column] += 1
        assert np.array_equal(token(changed), before) != inside


def test_kernels_are_drawn_around_grey():
    weight = np.random.default_rng(0).standard_normal((5, 3, 4, 4))
    weight[3] = 0
    figure = plots.kernels(weight)
    drawn = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert len(drawn) == 5
    np.testing.assert_array_equal(drawn[3], 0.5)
    np.testing.assert_allclose(drawn[1], 0.5 + 0.5 * weight[1].transpose(1, 2, 0) / np.abs(weight[1]).max())
    assert "5 × 3 × 4 × 4" in shown(figure)
    with pytest.raises(ValueError, match="read 8 channels"):
        plots.kernels(np.zeros((4, 8, 3, 3)))


def test_positions_show_cosines_before_and_after_resizing():
    table = np.random.default_rng(0).standard_normal((1, 1 + 2 * 3, 8))
    figure = plots.positions(table, (2, 3), (4, 5))
    for axes, grid in zip(figure.axes, ((2, 3), (4, 5)), strict=False):
        rows = resize_positions(table, (2, 3), grid)[0, 1:]
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        alike = (rows @ rows.T).reshape(*grid, *grid)
        np.testing.assert_allclose(plots.position_similarity(resize_positions(table, (2, 3), grid), grid), alike)
        canvas = axes.images[0].get_array()
        high, wide, gap = 4 * grid[0], 4 * grid[1], max(1, max(grid) // 2)
        assert canvas.shape == (grid[0] * (high + gap) - gap, grid[1] * (wide + gap) - gap)
        tile = canvas[high + gap : 2 * high + gap, 2 * (wide + gap) : 2 * (wide + gap) + wide]  # of position (1, 2)
        np.testing.assert_allclose(tile[::4, ::4], alike[1, 2])
        assert np.isnan(np.ma.filled(canvas[high], np.nan)).all()
        assert f"{grid[0]} × {grid[1]} positions × 8" in axes.get_title()


@pytest.mark.parametrize("variant", ["pvt_tiny", "pvt_v2_b0", "pvt_v2_b2_li"])
def test_cost_agrees_with_the_summary_of_a_run(variant):
    config = VARIANTS[variant]
    layers = summarise(config, (224, 224))["layers"]
    kind = "linear SRA" if config.linear_attention else "SRA"
    counted, largest = plots.attention_cost(config, (224, 224), kind)
    if config.model_type == "pvt":  # the class token is one query and one key more in the last stage
        assert counted < sum(row["macs"] for row in layers if ".attn." in row["name"]) < 1.01 * counted
    else:
        names = ("attn.q", "attn.kv", "attn.sr", "attn.proj", "attn.q kᵀ", "attn.probs v")
        assert counted == sum(row["macs"] for row in layers if row["name"].endswith(names))
    assert largest == max(np.prod(row["output"]) for row in layers if row["name"].endswith("q kᵀ"))


def test_full_attention_costs_what_sra_with_ratio_1_costs():
    config = PvtV2Config(sr_ratios=(1, 1, 1, 1))
    assert plots.attention_cost(config, (96, 64), "full") == plots.attention_cost(config, (96, 64), "SRA")


def test_cost_draws_its_numbers():
    config = VARIANTS["pvt_v2_b0"]
    figure = plots.cost(config, sizes=(224, 448))
    left, right = figure.axes
    for k, kind in enumerate(("full", "SRA", "linear SRA")):
        counts = [plots.attention_cost(config, (n, n), kind) for n in (224, 448)]
        np.testing.assert_allclose(left.lines[k].get_ydata(), [macs / 1e9 for macs, _ in counts])
        np.testing.assert_allclose(right.lines[k].get_ydata(), [4 * numbers / 2**20 for _, numbers in counts])
        assert left.lines[k].get_label() == kind


def test_difference_draws_the_relative_ones():
    rows = [Difference("stages.0.tokens", 1.0, 0.5, 1e-7), Difference("stages.1.blocks.0", 1.0, 0.5, 0.0)]
    figure = plots.difference({"a": rows, "b": rows[::1]})
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), [1e-7, 1e-18])
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["0.tokens", "1.0"]
    with pytest.raises(ValueError, match="other layers"):
        plots.difference({"a": rows, "b": rows[::-1]})


def test_golden_differences_are_rounding():
    lines = plots.from_golden("pvt_v2_b0")
    assert max(row.relative for row in lines["NumPy, float64"]) < 1e-12
    assert 1e-9 < max(row.relative for row in lines["NumPy, float32"]) < 1e-4


@pytest.mark.torch
def test_live_differences_are_rounding(v2):
    _, _, x, params = v2

    def load(dtype):
        flat = {name: _leaf(params, name).astype(dtype) for name in parameter_shapes(V2)}
        from pvt_numpy.parameters import unflatten

        return unflatten(flat), V2

    lines = plots.live(load, x)
    assert list(lines) == ["NumPy, float64", "NumPy, float32", "PyTorch, float32"]
    assert max(row.relative for row in lines["NumPy, float64"]) < 1e-10
    assert 1e-9 < max(row.relative for row in lines["NumPy, float32"]) < 1e-3


def _leaf(params, name):
    for part in name.split("."):
        params = params[int(part)] if isinstance(params, list) else params[part]
    return params


@pytest.mark.parametrize("signed", [False, True])
def test_overlay_stretches_maps_over_the_photo(signed):
    maps = {"coarse": np.array([[0.0, 2.0]]), "fine": np.array([[1.0, -3.0, 0.5]] * 2)}
    figure = plots.overlay(np.zeros((8, 12, 3)), maps, label="what", signed=signed, marked=(0, 1))
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == ["coarse\n1 × 2", "fine\n2 × 3"]
    for axes, values in zip(panels, maps.values(), strict=True):
        np.testing.assert_array_equal(axes.images[-1].get_array(), values)
        assert axes.images[-1].get_extent() == [0, 12, 8, 0]
        assert axes.images[-1].get_clim() == (-3 if signed else 0, 3)
    assert query(panels[1]) == (4, 0, 4, 4)
    assert "what" in shown(figure)


def test_a_wrong_query_stage_block_or_head_is_named(v2):
    photo, trace, _, _ = v2
    for options, found in (({"pixel": (64, 0)}, "pixel 64,0"), ({"pixel": (0, 96)}, "pixel 0,96"),
                           ({"pixel": (-1, 0)}, "pixel -1,0"), ({"stage": 4}, "stage is 4"),
                           ({"stage": 1, "block": 1}, "block is 1"), ({"head": 1}, "head is 1")):  # fmt: skip
        with pytest.raises(ValueError, match=found):
            plots.attention(photo, trace, V2, **options)


def test_a_notebook_gets_one_small_picture_and_the_readers_style_changes_nothing():
    import matplotlib

    config = VARIANTS["pvt_v2_b0"]
    (kind, content), *others = for_notebook(plots.cost(config)).items()
    assert kind == "image/png"
    assert not others
    assert Image.open(io.BytesIO(content)).size > (400, 200)
    with matplotlib.rc_context({"font.size": 30, "figure.facecolor": "black"}):
        assert plots.cost(config)._repr_mimebundle_(include=None)[kind] == content


def test_photos_go_into_a_notebook_as_jpeg():
    photo = np.asarray(Image.open(GOLF_BALL), np.float32) / 255
    assert list(for_notebook(plots.pyramid(photo, []))) == ["image/jpeg"]


def test_equal_pictures_are_equal_files():
    assert as_bytes(plots.cost(V2)) == as_bytes(plots.cost(V2))


def test_no_pyplot():
    """pyplot keeps global state and may want a display."""
    program = """if True:
        import sys, numpy as np
        from pvt_numpy import plots
        assert "matplotlib" not in sys.modules
        plots.kernels(np.ones((2, 3, 4, 4)))
        assert "matplotlib.pyplot" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", program], check=True, cwd=GOLF_BALL.parent.parent)


def test_a_grey_photo_is_pale():
    import matplotlib.figure

    axes = matplotlib.figure.Figure().subplots()
    drawn = show_photo(axes, np.zeros((2, 2, 3)), grey=True).get_array()
    assert drawn.min() > 0.4


@pytest.mark.parametrize("name", [name for name in PICTURES if name not in ("class-token", "positions", "difference")])
def test_every_picture_from_the_shell(name, tmp_path, capsys):
    output = tmp_path / "out.png"
    image = [str(GOLF_BALL)] if PICTURES[name][0] else []
    assert main([name, *image, "--image-size", "64x96", "--query", "40,70", "-o", str(output)]) == 0
    assert capsys.readouterr().out.strip() == str(output)
    with Image.open(output) as picture:
        assert min(picture.size) > 200
        assert np.asarray(picture.convert("L")).std() > 5


def test_v1_pictures_from_the_shell(tmp_path):
    from pvt_numpy.checkpoint import Model, save_model

    save_model(tmp_path / "v1.safetensors", Model(V1, init_params(V1, np.random.default_rng(0))))
    for name in ("class-token", "positions", "rollout"):
        output = tmp_path / f"{name}.svg"
        assert main([name, str(GOLF_BALL), "--model", str(tmp_path / "v1.safetensors"), "-o", str(output)]) == 0
        assert output.read_text(encoding="utf-8").count("<svg") == 1


def test_refusals_of_the_command(tmp_path):
    for arguments, message in ((["class-token", str(GOLF_BALL)], "no class token"),
                               (["positions"], "no position table"),
                               (["cost", "-o", str(tmp_path / "x.doc")], "'doc'"),
                               (["cost", "-o", str(tmp_path / "no" / "x.png")], "no folder")):  # fmt: skip
        with pytest.raises((ValueError, OSError), match=message):
            main(arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [["attention"], ["nonsense"], ["attention", "x.jpg", "--query", "3"],
                                       ["attention", "x.jpg", "--query", "-3,4"]])  # fmt: skip
def test_wrong_usage_is_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "error:" in capsys.readouterr().err
