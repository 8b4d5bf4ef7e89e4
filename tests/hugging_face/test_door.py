"""The names of Hugging Face's pages without PyTorch: they give what the functions give, keep what they are told, and
say in one line what cannot be. (Against transformers itself: test_same_calls.py.)"""

import copy
import json
import pickle
import sys
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from PIL import Image

import pvt_numpy
from pvt_numpy import (
    RECIPES,
    SAMPLE_PICTURE,
    VARIANTS,
    PvtConfig,
    PvtForImageClassification,
    PvtImageProcessor,
    PvtModel,
    PvtV2Backbone,
    PvtV2Config,
    PvtV2ForImageClassification,
    PvtV2Model,
    forward,
    init_params,
    load_model,
    parameter_shapes,
    pipeline,
    preprocess,
    save_model,
)
from pvt_numpy.config import config_to_dict
from pvt_numpy.gradients import loss_and_gradients
from pvt_numpy.layers.losses import cross_entropy
from pvt_numpy.parameters import flatten, unflatten
from pvt_numpy.system.paths import SHIPPED_MODELS
from tests.pictures.picture_cases import photo
from tests.processes import run

NARROW = {"depths": [1, 2, 1, 1], "hidden_sizes": [8, 16, 24, 32], "num_attention_heads": [1, 2, 3, 4],
          "mlp_ratios": [2, 2, 2, 2], "image_size": 32}  # fmt: skip
V1, V2 = PvtConfig(**NARROW, num_labels=5), PvtV2Config(**NARROW, num_labels=5)
BOTH = pytest.mark.parametrize("config", [V1, V2], ids=["v1", "v2"])
X = np.random.default_rng(0).standard_normal((2, 3, 32, 32), dtype=np.float32)


def classifier(config, **options):
    kind = PvtForImageClassification if config.model_type == "pvt" else PvtV2ForImageClassification
    return kind(config, **options)


# the page's example

EXAMPLE = """
from pvt_numpy import {processor}, {model}
image_processor = {processor}.from_pretrained({source})
model = {model}.from_pretrained({source})
inputs = image_processor(images=image, return_tensors="np")
outputs = model(**inputs)
label = model.config.id2label[outputs.logits.argmax(-1).item()]
"""


@pytest.mark.parametrize(("model", "processor"), [
    ("PvtV2ForImageClassification", "PvtImageProcessor"), ("AutoModelForImageClassification", "AutoImageProcessor")
])  # fmt: skip
def test_the_pages_example_runs_with_the_models_that_ship(model, processor, tmp_path):
    with Image.open(SAMPLE_PICTURE) as image:
        names = {"image": image}
        exec(EXAMPLE.format(model=model, processor=processor, source=""), names)
        assert names["label"] == "golf ball"
        for one in ("model", "image_processor"):
            names[one].save_pretrained(tmp_path / "folder")
        again = {"image": image}
        exec(EXAMPLE.format(model=model, processor=processor, source=repr(str(tmp_path / "folder"))), again)
    assert again["label"] == "golf ball"
    assert (again["outputs"].logits == names["outputs"].logits).all()
    assert again["model"].config.id2label == names["model"].config.id2label


def test_the_names_come_when_they_are_asked_for():
    status, out, err = run("-c", "import sys, pvt_numpy; print('pvt_numpy.hugging_face' in sys.modules); "
                                 "from pvt_numpy import *; print(PvtV2Backbone.__module__)")  # fmt: skip
    assert (status, out.split(), err) == (0, ["False", "pvt_numpy.hugging_face.models"], "")
    assert set(pvt_numpy.HUGGING_FACE) <= set(pvt_numpy.__all__) <= set(dir(pvt_numpy))


# configurations


