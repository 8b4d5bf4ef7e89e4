"""The built-in drawing task: which shape is it? Endless, offline, and hard to learn by heart.

Every picture is drawn anew with Pillow: a bright shape of random colour, size, place and turn on a dark, noisy ground
of another colour. Colour and place say nothing about the class, the lit area little; the outline tells.
"""

import math

import numpy as np
from PIL import Image, ImageDraw

SHAPES = ("disc", "square", "triangle", "star", "cross", "ring")
_FINER = 4  # drawn this much larger and shrunk, for smooth edges


def draw_shapes(labels, size, rng):
    """Pictures (B, size, size, 3) uint8 of the shapes with these numbers.

    >>> draw_shapes([0, 5], 32, np.random.default_rng(0)).shape
    (2, 32, 32, 3)
    """
    return np.stack([_draw(SHAPES[label], size, rng) for label in labels])


def _draw(shape, size, rng):
    ground, ink = rng.uniform(0, 90, 3), rng.uniform(130, 255, 3)
    side = size * _FINER
    radius = side * rng.uniform(0.26, 0.42)
    x, y = rng.uniform(radius, side - radius, 2)
    turn = rng.uniform(0, 2 * math.pi)

    mask = Image.new("L", (side, side))
    pen = ImageDraw.Draw(mask)
    if shape in ("disc", "ring"):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
        if shape == "ring":
            hole = radius * 0.55
            pen.ellipse((x - hole, y - hole, x + hole, y + hole), fill=0)
    else:
        corners = [(radius * distance, turn + angle) for distance, angle in _outline(shape)]
        pen.polygon([(x + r * math.cos(a), y + r * math.sin(a)) for r, a in corners], fill=255)
    share = np.asarray(mask.resize((size, size), Image.Resampling.BOX), np.float64)[..., None] / 255
    picture = ground + (ink - ground) * share + rng.normal(0, 8, (size, size, 3))
    return np.clip(picture, 0, 255).astype(np.uint8)


def _outline(shape):
    """The corners, as (distance from the middle, angle)."""
    if shape in ("square", "triangle"):
        corners = 4 if shape == "square" else 3
        return [(1, 2 * math.pi * n / corners) for n in range(corners)]
    if shape == "star":
        return [(1 if n % 2 == 0 else 0.42, math.pi * n / 5) for n in range(10)]
    arm = 0.3  # cross: half the width of an arm; twelve corners
    quarter = [(1, -arm), (1, arm), (arm, arm)]
    points = [(px, py, quarter_turn) for quarter_turn in range(4) for px, py in quarter]
    return [(math.hypot(px, py), math.atan2(py, px) + quarter_turn * math.pi / 2) for px, py, quarter_turn in points]
