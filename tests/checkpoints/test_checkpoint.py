"""Our own file: exact, strict, deterministic, atomic, modest in memory. Damage: test_damaged_files.py."""

import errno
import os
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pvt_numpy.checkpoints import safetensors_file
from pvt_numpy.checkpoints.checkpoint import SHIPPED, Model, describe, load_model, save_model
from pvt_numpy.checkpoints.safetensors_file import read_safetensors
from pvt_numpy.config import VARIANTS
from pvt_numpy.model import forward
from pvt_numpy.parameters import flatten, parameter_shapes, unflatten
from pvt_numpy.pictures.processor import preprocess
from pvt_numpy.pictures.recipes import RECIPES
from tests import processes
from tests.checkpoints.checkpoint_files import refused, rewrite, rewrite_config, write_json, write_raw
from tests.checkpoints.models import SMALL_V1, SMALL_V2, assert_same, make_model, retyped, state_dict
from tests.processes import photos, shared


@pytest.fixture
def model():
    labels, origin = ("tench", "crane", "crane", "gr\u00fcn \U0001f41f"), {"source": "a test", "licence": "none"}
    return make_model(SMALL_V2, labels=labels, preprocessing=RECIPES["official"], origin=origin)


@pytest.fixture
def saved(tmp_path, model):
    save_model(tmp_path / "m.safetensors", model)
    return tmp_path / "m.safetensors"


# --- what goes in comes out ---


@pytest.mark.parametrize("config", [SMALL_V1, SMALL_V2, replace(SMALL_V2, qkv_bias=False, num_labels=0)])
def test_float32_round_trip_is_exact(tmp_path, config):
    model = make_model(config, preprocessing=RECIPES["hf"], origin={"source": "a test"})
    save_model(tmp_path / "m", model)
    back = load_model(tmp_path / "m")
    assert_same(back.params, model.params)
    assert replace(back, params={}) == replace(model, params={})


def test_labels_and_everything_else_survive(saved, model):
    assert replace(load_model(saved), params={}) == replace(model, params={})


def test_float16_round_trip_rounds_once(tmp_path, saved, model):
    save_model(tmp_path / "half", model, "float16")
    back = load_model(tmp_path / "half")
    assert_same(back.params, retyped(model.params, np.float16, np.float32))
    save_model(tmp_path / "again", back, "float16")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "half").read_bytes()
    assert saved.stat().st_size - (tmp_path / "half").stat().st_size > 59_000, "of 120,896 bytes of float32"


def test_float64_has_the_same_values(saved, model):
    assert_same(load_model(saved, dtype=np.float64).params, retyped(model.params, np.float64))


def test_convolutions_lie_channels_last_under_pytorchs_shape(saved):
    for name, value in flatten(load_model(saved).params).items():
        view = value.transpose(0, 2, 3, 1) if value.ndim == 4 else value
        assert view.flags.c_contiguous, name
        assert value.flags.writeable, name


def test_the_file_is_plain_safetensors(saved, model):
    from safetensors.numpy import load_file

    arrays = load_file(saved)
    assert arrays.keys() == flatten(model.params).keys()
    for name, value in flatten(model.params).items():
        np.testing.assert_array_equal(arrays[name], value)
    assert int.from_bytes(saved.read_bytes()[:8], "little") % 8 == 0, "arrays start where a processor likes to read"


def test_an_origin_that_is_no_text_is_saved(tmp_path, model):
    """It may be the name of a folder, and those are bytes."""
    save_model(tmp_path / "m.safetensors", replace(model, origin={"source": "caf\udce9"}))
    assert load_model(tmp_path / "m.safetensors").origin["source"] == "caf?"


def test_a_folder_is_not_written_over(tmp_path, model):
    with pytest.raises(IsADirectoryError, match="found a folder; expected the name of a file"):
        save_model(tmp_path, model)
    assert list(tmp_path.iterdir()) == []


def test_equal_models_give_equal_bytes(tmp_path, saved, model):
    """Also if memory is laid out otherwise, and whatever order another process hashes in."""
    other = {name: np.asfortranarray(value) for name, value in flatten(model.params).items()}
    save_model(tmp_path / "other", replace(model, params=unflatten(other)))
    assert (tmp_path / "other").read_bytes() == saved.read_bytes()
    code = "import sys, pvt_numpy; pvt_numpy.save_model(sys.argv[2], pvt_numpy.load_model(sys.argv[1]))"
    assert processes.run("-c", code, saved, tmp_path / "third", env={"PYTHONHASHSEED": "7"}) == (0, "", "")
    assert (tmp_path / "third").read_bytes() == saved.read_bytes()


def test_the_shipped_model():
    model = load_model()
    assert (model.config.num_labels, model.labels[0], model.labels[-1]) == (10, "tench", "parachute")
    assert model.preprocessing == RECIPES["hf"]
    assert sum(value.size for value in flatten(model.params).values()) == 3_412_330
    assert SHIPPED.stat().st_size < 7e6
    assert all(word in model.origin["licence"] for word in ("research use", "Apache-2.0"))
    assert describe(model).startswith("pvt_v2_b0, 3,412,330 parameters, 10 outputs; from pvt_v2_b0_imagenette")


