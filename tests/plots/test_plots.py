"""What the figures draw: the numbers in them, where they are put, and what is written beside them."""

import io
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("matplotlib")
import matplotlib
from matplotlib.figure import Figure
from PIL import Image

from pvt_numpy import VARIANTS, PvtV2Config, forward, plots, pyramid
from pvt_numpy.analysis.cost import summarise
from pvt_numpy.checkpoints.checkpoint import Model
from pvt_numpy.layers.position import resize_positions
from pvt_numpy.parameters import flatten, unflatten
from pvt_numpy.plots.figures import as_bytes, for_notebook
from pvt_numpy.plots.photo import show_photo
from pvt_numpy.reference.cases import by_precision, golden_case, live_case
from pvt_numpy.reference.comparison import TOLERANCES, Difference
from tests.plots.plot_cases import V2, panels_of, query, shown, traced
from tests.processes import BALL, run


def test_photo_of_undoes_the_normalisation():
    photo = np.random.default_rng(0).random((4, 6, 3))
    mean, std = np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.25, 2.0])
    x = np.moveaxis((photo - mean) / std, -1, 0)[None]
    seen = plots.photo_of(x, image_mean=mean, image_std=std, size={"height": 4}, resample=3)
    np.testing.assert_allclose(seen, photo, atol=1e-12)
    np.testing.assert_array_equal(plots.photo_of(np.moveaxis(photo, -1, 0)[None], do_normalize=False), photo)


def test_mistakes_are_photos_under_what_was_said_of_them():
    photos = np.random.default_rng(0).random((5, 4, 4, 3))
    figure = plots.mistakes(list(photos), [f"cat,\ntaken for $dog_{n}" for n in range(5)])
    drawn = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in drawn] == [f"cat,\ntaken for $dog_{n}" for n in range(5)]
    for axes, photo in zip(drawn, photos, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), photo)
    assert as_bytes(figure), "a dollar began a formula"


def test_patches_look_where_light_meets_dark():
    photo = np.zeros((64, 96, 3))
    photo[:, 60:] = 1
    row, column = plots.patches(photo, {"v1": VARIANTS["pvt_tiny"]}).alt.split("pixel ")[1].split(" ")[0].split(",")
    assert abs(int(column) - 60) <= 4
    assert 12 <= int(row) < 52
    assert "pixel 8,8 " in plots.patches(np.zeros((16, 16, 3)), {"v1": VARIANTS["pvt_tiny"]}).alt  # no room to look


def test_a_table_that_is_not_resized_is_drawn_alone():
    table = np.random.default_rng(0).standard_normal((1, 6, 8))
    assert len(panels_of(plots.positions(table, (2, 3)))) == 1


def test_confusion_says_whose_it_is_and_how_much_is_right():
    figure = plots.confusion(np.array([[3, 1], [0, 4]]), ["a", "b"], model="pvt_$x")
    assert figure.get_suptitle() == "pvt_$x\n7 of 8 pictures right (87.5%)"
    assert figure.alt.endswith("Most frequent mistakes: a taken for b (1).")
    assert plots.confusion(np.array([[3, 0], [0, 4]]), ["a", "b"]).alt.endswith("No mistakes.")
    assert as_bytes(figure), "a dollar began a formula"


def test_curves_have_ticks_at_whole_epochs():
    for epochs in (2, 5, 6, 13):
        history = [{"epoch": n + 1, "train_loss": 1 / (n + 1), "train_accuracy": 0.5} for n in range(epochs)]
        figure = plots.curves(history)
        as_bytes(figure)
        assert all(at == int(at) for axes in figure.axes for at in axes.get_xticks()), epochs


def test_pyramid_is_to_scale():
    photo, _, x, params = traced(V2)
    maps = pyramid(x, params, V2)
    figure = plots.pyramid(photo, maps)
    (axes,) = figure.axes
    first, *rest = axes.images
    np.testing.assert_array_equal(first.get_array(), photo)
    assert first.get_extent() == [0, 96, 64, 0]
    for i, features in enumerate(maps):
        true, large = rest[2 * i : 2 * i + 2]
        H, W = features.shape[2:]
        left, right, bottom, top = true.get_extent()
        assert (bottom - top, right - left) == pytest.approx((H, W))  # a token as wide as a pixel
        left, right, bottom, top = large.get_extent()
        assert (right - left) / (bottom - top) == pytest.approx(96 / 64)
        for drawn in (true, large):
            np.testing.assert_array_equal(drawn.get_array(), plots.pca_colours(features[0]))
        assert f"stage {i + 1}\n{H} × {W} tokens × {features.shape[1]}" in shown(figure)
    assert "64 × 96 pixels" in shown(figure)
    assert axes.get_aspect() == 1


