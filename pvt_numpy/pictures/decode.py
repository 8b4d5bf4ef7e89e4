"""Any picture becomes an upright Pillow image of 8 bits per channel, or one clear sentence.

Pillow decodes; here are EXIF's orientation, depths above 8 bits, transparency, what Pillow is known to decode wrongly,
and all that can be wrong with a file.

Source: transformers' `load_image` and `convert_to_rgb`. Left out: colour profiles, frames after the first, and of
16-bit colours the lower 8 bits, which Pillow drops.
"""

import contextlib
import io
import logging
import os
import stat
import threading
import warnings

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL import __version__ as PIL_VERSION

from ..system.checks import wrong
from ..system.files import check_not_dangling, check_not_stand_in
from ..system.quiet import stderr_closed

LIMIT = "PVT_NUMPY_MAX_PIXELS"  # the environment variable that raises (or lowers) `most_pixels`
HALVED = ("JPEG", "MPO")  # can be decoded at half their width and height, which takes a quarter of the memory
TRUSTED_PIXELS = 4096 * 4096  # which any file may claim to hold
# Of a file that claims more. An all-black PNG has 8,000; what a cut-off file lacks, some decoders make up.
MOST_PIXELS_PER_BYTE = 10_000
MOST_BYTES_PER_PIXEL = 8  # 16 bits of red, green, blue and transparency, not compressed

HEIC_TO_JPEG = "sips -s format jpeg A.heic --out A.jpg on a Mac, heif-convert A.heic A.jpg elsewhere"

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
TAGS = ExifTags.Base.__members__
TIFF_TAGS = {"BitsPerSample": (1,), "Compression": 1, "PhotometricInterpretation": 0, "FillOrder": 1,
             "PlanarConfiguration": 1, "ColorMap": (0,), "SampleFormat": (1,), "Predictor": 1}  # fmt: skip
_DECODING = threading.Lock()
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else Python prints what Pillow logs, if nobody else does


def most_pixels():
    """How many pixels a picture may have: 89,478,485, which is Pillow's limit, or what PVT_NUMPY_MAX_PIXELS says.

    A JPEG may have four times as many (a phone's 108 or 200 million). It is then decoded at half its width and height,
    each pixel about the mean of four, so that values differ by some levels from those of the whole picture. A file may
    have 8 bytes for each pixel of the limit.
    """
    told = os.environ.get(LIMIT, "")
    if told and not (told.isdecimal() and 0 < int(told) < 10**12):
        raise wrong(LIMIT, repr(told), "a whole number of pixels, such as 200000000")
    return int(told) if told else Image.MAX_IMAGE_PIXELS or 10**12  # None: whoever set that wants no limit


