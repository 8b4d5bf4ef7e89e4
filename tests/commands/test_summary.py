"""`python -m pvt_numpy.summary` against the published counts of all eleven variants."""

import json
from functools import cache

import pytest

from pvt_numpy import VARIANTS
from pvt_numpy.summary import main, summarise

PUBLISHED = {  # parameters, GMACs at 224 pixels
    "pvt_tiny": (13_229_288, 1.933), "pvt_small": (24_485_864, 3.816), "pvt_medium": (44_208_104, 6.659),
    "pvt_large": (61_369_320, 9.814), "pvt_v2_b0": (3_666_760, 0.566), "pvt_v2_b1": (14_009_000, 2.108),
    "pvt_v2_b2": (25_362_856, 4.027), "pvt_v2_b2_li": (22_553_512, 3.889), "pvt_v2_b3": (45_238_696, 6.897),
    "pvt_v2_b4": (62_556_072, 10.101), "pvt_v2_b5": (81_956_008, 11.717),
}  # fmt: skip


def test_no_variant_is_forgotten():
    assert set(PUBLISHED) == set(VARIANTS)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_exactly_and_gmacs_to_three_digits(name):
    result = cached(name)
    assert (result["parameters"], round(result["macs"] / 1e9, 3)) == PUBLISHED[name]


@cache
def cached(name):
    return summarise(VARIANTS[name])


def test_attention_products_against_full_attention():
    result = cached("pvt_tiny")
    assert round(result["attention_macs"] / 1e9, 3) == 0.076
    # by hand: 2 products of N x N x C in each of 2 blocks a stage; the last stage has 49 tokens and the class token
    by_hand = 4 * (3136**2 * 64 + 784**2 * 128 + 196**2 * 320 + 50**2 * 512)
    assert result["full_attention_macs"] == by_hand


def test_rows_are_the_models_own():
    rows = {row["name"]: row for row in cached("pvt_v2_b0")["layers"]}
    assert rows["stages.0.patch_embed.proj"]["output"] == [3136, 32]
    assert rows["stages.0.patch_embed.proj"]["macs"] == 3136 * 32 * 3 * 49
    assert rows["stages.0.blocks.0.mlp.dwconv"]["macs"] == 3136 * 256 * 9
    assert rows["stages.1.blocks.1.attn.sr"]["macs"] == 49 * 64 * 64 * 16
    assert rows["stages.3.blocks.0.attn.kv"]["output"] == [49, 512]
    assert rows["head"] == {"name": "head", "output": [1000], "parameters": 257_000, "macs": 256_000, "bytes": 4000}


def test_other_sizes_and_json(capsys):
    assert main(["pvt_v2_b0", "--image-size", "64x96", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["image_size"], result["layers"][0]["output"]) == ([64, 96], [16 * 24, 32])


def test_text_ends_in_the_totals(capsys):
    assert main(["pvt_tiny", "--compare-attention"]) == 0
    text = capsys.readouterr().out
    assert all(words in text for words in ("13,229,288 parameters, 1.933 GMACs", "0.076 GMACs"))
    totals = [line.split(" in all")[0] for line in text.splitlines() if " in all " in line]
    assert totals == [f"stage {i + 1} (stages.{i})" for i in range(4)]
