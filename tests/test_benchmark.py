"""`python -m pvt_numpy.benchmark`: that it measures what it says; speed itself is no matter for a test."""

import json
import math
from argparse import Namespace

import pytest

from pvt_numpy import VARIANTS, benchmark
from pvt_numpy.summary import summarise


def test_medians_ratios_and_memory(capsys):
    arguments = ["--models", "pvt_v2_b0", "--image-size", "64", "--runs", "3", "--threads", "1", "--json"]
    assert benchmark.main(arguments) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["model"], result["batch"], result["runs"]) == ("pvt_v2_b0", 1, 3)
    assert result["products_ms"] > 0
    assert result["ratio_to_products"] > 1  # the model cannot be faster than a part of it
    assert result["pvt_numpy_peak_mb"] > 20


def test_the_floor_is_every_product_of_the_model_and_nothing_else():
    products = benchmark._products("pvt_tiny", 2, 64, 1)()
    rows = [row for row in summarise(VARIANTS["pvt_tiny"], (64, 64))["layers"] if row["macs"]]
    assert len(products) == len(rows)
    assert [y.size for y in products] == [2 * math.prod(row["output"]) for row in rows]


@pytest.mark.torch
def test_v1_is_compared_at_other_sizes_too():
    """Hugging Face's v1 runs at the size it was made for only, so it is made for this one."""
    benchmark._pytorch("pvt_tiny", 1, 64, 1)()
    benchmark._ours("pvt_tiny", 1, 64, 1)()


def test_a_contender_that_dies_is_reported():
    options = Namespace(threads=1, image_size=64, runs=1)
    with pytest.raises(ValueError, match="contender nobody stopped"):
        benchmark.measure(["nobody"], "pvt_v2_b0", 1, options)
