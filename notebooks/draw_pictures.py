"""`python notebooks/draw_pictures.py`: draws the sample picture, a golf ball on grass, with NumPy alone.

Nothing here is needed to understand PVT; it is a small renderer, in the order in which the picture is laid down:
  background   trees with gaps of light between the leaves, far out of focus
  grass        some forty thousand blades, in bands from far to near. A band finds the nearest point for every pixel,
               lights only these points, and is blurred as a lens of finite aperture blurs that distance
  ball         one ray per sub-pixel meets a sphere; 362 dimples tilt its normal; sun, sky, turf and a gloss light it
The world is measured in ball radii (21 mm): x right, y away, z up. Colours are linear light until `develop`.
Camera, light and seed were chosen by eye: no model had a part in it, so a model's answer is an honest one.

Left out: shadows of single blades (their roots are simply darker) and light that bounces more than once.
"""

import argparse
import io
import sys
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

HERE = Path(__file__).resolve().parent
EYE, AIM = np.array([0.0, -8.0, 2.3]), np.array([0.28, 0.0, 1.0])  # where the camera is, what it points at
BALL = np.array([0.0, 0.0, 1.02])  # its centre: the ball sits a little inside the turf
FOCAL, APERTURE = 1.45, 1 / 42  # of the lens; unit: the width of the picture
SUN = np.array([-0.62, -0.28, 0.73]) / np.sqrt(0.62**2 + 0.28**2 + 0.73**2)  # the direction towards it
SUNLIGHT, SKYLIGHT, TURFLIGHT = np.array([[2.5, 2.3, 1.95], [0.52, 0.62, 0.78], [0.20, 0.30, 0.07]])
GREEN, YELLOW, STRAW = np.array([[0.08, 0.21, 0.02], [0.24, 0.35, 0.045], [0.46, 0.39, 0.17]])
PAINT, INK = np.array([[0.80, 0.80, 0.78], [0.02, 0.03, 0.07]])
LETTERS = [  # P V T as strokes of a pen
    [(-2.3, -1), (-2.3, 1), (-1.6, 1), (-1.25, 0.75), (-1.25, 0.25), (-1.6, 0), (-2.3, 0)],
    [(-0.75, 1), (0, -1), (0.75, 1)],
    [(1.1, 1), (2.5, 1)],
    [(1.8, 1), (1.8, -1)],
]


def dot(a, b):
    return (a * b).sum(-1)