@BOTH
def test_the_functions_take_it_as_their_own(config, tmp_path):
    plain = replace(VARIANTS["pvt_tiny" if config is V1 else "pvt_v2_b0"], **NARROW, num_labels=5)
    assert config == plain
    assert plain == config
    assert hash(plain) == hash(config)
    assert config != replace(config, num_labels=6)
    assert plain != replace(config, num_labels=6)
    assert config_to_dict(config) == config_to_dict(plain)
    assert parameter_shapes(config) == parameter_shapes(plain)
    assert isinstance(plain, type(config))
    assert not isinstance(plain, PvtConfig if config is V2 else PvtV2Config)
    params = init_params(config, np.random.default_rng(0))
    assert (forward(X, params, config).logits == forward(X, params, plain).logits).all()
    save_model(tmp_path / "model", pvt_numpy.Model(replace(config, my_own=1), params))
    assert load_model(tmp_path / "model").config == config


@BOTH
def test_it_is_frozen_and_says_so(config):
    for attempt in (lambda: setattr(config, "depths", (1,)), lambda: setattr(config, "new", 1),
                    lambda: delattr(config, "depths")):  # fmt: skip
        with pytest.raises(
            FrozenInstanceError, match=r"^\w+: found an assignment; .*dataclasses.replace\(config, \w+=…\)"
        ):
            attempt()


@BOTH
def test_what_is_told_beside_the_numbers_is_kept(config, tmp_path):
    names = dict(enumerate("abcde"))
    told = replace(config, id2label=names, output_attentions=True, return_dict=False, my_own={"a": [1, None]})
    copies = [replace(told, drop_path_rate=0.0), copy.copy(told), copy.deepcopy(told), pickle.loads(pickle.dumps(told)),
              type(told)(**told.to_dict()), type(told).from_dict(told.to_dict())]  # fmt: skip
    told.save_pretrained(tmp_path / "new" / "folder")
    copies += [type(told).from_pretrained(tmp_path / "new" / "folder"),
               type(told).from_pretrained(str(tmp_path / "new" / "folder" / "config.json"))]  # fmt: skip
    for one in copies:
        assert one == told
        assert (one.id2label, one.label2id) == (names, {name: i for i, name in names.items()})
        assert (one.output_attentions, one.output_hidden_states, one.return_dict) == (True, False, False)
        assert one.my_own == {"a": [1, None]}
    assert told != config
    assert "my_own" in repr(told)
    with pytest.raises(AttributeError, match="found no field 'other'"):
        told.other  # noqa: B018


def test_names_and_numbers_of_labels_follow_each_other():
    assert PvtConfig(id2label={"0": "a", "1": "b"}).num_labels == 2
    assert replace(V1, num_labels=3).id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    named = PvtV2Config(id2label={0: "a", 1: "b"})
    assert PvtV2Config.from_dict(named.to_dict(), num_labels=3).id2label == replace(V1, num_labels=3).id2label
    assert PvtV2Config.from_dict(named.to_dict(), num_labels=2).id2label == {0: "a", 1: "b"}
    assert PvtV2Config.from_dict(named.to_dict(), id2label={0: "c"}).num_labels == 1
    for bad in ({"num_labels": 3}, {"id2label": {0: "a", 2: "b"}}, {"id2label": ["a", "b"]}, {"id2label": {"x": "a"}}):
        with pytest.raises(ValueError, match="id2label: found"):
            replace(named, **bad)


def test_names_that_are_changed_leave_no_old_numbers():
    told = PvtConfig(id2label={0: "a", 1: "b"}, label2id={"a": 0, "b": 1})
    assert replace(told, id2label={0: "x", 1: "y"}).label2id == {"x": 0, "y": 1}
    assert replace(told, num_labels=3, id2label=None).label2id == {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}
    assert replace(told, drop_path_rate=0.5).label2id == {"a": 0, "b": 1}


def test_changes_mean_what_they_say():
    """Of a file of transformers' v1, `patch_sizes` are strides; of a change to it they are not."""
    assert PvtConfig.from_dict({}, patch_sizes=(7, 2, 2, 2)) == PvtConfig(patch_sizes=(7, 2, 2, 2))
    file = {"patch_sizes": [4, 2, 2, 2], "strides": [7, 2, 2, 2]}
    assert PvtConfig.from_dict(file, patch_norm_eps=1e-5).patch_sizes == (7, 2, 2, 2)


