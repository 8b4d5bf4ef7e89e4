"""The image processor: pixel values against transformers' Pillow processor and against torchvision's definition written
out again, and every kind of picture. All pictures are made here. (What is refused: test_image_refusals.py.)"""

import inspect
import io
import os
import threading

import numpy as np
import pytest
from PIL import Image

from pvt_numpy.pictures.decode import open_image
from pvt_numpy.pictures.processor import preprocess
from pvt_numpy.pictures.recipes import RECIPES
from tests.pictures.picture_cases import TURNED, encoded, exif, photo

RAW = {"do_resize": False, "do_rescale": False, "do_normalize": False, "data_format": "channels_last"}  # only arrange


def raw(image, **options):
    """The picture as preprocess arranges it, before any number changes: (H, W, C)."""
    pixels = preprocess(image, **(RAW | options))
    assert pixels.dtype == np.float32
    return pixels[0]


# Against transformers


@pytest.fixture(scope="module")
def hf():
    module = pytest.importorskip("transformers.models.pvt.image_processing_pil_pvt")

    def process(images, **options):
        options = {"do_convert_rgb": True, "return_tensors": "np"} | options
        return module.PvtImageProcessorPil()(images, **options)["pixel_values"]

    return process


SQUARE = {"height": 32, "width": 40}
HF_OPTIONS = [
    {}, *({"size": SQUARE, "resample": r} for r in range(6)), {"size": 48}, {"size": [40, 33]},
    {"size": {"shortest_edge": 37}}, {"size": {"shortest_edge": 37, "longest_edge": 45}},
    {"size": {"shortest_edge": 37, "longest_edge": 300}}, {"size": {"max_height": 50, "max_width": 50}},
    {"size": SQUARE, "do_center_crop": True, "crop_size": 29},
    {"size": SQUARE, "do_center_crop": True, "crop_size": {"height": 35, "width": 45}},
    {"size": SQUARE, "do_center_crop": True, "crop_size": {"height": 25, "width": 47}},
    {"size": SQUARE, "do_rescale": False}, {"size": SQUARE, "rescale_factor": 1 / 127.5},
    {"size": SQUARE, "do_normalize": False}, {"size": SQUARE, "do_rescale": False, "do_normalize": False},
    {"size": SQUARE, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]},
    {"size": SQUARE, "image_mean": 0.5, "image_std": 0.25},
    {"do_resize": False}, {"do_resize": False, "do_center_crop": True, "crop_size": 64},
]  # fmt: skip
KINDS = {
    "uint8 HWC": photo(),
    "uint8 CHW": np.moveaxis(photo(), -1, 0),
    "uint8 grey": photo(channels=1),
    "uint8 RGBA": photo(channels=4),
    "int64": photo().astype(np.int64),
    "float32 0..255": photo().astype(np.float32),
    "float32 0..1": photo() / np.float32(257),
    "float64 0..1": photo() / 257.0,
    "float32 CHW 0..1": np.moveaxis(photo(), -1, 0) / np.float32(257),
    "float RGBA": photo(channels=4) / np.float32(257),
    "batch": np.stack([photo(seed=1), photo(seed=2)]),
    **{f"Pillow {mode}": Image.fromarray(photo()).convert(mode) for mode in ("1", "L", "P", "CMYK", "YCbCr", "HSV")},
    "Pillow LA": Image.fromarray(photo(channels=4)).convert("LA"),
    "Pillow RGBA": Image.fromarray(photo(channels=4)),
}
UNCONVERTED = {"do_convert_rgb": False, "image_mean": 0.4, "image_std": 0.2}
HF_CASES = {
    **{f"{h}x{w} {options}": (Image.fromarray(photo(h, w)), options)
       for h, w in [(61, 87), (183, 130)] for options in HF_OPTIONS},
    **{f"{kind} {options}": (image, options) for kind, image in KINDS.items()
       for options in [{"size": SQUARE}, {"do_resize": False}, {"size": SQUARE, "do_rescale": False}]},
    **{f"{channels} channels": (photo(channels=channels), UNCONVERTED) for channels in (1, 3, 4)},
}  # fmt: skip


