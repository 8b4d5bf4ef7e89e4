"""`python notebooks/draw_pictures.py [NAME]`: draws the sample pictures with NumPy alone, a golf ball and three more.

Nothing here is needed to understand PVT; it is a small renderer. The golf ball, in the order in which it is laid down:
  background   trees with gaps of light between the leaves, far out of focus
  grass        some forty thousand blades, in bands from far to near. A band finds the nearest point for every pixel,
               lights only these points, and is blurred as a lens of finite aperture blurs that distance
  ball         one ray per sub-pixel meets a sphere; 362 dimples tilt its normal; sun, sky, turf and a gloss light it
The world is measured in ball radii (21 mm): x right, y away, z up. Colours are linear light until `develop`.

The parachute is the upper part of an ellipsoid, which a ray meets twice: its outside near, its inside far. Church and
gas pump are solids, each a function that says how far away its surface is. A ray steps on by that much until it arrives
(Hart, "Sphere tracing", 1996). Their worlds are measured in metres.

Cameras, lights and seeds were chosen by eye: no model had a part in it, so a model's answer is an honest one.

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


def rays(height, width, eye=EYE, aim=AIM, focal=FOCAL):
    """The directions (height, width, 3) in which the pixels look."""
    x = (np.arange(width) + 0.5 - width / 2) / (focal * width)
    y = (height / 2 - np.arange(height) - 0.5) / (focal * width)
    plane = np.stack(np.broadcast_arrays(x, y[:, None], 1.0), -1)
    return unit(plane @ frame(aim - eye, [0, 0, 1]))


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


# --- what the other scenes share ---


def fractal(x, y, table, octaves=5):
    """Noise upon finer noise, 0 to 1: clouds, leaves, stains."""
    weights = 0.55 ** np.arange(octaves)
    layers = [w * noise(x * 2**k + 7 * k, y * 2**k + 3 * k, table) for k, w in enumerate(weights)]
    return sum(layers) / weights.sum()


def sky(ray, table, zenith, horizon, sun, cover, scale=2.2):
    """Blue, paler towards the horizon, with clouds that are brighter on the side of the sun."""
    colour = horizon + (zenith - horizon) * np.clip(ray[..., 2:], 0, 1) ** 0.55
    up = np.maximum(ray[..., 2], 0.02) + 0.25
    x, y = ray[..., 0] / up * scale + 5, ray[..., 1] / up * scale + 2
    thick, sunward = (fractal(x - shift * sun[0], y - shift * sun[1], table) for shift in (0, 0.25))
    lit = 0.8 + 0.9 * np.clip(thick - sunward, -0.3, 0.3) - 0.3 * fade(0.55, 0.85, thick)
    share = fade(1 - cover, 1.22 - cover, thick) * fade(0, 0.12, ray[..., 2])
    return colour + ([1.35, 1.38, 1.45] * lit[..., None] - colour) * share[..., None]


def hedge(angle, tilt, table, crown, sizes):
    """The colour of far trees whose crowns reach up to `crown`, and where they are."""
    leaves = fractal(angle * sizes, tilt * sizes * 1.25, table, 4)
    bright = fade(0.33, 0.77, leaves) * fade(-0.02, 1, tilt / crown)
    return [0.035, 0.077, 0.023] + np.array([0.2, 0.27, 0.06]) * bright[..., None], tilt < crown + 0.02 * (leaves - 0.5)


def brick(p, centre, half, rounding=0.0):
    """The distance of points (..., 3) to a box of these half sides with rounded edges; negative inside."""
    out = np.abs(p - centre) - (np.array(half) - rounding)
    return np.linalg.norm(np.maximum(out, 0), axis=-1) + np.minimum(out.max(-1), 0) - rounding


def along(p, a, b):
    """The distance of points (..., n) to the straight line from a to b."""
    a, b = np.array(a, float), np.array(b, float)
    t = np.clip((p - a) @ (b - a) / dot(b - a, b - a), 0, 1)
    return np.linalg.norm(p - a - t[..., None] * (b - a), axis=-1)


def least(solids, p):
    """The distance to the nearest of them."""
    found = solids[0](p)
    for solid in solids[1:]:
        found = np.minimum(found, solid(p))
    return found


def meet(eye, ray, solids, centre, radius):
    """The rays (numbers) that meet a solid inside of that sphere, the points that they meet, their normals, and which
    solids these are."""
    way = ray @ (np.array(centre) - eye)
    near = np.flatnonzero(np.linalg.norm(eye + way[:, None] * ray - centre, axis=-1) < radius)
    t, arrived = way[near] - radius, np.zeros(len(near), bool)
    on = np.arange(len(near))
    for _ in range(110):
        step = least(solids, eye + t[on, None] * ray[near[on]])
        t[on] += step
        there = step < 0.0008 * np.maximum(t[on], 1)
        arrived[on[there]] = True
        on = on[~there & (t[on] < way[near[on]] + radius)]
    near, t = near[arrived], t[arrived]
    p = eye + t[:, None] * ray[near]
    corners = np.array([[1, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]])
    normal = sum(k * least(solids, p + 0.0015 * k)[:, None] for k in corners)  # where the distance grows
    return near, p, unit(normal + 1e-12), np.argmin([solid(p) for solid in solids], axis=0)


def sunny(p, sun, solids, reach, soft=12):
    """1 if the sun shines there, 0 in the shade of a solid, between near its edge."""
    t, light, on = np.full(len(p), 0.03), np.ones(len(p)), np.arange(len(p))
    for _ in range(32):
        d = least(solids, p[on] + t[on, None] * sun)
        light[on] = np.minimum(light[on], np.clip(0.5 + 0.5 * soft * d / t[on], 0, 1))
        t[on] += np.clip(d, 0.02, 1)
        on = on[(t[on] < reach) & (light[on] > 0.01)]
    return light


def larger(image, factor):
    """Every pixel factor x factor times, as rays (N, 3)."""
    return image.repeat(factor, 0).repeat(factor, 1).reshape(-1, 3)


# --- parachute ---

GORES = 20
CANOPY, HANGS = np.array([3.05, 3.05, 2.35]), np.array([0.10, 0.0, -5.35])  # its radii; where the jumper hangs


def skirt(phi):
    """How high the canopy's edge is: it is drawn up between the lines."""
    return 0.10 - 0.13 * np.abs(np.cos(phi * GORES / 2)) ** 0.6


