"""The explorer's page as text and data: honest numbers, limits on its size, nothing from outside, nothing to break."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import pvt_numpy
from pvt_numpy import RECIPES, VARIANTS
from pvt_numpy.analysis.rollout import pyramid_rollout
from pvt_numpy.config import stage_grids
from pvt_numpy.explorer.pack import BUDGET, Share, Stage, pack, quantise, shares
from pvt_numpy.explorer.page import as_json, explore
from pvt_numpy.explorer.picture import shown_picture
from pvt_numpy.layers.attention import POOLED
from pvt_numpy.layers.softmax import softmax
from pvt_numpy.pictures.recipes import at_size
from tests.explorer import explorer_pages as pages
from tests.explorer.explorer_pages import data_of, model_of, numbers, page_of, stages_of, trace_of
from tests.processes import BALL

KINDS = ["v1", "v2", "linear", "shipped"]
FOLLOWING = ("head", "attention", "residual", "length")  # the page's numbers behind the probabilities


def largest_errors(trace, i, stage):
    """(score, probability): how far stage i of the page's data is from the forward pass."""
    queries, errors = pages.kept_queries(stage), []
    for block in stage["blocks"]:
        name = f"stages.{i}.blocks.{block['index']}.attn"
        scores = pages.stored_scores(stage, block)
        errors.append((np.abs(scores - trace[f"{name}.scores"][0][:, queries]).max(),
                       np.abs(softmax(scores) - trace[f"{name}.probs"][0][:, queries]).max()))  # fmt: skip
    return np.max(errors, axis=0)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_and_probabilities_are_the_forward_pass_s_within_the_stated_error(kind):
    for i, stage in enumerate(stages_of(kind)):
        score, probability = largest_errors(trace_of(kind), i, stage)
        # float32 rounds the forward pass's own scores; the page measures against exact products of its q and k
        np.testing.assert_allclose(probability, stage["errors"]["probability"], rtol=0.05, atol=1e-7)
        np.testing.assert_allclose(score, stage["errors"]["score"], rtol=0.1, atol=2e-5)
        assert probability < 2e-4
        assert (stage["bits"], stage["stride"], len(stage["blocks"])) == (16, 1, stage["depth"])