def unit(v):
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def fade(low, high, x):
    """0 up to low, 1 from high on, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def frame(forward, up):
    """Three unit vectors at right angles, as rows: right, up, forward."""
    right = unit(np.cross(forward, up))
    return np.stack([right, unit(np.cross(right, forward)), unit(forward)])


def rays(height, width):
    """The directions (height, width, 3) in which the pixels look."""
    x = (np.arange(width) + 0.5 - width / 2) / (FOCAL * width)
    y = (height / 2 - np.arange(height) - 0.5) / (FOCAL * width)
    plane = np.stack(np.broadcast_arrays(x, y[:, None], 1.0), -1)
    return unit(plane @ frame(AIM - EYE, [0, 0, 1]))


def noise(x, y, table):
    """A smooth random field: the numbers of a square table on a unit grid, joined smoothly, repeated for ever."""
    n, i, j = len(table), np.floor(x).astype(int), np.floor(y).astype(int)
    u, v = fade(0, 1, x - i), fade(0, 1, y - j)
    here, below = (table[k % n, i % n] * (1 - u) + table[k % n, (i + 1) % n] * u for k in (j, j + 1))
    return here * (1 - v) + below * v


def shrink(image, factor):
    """The mean of every factor x factor square: sub-pixels become pixels with smooth edges."""
    h, w, c = image.shape
    return image.reshape(h // factor, factor, w // factor, factor, c).mean((1, 3))


def blur(image, radius):
    """Spreads every pixel over a disc, as a lens does out of focus. The convolution is a product of Fourier series."""
    if radius < 0.5:
        return image
    pad = int(radius) + 2
    image = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="edge")
    h, w = image.shape[:2]
    y, x = (np.minimum(np.arange(n), n - np.arange(n)) for n in (h, w))  # the disc's centre is pixel (0, 0)
    disc = np.clip(radius + 0.5 - np.hypot(y[:, None], x), 0, 1)
    waves = np.fft.rfft2(image, axes=(0, 1)) * np.fft.rfft2(disc / disc.sum())[..., None]
    return np.fft.irfft2(waves, (h, w), axes=(0, 1))[pad:-pad, pad:-pad]


def background(height, width, rng, table):
    """Sky, trees and the far lawn (height, width, 3)."""
    x, y, z = np.moveaxis(rays(height, width), -1, 0)
    side, up = x / y, z / y
    leaves = sum(noise(side * f + f, up * f * 1.3, table) * w for f, w in ((9, 0.57), (23, 0.29), (61, 0.14)))
    trees = [0.035, 0.075, 0.025] + np.array([0.16, 0.25, 0.05]) * fade(0.4, 0.8, leaves)[..., None]
    lawn = np.array([0.13, 0.23, 0.035]) * (0.8 + 0.4 * noise(side * 12, up * 150, table))[..., None]
    image = np.where(up[..., None] > 0, trees, lawn)
    gaps = rng.random((45, 3))  # bright points: each becomes a disc in the blur
    row, column = ((0.01 + 0.16 * gaps[:, 0]) * height).astype(int), ((0.03 + 0.94 * gaps[:, 1]) * width).astype(int)
    np.add.at(image, (row, column), gaps[:, 2:] ** 2 * [0.72, 0.9, 0.54] * (width / 40) ** 2)
    return blur(image, width * APERTURE)


class Blades(NamedTuple):
    """Blades of grass, each a grid of points: t runs from root to tip along its spine, s from edge to edge."""

    traits: np.ndarray  # (blades, 10) random numbers, a column for each trait
    flat: np.ndarray  # (blades, 3): the direction along which it is broad
    spine: np.ndarray  # (blades, nt, 3)
    half: np.ndarray  # (blades, nt): half its breadth
    t: np.ndarray  # (nt,), 0 to 1
    s: np.ndarray  # (ns,), -1 to 1


def grass(far, near, height, width, rng, table):
    """The blades between two distances from the eye, as colour and cover (height, width, 4)."""
    coarse = max(1.0, (far + near) / 18)  # far away: fewer and broader blades
    count = int(150 / coarse**1.5 * (far / FOCAL * 1.25 + 1) * (far - near))
    blades = mesh(*sow(count, far, near, rng, table), coarse, pixel=FOCAL * width / near)
    seen, points = nearest(blades, height, width)
    layer = np.zeros((height * width, 4))
    layer[seen] = np.concatenate([lit(blades, *points, table), np.ones((len(seen), 1))], 1)
    return layer.reshape(height, width, 4)


def sow(count, far, near, rng, table):
    """Blades by chance, from far to near: their traits, roots (count, 3) and heights."""
    r = rng.random((count, 10))
    r = r[np.argsort(-r[:, 1], kind="stable")]  # the nearest last
    x, y = (r[:, 0] - 0.5) * (far / FOCAL * 1.25 + 1), EYE[1] + near + r[:, 1] * (far - near)
    tall = 0.30 + 0.30 * r[:, 2] + 0.18 * noise(x * 0.9, y * 0.9, table)
    return r, np.stack([x, y, 0 * x], -1), tall


def mesh(r, root, tall, coarse, pixel):
    """The blades' points, for pixels of which so many make one unit of length at the nearest blade."""
    bend, towards, twist = r[:, 5], 2 * np.pi * r[:, 3], 2 * np.pi * (r[:, 3] + 0.25) + 1.2 * (r[:, 4] - 0.5)
    lean, flat = (np.stack([np.cos(a), np.sin(a), 0 * a], -1) for a in (towards, twist))  # bends to, is broad along
    nt, ns = int(0.95 * pixel) + 3, int(0.1 * coarse * pixel) + 2  # close enough to leave no holes
    t, s = np.linspace(0, 1, nt), np.linspace(-1, 1, ns)
    rise = tall[:, None] * (t - 0.35 * bend[:, None] * t**3)
    reach = (tall * (0.15 + bend**2))[:, None] * t**2
    spine = root[:, None] + rise[..., None] * [0, 0, 1] + reach[..., None] * lean[:, None]
    out = spine - BALL
    spine = BALL + out * np.maximum(1, 1.03 / np.linalg.norm(out, axis=-1, keepdims=True))  # the ball pushes it aside
    half = (0.028 + 0.022 * r[:, 6:7]) * coarse * (1 - t**2.2) * (0.6 + 0.4 * fade(0, 0.3, t))
    return Blades(r, flat, spine, half, t, s)