def cloth(q, phi, tilt, sun, inside):
    """The light from points q of the canopy: gores in two colours, puffed between their seams."""
    gore, phase = np.divmod(phi / (2 * np.pi) * GORES, 1)
    round_, rim = np.stack([-np.sin(phi), 0 * phi, np.cos(phi)], -1), fade(0.02, 0.4, np.hypot(q[:, 0], q[:, 2]))
    puffed = round_ * (0.75 * np.sin(np.pi * (phase - 0.5)) * rim)[:, None]
    normal = unit(unit(q / CANOPY) + puffed) @ tilt
    red, white, blue = np.array([[0.78, 0.055, 0.045], [0.88, 0.86, 0.80], [0.05, 0.12, 0.42]])
    even, band = (gore % 2 == 0)[:, None], ((q[:, 1] > 0.30) & (q[:, 1] < 0.47))[:, None]
    paint = np.where(band, np.where(even, white, blue), np.where(even, red, white))
    seam = 1 - 0.3 * fade(0.44, 0.49, np.abs(phase - 0.5)) - 0.12 * (np.abs(q[:, 1] * 7 % 1 - 0.5) > 0.46)
    facing, away = np.maximum(normal @ sun, 0)[:, None], np.maximum(-normal @ sun, 0)[:, None]
    if inside:  # the sun shines through, redder
        light = 0.59 * facing * [1.0, 0.85, 0.7] + [0.19, 0.22, 0.30] * (0.6 + 0.4 * q[:, 1:2])
    else:
        light = 2.0 * facing * [1.05, 1.0, 0.9] + [0.34, 0.42, 0.58] * (0.55 + 0.45 * normal[:, 2:]) + 0.25 * away
    return paint * light * seam[:, None]


