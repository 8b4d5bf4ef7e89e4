"""Any picture becomes an upright Pillow image of 8 bits per channel, or one clear sentence.

Pillow decodes; here are EXIF's orientation, 16 bits, transparency, and all that can be wrong with a file.

Source: transformers' `load_image` and `convert_to_rgb`. Left out: colour profiles, and frames after the first.
"""

import contextlib
import io
import os
import threading
import warnings
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from ..system.checks import wrong
from ..system.files import check_not_dangling, check_not_stand_in
from ..system.quiet import stderr_closed

TRUSTED_PIXELS = 4096 * 4096  # which any file may claim to hold
# Of a file that claims more. An all-black PNG has 8,000; what a cut-off file lacks, some decoders make up.
MOST_PIXELS_PER_BYTE = 10_000

# EXIF orientation says how the camera was held; the transposition that turns the stored rows upright again
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DECODING = threading.Lock()


def open_image(source, do_convert_rgb=True):
    """The picture in a file (a path, or a file opened in binary mode) as a Pillow image: decoded, its first frame,
    turned upright, 8 bits per channel, RGB unless told otherwise. FileNotFoundError or ValueError if it cannot be."""
    if hasattr(source, "read"):
        name = source.name if isinstance(getattr(source, "name", None), str) else "the given file"
    elif isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        check_not_dangling(name)
    else:
        raise wrong("source", type(source).__name__, "a path or a file opened in binary mode")
    try:
        data = source.read() if hasattr(source, "read") else Path(source).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{name}: found no such file; expected a picture") from None
    except UnicodeDecodeError:
        data = "not UTF-8"
    except (OSError, ValueError) as error:  # ValueError for a name that no file can have
        reason = getattr(error, "strerror", None) or error
        found = f"a file that cannot be read ({reason})"
        if os.path.isdir(name) and os.access(name, os.R_OK | os.X_OK):
            found = "a folder"
        raise wrong(name, found, "a picture") from None
    if not isinstance(data, bytes):
        raise wrong(name, "a file opened as text", "binary mode")
    if not data:
        raise wrong(name, "an empty file (0 bytes)", "a picture")
    check_not_stand_in(name, data[:64])

    with _one_sentence(name), Image.open(io.BytesIO(data)) as image:
        if image.format == "EPS":
            raise ValueError("EPS is a program, which Pillow would have Ghostscript run")
        pixels = image.width * image.height
        if pixels > TRUSTED_PIXELS and pixels > MOST_PIXELS_PER_BYTE * len(data):
            raise ValueError(f"it claims {image.width} x {image.height} pixels in {len(data):,} bytes")
        with stderr_closed() if image.format == "TIFF" else contextlib.nullcontext():
            return _upright(image, do_convert_rgb)


def from_pillow(image, name, do_convert_rgb=True):
    """A Pillow image as `open_image` gives it, whoever opened it; `name` is what messages call it."""
    with _one_sentence(name):
        return _upright(image, do_convert_rgb)


@contextlib.contextmanager
def _one_sentence(name):
    """Whatever goes wrong while Pillow decodes becomes one ValueError, and nothing else is printed.

    One picture at a time: what to do with warnings is set for the whole process, so two threads would undo each
    other's setting.
    """
    with _DECODING, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a picture is either good or refused
        warnings.simplefilter("error", Image.DecompressionBombWarning)  # refuse before decoding, not after
        try:
            yield
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            limit = f"at most {Image.MAX_IMAGE_PIXELS:,} pixels (PIL.Image.MAX_IMAGE_PIXELS)"
            raise wrong(name, "a picture of decompression-bomb size", limit) from None
        except UnidentifiedImageError:
            raise wrong(name, "no format of pictures that Pillow knows", "a picture") from None
        except Exception as error:  # damaged files make Pillow raise OSError, SyntaxError, struct.error, KeyError, …
            raise wrong(name, f"a damaged, cut-off or unsupported picture ({error})", "a whole one") from error


def _upright(image, do_convert_rgb):
    """A new Pillow image: decoded, rotated as EXIF says, 8 bits per channel, RGB if asked for."""
    image.load()
    if 0 in image.size:
        raise ValueError("it has no pixels")
    orientation = None
    with contextlib.suppress(Exception):  # a damaged EXIF block says nothing; the pixels are still good
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    image = image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image.copy()
    if image.mode == "F" or image.mode.startswith("I"):
        image = _grey_8_bits(image)
    if do_convert_rgb:
        image = _rgb(image)
    image.info.clear()  # else the same EXIF would rotate it again
    return image


def _grey_8_bits(image):
    """16 bits per pixel to the nearest of 8 (65535 is white). Pillow's own conversion clips everything above 255."""
    grey = np.asarray(image)
    low, high = grey.min(), grey.max()
    if image.mode == "F" or low < 0 or high > 65535:
        raise ValueError(f"grey values of type {grey.dtype} from {low} to {high}, not of 8 or 16 bits")
    return Image.fromarray(((grey.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _rgb(image):
    """RGB; whatever is transparent lies on white, as in transformers."""
    if image.mode in ("LA", "PA", "RGBA", "RGBa") or image.info.get("transparency") is not None:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
