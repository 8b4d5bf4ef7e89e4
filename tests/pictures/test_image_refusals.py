"""Pictures and arrays that the image processor must refuse, each with one sentence that names it."""

import contextlib
import io
import os
import threading

import numpy as np
import pytest
from PIL import Image

from pvt_numpy.pictures.decode import open_image
from pvt_numpy.pictures.processor import MAX_RESIZED_PIXELS, preprocess
from pvt_numpy.pictures.recipes import RECIPES
from tests.pictures.picture_cases import NOISE, encoded, jpeg_claim, png_claim


def refused(image, *sentence, error=ValueError, **options):
    with pytest.raises(error) as caught:
        preprocess(image, **options)
    message = str(caught.value)
    assert all(part in message for part in sentence), message
    assert "\n" not in message


# Files


def test_a_missing_file(tmp_path):
    for path in (tmp_path / "no.jpg", "no.jpg"):
        refused(path, f"{path}: found no such file; expected a picture", error=FileNotFoundError)


def test_a_folder(tmp_path):
    refused(tmp_path, f"{tmp_path}: found a folder; expected a picture")


@pytest.mark.parametrize(("content", "sentence"), [
    (b"", "found an empty file (0 bytes)"),
    (b"Dear reader,\nthis is a letter.\n", "found no format of pictures that Pillow knows"),
    (b"\xff\xd8\xff\xe0 and then nothing of a JPEG", "found a damaged, cut-off or unsupported picture"),
])  # fmt: skip
def test_files_that_are_no_pictures(tmp_path, content, sentence):
    path = tmp_path / "letter.jpg"
    path.write_bytes(content)
    refused(path, f"{path}: ", sentence)
    refused(io.BytesIO(content), "the given file: ", sentence)


@pytest.mark.parametrize("options", [{"format": "JPEG"}, {"format": "JPEG", "progressive": True}, {"format": "PNG"}])
def test_a_cut_off_file_is_refused_wherever_it_was_cut(tmp_path, options):
    data = encoded(NOISE, **options)
    path = tmp_path / "cut.jpg"
    for part in (0.01, 0.1, 0.5, 0.9, 0.99):
        path.write_bytes(data[: int(len(data) * part)])
        refused(path, f"{path}: found ")
    path.write_bytes(data[: len(data) // 2])
    refused(path, "damaged, cut-off or unsupported picture (image file is truncated")
    with Image.open(path) as not_yet_decoded:
        refused(not_yet_decoded, f"{path}: found a damaged, cut-off")


def test_damage_anywhere_gives_a_picture_or_a_sentence():
    rng, pictures, sentences = np.random.default_rng(1), 0, 0
    for format in ("JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP"):
        good = np.frombuffer(encoded(NOISE, format), np.uint8)
        for _ in range(25):
            bad = good.copy()
            bad[rng.integers(0, len(bad), 5)] = rng.integers(0, 256, 5)
            bad[rng.integers(0, 100)] ^= 255
            try:  # any other exception, and any warning, fails the test
                assert preprocess(io.BytesIO(bad.tobytes())).shape == (1, 3, 224, 224)
                pictures += 1
            except ValueError:
                sentences += 1
    assert min(pictures, sentences) > 10


@pytest.mark.parametrize("content", [b"letter", encoded(NOISE, "JPEG")])
def test_a_file_opened_as_text(tmp_path, content):
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with open(path, encoding="utf-8") as file:
        refused(file, f"{path}: found a file opened as text; expected binary mode")


@pytest.mark.parametrize("side", [10_000, 60_000])  # Pillow alone only warns about the first
def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path, side):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_claim(side, side))
    refused(path, f"{path}: found a picture of decompression-bomb size; expected at most 89,478,485 pixels")


def test_a_small_file_that_claims_to_be_large(tmp_path):
    """libjpeg fills up what is missing: a file of 1 kB would become a picture of 88 million pixels, and 1.3 GB."""
    jpeg = encoded(NOISE[:8, :8], "JPEG")
    path = tmp_path / "small.jpg"
    path.write_bytes(jpeg_claim(jpeg, 9400, 9400))
    refused(path, f"{path}: ", f"it claims 9400 x 9400 pixels in {len(jpeg)} bytes")
    black = encoded(Image.new("1", (9000, 9000)), "PNG")  # an honest one, as small as any
    assert open_image(io.BytesIO(black)).size == (9000, 9000)


