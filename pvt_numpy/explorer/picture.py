"""The part of the picture that the model sees, in the picture's own resolution and proportions, as a small JPEG.

The recipe is run again with its sizes scaled up and without rescaling and normalising, so whatever it cuts off is cut
off here too. A picture that was squashed to a square is shown unsquashed: its tokens are then no squares.
"""

import base64
import io
import os

import numpy as np
from PIL import Image

from ..pictures.decode import open_image
from ..pictures.processor import converted, preprocess, rgb_array
from ..pictures.recipes import at_size

LARGEST_INPUT = 512  # pixels on a side that the explorer takes
LONG_SIDE = 768  # pixels of the shown picture
LARGEST_JPEG = 240_000  # bytes
QUALITIES = (88, 76, 60, 40, 20)  # the first that is small enough is taken


def one_picture(image, recipe):
    """The one picture in `image` (a path, a binary file, a Pillow image or an array), as `preprocess` reads it."""
    if isinstance(image, str | os.PathLike) or hasattr(image, "read"):
        return open_image(image, converted(recipe.get("num_channels", 3), recipe["do_convert_rgb"]))
    if isinstance(image, list | tuple) or getattr(image, "ndim", 3) > 3:
        raise ValueError("image: found several pictures; expected one")
    return image


def shown_picture(picture, recipe, H, W):
    """What the model's H x W pixels were made from: (data: URI, width, height, was it squashed)."""
    y = x = max(1.0, LONG_SIDE / max(H, W))
    squashed = False
    if recipe["do_resize"] and "height" in recipe["size"]:
        rows, columns = _pixels(picture, recipe | {"do_resize": False, "do_center_crop": False}).shape[:2]
        ratio = (rows / recipe["size"]["height"]) / (columns / recipe["size"]["width"])
        ratio = min(max(ratio, 1 / 8), 8)  # a strip is shown a little wider than it is
        squashed = abs(ratio - 1) > 0.01
        y, x = y * min(1, ratio), x * min(1, 1 / ratio)
    try:
        pixels = _pixels(picture, at_size(recipe, (round(H * y), round(W * x))) if recipe["do_resize"] else recipe)
    except ValueError:  # the middle of a long strip, and scaled up all of it would be too large
        pixels = _pixels(picture, recipe)
    return *_jpeg(Image.fromarray(pixels)), squashed


def _pixels(picture, recipe):
    """The picture after the recipe's resizing and cutting: uint8 (H, W, 3), or (H, W) if there are no colours; what
    is transparent lies on white."""
    plain = {"do_rescale": False, "do_normalize": False, "data_format": "channels_last"}
    raw = preprocess(picture, **recipe | plain)[0]
    fractions = getattr(picture, "dtype", np.uint8) != np.uint8 and raw.max() <= 1
    raw = np.clip(np.rint(raw * 255 if fractions else raw), 0, 255).astype(np.uint8)
    return rgb_array(raw, "picture") if raw.shape[-1] in (3, 4) else raw[..., 0]


def _jpeg(image):
    """(data: URI, width, height). Nothing else that the picture's file says, such as where it was taken, survives."""
    for quality in QUALITIES:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality, optimize=True)
        if file.tell() <= LARGEST_JPEG:
            break
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii"), *image.size
