"""Conversion against PyTorch itself: real Hugging Face models in and out, real pickles, real logits."""

import argparse
import collections
import pathlib
import re
import warnings
from dataclasses import replace

import numpy as np
import pytest

from pvt_numpy import convert
from pvt_numpy.checkpoints.checkpoint import load_model, save_model
from pvt_numpy.checkpoints.export import export_hf, export_timm, hf_fields
from pvt_numpy.config import VARIANTS
from pvt_numpy.model import forward
from pvt_numpy.parameters import flatten
from pvt_numpy.pictures.processor import preprocess
from pvt_numpy.pictures.recipes import RECIPES
from tests.checkpoints.checkpoint_files import refused
from tests.checkpoints.models import LINEAR, SMALL_V1, SMALL_V2, V1, V2, assert_same, make_model, state_dict
from tests.processes import do_without

pytestmark = pytest.mark.torch
HF_V1, HF_V2 = (replace(config, patch_norm_eps=None) for config in (SMALL_V1, SMALL_V2))
CONFIGS = {
    "v1": HF_V1,
    "v1 kernel is not stride": replace(HF_V1, patch_sizes=(3, 2, 2, 2)),
    "v1 headless": replace(HF_V1, num_labels=0),
    "v2": HF_V2,
    "v2 linear": replace(HF_V2, linear_attention=True, hidden_act="relu"),
    "v2 headless": replace(HF_V2, num_labels=0),
    "v2 without qkv bias": replace(HF_V2, qkv_bias=False, layer_norm_eps=1e-5, mlp_ratios=(2, 3, 4, 1)),
}


@pytest.fixture
def torch():
    import torch  # for one thread: conftest.py

    return torch


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS)
def hf_model(request, torch):
    """A Hugging Face model with random numbers in every parameter, zeros and ones included."""
    import transformers

    config = request.param
    name = "PvtV2" if config.model_type == "pvt_v2" else "Pvt"
    hf = getattr(transformers, f"{name}Config")(**hf_fields(config) | {"num_labels": config.num_labels or 2})
    torch.manual_seed(0)
    model = getattr(transformers, f"{name}ForImageClassification" if config.num_labels else f"{name}Model")(hf).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.3)
    return model


def logits(torch, model, pixels):
    """The logits, or the last tokens or map of a headless model; float64."""
    with torch.no_grad():
        output = model.double()(torch.from_numpy(pixels).double())
    return (output.logits if hasattr(output, "logits") else output.last_hidden_state).numpy()


def our_logits(model, pixels):
    output = forward(pixels.astype(np.float64), model.params, model.config)
    return output.logits if model.config.num_labels else output.last_hidden_state


@pytest.fixture
def pixels():
    return np.random.default_rng(1).standard_normal((2, 3, 64, 64))


def tensors(torch, model):
    """What the official code would save of `model`."""
    return {name: torch.from_numpy(value) for name, value in state_dict(model, "official").items()}


