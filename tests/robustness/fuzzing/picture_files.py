"""Cases of pictures: sound ones of every form, whose pixels are known, damaged ones, and files that are none.

What the package makes of a damaged file that Pillow can still decode must be what Pillow's own functions make of it.
"""

import io
import struct

import numpy as np
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pvt_numpy.pictures.decode import open_image
from pvt_numpy.pictures.processor import preprocess
from tests.pictures.picture_cases import TURNED, encoded, exif, jpeg_claim, png_claim

from .edits import damaged_bytes
from .judge import Case

SMALL = {"size": {"height": 16, "width": 24}}
BEST = {
    "JPEG": {"quality": 100, "subsampling": 0},
    "MPO": {"quality": 100, "subsampling": 0},
    "WEBP": {"lossless": True},
    "TIFF": {"compression": "tiff_lzw"},
}
LOSSY = ("JPEG", "MPO")
FORMATS = {  # the modes that Pillow can write in each
    "JPEG": ("RGB", "L", "CMYK"), "PNG": ("RGB", "L", "1", "P", "RGBA", "LA", "I;16"), "WEBP": ("RGB", "RGBA"),
    "GIF": ("P", "L", "1"), "TIFF": ("RGB", "L", "1", "P", "RGBA", "CMYK", "I;16", "I;16B"), "BMP": ("RGB", "L", "1"),
    "PPM": ("RGB", "L", "1"), "TGA": ("RGB", "L"), "ICO": ("RGB",), "PCX": ("RGB", "L"), "SGI": ("RGB", "L", "RGBA"),
    "DIB": ("RGB", "L", "1"), "DDS": ("RGB", "RGBA", "L"), "JPEG2000": ("RGB", "L", "RGBA"), "MPO": ("RGB", "L"),
    "QOI": ("RGB", "RGBA"),
}  # fmt: skip
Image.init()
FORMATS = {name: modes for name, modes in FORMATS.items() if name in Image.SAVE}  # that this Pillow can write
WITH_EXIF = ("JPEG", "PNG", "WEBP", "TIFF")
SUFFIXES = (".jpg", ".png", ".gif", ".txt", ".safetensors", "", ".JPG.exe")


def opened(path):
    """What the package makes of a picture: at its own size, and as the model reads it."""
    return open_image(path), preprocess(path, **SMALL)


def in_order(result):
    """Raises AssertionError unless the result has the type, shape and values that every picture's has."""
    image, pixels = result
    assert image.mode == "RGB"
    assert (pixels.shape, pixels.dtype) == ((1, 3, 16, 24), np.float32)
    assert np.isfinite(pixels).all()
    again = preprocess(np.asarray(image), input_data_format="channels_last", **SMALL)
    assert np.array_equal(pixels, again), "the model reads another picture than open_image shows"


# Sound pictures


@st.composite
def sound_pictures(draw):
    """A picture of any form in any format, whatever its suffix; it must come out upright, with its own colours."""
    format = draw(st.sampled_from(list(FORMATS)))
    mode = draw(st.sampled_from(FORMATS[format]))
    height, width = draw(st.sampled_from([(1, 1), (1, 7), (7, 1), (3, 4), (5, 5)]) | st.just((12, 9)))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    blocks = rng.integers(0, 2 if mode == "1" else 256, (height, width, 4), dtype=np.uint8)
    upright = np.kron(blocks, np.ones((16, 16, 1), np.uint8)) if format in LOSSY else blocks  # that they keep
    orientation = draw(st.integers(1, 8)) if format in WITH_EXIF else 1
    stored = np.ascontiguousarray(TURNED[orientation](upright))
    picture, expected = made(stored, mode), colours(upright, mode)
    options = dict(BEST.get(format, {}))
    if (orientation > 1 or draw(st.booleans())) and format in WITH_EXIF:
        options["exif"] = exif(orientation)
    if format == "TIFF" and mode in ("1", "I;16B"):
        del options["compression"]
    if format == "ICO":
        options |= {"sizes": [picture.size]}
    frames = draw(st.integers(1, 3)) if format in ("GIF", "PNG", "WEBP", "TIFF") and mode in ("RGB", "RGBA", "L") else 1
    if frames > 1:  # the first counts
        others = [Image.new(picture.mode, picture.size, n * 40) for n in range(1, frames)]
        options |= {"save_all": True, "append_images": others}
    name = f"p{draw(st.sampled_from(SUFFIXES))}"
    tolerance = 4 if format in LOSSY else 1 if mode in ("RGBA", "LA") else 0

    def check(result):
        in_order(result)
        pixels = np.asarray(result[0]).astype(int)
        assert pixels.shape == expected.shape, f"{pixels.shape}, expected {expected.shape}"
        most = np.abs(pixels - expected).max()
        assert most <= tolerance, f"colours differ by up to {most}"

    story = f"{format} {mode}, {width} x {height}, orientation {orientation}, {frames} frames, as {name}"
    return Case(story, {name: encoded(picture, format, **options)}, name, opened, check)


