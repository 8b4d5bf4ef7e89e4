"""The image processor: a picture in any common form becomes the float32 numbers that the model reads.

Pillow decodes (`decode`) and resizes; the rest is arranging: crop, rescale, normalise.
Inside, a picture is an array (H, W, C); `preprocess` gives (B, C, H, W), as in PyTorch.

Source: transformers' `PvtImageProcessorPil` and the evaluation transform of the official PVT repository (torchvision's
Resize and CenterCrop). If the two disagree there is an option, and `recipes` names the published combinations.
Left out of `preprocess`: padding to a common size, which `pad` does with its results.
"""

import os
import warnings

import numpy as np
from PIL import Image

from ..system.checks import counted, wrong
from .decode import from_pillow, open_image
from .recipes import BICUBIC, IMAGENET_MEAN, IMAGENET_STD, SIZE_224, check_options, size_dict, target_size

MAX_RESIZED_PIXELS = 4096 * 4096  # far above any input of these models; a strip of 1 x 20,000 would become more


def preprocess(
    images, *,
    do_resize=True, size=SIZE_224, resample=BICUBIC,
    do_center_crop=False, crop_size=None, crop_offset="floor",
    do_rescale=True, rescale_factor=1 / 255,
    do_normalize=True, image_mean=IMAGENET_MEAN, image_std=IMAGENET_STD,
    do_convert_rgb=True, num_channels=3, data_format="channels_first", input_data_format=None,
):  # fmt: skip
    """Pixel values for the model: (B, C, H, W) float32. The defaults are Hugging Face's.

    images             a path, a binary file, a Pillow image, an array (HWC, CHW or HW; a fourth axis in front is a
                       batch), or a list of these
    do_…               whether a step is taken; the order is resize, crop, rescale, normalise
    size               {"height", "width"}: squash; {"shortest_edge"}: keep the shape; also n, (height, width),
                       {"shortest_edge", "longest_edge"} and {"max_height", "max_width"}
    resample           Pillow's filter: 2 bilinear, 3 bicubic
    crop_size          as size, but height and width only; a smaller picture gets black edges
    crop_offset        half of an odd margin: "floor" (Hugging Face) or "round" (torchvision: official and timm)
    rescale_factor     turns 0..255 into 0..1; pass do_rescale=False for arrays that are already there
    image_mean, _std   one number per channel, or one for all; x becomes (x - mean) / std
    do_convert_rgb     grey and palette become RGB, transparent parts white; False keeps the channels there are
    num_channels       of the model: 3: as do_convert_rgb says; 1: pictures become grey; 4: RGBA, opaque if nothing in
                       them is transparent; any other number only arrays have
    data_format        "channels_last" gives (B, H, W, C)
    input_data_format  at which end of an array's shape the channels are, if the shape leaves that open

    >>> preprocess(np.zeros((300, 400, 3)), size={"shortest_edge": 256}, do_center_crop=True, crop_size=224).shape
    (1, 3, 224, 224)
    """
    check_options({name: value for name, value in locals().items() if name != "images"})
    batch = []
    for name, image in _named(images):
        pixels = _to_pixels(image, name, converted(num_channels, do_convert_rgb), num_channels, input_data_format)
        if do_resize:
            pixels = resize(pixels, size, resample, name)
        if do_center_crop:
            pixels = center_crop(pixels, crop_size, crop_offset, name)
        if do_rescale:
            pixels = rescale(pixels, rescale_factor, name)
        if do_normalize:
            pixels = normalize(pixels, image_mean, image_std)
        batch.append(pixels.astype(np.float32))

    shapes = sorted({pixels.shape for pixels in batch})
    if len(shapes) > 1:
        found = f"results of unequal shape (height, width, channels) {shapes[0]} and {shapes[-1]}"
        raise wrong("images", found, "equal ones: give size as height and width, or a crop_size")
    batch = np.stack(batch)
    return batch if data_format == "channels_last" else np.ascontiguousarray(np.moveaxis(batch, -1, 1))


# The four steps, on one picture (H, W, C)