def test_stages_of_a_backbone_follow_the_depths():
    names = ("depths", "hidden_sizes", "num_attention_heads", "mlp_ratios", "patch_sizes", "strides", "sr_ratios")
    half = replace(V2, num_encoder_blocks=2, **{name: getattr(V2, name)[:2] for name in names})
    assert (half.stage_names, half.out_features, half.out_indices) == (["stage1", "stage2"], ["stage2"], [1])
    told = {"out_features": ["stage1"], "out_indices": [0]}
    assert PvtV2Config.from_dict(told, out_indices=[1]).out_features == ["stage2"]


def test_it_can_be_shown_and_refused_where_transformers_has_no_words_for_it(tmp_path):
    odd = PvtConfig(**NARROW | {"image_size": (32, 48)}, patch_norm_eps=1e-5)
    assert '"patch_norm_eps": 1e-05' in repr(odd)
    assert PvtConfig.from_dict(odd.to_dict()) == odd
    with pytest.raises(ValueError, match="position tables"):
        odd.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match="one epsilon: 1e-05 in patch embeddings and SRA becomes 1e-06"):
        PvtV2Config(patch_norm_eps=1e-5).save_pretrained(tmp_path)
    kernels = PvtConfig(**NARROW | {"image_size": 64}, patch_sizes=(5, 2, 2, 2), strides=(4, 2, 2, 2))
    assert PvtConfig(**kernels.to_dict()) == PvtConfig.from_dict(kernels.to_dict()) == kernels


# the image processor


def test_pixel_values_are_preprocess():
    processor, pictures = PvtImageProcessor(), [Image.fromarray(photo(40, 50)), photo(33, 61)]
    expected = preprocess(pictures, **RECIPES["hf"])
    listed, inputs = processor(pictures).pixel_values, processor(pictures, return_tensors="np")
    assert [one.shape for one in listed] == [(3, 224, 224)] * 2
    assert (np.stack(listed) == expected).all()
    assert (inputs["pixel_values"] == expected).all()
    assert dict(**inputs).keys() == inputs.keys() == {"pixel_values"}
    assert (pickle.loads(pickle.dumps(inputs)).pixel_values == expected).all()
    last = processor(pictures, data_format="channels_last", return_tensors="np").pixel_values
    assert (last.transpose(0, 3, 1, 2) == expected).all()
    assert inputs.to("cpu") is inputs
    assert inputs.to(np.float64).pixel_values.dtype == np.float64
    assert processor(pictures).to("float64").pixel_values[1].dtype == np.float64


def test_pictures_of_other_colours_are_read():
    for picture in (
        photo(channels=4),
        photo(channels=1),
        photo(channels=1)[..., 0],
        Image.fromarray(photo()).convert("L"),
    ):
        assert PvtImageProcessor()(picture, return_tensors="np").pixel_values.shape == (1, 3, 224, 224)
    grey = photo(channels=1)[..., 0]
    named = PvtImageProcessor()(grey, input_data_format="none", return_tensors="np").pixel_values
    assert (named == PvtImageProcessor()(grey, return_tensors="np").pixel_values).all()


