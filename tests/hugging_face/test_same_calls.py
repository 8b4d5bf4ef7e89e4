"""The same line of code in transformers and here: every class, argument and form of result, and what both refuse.

A call is a text. It is evaluated twice, once with transformers' names and once with ours, over the same folders and
pictures, and the results are compared: keys and their order, shapes, values.
"""

from collections.abc import Mapping
from functools import cache
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import pvt_numpy
from tests.pictures.picture_cases import photo

pytestmark = pytest.mark.torch
NARROW = {"depths": [1, 2, 1, 1], "hidden_sizes": [8, 16, 24, 32], "num_attention_heads": [1, 2, 3, 4],
          "mlp_ratios": [2, 2, 2, 2], "image_size": 32, "initializer_range": 0.3}  # fmt: skip
LABELS = {"id2label": {0: "cat", 1: "dog", 2: "emu", 3: "fox", 4: "gnu"},
          "label2id": {"cat": 0, "dog": 1, "emu": 2, "fox": 3, "gnu": 4}}  # fmt: skip
FOLDERS = {  # name: (class, fields of its configuration)
    "v1": ("PvtForImageClassification", NARROW | LABELS | {"num_labels": 5}),
    "v2": ("PvtV2ForImageClassification", NARROW | LABELS),
    "linear": ("PvtV2ForImageClassification", NARROW | LABELS | {"linear_attention": True}),
    "bare1": ("PvtModel", NARROW), "bare2": ("PvtV2Backbone", NARROW | {"out_indices": [1, 3]}),
    "told": ("PvtV2ForImageClassification", NARROW | {"output_attentions": True, "output_hidden_states": True}),
    "plain": ("PvtForImageClassification", NARROW | LABELS | {"num_labels": 5, "return_dict": False}),
    "many": ("PvtV2ForImageClassification", NARROW | LABELS | {"problem_type": "multi_label_classification"}),
    "number": ("PvtV2ForImageClassification", NARROW | {"num_labels": 1, "problem_type": "regression"}),
    "one": ("PvtV2ForImageClassification", NARROW | {"num_labels": 1}),
}  # fmt: skip
NAMES = ("AutoModelForImageClassification", "PvtConfig", "PvtV2Config", "PvtModel", "PvtForImageClassification",
         "PvtV2Model", "PvtV2ForImageClassification", "PvtV2Backbone", "pipeline")  # fmt: skip


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The names that a call may use, in transformers and here."""
    import torch
    import transformers
    from transformers.models.pvt.image_processing_pil_pvt import PvtImageProcessorPil

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    folder, rng = tmp_path_factory.mktemp("models"), np.random.default_rng(0)
    torch.manual_seed(0)
    for name, (kind, values) in FOLDERS.items():
        generation = transformers.PvtConfig if kind.startswith(("PvtF", "PvtM")) else transformers.PvtV2Config
        model = getattr(transformers, kind)(generation(**values)).double()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn_like(parameter)  # no bias stays 0, no norm 1
        model.save_pretrained(folder / name)
        PvtImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder / name)
    picture, other = Image.fromarray(photo(40, 50)), Image.fromarray(photo(33, 61, seed=3))
    picture.save(folder / "picture.png")
    clear = Image.fromarray(np.dstack([photo(40, 50), photo(40, 50, seed=5)[..., 0]]))  # its colours, seen through
    clear.save(folder / "clear.png")
    given = {name: str(folder / name) for name in FOLDERS} | {"narrow": NARROW} | {
        "picture": picture, "other": other, "path": str(folder / "picture.png"), "array": photo(40, 50),
        "clear": clear, "clear_path": str(folder / "clear.png")}  # fmt: skip
    arrays = {
        "x": rng.standard_normal((3, 3, 32, 32)), "y": np.array([1, 4, 0]), "wide": rng.standard_normal((2, 3, 49, 70)),
        "multi": rng.random((3, 5)).round(), "values": rng.standard_normal(3), "x32": np.zeros((1, 3, 32, 32), "f4"),
    }  # fmt: skip

    def names(library, processor, convert):
        opened = cache(lambda kind, source: getattr(library, kind).from_pretrained(source, dtype="float64"))

        def load(kind, source):
            model = opened(kind, source).eval()
            if library is transformers:  # writes there which loss it took
                told = {given[name]: FOLDERS[name][1]["problem_type"] for name in ("many", "number")}
                model.config.problem_type = told.get(source)
            return model

        known = {name: getattr(library, name) for name in NAMES} | {"PvtImageProcessor": processor, **given}
        known |= {name: convert(array) for name, array in arrays.items()}
        tensor = torch.from_numpy(photo(40, 50).transpose(2, 0, 1).copy())
        pipe = cache(lambda source: library.pipeline("image-classification", model=source))
        return known | {"pipe": pipe, "tensor": tensor, "torch": torch, "load": load, "saved": saved}

    return SimpleNamespace(theirs=names(transformers, PvtImageProcessorPil, torch.from_numpy),
                           ours=names(pvt_numpy, pvt_numpy.PvtImageProcessor, np.copy))  # fmt: skip


def saved(one, kind):
    """What `one` becomes on its way through a folder."""
    with TemporaryDirectory() as folder:
        one.save_pretrained(folder)
        return kind.from_pretrained(folder)


def run(call, names):
    import torch

    with torch.no_grad():
        return eval(call, dict(names))


def assert_same(ours, theirs, tolerance, place=""):
    if isinstance(theirs, Mapping):
        assert isinstance(ours, Mapping), place
        assert list(ours) == list(theirs), place
        for key in theirs:
            assert_same(ours[key], theirs[key], tolerance, f"{place}[{key!r}]")
    elif isinstance(theirs, list | tuple):
        assert type(ours) is type(theirs), place
        assert len(ours) == len(theirs), place
        for i, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(one, other, tolerance, f"{place}[{i}]")
    elif hasattr(theirs, "shape"):
        theirs = np.asarray(theirs)
        assert np.shape(ours) == theirs.shape, place
        scale = max(1, np.abs(theirs).max(initial=0))
        assert np.abs(np.asarray(ours, np.float64) - theirs).max(initial=0) <= tolerance * scale, place
    elif isinstance(theirs, float):
        assert abs(ours - theirs) <= tolerance, place
    else:
        assert ours == theirs, place


def check(call, both, tolerance=1e-10):
    assert_same(run(call, both.ours), run(call, both.theirs), tolerance)


# models; M stands for load("PvtModel", v1) and its like, R, S and L for three results of it, so that they are made once

RESULTS = {"R": "M(**{'pixel_values': x})", "S": "M(x, output_hidden_states=True)", "L": "M(x, labels=y)"}
FORMS = ["output_attentions=True, output_hidden_states=True",
         "output_attentions=True, output_hidden_states=True, return_dict=False", "return_dict=False",
         "output_attentions=False, output_hidden_states=None, return_dict=True"]  # fmt: skip
OF_ALL = [f"M(x, {form})" for form in FORMS] + [
    "R", "S", "R[0]", "R[:1]", "R[-1]", "R.to_tuple()", "len(R)", "list(R.keys())",
    "[name for name in R]", "S['hidden_states']", "R.attentions is None", "dict(S)", "S[::-1]", "list(S.values())[1]",
    "'hidden_states' in R", "type(R).__name__", "S.get('hidden_states')[-1]", "R.get('hidden_states', 7)",
    "M.num_parameters()", "M.training", "M.train().training", "M.train(True).training", "M.train(False).training",
    "M.train().eval().to('cpu')(x)[0]",
    "{name: M.state_dict()[name] for name in sorted(M.state_dict())}", "type(M).__name__",
    "M.config.num_labels", "list(M.config.depths)", "M.config.output_attentions", "M.config.return_dict",
    "M.config.model_type", "type(M.config).__name__", "str(M.dtype).split('.')[-1]",
    "str(M.device)"]  # fmt: skip
OF_V2 = ["M(wide, output_attentions=True, output_hidden_states=True)"]
OF_MODELS = ["M(x, True, True, False)", "M(x, None, True)"]
OF_CLASSIFIERS = [f"M(x, {form})" for form in [
    "labels=multi", "labels=torch.tensor([1, 4, 0])", "labels=y.reshape(3, 1)",
    "labels=y, output_hidden_states=True, return_dict=False", "y, True, True, False", "y, None, True"]] + [
    "L", "L.loss.item()", "L[0]", "L[1]", "L.to_tuple()[0]", "dict(L)", "[*L.items()][0]", "R.get('loss')",
    "M.config.id2label[M(x[:1]).logits.argmax(-1).item()]", "M.config.label2id", "M.config.id2label",
    "R.loss is None", "'loss' in R", "M.num_labels", "R.logits.shape[-1]"]  # fmt: skip
OF_BACKBONES = ["M.channels", "M.out_features", "M.out_indices", "M.stage_names", "M.out_feature_channels",
                "list(M.num_features)", "R.feature_maps", "len(R.feature_maps)"]  # fmt: skip
SOURCES = {  # classes and the folders they are opened from
    "PvtModel": ["v1", "bare1"], "PvtForImageClassification": ["v1"], "PvtV2Model": ["v2"],
    "PvtV2ForImageClassification": ["v2", "linear"], "PvtV2Backbone": ["v2", "bare2"]}  # fmt: skip


def calls_of(kind, source):
    if source != SOURCES[kind][0]:  # another model of the same class
        return OF_ALL[:2]
    own = OF_BACKBONES if "Backbone" in kind else OF_CLASSIFIERS if "Classification" in kind else OF_MODELS
    return OF_ALL + own + OF_V2 * ("V2" in kind)


@pytest.mark.parametrize(("kind", "source"), [(kind, source) for kind in SOURCES for source in SOURCES[kind]])
def test_a_model_answers_as_transformers_does(kind, source, both):
    sides = []
    for names in (both.ours, both.theirs):
        names = names | {"M": run(f"load({kind!r}, {source})", names)}
        made = {name: run(call, names) for name, call in RESULTS.items() if name != "L" or "Classification" in kind}
        sides.append(names | made)
    for call in calls_of(kind, source):  # each with the model as it was: transformers writes into it which loss it took
        assert_same(*(run(f"(load({kind!r}, {source}), {call})[1]", names) for names in sides), 1e-10, call)


OTHER_CALLS = [  # what the configuration says counts if the call says nothing
    "load('PvtV2ForImageClassification', told)(x)", "load('PvtV2ForImageClassification', told)(x, return_dict=False)",
    "load('PvtV2ForImageClassification', told)(x, output_attentions=False)",
    "load('PvtV2Backbone', told)(x)", "load('PvtV2Model', told)(x, output_hidden_states=False)",
    "load('PvtForImageClassification', plain)(x)", "load('PvtForImageClassification', plain)(x, labels=y)",
    "load('PvtForImageClassification', plain)(x, return_dict=True)", "load('PvtModel', plain)(x)",
    "load('PvtV2ForImageClassification', many)(x, labels=multi)",
    "load('PvtV2ForImageClassification', one)(x, labels=values)",
    "load('PvtV2ForImageClassification', number)(x, labels=values)",
    # what from_pretrained changes
    "PvtModel.from_pretrained(v1, dtype='float64', output_attentions=True)(x)",
    "PvtV2Model.from_pretrained(v2, dtype='float64', output_hidden_states=True)(x)",
    "PvtV2Backbone.from_pretrained(v2, dtype='float64', out_features=['stage2', 'stage4'])(x)",
    "PvtV2Backbone.from_pretrained(v2, dtype='float64', out_indices=[0, 1, 2, 3])(x)",
    "PvtV2Backbone.from_pretrained(v2, out_indices=(0, 2)).channels",
    "PvtV2Backbone.from_pretrained(v2, out_indices=[-2, -1]).out_features",
    "PvtForImageClassification.from_pretrained(v1, num_labels=3, ignore_mismatched_sizes=True).num_parameters()",
    "PvtV2ForImageClassification.from_pretrained(v2, num_labels=3, ignore_mismatched_sizes=True).config.id2label",
    "PvtV2ForImageClassification.from_pretrained(v2, dtype='float64', num_labels=3, ignore_mismatched_sizes=True)"
    "(x, output_hidden_states=True).hidden_states",
    "PvtV2ForImageClassification.from_pretrained(v2, id2label={i: str(i) for i in range(5)}).config.id2label[4]",
    "PvtForImageClassification.from_pretrained(v1, num_labels=5).config.id2label",
    "PvtForImageClassification.from_pretrained(v1, id2label=dict(enumerate('abcde')), "
    "label2id={name: i for i, name in enumerate('abcde')}).config.label2id",
    "PvtModel.from_pretrained(v1, config=PvtConfig.from_pretrained(v1, output_hidden_states=True), dtype='float64')(x)",
    "str(PvtModel.from_pretrained(v1).dtype).split('.')[-1]",
    "PvtModel.from_pretrained(v1, config=v1, dtype='float64')(x)",
    "AutoModelForImageClassification.from_pretrained(v1, dtype='auto')(x)",
    "type(AutoModelForImageClassification.from_pretrained(v2)).__name__",
    "PvtForImageClassification.from_pretrained(v1, problem_type='regression', dtype='float64')(x, labels=multi)",
    "PvtV2Backbone.from_pretrained(bare2, out_features=['stage2'], dtype='float64')(x)",
    # from a configuration: fresh weights differ, counts and shapes do not
    "PvtModel(PvtConfig(**narrow)).num_parameters()",
    "PvtForImageClassification(PvtConfig(**narrow, num_labels=7)).num_parameters()",
    "PvtV2Model(PvtV2Config(**narrow)).num_parameters()",
    "PvtV2Backbone(PvtV2Config(**narrow, out_indices=[0, 3])).channels",
    "PvtV2ForImageClassification(PvtV2Config(**narrow, linear_attention=True)).num_parameters()",
    "{name: tuple(one.shape) for name, one in sorted(PvtForImageClassification("
    "PvtConfig(**narrow, num_labels=0)).state_dict().items())}",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*drawn afresh")
@pytest.mark.parametrize("call", OTHER_CALLS)
def test_a_call_gives_what_transformers_gives(call, both):
    check(call, both)


# configurations

TOLD = ["", "depths=[1, 1, 2, 1]", "num_labels=3", "output_attentions=True", "output_hidden_states=True",
    "return_dict=False",
        "problem_type='regression'", "my_own=[1, {'a': 2}]", "drop_path_rate=0.1", "num_labels=0",
        "num_labels=2, id2label={0: 'a', 1: 'b'}, label2id={'a': 0, 'b': 1}"]  # fmt: skip
CONFIGURATIONS = [f"{kind}({told})" for kind in ("PvtConfig", "PvtV2Config") for told in TOLD]
CONFIGURATIONS += ["PvtV2Config(out_features=['stage1', 'stage3'])", "PvtV2Config(out_indices=[-1])",
                   "PvtV2Config(id2label={'0': 'a', '1': 'b', '2': 'c'}, label2id={'a': 0, 'b': 1, 'c': 2})",
                   "PvtV2Config(out_indices=(1, 2))", "PvtV2Config.from_pretrained(v2)",
                   "PvtConfig.from_pretrained(v1)",
                   "PvtV2Config.from_pretrained(v2, out_indices=[0, 1])", "PvtConfig.from_pretrained(v1, num_labels=5)",
                   "PvtV2Config.from_pretrained(v2, num_labels=3)", "PvtV2Config.from_pretrained(bare2)",
                   "PvtV2Config.from_dict({'depths': [1, 1, 1, 1], 'my_own': 3})",
                   "PvtConfig.from_dict({'num_labels': 4, 'id2label': None}, output_attentions=True)",
                   "PvtConfig.from_pretrained(v1 + '/config.json')",
                   "saved(PvtV2Config(out_indices=[-4, -1], my_own=1), PvtV2Config)",
                   "saved(PvtConfig(num_labels=7, return_dict=False), PvtConfig)"]  # fmt: skip
# of transformers' own machinery; and what its v1 does not know without being told: names that it has no use for
MACHINERY = {"transformers_version", "architectures", "dtype", "chunk_size_feed_forward", "is_encoder_decoder",
             "_name_or_path"}  # fmt: skip


@pytest.mark.parametrize("call", CONFIGURATIONS)
def test_a_configuration_says_what_transformers_says(call, both):
    ours, theirs = run(f"{call}.to_dict()", both.ours), run(f"{call}.to_dict()", both.theirs)
    if theirs["image_size"] == [ours["image_size"]] * 2:
        theirs["image_size"] = ours["image_size"]  # transformers' v2 makes a pair of it
    for name in set(theirs) - MACHINERY:
        if name in ("id2label", "label2id") and theirs[name] is None:
            names = {i: f"LABEL_{i}" for i in range(theirs["num_labels"])}  # transformers' v1 leaves them out
            assert ours[name] == (names if name == "id2label" else {label: i for i, label in names.items()})
        else:
            assert ours[name] == theirs[name], name


# the image processor

PROCESSORS = [f"PvtImageProcessor({told})" for told in [
    "", "size=48", "size=(20, 30)", "size={'shortest_edge': 24}, do_center_crop=True, crop_size=20", "do_resize=False",
    "do_rescale=False, do_normalize=False", "resample=2, image_mean=0.5, image_std=[0.1, 0.2, 0.3]", "do_resize=None",
    "size=24, default_to_square=False", "do_pad=True, pad_size=300", "rescale_factor=1 / 127.5", "my_own=3",
    "do_convert_rgb=True", "data_format='channels_first', input_data_format='channels_last'"]]  # fmt: skip
IN_A_CALL = [
    "", "return_tensors='np'", "return_tensors='pt'", "return_tensors=None", "size={'height': 20, 'width': 31}",
    "do_resize=False", "do_resize=None", "do_normalize=False, return_tensors='np'", "do_rescale=False", "resample=0",
    "image_mean=[0.1, 0.2, 0.3]", "do_center_crop=True, crop_size={'height': 11, 'width': 13}", "size=33",
    "data_format='channels_first'", "data_format=None", "data_format='none'", "do_pad=True", "device='cpu'",
    "size={'shortest_edge': 20}, return_tensors='np'", "disable_grouping=True", "do_pad=True, pad_size=400",
    "size={'shortest_edge': 20, 'longest_edge': 22}", "size={'max_height': 30, 'max_width': 20}"]  # fmt: skip
PICTURES = ["picture", "[picture]", "[picture, picture]", "[[picture], [other, other]]", "path", "[path, path]",
    "array",
            "[array, array[:20]]", "array[None]", "[array[None], array[None]]", "tensor", "[tensor, tensor]",
            "array.transpose(2, 0, 1)", "(picture, other)"]  # fmt: skip
PIXELS = [f"PvtImageProcessor()({picture})" for picture in PICTURES] + [
    *(f"{processor}(picture)" for processor in PROCESSORS),
    *(f"PvtImageProcessor()(other, {told})" for told in IN_A_CALL),
    "PvtImageProcessor()(images=picture, return_tensors='np').pixel_values",
    "PvtImageProcessor().preprocess([picture, other], return_tensors='np')['pixel_values']",
    "PvtImageProcessor.from_pretrained(v1)(array, input_data_format='channels_last')",
    "PvtImageProcessor()(array.transpose(2, 0, 1), input_data_format='channels_first', return_tensors='np')",
    "PvtImageProcessor()([picture, other], do_resize=False, do_pad=True, return_tensors='np')",
    "PvtImageProcessor()([picture, other], do_resize=False)",
    "(lambda p: setattr(p.size, 'height', 50) or p(picture))(PvtImageProcessor())",
    "PvtImageProcessor()(array / 255, do_rescale=False, return_tensors='np')",
    "PvtImageProcessor()(tensor.float() / 255, do_rescale=False, return_tensors='pt')",
    "PvtImageProcessor()(array > 100, return_tensors='np')", "PvtImageProcessor()([picture, array, path])",
    "PvtImageProcessor()(picture.convert('RGBA'), do_convert_rgb=True)", "PvtImageProcessor()([])",
    "saved(PvtImageProcessor(do_pad=True, pad_size=(300, 310)), PvtImageProcessor)([picture, other])",
    "saved(PvtImageProcessor(size=24, default_to_square=False, image_mean=0.5), PvtImageProcessor)(picture)",
    "PvtImageProcessor()(picture, input_data_format='none', do_convert_rgb=True, return_tensors='np')",
    "PvtImageProcessor()(picture, return_tensors='pt').to('cpu')", "list(PvtImageProcessor()(picture))",
    "'pixel_values' in PvtImageProcessor()(picture)"]  # fmt: skip


@pytest.mark.parametrize("call", PIXELS)
def test_pixel_values(call, both):
    check(call, both, 1e-6)


@pytest.mark.parametrize("call", [
    *(f"{processor}.to_dict()" for processor in PROCESSORS), "PvtImageProcessor.from_pretrained(v1).to_dict()",
    "PvtImageProcessor.from_pretrained(v1, do_resize=False, size=50).to_dict()", "PvtImageProcessor().size['height']",
    "PvtImageProcessor().size.width", "PvtImageProcessor().do_convert_rgb", "PvtImageProcessor().image_mean",
    "PvtImageProcessor.from_pretrained(v2 + '/preprocessor_config.json').to_dict()", "PvtImageProcessor().resample",
    "PvtImageProcessor().to_json_string()",
    "PvtImageProcessor.from_dict({'do_resize': False, 'mine': 1}).to_dict()"])  # fmt: skip
def test_a_processor_says_what_transformers_says(call, both):
    assert run(call, both.ours) == run(call, both.theirs)


# pipelines

ASKED = ["clear", "clear_path", "picture", "[picture, other]", "path", "[path]",
    "picture, top_k=2", "picture, top_k=99",
    "picture, top_k=None", "[picture, other], top_k=1", "picture, function_to_apply='sigmoid'", "array",
         "picture, function_to_apply='none'", "picture, function_to_apply='softmax'"]  # fmt: skip
PIPELINES = [f"pipe(v1)({asked})" for asked in ASKED]
PIPELINES += [f"pipeline('image-classification', {source})(picture)" for source in ("v2", "many", "number", "one",
    "told")] + [
    "pipeline('image-classification', model=v2, top_k=2)(picture, top_k=None)",
    "pipeline(task='image-classification', model=v1, dtype='auto', device=-1)(inputs=picture, batch_size=2, timeout=3)",
    "pipeline('image-classification', model=load('PvtForImageClassification', v1), image_processor=v1)(picture)",
    "pipeline('image-classification', model=v1, image_processor=PvtImageProcessor(size=32, resample=0))(picture)",
    "list(pipe(v1)(one for one in [picture, other]))",
    *(f"pipeline('image-feature-extraction', model={source})({asked})" for source, asked in (
      ("v1", "picture, pool=False"), ("v1", "[picture, path]"),
      ("v2", "picture, return_tensors=True, timeout=3"), ("v2", "[picture], return_tensors=True"))),
    "pipeline('image-feature-extraction', v2, image_processor_kwargs={'size': {'height': 64, 'width': 32}})(picture)",
]  # fmt: skip


@pytest.mark.parametrize("call", PIPELINES)
def test_pipelines(call, both):
    assert_same(run(call, both.ours), run(call, both.theirs), 1e-6)


# what both refuse: the call, our exception, theirs

REFUSED = [
    ("PvtModel()", TypeError, TypeError), ("PvtModel('v1')", TypeError, TypeError),
    ("load('PvtModel', v1)()", TypeError, TypeError), ("load('PvtModel', v1)(x32)", ValueError, RuntimeError),
    ("load('PvtModel', v1)(x[:, :2])", ValueError, ValueError),
    ("load('PvtModel', v1)([1.0])", ValueError, AttributeError),
    ("load('PvtForImageClassification', v1)(x, labels=y + 3)", ValueError, IndexError),
    ("load('PvtForImageClassification', v1)(x, labels=y[:2])", ValueError, ValueError),
    ("load('PvtModel', v1)(x)['attentions']", KeyError, KeyError),
    ("load('PvtModel', v1)(x)[1]", IndexError, IndexError),
    ("load('PvtModel', v1)(x).logits", AttributeError, AttributeError),
    ("load('PvtModel', v1).no", AttributeError, AttributeError),
    ("PvtModel.from_pretrained(v1 + '-lost')", OSError, OSError),
    ("PvtForImageClassification.from_pretrained(v1, num_labels=3)", ValueError, RuntimeError),
    ("PvtModel.from_pretrained(v1, my_own=1)", TypeError, TypeError),
    ("PvtV2Config(out_features=['stage9'])", ValueError, ValueError),
    ("PvtV2Config(out_indices=[3, 1])", ValueError, ValueError),
    ("PvtV2Config(out_indices=[1, 1])", ValueError, ValueError),
    ("PvtV2Config(out_indices=[7])", ValueError, ValueError),
    ("PvtV2Config(out_indices=-1)", ValueError, Exception), ("PvtV2Config(out_features=3)", ValueError, Exception),
    ("PvtModel.from_pretrained(3)", ValueError, OSError), ("load('PvtModel', v1).train('x')", ValueError, ValueError),
    ("PvtModel.from_pretrained(v1, config={'depths': 1})", TypeError, TypeError),
    ("PvtV2Config(out_features=['stage2', 'stage1'])", ValueError, ValueError),
    ("PvtV2Config(out_features=['stage2'], out_indices=[3])", ValueError, ValueError),
    ("PvtConfig(1)", TypeError, ValueError),
    ("PvtConfig(depths='two')", ValueError, Exception), ("PvtConfig().no", AttributeError, AttributeError),
    ("PvtConfig(num_labels=1, problem_type='single_label_classification')", ValueError, ValueError),
    ("PvtConfig.from_pretrained(v1 + '-lost')", OSError, OSError),
    ("PvtImageProcessor()(None)", TypeError, TypeError), ("PvtImageProcessor()(3)", TypeError, TypeError),
    ("PvtImageProcessor()(path + 'x')", OSError, ValueError),
    ("PvtImageProcessor()(picture, my_own=1)", TypeError, TypeError),
    ("PvtImageProcessor()(picture, return_tensors='tf')", ValueError, ValueError),
    ("PvtImageProcessor()(picture, do_resize='x')", ValueError, Exception),
    ("PvtImageProcessor()(picture, do_center_crop=True)", ValueError, ValueError),
    ("PvtImageProcessor()(picture, size=None)", ValueError, ValueError),
    ("PvtImageProcessor(size={'length': 3})", ValueError, ValueError),
    ("PvtImageProcessor()(picture, image_mean=[1.0, 2.0])", ValueError, ValueError),
    ("PvtImageProcessor()(picture, do_pad=True, pad_size=9)", ValueError, ValueError),
    ("PvtImageProcessor()(picture, do_pad=True, pad_size={'height': 300})", ValueError, ValueError),
    ("pipeline('image-classification', model=v1)('ftp://example.org/cat.jpg')", ValueError, ValueError),
    ("PvtImageProcessor()([picture, other], do_resize=False, return_tensors='np')", ValueError, ValueError),
    ("PvtImageProcessor.from_pretrained(v1 + '-lost')", OSError, OSError),
    ("PvtImageProcessor()(picture)[0]", KeyError, KeyError),
    ("PvtImageProcessor()(picture).no", AttributeError, AttributeError),
    ("pipeline('image-classification', model=v1)(None)", ValueError, ValueError),
    ("pipeline('image-clasification', model=v1)", ValueError, KeyError),
    ("pipeline('image-classification', model=v1)(path + 'x')", OSError, ValueError),
    ("pipeline('image-classification', model=v1)(picture, function_to_apply='tanh')", ValueError, ValueError),
    ("pipeline('image-classification', model=load('PvtForImageClassification', v1))", ValueError, Exception),
    ("pipeline('image-feature-extraction', model=v1)(picture, pool=True)", ValueError, ValueError),
    ("pipeline('image-classification', model=v1)(picture, my_own=1)", TypeError, TypeError),
]  # fmt: skip


@pytest.mark.parametrize(("call", "ours", "theirs"), REFUSED)
def test_what_transformers_refuses_is_refused_in_one_line(call, ours, theirs, both):
    with pytest.raises(theirs):
        run(call, both.theirs)
    with pytest.raises(ours) as caught:
        run(call, both.ours)
    assert len(str(caught.value).splitlines()) <= 1


# folders, both ways


@pytest.mark.parametrize(("kind", "source", "dtype"), [
    *((kind, SOURCES[kind][0], "float64") for kind in SOURCES), ("PvtModel", "bare1", "float32"),
    ("PvtV2ForImageClassification", "linear", "float32"), ("PvtV2Backbone", "bare2", "float32")])  # fmt: skip
def test_a_folder_saved_here_opens_in_transformers_with_equal_outputs(kind, source, dtype, both, tmp_path):
    model = getattr(pvt_numpy, kind).from_pretrained(both.ours[source], dtype=dtype)
    model.save_pretrained(tmp_path / "here")
    pvt_numpy.PvtImageProcessor.from_pretrained(both.ours[source]).save_pretrained(tmp_path / "here")
    call = f"{kind}.from_pretrained(here, dtype={dtype!r})(pixels, output_hidden_states=True)"
    known = {"here": str(tmp_path / "here"), "pixels": both.theirs["x"].to(getattr(both.theirs["torch"], dtype))}
    theirs = run(call, both.theirs | known)
    assert_same(
        model(both.ours["x"].astype(dtype), output_hidden_states=True),
        theirs,
        {"float64": 1e-10, "float32": 1e-4}[dtype],
    )
    again = run(call, both.ours | {"here": tmp_path / "here", "pixels": both.ours["x"].astype(dtype)})
    assert_same(again, model(both.ours["x"].astype(dtype), output_hidden_states=True), 0)
    assert again.keys() == theirs.keys()
