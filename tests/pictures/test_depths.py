"""Pixels that are known: files put together by hand, of every depth and order that TIFF, PNG and PNM have.

Each must come out as its own samples say, or be refused with a sentence. Pillow's own reading proves nothing here: in
all versions from 10.1 to 13 it is wrong about some of them.
"""

import base64
import io

import numpy as np
import pytest
from PIL import Image, features

from pvt_numpy.pictures.decode import open_image
from pvt_numpy.pictures.processor import preprocess
from tests.pictures.handmade import fits, png, pnm, tiff

H, W = 5, 7  # rows that are no whole number of bytes, whatever the depth
RAW = {"do_resize": False, "do_rescale": False, "do_normalize": False, "data_format": "channels_last"}


def samples(bits, channels, seed=0):
    """Random samples (H, W, channels); the first pixels are black and white, the third and fourth are alike."""
    most = 2**bits - 1
    values = np.random.default_rng([bits, channels, seed]).integers(0, most + 1, (H, W, channels))
    values[0, :2], values[0, 3] = [[0], [most]], values[0, 2]
    return values


def shown(values, bits, alpha=1.0):
    """What fractions of `bits` bits look like on white, 0 to 255: (H, W, 1 or 3) -> (H, W, 3)."""
    colours = np.rint(255 * (alpha * (values / (2**bits - 1)) + 1 - alpha))
    return np.broadcast_to(colours, (H, W, 3))


def cases():
    """name -> (file, its pixels, how far a value may be off: Pillow drops the lower byte of 16-bit colours)."""
    for bits in (1, 2, 4, 8, 12, 16):
        grey, most = samples(bits, 1), 2**bits - 1
        for order in "<>":
            for deflated in (False, True):
                story = f"{bits} bits {order}{' deflated' * deflated}"
                if bits != 12 or order == "<":
                    yield f"TIFF grey {story}", tiff(grey, bits, 1, order, deflated=deflated), shown(grey, bits), 0
                if bits not in (12, 16) or (bits, order) == (16, "<"):
                    white = tiff(grey, bits, 0, order, deflated=deflated)
                    yield f"TIFF white is zero {story}", white, shown(most - grey, bits), 0
        if bits != 12:
            yield f"PNG grey {bits} bits", png(grey, bits, 0), shown(grey, bits), 0
            for key in {0, 1, most, int(grey[0, 2, 0])}:
                keyed = png(grey, bits, 0, tRNS=key.to_bytes(2, "big"))
                yield f"PNG grey {bits} bits without {key}", keyed, np.where(grey == key, 255, shown(grey, bits)), 0
    for bits, off in ((8, 0), (16, 2)):
        four = samples(bits, 4)
        alpha = four[..., 3:] / (2**bits - 1)
        clear = shown(four[..., :3], bits, alpha)
        inks = 255 - shown(255 * (1 - (1 - four[..., :3] / (2**bits - 1)) * (1 - alpha)), 8)
        yield f"PNG RGB {bits} bits", png(four[..., :3], bits, 2), shown(four[..., :3], bits), off
        yield f"PNG RGBA {bits} bits", png(four, bits, 6), clear, off + 1
        yield (
            f"PNG grey and alpha {bits} bits",
            png(four[..., 2:], bits, 4),
            shown(four[..., 2:3], bits, alpha),
            off + 1,
        )
        for order in "<>":
            for planar, deflated in ((1, False), (1, True), (2, True), *[(2, False)] * (bits == 8)):
                story, way = f"{bits} bits {order} {planar} {deflated}", (order, planar, deflated)
                yield f"TIFF RGB {story}", tiff(four[..., :3], bits, 2, *way), shown(four[..., :3], bits), off
                yield f"TIFF RGBA {story}", tiff(four, bits, 2, *way, {338: [2]}), clear, off + 1
                if (order, bits) != (">", 16):  # Pillow 10.1 does not know these
                    yield f"TIFF CMYK {story}", tiff(four, bits, 5, *way), inks, off + 1
    three = samples(8, 3)
    key = three[0, 2].astype(">u2").tobytes()
    keyed = np.where((three == three[0, 2]).all(axis=-1, keepdims=True), 255, three)
    yield "PNG RGB 8 bits without one colour", png(three, 8, 2, tRNS=key), keyed, 0
    colours = np.random.default_rng(1).integers(0, 256, (256, 3))
    for bits in (1, 2, 4, 8):
        index, map16 = samples(bits, 1), (colours[: 2**bits].T * 257).ravel().tolist()
        seen, plte = colours[index[..., 0]], colours[: 2**bits].astype(np.uint8).tobytes()
        yield f"TIFF palette {bits} bits", tiff(index, bits, 3, tags={320: map16}), seen, 0
        alpha = np.arange(2**bits) * 77 % 256
        clear = shown(seen, 8, alpha[index] / 255)
        yield f"PNG palette {bits} bits", png(index, bits, 3, PLTE=plte, tRNS=bytes(alpha.tolist())), clear, 1
    two = samples(8, 2)
    map16 = (colours.T * 257).ravel().tolist()
    clear = shown(colours[two[..., 0]], 8, two[..., 1:] / 255)
    yield "TIFF palette and alpha", tiff(two, 8, 3, tags={320: map16, 338: [2]}), clear, 1
    for most in (1, 3, 100, 255, 256, 1023, 4095, 65535):
        for channels in (1, 3):
            values = samples(16, channels) % (most + 1)
            for plain in (False, True):
                story = f"{'PGM' if channels == 1 else 'PPM'} to {most}{' in digits' * plain}"
                yield story, pnm(values, most, plain), np.broadcast_to(np.rint(values * 255 / most), (H, W, 3)), 1