@pytest.mark.parametrize(("call", "error", "said"), [
    (lambda: PvtImageProcessor()(photo(), input_data_format="none"), ValueError, "as input_data_format"),
    (lambda: PvtImageProcessor()("https://example.org/cat.jpg"), ValueError, "found an address"),
    (lambda: PvtImageProcessor()(photo(), device="cuda"), ValueError, "device: found 'cuda'; expected 'cpu'"),
    (lambda: PvtImageProcessor()(photo(), device="float64"), ValueError, "device: found 'float64'; expected 'cpu'"),
    (lambda: PvtImageProcessor()("data:image/png;base64,iVBORw0KGgo="), ValueError, "found an address"),
    (lambda: PvtImageProcessor()(photo(), do_pad=True, pad_size=0), ValueError, "pad_size: found 0"),
    (lambda: PvtImageProcessor()(photo(), data_format="first"), ValueError, "data_format: found"),
    (lambda: PvtImageProcessor()([photo(), {}]), TypeError, r"images\[1\]: found dict"),
    (lambda: PvtImageProcessor()(photo()).to("cuda:0"), ValueError, "found 'cuda:0'"),
    (lambda: PvtImageProcessor.from_pretrained(use_fast=True), TypeError, "use_fast: found an unknown option"),
])  # fmt: skip
def test_what_a_processor_cannot_do(call, error, said):
    with pytest.raises(error, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_tensors_are_refused_in_one_line_without_pytorch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="return_tensors: found 'pt' where PyTorch is not installed; expected 'np'"):
        PvtImageProcessor()(photo(), return_tensors="pt")


def test_a_processor_is_saved_with_all_that_it_was_told(tmp_path):
    processor = PvtImageProcessor(
        size={"shortest_edge": 30}, do_center_crop=True, crop_size=25, crop_offset="round", mine=3
    )
    assert processor.save_pretrained(tmp_path) == [str(tmp_path / "preprocessor_config.json")]
    again = PvtImageProcessor.from_pretrained(tmp_path)
    assert again.to_dict() == processor.to_dict()
    assert (again.mine, again.size.shortest_edge, again.size["shortest_edge"]) == (3, 30, 30)
    expected = preprocess(
        photo(41, 52), size={"shortest_edge": 30}, do_center_crop=True, crop_size=25, crop_offset="round"
    )
    assert (again(photo(41, 52), return_tensors="np").pixel_values == expected).all()
    assert repr(again) == f"PvtImageProcessor {again.to_json_string()}"
    again.size = {"height": 8, "width": 9}
    assert again(photo(), do_center_crop=False)["pixel_values"][0].shape == (3, 8, 9)


def test_the_recipe_of_a_file_of_ours_comes_with_it(tmp_path):
    save_model(
        tmp_path / "model", pvt_numpy.Model(V2, init_params(V2, np.random.default_rng(0)), None, RECIPES["official"])
    )
    found = PvtImageProcessor.from_pretrained(tmp_path / "model")(photo(300, 401), return_tensors="np").pixel_values
    assert (found == preprocess(photo(300, 401), **RECIPES["official"])).all()
    for told, name, expected in [  # what another processor means by what it does not say; and a filter by its name
        ({"image_processor_type": "ConvNextImageProcessor"}, "size", {"height": 384, "width": 384}),
        ({"feature_extractor_type": "ViTFeatureExtractor"}, "image_mean", (0.5, 0.5, 0.5)),
        ({"resample": "PILImageResampling.LANCZOS"}, "resample", 1),
    ]:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(told))
        assert getattr(PvtImageProcessor.from_pretrained(tmp_path), name) == expected


# models


@BOTH
def test_a_model_gives_what_forward_gives(config):
    model, labels = classifier(config, seed=3), [1, 4]
    params = init_params(config, np.random.default_rng(3))
    out = forward(X, params, config, labels, output_attentions=True, output_hidden_states=True)
    found = model(X, labels=labels, output_attentions=True, output_hidden_states=True)
    assert list(found) == ["loss", "logits", "hidden_states", "attentions"]
    assert found.loss == out.loss
    assert (found.logits == out.logits).all()
    assert len(found.hidden_states) == len(out.hidden_states)
    assert found[:2] == found.to_tuple()[:2] == (found.loss, found.logits)
    bare = (PvtModel if config is V1 else PvtV2Model)(config, seed=3)(X)
    assert (bare.last_hidden_state == out.last_hidden_state).all()
    assert bare.hidden_states is None
    assert "hidden_states" not in bare
    again = pickle.loads(pickle.dumps(found))
    assert list(again) == list(found)
    assert repr(copy.copy(bare)).startswith("BaseModelOutput(last_hidden_state=array(")
    with pytest.raises(AttributeError, match="expected last_hidden_state"):
        bare.logits  # noqa: B018