def test_pca_colours_follow_the_strongest_direction():
    rng = np.random.default_rng(0)
    strength, direction = rng.random((5, 7)) ** 2, rng.standard_normal(6)
    features = direction[:, None, None] * strength + 1e-4 * rng.standard_normal((6, 5, 7))
    colours = plots.pca_colours(features)
    assert colours.shape == (5, 7, 3)
    assert 0 <= colours.min() <= colours.max() <= 1
    assert np.corrcoef(colours[..., 0].ravel(), strength.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("constant", [np.zeros((4, 3, 3)), np.ones((1, 1, 1))])
def test_pca_colours_of_a_constant_map(constant):
    assert np.isfinite(plots.pca_colours(constant)).all()


def test_patches_frame_the_pixels_that_a_token_reads():
    photo = np.random.default_rng(0).random((64, 64, 3))
    variants = {"old": VARIANTS["pvt_tiny"], "new": VARIANTS["pvt_v2_b0"]}
    near_v1, far_v1, near_v2, far_v2 = plots.patches(photo, variants, pixel=(21, 30)).axes
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
    _, _, x, params = traced(V2, 64, 64)

    def token(pixels):
        trace = {}
        forward(pixels, params, V2, trace=trace)
        return trace["stages.0.patch_embed"].reshape(16, 16, -1)[5, 7]

    top, left, bottom, right = plots.seen_pixels(V2, 0, (5, 7))
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
    with pytest.raises(ValueError, match="found kernels of 8 channels"):
        plots.kernels(np.zeros((4, 8, 3, 3)))


def test_a_single_position_has_no_neighbours():
    figure = plots.positions(np.ones((1, 1, 8)), (1, 1))
    assert "1 × 1 positions × 8" in figure.alt
    assert "mean cosine" not in figure.alt


def test_a_picture_whose_mean_has_other_channels_is_refused():
    for channels in (1, 4):
        with pytest.raises(ValueError, match=f"^image_mean: found 3 numbers; expected {channels}, as pixel_values has"):
            plots.photo_of(np.zeros((1, channels, 4, 4)))


def test_more_lines_than_colours_are_refused():
    lines = {name: [Difference("logits", 1.0, 0.5, 1e-9)] for name in "abcd"}
    with pytest.raises(ValueError, match="^lines: found 4; expected at most 3"):
        plots.difference(lines)


def test_positions_show_cosines_before_and_after_resizing():
    table = np.random.default_rng(0).standard_normal((1, 1 + 2 * 3, 8))
    figure = plots.positions(table, (2, 3), (4, 5))
    before, after, _ = figure.axes  # and the scale
    for axes, grid in ((before, (2, 3)), (after, (4, 5))):
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
    """They are those of the summary of a run, of the models that have this attention, at these sizes."""
    config, sizes = VARIANTS["pvt_v2_b0"], (96, 224)
    left, right = plots.cost(config, sizes=sizes).axes
    kinds = {"full": replace(config, sr_ratios=(1, 1, 1, 1)), "SRA": config,
             "linear SRA": replace(config, linear_attention=True)}  # fmt: skip
    for k, (kind, counted) in enumerate(kinds.items()):
        runs = [[row for row in summarise(counted, (n, n))["layers"] if ".attn." in row["name"]] for n in sizes]
        macs = [sum(row["macs"] for row in rows) / 1e9 for rows in runs]
        tables = [max(row["bytes"] for row in rows if row["name"].endswith("q kᵀ")) / 2**20 for rows in runs]
        for axes, numbers in ((left, macs), (right, tables)):
            places, heights = axes.lines[k].get_data()
            np.testing.assert_array_equal(places, sizes)
            np.testing.assert_allclose(heights, numbers, rtol=1e-12)
            assert axes.lines[k].get_label() == kind


def test_difference_draws_the_relative_ones():
    names = ["stages.0.tokens", "stages.0.blocks.0.attn", "stages.0.blocks.0", "stages.1.blocks.0", "stages.1.blocks.1"]
    rows = [Difference(name, 1.0, 0.5, off) for name, off in zip(names, (1e-7, 0, 0, 3e-6, 0), strict=True)]
    figure = plots.difference({"a": rows, "b": rows[::1]})
    (axes,) = figure.axes
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [1e-7, 1e-18, 1e-18, 3e-6, 1e-18])
    # a tick in the middle of each block, with its number; the stages stand above, where they begin
    assert [(label.get_text(), at) for label, at in zip(axes.get_xticklabels(), axes.get_xticks(), strict=True)] == [
        ("1", 1.5), ("1", 3), ("2", 4)]  # fmt: skip
    assert [(text.get_text(), text.xy[0]) for text in axes.texts] == [("stage 1", 0), ("stage 2", 3)]
    assert axes.get_legend().get_texts()[0].get_text() == "a\nlargest 3e-06:\nstages.1.blocks.0"
    with pytest.raises(ValueError, match="other layers"):
        plots.difference({"a": rows, "b": rows[::-1]})


