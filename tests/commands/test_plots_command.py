"""`python -m pvt_numpy.plots`: every picture from the shell, and every refusal."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from PIL import Image

from pvt_numpy import init_params, plots
from pvt_numpy.checkpoints.checkpoint import Model, save_model
from pvt_numpy.plots.__main__ import PICTURES, main
from pvt_numpy.reference.comparison import Difference
from tests.plots.plot_cases import GOLF_BALL, V1


@pytest.mark.parametrize("name", [name for name in PICTURES if name not in ("class-token", "positions", "difference")])
def test_every_picture_from_the_shell(name, tmp_path, capsys):
    output = tmp_path / "out.png"
    image = [str(GOLF_BALL)] if PICTURES[name][0] else []
    assert main([name, *image, "--image-size", "64x96", "--query", "40,70", "-o", str(output)]) == 0
    assert capsys.readouterr().out.strip() == str(output)
    with Image.open(output) as picture:
        assert min(picture.size) > 200
        assert np.asarray(picture.convert("L")).std() > 5


def test_v1_pictures_from_the_shell(tmp_path):
    save_model(tmp_path / "v1.safetensors", Model(V1, init_params(V1, np.random.default_rng(0))))
    for name in ("class-token", "positions", "rollout"):
        output = tmp_path / f"{name}.svg"
        assert main([name, str(GOLF_BALL), "--model", str(tmp_path / "v1.safetensors"), "-o", str(output)]) == 0
        assert output.read_text(encoding="utf-8").count("<svg") == 1


def test_refusals_of_the_command(tmp_path):
    for arguments, message in ((["class-token", str(GOLF_BALL)], "no class token"),
                               (["positions"], "no position table"),
                               (["cost", "-o", str(tmp_path / "x.doc")], "'doc'"),
                               (["cost", "-o", str(tmp_path / "no" / "x.png")], "no folder")):  # fmt: skip
        with pytest.raises((ValueError, OSError), match=message):
            main(arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [["attention"], ["nonsense"], ["attention", "x.jpg", "--query", "3"],
                                       ["attention", "x.jpg", "--query", "-3,4"]])  # fmt: skip
def test_wrong_usage_is_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_difference_without_pytorch_takes_the_golden_numbers(tmp_path, monkeypatch):
    def missing(*_):
        raise ImportError("No module named 'torch'")

    asked = []

    def golden(name, load):
        asked.append((name, load(np.float64)[0]["head"]["weight"].dtype))
        return {"NumPy, float64": [Difference("logits", 1e-15, 1e-16, 1e-15)]}

    monkeypatch.setattr(plots, "live", missing)
    monkeypatch.setattr(plots, "from_golden", golden)
    assert main(["difference", str(GOLF_BALL), "-o", str(tmp_path / "x.png")]) == 0
    assert asked == [("shipped", np.float64)]
    save_model(tmp_path / "v1.safetensors", Model(V1, init_params(V1, np.random.default_rng(0))))
    with pytest.raises(ValueError, match="needs PyTorch"):
        main(["difference", str(GOLF_BALL), "--model", str(tmp_path / "v1.safetensors")])
