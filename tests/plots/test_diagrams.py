"""The diagrams: what they say is in config and trace, and no word lies on another, whatever the model."""

from dataclasses import replace
from functools import cache
from itertools import combinations

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import FancyBboxPatch
from PIL import Image

from pvt_numpy import VARIANTS, PvtConfig, PvtV2Config, forward, load_model, plots, preprocess
from pvt_numpy.analysis.cost import shapes, summarise
from pvt_numpy.parameters import parameter_shapes
from tests.plots.plot_cases import V1, V2, traced
from tests.processes import BALL

TWO = {"num_encoder_blocks": 2, "depths": (1, 12), "hidden_sizes": (6, 1024), "patch_sizes": (5, 3), "strides": (3, 1),
       "num_attention_heads": (3, 16), "mlp_ratios": (0.5, 11), "num_labels": 0}  # fmt: skip
MODELS = VARIANTS | {
    "nothing merged": replace(V2, sr_ratios=(1, 1, 1, 1)), "two stages": PvtV2Config(sr_ratios=(4, 1), **TWO),
    "two stages, v1": PvtConfig(sequence_reduction_ratios=(4, 1), image_size=64, **TWO | {"hidden_act": "gelu_new"}),
    "five stages, linear": PvtV2Config(num_encoder_blocks=5, linear_attention=True,
        **{name: (getattr(V2, name) + getattr(V2, name)[-1:]) for name in ("depths", "hidden_sizes", "patch_sizes",
           "strides", "num_attention_heads", "mlp_ratios", "sr_ratios")}),
}  # fmt: skip
SIZES = {"pvt_v2_b5": (448, 448), "pvt_v2_b2_li": (416, 448)}  # longer numbers; the others as small as they go
SIZES |= dict.fromkeys(("two stages", "two stages, v1"), (32, 48))


@cache
def shapes_of(name):
    return shapes(MODELS[name], SIZES.get(name, (64, 96)))