def nearest(blades, height, width):
    """The pixels that see grass, and the point that each of them sees: its blade, place along it, place across it.

    Points are numbered from far to near, so the nearest is the one with the largest number.
    """
    axes = frame(AIM - EYE, [0, 0, 1])
    centre, across = ((blades.spine - EYE) @ axes.T).astype(np.float32), (blades.flat @ axes.T).astype(np.float32)
    offset = (blades.half[:, :, None] * blades.s).astype(np.float32)
    x, y, z = (centre[:, :, None, k] + offset * across[:, None, None, k] for k in range(3))
    column = np.floor(width / 2 + FOCAL * width * x / z).astype(int)
    row = np.floor(height / 2 - FOCAL * width * y / z).astype(int)
    inside = np.flatnonzero((column >= 0) & (column < width) & (row >= 0) & (row < height))
    numbers = np.full(height * width, -1)
    np.maximum.at(numbers, (row * width + column).ravel()[inside], inside)
    seen = np.flatnonzero(numbers >= 0)
    return seen, np.unravel_index(numbers[seen], offset.shape)


def lit(blades, b, i, j, table):
    """The light (points, 3) that comes from place i along and j across blade b."""
    r, flat, spine, half, t, s = blades
    p = spine[b, i] + (half[b, i] * s[j])[:, None] * flat[b]
    view = unit(EYE - p)
    normal = unit(np.cross(unit(np.gradient(spine, axis=1)[b, i]), flat[b]) + 0.45 * s[j, None] * flat[b])  # folded
    normal *= np.sign(dot(normal, view))[:, None]
    facing, depth = normal @ SUN, fade(-0.05, 0.5, p[:, 2])  # dark among the roots
    square, along = dot(BALL - p, BALL - p), (BALL - p) @ SUN
    miss, soft = np.sqrt(np.maximum(square - along**2, 0)), 0.05 + 0.06 * np.maximum(along, 0)
    sun = np.where(along > 0, fade(1 - soft, 1 + soft, miss), 1)  # does the ray towards the sun pass the ball?
    sky = (1 - 0.5 / np.maximum(square, 1)) * (0.1 + 0.9 * depth) * (0.7 + 0.3 * np.abs(normal[:, 2]))
    through = np.where(facing[:, None] > 0, 1, [1.3, 1.05, 0.45])  # light from behind shines through, yellower
    light = SUNLIGHT * through * (sun * depth**1.6 * (0.15 + 0.8 * np.abs(facing)))[:, None] + SKYLIGHT * sky[:, None]
    ripe = 0.15 + 0.75 * r[b, 7] * (0.4 + noise(p[:, 0] * 0.55 + 9, p[:, 1] * 0.55, table)) + 0.25 * t[i]
    colour = (GREEN + (YELLOW - GREEN) * np.minimum(ripe, 1)[:, None]) * (0.6 + 0.8 * r[b, 8, None])
    colour = np.where(r[b, 9, None] > 0.98, STRAW, colour) * (1 - 0.25 * np.exp(-((s[j, None] / 0.2) ** 2)))
    gloss = 0.10 * np.maximum(dot(normal, unit(SUN + view)), 0) ** 25 * sun * depth
    return colour * light + SUNLIGHT * gloss[:, None]