@pytest.mark.parametrize("kind", KINDS)
def test_what_follows_the_probabilities_is_the_forward_pass_s_within_the_stated_error(kind):
    trace, model = trace_of(kind), model_of(kind)
    for i, stage in enumerate(stages_of(kind)):
        heads, C, bits, largest = stage["heads"], stage["channels"], stage["bits"], dict.fromkeys(FOLLOWING, 0)
        for block in stage["blocks"]:
            j = block["index"]
            name, before = f"stages.{i}.blocks.{j}", f"stages.{i}.blocks.{j - 1}" if j else f"stages.{i}.tokens"
            x, y, mlp = (trace[what][0] for what in (before, f"{name}.attn", f"{name}.mlp"))
            v = pages.stored(block, "v", bits, heads, -1, C // heads)
            read = np.einsum("hnm,hmd->nhd", softmax(pages.stored_scores(stage, block)), v)
            weight = pages.stored(block, "proj", bits, C, C)
            bias = model.params["stages"][i]["blocks"][j]["attn"]["proj"]["bias"]
            np.testing.assert_array_equal(numbers(block["projBias"], "<f4"), bias)
            exact = np.einsum("hnm,hmd->nhd", *(trace[f"{name}.attn.{what}"][0] for what in ("probs", "v")))
            lengths = pages.stored(block, "lengths", 16, 3, -1)
            pairs = ((read, exact), (read.reshape(len(x), C) @ weight.T + bias, y),
                     (pages.stored(block, "x", bits, -1, C), x),
                     (lengths, [np.sqrt((part.astype(float) ** 2).sum(-1)) for part in (x, y, mlp)]))  # fmt: skip
            for what, (shown, true) in zip(FOLLOWING, pairs, strict=True):
                largest[what] = max(largest[what], np.abs(shown - true).max())
                assert largest[what] < 1e-3 * np.abs(true).max()
        for what in FOLLOWING:
            np.testing.assert_allclose(largest[what], stage["errors"][what], rtol=0.1, atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_attention_of_the_models_is_sharp_enough_to_test_with(kind):
    assert max(array.max() for name, array in trace_of(kind).items() if name.endswith("probs")) > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_features_give_the_cosines_of_the_map_within_the_stated_error(kind):
    for i, stage in enumerate(stages_of(kind)):
        C = stage["channels"]
        exact = trace_of(kind)[f"stages.{i}"][0].reshape(C, -1).T.astype(np.float64)
        stored = numbers(stage["features"], np.int8).reshape(-1, C).astype(float)
        error = np.abs(pages.cosines(stored, stored) - pages.cosines(exact, exact)).max()
        assert stage["errors"]["cosine"] <= error < 2 * stage["errors"]["cosine"] < 0.04


@pytest.mark.parametrize("kind", KINDS)
def test_places_of_tokens_and_keys_are_those_of_the_model(kind):
    data, trace = data_of(page_of(kind).html), trace_of(kind)
    H, W = data["input"]
    for i, stage in enumerate(data["stages"]):
        grid = trace[f"stages.{i}.grid"]
        assert (tuple(stage["grid"]), stage["cell"]) == (grid, [4 * 2**i / H, 4 * 2**i / W])
        keys = POOLED**2 if kind == "linear" else np.prod([n // stage["ratio"] for n in grid])
        assert stage["keys"] == keys + stage["classToken"] == trace[f"stages.{i}.blocks.0.attn.k"].shape[2]
        expected = (POOLED if kind == "linear" else 0, kind == "v1" and i == 2)
        assert (stage["pooled"], stage["classToken"]) == expected


@pytest.mark.parametrize("kind", ["v1", "shipped"])
def test_rollout_is_the_package_s(kind):
    maps = pyramid_rollout(trace_of(kind), model_of(kind).config)
    for stored, exact in zip(data_of(page_of(kind).html)["rollout"], maps, strict=True):
        assert tuple(stored["grid"]) == exact.shape
        shown = numbers(stored["bytes"], np.uint8).reshape(exact.shape) / 255 * stored["largest"]
        np.testing.assert_allclose(shown, exact, atol=stored["largest"] / 509)


def test_predictions_are_the_forward_pass_s():
    logits = trace_of("shipped")["logits"][0].astype(np.float64)
    shown = data_of(page_of("shipped").html)["predictions"]
    best = np.argsort(-logits)[:5]
    expected = [(model_of("shipped").labels[n], logits[n]) for n in best]
    assert [(one["label"], one["logit"]) for one in shown] == expected
    np.testing.assert_allclose([one["probability"] for one in shown], softmax(logits)[best], rtol=1e-12)
    assert shown[0]["label"] == "golf ball"


def test_a_model_without_a_head_has_a_page():
    model = model_of("v2")
    params = {key: value for key, value in model.params.items() if key != "head"}
    model = replace(model, config=replace(model.config, num_labels=0), params=params, labels=None)
    assert data_of(explore(BALL, model).html)["predictions"] == []


# Sizes


def test_the_shipped_model_s_page_is_well_under_4_mb_with_everything_in_16_bits():
    assert len(page_of("shipped").html.encode()) < 3.7e6
    assert {(stage["bits"], stage["follows"]) for stage in stages_of("shipped")} == {(16, True)}


@pytest.mark.parametrize("size", [32, 96, 224, 384, 512])
@pytest.mark.parametrize("name", VARIANTS)
def test_every_published_model_fits_at_every_size_and_at_224_pixels_in_full(name, size):
    stages = published_stages(name, size)
    chosen = shares(stages)
    assert sum(map(Stage.cost, stages, chosen)) <= BUDGET
    for stage, share in zip(stages, chosen, strict=True):
        assert all(stage.rows(share))
        assert stage.depth - 1 in stage.blocks(share)  # what the head sees comes from the last block
        assert size != 224 or (share.stride, share.every, len(stage.blocks(share))) == (1, 1, stage.depth)


def published_stages(name, side):
    """The `Stage`s that a published model has for a square picture."""
    config, stages = VARIANTS[name], []
    per_stage = zip(config.sr_ratios, config.depths, config.num_attention_heads, config.hidden_sizes, strict=True)
    for i, ((H, W), (R, *rest)) in enumerate(zip(stage_grids(config, (side, side)), per_stage, strict=True)):
        class_tokens = int(config.model_type == "pvt" and i == 3)
        M = POOLED**2 if config.linear_attention else (H // R) * (W // R) + class_tokens
        stages.append(Stage((H, W), M, class_tokens, *rest))
    return stages


@pytest.mark.parametrize("kind", ["v1", "v2", "linear"])
def test_what_a_small_budget_gives_up_is_told_and_the_rest_stays_true(kind):
    model, trace = model_of(kind), trace_of(kind)
    seen = set()
    for budget in (150_000, 110_000, 70_000, 50_000, 35_000, 20_000, 12_000, 6_000):
        for i, stage in enumerate(pack(trace, model, budget)):
            score, probability = largest_errors(trace, i, stage)
            assert probability <= stage["errors"]["probability"] * 1.05 + 1e-7
            assert score <= stage["errors"]["score"] * 1.05 + 2e-5
            assert stage["errors"]["probability"] < 0.06
            features = numbers(stage["features"], np.int8)
            assert len(stage["rows"]) * len(stage["columns"]) * stage["channels"] == len(features)
            seen |= {(name, stage[name]) for name in ("bits", "follows", "stride", "onlyScores")}
            assert all(
                ("v" in block and "proj" in block and "x" in block) == stage["follows"] for block in stage["blocks"]
            )
            assert ("head" in stage["errors"]) == stage["follows"]
            assert not (stage["follows"] and stage["onlyScores"])
    wanted = {"bits": (8, 16), "follows": (True, False), "stride": (1, 2), "onlyScores": (True, False)}
    assert {(name, value) for name, values in wanted.items() for value in values} <= seen
    with pytest.raises(ValueError, match="found more queries and keys than fit in a page"):
        pack(trace, model, 100)


def test_room_that_is_left_goes_to_what_follows_the_probabilities_in_the_smallest_stages():
    large, small = Stage((56, 56), 49, 0, 2, 1, 32), Stage((7, 7), 49, 0, 2, 8, 64)
    bare = large.cost(Share(4, 8, False, False, 2)) + small.cost(Share(2, 8, False))
    assert [share.follows for share in shares([large, small], bare)] == [False, False]
    given = shares([large, small], bare + small.cost(Share(1, 8)) - small.cost(Share(2, 8, False)))
    assert [(share.follows, share.stride) for share in given] == [(False, 2), (True, 1)]


def test_shares_are_given_up_in_order():
    deep = Stage((14, 14), 49, 0, 40, 5, 320)
    share, order = Share(), []
    while share:
        order.append((share.level, share.bits, share.follows, share.scores, share.stride, len(deep.blocks(share))))
        share = deep.smaller(share)
    assert order[:5] == [(0, 16, True, False, 1, 40), (1, 8, True, False, 1, 40), (2, 8, False, False, 1, 40),
                         (3, 8, False, True, 1, 40), (4, 8, False, True, 1, 20)]  # fmt: skip
    assert order[-1][4:] == (4, 1)
    costs = [deep.cost(Share(*given)) for *given, _, _ in order[:4]]
    assert costs == sorted(costs, reverse=True)


@pytest.mark.parametrize("bits", [8, 16])
def test_quantise_rounds_to_the_nearest_step(bits):
    x = np.random.default_rng(0).standard_normal((5, 7, 32))
    x[2, 3] = 0
    x[1, 1] *= 1e-30
    whole, scale = quantise(x, bits)
    assert whole.dtype.itemsize * 8 == bits
    assert np.all(np.abs(x - whole * scale[..., None].astype(float)) <= scale[..., None] * 0.5001)
    assert np.all(np.abs(whole).max(-1)[np.any(x, -1)] == 2 ** (bits - 1) - 1)


# What may come from outside, and what may not


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_asks_nothing_of_any_network(kind):
    html = page_of(kind).html
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    assert f'<meta http-equiv="Content-Security-Policy" content="{policy}">' in html
    assert not re.search(r"https?:|//\w+\.\w|@import|url\(|fetch\(|XMLHttpRequest|WebSocket|sendBeacon|import\(", html)
    assert not re.search(r"<(script|img|iframe|object|embed|link)[^>]*\s(src|href)=(?!\"(data:,)?\")", html)
    assert re.findall(r'href="(.*?)"', html) == ["data:,"]


def test_hostile_names_and_labels_stay_text():
    name = "<script>alert(1)</script>\"'&.jpg"
    html = explore(Image.open(BALL), model_of("v2"), name=name).html
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#x27;&amp;.jpg · what" in html
    data = data_of(html)
    assert (data["file"], data["model"]["name"]) == (name, "small <v2>")
    assert {one["label"] for one in data["predictions"]} == set(pages.NASTY_LABELS)
    assert "<" not in html.split('id="data">')[1].split("</script>")[0]


def test_placeholders_in_names_are_not_filled():
    html = explore(Image.open(BALL), model_of("v2"), name="{{data}}{{style}}").html
    assert "<title>{{data}}{{style}} ·" in html
    assert data_of(html)["file"] == "{{data}}{{style}}"


def test_numbers_that_json_lacks_are_refused():
    with pytest.raises(ValueError, match="JSON"):
        as_json({"logit": float("nan")})


def test_nothing_else_of_the_photo_s_file_is_in_the_page(tmp_path):
    exif = Image.Exif()
    exif[0x010E] = "my garden, 48.1 N 11.5 E"
    Image.open(BALL).save(tmp_path / "garden.jpg", exif=exif)
    html = explore(tmp_path / "garden.jpg", model_of("v2")).html
    assert b"garden" not in as_file(data_of(html)["picture"]["src"]).read()
    assert str(tmp_path) not in html


# The picture


def quarters(width, height):
    """Red, green, blue and white quarters."""
    colours = np.uint8([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]])
    return Image.fromarray(colours.repeat(height // 2, axis=0).repeat(width // 2, axis=1))


@pytest.mark.parametrize(("recipe", "size", "shown", "squashed"), [
    ("hf", (600, 300), (768, 384), True), ("hf", (300, 300), (768, 768), False),
    ("official", (600, 300), (768, 768), False), ("timm", (300, 900), (768, 768), False)])  # fmt: skip
def test_the_picture_is_what_the_model_sees_in_the_photo_s_proportions(recipe, size, shown, squashed):
    uri, width, height, was_squashed = shown_picture(quarters(*size), at_size(RECIPES[recipe]), 224, 224)
    assert ((width, height), was_squashed) == (shown, squashed)
    picture = Image.open(as_file(uri))
    assert (picture.size, picture.mode) == (shown, "RGB")
    model_sees = pvt_numpy.preprocess(quarters(*size), **RECIPES[recipe] | {"do_normalize": False})[0]
    small = np.asarray(picture.resize((224, 224))).transpose(2, 0, 1)
    assert np.abs(small / 255 - model_sees).mean() < 0.01


def as_file(uri):
    return io.BytesIO(numbers(uri.split(",")[1], np.uint8).tobytes())


def test_arrays_and_grey_pictures_are_shown_as_they_are():
    fractions = np.linspace(0, 1, 300 * 200 * 3).reshape(200, 300, 3).astype(np.float32)
    model = replace(model_of("v2"), preprocessing=pages.RECIPE | {"do_rescale": False})
    ramp = np.arange(200, dtype=np.uint8)[:, None].repeat(300, axis=1)
    alpha = Image.merge("LA", [Image.fromarray(ramp), Image.new("L", (300, 200), 255)])

    def shown(picture, model):
        return np.asarray(Image.open(as_file(data_of(explore(picture, model).html)["picture"]["src"])), float)

    picture = shown(fractions, model)
    assert picture[:10].mean() < 15 < 240 < picture[-10:].mean()
    for grey in (Image.fromarray(ramp), ramp, alpha, Image.fromarray(ramp.astype(np.uint16) * 257)):
        picture = shown(grey, model_of("v2"))
        np.testing.assert_allclose(picture, picture[..., :1].repeat(3, axis=-1), atol=3)  # JPEG
        rows = np.linspace(0, 199, len(picture))[:, None, None]
        np.testing.assert_allclose(picture, np.broadcast_to(rows, picture.shape), atol=6)


def test_the_largest_size_stays_below_6_mb():
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)  # JPEG can do least with it
    page = explore(Image.fromarray(noise), model_of("shipped"), size=np.int64(512))
    data = data_of(page.html)
    assert len(page.html.encode()) < 6e6
    assert (data["input"], data["stages"][0]["keys"]) == ([512, 512], 256)