def parachute(width=512, seed=3):
    """A round parachute in the sky, a jumper under it. The seed makes the clouds."""
    height, fine = width * 3 // 4, 3
    rng = np.random.Generator(np.random.PCG64(seed))
    table, H, W = rng.random((64, 64)), fine * height, fine * width
    eye, aim, focal = np.array([0.6, -13.5, -6.6]), np.array([0.45, 0, -2.02]), 1.02
    sun, tilt = unit(np.array([-0.55, -0.5, 0.75])), frame(np.array([0.10, 1, 0]), [0.16, -0.05, 1])
    above = sky(rays(height, width, eye, aim, focal), table, np.array([0.07, 0.20, 0.62]), [0.55, 0.74, 1.0], sun, 0.45)
    image = larger(above, fine)
    o, d = tilt @ eye / CANOPY, rays(H, W, eye, aim, focal).reshape(-1, 3) @ tilt.T / CANOPY  # the ellipsoid is a ball
    a, b = dot(d, d), d @ o
    root = b * b - a * (o @ o - 1)
    for sign in (1, -1):  # the far side, seen from inside, then the near one
        q = o + ((-b + sign * np.sqrt(np.maximum(root, 0))) / a)[:, None] * d
        phi = np.arctan2(q[:, 2], q[:, 0])
        seen = (root > 0) & (q[:, 1] > skirt(phi)) & (np.hypot(q[:, 0], q[:, 2]) > 0.085)  # a hole at the top
        image[seen] = cloth(q[seen], phi[seen], tilt, sun, sign == 1)
    image = image.reshape(H, W, 3)

    def stroke(p, q, radius, colour):
        """A cord or a limb between two places of the world, lit as a cylinder."""
        (x0, x1), (y0, y1), (z0, z1) = frame(aim - eye, [0, 0, 1]) @ (np.array([p, q]) - eye).T
        ends = np.array(
            [[W / 2 + focal * W * x / z, H / 2 - focal * W * y / z] for x, y, z in ((x0, y0, z0), (x1, y1, z1))]
        )
        true = 2 * focal * W * radius / (z0 + z1)
        thick = max(true, 0.55)  # what is thinner than a pixel is drawn paler
        low, high = np.floor(ends.min(0) - thick - 2).astype(int), np.ceil(ends.max(0) + thick + 3).astype(int)
        rows, columns = slice(max(low[1], 0), max(high[1], 0)), slice(max(low[0], 0), max(high[0], 0))
        part = image[rows, columns]
        at = (
            np.stack(np.meshgrid(np.arange(part.shape[1]), np.arange(part.shape[0])), -1)
            + [columns.start, rows.start]
            + 0.5
        )
        off, way = along(at, *ends), ends[1] - ends[0]
        side = ((at - ends[0]) @ [way[1], -way[0]]) / max(np.hypot(*way), 1e-9) / thick * np.sign(way[1] + 1e-9)
        lit = 0.35 + 1.1 * np.clip(-0.55 * side + 0.6 * np.sqrt(np.clip(1 - (off / thick) ** 2, 0, 1)), 0, 1.2)
        cover = np.clip(thick + 0.5 - off, 0, 1) * min(1, true / thick)
        part += (np.array(colour) * lit[..., None] - part) * cover[..., None]

    for k in range(GORES):  # the lines end in the points of the skirt
        phi = 2 * np.pi * k / GORES
        ring = np.sqrt(1 - 0.10**2)
        edge = (np.array([ring * np.cos(phi), 0.10, ring * np.sin(phi)]) * CANOPY) @ tilt
        stroke(edge, HANGS + [-0.16 if np.cos(phi) < 0 else 0.16, 0, 0.62], 0.0085, [0.55, 0.55, 0.56])
    for start, end, radius, colour in jumper():
        stroke(HANGS + start, HANGS + end, radius, colour)
    return develop(shrink(image, fine), rng)


def jumper():
    """Strokes (from, to, radius, colour) from back to front: pack, legs, trunk, arms, straps, head, helmet."""
    suit, boot, skin = [0.10, 0.13, 0.20], [0.03, 0.03, 0.035], [0.62, 0.38, 0.27]
    both = [  # for the right side; the left is its mirror image
        ((0.09, 0, -0.05), (0.13, -0.12, -0.50), 0.095, suit), ((0.13, -0.12, -0.50), (0.11, 0.05, -0.92), 0.075, suit),
        ((0.11, 0.03, -0.93), (0.14, -0.13, -0.99), 0.065, boot), ((0, 0, 0.40), (0, 0, 0), 0.165, suit),
        ((0.17, 0, 0.42), (0.30, -0.06, 0.62), 0.062, suit), ((0.30, -0.06, 0.62), (0.17, -0.02, 0.92), 0.052, suit),
        ((0.17, -0.02, 0.93), (0.165, -0.02, 0.99), 0.05, skin),
        ((0.07, -0.1, 0.40), (0.08, -0.1, 0.02), 0.02, [0.5, 0.45, 0.3])]  # fmt: skip
    mirrored = [(a * np.array([s, 1, 1]), b * np.array([s, 1, 1]), r, c) for a, b, r, c in both for s in (-1, 1)]
    back, head = (
        ((0, 0.1, 0.42), (0, 0.1, 0.02), 0.17, [0.45, 0.08, 0.05]),
        ((0, -0.02, 0.60), (0, -0.02, 0.62), 0.115, skin),
    )
    return [back, *mirrored, head, ((0, 0, 0.655), (0, 0, 0.67), 0.13, [0.75, 0.72, 0.66])]


# --- church ---


def slope(p, across, half, low, high):
    """The distance to a plane that falls from height `high`, where `across` is 0, to `low` at `half`."""
    return (across * (high - low) + (p[..., 2] - high) * half) / np.hypot(high - low, half)