def made(values, mode):
    """A Pillow image of `mode` from values (H, W, 4) of 0..255."""
    size = values.shape[1::-1]
    if mode.startswith("I;16"):
        return Image.frombytes(mode, size, wide_grey(values).astype(">u2" if mode == "I;16B" else "<u2").tobytes())
    if mode == "1":
        return Image.fromarray(values[..., 0] * np.uint8(255)).convert("1")
    if mode == "P":
        picture = Image.fromarray(values[..., 0])
        picture.putpalette(palette().ravel().tolist())
        return picture
    if mode == "LA":
        return Image.merge("LA", [Image.fromarray(np.ascontiguousarray(values[..., n])) for n in (0, 3)])
    return Image.frombytes(mode, size, values[..., : {"L": 1, "RGB": 3, "RGBA": 4, "CMYK": 4}[mode]].tobytes())


def wide_grey(values):
    """16 bits from two times 8."""
    return values[..., 0].astype(np.uint16) * 256 + values[..., 1]


def palette():
    """256 colours, all different."""
    n = np.arange(256)
    return np.stack([n, 255 - n, (n * 7) % 256], axis=-1).astype(np.uint8)


def colours(values, mode):
    """The RGB (H, W, 3) that `made(values, mode)` shows."""
    values = values.astype(int)
    grey = np.repeat(values[..., :1], 3, axis=-1)
    if mode.startswith("I;16"):
        return np.repeat(np.rint(wide_grey(values)[..., None] / 257), 3, axis=-1).astype(int)
    if mode == "1":
        return grey * 255
    if mode == "P":
        return palette()[values[..., 0]].astype(int)
    if mode in ("LA", "RGBA"):  # on white
        colour, alpha = (grey if mode == "LA" else values[..., :3]), values[..., 3:]
        return np.rint(255 + alpha / 255 * (colour - 255)).astype(int)
    if mode == "CMYK":
        return np.rint((255 - values[..., :3]) * (255 - values[..., 3:]) / 255).astype(int)
    return values[..., :3] if mode == "RGB" else grey


# Damaged pictures


def _noise(mode):
    return made(np.random.default_rng(1).integers(0, 256, (20, 26, 4), dtype=np.uint8), mode)


def _written(format, mode, **options):
    return encoded(_noise(mode), format, **options)


WHOLE = {
    "JPEG": _written("JPEG", "RGB", exif=exif(6)), "progressive JPEG": _written("JPEG", "RGB", progressive=True),
    "CMYK JPEG": _written("JPEG", "CMYK"), "PNG": _written("PNG", "RGBA", exif=exif(8)),
    "palette PNG": _written("PNG", "P", transparency=3), "16-bit PNG": _written("PNG", "I;16"),
    "GIF": _written("GIF", "P", transparency=7, save_all=True, append_images=[_noise("P").rotate(90)]),
    "WebP": _written("WEBP", "RGBA"), "animated WebP": _written("WEBP", "RGB", save_all=True,
                                                                append_images=[_noise("RGB").rotate(180)]),
    "TIFF": _written("TIFF", "RGB", exif=exif(3)), "LZW TIFF": _written("TIFF", "RGB", compression="tiff_lzw"),
    "JPEG TIFF": _written("TIFF", "RGB", compression="jpeg"), "16-bit TIFF": _written("TIFF", "I;16B"),
    "deflated TIFF": _written("TIFF", "CMYK", compression="tiff_adobe_deflate"), "BMP": _written("BMP", "RGB"),
    **{one: _written(one, "RGB") for one in ("SGI", "DIB", "DDS", "JPEG2000", "MPO", "QOI") if one in FORMATS},
    "PPM": _written("PPM", "RGB"), "ICO": _written("ICO", "RGB", sizes=[(26, 20)]), "TGA": _written("TGA", "RGB"),
}  # fmt: skip


@st.composite
def damaged_pictures(draw):
    """A picture with some of its bytes damaged, or two of them in one file."""
    kind = draw(st.sampled_from(list(WHOLE)))
    data = WHOLE[kind]
    if draw(st.integers(0, 19)) == 0:
        other = draw(st.sampled_from(list(WHOLE)))
        cut = draw(st.integers(0, 60))
        data, story = data[:cut] + WHOLE[other][cut:], f"the first {cut} bytes, then {other}"
    else:
        data, story = draw(damaged_bytes(data, range(2, min(len(data), 120), 3)))
    return pillow_case(f"{kind}, {story}", f"p{draw(st.sampled_from(SUFFIXES))}", data, 512 << 20)