def test_a_file_in_float16_is_the_trained_model(tmp_path):
    """Parameters: a Hugging Face folder's, rounded to float16 once. Predictions: the same on real photos."""
    trained = load_model(shared("checkpoints/pvt_v2_b0_imagenette"))
    save_model(tmp_path / "half.safetensors", trained, dtype="float16")
    half = load_model(tmp_path / "half.safetensors")
    assert_same(half.params, retyped(trained.params, np.float16, np.float32))
    assert replace(half, params={}, origin={}) == replace(trained, params={}, origin={})
    pixels = preprocess(sorted(photos().glob("*/*.jpg"))[::300], **half.preprocessing)
    ours, theirs = (forward(pixels, model.params, model.config).logits for model in (half, trained))
    np.testing.assert_array_equal(ours.argmax(-1), theirs.argmax(-1))
    assert len(set(ours.argmax(-1))) > 5
    assert 0 < np.abs(ours - theirs).max() < 0.01


# --- what does not fit ---


def test_all_wrong_names_in_one_message(saved, model):
    def change(header):
        header["surplus.weight"] = header.pop("stages.0.blocks.0.attn.q.bias")
        header["stages.1.blocks.1.norm1.gamma"] = header.pop("stages.1.blocks.1.norm1.weight")
        header["head.weight"]["shape"] = header["head.weight"]["shape"][::-1]

    message = refused(rewrite(saved, change))
    assert message.endswith(
        "found parameters that do not fit ("
        "missing: stages.0.blocks.0.attn.q.bias, stages.1.blocks.1.norm1.weight; "
        "unexpected: stages.1.blocks.1.norm1.gamma, surplus.weight; "
        "of another shape: head.weight is (16, 4), expected (4, 16)); expected those of the configuration"
    )


def test_many_wrong_names_are_grouped_and_none_is_lost(saved):
    def change(header):
        for name in [name for name in header if name.startswith("stages.1.") or name == "head.bias"]:
            header["other." + name] = header.pop(name)

    refused(rewrite(saved, change), "missing: stages.1.*, head.bias; unexpected: other.*")


@pytest.mark.parametrize(("told", "held"), [("pvt_tiny", "pvt_small"), ("pvt_v2_b2", "pvt_v2_b2_li")])
def test_another_variant_is_called_by_its_name(tmp_path, told, held):
    header, end, kind = {}, 0, "hf-v1" if told == "pvt_tiny" else "hf-v2"
    shapes = {name: np.broadcast_to(np.float32(0), s) for name, s in parameter_shapes(VARIANTS[held]).items()}
    model = Model(replace(VARIANTS[held], num_labels=0), unflatten(shapes))
    for name, value in state_dict(model, kind).items():
        header[name] = {"dtype": "F32", "shape": value.shape, "data_offsets": [end, end := end + 4 * value.size]}
    path = write_raw(tmp_path / "model.safetensors", header)
    os.truncate(path, path.stat().st_size + end)  # zeros
    fields = {"model_type": VARIANTS[told].model_type, "depths": VARIANTS[told].depths, "id2label": {}}
    if told == "pvt_v2_b2":
        fields["hidden_sizes"] = VARIANTS[told].hidden_sizes
    write_json(tmp_path / "config.json", fields | {"architectures": ["PvtForImageClassification"]})
    message = refused(tmp_path, f"found parameters of {held} (")
    assert message.endswith(f"; expected those of {told}")
    assert len(message) < 2500


def test_more_blocks_than_the_file_could_hold(saved):
    """A configuration is small and may ask for anything; what it asks for is not built before it is believed."""
    refused(rewrite_config(saved, depths=[2, 2, 30_000, 2]), "depths: found 30006 blocks; expected at most")


def test_a_float64_file_beyond_float32_is_not_quietly_infinite(saved, model):
    from safetensors.numpy import save_file

    flat = flatten(retyped(model.params, np.float64))
    flat["head.bias"][1] = 1e300
    save_file(flat, saved, read_safetensors(saved)[0])
    refused(saved, "head.bias")
    assert load_model(saved, dtype=np.float64).params["head"]["bias"][1] == 1e300


def test_impossible_dtypes(saved, model, tmp_path):
    for dtype in (np.float16, np.int32, "float128", None):
        with pytest.raises(ValueError, match="expected float32 or float64"):
            load_model(saved, dtype=dtype)
    for dtype in ("float64", "bfloat16", None):
        with pytest.raises(ValueError, match="expected 'float32' or 'float16'"):
            save_model(tmp_path / "x", model, dtype)
    assert not (tmp_path / "x").exists()


