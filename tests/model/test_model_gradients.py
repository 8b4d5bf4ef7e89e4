"""The whole model's gradient: against PyTorch's autograd live, against its golden numbers, and against wrong code.

The golden files (golden_gradients/) hold digests of what PyTorch computed, so that these tests bite without it.
"""

import json
from dataclasses import replace
from inspect import signature

import numpy as np
import pytest

from pvt_numpy import forward, gradients, model
from pvt_numpy.gradients import block_backward, loss_and_gradients, model_backward, stage_backward
from pvt_numpy.layers import attention, mlp
from pvt_numpy.layers.activations import ACTIVATION_BACKWARDS, gelu_new_backward
from pvt_numpy.layers.losses import loss_backward
from pvt_numpy.layers.run import Run
from pvt_numpy.model import block, block_layer, stage, start
from pvt_numpy.parameters import flatten, unflatten
from pvt_numpy.reference.golden import digest, params_hash
from pvt_numpy.system.paths import GOLDEN_NUMBERS
from tests.layers.helpers import assert_near
from tests.model.model_cases import KINDS, case, torch_gradients, upstream
from tests.model.test_mutations import put

GOLDEN = GOLDEN_NUMBERS.parent / "golden_gradients"
TOLERANCE = 1e-8  # relative, float64


def our_gradients(name):
    """(loss or None, dpixels, flat gradients) of a kind of model."""
    config, params, x, labels = case(name)
    if labels is None:
        dpixels, grads = model_backward(upstream(name, config), x, params, config)
        return None, dpixels, flatten(grads)
    loss, logits, grads = loss_and_gradients(x, params, config, labels)
    dpixels, again = model_backward(loss_backward(1.0, logits, labels, config.problem_type), x, params, config)
    assert all((a == b).all() for a, b in zip(flatten(grads).values(), flatten(again).values(), strict=True))
    return float(loss), dpixels, flatten(grads)


def departures(name):
    """The names of the gradients that differ from the golden ones."""
    golden = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    config, params, _, _ = case(name)
    assert params_hash(params) == golden["params_sha256"]
    loss, dpixels, grads = our_gradients(name)
    found = {"pixel_values": dpixels, **grads}
    assert set(found) == set(golden["gradients"])
    wrong = []
    for key, expected in golden["gradients"].items():
        expected = np.array(expected)
        size = np.abs(expected).max()
        # keys' biases shift all scores of a row alike, so their exact gradient is 0 and only rounding is left
        if not np.abs(digest(found[key]) - expected).max() <= TOLERANCE * max(size, 1e-6):
            wrong.append(key)
    if golden["loss"] is not None and abs(loss - golden["loss"]) > 1e-12 * abs(golden["loss"]):
        wrong.append("loss")
    return wrong


@pytest.mark.torch
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_model_against_autograd(name):
    config, params, _, _ = case(name)
    loss, dpixels, grads = our_gradients(name)
    their_loss, their_dpixels, theirs = torch_gradients(name)
    if loss is not None:
        assert abs(loss - their_loss) < 1e-12 * abs(their_loss)
    assert set(grads) == set(flatten(params))
    for key, expected in {"pixel_values": their_dpixels, **theirs}.items():
        assert_near({"pixel_values": dpixels, **grads}[key], expected, TOLERANCE, key)


@pytest.mark.parametrize("name", KINDS)
def test_golden_gradients(name):
    assert departures(name) == []


def test_the_golden_files_are_these_and_small():
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(KINDS)
    assert sum(path.stat().st_size for path in GOLDEN.glob("*.json")) < 1e6


def assert_slope(loss, flat, key, gradient, h, rng):
    """Along a random direction of one parameter the loss rises as its gradient says."""
    u = rng.normal(size=flat[key].shape)
    numeric = (loss(flat | {key: flat[key] + h * u}) - loss(flat | {key: flat[key] - h * u})) / (2 * h)
    assert abs(numeric - (gradient * u).sum()) < 1e-6 * np.abs(gradient * u).sum(), key


@pytest.mark.parametrize("name", ["v1", "v1_resized", "v2", "v2_linear"])
@pytest.mark.parametrize("noise", ["hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate"])
def test_the_same_noise_backward_as_forward(name, noise):
    """With noise PyTorch cannot be asked; along random directions the slope must still be the gradient's."""
    config, params, x, _ = case(name)
    config, flat = replace(config, **{noise: 0.4}), flatten(params)
    h = 1e-8 if config.linear_attention else 1e-5  # steps so short that hardly any number crosses ReLU's corner
    rng = np.random.default_rng(0)
    dy = rng.normal(size=forward(x, params, config).logits.shape)

    def loss(flat):
        return (forward(x, unflatten(flat), config, seed=9).logits * dy).sum()

    assert loss(flat) != (forward(x, params, config).logits * dy).sum()
    grads = flatten(model_backward(dy, x, params, config, seed=9)[1])
    for key in ("stages.0.patch_embed.proj.weight", "stages.1.blocks.1.attn.kv.weight", "stages.3.blocks.0.norm1.bias"):
        assert_slope(loss, flat, key, grads[key], h, rng)