@pytest.mark.skipif(os.name == "nt", reason="devices of Unix")
def test_what_never_ends_is_not_read(monkeypatch):
    refused("/dev/zero", "/dev/zero: found a device; expected a picture")
    monkeypatch.setenv("PVT_NUMPY_MAX_PIXELS", "1000")

    class Endless:
        def read(self, count):
            return bytes(count)

    refused(Endless(), "the given file: found more than 8,000 bytes")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_read_if_somebody_writes_into_it_and_else_refused(tmp_path):
    """A process substitution is one that is read; into one without a writer nobody would ever write."""
    os.mkfifo(tmp_path / "pipe.png")
    refused(tmp_path / "pipe.png", f"{tmp_path / 'pipe.png'}: found a pipe into which nobody writes; expected a pic")
    picture = encoded(Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)), "PNG")
    writer = threading.Thread(target=(tmp_path / "pipe.png").write_bytes, args=[picture])
    writer.start()
    while True:  # until the writer stands at the pipe, where it waits for a reader
        with contextlib.suppress(ValueError):
            assert np.array_equal(np.asarray(open_image(tmp_path / "pipe.png")).ravel(), np.arange(48))
            break
    writer.join()


def test_a_picture_that_was_opened_keeps_its_name(tmp_path):
    """Whoever opened it: what a step of the recipe refuses is called as the user called it."""
    Image.new("RGB", (2, 9000)).save(tmp_path / "strip.png")
    with Image.open(tmp_path / "strip.png") as opened:
        for picture in (opened, open_image(tmp_path / "strip.png")):
            refused(
                picture, f"{tmp_path / 'strip.png'}: found 2 x 9000 pixels, which size", size={"shortest_edge": 224}
            )


def test_the_size_of_a_file_is_looked_at_before_it_is_read(tmp_path):
    path = tmp_path / "large.jpg"
    with open(path, "wb") as file:
        file.truncate(40 << 30)  # which takes no room on the disk
    refused(path, f"{path}: found a file of 42,949,672,960 bytes; expected at most 715,827,880 (PVT_NUMPY_MAX_PIXELS")


def test_the_limit_of_pixels_can_be_raised_and_a_larger_jpeg_is_decoded_at_half_its_size(monkeypatch, tmp_path):
    """A phone's 108 million pixels, here 400 times fewer."""
    smooth = np.asarray(Image.fromarray(NOISE[:6, :5]).resize((500, 600), Image.Resampling.BICUBIC))
    paths = {name: tmp_path / f"a.{name}" for name in ("jpg", "png")}
    Image.fromarray(smooth).save(paths["jpg"], quality=95)
    Image.fromarray(smooth).save(paths["png"])
    whole = open_image(paths["jpg"])
    for limit, size in (("299999", (250, 300)), ("75000", (250, 300)), ("300000", (500, 600))):
        monkeypatch.setenv("PVT_NUMPY_MAX_PIXELS", limit)
        assert open_image(paths["jpg"]).size == size
    assert np.array_equal(open_image(paths["jpg"]), whole)
    monkeypatch.setenv("PVT_NUMPY_MAX_PIXELS", "299999")
    quarters = smooth.reshape(300, 2, 250, 2, 3).mean(axis=(1, 3))
    assert np.abs(np.asarray(open_image(paths["jpg"])) - quarters).max() < 12
    refused(paths["png"], f"{paths['png']}: found a picture of", "at most 299,999 pixels, or 1,199,996 of a JPEG",
            "the environment variable PVT_NUMPY_MAX_PIXELS raises that")  # fmt: skip
    monkeypatch.setenv("PVT_NUMPY_MAX_PIXELS", "74999")
    refused(paths["jpg"], "at most 74,999 pixels")
    for nonsense in ("0", "many", "-5", "1e9"):
        monkeypatch.setenv("PVT_NUMPY_MAX_PIXELS", nonsense)
        refused(paths["jpg"], f"PVT_NUMPY_MAX_PIXELS: found '{nonsense}'; expected a whole number")
    assert Image.MAX_IMAGE_PIXELS == 89_478_485  # as Pillow had it


def test_formats_of_phones_that_pillow_does_not_read_are_called_by_name(tmp_path):
    path = tmp_path / "IMG_0001.HEIC"
    for brand, said in (("heic", "a HEIC picture, which Pillow does not read; expected JPEG: sips -s format jpeg"),
                        ("mif1", "a HEIC picture"), ("avif", "AVIF picture")):  # fmt: skip
        path.write_bytes(b"\0\0\0\x18ftyp" + brand.encode() + b"\0\0\0\0mif1miaf" + bytes(400))
        if brand != "avif" or "AVIF" not in Image.SAVE:
            refused(path, f"{path}: found ", said)