@pytest.mark.torch
@pytest.mark.parametrize(("image", "options"), HF_CASES.values(), ids=HF_CASES)
@pytest.mark.filterwarnings("ignore:.*already lie in 0..1")
def test_pixels_equal_transformers(hf, image, options):
    np.testing.assert_allclose(preprocess(image, **options), hf(image, **options), rtol=1e-6, atol=1e-6)


@pytest.mark.torch
def test_rounding_of_the_longest_edge_equals_transformers(hf):
    for height, width in [(100, 201), (201, 100), (100, 203), (77, 200)]:
        size = {"shortest_edge": 100, "longest_edge": 200}
        assert preprocess(photo(height, width), size=size).shape == hf(photo(height, width), size=size).shape


@pytest.mark.torch
def test_defaults_are_those_of_transformers(hf):
    from transformers.models.pvt.image_processing_pil_pvt import PvtImageProcessorPil

    theirs, ours = PvtImageProcessorPil().to_dict(), inspect.signature(preprocess).parameters
    shared = set(theirs) & set(ours)
    assert {name: ours[name].default for name in shared} == {name: theirs[name] for name in shared}
    assert len(shared) == 8


# Against the official definition: torchvision's Resize, CenterCrop, ToTensor and Normalize, step by step


def torchvision_twin(image, edge, crop=224):
    width, height = image.size
    if width <= height:
        width, height = edge, int(edge * height / width)
    else:
        width, height = int(edge * width / height), edge
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    top, left = int(round((height - crop) / 2.0)), int(round((width - crop) / 2.0))
    x = np.array(image.crop((left, top, left + crop, top + crop))).transpose(2, 0, 1) / 255.0
    return (x - np.reshape([0.485, 0.456, 0.406], (3, 1, 1))) / np.reshape([0.229, 0.224, 0.225], (3, 1, 1))


@pytest.mark.parametrize(("recipe", "edge"), [("official", 256), ("timm", 248)])
@pytest.mark.parametrize("shape", [(256, 259), (331, 256), (100, 150), (301, 300), (256, 257), (400, 401)])
def test_recipes_official_and_timm(recipe, edge, shape):
    image = Image.fromarray(photo(*shape))
    expected = torchvision_twin(image, edge)[None]
    np.testing.assert_allclose(preprocess(image, **RECIPES[recipe]), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("recipe", "resample"), [("hf", Image.Resampling.BICUBIC), ("hf-bilinear", 2)])
def test_recipes_hf(recipe, resample):
    squashed = np.array(Image.fromarray(photo()).resize((224, 224), resample))
    expected = (squashed / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(preprocess(photo(), **RECIPES[recipe])[0], expected.transpose(2, 0, 1), atol=1e-6)


def test_a_crop_larger_than_the_picture_is_filled_with_black():
    white = np.full((5, 9, 3), 255, np.uint8)
    for offset, above in (("floor", 2), ("round", 1)):  # of 3 black rows
        result = raw(white, do_center_crop=True, crop_size=(8, 4), crop_offset=offset)
        expected = np.pad(white[:, :4], ((above, 3 - above), (0, 0), (0, 0)))
        np.testing.assert_array_equal(result, expected)


# Kinds of input


def test_the_same_picture_by_every_road(tmp_path):
    pixels = photo()
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(pixels, "PNG"))
    with open(path, "rb") as opened:
        files = [str(path), path, opened, io.BytesIO(path.read_bytes()), Image.open(path)]
        together = preprocess([*files, pixels, np.asfortranarray(pixels)])
    assert (together.shape, together.dtype) == ((7, 3, 224, 224), np.float32)
    for one in together:
        np.testing.assert_array_equal(one, preprocess(pixels)[0])
    np.testing.assert_array_equal(together, preprocess(tuple([pixels] * 7)))
    assert together.flags.c_contiguous
    np.testing.assert_array_equal(preprocess(pixels, data_format="channels_last"), np.moveaxis(together[:1], 1, -1))


def test_standard_input_need_not_be_seekable():
    reader, writer = os.pipe()
    data = encoded(photo(), "PNG")

    def feed():
        with open(writer, "wb") as file:
            file.write(data)

    thread = threading.Thread(target=feed)
    thread.start()
    with open(reader, "rb") as file:
        np.testing.assert_array_equal(raw(file), photo())
    thread.join()


