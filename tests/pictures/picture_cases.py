"""Pictures made on the fly, as arrays and as files, for the tests of pictures/ and for fuzzing."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

NOISE = np.random.default_rng(0).integers(0, 256, (61, 87, 3), dtype=np.uint8)
TURNED = {  # how a camera stores the upright picture u (H, W, ...) under each EXIF orientation
    1: lambda u: u,
    2: lambda u: u[:, ::-1],
    3: lambda u: u[::-1, ::-1],
    4: lambda u: u[::-1],
    5: lambda u: u.swapaxes(0, 1),
    6: lambda u: np.rot90(u),
    7: lambda u: u[::-1, ::-1].swapaxes(0, 1),
    8: lambda u: np.rot90(u, -1),
}


def photo(height=61, width=87, channels=3, seed=0):
    """Waves with noise: smooth enough for filters to differ gently, rough enough for them to differ."""
    y, x = np.mgrid[:height, :width][..., None]
    waves = 110 + 70 * np.sin(x / 7 + np.arange(channels)) * np.cos(y / 5)
    noise = np.random.default_rng(seed).normal(0, 25, (height, width, channels))
    return (waves + noise).clip(0, 255).astype(np.uint8)


def encoded(picture, format, **options):
    """The bytes of a file that holds an array or a Pillow image."""
    file = io.BytesIO()
    (Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture).save(file, format, **options)
    return file.getvalue()


def exif(orientation):
    """An EXIF block that says how the camera was held."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def png_claim(width, height, depth=8, colour=2):
    """A PNG of a few bytes that claims to be of any size: decoding it would fail, or fill the memory."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(bytes(99))), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in chunks)


def jpeg_claim(jpeg, width, height):
    """The same JPEG file with another size in its header."""
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]
