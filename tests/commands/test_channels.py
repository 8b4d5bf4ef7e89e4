"""Models of 1, 3, 4 and 6 channels in every command that shows them pictures: they work, or are refused in a line."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pvt_numpy import classify, evaluate, explore, forward, load_model, pipeline, preprocess, save_model, validate
from pvt_numpy.checkpoints.export import export_hf
from tests.checkpoints.models import SMALL_V1, SMALL_V2, make_model
from tests.explorer.explorer_pages import data_of
from tests.pictures.picture_cases import photo
from tests.processes import BALL

RAW = {"do_resize": False, "do_rescale": False, "do_normalize": False, "data_format": "channels_last"}
SIZE = {"size": {"height": 64, "width": 64}}


def files(folder):
    """Mode -> a picture file of it; a palette with a transparent colour, too."""
    colours = Image.fromarray(photo(channels=4))
    palette = Image.fromarray(photo()).quantize(16)
    pictures = {"RGBA": colours, "RGB": colours.convert("RGB"), "L": colours.convert("L"), "LA": colours.convert("LA")}
    for mode, picture in pictures.items():
        picture.save(folder / f"{mode}.png")
    palette.save(folder / "P.png", transparency=3)
    return {mode: folder / f"{mode}.png" for mode in (*pictures, "P")}


def test_what_pictures_become(tmp_path):
    for path in files(tmp_path).values():
        with Image.open(path) as image:
            seen = image.convert("RGBA")
        on_white = Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")
        for convert in (True, False):
            grey, colour = (preprocess(path, num_channels=n, do_convert_rgb=convert, **RAW)[0] for n in (1, 4))
            np.testing.assert_array_equal(grey[..., 0], np.asarray(on_white.convert("L")))
            np.testing.assert_array_equal(colour, np.asarray(seen))
        for as_read in (seen, np.asarray(seen), np.asarray(seen) / np.float32(255)):
            scale = 255 if getattr(as_read, "dtype", None) == np.float32 else 1
            grey, colour = (preprocess(as_read, num_channels=n, **RAW)[0] * scale for n in (1, 4))
            np.testing.assert_allclose(grey[..., 0], np.asarray(on_white.convert("L")), atol=1 if scale > 1 else 0)
            np.testing.assert_allclose(colour, np.asarray(seen), atol=1e-4)
        with pytest.raises(ValueError, match=f"{path.name}: found a picture of 3 channels; expected 6, as the"):
            preprocess(path, num_channels=6, **RAW)
    grey = np.asarray(Image.open(tmp_path / "L.png"))
    np.testing.assert_array_equal(preprocess(grey, num_channels=1, **RAW)[0, ..., 0], grey)
    np.testing.assert_array_equal(preprocess(grey, num_channels=4, **RAW)[0], np.dstack([grey] * 3 + [grey * 0 + 255]))
    many = np.random.default_rng(0).integers(0, 256, (9, 8, 6), np.uint8)
    np.testing.assert_array_equal(preprocess(many, num_channels=6, input_data_format="channels_last", **RAW)[0], many)


def small(n, base=SMALL_V2, **fields):
    config = replace(base, num_channels=n, patch_norm_eps=None)
    return make_model(config, labels=("cat", "dog", "owl", "cow"), **{"preprocessing": SIZE} | fields)


@pytest.mark.parametrize("base", [SMALL_V1, SMALL_V2], ids=["v1", "v2"])
@pytest.mark.parametrize("n", [1, 3, 4])
def test_every_command_works(tmp_path, capsys, base, n):
    pytest.importorskip("matplotlib")
    from pvt_numpy.plots.__main__ import main as plots

    save_model(tmp_path / "m.safetensors", small(n, base))
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    (tmp_path / "photos" / "cat" / "1.jpg").write_bytes(BALL.read_bytes())
    model, given = load_model(tmp_path / "m.safetensors"), ["--model", str(tmp_path / "m.safetensors")]
    assert classify.main([str(BALL), *given, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["predictions"]
    with Image.open(BALL) as image:  # by hand: squashed, 0 to 1, less the average of the means, over that of deviations
        pixels = np.asarray(image.convert({1: "L", 3: "RGB", 4: "RGBA"}[n]).resize((64, 64), Image.Resampling.BICUBIC))
    mean, std = (0.449, 0.226) if n != 3 else (np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]))
    x = ((pixels.reshape(64, 64, n) / 255 - mean) / std).astype(np.float32).transpose(2, 0, 1)[None]
    logits = forward(x, model.params, model.config).logits[0]
    np.testing.assert_allclose([one["logit"] for one in shown], -np.sort(-logits), rtol=1e-3, atol=1e-3)
    assert evaluate.main([str(tmp_path / "photos"), *given]) == 0
    assert ("in grey, means and deviations averaged" in capsys.readouterr().out) == (n == 1)
    assert data_of(explore(BALL, model).html)["predictions"][0]["label"] == shown[0]["label"]
    for figure in ("pyramid", "attention", "rollout"):
        assert plots([figure, str(BALL), *given, "-o", str(tmp_path / "figure.png")]) == 0
    if n == 1:
        assert plots(["kernels", *given, "-o", str(tmp_path / "figure.png")]) == 0


def test_a_model_of_six_channels_is_refused_in_a_line(tmp_path):
    save_model(tmp_path / "m.safetensors", small(6))
    model, given = load_model(tmp_path / "m.safetensors"), ["--model", str(tmp_path / "m.safetensors")]
    for main in (classify.main, evaluate.main):
        with pytest.raises(ValueError, match=r"m\.safetensors: found a model of 6 channels; expected 1, 3 or 4, as"):
            main([str(BALL), *given])
    with pytest.raises(
        ValueError, match="^the model: found a model of 6 channels; expected 1, 3 or 4, which can be shown"
    ):
        explore(BALL, model)
    pytest.importorskip("matplotlib")
    from pvt_numpy.plots.__main__ import main as plots

    with pytest.raises(ValueError, match=r"golf_ball\.jpg: found a picture of 3 channels; expected 6, as the"):
        plots(["pyramid", str(BALL), *given])


def test_what_the_files_say_stays(tmp_path):
    own = SIZE | {"image_mean": [0.4], "image_std": [0.2], "resample": 2}
    export_hf(tmp_path / "hf", small(1, preprocessing=own))
    found = load_model(tmp_path / "hf")
    assert [found.preprocessing[name] for name in ("image_mean", "image_std", "resample", "num_channels")] == [
        [0.4], [0.2], 2, 1]  # fmt: skip
    assert found.origin["recipe"].endswith(", in grey")
    save_model(tmp_path / "m.safetensors", found)
    again = load_model(tmp_path / "m.safetensors")
    assert (again.preprocessing, again.origin["recipe"]) == (found.preprocessing, found.origin["recipe"])


@pytest.mark.torch
@pytest.mark.parametrize("n", [1, 3, 4])
def test_the_pipeline_takes_every_picture_that_classify_takes(tmp_path, n):
    """Also if the folder says how pictures are prepared, which does not say for how many channels."""
    export_hf(tmp_path / "hf", small(n))
    said = {"image_processor_type": "PvtImageProcessor", "size": {"height": 64, "width": 64}, "image_mean": [0.5] * n,
            "image_std": [0.25] * n, "do_convert_rgb": n == 3}  # fmt: skip
    (tmp_path / "hf" / "preprocessor_config.json").write_text(json.dumps(said))
    answer, model = pipeline("image-classification", str(tmp_path / "hf")), load_model(tmp_path / "hf")
    for mode, file in files(tmp_path).items():
        if n == 3 and mode in ("RGBA", "LA", "P"):
            continue  # as transformers' pipeline, ours drops what is transparent; classify lays it on white
        theirs = {one["label"]: one["score"] for one in answer(str(file))}
        ours = {one["label"]: one["probability"] for one in classify.classify(file, model)}
        assert theirs == pytest.approx(ours, abs=1e-6), file


@pytest.mark.torch
def test_validate_compares_six_channels_on_noise(tmp_path, capsys):
    save_model(tmp_path / "m.safetensors", small(6))
    assert validate.main([str(tmp_path / "m.safetensors"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"].endswith("; picture: noise")
    with pytest.raises(ValueError, match=r"golf_ball\.jpg: found a picture of 3 channels; expected 6, as the"):
        validate.main([str(tmp_path / "m.safetensors"), "--image", str(BALL)])


@pytest.mark.torch
@pytest.mark.parametrize(("n", "mode"), [(1, "L"), (4, "RGBA")])
def test_it_is_what_transformers_does(tmp_path, n, mode):
    import torch
    from transformers import PvtV2ForImageClassification
    from transformers.models.pvt.image_processing_pil_pvt import PvtImageProcessorPil

    recipe = SIZE | {"image_mean": [0.4] * n, "image_std": [0.2] * n}
    export_hf(tmp_path / "hf", small(n, preprocessing=recipe))
    model = PvtV2ForImageClassification.from_pretrained(tmp_path / "hf").eval()
    path = files(tmp_path)[mode]
    with Image.open(path) as image, torch.no_grad():
        pixels = PvtImageProcessorPil.from_pretrained(tmp_path / "hf")(image, return_tensors="pt")["pixel_values"]
        theirs = model(pixels).logits[0].numpy()
    ours = load_model(tmp_path / "hf")
    x = preprocess(path, **ours.preprocessing)
    np.testing.assert_allclose(x, pixels.numpy(), atol=1e-6)
    np.testing.assert_allclose(forward(x, ours.params, ours.config).logits[0], theirs, rtol=1e-4, atol=1e-4)
    assert validate.main([str(tmp_path / "hf"), "--json"]) == 0  # on the sample picture, which is RGB
    assert validate.main([str(tmp_path / "hf"), "--image", str(path), "--json"]) == 0
