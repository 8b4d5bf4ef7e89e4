"""`python -m pvt_numpy.summary` against the published counts of all eleven variants."""

import json
import re
import tracemalloc
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from pvt_numpy import VARIANTS, forward
from pvt_numpy.analysis.cost import memory
from pvt_numpy.gradients import loss_and_gradients
from pvt_numpy.parameters import init_params
from pvt_numpy.summary import main, summarise
from pvt_numpy.system.memory import free_memory

PUBLISHED = {  # parameters, GMACs at 224 pixels
    "pvt_tiny": (13_229_288, 1.933), "pvt_small": (24_485_864, 3.816), "pvt_medium": (44_208_104, 6.659),
    "pvt_large": (61_369_320, 9.814), "pvt_v2_b0": (3_666_760, 0.566), "pvt_v2_b1": (14_009_000, 2.108),
    "pvt_v2_b2": (25_362_856, 4.027), "pvt_v2_b2_li": (22_553_512, 3.889), "pvt_v2_b3": (45_238_696, 6.897),
    "pvt_v2_b4": (62_556_072, 10.101), "pvt_v2_b5": (81_956_008, 11.717)}  # fmt: skip


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


def test_every_line_of_the_text_says_its_row(capsys):
    """The table read back: a row's own numbers, and below each stage and all the sums of the rows above."""
    assert main(["pvt_v2_b2", "--image-size", "96x64", "--compare-attention"]) == 0
    text = capsys.readouterr().out
    result = summarise(VARIANTS["pvt_v2_b2"], (96, 64))
    assert text.startswith("pvt_v2_b2, one picture of 96 x 64 pixels, float32\n")
    lines = re.findall(r"^(\S.*?)  +(\d[\d x]*\d|\d|) +([\d,]+) +([\d,.]+) +([\d.]+)$", text, re.MULTILINE)
    read = {name: (output, *(float(n.replace(",", "")) for n in numbers)) for name, output, *numbers in lines}
    groups = {row["name"]: [row] for row in result["layers"]} | {"in all": result["layers"]}
    for i in range(4):
        own = [row for row in result["layers"] if row["name"].startswith(f"stages.{i}.")]
        groups[f"stage {i + 1} (stages.{i}) in all"] = own
    assert read.keys() == groups.keys()
    for name, rows in groups.items():
        sums = [sum(row[key] for row in rows) for key in ("parameters", "macs", "bytes")]
        output = " x ".join(map(str, rows[0]["output"])) if name == rows[0]["name"] else ""
        assert read[name] == (output, sums[0], *(pytest.approx(n / 1e6, abs=0.0051) for n in sums[1:])), name
    # by hand: 384 tokens of stage 1 look at 3 x 2 keys, 96 of stage 2 with two heads too, 24 with five and 6 with eight
    tables = [1 * 384 * 6, 2 * 96 * 6, 5 * 24 * 6, 8 * 6 * 6], [1 * 384**2, 2 * 96**2, 5 * 24**2, 8 * 6**2]
    reduced, full = (max(numbers) * 4 / 1e6 for numbers in tables)
    assert f"largest score table: {reduced:.2f} MB; with every token as a key {full:.2f} MB" in text


@pytest.mark.parametrize(("name", "side", "training"), [
    ("pvt_v2_b0", 512, False), ("pvt_tiny", 512, False), ("pvt_v2_b2_li", 384, False), ("pvt_v2_b0", 256, True),
])  # fmt: skip
def test_the_memory_of_a_pass_is_foretold(name, side, training):
    """To a fourth; NumPy tells what it takes."""
    config, rng = VARIANTS[name], np.random.default_rng(0)
    params, pixels = init_params(config, rng), rng.standard_normal((1, 3, side, side), dtype=np.float32)
    tracemalloc.start()
    try:
        if training:
            loss_and_gradients(pixels, params, config, np.zeros(1, int))
        else:
            forward(pixels, params, config)
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    grads = 4 * summarise(config)["parameters"] if training else 0  # which do not grow with the picture
    assert 4 / 5 < memory(config, (side, side), training) / (taken - grads) < 5 / 4


def test_a_picture_that_no_memory_holds_is_refused_before_it_is_asked_for(monkeypatch):
    monkeypatch.setattr("pvt_numpy.system.memory.free_memory", lambda: 8e9)
    monkeypatch.setattr("pvt_numpy.analysis.cost.as_far_as_it_goes", lambda *_, **__: pytest.fail("it was begun"))
    # by hand: 1024 x 1024 tokens look at 128 x 128, three such tables of float32: 206 GB
    said = (
        "^picture: found 4096 x 4096 pixels, which need about 206 GB of memory; expected at most the 8.0 GB that are f"
    )
    with pytest.raises(ValueError, match=said):
        main(["--image-size", "4096"])


def test_what_is_free_is_less_than_what_there_is():
    lines = Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else []
    total = next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemTotal:")), None)
    assert free_memory() == float("inf") if total is None else 0 < free_memory() < total