@pytest.mark.parametrize("compression", ["jpeg", "tiff_adobe_deflate"])
def test_a_damaged_tiff_leaves_stderr_alone(capfd, compression):
    """libtiff prints what it finds wrong, past Python."""
    good = encoded(NOISE, "TIFF", compression=compression)
    for at in range(8, len(good), max(1, len(good) // 60)):
        with contextlib.suppress(ValueError):
            open_image(io.BytesIO(good[:at] + b"\xff\xff\xff\xff" + good[at + 4 :]))
    assert capfd.readouterr().err == ""


def test_lines_of_other_threads_arrive_while_a_tiff_is_read(capfd):
    from pvt_numpy.system.cli import complain
    from pvt_numpy.system.quiet import stderr_closed

    with stderr_closed():
        other = threading.Thread(target=complain, args=("job", "in the meantime"))
        other.start()
        os.write(2, b"a C library")
    other.join()
    assert capfd.readouterr().err == "job: error: in the meantime\n"


def test_names_that_no_file_can_have():
    refused("a\0b.jpg", "a\0b.jpg: found a file that cannot be read")


def test_a_crop_as_large_as_memory():
    refused(NOISE, "image: found crop_size=", "expected at most", do_center_crop=True, crop_size=100_000)


def test_kinds_of_pixels_that_have_no_known_white(tmp_path):
    for image in (Image.new("F", (8, 8), 0.5), Image.new("I", (8, 8), 70_000), Image.new("I", (8, 8), -1)):
        path = tmp_path / "measurement.tiff"
        image.save(path)
        refused(path, f"{path}: found ", "not of 8 or 16 bits")
    refused(Image.new("RGB", (0, 5)), "image: found ", "no pixels")


def test_open_image_refuses_alike(tmp_path):
    for source, error, said in ((tmp_path / "no.jpg", FileNotFoundError, "no such file"),
                                (io.BytesIO(), ValueError, "found an empty file"),
                                (b"", ValueError, "source: found bytes; expected a path or a file")):  # fmt: skip
        with pytest.raises(error, match=said):
            open_image(source)


# Shapes


@pytest.mark.parametrize("shape", [(1, 20_000), (20_000, 1)])
def test_a_strip_that_would_explode_in_resizing(shape):
    strip = Image.new("RGB", shape)
    for recipe in ("official", "timm"):
        refused(strip, f"image: found {shape[0]} x {shape[1]} pixels", "expected a result of 1 to", **RECIPES[recipe])
    refused(strip, f"{MAX_RESIZED_PIXELS:,} pixels", size=5000)
    assert preprocess(strip, **RECIPES["hf"]).shape == (1, 3, 224, 224)
    refused(strip, "turn into", size={"max_height": 50, "max_width": 50})  # 50 x 0


def test_a_refused_size_names_the_file(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "small.png")
    with pytest.raises(ValueError, match="small.png: found 4 x 4 pixels"):
        preprocess(tmp_path / "small.png", size={"height": 10**6, "width": 10**6})


def test_results_of_unequal_shape():
    pictures = [np.zeros((30, 40, 3), np.uint8), np.zeros((40, 30, 3), np.uint8)]
    refused(pictures, "images: found results of unequal shape", "crop_size", size={"shortest_edge": 20})


@pytest.mark.parametrize(("array", "sentence"), [
    (np.zeros((5, 6, 7)), "neither end of which is the 1, 3 or 4 channels"),
    (np.zeros((3, 5, 3)), "both ends of which could be the 1, 3 or 4 channels"),
    (np.zeros((1, 5, 4)), "both ends of which could be the 1, 3 or 4 channels"),
])  # fmt: skip
def test_an_ambiguous_channel_axis(array, sentence):
    refused(array, f"image: found shape {array.shape}", sentence, 'expected input_data_format="channels_first"')


# Values


@pytest.mark.parametrize(("image", "sentence"), [
    (np.full((8, 8, 3), np.nan), "image: found NaN or infinite values"),
    (np.full((8, 8, 3), np.inf, np.float32), "image: found NaN or infinite values"),
    (np.zeros(8), "image: found an array of float64 with shape (8,)"),
    (np.zeros((2, 2, 8, 8, 3)), "shape (2, 2, 8, 8, 3)"),
    (np.zeros((0, 8, 3), np.uint8), "shape (0, 8, 3)"),
    (np.zeros((8, 8, 3), complex), "image: found an array of complex128"),
    (np.full((8, 8, 3), "x"), "image: found an array of <U1"),
    (np.full((8, 8, 3), -0.5), "image: found float64 values from -0.5 to -0.5; expected whole numbers 0..255"),
    (np.full((8, 8, 3), 1.5), "image: found float64 values from 1.5 to 1.5"),
    (np.full((8, 8, 3), 1e30), "image: found float64 values from 1e+30"),
    (np.full((8, 8, 3), 300, np.uint16), "image: found uint16 values from 300 to 300"),
    (np.full((8, 8, 4), 1.5), "image: found RGBA values from 1.5 to 1.5; expected 0..1"),
    (np.full((8, 8, 4), -1), "image: found RGBA values from -1 to -1; expected 0..255"),
    (None, "image: found NoneType; expected a path, binary file, Pillow image or array"),
    (b"photo.jpg", "image: found bytes"),
    (7, "image: found int"),
    ([], "images: found an empty list"),
    ([NOISE, [NOISE]], "images[1]: found list"),
    ([NOISE, NOISE * np.nan], "images[1]: found NaN"),
])  # fmt: skip
def test_arrays_and_objects_that_are_no_pictures(image, sentence):
    refused(image, sentence)
