"""The sample picture is what `notebooks/draw_pictures.py` draws: redrawn small and compared, and the script itself."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "notebooks"))

import draw_pictures as sample  # noqa: E402

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "notebooks" / "golf_ball.jpg"


def blocks(picture):
    """Means over a grid of 12 x 16 blocks: colours as floats, in which grain and single pixels average out."""
    height, width = picture.shape[:2]
    return picture.reshape(12, height // 12, 16, width // 16, 3).mean((1, 3), dtype=np.float64)


@pytest.fixture(scope="module")
def committed():
    with Image.open(PICTURE) as picture:
        return np.asarray(picture.convert("RGB"), np.float64)


def test_the_script_draws_the_committed_picture(committed):
    assert committed.shape == (384, 512, 3)
    redrawn = sample.draw()
    # Measured: 1.8 and 0.5 of 255, from JPEG. Room for a point that rounding moves into the next pixel elsewhere.
    assert np.abs(redrawn - committed).mean() < 3
    assert np.abs(blocks(redrawn) - blocks(committed)).max() < 2
    # Both can fail: another lawn, or the same one two pixels aside, is another picture.
    assert np.abs(blocks(sample.draw(128, seed=8)) - blocks(committed)).max() > 20
    assert np.abs(redrawn[:, 2:] - committed[:, :-2]).mean() > 5


def test_a_small_drawing_shows_the_same_scene(committed):
    """Blades are placed in the world, not in pixels: half the width is the same lawn, seen less sharply."""
    assert np.abs(blocks(sample.draw(256)) - blocks(committed)).mean() < 4


def test_it_is_small_enough_for_a_readme():
    assert PICTURE.stat().st_size < 150_000


def test_the_same_seed_gives_the_same_bytes():
    np.testing.assert_array_equal(sample.draw(64), sample.draw(64))


def test_ball_stands_where_the_lens_projects_it():
    """The outline against the angle under which the eye sees a sphere of radius 1, by trigonometry."""
    height, width = 96, 128
    cover = sample.ball(height, width)[..., 3] > 0
    direction = sample.rays(height, width)
    to_ball = sample.unit(sample.BALL - sample.EYE)
    angle = np.arccos(direction @ to_ball)
    limit = np.arcsin(1 / np.linalg.norm(sample.BALL - sample.EYE))
    np.testing.assert_array_equal(cover, angle < limit)
    assert cover.sum() > 1000


def test_blades_in_the_balls_shadow_are_darker():
    """Just behind the ball, on the side away from the sun, against the same band well to the left."""
    rng = np.random.Generator(np.random.PCG64(0))
    table = np.full((64, 64), 0.5)
    layer = sample.grass(8.6, 8.0, 192, 256, rng, table)
    points = np.array([[1.1, 0.3, 0.3], [-2.2, 0.3, 0.3]])  # right of the ball, left of the ball
    camera = (points - sample.EYE) @ sample.frame(sample.AIM - sample.EYE, [0, 0, 1]).T
    columns = (128 + sample.FOCAL * 256 * camera[:, 0] / camera[:, 2]).astype(int)
    rows = (96 - sample.FOCAL * 256 * camera[:, 1] / camera[:, 2]).astype(int)
    shade, open_lawn = (layer[r - 4 : r + 5, c - 6 : c + 7] for r, c in zip(rows, columns, strict=True))
    mean = [part[..., :3].sum() / part[..., 3].sum() for part in (shade, open_lawn)]
    assert mean[0] < 0.6 * mean[1]


def test_dimples_are_spread_evenly():
    spots = sample.dimples()
    np.testing.assert_allclose(np.linalg.norm(spots, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(spots.sum(0), 0, atol=1e-3)
    nearest = np.sort(np.linalg.norm(spots[:, None] - spots, axis=-1), axis=1)[:, 1]
    assert nearest.min() > 0.15
    assert nearest.max() < 0.23


@pytest.mark.parametrize("radius", [1.0, 4.5])
def test_blur_is_a_disc(radius):
    image = np.zeros((41, 41, 1))
    image[20, 20] = 1
    y, x = np.mgrid[-20:21, -20:21]
    disc = np.clip(radius + 0.5 - np.hypot(y, x), 0, 1)
    np.testing.assert_allclose(sample.blur(image, radius)[..., 0], disc / disc.sum(), atol=1e-12)


def command(*arguments, cwd):
    code = [sys.executable, str(ROOT / "notebooks" / "draw_pictures.py"), *map(str, arguments)]
    return subprocess.run(code, cwd=cwd, capture_output=True, text=True, encoding="utf-8", check=False)


def test_command_writes_the_file(tmp_path):
    done = command("-o", tmp_path / "ball.png", "--width", 64, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path / 'ball.png'}: 64 x 48 pixels\n"
    with Image.open(tmp_path / "ball.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), sample.draw(64))


@pytest.mark.parametrize(
    ("arguments", "status", "word"),
    [
        (["--width", "16", "-o", "no_such_folder/ball.jpg"], 1, "no_such_folder"),
        (["--width", "16", "-o", "ball.xyz"], 1, ".xyz"),
        (["--width", "16", "-o", "ball.psd"], 1, ".psd"),
        (["--width", "9999"], 2, "from 16 to 2048"),
        (["--width", "3"], 2, "--width"),
    ],
)
def test_command_refuses_with_one_line(arguments, status, word):
    done = command(*arguments, cwd=ROOT)
    assert done.returncode == status
    *usage, line = done.stderr.splitlines()  # wrong usage shows how to call it before the line
    assert line.startswith("draw_pictures: error: " if status == 1 else "python notebooks/draw_pictures.py: error: ")
    assert word in line
    if status == 1:
        assert usage == []
    else:
        assert usage[0].startswith("usage: python notebooks/draw_pictures.py")