def resize(pixels, size, resample, name="image"):
    """Pillow's resize, which works on 8 bits: floats 0..1 go through 0..255 and back, as in transformers."""
    height, width = target_size(*pixels.shape[:2], size)
    if not 0 < height * width <= MAX_RESIZED_PIXELS:
        found = f"{pixels.shape[1]} x {pixels.shape[0]} pixels, which size={size} would turn into {width} x {height}"
        raise wrong(name, found, f"a result of 1 to {MAX_RESIZED_PIXELS:,} pixels")
    eight_bits, were_fractions = _to_8_bits(pixels, name)
    channels = pixels.shape[2]
    # Pillow knows pictures of 3 and 4 channels (and weighs colours by the fourth); others go one channel at a time
    parts = [eight_bits] if channels in (3, 4) else list(np.moveaxis(eight_bits, -1, 0))
    parts = [np.asarray(Image.fromarray(part).resize((width, height), resample)) for part in parts]
    resized = parts[0] if channels in (3, 4) else np.stack(parts, axis=-1)
    return rescale(resized, 1 / 255) if were_fractions else resized


def _to_8_bits(pixels, name):
    """The picture as uint8, and whether it was fractions 0..1 before."""
    if pixels.dtype == np.uint8:
        return pixels, False
    low, high = pixels.min(), pixels.max()
    if low >= 0 and high <= 255 and np.allclose(pixels, pixels.astype(int)):
        return pixels.astype(np.uint8), False
    if low >= 0 and high <= 1:
        return (pixels.astype(np.float64) * 255).astype(np.float32).astype(np.uint8), True
    expected = "whole numbers 0..255 or fractions 0..1, which are what can be resized"
    raise wrong(name, f"{pixels.dtype} values from {low} to {high}", expected)