def gable(p, half, eaves, ridge, front, back):
    """A roof of two planes over a house that is 2 half wide, from front to back."""
    y, z = p[..., 1], p[..., 2]
    return np.maximum.reduce([slope(p, np.abs(p[..., 0]), half, eaves, ridge), eaves - z, front - y, y - back])


def arch(u, v, half, low, spring):
    """The distance to a window or door that ends in half a circle."""
    return np.maximum(np.hypot(u, np.maximum(v - spring, 0)) - half, low - v)


def church(width=512, seed=5):
    """A white church of boards with a steeple, on a meadow before a wood."""
    height, fine = width * 3 // 4, 2
    rng = np.random.Generator(np.random.PCG64(seed))
    table = rng.random((64, 64))
    eye, aim, focal = np.array([12.5, -23.5, 1.7]), np.array([2.2, 1.6, 8.15]), 0.92
    sun, sunlight, skylight = (
        unit(np.array([0.25, -0.8, 0.56])),
        np.array([1.95, 1.75, 1.42]),
        np.array([0.44, 0.52, 0.66]),
    )
    solids = [
        lambda p: np.minimum.reduce([brick(p, [0, 7.2, 2.3], [3.4, 6.2, 2.3]), gable(p, 3.4, 4.5, 7.6, 1, 13.4),
                                     brick(p, [0, 0, 4.6], [1.65, 1.65, 4.6]), brick(p, [0, 0, 10], [1.35, 1.35, 1])]),
        lambda p: np.minimum.reduce([
            np.maximum(gable(p, 3.85, 4.24, 7.76, 0.85, 13.75), -gable(p, 3.85, 3.94, 7.56, -9, 99)),
            np.maximum(slope(p, np.abs(p[..., :2]).max(-1), 1.62, 10.95, 17.6), 10.95 - p[..., 2]),
            brick(p, [0, 0, 9.2], [1.85, 1.85, 0.12]), brick(p, [0, 0, 10.97], [1.66, 1.66, 0.07])]),
        lambda p: np.minimum(brick(p, [0, 0, 18.1], [0.045, 0.045, 0.75]),
                             brick(p, [0, 0, 18.35], [0.32, 0.045, 0.045])),
        lambda p: np.minimum.reduce([brick(p, [0, 7.2, 0.2], [3.5, 6.3, 0.35]),
                                     brick(p, [0, 0, 0.2], [1.75, 1.75, 0.35]),
                                     brick(p, [0, -2.1, 0.18], [1.1, 0.6, 0.18])]),
        lambda p: brick(p, [0, -1.66, 1.75], [0.78, 0.07, 1.55], 0.03)]  # fmt: skip
    WALL, ROOF, CROSS, STONE, PORTAL = range(5)
    image = larger(
        sky(rays(height, width, eye, aim, focal), table, np.array([0.09, 0.23, 0.62]), [0.66, 0.8, 0.98], sun, 0.44),
        fine,
    )
    ray = rays(fine * height, fine * width, eye, aim, focal).reshape(-1, 3)
    angle, tilt = np.arctan2(ray[:, 0], ray[:, 1]), ray[:, 2]
    wood, there = hedge(angle, tilt, table, 0.055 + 0.075 * fractal(angle * 9 + 3, angle * 0 + 2, table), 70)
    image = np.where(there[:, None], wood, image)

    meadow = np.flatnonzero(tilt < -0.002)
    far = -eye[2] / tilt[meadow]
    p = eye + far[:, None] * ray[meadow]
    patch, blade = fractal(p[:, 0] * 0.35, p[:, 1] * 0.35, table, 4), fractal(p[:, 0] * 9, p[:, 1] * 3.5, table, 3)
    grass = [0.075, 0.17, 0.02] + [0.17, 0.2, 0.03] * (0.6 * patch + 0.9 * (blade - 0.5) * np.exp(-far / 40))[:, None]
    middle = 0.25 * np.sin(p[:, 1] * 0.5) + 0.02 * (p[:, 1] + 2) ** 2  # of the path to the door
    path = (fade(1.1, 0.85, np.abs(p[:, 0] - middle) - 0.3 * (patch - 0.5)) * (p[:, 1] < -1.6))[:, None]
    grass = grass + ([0.42, 0.37, 0.28] * (0.75 + 0.5 * blade)[:, None] - grass) * path
    lit, shaded = np.ones(len(p)), np.hypot(p[:, 0] + 4, p[:, 1] - 12) < 26
    lit[shaded] = sunny(p[shaded], sun, solids, 34)
    haze = (1 - np.exp(-far / 260))[:, None]
    image[meadow] = (
        grass * (1.2 * sunlight * (lit * sun[2])[:, None] + 0.75 * skylight) * (1 - haze) + [0.5, 0.6, 0.62] * haze
    )

    hit, p, normal, what = meet(eye, ray, solids, [0, 6.4, 9.0], 12.8)
    (x, y, z), front, side = p.T, normal[:, 1] < -0.9, normal[:, 0] > 0.9
    white, wall, board = np.array([0.86, 0.85, 0.81]), what == WALL, 0.86 + 0.14 * fade(0, 0.25, z / 0.19 % 1)
    colour = [0.8, 0.79, 0.75] * board[:, None]
    shingles = (0.75 + 0.5 * noise(y * 5 + x * 3, np.floor(z / 0.22) * 3.7, table)) * (
        0.8 + 0.2 * fade(0, 0.3, z / 0.22 % 1)
    )
    rubble = 0.7 + 0.6 * noise(np.floor((x + y) * 2.2) * 3.1, np.floor(z * 4) * 5.3, table)
    cornice = (what == ROOF) & ((np.abs(normal[:, 2]) > 0.95) | (z > 9) & (z < 11.05))
    for where, paint in ((what == ROOF, [0.105, 0.1, 0.115] * shingles[:, None]), (cornice, 0.92 * white),
                         (what == CROSS, [0.75, 0.6, 0.22]), (what == STONE, [0.4, 0.37, 0.34] * rubble[:, None]),
                         (what == PORTAL, 0.97 * white)):  # fmt: skip
        colour[where] = np.broadcast_to(paint, p.shape)[where]
    mirror = [0.05, 0.075, 0.11] + [0.2, 0.27, 0.36] * fade(0.3, 0.8, fractal(y * 0.5, z * 0.7, table, 3))[:, None]
    windows = [(side & (z < 4.5), y - at, 0.52, 1.15, 3.0) for at in (3.6, 6.4, 9.2, 12.0)] + [
        (front, x, 0.42, 4.6, 6.2)
    ]
    for face, u, half, low, spring in windows:
        opening = arch(u, z, half, low, spring)
        bars = (np.abs(u) < 0.035) | (np.abs((z - low) % 0.62 - 0.31) > 0.285)
        colour[wall & face & (opening < 0.13)] = white
        pane = wall & face & (opening < 0) & ~bars
        colour[pane] = mirror[pane]
    for face, u in ((front, x), (side, y)):  # where the bell hangs
        slats = wall & face & (z > 9.3) & (arch(u, z, 0.52, 9.45, 10.1) < 0)
        colour[slats] = 0.09 + 0.2 * fade(0.35, 0.75, z[slats, None] / 0.16 % 1)
    door = (what == PORTAL) & front & (arch(x, z, 0.62, 0.2, 2.15) < 0)
    planks = 0.8 + 0.25 * noise(np.floor(x / 0.155) * 7.7, z * 1.5, table)
    colour[door] = [0.24, 0.055, 0.035] * (planks * (np.abs(x) > 0.02))[door, None]
    rose, turn = np.hypot(x, z - 7.75), np.arctan2(x, z - 7.75)
    spokes = (np.abs(np.sin(4 * turn)) * rose < 0.05) | (np.abs(rose - 0.22) < 0.03)
    colour[wall & front & (rose < 0.55)] = white
    colour[wall & front & (rose < 0.43) & ~spokes] = [0.07, 0.09, 0.13]
    lit = sunny(p + 0.02 * normal, sun, solids, 16) * np.maximum(normal @ sun, 0)
    free = (0.35 + 0.65 * np.clip(least(solids, p + 0.7 * normal) / 0.7, 0, 1) * fade(-1, 1.6, z)) * (
        0.6 + 0.4 * normal[:, 2]
    )
    green = np.clip(0.5 - 0.5 * normal[:, 2], 0, 1) * np.exp(-z / 3)
    image[hit] = colour * (sunlight * lit[:, None] + skylight * free[:, None] + [0.1, 0.13, 0.04] * green[:, None])
    return develop(shrink(image.reshape(fine * height, fine * width, 3), fine), rng)