def test_grey_arrays_with_and_without_a_channel_axis():
    grey = photo(channels=1)
    for array in (grey, grey[..., 0], grey.transpose(2, 0, 1)):
        np.testing.assert_array_equal(raw(array), np.repeat(grey, 3, axis=2))
        np.testing.assert_array_equal(raw(array, do_convert_rgb=False), grey)


def test_arrays_get_the_channels_that_a_model_of_four_reads():
    """Grey three times over, colours as they are, and a fourth channel that is opaque; what has four keeps them."""
    as_it_is = {"do_resize": False, "do_rescale": False, "do_normalize": False, "input_data_format": "channels_last"}
    given = photo(5, 7)
    for pixels, opaque in ((given, 255), (given / np.float32(255), 1), (given.astype(float), 255)):
        grey, four = pixels[..., :1], np.concatenate([pixels, pixels[..., 1:2]], axis=-1)
        rgba = np.dstack([pixels, np.full((5, 7), opaque, pixels.dtype)])
        expected = (pixels, rgba), (grey, np.dstack([grey, grey, grey, rgba[..., 3:]])), (four, four)
        for array, channels in expected:
            found = preprocess(array, num_channels=4, **as_it_is)[0]
            np.testing.assert_array_equal(found, np.moveaxis(channels, -1, 0))


def test_input_data_format_settles_what_the_shape_leaves_open():
    array = photo(3, 5, 3)
    np.testing.assert_array_equal(raw(array, input_data_format="channels_last"), array)
    np.testing.assert_array_equal(raw(array, input_data_format="channels_first"), array.transpose(1, 2, 0))
    many = photo(20, 30, 7)  # a model with num_channels=7: resized one channel at a time
    options = {"input_data_format": "channels_last", "size": (10, 12), "image_mean": 0.5, "image_std": 0.5}
    result = preprocess(many, **options)
    assert result.shape == (1, 7, 10, 12)
    np.testing.assert_array_equal(result[:, 6:], preprocess(many[..., 6:], do_convert_rgb=False, **options))


def test_fractions_are_not_rescaled_twice_in_silence():
    fractions = photo() / np.float32(255)
    with pytest.warns(UserWarning, match="already lie in 0..1.*do_rescale=False"):
        twice = preprocess(fractions)
    np.testing.assert_allclose(preprocess(fractions, do_rescale=False), preprocess(photo()), atol=0.02)
    assert np.abs(twice - preprocess(photo())).max() > 1


def test_inputs_stay_as_they_are():
    for orientation in (1, 6):
        stored = Image.open(io.BytesIO(encoded(photo(), "PNG", exif=exif(orientation))))
        stored.load()
        before = stored.tobytes(), stored.size, stored.mode, dict(stored.info)
        for convert in (True, False):
            preprocess(stored, do_convert_rgb=convert)
            assert before == (stored.tobytes(), stored.size, stored.mode, stored.info)
    for array in (photo(), photo(channels=4), photo().astype(np.float32), photo() / 257.0):
        copy = array.copy()
        array.flags.writeable = False
        preprocess(array, do_rescale=False)
        result = preprocess(array, do_convert_rgb=False, **RAW)
        np.testing.assert_array_equal(array, copy)
        assert not np.shares_memory(result, array)
    assert RECIPES["hf"]["size"] == {"height": 224, "width": 224}


# Kinds of picture


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("format", ["PNG", "TIFF", "JPEG", "WEBP"])
def test_exif_orientation(orientation, format):
    upright = np.kron(photo(3, 4), np.ones((16, 16, 1), np.uint8))  # blocks, which JPEG keeps
    best = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(format, {})
    data = encoded(np.ascontiguousarray(TURNED[orientation](upright)), format, exif=exif(orientation), **best)
    for opened in (io.BytesIO, lambda data: Image.open(io.BytesIO(data)), lambda data: open_image(io.BytesIO(data))):
        np.testing.assert_allclose(raw(opened(data)), upright, atol=3 if format == "JPEG" else 0)  # not turned twice


def test_damaged_exif_leaves_the_picture_alone():
    for tags in (exif(99), b"Exif\0\0garbage", exif(6)[:-9]):
        np.testing.assert_allclose(raw(io.BytesIO(encoded(photo(), "PNG", exif=tags))), photo())