def center_crop(pixels, crop_size, crop_offset="floor", name="image"):
    """The middle of the picture; a picture smaller than the crop stands in the middle of black.

    >>> center_crop(np.arange(7).reshape(1, 7, 1), (1, 4)).ravel()  # a margin of 3: 1 left, 2 right
    array([1, 2, 3, 4])
    >>> center_crop(np.arange(7).reshape(1, 7, 1), (1, 4), "round").ravel()  # torchvision: 2 left, 1 right
    array([2, 3, 4, 5])
    """
    crop_size = size_dict("crop_size", crop_size)
    height, width = crop_size["height"], crop_size["width"]
    if height * width > MAX_RESIZED_PIXELS:
        raise wrong(name, f"crop_size={crop_size}", f"at most {MAX_RESIZED_PIXELS:,} pixels")
    top, left = (_offset(margin, crop_offset) for margin in (pixels.shape[0] - height, pixels.shape[1] - width))
    inside = pixels[max(top, 0) : top + height, max(left, 0) : left + width]
    black = np.zeros((height, width, pixels.shape[2]), pixels.dtype)
    y, x = max(-top, 0), max(-left, 0)
    black[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    return black


def _offset(margin, crop_offset):
    """Pixels cut in front; below 0, black pixels added there."""
    if crop_offset == "floor":
        return margin // 2
    return round(margin / 2) if margin >= 0 else -(-margin // 2)


def rescale(pixels, factor, name="image"):
    """Multiplied in float64 and rounded once to float32, as in transformers."""
    if pixels.dtype.kind == "f" and factor < 0.01 and 0 < pixels.max() <= 1:
        found = f"{name}: its values already lie in 0..1 and are now multiplied by {factor:.6g} again"
        warnings.warn(f"{found}; pass do_rescale=False to keep them", stacklevel=3)
    return np.multiply(pixels, factor, dtype=np.float64).astype(np.float32)


def normalize(pixels, mean, std):
    """(x - mean) / std, channel by channel, in float32."""
    channels = pixels.shape[-1]
    for name, values in (("image_mean", mean), ("image_std", std)):
        if np.size(values) not in (1, channels):
            raise wrong(name, f"{np.size(values)} values", f"1 or {channels}, one per channel")
    return (pixels.astype(np.float32) - np.float32(mean)) / np.float32(std)


def pad(pictures, size=None, data_format="channels_first"):
    """Pictures (C, H, W), or (H, W, C), with zeros below and on the right: all of one size, by default the largest.

    >>> [one.shape for one in pad([np.ones((3, 2, 5)), np.ones((3, 4, 1))])]
    [(3, 4, 5), (3, 4, 5)]
    """
    axes = (0, 1) if data_format == "channels_last" else (1, 2)
    sizes = [[one.shape[axis] for axis in axes] for one in pictures]
    wanted = [size["height"], size["width"]] if size else np.max(sizes, axis=0, initial=0)
    padded = []
    for one, (height, width) in zip(pictures, sizes, strict=True):
        if height > wanted[0] or width > wanted[1]:
            raise wrong("pad_size", f"{wanted[0]} x {wanted[1]} for a picture of {height} x {width}", "a larger one")
        missing = [(0, 0)] * 3
        missing[axes[0]], missing[axes[1]] = (0, wanted[0] - height), (0, wanted[1] - width)
        padded.append(np.pad(one, missing))
    return padded


# From a picture in any form to an array (H, W, C)


def _named(images):
    """(name for messages, picture) for each picture."""
    if isinstance(images, np.ndarray) and images.ndim == 4:
        images = list(images)
    if not isinstance(images, list | tuple):
        named = os.fspath(images) if isinstance(images, str | os.PathLike) else getattr(images, "filename", None)
        return [(named or "image", images)]
    if not images:
        raise wrong("images", "an empty list", "at least one picture")
    return [(f"images[{i}]", image) for i, image in enumerate(images)]


def converted(num_channels, do_convert_rgb):
    """Into what a picture is decoded for a model of so many channels: True for RGB, "RGBA", or False for as it is."""
    return {1: True, 4: "RGBA"}.get(num_channels, do_convert_rgb)


def _to_pixels(image, name, do_convert_rgb, num_channels, input_data_format):
    if isinstance(image, Image.Image):
        image = from_pillow(image, name, do_convert_rgb)
    elif isinstance(image, str | os.PathLike) or hasattr(image, "read"):
        image = open_image(image, do_convert_rgb)
    elif hasattr(image, "__array__"):
        image = _array_pixels(np.asarray(image), name, do_convert_rgb, input_data_format)
    else:
        raise wrong(name, type(image).__name__, "a path, binary file, Pillow image or array")
    pixels = np.asarray(image)
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    if num_channels == 1 and pixels.shape[2] == 3:
        pixels = _grey(pixels)
    if pixels.shape[2] != num_channels != 3:
        raise wrong(name, f"a picture of {counted(pixels.shape[2], 'channel')}", f"{num_channels}, as the model has")
    return pixels


def _array_pixels(pixels, name, do_convert_rgb, input_data_format):
    if pixels.dtype.kind not in "buif" or pixels.ndim not in (2, 3) or 0 in pixels.shape:
        expected = "numbers in the shape (height, width, channels), (channels, height, width) or (height, width)"
        raise wrong(name, f"an array of {pixels.dtype} with shape {pixels.shape}", expected)
    if not np.isfinite(pixels).all():
        raise wrong(name, "NaN or infinite values", "finite ones")
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    elif _channels_come_first(pixels.shape, name, input_data_format):
        pixels = np.moveaxis(pixels, 0, -1)
    if do_convert_rgb == "RGBA":
        return _rgba_array(pixels)
    return rgb_array(pixels, name) if do_convert_rgb else pixels


def _channels_come_first(shape, name, input_data_format):
    if input_data_format is not None:
        return input_data_format == "channels_first"
    first, last = shape[0] in (1, 3, 4), shape[-1] in (1, 3, 4)
    if first == last:
        reason = "both ends of which could be" if first else "neither end of which is"
        found = f"shape {shape}, {reason} the 1, 3 or 4 channels"
        raise wrong(name, found, 'input_data_format="channels_first" or "channels_last" to say which')
    return first


def _grey(pixels):
    """RGB (H, W, 3) as grey (H, W, 1): 0.299, 0.587 and 0.114 of them, in the 65536ths of which Pillow makes "L"."""
    grey = pixels.astype(np.float64) @ np.array([19595, 38470, 7471]) / 65536
    return (grey if pixels.dtype.kind == "f" else np.floor(grey + 0.5)).astype(pixels.dtype)[..., None]


def _rgba_array(pixels):
    """Grey or RGB with an opaque fourth channel. (Other channel counts stay.)"""
    if pixels.shape[2] not in (1, 3):
        return pixels
    fractions = pixels.dtype.kind == "f" and pixels.max() <= 1
    opaque = np.full((*pixels.shape[:2], 1), 1 if fractions else 255, pixels.dtype)
    return np.concatenate([np.broadcast_to(pixels, (*pixels.shape[:2], 3)), opaque], axis=2)


def rgb_array(pixels, name):
    """Grey three times over; RGBA laid on white. (Other channel counts stay: they have no colours to convert.)"""
    channels = pixels.shape[2]
    if channels == 1:
        return np.repeat(pixels, 3, axis=2)
    if channels != 4:
        return pixels
    white = 1.0 if pixels.dtype.kind == "f" else 255
    if pixels.min() < 0 or pixels.max() > white:
        raise wrong(name, f"RGBA values from {pixels.min()} to {pixels.max()}", f"0..{white:g}")
    alpha = pixels[..., 3:] / white
    blend = alpha * pixels[..., :3] + (1 - alpha) * white
    return blend.astype(pixels.dtype) if pixels.dtype.kind == "f" else np.round(blend).astype(pixels.dtype)