@BOTH
def test_hidden_states_and_attentions_have_the_counts_and_shapes_of_the_page(config):
    model = (PvtModel if config is V1 else PvtV2Model)(config)
    out = model(X, output_attentions=True, output_hidden_states=True)
    grids, keys, heads, widths = (8, 4, 2, 1), (1, 1, 1, 1), (1, 2, 3, 4), (8, 16, 24, 32)
    if config is V2:  # a map a stage; one tuple of tables a stage
        assert [one.shape for one in out.hidden_states] == [(2, C, n, n) for C, n in zip(widths, grids, strict=True)]
        assert [len(stage) for stage in out.attentions] == [1, 2, 1, 1]
        attentions = [stage[0].shape for stage in out.attentions]
    else:  # tokens after every block and once more after the last norm; the class token stands in the last stage
        assert [one.shape for one in out.hidden_states] == [
            (2, 64, 8), (2, 16, 16), (2, 16, 16), (2, 4, 24), (2, 2, 32), (2, 2, 32)]  # fmt: skip
        assert (out.hidden_states[-1] == out.last_hidden_state).all()
        assert len(out.attentions) == 5
        attentions = [out.attentions[i].shape for i in (0, 1, 3, 4)]
    class_token = [0, 0, 0, int(config is V1)]
    assert attentions == [(2, h, n * n + c, k + c)
                          for h, n, k, c in zip(heads, grids, keys, class_token, strict=True)]  # fmt: skip


@BOTH
def test_a_picture_does_not_depend_on_its_batch(config):
    model = classifier(config, dtype="float64")
    together = model(X.astype(np.float64), output_hidden_states=True)
    for k in range(2):
        alone = model(X[k : k + 1].astype(np.float64), output_hidden_states=True)
        for one, other in zip(
            [alone.logits, *alone.hidden_states], [together.logits, *together.hidden_states], strict=True
        ):
            assert np.abs(one[0] - other[k]).max() < 1e-12


def test_a_backbone_gives_the_maps_that_were_asked_for():
    backbone = PvtV2Backbone(replace(V2, out_features=["stage2", "stage4"]), seed=3)
    maps = pvt_numpy.pyramid(X, backbone.params, V2)
    out = backbone(X)
    assert list(out) == ["feature_maps"]
    assert all((one == maps[i]).all() for one, i in zip(out.feature_maps, (1, 3), strict=True))
    assert backbone.channels == [16, 32]
    assert len(backbone(X, output_hidden_states=True, return_dict=False)) == 2


@BOTH
def test_training_has_its_noise_and_gradients(config):
    noisy = replace(config, hidden_dropout_prob=0.3, drop_path_rate=0.2)
    model, labels = classifier(noisy, dtype="float64"), np.array([1, 4])
    x = X.astype(np.float64)
    quiet = model(x).logits
    calls = [model.train(7)(x).logits, model(x).logits]
    for n, logits in enumerate(calls):
        assert (logits == forward(x, model.params, noisy, seed=(7, n)).logits).all()
    assert not np.allclose(calls[0], calls[1])
    assert model.training
    loss, gradients = model.loss_and_gradients(x, labels)
    expected, _, grads = loss_and_gradients(x, model.params, noisy, labels, seed=(7, 2))
    assert loss == expected
    assert gradients.keys() == model.state_dict().keys()
    assert (gradients["classifier.weight"] == grads["head"]["weight"]).all()
    assert (model.train(False)(x).logits == quiet).all()
    before = model(x, labels=labels).loss
    _, gradients = model.loss_and_gradients(x, labels)
    for name, array in model.state_dict().items():  # written in place, as PyTorch's optimisers do
        array -= 0.01 * gradients[name]
    assert model(x, labels=labels).loss < before
    assert np.isclose(before, cross_entropy(quiet, labels))