def dimples(n=6):
    """Their 10 n n + 2 centres, unit vectors: an icosahedron, its faces cut into n n triangles, made round."""
    g = (1 + 5**0.5) / 2
    corners = np.array([c for a in (-1, 1) for b in (-g, g) for c in ((0, a, b), (a, b, 0), (b, 0, a))])
    edge = np.linalg.norm(corners[:, None] - corners, axis=-1) < 2.1
    faces = [f for f in combinations(range(12), 3) if edge[np.ix_(f, f)].all()]
    weights = np.array([(a, b, n - a - b) for a in range(n + 1) for b in range(n + 1 - a)]) / n
    return np.unique(np.round(unit(weights @ corners[np.array(faces)]).reshape(-1, 3), 6), axis=0)


def ink(normal):
    """Where the pen went over the ball (0 to 1): the distance to the nearest stroke of `LETTERS`."""
    right, up, back = frame(np.array([-0.13, 1.0, -0.30]), [0.22, 0, 1])
    p = np.stack([normal @ right, normal @ up], -1) / 0.12
    away = np.full(len(p), np.inf)
    for stroke in LETTERS:
        for a, b in zip(np.array(stroke[:-1]), np.array(stroke[1:]), strict=True):
            t = np.clip((p - a) @ (b - a) / dot(b - a, b - a), 0, 1)
            away = np.minimum(away, np.linalg.norm(p - a - t[:, None] * (b - a), axis=-1))
    return fade(0.19, 0.12, away) * (normal @ back < 0)


def ball(height, width):
    """The ball as colour and cover (height, width, 4)."""
    ray = rays(height, width).reshape(-1, 3)
    b = ray @ (BALL - EYE)  # |EYE + t ray - BALL| = 1 is a quadratic equation for t
    root = b * b - dot(BALL - EYE, BALL - EYE) + 1
    hit = np.flatnonzero(root > 0)
    ray, distance = ray[hit], (b - np.sqrt(np.maximum(root, 0)))[hit, None]
    normal = EYE + distance * ray - BALL
    height_p = normal[:, 2] + BALL[2]

    spots = dimples() @ frame(np.array([0.5, 0.8, 0.3]), [0.2, -0.3, 0.9])  # how the ball came to lie
    size = 0.47 * np.arccos((spots @ spots.T - 2 * np.eye(len(spots))).max(1))  # dimples almost touch
    which = np.concatenate([(part @ spots.T).argmax(1) for part in np.array_split(normal, 32)])
    inward = spots[which] - dot(spots[which], normal)[:, None] * normal  # along the surface, to the dimple's centre
    rho = np.linalg.norm(inward, axis=-1) / size[which]
    slope = 0.38 * rho * (1 - fade(0.78, 1.06, rho))  # a shallow bowl with a rounded rim
    bumped = unit(normal + unit(inward) * slope[:, None])

    turf = fade(0.05, 0.75, height_p)  # blades stand around the foot of the ball
    sun = np.maximum(bumped @ SUN, 0) * fade(-0.1, 0.25, normal @ SUN) * (0.35 + 0.65 * turf)
    open_sky = 0.5 + 0.5 * bumped @ unit(np.array([-0.35, -0.25, 1.0]))  # the sky is brighter around the sun
    light = SUNLIGHT * sun[:, None] + SKYLIGHT * (open_sky**1.5 * (0.25 + 0.75 * turf))[:, None]
    light = light + TURFLIGHT * ((1 - open_sky) * (0.35 + 0.65 * turf))[:, None]
    light = light * (1 - 0.18 * fade(1, 0, rho))[:, None]
    facing = dot(bumped, -ray)
    mirror = ray + 2 * facing[:, None] * bumped
    fresnel = 0.04 + 0.96 * (1 - np.clip(facing, 0, 1)) ** 5  # Schlick's formula for a coat of refractive index 1.5
    gloss = SUNLIGHT * (3 * np.maximum(mirror @ SUN, 0) ** 180)[:, None]
    gloss = gloss + SKYLIGHT * (1.1 * fresnel * fade(-0.1, 0.5, mirror[:, 2]) * turf)[:, None]
    layer = np.zeros((height * width, 4))
    colour = PAINT + (INK - PAINT) * ink(normal)[:, None]
    layer[hit] = np.concatenate([colour * light + gloss, np.ones((len(hit), 1))], 1)
    return layer.reshape(height, width, 4)


