"""Covering parts of a picture, and the maps that are compared with it: against loops, differences and exact sums; and
the figures that notebook 4 teaches are those of its table, whose lines can be measured again."""

import csv
import re

import numpy as np
import pytest

from pvt_numpy import forward, load_model, preprocess
from pvt_numpy.analysis import occlusion
from pvt_numpy.analysis.rollout import pyramid_rollout
from pvt_numpy.parameters import flatten
from tests.plots.plot_cases import V1, V2, traced
from tests.processes import BALL, ROOT, run, shared

TABLE = ROOT / "notebooks" / "maps_against_covering.csv"
LABEL = 1


@pytest.fixture(params=[V1, V2], ids=["v1", "v2"])
def config(request):
    return request.param


def logit(x, params, config):
    return forward(x, params, config).logits[0, LABEL]


def test_each_square_is_covered_alone(config):
    _, _, x, params = traced(config)
    found = occlusion.falls(x, params, config, LABEL)
    places = [(y, z) for y in range(0, 64 - 17, 9) for z in range(0, 96 - 17, 9)]  # 9 is a seventh of 64
    assert len(found) == len(places)
    for n in (0, 10, len(places) - 1):
        copy, (y, z) = x.copy(), places[n]
        for c in range(3):
            copy[0, c, y : y + 18, z : z + 18] = x[0, c].mean()
        np.testing.assert_allclose(found[n], logit(x, params, config) - logit(copy, params, config), atol=1e-12)


def test_a_map_is_summed_under_each_square():
    values = np.random.default_rng(1).random((14, 28))
    assert occlusion.squares((224, 448))[13] == (slice(32, 96), slice(0, 64))
    found = occlusion.under(values, (224, 448))
    assert found[13] == pytest.approx(sum(values[row, column] for row in range(2, 6) for column in range(4)))
    assert found[1] == pytest.approx(values[:4, 2:6].sum())


def test_the_class_activation_map_is_exact_in_v2_and_absent_in_v1(config):
    _, _, x, params = traced(config)
    maps = occlusion.maps(x, params, config, LABEL)
    if config is V1:
        assert "class activation map" not in maps
    else:
        exact = maps["class activation map"].mean() + params["head"]["bias"][LABEL]
        np.testing.assert_allclose(exact, logit(x, params, config), rtol=1e-12)


def test_gradients_are_those_of_the_logit(config):
    """Half of x brightened moves the logit by the sum of gradient x input there; a pixel's colours, by |gradient|."""
    _, _, x, params = traced(config)
    maps, h = occlusion.maps(x, params, config, LABEL), 1e-5

    def slope(direction):
        up, down = (logit(x + step * direction, params, config) for step in (h, -h))
        return (up - down) / (2 * h)

    half = x * (np.arange(96) < 48)
    np.testing.assert_allclose(slope(half), maps["gradient × input"][:, :48].sum(), rtol=1e-4)
    pixel = np.zeros_like(x)
    pixel[0, 2, 20, 30] = 1
    colours = [slope(np.roll(pixel, -c, axis=1)) for c in range(3)]
    np.testing.assert_allclose(np.abs(colours).sum(), maps["|gradient|"][20, 30], rtol=1e-4)


def test_rollouts_are_the_package_s(config):
    _, trace, x, params = traced(config)
    maps = occlusion.maps(x, params, config, LABEL)
    for i, shares in enumerate(pyramid_rollout(trace, config)):
        np.testing.assert_allclose(maps[f"rollout entering stage {i + 1}"], shares, atol=1e-15)


def test_shuffling_keeps_each_array_s_numbers_and_no_order():
    params = traced(V2)[3]
    before, after = flatten(params), flatten(occlusion.shuffled(params, np.random.default_rng(0)))
    assert list(before) == list(after)
    for name, array in before.items():
        np.testing.assert_array_equal(np.sort(array, axis=None), np.sort(after[name], axis=None))
        assert np.ptp(array) == 0 or not np.array_equal(array, after[name]), name


def test_maps_without_a_model():
    x = np.zeros((1, 3, 5, 9))
    x[0, :, 1, 2] = 4.5  # whose mean is 0.1
    maps = occlusion.model_free_maps(x)
    assert np.unravel_index(maps["nearness to the middle"].argmax(), (5, 9)) == (2, 4)
    np.testing.assert_allclose([maps["contrast to the mean"][1, 2], maps["contrast to the mean"][0, 0]], [13.2, 0.3])