@pytest.mark.parametrize(("config", "dtype"), [(V1, "float64"), (V2, "float32")], ids=["v1", "v2"])
def test_a_folder_comes_back_bit_for_bit(config, dtype, tmp_path):
    model = classifier(replace(config, my_own=1, output_attentions=True), dtype=dtype)
    PvtImageProcessor(size=32).save_pretrained(tmp_path)
    for _ in range(2):  # also over what lies there
        model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    assert (again.dtype, again.config.my_own, again.num_parameters()) == (np.dtype(dtype), 1, model.num_parameters())
    assert all((array == again.state_dict()[name]).all() for name, array in model.state_dict().items())
    assert "attentions" in again(X.astype(dtype))
    loaded = load_model(tmp_path, dtype)
    assert loaded.preprocessing["size"] == {"height": 32, "width": 32}
    assert (forward(X.astype(dtype), loaded.params, loaded.config).logits == model(X.astype(dtype)).logits).all()
    assert type(model).from_pretrained(tmp_path, dtype=np.float32).dtype == np.float32
    again.to("float64")
    assert again.dtype == np.float64


def test_a_name_of_the_hub_is_downloaded(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("pvt_numpy.checkpoints.hub.download", lambda *told: asked.append(told) or tmp_path)
    classifier(V1).save_pretrained(tmp_path)
    PvtImageProcessor(size=32, resample=0).save_pretrained(tmp_path)
    assert PvtConfig.from_pretrained("some/pvt", local_files_only=True).depths == (1, 2, 1, 1)
    assert PvtForImageClassification.from_pretrained("some/pvt", local_files_only=True).config.depths == (1, 2, 1, 1)
    assert PvtImageProcessor.from_pretrained("pvt_tiny").resample == 0
    assert pipeline("image-classification", "some/pvt").image_processor.resample == 0
    assert asked == [("some/pvt", True), ("some/pvt", True), ("pvt_tiny", False), ("some/pvt", False)]
    PvtForImageClassification.from_pretrained("some/pvt", config="other/pvt", local_files_only=True)
    assert asked[4:] == [("some/pvt", True), ("other/pvt", True)]


@BOTH
def test_a_folder_whose_recipe_load_model_cannot_follow(config, tmp_path):
    """Padding is the image processor's alone; the model beside it, and the pipeline of both, are as any other."""
    model = classifier(config)
    model.save_pretrained(tmp_path)
    PvtImageProcessor(size=32, do_pad=True, pad_size=32).save_pretrained(tmp_path)
    assert (type(model).from_pretrained(tmp_path)(X).logits == model(X).logits).all()
    ready = pipeline("image-classification", str(tmp_path))
    assert ready.image_processor.do_pad is True
    pixels = PvtImageProcessor(size=32)(SAMPLE_PICTURE, return_tensors="np").pixel_values
    best = int(model(pixels).logits.argmax())
    assert ready(SAMPLE_PICTURE)[0]["label"] == config.id2label[best]


def test_a_calibrated_model_stays_calibrated_and_says_where_it_cannot(tmp_path):
    loaded = load_model()
    save_model(tmp_path / "sure.safetensors", replace(loaded, temperature=2.0))
    ready = pipeline("image-classification", tmp_path / "sure.safetensors")
    pixels = ready.image_processor(SAMPLE_PICTURE, return_tensors="np").pixel_values
    logits = forward(pixels, loaded.params, loaded.config).logits[0].astype(float)
    for temperature, asked in ((2, {}), (1, {"function_to_apply": "softmax"})):
        shares = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
        assert ready(SAMPLE_PICTURE, **asked)[0]["score"] == pytest.approx(shares.max(), abs=1e-6)
    with pytest.warns(UserWarning, match="the temperature, 2, stays behind: probabilities there are uncalibrated"):
        ready.model.save_pretrained(tmp_path / "folder")


def test_what_is_no_classifier_is_called_so(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(ValueError, match="config.json|model_type: found 'vit'; expected 'pvt' or 'pvt_v2'"):
        pvt_numpy.AutoModelForImageClassification.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="model: found one without a classifier; expected one with labels"):
        pipeline("image-classification", PvtModel(replace(V1, num_labels=0)), PvtImageProcessor())
    with pytest.raises(ValueError, match=r"image_processor_dict: found \[1\]; expected a dict of options"):
        PvtImageProcessor.from_dict([1])


def test_parameters_that_are_not_there_cannot_be_ignored(tmp_path):
    classifier(V1).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"found unexpected stages\.1\.blocks\.1\..*; expected the configuration's$"):
        PvtModel.from_pretrained(tmp_path, depths=(1, 1, 1, 1), ignore_mismatched_sizes=True)
    model = classifier(V1)
    with pytest.raises(ValueError, match="seed"):
        model.train(-1)
    assert not model.training