def test_golden_differences_are_rounding():
    lines = by_precision(*(golden_case("pvt_v2_b0", dtype) for dtype in TOLERANCES))
    double, single = (max(row.relative for row in lines[f"NumPy, {dtype}"]) for dtype in ("float64", "float32"))
    assert double < 1e-12 < 1e-9 < single < 1e-4


@pytest.mark.torch
def test_live_differences_are_rounding():
    _, _, x, params = traced(V2)

    def case(dtype):
        flat = {name: array.astype(np.float32).astype(dtype) for name, array in flatten(params).items()}
        return live_case("", Model(V2, unflatten(flat)), x.astype(np.float32).astype(dtype))

    lines = by_precision(*map(case, TOLERANCES))
    assert list(lines) == ["NumPy, float64", "NumPy, float32", "PyTorch, float32"]
    double, ours, theirs = (max(row.relative for row in rows) for rows in lines.values())
    assert double < 1e-10 < 1e-9 < min(ours, theirs) <= max(ours, theirs) < 1e-3


def test_patches_of_the_last_pixel_lie_in_the_picture():
    """112 pixels: v1's stage 4 has 3 x 3 tokens of 32, and 16 pixels at the end are in none."""
    figure = plots.patches(np.zeros((112, 112, 3)), {"v1": VARIANTS["pvt_tiny"]}, pixel=(111, 111))
    near, far = panels_of(figure)
    ends = [[patch.get_bbox().bounds for patch in axes.patches] for axes in (near, far)]
    assert ends[0] == [(104, 108, 4, 4), (108, 108, 4, 4)]
    assert ends[1] == [(108, 108, 4, 4), (104, 104, 8, 8), (96, 96, 16, 16), (64, 64, 32, 32)]
    near, _ = panels_of(plots.patches(np.zeros((112, 110, 3)), {"v1": VARIANTS["pvt_tiny"]}, pixel=(50, 105)))
    lefts = [patch.get_bbox().x0 for patch in near.patches]
    assert lefts == [100, 104], "the cell from 108 on is cut off: no token has it"


@pytest.mark.parametrize("signed", [False, True])
def test_overlay_stretches_maps_over_the_photo(signed):
    maps = {"coarse": np.array([[0.0, 2.0]]), "fine": np.array([[1.0, -3.0, 0.5]] * 2)}
    figure = plots.overlay(np.zeros((8, 12, 3)), maps, label="what", signed=signed, marked=(0, 1))
    panels = panels_of(figure)
    assert [axes.get_title() for axes in panels] == ["coarse\n1 × 2", "fine\n2 × 3"]
    for axes, values in zip(panels, maps.values(), strict=True):
        np.testing.assert_array_equal(axes.images[-1].get_array(), values)
        assert axes.images[-1].get_extent() == [0, 12, 8, 0]
        assert axes.images[-1].get_clim() == (-3 if signed else 0, 3)
    assert [query(panel) for panel in panels] == [(6, 0, 6, 8), (4, 0, 4, 4)]
    assert "what" in shown(figure)


def test_a_notebook_gets_one_small_figure_and_the_readers_style_changes_nothing():
    config = VARIANTS["pvt_v2_b0"]
    shown, about = for_notebook(plots.cost(config))
    kind, words = shown
    assert (kind, words, list(about)) == ("image/png", "text/plain", ["image/png"])
    content = shown[kind]
    width, height = Image.open(io.BytesIO(content)).size
    assert 400 < height < width < 1200
    with matplotlib.rc_context({"font.size": 30, "figure.facecolor": "black"}):
        assert plots.cost(config)._repr_mimebundle_(include=None)[0][kind] == content


def test_photos_go_into_a_notebook_as_jpeg():
    photo = np.asarray(Image.open(BALL), np.float32) / 255
    assert list(for_notebook(plots.pyramid(photo, []))[1]) == ["image/jpeg"]


@pytest.mark.parametrize("kind", ["png", "jpeg", "pdf", "svg", "tiff", "webp"])
def test_equal_figures_are_equal_files(kind, monkeypatch):
    def drawn(at):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", at)  # the time that matplotlib would write
        return as_bytes(plots.kernels(np.random.default_rng(0).random((2, 3, 4, 4))), kind)

    assert (content := drawn("1000000000")) == drawn("1500000000")
    assert matplotlib.__version__.encode() not in content


def test_no_pyplot():
    """pyplot keeps global state and may want a display."""
    program = """if True:
        import sys, numpy as np
        from pvt_numpy import plots
        assert "matplotlib" not in sys.modules
        plots.kernels(np.ones((2, 3, 4, 4)))
        assert "matplotlib.pyplot" not in sys.modules
    """
    assert run("-c", program) == (0, "", "")


def test_a_grey_photo_is_pale():
    axes = Figure().subplots()
    assert show_photo(axes, np.zeros((2, 2, 3)), grey=True).get_array().min() > 0.4