# --- gas pump ---

SIGNS = {  # a letter as strokes on a field of 2 x 4; a figure as some of seven bars
    "G": [(2, 3, 0.4, 4), (0.4, 4, 0, 2), (0, 2, 0.4, 0), (0.4, 0, 2, 0.4), (2, 0.4, 2, 1.9), (2, 1.9, 1.1, 1.9)],
    "A": [(0, 0, 1, 4), (1, 4, 2, 0), (0.4, 1.4, 1.6, 1.4)],
    "S": [(2, 3.4, 0.5, 4), (0.5, 4, 0.1, 2.9), (0.1, 2.9, 1.9, 1.3), (1.9, 1.3, 1.5, 0.1), (1.5, 0.1, 0, 0.5)],
}
BARS = [(0, 4, 2, 4), (2, 4, 2, 2), (2, 2, 2, 0), (0, 0, 2, 0), (0, 0, 0, 2), (0, 2, 0, 4), (0, 2, 2, 2)]
SIGNS |= {figure: [BARS[int(bar)] for bar in bars]
          for figure, bars in (("0", "012345"), ("1", "12"), ("2", "01643"), ("3", "01623"), ("4", "5612"),
                               ("5", "05623"), ("7", "012"), ("8", "0123456"))}  # fmt: skip