CASES = {name: rest for name, *rest in cases()}


@pytest.mark.parametrize("name", CASES)
def test_pixels_are_what_the_file_says(name):
    data, expected, off = CASES[name]
    for found in (np.asarray(open_image(io.BytesIO(data))), preprocess(Image.open(io.BytesIO(data)), **RAW)[0]):
        assert found.shape == expected.shape
        assert np.abs(found.astype(int) - expected).max() <= off


FOUR = samples(16, 4)
REFUSED = {
    **{f"TIFF {name} in planes {order}": tiff(values, 16, kind, order, planar=2, tags=tags) for order in "<>"
       for name, values, kind, tags in (("RGB 16", FOUR[..., :3], 2, {}), ("CMYK 16", FOUR, 5, {}),
                                        ("RGBA 16", FOUR, 2, {338: [2]}), ("grey 16", FOUR[..., :1], 1, {}))},
    "TIFF white is zero in a plane": tiff(samples(8, 1), 8, 0, planar=2),
    "TIFF grey and alpha in planes": tiff(samples(8, 2), 8, 1, planar=2, deflated=True, tags={338: [2]}),
    **{f"TIFF signed {bits} {order}": tiff(samples(bits, 1) // 2, bits, 1, order, tags={339: [2]})
       for bits in (8, 16, 32) for order in "<>"},
    **{f"TIFF float {order}": tiff(samples(30, 1), 32, 1, order, tags={339: [3]}) for order in "<>"},
    "TIFF grey 32": tiff(samples(8, 1), 32, 1),
    **{f"TIFF grey {bits} {order}": tiff(samples(bits, 1), bits, 1, order)
       for bits in (6, 9, 10, 14) for order in "<>"},
    "TIFF YCbCr, of which two in four are left out": tiff(samples(8, 3), 8, 6),
    "TIFF with a colour map of 8 bits": tiff(samples(8, 1), 8, 3, tags={320: [*range(256)] * 3}),
    "PNG RGB 16 without one colour": png(FOUR[..., :3], 16, 2, tRNS=FOUR[0, 2, :3].astype(">u2").tobytes()),
    "TIFF of PackBits with a predictor": tiff(samples(8, 1), 8, 1, tags={259: [32773], 317: [2]}),
    "FITS 16": fits(samples(12, 1), 16), "FITS 32": fits(samples(12, 1), 32),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_pillow_reads_wrongly_or_not_is_refused_in_a_sentence(name):
    with pytest.raises(ValueError, match=r"^the given file: found a(?!.*\n).*; expected "):
        open_image(io.BytesIO(REFUSED[name]))


# Two codestreams of 4 pixels and 12 bits, 0, 4095, 2048 and 16: grey, and the same in three channels
GREY_12 = (
    "|4;u>04V?f0000400001000000000000004000010000000000009dD0sm3}3;+NC0RR951ONg5TmS?>VE<$QB>(|Ka%Ew3Wn>^?"
    "c_2@4Wo}APMMofZWpZ<AZ*CwmE;TMR|BwI*0000002lxP|C8U~90n=GCh)i4|Je"
)
COLOURS_12 = (
    "|4;u>051Rl000040000100000000000000400001000000000000RpF0Sf^E3jqQDQUDA90003100aa80smY81VCW_WB?@q0Yh?S"
    "VRU6=AYyqSPjF>!N>D{dAa-SPb7^mGATlmBE;Rp;015yA0000l00IA#-{2qx@th>!ay=K{;2;HuIvnaShzH-`AO->IYA{O^Bmda"
)


@pytest.mark.skipif(not features.check("jpg_2000"), reason="this Pillow was built without JPEG 2000")
def test_jpeg_2000_of_more_than_8_bits():
    """Pillow puts 12 bits of grey on top of 16, and lets white colours overflow to black."""
    grey, colours = (io.BytesIO(base64.b85decode(text)) for text in (GREY_12, COLOURS_12))
    assert np.asarray(open_image(grey))[0].tolist() == [[0] * 3, [255] * 3, [128] * 3, [1] * 3]
    with pytest.raises(ValueError, match="JPEG 2000 of 12 bits, whose white Pillow makes black"):
        open_image(colours)
