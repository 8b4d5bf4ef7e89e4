"""A picture never comes twice in the same way: random crops, mirror images and colours.

Source: Szegedy et al., "Going Deeper with Convolutions" (2015) for the random resized crop; the colour jitter is
`torchvision.transforms.ColorJitter`'s brightness, contrast and saturation, in this fixed order.
What is done to a whole batch is in `mixing`. Left out: RandAugment; ColorJitter's clipping between the three.
"""

import math

import numpy as np
from PIL import Image

GREY = np.array([0.299, 0.587, 0.114], np.float32)  # how bright red, green and blue look


def augment(pictures, size, rng, smallest=0.35, jitter=0.3):
    """Pictures (B, H, W, 3) uint8 -> (B, size, size, 3) float32 in 0..1, each with its own crop, flip and colours.

    smallest  the least share of the picture's area that a crop aims at; a side that is too long is cut at the edge
    jitter    by how much brightness, contrast and saturation vary around 1
    """
    crops = np.stack([random_resized_crop(picture, size, rng, smallest) for picture in pictures])
    flipped = rng.random(len(crops)) < 0.5
    crops[flipped] = crops[flipped, :, ::-1]
    return jitter_colours(crops.astype(np.float32) / 255, rng, jitter)


def random_resized_crop(picture, size, rng, smallest):
    """A rectangle of random area and of shape 3:4 to 4:3, at a random place, resized to size x size."""
    H, W = picture.shape[:2]
    area = H * W * rng.uniform(smallest, 1)
    shape = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
    width, height = min(W, math.sqrt(area * shape)), min(H, math.sqrt(area / shape))
    left, top = rng.uniform(0, W - width), rng.uniform(0, H - height)
    box = (left, top, left + width, top + height)
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC, box=box))


def jitter_colours(pictures, rng, amount):
    """Each of the three mixes the picture with a duller one: with black, with its mean grey, with its own greys."""
    factors = rng.uniform(1 - amount, 1 + amount, (3, len(pictures), 1, 1, 1)).astype(np.float32)
    brightness, contrast, saturation = factors
    pictures = pictures * brightness
    mean_grey = (pictures.mean(axis=(1, 2)) @ GREY)[:, None, None, None]
    pictures = mean_grey + (pictures - mean_grey) * contrast
    greys = (pictures @ GREY)[..., None]
    return np.clip(greys + (pictures - greys) * saturation, 0, 1)