def writing(u, v, text, size):
    """How far (u, v) is from the strokes of a text around (0, 0) that is `size` high, in fourths of its height."""
    at, away = np.stack([u, v], -1) / size * 4, np.full(u.shape, np.inf)
    for k, sign in enumerate(text):
        left = (k - (len(text) - 1) / 2) * 3.1 - 1
        for a, b, c, d in SIGNS[sign]:
            away = np.minimum(away, along(at, (left + a, b - 2), (left + c, d - 2)))
    return away


def hung(points, pieces):
    """A line pulled by control points (a Bezier curve), as so many straight pieces."""
    t = np.linspace(0, 1, pieces + 1)[:, None]
    row = [np.array([point]) for point in points]
    while len(row) > 1:
        row = [a + (b - a) * t for a, b in zip(row[:-1], row[1:], strict=True)]
    return list(zip(row[0][:-1], row[0][1:], strict=True))


HOSE = hung([(0.36, 0, 1.13), (1.0, 0, 1.25), (0.80, -0.1, -0.45), (0.42, -0.3, -0.1), (0.46, -0.07, 0.80)], 16)


def hose(p):
    """The distance to the hose; far from it the distance to a box around it, which is quicker to find."""
    away = brick(p, [0.53, -0.1, 0.62], [0.2, 0.14, 0.58])
    near = away < 0.1
    away[near] = np.min([along(p[near], a, b) for a, b in HOSE], axis=0) - 0.024
    return away


PUMP = [
    lambda p: brick(p, [0, 0.1, 0.05], [0.95, 0.62, 0.09], 0.04),  # its island
    lambda p: np.minimum(brick(p, [0, 0, 0.72], [0.33, 0.23, 0.54], 0.05),
                         brick(p, [0, 0, 0.17], [0.37, 0.27, 0.06], 0.02)),  # its body
    lambda p: np.minimum(np.maximum(np.hypot(p[..., 0], p[..., 2] - 1.42) - 0.33, np.abs(p[..., 1]) - 0.215),
                         brick(p, [0, 0, 1.32], [0.33, 0.215, 0.12], 0.02)),  # its head
    lambda p: np.maximum.reduce([np.abs(np.hypot(p[..., 0], p[..., 2] - 1.42) - 0.315) - 0.028,
                                 np.abs(p[..., 1]) - 0.235, 1.42 - p[..., 2]]),  # the head's rim
    lambda p: (np.linalg.norm((p - [0, 0, 1.985]) / [0.215, 0.09, 0.215], axis=-1) - 1) * 0.085,  # the lamp
    lambda p: np.minimum(along(p, [0, 0, 1.70], [0, 0, 1.80]) - 0.06, brick(p, [0, 0, 1.765], [0.1, 0.1, 0.015])),
    hose,
    lambda p: np.minimum.reduce([along(p, [0.46, -0.07, 0.80], [0.43, -0.05, 1.02]) - 0.036,
                                 along(p, [0.43, -0.05, 1.02], [0.40, -0.02, 1.10]) - 0.022,
                                 brick(p, [0.36, 0, 0.98], [0.035, 0.09, 0.16], 0.02)]),  # the nozzle
]  # fmt: skip
ISLAND, BODY, HEAD, RIM, LAMP, NECK, TUBE, NOZZLE = range(8)