def test_a_new_classifier_is_drawn_and_said(tmp_path):
    old = classifier(V2)
    old.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"head.weight \(5, 32\).*ignore_mismatched_sizes=True") as caught:
        PvtV2ForImageClassification.from_pretrained(tmp_path, num_labels=3)
    assert "\n" not in str(caught.value)
    names = {0: "a", 1: "b", 2: "c"}
    asked = {"id2label": names, "label2id": {"a": 0, "b": 1, "c": 2}, "ignore_mismatched_sizes": True}
    with pytest.warns(UserWarning, match="head.weight, head.bias are drawn afresh") as caught:
        models = [PvtV2ForImageClassification.from_pretrained(tmp_path, seed=seed, **asked) for seed in (0, 0, 1)]
    assert {record.filename for record in caught} == {__file__}
    heads = [model.state_dict()["classifier.weight"] for model in models]
    assert heads[0].shape == (3, 32)
    assert (heads[0] == heads[1]).all()
    assert not (heads[0] == heads[2]).any()
    assert models[0].config.id2label == names
    assert (
        models[0](X, output_hidden_states=True).hidden_states[-1] == old(X, output_hidden_states=True).hidden_states[-1]
    ).all()
    PvtV2Model.from_pretrained(tmp_path).save_pretrained(tmp_path / "bare")
    with pytest.warns(UserWarning, match="drawn afresh"):
        assert PvtV2ForImageClassification.from_pretrained(tmp_path / "bare").config.num_labels == 5


def test_the_official_epsilons_are_kept_or_their_loss_is_said(tmp_path):
    config = replace(V2, patch_norm_eps=1e-3)
    save_model(
        tmp_path / "ours", pvt_numpy.Model(config, init_params(config, np.random.default_rng(0)), tuple("abcde"))
    )
    model = PvtV2ForImageClassification.from_pretrained(tmp_path / "ours")
    assert model.config.patch_norm_eps == 1e-3
    assert model.config.id2label[4] == "e"
    with pytest.warns(UserWarning, match="one epsilon: 0.001 in patch embeddings and SRA becomes 1e-06"):
        model.save_pretrained(tmp_path / "hf")