def test_saving_refuses_what_could_not_be_loaded(tmp_path, model):
    wrong = {name: value for name, value in flatten(model.params).items() if name != "stages.0.norm.bias"}
    with pytest.raises(ValueError, match="missing: stages.0.norm.bias"):
        save_model(tmp_path / "x", replace(model, params=unflatten(wrong)))
    with pytest.raises(ValueError, match="found 3 labels; expected num_labels = 4"):
        save_model(tmp_path / "x", replace(model, labels=("a", "b", "c")))
    for number, dtype in ((70000, "float16"), (-70000, "float16"), (np.nan, "float32")):
        flat = flatten(make_model(SMALL_V2).params)
        flat["stages.2.norm.bias"][3] = number
        with pytest.raises(ValueError, match=f"^stages.2.norm.bias: found NaN, or numbers that {dtype} cannot hold"):
            save_model(tmp_path / "x", replace(model, params=unflatten(flat)), dtype)
    flat["stages.2.norm.bias"][3] = 70000
    save_model(tmp_path / "x", replace(model, params=unflatten(flat)), "float32")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


# --- whole or not at all ---


def full(_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def denied(source, target):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), source, None, target)


def stopped(value, dtype):
    if value.size == 4:  # the head's bias, which comes last
        raise KeyboardInterrupt
    return np.asarray(value, dtype, order="C")


@pytest.mark.parametrize(("place", "name", "fault", "error"), [
    (os, "fsync", full, OSError),
    (os, "replace", denied, PermissionError),
    (safetensors_file.np, "ascontiguousarray", stopped, KeyboardInterrupt),
], ids=["full disk", "no right to replace", "stopped half way"])  # fmt: skip
def test_whatever_goes_wrong_the_old_file_stays(saved, model, monkeypatch, place, name, fault, error):
    before = saved.read_bytes()
    monkeypatch.setattr(place, name, fault)
    with pytest.raises(error) as caught:
        save_model(saved, replace(model, origin={}))
    monkeypatch.undo()
    if error is not KeyboardInterrupt:
        assert (caught.value.filename, caught.value.filename2) == (str(saved), None)
        assert caught.value.errno == (errno.ENOSPC if fault is full else errno.EACCES)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved], "a temporary file was left behind"
    save_model(saved, replace(model, origin={}))
    assert saved.read_bytes() != before
    assert load_model(saved).origin == {}


def test_no_such_folder(tmp_path, model):
    with pytest.raises(FileNotFoundError, match="found no folder"):
        save_model(tmp_path / "no" / "m.safetensors", model)


MEASURE = """
import sys, pvt_numpy.checkpoints.checkpoint, pvt_numpy.pictures.recipes, safetensors
from tests.robustness.fuzzing.judge import peak_memory
before = peak_memory()
model = pvt_numpy.checkpoints.checkpoint.load_model(sys.argv[1])
print(peak_memory() - before)
"""


@pytest.mark.parametrize("kind", ["float32", "float16", "hf"])
def test_memory_while_loading(tmp_path, kind):
    """At most the file and 1.5 times the parameters; pvt_small, 98 MB."""
    config = replace(VARIANTS["pvt_small"], num_labels=1000)
    flat = {name: np.zeros(shape, np.float32) for name, shape in parameter_shapes(config).items()}
    model, path = Model(config, unflatten(flat)), tmp_path / "model.safetensors"
    if kind == "hf":
        safetensors_file.write_safetensors(path, state_dict(model, "hf-v1"), {}, "float32")
    else:
        save_model(path, model, kind)
    limit = 1.5 * sum(value.nbytes for value in flat.values())
    del model, flat
    if Path("/proc/self/status").exists():  # Linux counts the mapped file, too
        _, out, _ = processes.run("-c", MEASURE, path)
        assert limit / 2 < int(out) <= limit + path.stat().st_size
    tracemalloc.start()
    try:
        load_model(path)
        assert limit / 2 < tracemalloc.get_traced_memory()[1] <= limit
    finally:
        tracemalloc.stop()


def test_describe_tells_both_epsilons():
    origin = {"source": "x.pth", "format": "the official code", "recipe": "official"}
    line = describe(make_model(SMALL_V1, origin=origin))
    count = sum(int(np.prod(shape)) for shape in parameter_shapes(SMALL_V1).values())
    assert line == (
        f"pvt, {count:,} parameters, 4 outputs; from x.pth of the official code; "
        "layer norm eps 1e-06, 1e-05 in patch embeddings and SRA; recipe official"
    )


def test_a_model_that_was_trained_here_is_called_by_its_file_or_folder(tmp_path):
    (tmp_path / "nano").mkdir()
    model = make_model(SMALL_V1, origin={"format": "pvt_numpy.train", "recipe": "hf"})
    for path, name in ((tmp_path / "nano" / "model.safetensors", "nano"), (tmp_path / "best.safetensors",) * 2):
        save_model(path, model)
        assert load_model(path).origin == model.origin | {"source": getattr(name, "name", name)}
    assert "; from nano of pvt_numpy.train; " in describe(load_model(tmp_path / "nano"))
