"""The sample pictures are what `notebooks/draw_pictures.py` draws: redrawn and compared, and the script itself."""

import runpy
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from pvt_numpy import load_model
from pvt_numpy.classify import classify
from tests.processes import BALL, ROOT, run

SCRIPT = BALL.with_name("draw_pictures.py")
COMMITTED = np.asarray(Image.open(BALL).convert("RGB"), np.float64)
sample = SimpleNamespace(**runpy.run_path(str(SCRIPT)))


def blocks(picture):
    """Means over a grid of 12 x 16 blocks: colours as floats, in which grain and single pixels average out."""
    height, width = picture.shape[:2]
    return picture.reshape(12, height // 12, 16, width // 16, 3).mean((1, 3), dtype=np.float64)


def test_the_script_draws_the_committed_picture():
    assert COMMITTED.shape == (384, 512, 3)
    assert BALL.stat().st_size < 150_000  # small enough for a README
    redrawn = sample.draw()
    # Measured: 1.8 and 0.5 of 255, from JPEG. Room for a point that rounding moves into the next pixel elsewhere.
    assert np.abs(redrawn - COMMITTED).mean() < 3
    assert np.abs(blocks(redrawn) - blocks(COMMITTED)).max() < 2
    # Both can fail: another lawn, or the same one two pixels aside, is another picture.
    assert np.abs(blocks(sample.draw(128, seed=8)) - blocks(COMMITTED)).max() > 20
    assert np.abs(redrawn[:, 2:] - COMMITTED[:, :-2]).mean() > 5


@pytest.mark.parametrize("name", ["parachute", "church", "gas_pump"])
def test_the_script_draws_the_other_pictures_too(name):
    """Redrawn at a fourth of the width: colours of blocks, in which edges average out."""
    path = BALL.with_name(f"{name}.jpg")
    assert path.stat().st_size < 40_000
    with Image.open(path) as picture:
        kept = np.asarray(picture.convert("RGB"), np.float64)
    assert kept.shape == (384, 512, 3)
    draw, seed, _ = sample.SCENES[name]
    off = np.abs(blocks(draw(128, seed)) - blocks(kept))  # measured: 0.7 to 1.4 in the mean, 6 to 13 at most
    assert off.mean() < 2
    assert off.max() < 20
    assert np.abs(blocks(draw(128, seed + 1)) - blocks(kept)).max() > 40  # it can fail: other clouds


def test_the_models_answers_are_those_that_the_readme_lists():
    """Right or wrong: the first label and its probability, by each of the models that ship."""
    text = BALL.with_name("README.md").read_text(encoding="utf-8")
    head, rows = text.split("| picture |")[1].split("\n|---|---|---|\n")
    rows = [line.strip("| ").split(" | ") for line in rows.split("\n\n")[0].splitlines()]
    assert [picture.replace(" ", "_") for picture, *_ in rows] == list(sample.SCENES)
    for column, name in enumerate(head.strip("| ").split(" | "), 1):
        model = load_model(ROOT / "weights" / f"{name}.safetensors")
        for row in rows:
            best = classify(BALL.with_name(f"{row[0].replace(' ', '_')}.jpg"), model)[0]
            assert row[column] == f"{best['label']} {best['probability']:.0%}".replace("%", " %")


def test_a_small_drawing_shows_the_same_scene():
    """Blades are placed in the world, not in pixels: half the width is the same lawn, seen less sharply."""
    assert np.abs(blocks(sample.draw(256)) - blocks(COMMITTED)).mean() < 4


def test_ball_stands_where_the_lens_projects_it():
    """The outline against the angle under which the eye sees a sphere of radius 1, by trigonometry."""
    cover = sample.ball(96, 128)[..., 3] > 0
    to_ball = sample.BALL - sample.EYE
    angle = np.arccos(sample.rays(96, 128) @ sample.unit(to_ball))
    np.testing.assert_array_equal(cover, angle < np.arcsin(1 / np.linalg.norm(to_ball)))
    assert cover.sum() > 1000


def test_blades_in_the_balls_shadow_are_darker():
    """Just behind the ball, on the side away from the sun, against the same band well to the left."""
    rng = np.random.Generator(np.random.PCG64(0))
    layer = sample.grass(8.6, 8.0, 192, 256, rng, np.full((64, 64), 0.5))
    points = np.array([[1.1, 0.3, 0.3], [-2.2, 0.3, 0.3]])  # right of the ball, left of the ball
    x, y, z = (sample.frame(sample.AIM - sample.EYE, [0, 0, 1]) @ (points - sample.EYE).T) / [[1], [-1], [1]]
    columns, rows = ((middle + sample.FOCAL * 256 * at / z).astype(int) for middle, at in ((128, x), (96, y)))
    patches = [layer[r - 4 : r + 5, c - 6 : c + 7] for r, c in zip(rows, columns, strict=True)]
    shade, open_lawn = (part[..., :3].sum() / part[..., 3].sum() for part in patches)
    assert shade < 0.6 * open_lawn


def test_dimples_are_spread_evenly():
    spots = sample.dimples()
    assert spots.shape == (362, 3)
    np.testing.assert_allclose(np.linalg.norm(spots, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(spots.sum(0), 0, atol=1e-3)
    nearest = np.sort(np.linalg.norm(spots[:, None] - spots, axis=-1), axis=1)[:, 1]
    assert 0.15 < nearest.min() < nearest.max() < 0.23


@pytest.mark.parametrize("radius", [1.0, 4.5])
def test_blur_is_a_disc(radius):
    point, (y, x) = np.zeros((41, 41, 1)), np.mgrid[-20:21, -20:21]
    point[20, 20] = 1
    disc = np.clip(radius + 0.5 - np.hypot(y, x), 0, 1)
    np.testing.assert_allclose(sample.blur(point, radius)[..., 0], disc / disc.sum(), atol=1e-12)


def test_command_writes_the_file(tmp_path):
    """And the same seed gives the same picture in another process."""
    path = tmp_path / "ball.PNG"
    assert run(SCRIPT, "-o", path, "--width", 64) == (0, f"{path}: 64 x 48 pixels\n", "")
    with Image.open(path) as picture:
        np.testing.assert_array_equal(np.asarray(picture), sample.draw(64))


@pytest.mark.parametrize(("arguments", "status", "word"), [
    (["--width", "16", "-o", "no_such_folder/ball.jpg"], 1, "no_such_folder"),
    (["-o", "ball.xyz"], 2, "found ball.xyz; expected"), (["-o", "ball.psd"], 2, "found ball.psd; expected"),
    (["--width", "9999"], 2, "from 16 to 2048"), (["--width", "3"], 2, "--width")])  # fmt: skip
def test_command_refuses_with_one_line(arguments, status, word):
    found, _, err = run(SCRIPT, *arguments)
    *usage, line = err.splitlines()  # wrong usage shows how to call it before the line
    name = "draw_pictures" if status == 1 else "python notebooks/draw_pictures.py"
    assert (found, line.startswith(f"{name}: error: "), word in line) == (status, True, True), err
    assert [text.split(" [")[0] for text in usage[:1]] == ([] if status == 1 else [f"usage: {name}"])