def develop(image, rng):
    """Linear light to bytes: darker corners, film that saturates gently, gamma, contrast, grain."""
    height, width = image.shape[:2]
    y, x = np.linspace(-0.75, 0.75, height)[:, None], np.linspace(-1, 1, width)
    image = np.maximum(image, 0) * (1 - 0.16 * (x**2 + y**2))[..., None]
    image = (1 - np.exp(-0.82 * image)) ** (1 / 2.2)
    image = image + 0.10 * image * (1 - image) * (2 * image - 1)
    image = image + 0.012 * (rng.random((height, width, 3)).sum(-1, keepdims=True) - 1.5)
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def draw(width=512, seed=7):
    """The picture, uint8 (3/4 width, width, 3). The seed makes the lawn; the width only its size."""
    from tqdm import tqdm

    height = width * 3 // 4
    rng = np.random.Generator(np.random.PCG64(seed))  # its random() gives the same numbers in every NumPy
    table = rng.random((64, 64))
    image = background(height, width, rng, table)
    focus = np.linalg.norm(BALL - EYE) - 0.8  # on the front of the ball
    edges = np.concatenate([np.geomspace(60, -EYE[1], 13), np.geomspace(-EYE[1], 3.9, 9)])
    bands = list(zip(edges[:-1], edges[1:], strict=True))
    for far, near in tqdm(bands, unit=" bands", leave=False, disable=None):
        if far > near:
            radius = width * APERTURE * abs(1 - 2 * focus / (far + near))
            fine = 2 if radius < width / 340 else 1  # what is in focus is worth sub-pixels
            layer = blur(shrink(grass(far, near, fine * height, fine * width, rng, table), fine), radius)
        else:  # the edge that is there twice: everything behind the ball's centre is drawn
            layer = shrink(ball(3 * height, 3 * width), 3)
        image = layer[..., :3] + image * (1 - layer[..., 3:])
    return develop(image, rng)


def main(argv=None):
    """The script."""
    from PIL import Image

    from pvt_numpy.system.cli import printable, whole_number
    from pvt_numpy.system.files import atomic_file

    parser = argparse.ArgumentParser(
        prog="python notebooks/draw_pictures.py",
        description="Draws the project's sample picture, a golf ball on grass.",
        epilog="exit status: 0 drawn; 1 failed, said on stderr; 2 wrong usage",
    )  # fmt: skip
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, default=Path("golf_ball.jpg"),
                        help="the suffix chooses the format (default: golf_ball.jpg in this folder)")  # fmt: skip
    parser.add_argument("--width", metavar="N", type=whole_number(16, 2048), default=512,
                        help="in pixels, at most 2048; the height is 3/4 of it (default %(default)s)")  # fmt: skip
    parser.add_argument("--seed", metavar="N", type=whole_number(0), default=7,
                        help="another number grows another lawn (default %(default)s)")  # fmt: skip
    options = parser.parse_args(argv)
    written_as = Image.registered_extensions().get(options.output.suffix.lower())
    if written_as not in Image.SAVE:  # some formats can only be read
        parser.error(f"--output: found {options.output.name}; expected a picture's name such as ball.jpg or ball.png")
    encoded = io.BytesIO()  # some formats are not written from front to back
    with atomic_file(options.output) as file:  # refuses a name that cannot be written before the work begins
        Image.fromarray(draw(options.width, options.seed)).save(encoded, written_as, quality=92)
        file.write(encoded.getvalue())
    print(f"{printable(str(options.output))}: {options.width} x {options.width * 3 // 4} pixels")


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))  # the package is used from its checkout
    from pvt_numpy.system.cli import run

    run(main, "draw_pictures")