def read():
    with open(TABLE, encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_table_is_twenty_photos_of_each_class_and_no_more_is_claimed():
    rows = read()
    classes = [row["picture"].split("/")[0] for row in rows]
    assert {classes.count(name) for name in classes} == {20}
    assert (len(rows), len(set(classes)), len({row["picture"] for row in rows})) == (200, 10, 200)
    mean = {name: np.mean([float(row[name]) for row in rows]) for name in rows[0] if name != "picture"}
    text = (ROOT / "notebooks" / "source" / "04_what_the_heads_look_at.py").read_text(encoding="utf-8")
    told = dict(re.findall(r"^# \| (.+?) \| (−?0\.\d\d) \|", text, flags=re.MULTILINE))
    assert len(told) >= 9
    for name, value in told.items():
        assert float(value.replace("−", "-")) == pytest.approx(mean[name.replace("\\|", "|")], abs=0.005), name
    rollouts = [value for name, value in mean.items() if name.startswith("rollout")]
    assert max(rollouts) < mean["nearness to the middle"] < mean["gradient × input"] < mean["black squares"]


def test_no_text_says_that_rollout_shows_what_matters():
    texts = [*ROOT.glob("notebooks/source/*.py"), *ROOT.glob("pvt_numpy/plots/*.py"), *ROOT.glob("*.md"),
             *ROOT.glob("notebooks/*.md"), *ROOT.glob("pvt_numpy/analysis/*.py")]  # fmt: skip
    for path in texts:
        text = " ".join(path.read_text(encoding="utf-8").replace("\n# ", " ").split())
        for claim in ("agree well with the experiment", "rough idea of where the answer comes from",
                      "which maps deserve trust", "without training there is no structure"):  # fmt: skip
            assert claim not in text, path


def test_a_line_of_the_table_can_be_measured_again():
    """But for the experiments, which take their time: the maps are correlated with themselves, and the order kept."""
    row = read()[0]
    model, picture = load_model(), shared(f"imagenette160/val/{row['picture']}")
    x = preprocess(picture, **model.preprocessing)
    label = int(forward(x, model.params, model.config).logits.argmax())
    fall = occlusion.falls(x, model.params, model.config, label)
    for name, values in occlusion.maps(x, model.params, model.config, label).items():
        assert occlusion.correlation(fall, occlusion.under(values, x.shape[2:])) == pytest.approx(
            float(row[name]), abs=2e-3)  # fmt: skip


def test_the_script_continues_a_table(tmp_path):
    """On the small v1, whose pictures are of 64 pixels."""
    nano = ROOT / "weights" / "pvt_v1_nano_imagenette.safetensors"
    for name in ("one", "other"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "ball.jpg").write_bytes(BALL.read_bytes())
    command = [str(ROOT / "notebooks" / "measure_maps.py"), str(tmp_path / "photos"), "-o", str(tmp_path / "t.csv"),
               "--model", str(nano)]  # fmt: skip
    status, out, err = run(*command, "--each", "1")
    assert (status, out.split()) == (0, ["one/ball.jpg", "other/ball.jpg"]), err
    with open(tmp_path / "t.csv", encoding="utf-8") as file:
        lines = file.read().splitlines()
    assert lines[0].startswith("picture,rollout entering stage 1,")
    assert "class activation map" not in lines[0]
    (tmp_path / "t.csv").write_text("\n".join(lines[:2]) + "\n", encoding="utf-8")  # as if it had been stopped
    assert run(*command)[:2] == (0, "other/ball.jpg\n")
    assert (tmp_path / "t.csv").read_text(encoding="utf-8").splitlines() == lines  # shuffled as before, by the name
    empty = run(*command[:1], str(tmp_path / "photos" / "one"), *command[2:])
    assert (empty[0], "found no pictures in sub-folders; expected" in empty[2]) == (1, True)
    (tmp_path / "t.csv").write_text("picture,other\nx,1\n", encoding="utf-8")
    assert "found a table with other columns; expected" in run(*command)[2]