def forecourt(ray, eye, sun, table, width):
    """What is behind the pump, out of focus: sky, trees, a shop; and the paving, in focus where it is near."""
    image = sky(ray, table, np.array([0.16, 0.32, 0.68]), [0.75, 0.84, 0.98], sun, 0.42)
    angle, tilt = np.arctan2(ray[..., 0], ray[..., 1]), ray[..., 2]
    trees, there = hedge(angle, tilt, table, 0.10 + 0.06 * fractal(angle * 6, angle * 0, table, 3), 40)
    image = np.where(there[..., None], trees, image)
    shop = [0.72, 0.66, 0.54] * (0.8 + 0.2 * noise(angle * 9, tilt * 9, table))[..., None]
    pane = (np.abs((angle - 0.03) % 0.15 - 0.075) < 0.055) & (tilt > -0.03) & (tilt < 0.055)
    shop = np.where(pane[..., None], [0.10, 0.14, 0.18] + 0.2 * noise(angle * 12, tilt * 16, table)[..., None], shop)
    shop = np.where((tilt > 0.085)[..., None], [0.62, 0.07, 0.05], shop)
    image = np.where(((angle > -0.02) & (angle < 0.62) & (tilt < 0.105))[..., None], shop, image)
    x, y = ((eye + (eye[2] / np.maximum(-tilt, 1e-3))[..., None] * ray)[..., k] for k in (0, 1))
    paving = [0.38, 0.37, 0.35] * (0.75 + 0.45 * fractal(x * 0.8, y * 0.8, table, 4))[..., None]
    joint = (np.maximum(np.abs(x % 2.6 - 1.3), np.abs(y % 2.6 - 1.3)) > 1.285) & (np.hypot(x, y) < 18)
    image = np.where((tilt < -0.035)[..., None], paving * np.where(joint, 0.62, 1)[..., None] * 1.7, image)
    soft = blur(image, width / 90)
    return soft + (image - soft) * fade(-0.10, -0.22, tilt)[..., None]


def gas_pump(width=512, seed=11):
    """An old gas pump on its island, with a lamp on its head."""
    height, fine = width * 3 // 4, 2
    rng = np.random.Generator(np.random.PCG64(seed))
    table = rng.random((64, 64))
    eye, aim, focal = np.array([1.25, -4.1, 1.35]), np.array([0.16, 0, 1.07]), 1.28
    sun, sunlight, skylight = (
        unit(np.array([0.55, -0.75, 0.8])),
        np.array([2.0, 1.85, 1.55]),
        np.array([0.42, 0.5, 0.64]),
    )
    image = larger(forecourt(rays(height, width, eye, aim, focal), eye, sun, table, width), fine)
    ray = rays(fine * height, fine * width, eye, aim, focal).reshape(-1, 3)
    floor = np.flatnonzero(ray[:, 2] < -0.15)
    p = eye - (eye[2] / ray[floor, 2])[:, None] * ray[floor]
    near = np.hypot(p[:, 0] + 0.6, p[:, 1] - 0.6) < 2.6
    p, floor = p[near], floor[near]
    shade = sunlight * (sun[2] * sunny(p, sun, PUMP, 4, 9))[:, None]
    shade = shade + skylight * (0.35 + 0.65 * np.clip(least(PUMP, p + [0, 0, 0.02]) / 0.35, 0, 1))[:, None]
    image[floor] *= shade / (sunlight * sun[2] + skylight)

    hit, p, normal, what = meet(eye, ray, PUMP, [0.1, 0, 1.05], 1.45)
    (x, y, z), front = p.T, normal[:, 1] < -0.8
    red, cream, chrome, ink = np.array(
        [[0.62, 0.035, 0.025], [0.82, 0.78, 0.66], [0.5, 0.51, 0.53], [0.02, 0.02, 0.022]]
    )
    paints = np.array([chrome, red, cream, chrome, [0.95, 0.93, 0.86], chrome, ink, 0.8 * chrome])
    colour, gloss = paints[what], np.array([0.05, 0.5, 0.5, 0, 0.5, 0, 0.25, 0])[what]
    kerb = what == ISLAND
    stripes = np.where(((x + y) * 3.2 % 1 < 0.5)[:, None], [0.70, 0.52, 0.03], [0.05, 0.05, 0.05])
    top = [0.46, 0.45, 0.43] * (0.8 + 0.4 * fractal(x * 6, y * 6, table, 3))[:, None]
    colour[kerb] = np.where(normal[:, 2:] > 0.7, top, stripes)[kerb]
    colour[(what == BODY) & (z < 0.24)] = [0.10, 0.10, 0.11]
    panel = np.maximum(np.abs(x) - 0.255, np.abs(z - 0.72) - 0.40)
    dial = brick(np.stack([x, z, 0 * x], -1), [0, 1.44, 0], [0.235, 0.185, 1], 0.1)
    figures = np.minimum(writing(x, z - 1.515, "0754", 0.058), writing(x, z - 1.40, "1238", 0.058))
    windows = (np.abs(x) < 0.165) & (np.minimum(np.abs(z - 1.515), np.abs(z - 1.40)) < 0.046)
    slits = (np.abs(x) < 0.16) & (np.abs(z - 0.46) < 0.08) & (z / 0.032 % 1 < 0.4)
    for part, inside, paint in (
        (BODY, panel < 0.012, 0.9 * chrome), (BODY, panel < 0, cream),
        (BODY, (panel < 0) & (np.abs(z - 0.9) < 0.085), red), (BODY, slits, [0.12, 0.11, 0.10]),
        (BODY, writing(x, z - 0.9, "GAS", 0.105) < 0.48, cream),
        (HEAD, dial < 0.012, 0.9 * chrome), (HEAD, dial < 0, [0.8, 0.8, 0.77]), (HEAD, windows, ink),
        (HEAD, windows & (figures < 0.36), [0.85, 0.80, 0.62]), (LAMP, np.hypot(x, z - 1.985) > 0.185, red),
        (LAMP, writing(x, z - 1.985, "GAS", 0.135) < 0.48, red),
    ):  # fmt: skip
        colour[(what == part) & front & inside] = paint
    lit = sunny(p + 0.006 * normal, sun, PUMP, 2.5) * np.maximum(normal @ sun, 0)
    free = np.clip(least(PUMP, p + 0.12 * normal) / 0.12, 0, 1) * (0.45 + 0.55 * fade(0, 0.5, z))
    light = sunlight * lit[:, None] + skylight * ((0.62 + 0.38 * normal[:, 2]) * (0.35 + 0.65 * free))[:, None]
    light = light + [0.16, 0.15, 0.13] * np.clip(0.5 - 0.5 * normal[:, 2:], 0, 1) + 0.25 * (what == LAMP)[:, None]
    facing, metal = dot(ray[hit], normal), np.isin(what, (RIM, NECK, NOZZLE))
    mirror = ray[hit] - 2 * facing[:, None] * normal
    fresnel = 0.05 + 0.95 * (1 - np.clip(-facing, 0, 1)) ** 5
    seen = (
        [0.30, 0.38, 0.50]
        + [0.75, 0.85, 1.0] * fade(-0.05, 0.6, mirror[:, 2:])
        - [0.12, 0.18, 0.28] * fade(0.05, -0.25, mirror[:, 2:])
    )
    spot = np.where(metal, 1.4, gloss) * lit**0.2 * np.maximum(mirror @ sun, 0) ** 120
    shine = np.where(metal, 0.55, gloss * fresnel)[:, None] * seen + spot[:, None] * sunlight
    image[hit] = colour * light * np.where(metal, 0.55, 1)[:, None] + shine
    return develop(shrink(image.reshape(fine * height, fine * width, 3), fine), rng)


