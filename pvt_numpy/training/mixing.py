"""Pictures that no camera took: two mixed into one, or a part painted over. A model cannot learn them by heart.

Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization" (2018); Yun et al., "CutMix" (2019), algorithm 1;
Zhong et al., "Random Erasing Data Augmentation" (2020), algorithm 1. As in DeiT's recipe, which the authors of PVT
use: mixup 0.8, CutMix 1.0, one or the other for each batch; erasing 0.25, the rectangle filled with normal noise, its
height over its width drawn on a logarithmic scale, and no more tries than ten.
Left out: RandAugment; a share of its own for each picture of a batch.
"""

import math

import numpy as np

SMALLEST, LARGEST = 0.02, 1 / 3  # shares of a picture that `erase` paints over
THINNEST = 0.3  # height over width of the rectangle, or the inverse
TRIES = 10  # until a rectangle fits


def mix(pixels, rng, mixup_alpha, cutmix_alpha, often=1.0):
    """The batch pixels (B, C, H, W) by mixup or by CutMix, each as often as the other; an alpha of 0 switches one off.

    often  the share of batches that are mixed at all

    Returns the pixels, the place of each picture's partner in the batch (None: not mixed), and the share of a
    picture that is its own: what its label is worth; its partner's label is worth the rest.
    """
    ways = [(way, alpha) for way, alpha in ((mixup, mixup_alpha), (cutmix, cutmix_alpha)) if alpha]
    if not ways or rng.random() >= often:
        return pixels, None, 1.0
    way, alpha = ways[rng.integers(len(ways))]
    partners = rng.permutation(len(pixels))
    mixed, share = way(pixels, pixels[partners], rng, alpha)
    return mixed, partners, share


def mixup(pixels, others, rng, alpha):
    """Both pictures at once, one shining through the other: share x + (1 - share) x', share from Beta(alpha, alpha)."""
    share = rng.beta(alpha, alpha)
    return (share * pixels + (1 - share) * others).astype(pixels.dtype), share


def cutmix(pixels, others, rng, alpha):
    """A rectangle of the other picture pasted in: its area 1 - Beta(alpha, alpha), its middle anywhere.

    Returns the pictures and the share that was left of each after the cut at the edge.
    """
    H, W = pixels.shape[2:]
    side = math.sqrt(1 - rng.beta(alpha, alpha))  # of a whole side
    y, x = rng.integers(H), rng.integers(W)
    half_height, half_width = int(H * side) // 2, int(W * side) // 2
    top, bottom = max(y - half_height, 0), min(y + half_height, H)
    left, right = max(x - half_width, 0), min(x + half_width, W)
    pixels = pixels.copy()
    pixels[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
    return pixels, 1 - (bottom - top) * (right - left) / (H * W)


def erase(pixels, rng, often):
    """One rectangle of a picture, of random area and shape, becomes normal noise; `often`: of this share of pictures.

    pixels  (B, C, H, W), normalised: the noise has mean 0 and deviation 1. Returns the same, a copy.
    """
    B, C, H, W = pixels.shape
    pixels = pixels.copy()
    for n in np.flatnonzero(rng.random(B) < often):
        for _ in range(TRIES):
            area = H * W * rng.uniform(SMALLEST, LARGEST)
            shape = math.exp(rng.uniform(math.log(THINNEST), -math.log(THINNEST)))
            height, width = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
            if height < H and width < W:
                top, left = rng.integers(H - height + 1), rng.integers(W - width + 1)
                noise = rng.standard_normal((C, height, width))
                pixels[n, :, top : top + height, left : left + width] = noise
                break
    return pixels
