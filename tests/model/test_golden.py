"""The golden numbers that PyTorch wrote (reference/make_golden.py), against our forward pass: no PyTorch needed."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from pvt_numpy import VARIANTS, forward
from pvt_numpy.checkpoints.checkpoint import load_model
from pvt_numpy.config import config_from_dict
from pvt_numpy.parameters import flatten
from pvt_numpy.reference.comparison import TOLERANCES, differences, first_departure
from pvt_numpy.reference.golden import (
    digest,
    digests,
    golden_names,
    params_hash,
    read_golden,
    seeded_params,
    seeded_pixels,
)
from pvt_numpy.system.paths import GOLDEN_NUMBERS

CASES = [*VARIANTS, "pvt_tiny_resized", "shipped"]
SMALL = ["pvt_tiny", "pvt_v2_b0", "pvt_v2_b2_li", "pvt_tiny_resized", "shipped"]


def golden_model(golden, dtype=np.float64):
    """(config, params, pixels) of a golden file."""
    config = config_from_dict(golden["config"])
    x = seeded_pixels(golden["pixels"]["shape"], golden["pixels"]["seed"], dtype)
    if golden["model"] == "shipped":
        return config, load_model(dtype=dtype).params, x
    return config, seeded_params(config, golden["params"]["seed"], dtype), x


def golden_rows(golden, config, params, x):
    """Our run against the golden numbers, row by row."""
    trace = {}
    forward(x, params, config, trace=trace)
    return differences(digests(trace, config), golden["numbers"])


@pytest.mark.parametrize("name", CASES)
def test_every_number_of_every_variant_in_float64(name):
    golden = read_golden(name)
    config, params, x = golden_model(golden)
    rows = golden_rows(golden, config, params, x)
    assert [row.name for row in rows] == list(golden_names(config))
    assert first_departure(rows, TOLERANCES["float64"]) is None
    assert params_hash(params) == golden["params_sha256"]


@pytest.mark.parametrize("name", CASES)
def test_float32(name):
    golden = read_golden(name)
    rows = golden_rows(golden, *golden_model(golden, np.float32))
    assert first_departure(rows, TOLERANCES["float32"]) is None
    assert rows[-1].name == "logits"
    assert rows[-1].max_abs < 1e-4


@pytest.mark.parametrize("name", SMALL)
def test_hidden_states_and_attentions_are_the_golden_ones(name):
    """What `forward` returns, by another way than the trace, and in Hugging Face's order."""
    golden = read_golden(name)
    config, params, x = golden_model(golden)
    out = forward(x, params, config, output_attentions=True, output_hidden_states=True)
    blocks = [[f"stages.{i}.blocks.{j}" for j in range(depth)] for i, depth in enumerate(config.depths)]
    if config.model_type == "pvt":
        names = [*(name for stage in blocks for name in stage), "norm"]
        attentions = out.attentions
    else:
        names = [f"stages.{i}" for i in range(len(blocks))]
        attentions = [probs for stage in out.attentions for probs in stage]
    ours = {name: digest(state) for name, state in zip(names, out.hidden_states, strict=True)}
    probs_names = [f"{name}.attn.probs" for stage in blocks for name in stage]
    ours |= {name: digest(probs) for name, probs in zip(probs_names, attentions, strict=True)}
    rows = differences(ours, {name: golden["numbers"][name] for name in ours})
    assert first_departure(rows, 1e-10) is None
    assert np.abs(out.logits - golden["numbers"]["logits"]).max() < 1e-10


@pytest.mark.parametrize("name", ["pvt_v2_b0", "pvt_v2_b2_li", "pvt_tiny_resized"])
def test_nothing_is_written_into_and_a_trace_changes_nothing(name):
    config, params, x = golden_model(read_golden(name), np.float32)
    for array in (x, *flatten(params).values()):
        array.setflags(write=False)  # now it raises if it is written into
    traced, plain = forward(x, params, config, trace={}), forward(x, params, config)
    assert (traced.logits == plain.logits).all()
    assert (traced.last_hidden_state == plain.last_hidden_state).all()
    assert (plain.loss, plain.hidden_states, plain.attentions) == (None, None, None)
    assert plain.logits.dtype == plain.last_hidden_state.dtype == np.float32


@pytest.mark.parametrize("name", CASES)
def test_a_golden_file_says_where_it_comes_from(name):
    golden = json.loads((GOLDEN_NUMBERS / f"{name}.json").read_text(encoding="utf-8"))
    assert (golden["model"], golden["written_by"]) == (name, "pvt_numpy/reference/make_golden.py")
    assert set(golden["versions"]) == {"python", "numpy", "torch", "transformers"}
    assert "transformers Pvt" in golden["reference"] or "F.interpolate" in golden["reference"]
    assert re.fullmatch("[0-9a-f]{64}", golden["params_sha256"])


@pytest.mark.parametrize("name", VARIANTS)
def test_golden_files_have_the_published_widths_and_depths(name):
    found = config_from_dict(read_golden(name)["config"])
    assert replace(found, image_size=224, patch_norm_eps=None) == VARIANTS[name]


def test_the_files_are_small():
    assert sum(path.stat().st_size for path in GOLDEN_NUMBERS.iterdir() if path.is_file()) < 2_000_000


def test_seeded_parameters_are_exact_in_float32():
    config = VARIANTS["pvt_v2_b0"]
    exact, single = flatten(seeded_params(config, 3)), flatten(seeded_params(config, 3, np.float32))
    assert all(single[name].dtype == np.float32 and (exact[name] == single[name]).all() for name in exact)


def test_a_digest_sees_every_entry():
    x = np.random.default_rng(0).normal(size=(3, 7, 11))
    for k in range(x.size):
        y = x.copy()
        y.flat[k] += 1e-6
        assert differences({"x": digest(y)}, {"x": digest(x)})[0].departs(1e-10)


def test_a_digest_sees_exchanged_entries():
    x = np.random.default_rng(1).normal(size=(4, 5, 6))
    assert differences({"x": digest(x.swapaxes(0, 1).reshape(4, 5, 6))}, {"x": digest(x)})[0].departs(1e-3)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="pvt_tiny.json: found no such file; expected the golden numbers"):
        read_golden("pvt_tiny", tmp_path)