def open_image(source, do_convert_rgb=True):
    """The picture in a file (a path, or a file opened in binary mode) as a Pillow image: decoded, its first frame,
    turned upright, 8 bits per channel, RGB unless told otherwise ("RGBA", or False: as it is), of at most
    `most_pixels()`. FileNotFoundError or ValueError if it cannot be."""
    if hasattr(source, "read"):
        name = source.name if isinstance(getattr(source, "name", None), str) else "the given file"
        name = "standard input" if name == "<stdin>" else name
    elif isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        check_not_dangling(name)
    else:
        raise wrong("source", type(source).__name__, "a path or a file opened in binary mode")
    most = most_pixels()
    try:
        file = _read(source, name, most * MOST_BYTES_PER_PIXEL)
    except FileNotFoundError:
        raise FileNotFoundError(f"{name}: found no such file; expected a picture") from None
    except UnicodeDecodeError:
        raise wrong(name, "a file opened as text", "binary mode") from None
    except (OSError, ValueError) as error:  # ValueError for a name that no file can have, or from below
        if str(error).startswith(f"{name}: "):
            raise
        found = f"a file that cannot be read ({getattr(error, 'strerror', None) or error})"
        if os.path.isdir(name) and os.access(name, os.R_OK | os.X_OK):
            found = "a folder"
        raise wrong(name, found, "a picture") from None
    check_not_stand_in(name, bytes(file.getbuffer()[:64]))

    with _one_sentence(name, most, bytes(file.getbuffer()[:64])), Image.open(file) as image:
        if image.format == "EPS":
            raise ValueError("EPS is a program, which Pillow would have Ghostscript run")
        pixels = image.width * image.height
        if pixels > most and image.format not in HALVED:
            raise Image.DecompressionBombError
        size = file.getbuffer().nbytes
        if pixels > TRUSTED_PIXELS and pixels > MOST_PIXELS_PER_BYTE * size:
            raise ValueError(f"it claims {image.width} x {image.height} pixels in {size:,} bytes")
        if pixels > most:
            image.draft(None, (image.width // 2, image.height // 2))
        Image.MAX_IMAGE_PIXELS = most  # of a picture within the file, too
        with stderr_closed() if image.format == "TIFF" else contextlib.nullcontext():
            picture = _upright(image, do_convert_rgb)
    picture.filename = str(name)  # as Pillow calls it, for messages
    return picture


def _read(source, name, most):
    """A file in memory with the bytes of a path or an open file, which are `most` at most."""
    pipe = False
    with contextlib.ExitStack() as opened:
        if not hasattr(source, "read"):
            facts = os.stat(source)  # before it is read, for of some devices the reading never ends
            if stat.S_ISCHR(facts.st_mode) or stat.S_ISBLK(facts.st_mode):
                raise wrong(name, "a device", "a picture")
            if facts.st_size > most:
                raise wrong(name, f"a file of {facts.st_size:,} bytes", f"at most {most:,} ({LIMIT} raises that)")
            pipe = stat.S_ISFIFO(facts.st_mode)
            source = opened.enter_context(open(source, "rb", opener=_without_waiting if pipe else None))
        file = io.BytesIO()
        while part := source.read(1 << 20):
            if not isinstance(part, bytes):
                raise wrong(name, "a file opened as text", "binary mode")
            file.write(part)
            if file.tell() > most:
                raise wrong(name, f"more than {most:,} bytes", f"at most as many ({LIMIT} raises that)")
    if not file.tell():
        raise wrong(name, "a pipe into which nobody writes" if pipe else "an empty file (0 bytes)", "a picture")
    file.seek(0)
    return file


def _without_waiting(path, flags):
    """An opener for a pipe: to open it does not wait for somebody who writes into it, to read from it then does."""
    handle = os.open(path, flags | os.O_NONBLOCK)
    os.set_blocking(handle, True)
    return handle


def from_pillow(image, name, do_convert_rgb=True):
    """A Pillow image as `open_image` gives it, whoever opened it; `name` is what messages call it."""
    with _one_sentence(name):
        return _upright(image, do_convert_rgb)


@contextlib.contextmanager
def _one_sentence(name, most=None, head=b""):
    """Whatever goes wrong while Pillow decodes becomes one ValueError, and nothing else is printed; only the
    MemoryError of a picture for which memory lacks stays one. `most`: pixels; `head`: the file's first bytes.

    One picture at a time: what to do with warnings, and Pillow's limit, are set for the whole process, so two threads
    would undo each other's setting.
    """
    with _DECODING, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a picture is either good or refused
        warnings.simplefilter("error", Image.DecompressionBombWarning)  # refuse before decoding, not after
        pillows = Image.MAX_IMAGE_PIXELS
        try:
            if most:
                Image.MAX_IMAGE_PIXELS = 4 * most
            yield
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            most = most or pillows
            limit = f"at most {most:,} pixels, or {4 * most:,} of a JPEG (the environment variable {LIMIT} raises that)"
            raise wrong(name, "a picture of decompression-bomb size", limit) from None
        except UnidentifiedImageError:
            raise wrong(name, *_unidentified(head)) from None
        except MemoryError:
            raise
        except Exception as error:  # damaged files make Pillow raise OSError, SyntaxError, struct.error, KeyError, …
            raise wrong(name, f"a damaged, cut-off or unsupported picture ({error})", "a whole one") from error
        finally:
            Image.MAX_IMAGE_PIXELS = pillows


def _unidentified(head):
    """What a file that Pillow does not open seems to be, by its first bytes; and what would serve."""
    brands = head[8:] if head[4:8] == b"ftyp" else b""
    if b"avif" in brands:
        return f"an AVIF picture, which this Pillow ({PIL_VERSION}) does not read", "pip install --upgrade pillow"
    if any(brand in brands for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")):
        return "a HEIC picture, which Pillow does not read", f"JPEG: {HEIC_TO_JPEG}"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "a TIFF whose kind of samples Pillow does not read", "grey or colours of 8 or 16 bits"
    return "no format of pictures that Pillow knows", "a picture"


def _upright(image, do_convert_rgb):
    """A new Pillow image: decoded, rotated as EXIF says, 8 bits per channel, RGB if asked for."""
    stored = image.tile[0][3] if getattr(image, "tile", None) else None  # how the file holds a pixel, in Pillow's words
    stored = stored[0] if isinstance(stored, tuple) else stored
    black, white = _black_and_white(image, stored)
    image.load()
    if 0 in image.size:
        raise ValueError("it has no pixels")
    orientation = None
    with contextlib.suppress(Exception):  # a damaged EXIF block says nothing; the pixels are still good
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    key = image.info.get("transparency")
    upright = image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image
    if image.mode == "F" or image.mode.startswith("I"):
        upright = _grey_8_bits(upright, black, white, key if do_convert_rgb else None)
    elif stored in ("L;2", "L;4") and isinstance(key, int) and key < 16:
        upright = upright.copy()  # Pillow spreads the pixels over 0..255, but not the one that is transparent
        upright.info["transparency"] = key * 255 // (2 ** int(stored[2]) - 1)
    if do_convert_rgb:
        upright = upright.convert("RGBA") if do_convert_rgb == "RGBA" else _rgb(upright)
    elif upright is image:
        upright = image.copy()
    upright.info.clear()  # else the same EXIF would rotate it again
    return upright


def _black_and_white(image, stored):
    """The grey values of black and white in a picture that has more than 8 bits, from its file, not yet decoded.

    Raises ValueError for the kinds of file of which Pillow, from 10.1 to 13, makes other pixels than they hold.
    """
    wide = image.mode == "F" or image.mode.startswith("I")
    if image.format == "PNG" and stored == "RGB;16B" and "transparency" in image.info:
        raise ValueError("colours of 16 bits, one of which is transparent")
    if image.format == "TIFF":
        return _tiff_black_and_white(image)
    if image.format == "JPEG2000" and stored and (bits := _jpeg_2000_bits(image.fp)) > 8:
        if not wide:
            raise ValueError(f"JPEG 2000 of {bits} bits, whose white Pillow makes black")
        return 0, 65536 - (1 << (16 - bits))  # it puts fewer than 16 bits on top
    if wide and image.format not in (None, "PNG", "PPM", "JPEG2000"):
        raise ValueError(f"{image.format} of more than 8 bits, whose white is not known")
    return 0, 65535


def _tiff_black_and_white(image):
    """The same of a TIFF, by its tags."""
    tag = {name: image.tag_v2.get(TAGS[name], default) for name, default in TIFF_TAGS.items()}
    bits, kind, raw = max(tag["BitsPerSample"]), tag["PhotometricInterpretation"], tag["Compression"] == 1
    planes, plain = tag["PlanarConfiguration"] == 2, bits == 8 and kind > 0 and tag["FillOrder"] == 1
    faults = {
        "samples with a sign, a fraction or above 16 bits, not of 8 or 16 bits": max(*tag["SampleFormat"], bits / 16)
        > 1,
        "planes of samples that are not plain 8 bits": planes and raw and not plain,
        "a plane of transparency": planes and image.mode in ("LA", "La", "PA"),
        "YCbCr that is not compressed": raw and kind == 6,
        "a predictor for PackBits": tag["Compression"] == 32773 and tag["Predictor"] > 1,
        "a colour map of 8 bits": kind == 3 and 0 < max(tag["ColorMap"]) < 256,
    }
    for fault in filter(faults.get, faults):
        raise ValueError(f"a TIFF with {fault}, which Pillow would decode wrongly; save it as PNG")
    white = 2**bits - 1
    return (white, 0) if kind == 0 else (0, white)  # 0: white is zero, which Pillow turns round in 8 bits alone


def _jpeg_2000_bits(file):
    """The most bits that a sample of a JPEG 2000 has: its SIZ segment, 38 bytes long, lists 3 bytes a channel."""
    file.seek(0)
    data = file.read()
    at = data.index(b"\xff\x4f\xff\x51") + 4
    channels = int.from_bytes(data[at + 36 : at + 38], "big")
    return max(1 + (depth & 127) for depth in data[at + 38 : at + 38 + 3 * channels : 3])


def _grey_8_bits(image, black, white, key):
    """The nearest of 8 bits to values between `black` and `white` (which Pillow's own conversion would clip); what has
    the value `key`, unless that is None, is transparent."""
    grey = np.asarray(image)
    low, high = grey.min(), grey.max()
    if image.mode == "F" or low < min(black, white) or high > max(black, white):
        raise ValueError(f"grey values of type {grey.dtype} from {low} to {high}, not of 8 or 16 bits")
    span = abs(white - black)
    eight = (np.abs(grey.astype(np.int32) - black) * np.uint32(255) + span // 2) // span
    eight = Image.fromarray(eight.astype(np.uint8))
    return eight if key is None else Image.merge("LA", (eight, Image.fromarray(np.uint8(255) * (grey != key))))


def _rgb(image):
    """RGB; whatever is transparent lies on white, as in transformers."""
    if image.has_transparency_data:
        image = image.convert("LA") if image.mode == "La" else image
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