@pytest.mark.parametrize("name", ["v1", "v2"])
def test_a_stage_alone_computes_its_forward_pass_itself(name):
    config, params, x, _ = case(name)
    config = replace(config, hidden_dropout_prob=0.3, drop_path_rate=0.3)
    options, picture = {"config": config, "i": 0, "run": start(config, seed=1)}, x.transpose(0, 2, 3, 1)
    tokens, _ = stage(picture, **params["stages"][0], **options)
    dy = np.random.default_rng(0).normal(size=tokens.shape)
    dx, grads = stage_backward(dy, picture, **params["stages"][0], **options)
    assert dx.shape == picture.shape

    def loss(flat):
        return (stage(picture, **unflatten(flat), **options)[0] * dy).sum()

    key = "blocks.0.attn.q.weight"
    assert_slope(loss, flatten(params["stages"][0]), key, flatten(grads)[key], 1e-5, np.random.default_rng(1))


@pytest.mark.parametrize("name", ["v1", "v2", "v2_linear"])
def test_a_block_alone_computes_its_middle_itself(name):
    config, params, x, _ = case(name)
    layer, run = block_layer(config, 1, (3, 4)), Run("b", seed=5, hidden_rate=0.2, probs_rate=0.2, path_rate=0.2)
    parameters, rng = params["stages"][1]["blocks"][1], np.random.default_rng(0)
    x, dy, u = rng.normal(size=(3, 3, 12, config.hidden_sizes[1]))
    seen = {}
    block(x, **parameters, layer=layer, run=run._replace(watchers=(seen,)))
    dx, grads = block_backward(dy, x, **parameters, layer=layer, run=run)
    again = block_backward(dy, x, **parameters, layer=layer, run=run, middle=seen["b.residual1"])
    for key, value in flatten({"x": dx, **grads}).items():
        assert (value == flatten({"x": again[0], **again[1]})[key]).all(), key
    h = 1e-8 if config.linear_attention else 1e-5
    ends = [(block(x + step * u, **parameters, layer=layer, run=run) * dy).sum() for step in (h, -h)]
    assert abs((ends[0] - ends[1]) / (2 * h) - (dx * u).sum()) < 1e-6 * np.abs(dx * u).sum()


@pytest.mark.parametrize("part", ["embed", "block", "stage"])
def test_a_part_of_the_model_takes_backward_what_it_takes_forward(part):
    wanted = signature(getattr(model, part)).parameters
    found = signature(getattr(gradients, f"{part}_backward")).parameters
    assert [name for name in found if name not in ("middle", "halves")] == ["dy", *wanted]


def test_labels_without_a_head_are_refused():
    config, params, x, _ = case("v2_linear_no_head")
    for run in (forward, loss_and_gradients):
        with pytest.raises(ValueError, match=r"^labels: found some for a model without a head \(num_labels 0\)"):
            run(x, params, config, labels=np.array([0, 1]))


def test_label_smoothing_and_float32():
    config, params, x, labels = case("v1")
    loss, _, grads = loss_and_gradients(x, params, config, labels, 0.1)
    small = unflatten({key: value.astype(np.float32) for key, value in flatten(params).items()})
    loss32, _, grads32 = loss_and_gradients(x.astype(np.float32), small, config, labels, 0.1)
    assert abs(loss - loss32) < 1e-5
    assert loss != loss_and_gradients(x, params, config, labels)[0]
    with pytest.raises(ValueError, match="label_smoothing: found 0.1 for another loss; expected 0"):
        loss_and_gradients(x, params, replace(config, problem_type="regression"), labels, 0.1)
    for key, value in flatten(grads32).items():
        assert value.dtype == np.float32, key
        scale = max(np.abs(flatten(grads)[key]).max(), 1e-3)
        assert np.abs(value - flatten(grads)[key]).max() < 1e-3 * scale, key


def no_residual(right, dy, *arguments, **options):
    dx, grads = right(dy, *arguments, **options)
    return dx - dy, grads


def transposed_if_square(right, dy, x, weight, bias=None):
    dx, grads = right(dy, x, weight, bias)
    return (dy @ weight.T if weight.shape[0] == weight.shape[1] else dx), grads


def bias_of_the_mean(right, dy, x, weight, bias=None):
    dx, grads = right(dy, x, weight, bias)
    return dx, grads | ({} if bias is None else {"bias": grads["bias"] / len(dy)})


MISTAKES = {  # as in test_mutations.py
    "no residual": ("block_backward", no_residual, gradients),
    "matrix transposed": ("linear_backward", transposed_if_square, attention),
    "mean left in": ("layer_norm_backward", "no-mean-term", gradients),
    "scale left out": ("through_softmax", lambda right, dy, y: right(dy, y) * 2, attention),
    "tanh gelu": ("gelu", lambda right, dy, x: gelu_new_backward(dy, x), ACTIVATION_BACKWARDS),
    "bias of the mean": ("linear_backward", bias_of_the_mean, mlp),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("name", ["v1", "v2", "v2_linear"])
def test_golden_gradients_tell_wrong_code(name, mistake, monkeypatch):
    put(monkeypatch, *MISTAKES[mistake])
    assert departures(name), "the golden gradients did not notice"
