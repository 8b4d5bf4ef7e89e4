"""The table of published checkpoints: complete, as noted, honestly listed; and, on request, true of the real Hub.

The tests marked `network` are off by default. `pytest -m network` compares the pinned hashes
with what the real Hub states, and the logits of the eleven real checkpoints with the published ones (a download of
1.5 GB, kept in huggingface_hub's cache). No other test needs the internet.
"""

import math
import re
from pathlib import Path

import numpy as np
import pytest

import pvt_numpy
from pvt_numpy.checkpoints import hub, published
from pvt_numpy.config import VARIANTS
from pvt_numpy.parameters import parameter_shapes
from pvt_numpy.pictures.recipes import RECIPES
from tests.processes import shared


def test_unknown_name():
    with pytest.raises(ValueError, match=r"^pvt_v2_b9: found no published model of that name \(did you mean pvt_v2_b"):
        hub.download("pvt_v2_b9")
    with pytest.raises(ValueError, match=r"^resnet50: found no published model of that name; expected .* \(pvt_tiny,"):
        hub.download("resnet50")


def test_what_is_taken_for_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["Zetatech/pvt-tiny-224", "someone/finetuned-pvt", "a/b@v1.2", "pvt_tiny@refs/pr/3"]
    names += ["hf-hub:timm/pvt_v2_b0.in1k", "https://hf.co/a/b", "huggingface.co/a/b/tree/main"]
    for source in (*published.PUBLISHED, *names):
        assert published.is_hub_name(source)
    others = ["pvt_v2_b9", "weights/lost.safetensors", "weights/lost.ckpt", "a/b/c", "../pvt", "/pvt", "a/b\0", ""]
    for source in (*others, "a/b@../c", "hf-hub:", "a@b/c", Path("a/b"), None):
        assert not published.is_hub_name(source)
    Path("someone/finetuned-pvt").mkdir(parents=True)
    assert not published.is_hub_name("someone/finetuned-pvt")


def test_table_is_complete_and_follows_the_reference():
    assert [name for name in published.PUBLISHED if "/" not in name] == list(VARIANTS) == list(published.OFFICIAL_TOP1)
    v2 = [f"timm/{name}.in1k" for name in VARIANTS if name.startswith("pvt_v2")]
    assert [name for name in published.PUBLISHED if "/" in name] == v2
    text = shared("reference/README.md").read_text(encoding="utf-8")  # from which the table was typed
    for row in published.PUBLISHED.values():
        noted = re.search(rf"^\| {row.repository}\b[^|]*\| (\S+)[^|]*\| (\S+) \|$", text, re.MULTILINE)
        size = f"{row.megabytes:g}" if row.megabytes else "-"
        assert (size, row.sha256 or "-") == (noted.groups() if noted else ("-", "-")), row.repository
    for name, top1 in published.OFFICIAL_TOP1.items():
        assert re.search(rf"^\| {name}\b.*\| {top1} \|$", text, re.MULTILINE)


def megabytes(name):
    """What that model's weights take in float32."""
    shapes = parameter_shapes(VARIANTS[name.removeprefix("timm/").removesuffix(".in1k")])
    return 4e-6 * sum(map(math.prod, shapes.values()))


def test_the_noted_sizes_are_those_of_the_parameters():
    noted = [row for row in published.PUBLISHED.values() if row.megabytes is not None]
    assert [row.megabytes for row in noted] == [pytest.approx(megabytes(row.name), rel=0.01) for row in noted]


def test_listing():
    text = published.list_models()
    rows = {line.split()[0]: line for line in text.split("\n\n")[1].splitlines()[1:]}
    assert list(rows) == list(published.PUBLISHED)
    assert re.search(r"Zetatech/pvt-tiny-224 +13,229,288 +52\.9 MB\* +squash to 224x224", rows["pvt_tiny"])
    assert re.search(r"Zetatech/pvt-small-224 +24,485,864 +~97\.9 MB  +squash", rows["pvt_small"])
    for line in rows.values():  # an accuracy would be claimed for the wrong preprocessing there
        assert not any(str(top1) in line for top1 in published.OFFICIAL_TOP1.values())
    assert "official protocol (short side 256 bicubic, centre crop 224)" in text
    assert re.search(r"^  pvt_v2_b5 +83\.8$", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.network
@pytest.mark.parametrize("name", published.PUBLISHED)
def test_pins_on_the_real_hub(name):
    """`pytest -m network`: what the Hub states today is what is pinned, and of every row a whole model. No download."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    row = published.PUBLISHED[name]
    stated = get_hf_file_metadata(hf_hub_url(row.repository, hub.WEIGHTS))
    assert re.fullmatch("[0-9a-f]{64}", stated.etag)
    assert stated.etag == (row.sha256 or stated.etag), row.repository
    assert stated.size / 1e6 == pytest.approx(megabytes(name), rel=0.01)


PUBLISHED_LOGITS = {
    "pvt_tiny": (-1.4192, -1.9158, -0.9702), "pvt_small": (0.4353, -0.1960, -0.2373),
    "pvt_medium": (-0.2914, -0.2231, 0.0321), "pvt_large": (0.3740, -0.7739, -0.4214),
    "pvt_v2_b0": (-1.1939, -1.4547, -0.1076), "pvt_v2_b1": (-0.4716, -0.7335, -0.4600),
    "pvt_v2_b2": (0.0795, -0.3170, 0.2247), "pvt_v2_b2_li": (0.0968, 0.3937, -0.4252),
    "pvt_v2_b3": (-0.4595, -0.2870, 0.0940), "pvt_v2_b4": (-0.1769, -0.1747, -0.0143),
    "pvt_v2_b5": (-0.2943, -0.1008, 0.6812),
}  # fmt: skip


@pytest.fixture(scope="session")
def cats(tmp_path_factory):
    """The picture of the published logits: two cats on a sofa, number 39769 of COCO's validation set of 2017."""
    from urllib.request import urlopen

    path = tmp_path_factory.mktemp("coco") / "000000039769.jpg"
    with urlopen("http://images.cocodataset.org/val2017/000000039769.jpg", timeout=30) as response:
        path.write_bytes(response.read())
    return path


@pytest.mark.network
@pytest.mark.parametrize("name", PUBLISHED_LOGITS)
def test_published_logits(name, cats):
    """`pytest -m network`: the real checkpoint gives the first three logits of Hugging Face's model page.

    They were written before the resize of the image processor became bicubic, hence the bilinear recipe.
    """
    model = pvt_numpy.load_model(name)
    x = pvt_numpy.preprocess(cats, **RECIPES["hf-bilinear"])
    logits = pvt_numpy.forward(x, model.params, model.config).logits
    np.testing.assert_allclose(logits[0, :3], PUBLISHED_LOGITS[name], atol=2e-4, rtol=0)