def test_hugging_face_models_in_and_out(tmp_path, torch, hf_model, pixels):
    """save_pretrained -> ours -> from_pretrained: the same logits here, the same bits and logits there."""
    hf_model.save_pretrained(tmp_path / "theirs")
    ours = load_model(tmp_path / "theirs", dtype=np.float64)
    expected = logits(torch, hf_model, pixels)
    np.testing.assert_allclose(our_logits(ours, pixels), expected, rtol=1e-10, atol=1e-10)

    save_model(tmp_path / "ours.safetensors", load_model(tmp_path / "theirs"))
    convert.main([str(tmp_path / "ours.safetensors"), "--to", "hf", "-o", str(tmp_path / "back")])
    back, report = type(hf_model).from_pretrained(tmp_path / "back", output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
    state = hf_model.float().state_dict()
    assert back.state_dict().keys() == state.keys()
    for name, value in back.state_dict().items():
        assert torch.equal(value, state[name]), name
    np.testing.assert_array_equal(logits(torch, back.eval(), pixels), expected)


@pytest.mark.parametrize("recipe", RECIPES)
def test_labels_and_image_processor_go_back(tmp_path, recipe):
    """Hugging Face's own classes read the folder: the same names, and from the same picture the same pixels."""
    from transformers import AutoConfig
    from transformers.models.pvt.image_processing_pil_pvt import PvtImageProcessorPil

    labels = ("tench", "crane", "gr\u00fcn", "church")
    export_hf(tmp_path / "hf", make_model(HF_V2, labels=labels, preprocessing=RECIPES[recipe]))
    config = AutoConfig.from_pretrained(tmp_path / "hf")
    assert config.id2label == dict(enumerate(labels))
    assert config.label2id["church"] == 3
    picture = np.random.default_rng(2).integers(0, 256, (300, 401, 3), dtype=np.uint8)
    theirs = PvtImageProcessorPil.from_pretrained(tmp_path / "hf")(picture)["pixel_values"]
    ours = preprocess(picture, **load_model(tmp_path / "hf").preprocessing)
    np.testing.assert_allclose(ours, np.asarray(theirs), rtol=0, atol=1e-6)


def test_sharded_and_bfloat16(tmp_path, torch, hf_model):
    hf_model = hf_model.to(torch.bfloat16)
    hf_model.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    ours = load_model(tmp_path)
    hf_model.float().save_pretrained(tmp_path / "float32")
    assert_same(ours.params, load_model(tmp_path / "float32").params)


@pytest.mark.parametrize("config", [V1, V2, LINEAR, replace(V1, num_labels=0), replace(V2, num_labels=0)],
                         ids=["v1", "v2", "linear", "v1 headless", "v2 headless"])  # fmt: skip
def test_official_pickles(tmp_path, torch, config):
    """As published, as the training script saves them, as DataParallel names them; PyTorch's old format and its new."""
    model = make_model(config)
    bare = tensors(torch, model)
    kept = {"optimizer": {"lr": 0.1}, "epoch": 3, "args": argparse.Namespace(model="pvt_tiny", lr=1e-3)}
    parallel = {"state_dict": {f"module.{name}": value for name, value in bare.items()}}
    for state in (bare, {"model": bare} | kept, parallel):
        for new in (True, False):
            torch.save(state, tmp_path / "m.pth", _use_new_zipfile_serialization=new)
            ours = load_model(tmp_path / "m.pth")
            assert_same(ours.params, model.params)
            assert ours.config == replace(config, layer_norm_eps=1e-6, patch_norm_eps=1e-5)
            assert ours.origin["format"] == "the official code (whai362/PVT)"


def under(prefix, state):
    return {prefix + name: value for name, value in state.items()}


KEPT = {  # as training scripts keep raw and averaged weights -> where each is, as the description says
    "timm": (lambda raw, ema: {"epoch": 299, "arch": "pvt_v2_b0", "state_dict": raw, "state_dict_ema": ema},
             "state_dict", "state_dict_ema"),
    "deit": (lambda raw, ema: {"model": raw, "model_ema": ema, "epoch": 3}, "model", "model_ema"),
    "in two tables": (lambda raw, ema: {"model": raw, "ema": {"module": ema, "updates": 3}}, "model", "ema.module"),
    "parallel": (lambda raw, ema: {"state_dict": raw, "ema_state_dict": {"steps": 3} | under("module.", ema)},
                 "state_dict", "ema_state_dict.module"),
    "mmengine": (lambda raw, ema: {"state_dict": ema, "ema_state_dict": under("module.", raw),
                                   "meta": {"mmengine_version": "0.10.4"}}, "ema_state_dict.module", "state_dict"),
    "lightning": (lambda raw, ema: {"state_dict": under("net.", raw) | under("net_ema.module.", ema), "callbacks": {},
                                    "optimizer_states": [{"state": {0: {"exp_avg": raw["head.bias"]}}}]},
                  "state_dict.net", "state_dict.net_ema.module"),
    "only averaged": (lambda raw, ema: {"decay": 0.999, "num_updates": 7, "shadow": ema}, None, "shadow"),
    "torch's own": (lambda raw, ema: {"n_averaged": 3} | under("module.", ema), None, "module"),
    "never averaged": (lambda raw, ema: {"checkpoint": {"model": raw | {"epoch": 3}}}, "checkpoint.model", None),
}  # fmt: skip


@pytest.mark.parametrize(("kept", "raw_at", "ema_at"), KEPT.values(), ids=KEPT)
def test_raw_and_averaged_weights(tmp_path, torch, kept, raw_at, ema_at):
    raw, ema = make_model(V2, 0), make_model(V2, 1)
    path = tmp_path / "m.pth"
    torch.save(kept(tensors(torch, raw), tensors(torch, ema)), path)
    for weights, model, place in (("raw", raw, raw_at), ("ema", ema, ema_at)):
        if place is None:
            with pytest.raises(ValueError, match="m.pth: found no PVT of .* weights; expected what is there: "):
                load_model(path, weights=weights)
            continue
        ours = load_model(path, weights=weights)
        assert_same(ours.params, model.params)
        said = {"raw": f"raw, under {place}", "ema": f"averaged, under {place}"}[weights]
        assert ours.origin.get("weights") == (said if ema_at else None)
        assert "left aside" in ours.origin if raw_at == "state_dict.net" else "left aside" not in ours.origin
    assert_same(load_model(path).params, (ema if ema_at else raw).params)


def test_tables_that_are_no_choice(tmp_path, torch):
    """One table twice or within itself is one; two tables are two; a list has no names."""
    raw, other = (tensors(torch, make_model(V2, seed)) for seed in (0, 1))
    within = {"model": raw, "state_dict": raw}
    torch.save(within | {"self": within}, tmp_path / "m.pth")
    assert "weights" not in load_model(tmp_path / "m.pth").origin
    torch.save({"model": raw, "best": other}, tmp_path / "m.pth")
    refused(
        tmp_path / "m.pth", "found 2 PVTs, under model and under best; expected one; a prefix chooses, as --prefix best"
    )
    assert_same(load_model(tmp_path / "m.pth", prefix="best").params, make_model(V2, 1).params)
    torch.save({"decay": 0.9, "num_updates": 3, "shadow_params": list(raw.values())}, tmp_path / "m.pth")
    refused(tmp_path / "m.pth", "found no table of parameters; expected one, bare or in a table such as 'model' or")
    torch.save({"model.x": raw["head.bias"], "model": {"x": raw["head.bias"]}}, tmp_path / "m.pth")
    refused(tmp_path / "m.pth", "found two parameters of one name")


def test_folder_with_a_pickle_only(tmp_path, torch, hf_model):
    hf_model.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(hf_model.state_dict(), tmp_path / "pytorch_model.bin")
    assert_same(load_model(tmp_path).params, ours.params)
    assert load_model(tmp_path).origin == ours.origin


def test_pickles_in_half_precision(tmp_path, torch):
    model = make_model(V2)
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        state = {name: value.to(dtype) for name, value in tensors(torch, model).items()}
        torch.save(state, tmp_path / "m.pth")
        ours = flatten(load_model(tmp_path / "m.pth").params)
        for name, value in state.items():
            if not name.startswith(("block", "patch_embed", "norm")):
                np.testing.assert_array_equal(ours[name], value.float().numpy())
        theirs = state["block1.0.attn.kv.weight"].float().numpy()
        np.testing.assert_array_equal(ours["stages.0.blocks.0.attn.kv.weight"], theirs)


DAMAGED = "found a pickle that is damaged or holds more than tensors"


TOLD = "; expected tensors alone, for any other pickle could run any program"


class Mine:
    """A class of a training script."""


def refused_in_our_words(path, *words):
    """As `refused`; and nothing that PyTorch says is passed on: no advice to switch its safety off, no colours."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = refused(path, f"{path.name}: {DAMAGED} (", TOLD, *words)
    assert not re.search("weights_only|add_safe_globals|trust|\x1b|PytorchStreamReader|WeightsUnpickler", said), said


class Malice:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_pickle_that_would_run_a_program_is_not_opened(tmp_path, torch):
    for state in (Malice(str(tmp_path / "harm")), {"model": {"x": torch.ones(1)}, "y": Malice(str(tmp_path / "harm"))}):
        for new in (True, False):
            torch.save(state, tmp_path / "m.pth", _use_new_zipfile_serialization=new)
            refused_in_our_words(tmp_path / "m.pth", "it holds an object of io.open")
    assert not (tmp_path / "harm").exists()


def test_pickles_that_are_no_checkpoint(tmp_path, torch):
    path = tmp_path / "m.pth"
    good = tensors(torch, make_model(V2))
    torch.save(good, path)
    for damaged in (b"PK\x03\x04", b"", b"\x80\x02", b"no pickle"):
        path.write_bytes(damaged)
        refused_in_our_words(path)
    for state, said in (
        ([torch.ones(1)], "found no table of parameters; expected one, bare or in a table such as 'model' or"),
        ({}, "found no table of parameters"),
        (good | {"head.bias": 3}, "missing: head.bias"),
        (good | {"head.bias": torch.ones(3, dtype=torch.int64)}, "head.bias: found the type torch.int64"),
        (good | {"head.bias": torch.ones(3).to_sparse()}, "head.bias: found the type torch.float32, torch.sparse_coo"),
        (good | {"head.bias": torch.ones(4)}, "head.bias is (4,), expected (3,)"),
        (good | {"head.bias": torch.ones(3).to(torch.float8_e4m3fn)}, "head.bias: found the type torch.float8_e4m3fn"),
        (good | {"head.bias": torch.ones(3, device="meta")}, "head.bias: found the type torch.float32, without num"),
        (good | {"head.bias": torch.nested.nested_tensor([torch.ones(3)], layout=torch.jagged)},
         "head.bias: found a nested tensor, which has no shape; expected plain tensors"),
        ({name: tensor.to("meta") for name, tensor in good.items()}, "found the type torch.float32, without numbers"),
    ):  # fmt: skip
        torch.save(state, path)
        refused(path, said)


def test_a_shape_that_its_numbers_do_not_fill_takes_no_memory(tmp_path, torch):
    state = tensors(torch, make_model(V2)) | {"head.bias": torch.ones(1).expand(10**9)}
    state["head.weight"] = torch.ones(1).expand(10**9, 256)
    torch.save(state, tmp_path / "m.pth")
    refused(tmp_path / "m.pth", "head.weight: found fewer numbers than its shape (1000000000, 256) has")


@pytest.mark.parametrize(("beside", "name"), [
    ({"hub": Mine()}, f"{__name__}.Mine"), ({"best": np.float64(81.2)}, "multiarray.scalar"),
    ({"args": {"output": pathlib.PurePosixPath("/x")}}, "pathlib.PurePosixPath"),
    ({"meters": collections.defaultdict(list)}, "collections.defaultdict"),
], ids=["hub", "best", "args", "meters"])  # fmt: skip
def test_classes_of_others_are_named(tmp_path, torch, beside, name):
    state = {"model": tensors(torch, make_model(V2))} | beside
    for new in (True, False):
        torch.save(state, tmp_path / "m.pth", _use_new_zipfile_serialization=new)
        refused_in_our_words(tmp_path / "m.pth", f"{name}; save the model's state_dict() by itself")
    torch.save(state, tmp_path / "m.pth", pickle_protocol=4)
    refused_in_our_words(tmp_path / "m.pth", "another pickle_protocol than 2")


@pytest.mark.parametrize("suffix", ["pt", "bin", "ckpt", "safetensors"])
def test_whole_models_are_no_checkpoint(tmp_path, torch, suffix):
    path = tmp_path / f"m.{suffix}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is going out of use
        torch.jit.save(torch.jit.trace(torch.nn.ReLU(), torch.ones(1)), path)
    refused_in_our_words(path, "it is a TorchScript archive; torch.jit.load(...).state_dict() gives what to save")
    torch.save(torch.nn.Linear(1, 1), path)
    refused_in_our_words(path, "torch.nn.modules.linear.Linear")


@pytest.mark.parametrize("suffix", ["pth", "ckpt"])
@pytest.mark.parametrize("new", [True, False])
def test_a_file_that_is_half_there_is_named_at_every_length(tmp_path, torch, suffix, new):
    path = tmp_path / f"m.{suffix}"
    torch.save({"model": {"x": torch.ones(3), "y": torch.ones(2)}}, path, _use_new_zipfile_serialization=new)
    raw = path.read_bytes()
    for length in range(2, len(raw)):
        path.write_bytes(raw[:length])
        if length < 9 or suffix == "pth":  # the suffix matters only as long as the bytes say nothing
            refused_in_our_words(path, f"(its {length:,} bytes are cut off or damaged)")


@pytest.mark.parametrize("suffix", ["", ".ckpt", ".pth.tar", ".safetensors", ".weights"])
@pytest.mark.parametrize("new", [True, False])
def test_a_pickle_is_known_by_its_bytes(tmp_path, torch, suffix, new):
    """Not by its suffix, by which PyTorch itself would choose another reader."""
    model = make_model(V2)
    torch.save(tensors(torch, model), tmp_path / f"m{suffix}", _use_new_zipfile_serialization=new)
    assert_same(load_model(tmp_path / f"m{suffix}").params, model.params)


@pytest.fixture
def timm(torch):
    try:
        import timm
    except ImportError as error:  # also if timm is there and torchvision, which it needs, is not
        do_without("TIMM", f"needs timm, which no other test does and requirements-torch.txt leaves out: {error}")
    return timm


@pytest.mark.parametrize("variant", ["pvt_v2_b0", "pvt_v2_b2_li"])
def test_timm_loads_what_goes_back_to_it(tmp_path, torch, timm, pixels, variant):
    config = replace(VARIANTS[variant], num_labels=5, layer_norm_eps=1e-6, patch_norm_eps=1e-5)
    model = make_model(config, preprocessing=RECIPES["timm"])
    for value in flatten(model.params).values():
        value *= 0.05
    assert export_timm(tmp_path / "timm", model) == []
    theirs = timm.create_model(f"local-dir:{tmp_path / 'timm'}", pretrained=True).eval()
    with torch.no_grad():
        expected = theirs.double()(torch.from_numpy(pixels)).numpy()
    ours = load_model(tmp_path / "timm", dtype=np.float64)
    np.testing.assert_allclose(our_logits(ours, pixels), expected, rtol=1e-10, atol=1e-12)