@pytest.mark.parametrize(("format", "mode"), [("PNG", "I;16"), ("TIFF", "I;16"), ("TIFF", "I;16B"), ("PPM", "I")])
def test_sixteen_bits_are_scaled_not_clipped(format, mode):
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    sixteen = Image.fromarray(levels * 257)
    if mode == "I;16B":
        sixteen = Image.frombytes("I;16B", (16, 16), (levels * 257).astype(">u2").tobytes())
    data = encoded(sixteen.convert("I") if mode == "I" else sixteen, format)
    assert Image.open(io.BytesIO(data)).mode in (mode, "I")  # Pillow before 10.3 opens such PNG files as I
    np.testing.assert_array_equal(raw(io.BytesIO(data)), np.repeat(levels[..., None], 3, axis=2))
    np.testing.assert_array_equal(raw(io.BytesIO(data), do_convert_rgb=False), levels[..., None])
    nearest = raw(Image.fromarray(np.uint16([[0, 128, 129, 385, 386, 65406, 65407, 65535]])))[0, :, 0]
    np.testing.assert_array_equal(nearest, [0, 0, 1, 1, 2, 254, 255, 255])


def test_transparency_lies_on_white():
    rgba = np.zeros((2, 3, 4), np.uint8)
    rgba[..., 0], rgba[..., 3] = 200, [[0, 128, 255], [255, 128, 0]]
    expected = 255 + (rgba[..., 3:] / 255) * (rgba[..., :3] - 255.0)
    for image in (rgba, Image.fromarray(rgba), io.BytesIO(encoded(rgba, "PNG")), Image.fromarray(rgba).convert("RGBa")):
        options = {"input_data_format": "channels_last"} if image is rgba else {}
        np.testing.assert_allclose(raw(image, **options), expected, atol=1)
    la = Image.merge("LA", [Image.fromarray(rgba[..., channel]) for channel in (0, 3)])
    np.testing.assert_allclose(raw(la)[..., 0], expected[..., 0], atol=1)


def test_palettes():
    picture = Image.fromarray(np.uint8([[0, 1, 2]]))
    picture.putpalette([10, 20, 30, 200, 0, 0, 0, 0, 250])
    colours = np.array([[10, 20, 30], [200, 0, 0], [0, 0, 250]])
    np.testing.assert_array_equal(raw(io.BytesIO(encoded(picture, "PNG")))[0], colours)
    one_hole = raw(io.BytesIO(encoded(picture, "GIF", transparency=1)))[0]
    np.testing.assert_array_equal(one_hole, [[10, 20, 30], [255, 255, 255], [0, 0, 250]])
    by_degrees = raw(io.BytesIO(encoded(picture, "PNG", transparency=bytes([255, 0, 128]))))[0]
    np.testing.assert_allclose(by_degrees, [[10, 20, 30], [255, 255, 255], [127, 127, 252]], atol=1)


def test_cmyk():
    cyan_magenta_black_none = [255, 0, 0, 0, 0, 255, 0, 0, 0, 0, 0, 255, 0, 0, 0, 0]
    inks = Image.frombytes("CMYK", (4, 1), bytes(cyan_magenta_black_none))
    colours = [[0, 255, 255], [255, 0, 255], [0, 0, 0], [255, 255, 255]]
    np.testing.assert_array_equal(raw(io.BytesIO(encoded(inks, "TIFF")))[0], colours)
    jpeg = encoded(inks.resize((64, 16), 0), "JPEG", quality=100)
    np.testing.assert_allclose(raw(io.BytesIO(jpeg))[8, 8::16], colours, atol=4)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animated_files_show_their_first_frame(format):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    np.testing.assert_array_equal(raw(io.BytesIO(data)), np.full((8, 8, 3), [255, 0, 0]))


def test_open_image_gives_rgb_at_its_own_size(tmp_path):
    path = tmp_path / "grey.png"
    path.write_bytes(encoded(photo(channels=1)[..., 0], "PNG"))
    assert (open_image(path).mode, open_image(path).size) == ("RGB", (87, 61))
    assert open_image(path, do_convert_rgb=False).mode == "L"