# --- the script ---

SCENES = {"golf_ball": (draw, 7, 92), "parachute": (parachute, 3, 84), "church": (church, 5, 84),
          "gas_pump": (gas_pump, 11, 84)}  # fmt: skip


def main(argv=None):
    """The script."""
    from PIL import Image

    from pvt_numpy.system.cli import printable, whole_number
    from pvt_numpy.system.files import atomic_file

    parser = argparse.ArgumentParser(
        prog="python notebooks/draw_pictures.py",
        description="Draws one of the project's sample pictures, by default the golf ball on grass.",
        epilog="exit status: 0 drawn; 1 failed, said on stderr; 2 wrong usage",
    )  # fmt: skip
    parser.add_argument("scene", metavar="NAME", nargs="?", choices=SCENES, default="golf_ball",
                        help=f"which: {', '.join(SCENES)}")  # fmt: skip
    parser.add_argument("-o", "--output", metavar="FILE", type=Path,
                        help="the suffix chooses the format (default: NAME.jpg in this folder)")  # fmt: skip
    parser.add_argument("--width", metavar="N", type=whole_number(16, 2048), default=512,
                        help="in pixels, at most 2048; the height is 3/4 of it (default %(default)s)")  # fmt: skip
    parser.add_argument("--seed", metavar="N", type=whole_number(0),
                        help="another number grows another lawn, or makes other clouds (default: that of the "
                        "picture beside this script)")  # fmt: skip
    options = parser.parse_args(argv)
    scene, seed, quality = SCENES[options.scene]
    options.output = options.output or Path(f"{options.scene}.jpg")
    written_as = Image.registered_extensions().get(options.output.suffix.lower())
    if written_as not in Image.SAVE:  # some formats can only be read
        parser.error(f"--output: found {options.output.name}; expected a picture's name such as ball.jpg or ball.png")
    encoded = io.BytesIO()  # some formats are not written from front to back
    with atomic_file(options.output) as file:  # refuses a name that cannot be written before the work begins
        picture = scene(options.width, seed if options.seed is None else options.seed)
        Image.fromarray(picture).save(encoded, written_as, quality=quality)
        file.write(encoded.getvalue())
    print(f"{printable(str(options.output))}: {options.width} x {options.width * 3 // 4} pixels")


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))  # the package is used from its checkout
    from pvt_numpy.system.cli import run

    run(main, "draw_pictures")