@pytest.mark.parametrize(("call", "error", "said"), [
    (lambda: PvtModel(V2), TypeError, "expected a PvtConfig; for the other there is PvtV2Model"),
    (lambda: PvtV2Backbone(V1), TypeError, "expected a PvtV2Config; for the other there is pyramid"),
    (lambda: PvtV2Model.from_pretrained(SHIPPED_MODELS["pvt_v1_nano_imagenette"]), TypeError, "there is PvtModel"),
    (lambda: PvtV2Model.from_pretrained(device_map="auto"), TypeError, "device_map: found an unknown option"),
    (lambda: PvtV2Model.from_pretrained(dtype="float16"), ValueError, "found 'float16'; expected float32 or float64"),
    (lambda: PvtV2Model.from_pretrained(depths=(1, 1, 1, 1)), ValueError, r"stages.0.blocks.1"),
    (lambda: PvtV2Model(V2).to("cuda"), ValueError, "to: found 'cuda'; expected 'cpu', the one device that NumPy has"),
    (lambda: PvtV2Model(V2).cuda(), AttributeError, "PvtV2Model.cuda: .*gradients come from loss_and_gradients"),
    (lambda: PvtV2Model(V2).parameters(), AttributeError, "loss_and_gradients"),
    (lambda: classifier(V2)(X, [1, 2]).loss.backward(), AttributeError, "Loss32.backward: .*loss_and_gradients"),
    (lambda: PvtV2Model(V2).train(-1), ValueError, r"seed: found \(-1, 0\)"),
    (lambda: PvtV2Config.from_pretrained(revision="v2"), TypeError, "revision: found an unknown option"),
    (lambda: PvtV2Model.from_pretrained(config=load_model), TypeError, "found a function; expected a PvtV2Config"),
    (lambda: PvtConfig.from_dict([1]), ValueError, r"config_dict: found \[1\]; expected a dict"),
    (lambda: pipeline("image-classification", use_fast=True), TypeError, "use_fast: found an unknown option"),
    (lambda: pipeline("image-classification", device=-1)(photo(), n=3), TypeError, "n: found .*; expected top_k"),
    (lambda: PvtV2Model(V2)(X.tolist()), ValueError, "pixel_values: found list"),
    (lambda: PvtV2Model(V2).save_pretrained(__file__), NotADirectoryError, "found a file"),
    (lambda: pipeline("image-classification")("http://example.org/cat.jpg"), ValueError, "found an address"),
    (lambda: pipeline("image-classification", device="cuda:0"), ValueError, "device: found 'cuda:0'"),
    (lambda: pipeline("image-classification")(photo()[None].repeat(2, 0)), ValueError, "a batch of 2; expected a list"),
])  # fmt: skip
def test_what_a_model_cannot_do(call, error, said):
    with pytest.raises(error, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_models_are_copied_with_all_that_they_have():
    model = classifier(V1).train(3)
    for one in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert (one.config, one.training) == (V1, True)
        assert (one(X).logits == model.train(3)(X).logits).all()
    assert repr(PvtModel.from_pretrained()) == "PvtModel(pvt, 1,564,256 parameters, float32)"


# pipelines


def test_pipelines_answer_pictures_paths_and_lists():
    name = pipeline("image-classification", top_k=2)
    with Image.open(SAMPLE_PICTURE) as picture, SAMPLE_PICTURE.open("rb") as file:
        answers = [*name([SAMPLE_PICTURE, str(SAMPLE_PICTURE), picture, np.asarray(picture)]), name(file)]
    assert [[one["label"] for one in answer] for answer in answers] == [["golf ball", "gas pump"]] * 5
    assert abs(sum(one["score"] for one in name(SAMPLE_PICTURE, top_k=10)) - 1) < 1e-6
    features = pipeline("image-feature-extraction")(SAMPLE_PICTURE, return_tensors=True)
    assert features.shape == (1, 256, 7, 7)


@pytest.mark.parametrize(("problem_type", "num_labels", "expected"), [
    (None, 2, lambda z: np.exp(z) / np.exp(z).sum()), (None, 1, lambda z: 1 / (1 + np.exp(-z))),
    ("single_label_classification", 3, lambda z: np.exp(z) / np.exp(z).sum()), ("regression", 1, lambda z: z),
    ("multi_label_classification", 3, lambda z: 1 / (1 + np.exp(-z))), ("regression", 2, lambda z: z),
])  # fmt: skip
def test_scores_follow_the_problem_type(problem_type, num_labels, expected):
    model = classifier(replace(V2, num_labels=num_labels, problem_type=problem_type))
    params = {name: array * 3 for name, array in flatten(model.params).items()}
    model.params = unflatten(params)
    processor = PvtImageProcessor(size=32)
    logits = model(processor(photo(), return_tensors="np").pixel_values).logits[0]
    answer = pipeline("image-classification", model, processor)(photo())
    scores = expected(logits.astype(np.float64))
    assert [one["label"] for one in answer] == [f"LABEL_{i}" for i in np.argsort(-scores)]
    assert np.abs([one["score"] for one in answer] - np.sort(scores)[::-1]).max() < 1e-6