def pillow_case(story, name, data, memory):
    """The Case of a file whose picture must be what Pillow's own functions make of `data`, if they serve: Pillow's
    conversion from 16 bits, which clips, does not."""

    def check(result):
        in_order(result)
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            sixteen = image.mode.startswith(("I", "F"))
            try:
                image = ImageOps.exif_transpose(image)
            except Exception:  # a damaged EXIF block
                return
        assert result[0].size == image.size
        if sixteen:
            return
        if image.has_transparency_data:
            layers = np.asarray(image.convert("RGBA")).astype(float)
            expected = 255 + layers[..., 3:] / 255 * (layers[..., :3] - 255)
        else:
            expected = np.asarray(image.convert("RGB")).astype(float)
        assert np.abs(np.asarray(result[0]) - expected).max() <= 1, "not what Pillow shows"

    return Case(story, {name: data}, name, opened, check, memory)


MAGIC = [
    b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\0\0\0\0WEBPVP8 ", b"II*\0", b"MM\0*", b"BM", b"P6\n",
    b"P4 ", b"Pf\n", b"8BPS", b"\0\0\1\0", b"icns", b"\0\0\0\x0cjP  ", b"qoif", b"DDS ", b"FORM", b"SIMPLE",
    b"%!PS-Adobe", b"\x01\xda", b"#define x_width 9\n", b"/* XPM */", b"\x59\xa6\x6a\x95", b"\0\0\0 ftypavif",
    b"\x0a\x05\x01\x08", b"PK\x03\x04", b"\x80\x02", b"",
]  # fmt: skip


@st.composite
def no_pictures(draw):
    """Bytes that hypothesis makes, with or without the beginning of a picture."""
    magic, rest = draw(st.sampled_from(MAGIC)), draw(st.binary(max_size=120))
    return pillow_case(f"{magic[:12]!r}, then {rest.hex()}", "p.jpg", magic + rest, 512 << 20)


# Pictures that claim to be enormous


def _claims(width, height):
    """name -> file of about a hundred bytes, which says that it has width x height pixels."""
    gif = struct.pack("<HH", width & 0xFFFF, height & 0xFFFF)
    bmp = WHOLE["BMP"]
    tags = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (278, height), (279, 1)]
    tiff = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    tiff += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags) + bytes(4)
    return {
        "PNG": png_claim(width, height), "16-bit PNG": png_claim(width, height, 16, 0),
        "1-bit PNG": png_claim(width, height, 1, 0),
        "JPEG": jpeg_claim(WHOLE["JPEG"], width & 0xFFFF, height & 0xFFFF),
        "GIF": WHOLE["GIF"][:6] + gif + WHOLE["GIF"][10:],
        "BMP": bmp[:18] + struct.pack("<ii", width, height) + bmp[26:], "PPM": b"P6 %d %d 255\n" % (width, height),
        "float PFM": b"Pf\n%d %d\n-1.0\n" % (width, height), "bitmap": b"P4 %d %d\n" % (width, height), "TIFF": tiff,
        "XBM": b"#define x_width %d\n#define x_height %d\nstatic char x[] = {\n0x00" % (width, height),
        "TGA": WHOLE["TGA"][:12] + gif + WHOLE["TGA"][16:],
    }  # fmt: skip


@st.composite
def claims(draw):
    """A file of a hundred bytes that claims to be enormous."""
    side = st.sampled_from([0, 1, 300, 4096, 4097, 9_400, 9_400, 20_000, 20_000, 65_535, 2**31 - 1])
    width, height = draw(side), draw(side)
    kind = draw(st.sampled_from(list(_claims(1, 1))))
    data = _claims(width, height)[kind]
    return pillow_case(f"{kind} of {len(data)} bytes, {width} x {height} pixels", "p.png", data, 400 << 20)


@st.composite
def strips(draw):
    """A real picture of an extreme shape, under a recipe that keeps the shape or does not."""
    thin, long = draw(st.integers(1, 3)), draw(st.integers(1, 20_000) | st.just(20_000))
    width, height = (thin, long) if draw(st.booleans()) else (long, thin)
    recipe = draw(st.sampled_from([{"size": 40}, {"size": {"shortest_edge": 1}}, {"size": {"shortest_edge": 224}},
                                   {"size": {"shortest_edge": 5000}}, {"size": {"max_height": 9, "max_width": 9}},
                                   {"size": {"shortest_edge": 30, "longest_edge": 40}}]))  # fmt: skip
    crop = draw(st.sampled_from([{}, {"do_center_crop": True, "crop_size": 17},
                                 {"do_center_crop": True, "crop_size": 10**6}]))  # fmt: skip
    data = encoded(Image.new("RGB", (width, height), (9, 99, 199)), "PNG")

    def check(pixels):
        assert pixels.dtype == np.float32
        inside = pixels[..., pixels.shape[2] // 2, pixels.shape[3] // 2].ravel()
        expected = (np.array([9, 99, 199]) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        assert np.allclose(inside, expected, atol=1e-5), "the middle has another colour"

    story = f"{width} x {height} pixels, {recipe | crop}"
    return Case(story, {"p.png": data}, "p.png", lambda path: preprocess(path, **recipe, **crop), check,
                memory=1 << 30)  # fmt: skip