def nothing_overlaps(figure):
    """Every word is on the sheet, on no other word, and either inside a box or outside of all. Returns the words."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (axes,) = figure.axes
    written = [
        (text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in axes.texts if text.get_text()
    ]
    frames = [patch.get_window_extent() for patch in axes.patches if isinstance(patch, FancyBboxPatch)]
    width, height = figure.bbox.size
    for words, place in written:
        assert min(place.x0, place.y0, width - place.x1, height - place.y1) > -1, words
        for frame in frames:
            apart = place.x1 <= frame.x0 or frame.x1 <= place.x0 or place.y1 <= frame.y0 or frame.y1 <= place.y0
            inside = frame.x0 <= place.x0 and place.x1 <= frame.x1 and frame.y0 <= place.y0 and place.y1 <= frame.y1
            assert apart or inside, words
    for (words, a), (others, b) in combinations(written, 2):
        assert a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 + 1 or b.y1 <= a.y0 + 1, (words, others)
    for a, b in combinations(frames, 2):
        assert not a.overlaps(b)
    return [words for words, _ in written]


@pytest.mark.parametrize("name", MODELS)
def test_no_word_lies_on_another_whatever_the_model(name):
    config = MODELS[name]
    for stage in range(config.num_encoder_blocks):
        nothing_overlaps(plots.block(shapes_of(name), config, stage=stage))
    nothing_overlaps(plots.architecture(shapes_of(name), config))


@pytest.mark.parametrize(("config", "H", "W"), [(V1, 64, 64), (V2, 64, 96), (V2, 160, 72), (V2, 75, 101),
                                                (replace(V2, linear_attention=True), 96, 64),
                                                (replace(V2, sr_ratios=(8, 1, 2, 1)), 64, 64)])  # fmt: skip
def test_no_word_lies_on_another_in_sra(config, H, W):
    photo, trace, _, _ = traced(config, H, W)
    for stage in range(4):
        nothing_overlaps(plots.sra(trace, config, stage=stage, block=-1))
    nothing_overlaps(plots.architecture(trace, config, photo))


def test_the_picture_for_the_readme_is_the_one_that_is_drawn():
    model = load_model()
    x, trace = preprocess(BALL, **model.preprocessing), {}
    forward(x, model.params, model.config, trace=trace)
    with Image.open(BALL.with_name("architecture.png")) as picture:
        figure = plots.architecture(trace, model.config, plots.photo_of(x, **model.preprocessing))
        assert (
            picture.info["Description"] == figure.alt
        )  # python -m pvt_numpy.plots architecture notebooks/golf_ball.jpg


def test_the_check_of_overlaps_can_fail():
    figure = plots.block(shapes_of("pvt_v2_b0"), VARIANTS["pvt_v2_b0"])
    figure.axes[0].text(1.45, 3.5, "over norm1")
    with pytest.raises(AssertionError):
        nothing_overlaps(figure)


def test_a_block_shows_its_layers_and_their_shapes():
    """Written by hand for stage 2 of v2 at 64 x 96 pixels: a grid of 8 x 12, R 4, 2 heads, C 8, MLP 8 times as wide."""
    words = nothing_overlaps(plots.block(traced(V2)[1], V2, stage=1))
    for expected in ("pvt_v2, stage 2: its only block", "4 × 4, step 4", "8 → 8", "8 → 16", "8 → 64", "64 → 8",
                     "96 × 8", "6 × 8", "6 × 16", "96 × 64", "2 heads, d = 4", "2 × 96 × 6",
                     "3 × 3, depthwise"):  # fmt: skip
        assert expected in words
    assert "ReLU" not in words
    alt = plots.block(shapes_of("pvt_v2_b2_li"), VARIANTS["pvt_v2_b2_li"]).alt
    assert "keys by mean 7 × 7 bins, sr 1 × 1, norm and GELU, 49 × 64" in alt
    assert "fc1, ReLU, dwconv, GELU, fc2" in alt
    assert "R = 1: every token is a key" in nothing_overlaps(plots.block(traced(V1)[1], V1, stage=3))
    assert "7 × 16" in nothing_overlaps(plots.block(traced(V1)[1], V1, stage=3))  # 2 x 3 tokens and the class token


@pytest.mark.parametrize("name", ["pvt_tiny", "pvt_v2_b0", "pvt_v2_b2_li"])
def test_counts_are_those_of_the_table_of_shapes(name):
    config = VARIANTS[name]
    sizes = {key: int(np.prod(shape)) for key, shape in parameter_shapes(config).items()}
    mine = sum(size for key, size in sizes.items() if key.startswith("stages.2.blocks.0."))
    assert plots.block(shapes_of(name), config, stage=2).alt.endswith(f" {mine:,} parameters.")
    assert f"{sum(sizes.values()) / 1e6:.3g} million parameters" in plots.architecture(shapes_of(name), config).alt
    stage = sum(size for key, size in sizes.items() if key.startswith("stages.3."))
    assert f"{stage / 1e6:.3g} million parameters. Answer" in plots.architecture(shapes_of(name), config).alt


def test_sra_draws_what_the_layer_computed():
    _, trace, _, _ = traced(V2)
    figure = plots.sra(trace, V2, stage=1)
    before, square, keys, table, _, after = (image.get_array() for image in figure.axes[0].images)
    name = "stages.1.blocks.0"
    for drawn, what, (h, w) in ((before, "norm1", (8, 12)), (keys, "attn.reduced", (2, 3)), (after, "attn", (8, 12))):
        colours = plots.pca_colours(trace[f"{name}.{what}"][0].reshape(h, w, 8).transpose(2, 0, 1))
        np.testing.assert_array_equal(drawn, colours)
    np.testing.assert_array_equal(square, before[4:8, 4:8])  # of the key in row 2, column 2
    assert table.shape == (96, 6, 3)
    darkest = table.sum(axis=-1).argmin(axis=1)
    np.testing.assert_array_equal(darkest, trace[f"{name}.attn.probs"][0].mean(axis=0).argmax(axis=1))
    words = nothing_overlaps(figure)
    for expected in (
        "8 × 12 tokens × 8",
        "4 × 4 tokens → 1 key",
        "2 × 3 = 6 keys × 8",
        "96 × 6 scores",
        "1 / 16 of\n96 × 96",
    ):
        assert expected in words


def test_sra_of_a_grid_with_a_tail_and_of_bins():
    _, trace, _, _ = traced(V2, 75, 101)  # grids 19 x 26, 10 x 13, 5 x 7, 3 x 4
    assert "(5 / 2) × (7 / 2), rounded down" in nothing_overlaps(plots.sra(trace, V2, stage=2))
    linear = replace(V2, linear_attention=True)
    words = nothing_overlaps(plots.sra(traced(linear, 75, 101)[1], linear, stage=1))
    assert {"7 × 7 = 49 keys × 8", "mean of 2 × 3 tokens,\nsr 1 × 1, norm, GELU"} <= set(words)


def test_versions_mark_what_differs():
    names = ("pvt_small", "pvt_v2_b2", "pvt_v2_b2_li")
    figure = plots.versions({name: (shapes_of(name), VARIANTS[name]) for name in ("pvt_small", "pvt_v2_b2")})
    nothing_overlaps(figure)
    for expected in ("pvt_small: patches 4 × 4", "pvt_v2_b2 differs in patches 7 × 7", "none: dwconv's padding tells",
                     "MLP fc1, dwconv, GELU, fc2", "24,485,864 in all", "stage ends in norm"):  # fmt: skip
        assert expected in figure.alt
    models = {name: (shapes(VARIANTS[name], (64, 96)), VARIANTS[name]) for name in names}
    alt = plots.versions(models, stage=1).alt
    assert alt.endswith("pvt_v2_b2_li differs in keys mean 7 × 7 bins, sr 1 × 1, norm, GELU; "
                        "scores 2 heads, 96 × 49; MLP fc1, ReLU, dwconv, GELU, fc2 1024 wide; "
                        "parameters 22,553,512 in all.")  # fmt: skip
    same = plots.versions({"a": models["pvt_v2_b2"], "b": models["pvt_v2_b2"]})
    assert "b differs in nothing" in same.alt.lower()


def test_shapes_need_no_weights_and_are_those_of_a_run():
    _, trace, _, _ = traced(V2)
    found = shapes(V2, (64, 96))
    for name in ("pixel_values", "stages.1", "stages.2.blocks.0.attn.scores", "stages.3.blocks.0.mlp.fc1", "logits"):
        assert found[name].shape == trace[name].shape
    row = next(row for row in summarise(V2, (64, 96))["layers"] if row["name"] == "stages.2.blocks.0.attn.q kᵀ")
    assert list(found["stages.2.blocks.0.attn.scores"].shape[1:]) == row["output"]
