"""The names of Hugging Face's PVT pages over the functions of this package: `from transformers import …` becomes
`from pvt_numpy import …`, and `"pt"` becomes `"np"`.

    processor, model = PvtImageProcessor.from_pretrained(), PvtForImageClassification.from_pretrained()
    outputs = model(**processor(images=picture, return_tensors="np"))
    print(model.config.id2label[outputs.logits.argmax(-1).item()])

Nothing is computed here: `model.forward`, `gradients.loss_and_gradients` and `pictures.processor.preprocess` do that,
and are what is worth reading. This file only answers to the names, arguments and results of the other library.

Source: the documented behaviour of transformers 5.24 (models `pvt` and `pvt_v2`, `PvtImageProcessor`, the pipelines
"image-classification" and "image-feature-extraction"). What differs is said where it does.
Left out: devices, half precision, autograd, uploads, and pictures from an address.
"""

import json
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, dataclass, field, fields
from pathlib import Path

import numpy as np

from .analysis.answers import answers
from .checkpoints.checkpoint import load_model
from .checkpoints.export import hf_fields, renamed
from .checkpoints.safetensors_file import write_safetensors
from .checkpoints.sources import within
from .checkpoints.strict_json import read_json
from .config import PvtConfig as PlainPvtConfig
from .config import PvtV2Config as PlainPvtV2Config
from .config import check_seed, config_from_dict, config_to_dict, variant_name
from .gradients import loss_and_gradients
from .layers.activations import sigmoid
from .layers.softmax import softmax
from .model import forward
from .parameters import flatten, init_params, parameter_shapes, unflatten
from .pictures.decode import open_image
from .pictures.processor import pad, preprocess
from .pictures.recipes import OPTIONS, RECIPES, preprocessing_from_hf, size_dict
from .system.checks import FLAG, is_whole, one_of, rule, wrong
from .system.files import atomic_file
from .system.paths import SHIPPED, SHIPPED_MODELS

# --- what goes in and comes out ---


class Named(dict):
    """A dict whose entries are attributes too: `inputs.pixel_values`, `processor.size.height`."""

    def __getattr__(self, name):
        if name in self:
            return self[name]
        raise AttributeError(f"{name}: found no such entry; expected {' or '.join(self) or 'nothing, it is empty'}")


class BatchFeature(Named):
    """What the image processor returns; `model(**inputs)` takes it."""

    def to(self, *targets, device=None, dtype=None):
        """Itself, with its numbers as another type; there is no other device than "cpu"."""
        for kind in _types(*targets, device, dtype):
            for name, value in self.items():
                self[name] = [_cast(one, kind) for one in value] if isinstance(value, list) else _cast(value, kind)
        return self


def _cast(value, kind):
    return value.astype(kind) if isinstance(value, np.ndarray) else _tensor(np.asarray(value, kind))


class ModelOutput(Named):
    """What a model returns, read by name, as an attribute, by number, or as a tuple. What was not asked for is None as
    an attribute, and otherwise not there."""

    names = ()

    def __init__(self, *values):
        super().__init__({name: value for name, value in zip(self.names, values, strict=True) if value is not None})

    def __getitem__(self, key):
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def __getattr__(self, name):
        return None if name in self.names and name not in self else super().__getattr__(name)

    def __setattr__(self, name, value):
        self[name] = value

    def to_tuple(self):
        return tuple(self.values())

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.names)})"


class BaseModelOutput(ModelOutput):
    """Shapes: `model.Output`'s."""

    names = ("last_hidden_state", "hidden_states", "attentions")


class ImageClassifierOutput(ModelOutput):
    """loss a number, logits (B, num_labels); the others as in `model.Output`."""

    names = ("loss", "logits", "hidden_states", "attentions")


class BackboneOutput(ModelOutput):
    """feature_maps: one (B, C, H, W) for each stage that was asked for. attentions: None, as in transformers."""

    names = ("feature_maps", "hidden_states", "attentions")


def _type_name(dtype):
    """The name of a type, NumPy's, PyTorch's or a text, or of a device: "float32", "cpu"."""
    return getattr(dtype, "__name__", None) or getattr(dtype, "name", None) or str(dtype).removeprefix("torch.")


def _float_type(dtype, place=None):
    """The name of the type that `dtype` asks for; for "auto" or None that of the files at `place`, or float32."""
    name = _type_name(dtype)
    if name in ("None", "auto"):
        told = (_json_at(place, "config.json") or {}) if place else {}
        return "float64" if told.get("dtype", told.get("torch_dtype")) == "float64" else "float32"
    rule(lambda name: name in ("float32", "float64"), "float32 or float64, in which NumPy computes here")("dtype", name)
    return name


ONE_DEVICE = "'cpu', the one device that NumPy has"
DEVICE = rule(lambda device: _type_name(device) in ("None", "cpu"), ONE_DEVICE)
TARGET = rule(lambda name: name in ("cpu", "float32", "float64"), f"{ONE_DEVICE}, or 'float32' or 'float64'")


def _types(*targets):
    """The types among what `.to(…)` was given, which may also name the device that there is."""
    names = [_type_name(target) for target in targets if target is not None]
    for name in names:
        TARGET("to", name)
    return [name for name in names if name != "cpu"]


def _array(name, value):
    """A PyTorch tensor as an array, and anything else as it is."""
    if not hasattr(value, "numpy"):
        return value
    try:
        return np.asarray(value)
    except (RuntimeError, TypeError) as error:
        found = f"a tensor that NumPy cannot read ({str(error).split('. ')[0]})"
        raise wrong(name, found, "one on the CPU, without gradient: x.detach().cpu()") from None


def _refuse_unknown(given, known):
    if unknown := ", ".join(sorted(given.keys() - set(known))):
        raise TypeError(f"{unknown}: found an unknown option; expected {', '.join(known)}")


def _without_autograd(one, name):
    way = "one of NumPy's or of this package, without devices and autograd: gradients come from loss_and_gradients"
    raise AttributeError(f"{type(one).__name__}.{name}: found no such attribute; expected {way}")


class Loss32(np.float32):
    """A loss, which answers `loss.backward()` with the way to go here."""

    __getattr__ = _without_autograd


class Loss64(np.float64):
    __getattr__ = _without_autograd


# --- files ---

PLACE = rule(lambda one: one is None or isinstance(one, str | os.PathLike), "a folder, a file, a name, or None")


def _place(source, model_type, local_files_only=False):
    """Where `source` lies: the model that ships for None, the downloaded folder for a published name or a Hub id."""
    from .checkpoints import hub

    PLACE("source", source)
    if source is None:
        return SHIPPED_MODELS["pvt_v1_nano_imagenette"] if model_type == "pvt" else SHIPPED
    return hub.download(source, local_files_only) if hub.is_hub_name(source) else source


def _json_at(place, name):
    """The JSON object in the file `name` of the folder `place`, or in `place` itself; None if there is none."""
    path = Path(place)
    file = path / name if path.is_dir() else path
    return read_json(within(file)) if file.suffix == ".json" and os.path.lexists(file) else None


def _told(place):
    """The fields of the configuration at `place`: those of its config.json, or of the model that is loaded from it."""
    values = _json_at(place, "config.json") or {}
    return values if "model_type" in values else _values(load_model(place))


def _json_text(values):
    def other(value):  # a PyTorch type, an array
        return value.tolist() if hasattr(value, "tolist") else _type_name(value)

    return json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False, default=other) + "\n"


def _folder(path):
    """`path` as a folder to write into, made if it is not there."""
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{path}: found a file; expected the name of a folder to write into")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write_json(folder, name, text):
    path = _folder(folder) / name
    with atomic_file(path) as file:
        file.write(text.encode())
    return [str(path)]


# --- configurations ---

FLAGS = {"output_attentions": False, "output_hidden_states": False, "return_dict": True}  # and their defaults
TOLD_BY_THE_CLASS = ("model_type", "stage_names")
NAMES = rule(lambda names: isinstance(names, dict) and all(str(n).isdecimal() for n in names), "a dict number: name")


class _Kind(type):
    """`isinstance(load_model().config, PvtV2Config)` stays true: what the functions give is of the same kind."""

    def __instancecheck__(cls, one):
        return super().__instancecheck__(one) or type(one) in cls.__bases__


@dataclass(frozen=True, kw_only=True, init=False, eq=False, repr=False)
class _Page(metaclass=_Kind):
    """What a configuration carries beside the numbers: `others`, by name, as it was given."""

    others: dict = field(default_factory=dict)

    def __init__(self, *, others=None, **values):
        numbers = {one.name for one in fields(self)} - {"others"}
        others = (others or {}) | {name: value for name, value in values.items() if name not in numbers}
        one_of(self.model_type, None)("model_type", others.get("model_type"))
        others = {name: value for name, value in others.items() if name not in TOLD_BY_THE_CLASS}
        values = {name: value for name, value in values.items() if name in numbers}
        for name in FLAGS.keys() & others.keys():
            FLAG(name, others[name])
        if (names := others.get("id2label")) is not None:
            NAMES("id2label", names)
            others["id2label"] = names = {int(number): label for number, label in names.items()}
            if values.get("num_labels") is None:
                values["num_labels"] = len(names)
        object.__setattr__(self, "others", others)
        super().__init__(**values)
        if names is not None and set(names) != set(range(self.num_labels)):
            expected = f"one for each of num_labels = {self.num_labels}, counted from 0, or None"
            raise wrong("id2label", f"{len(names)} names", expected)
        if (self.problem_type, self.num_labels) == ("single_label_classification", 1):
            raise wrong("num_labels", "1 for single_label_classification", "2 or more, or problem_type 'regression'")

    def __getattr__(self, name):
        others = FLAGS | self.__dict__.get("others", {})
        if name in others:
            return others[name]
        raise AttributeError(f"{type(self).__name__}: found no field {name!r}; expected one that to_dict() shows")

    @property
    def id2label(self):
        """Number -> name of every output; LABEL_0 and so on for want of names."""
        return self.others.get("id2label") or {number: f"LABEL_{number}" for number in range(self.num_labels)}

    @property
    def label2id(self):
        return self.others.get("label2id") or {label: number for number, label in self.id2label.items()}

    def __eq__(self, other):
        if not isinstance(other, type(self)):
            return NotImplemented
        same = config_to_dict(self) == config_to_dict(other)
        return same and (not isinstance(other, _Page) or self.to_dict() == other.to_dict())

    def __hash__(self):
        return super().__hash__()

    def __repr__(self):
        values = {name: value for name, value in config_to_dict(self).items() if value is not None}
        return f"{type(self).__name__} {_json_text(values | self.others)}"

    def to_dict(self):
        """Every field, tuples as lists; `from_dict` and the constructor read it."""
        ours = {"id2label": self.id2label, "label2id": self.label2id}
        values = FLAGS | config_to_dict(self) | self.others | ours
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, config_dict, **changes):
        """A configuration from the dict of a config.json or of `to_dict`, and changes to it; unknown fields are kept.

        What says the same in other words follows: id2label if num_labels is changed, out_features if out_indices is.
        """
        rule(lambda values: isinstance(values, dict), "a dict of fields")("config_dict", config_dict)
        values = {"model_type": cls.model_type} | config_dict
        one_of(cls.model_type)("model_type", values["model_type"])
        if changes.get("num_labels", len(values.get("id2label") or ())) != len(values.get("id2label") or ()):
            values |= {"id2label": None, "label2id": None}
        if changes.get("id2label"):
            values |= {"num_labels": len(changes["id2label"]), "label2id": None}
        if changes.keys() & {"out_features", "out_indices"}:
            values |= {"out_features": None, "out_indices": None}
        values |= changes
        numbers = config_to_dict(config_from_dict(values))
        return cls(**{name: value for name, value in values.items() if value is not None} | numbers)

    @classmethod
    def from_pretrained(cls, source=None, *, local_files_only=False, **changes):
        """The configuration of a folder, a config.json, or anything that `load_model` takes, and changes to its fields.

        Of a published name the whole checkpoint is downloaded.
        """
        values = _told(_place(source, cls.model_type, local_files_only))
        _refuse_unknown(changes, cls.from_dict(values).to_dict())
        return cls.from_dict(values, **changes)

    def to_json_string(self):
        """The text of a config.json for transformers; a ValueError if that cannot express this configuration."""
        return _json_text(hf_fields(self) | self.others)

    def save_pretrained(self, save_directory):
        """Writes config.json into a folder, which is made if it is not there."""
        _write_json(save_directory, "config.json", self.to_json_string())


def _refuse_assignment(config, name, *_):
    way = f"dataclasses.replace(config, {name}=…) makes a changed one"
    raise FrozenInstanceError(f"{name}: found an assignment; expected none, a configuration stays as it is: {way}")


def _configuration(cls):
    cls = dataclass(frozen=True, kw_only=True, init=False, eq=False, repr=False)(cls)
    cls.__setattr__ = cls.__delattr__ = _refuse_assignment
    return cls


@_configuration
class PvtConfig(_Page, PlainPvtConfig):
    """The configuration of a PVT v1: every number of `config.PvtConfig`, whose comments say what each one means, and
    what all of Hugging Face's configurations carry.

    id2label, label2id              names of the outputs; num_labels follows from id2label if it is not given
    output_attentions, output_hidden_states, return_dict    what a call of the model means if it does not say
    anything else                   is kept, and written back

    It cannot be changed: `dataclasses.replace(config, depths=…)` makes another. If `patch_sizes` and `strides` differ,
    they mean here what they say; transformers exchanges them, so they are exchanged on the way in and out of a file.

    >>> PvtConfig(id2label={0: "cat", 1: "dog"}).num_labels
    2
    """


@_configuration
class PvtV2Config(_Page, PlainPvtV2Config):
    """The configuration of a PVT v2; as `PvtConfig`, and for `PvtV2Backbone`:

    out_features   names of the stages whose maps it gives, ["stage1", "stage4"]; by default the last
    out_indices    the same as numbers from 0, [0, 3], or from the end, [-1]

    >>> PvtV2Config(out_indices=[0, -1]).out_features
    ['stage1', 'stage4']
    """

    def __init__(self, **values):
        super().__init__(**values)
        features, indices = (self.others.get(name) for name in ("out_features", "out_indices"))
        names, stages = self.stage_names, len(self.depths)
        for name, value in (("out_features", features), ("out_indices", indices)):
            rule(lambda value: value is None or isinstance(value, list | tuple | range), "a list")(name, value)
        if features is not None and list(features) != [name for name in names if name in features]:
            raise wrong("out_features", features, f"some of {names}, each once and in this order")
        if indices is not None:
            places = [i % stages for i in indices if is_whole(i, -stages, stages - 1)]
            if len(places) < len(indices) or places != sorted(set(places)):
                raise wrong("out_indices", indices, f"some of {list(range(stages))}, each once and in this order")
            if features is not None and list(features) != [names[i] for i in places]:
                raise wrong("out_indices", indices, f"the same stages as out_features, {features}, or one of the two")

    @property
    def stage_names(self):
        return [f"stage{i + 1}" for i in range(len(self.depths))]

    @property
    def out_indices(self):
        features, indices = self.others.get("out_features"), self.others.get("out_indices")
        if indices is None:
            indices = [len(self.depths) - 1] if features is None else map(self.stage_names.index, features)
        return list(indices)

    @property
    def out_features(self):
        return [self.stage_names[i] for i in self.out_indices]

    def to_dict(self):
        stages = {name: getattr(self, name) for name in ("stage_names", "out_features", "out_indices")}
        return super().to_dict() | stages


# --- the image processor ---

DEFAULTS = {  # transformers' order, and at the end what is ours: how half a pixel of a crop's margin is rounded
    "do_convert_rgb": None, "do_resize": True, "resample": RECIPES["hf"]["resample"], "do_rescale": True,
    "rescale_factor": 1 / 255, "do_normalize": True, "do_pad": None, "do_center_crop": None, "data_format": None,
    "input_data_format": None, "device": None, "return_tensors": None, "disable_grouping": None,
    "image_seq_length": None, "default_to_square": True, "size": RECIPES["hf"]["size"], "crop_size": None,
    "pad_size": None, "image_mean": tuple(RECIPES["hf"]["image_mean"]), "image_std": tuple(RECIPES["hf"]["image_std"]),
    "crop_offset": "floor",
}  # fmt: skip
UNSAID = dict.fromkeys(name for name, value in DEFAULTS.items() if value is None)  # unless they are otherwise
UNSAID |= {"default_to_square": True, "crop_offset": "floor"}
UNSET = dict.fromkeys(("do_resize", "do_rescale", "do_normalize", "do_center_crop"), False) | {  # what None means
    "do_convert_rgb": True, "data_format": "channels_first", "input_data_format": None}  # fmt: skip


class PvtImageProcessor:
    """Pictures become pixel values. Every option may be given here, for all calls, or in a call.

    do_resize, size, resample        size {"height", "width"}, {"shortest_edge"}, … or a number; resample: Pillow's
    do_center_crop, crop_size        after the resize
    do_rescale, rescale_factor       0..255 becomes 0..1
    do_normalize, image_mean, image_std
    do_pad, pad_size                 zeros below and on the right; without pad_size up to the largest picture
    do_convert_rgb                   unset: grey and transparent pictures become RGB, where transformers would fail
    default_to_square                what one number as size means: a square, or the shortest edge
    data_format                      "channels_first", "channels_last"; unset and "none": channels first
    input_data_format                of arrays: "channels_first", "channels_last", "none" for (height, width); unset:
                                     told by the shape, and refused if that leaves it open
    return_tensors                   unset: a list of arrays, "np": one array, "pt": a tensor, if PyTorch is there
    device, disable_grouping, image_seq_length    change no number; device: only "cpu"

    data_format does what the page says; transformers 5.24 reads it and gives channels first all the same.
    """

    model_input_names = ("pixel_values",)

    def __init__(self, **options):
        for name in ("image_processor_type", "feature_extractor_type", "processor_class"):
            options.pop(name, None)
        self.__dict__ |= self._standard(DEFAULTS | options)

    @staticmethod
    def _standard(options):
        """The options with sizes as dicts and means as tuples."""
        for name in ("size", "crop_size", "pad_size"):
            if options[name] is not None:
                square = name != "size" or options["default_to_square"]
                options[name] = Named(size_dict(name, options[name], square))
        for name in ("image_mean", "image_std"):
            if isinstance(options[name], list | np.ndarray):
                options[name] = tuple(np.asarray(options[name]).tolist())
        return options

    def __call__(self, images, **options):
        return self.preprocess(images, **options)

    def preprocess(self, images, **options):
        """The pixel values of one picture or of several, float32: pixel_values (B, C, H, W), or a list of (C, H, W).

        images  a Pillow image, a path, an array or a tensor (a fourth axis in front is a batch), or a list of these
        """
        _refuse_unknown(options, DEFAULTS)
        options = self._standard(vars(self) | options)
        one_of(None, "np", "pt")("return_tensors", options["return_tensors"])
        DEVICE("device", options["device"])
        recipe = {name: options[name] for name in OPTIONS if name in options}
        for name, meaning in UNSET.items():
            if recipe[name] is None or (recipe[name] == "none" and name.endswith("format")):
                recipe[name] = meaning
        pictures = list(_pictures(images, grey=options["input_data_format"] == "none"))
        if options["return_tensors"] is None or options["do_pad"]:
            batch = [preprocess(picture, **recipe)[0] for picture in pictures]
            if options["do_pad"]:
                batch = pad(batch, options["pad_size"], recipe["data_format"])
            batch = batch if options["return_tensors"] is None else np.stack(batch)
        else:
            batch = preprocess(pictures, **recipe)
        return BatchFeature(pixel_values=_tensor(batch) if options["return_tensors"] == "pt" else batch)

    @classmethod
    def from_pretrained(cls, source=None, *, local_files_only=False, **options):
        """The image processor of a folder, of a preprocessor_config.json, or of anything that `load_model` takes, whose
        recipe then is the one that its makers used; and options to change."""
        place = _place(source, "pvt_v2", local_files_only)
        values = _json_at(place, "preprocessor_config.json")
        return cls.from_dict(load_model(place).preprocessing if values is None else values, **options)

    @classmethod
    def from_dict(cls, image_processor_dict, **options):
        """An image processor from the dict of a preprocessor_config.json, and options to change. Another one's, as
        ViT's, is translated, with its own defaults; of PVT's unknown options are kept."""
        _refuse_unknown(options, DEFAULTS)
        told = image_processor_dict
        is_pvt = str(told.get("image_processor_type") or told.get("feature_extractor_type") or "Pvt").startswith("Pvt")
        recipe = preprocessing_from_hf(told | {"do_pad": None} if is_pvt else told)  # which refuses what has no meaning
        return cls(**(told | {"resample": recipe["resample"]} if is_pvt else recipe) | options)

    def to_dict(self):
        """Every option that is set, and what was given beside them."""
        values = {name: value for name, value in vars(self).items() if name not in UNSAID or value != UNSAID[name]}
        return values | {"image_processor_type": type(self).__name__}

    def to_json_string(self):
        return _json_text(self.to_dict())

    def save_pretrained(self, save_directory):
        """Writes preprocessor_config.json into a folder; returns the paths of what was written."""
        return _write_json(save_directory, "preprocessor_config.json", self.to_json_string())

    def __repr__(self):
        return f"{type(self).__name__} {self.to_json_string()}"


AutoImageProcessor = PvtImageProcessor  # the page's examples name it so


def _pictures(images, name="images", grey=False):
    """The pictures one by one, out of lists, lists of lists, and batches."""
    if isinstance(images, list | tuple):
        for i, image in enumerate(images):
            yield from _pictures(image, f"{name}[{i}]", grey)
        return
    images = _array(name, images)
    _refuse_address(images)
    is_picture = hasattr(images, "__array__") or hasattr(images, "read") or hasattr(images, "__fspath__")
    if not is_picture and not isinstance(images, str) and not hasattr(images, "getbands"):
        raise TypeError(str(wrong(name, type(images).__name__, "a picture, a path, an array or a tensor, or a list")))
    if isinstance(images, np.ndarray) and images.ndim == 4:
        yield from images
    elif grey and isinstance(images, np.ndarray) and images.ndim != 2:
        raise wrong(name, f"an array of shape {images.shape}", '(height, width), as input_data_format="none" says')
    else:
        yield images


def _refuse_address(picture):
    if isinstance(picture, str) and re.match(r"\w{2,}://|data:image", picture):
        raise wrong(picture[:80], "an address", "a path: pictures are not downloaded here, save it first")


def _tensor(array):
    try:
        import torch
    except ImportError:
        way = "'np', or PyTorch: pip install torch (the extra [torch])"
        raise ImportError(f"return_tensors: found 'pt' where PyTorch is not installed; expected {way}") from None
    return torch.from_numpy(array)


# --- models ---


def _values(loaded, told=None):
    """The fields of a loaded model as a dict for `from_dict`; told: what a config.json beside it says."""
    values = config_to_dict(loaded.config)
    if told is None or "model_type" not in told:
        return values | ({"id2label": dict(enumerate(loaded.labels))} if loaded.labels else {})
    return told | values | {"num_labels": config_from_dict(told).num_labels}  # a model without a head keeps its number


class _Pretrained:
    """A configuration and its parameters: `model.config`, and `model.params`, the nested dict of the functions.

    config  a PvtConfig or PvtV2Config, as the class wants
    seed    of the fresh parameters, which `initializer_range` spreads
    dtype   float32 or float64
    """

    config_class, has_head, device = None, False, "cpu"
    outputs = BaseModelOutput

    def __init__(self, config, *, seed=0, dtype="float32"):
        self.config = self._own(config)
        self.params = init_params(self._built(self.config), np.random.default_rng(seed), _float_type(dtype))
        self._noise = None

    @classmethod
    def _own(cls, config):
        """`config` as the class that carries everything; refused if it is of the other generation."""
        kind = cls.config_class
        if not isinstance(config, kind):
            other = cls.__name__.replace(*("Pvt", "PvtV2") if kind is PvtConfig else ("PvtV2", "Pvt"))
            way = f"a {kind.__name__}; for the other there is {other if other in globals() else 'pyramid'}"
            raise TypeError(f"{cls.__name__}: found a {type(config).__name__}; expected {way}")
        return config if type(config) is kind else kind(**config_to_dict(config))

    @classmethod
    def _built(cls, config):
        """The configuration that says which parameters this class has."""
        return config_from_dict(config_to_dict(config) | ({} if cls.has_head else {"num_labels": 0}))

    @classmethod
    def from_pretrained(cls, source=None, *, config=None, dtype="auto", seed=0, ignore_mismatched_sizes=False,
                        local_files_only=False, **changes):  # fmt: skip
        """The model in anything that `load_model` takes: a folder, a file, a published name; None: the one that ships.

        config                   takes the place of the source's own: a configuration, or where there is one
        dtype                    float32 or float64; "auto": as config.json says, float32 for any other
        ignore_mismatched_sizes  parameters of another shape, as a classifier for other labels, are drawn with `seed`
        changes                  fields of the configuration: num_labels, id2label, output_attentions, …

        Raises what `load_model` raises; TypeError for a model of the other generation.
        """
        place = _place(source, cls.config_class.model_type, local_files_only)
        loaded = load_model(place, _float_type(changes.pop("torch_dtype", dtype), place))
        return cls._of(loaded, place, config, seed, ignore_mismatched_sizes, **changes)

    @classmethod
    def _of(cls, loaded, place, config=None, seed=0, ignore_mismatched_sizes=False, **changes):
        cls._own(loaded.config)
        if config is None:
            values = _values(loaded, _json_at(place, "config.json"))
        else:
            is_place = isinstance(config, str | os.PathLike)
            values = (cls.config_class.from_pretrained(config) if is_place else cls._own(config)).to_dict()
        config = cls.config_class.from_dict(values)
        _refuse_unknown(changes, config.to_dict())
        model = cls.__new__(cls)
        model.config, model._noise = cls.config_class.from_dict(values, **changes), None
        model.params = model._fitted(loaded.params, place, seed, ignore_mismatched_sizes)
        return model

    def _fitted(self, params, place, seed, ignore_mismatched_sizes):
        """Loaded parameters as this class has them: without a classifier, or with a fresh one, which is said."""
        built, flat = self._built(self.config), flatten(params)
        shapes = parameter_shapes(built)
        flat = {name: array for name, array in flat.items() if name in shapes or not name.startswith("head.")}
        odd = [name for name in flat.keys() ^ shapes.keys() if not name.startswith("head.")]
        misfits = [f"{name} {flat[name].shape}" for name in flat.keys() & shapes if flat[name].shape != shapes[name]]
        if odd or (misfits and not ignore_mismatched_sizes):
            way = "the configuration's, or ignore_mismatched_sizes=True to draw those of another shape afresh"
            raise wrong(place, ", ".join(sorted(odd or misfits)[:3]), way)
        fresh = [name for name, shape in shapes.items() if name not in flat or flat[name].shape != shape]
        if fresh:
            dtype = flat["stages.0.patch_embed.proj.weight"].dtype
            drawn = flatten(init_params(built, np.random.default_rng(seed), dtype))
            flat |= {name: drawn[name] for name in fresh}
            warnings.warn(f"{place}: {', '.join(fresh)} are drawn afresh (seed {seed}): train them first", stacklevel=4)
        return unflatten({name: flat[name] for name in shapes})

    def __call__(self, pixel_values, output_attentions=None, output_hidden_states=None, return_dict=None):
        """pixel_values (B, num_channels, H, W) of the parameters' type; each flag unset: as the configuration says."""
        out = self._forward(pixel_values, None, output_attentions, output_hidden_states)
        return self._answer(return_dict, out.last_hidden_state, out.hidden_states, out.attentions)

    def _forward(self, pixel_values, labels, output_attentions, output_hidden_states):
        attentions = self.config.output_attentions if output_attentions is None else output_attentions
        states = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        return forward(_array("pixel_values", pixel_values), self.params, self.config, _array("labels", labels),
                       attentions, states, seed=self._next_seed())  # fmt: skip

    def _answer(self, return_dict, *values):
        output = self.outputs(*values)
        return output if (self.config.return_dict if return_dict is None else return_dict) else output.to_tuple()

    def train(self, seed=0):
        """From now on dropout and drop path act, in each call otherwise, and the same again after the same `seed`."""
        if seed is False:  # PyTorch's train(False)
            return self.eval()
        self._noise = (0 if seed is True else seed, 0)
        check_seed(self._noise)
        return self

    def eval(self):
        """From now on no noise, as from the beginning."""
        self._noise = None
        return self

    @property
    def training(self):
        return self._noise is not None

    def _next_seed(self):
        """What `forward` takes as seed: of the n-th call since `train(seed)` it is (seed, n), counted from 0."""
        seed = self._noise
        if seed is not None:
            self._noise = (seed[0], seed[1] + 1)
        return seed

    @property
    def dtype(self):
        return self.params["stages"][0]["patch_embed"]["proj"]["weight"].dtype

    @property
    def num_labels(self):
        return self.config.num_labels

    def to(self, *targets, device=None, dtype=None):
        """Itself, its parameters as another type; there is no other device than "cpu"."""
        for kind in _types(*targets, device, dtype):
            self.params = unflatten({name: array.astype(kind) for name, array in flatten(self.params).items()})
        return self

    def num_parameters(self, only_trainable=False):
        """How many numbers the parameters are; all of them can be trained."""
        return sum(array.size for array in flatten(self.params).values())

    def state_dict(self):
        """Hugging Face's name -> parameter; the arrays are the model's own, so what is written there counts."""
        return self._renamed(self.params)

    def _renamed(self, params):
        return renamed(params, "hf-v1" if self.config.model_type == "pvt" else "hf-v2", bare=not self.has_head)

    def save_pretrained(self, save_directory):
        """Writes config.json and model.safetensors into a folder, in the model's type; transformers opens it too."""
        config, dtype = self.config, self.dtype.name
        values = hf_fields(config) | config.others | {"architectures": [type(self).__name__], "dtype": dtype}
        if config.num_labels:
            values |= {"id2label": config.id2label, "label2id": config.label2id}
        if config.embed_eps != config.layer_norm_eps:
            becomes = f"{config.embed_eps:g} in patch embeddings and SRA becomes {config.layer_norm_eps:g}"
            warnings.warn(f"{save_directory}: Hugging Face has one epsilon: {becomes}", stacklevel=2)
        text = _json_text(values)
        write_safetensors(_folder(save_directory) / "model.safetensors", self.state_dict(), {"format": "pt"}, dtype)
        _write_json(save_directory, "config.json", text)

    __getattr__ = _without_autograd

    def __repr__(self):
        name = variant_name(self.config) or self.config.model_type
        return f"{type(self).__name__}({name}, {self.num_parameters():,} parameters, {self.dtype})"


class _Classifier(_Pretrained):
    has_head, outputs = True, ImageClassifierOutput

    def __call__(self, pixel_values, labels=None, output_attentions=None, output_hidden_states=None, return_dict=None):
        """As of the model without a head; labels, for the loss: (B,) whole numbers, or as config.problem_type wants."""
        out = self._forward(pixel_values, labels, output_attentions, output_hidden_states)
        loss = out.loss if out.loss is None else (Loss32 if out.loss.dtype == np.float32 else Loss64)(out.loss)
        return self._answer(return_dict, loss, out.logits, out.hidden_states, out.attentions)

    def loss_and_gradients(self, pixel_values, labels, label_smoothing=0.0):
        """The loss, and its gradient for every parameter under the names of `state_dict()`: what stands in for
        `loss.backward()`."""
        arrays = _array("pixel_values", pixel_values), self.params, self.config, _array("labels", labels)
        loss, _, gradients = loss_and_gradients(*arrays, label_smoothing, self._next_seed())
        return loss, self._renamed(gradients)


class PvtModel(_Pretrained):
    """PVT v1 without a classifier: last_hidden_state (B, 1 + N, C), the class token first. See `model.Output`."""

    config_class = PvtConfig


class PvtForImageClassification(_Classifier):
    """PVT v1 with a classifier: logits (B, num_labels)."""

    config_class = PvtConfig


class PvtV2Model(_Pretrained):
    """PVT v2 without a classifier: last_hidden_state (B, C, H, W). See `model.Output`."""

    config_class = PvtV2Config


class PvtV2ForImageClassification(_Classifier):
    """PVT v2 with a classifier: logits (B, num_labels)."""

    config_class = PvtV2Config


class PvtV2Backbone(_Pretrained):
    """PVT v2 for detectors and segmenters: feature_maps, one (B, C, H, W) for each stage in `out_features`."""

    config_class, outputs = PvtV2Config, BackboneOutput

    def __call__(self, pixel_values, output_attentions=None, output_hidden_states=None, return_dict=None):
        """As of the model; attentions are never given, as in transformers."""
        states = self._forward(pixel_values, None, False, True).hidden_states
        asked = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        return self._answer(return_dict, tuple(states[i] for i in self.out_indices), states if asked else None, None)

    out_features = property(lambda self: self.config.out_features)
    out_indices = property(lambda self: self.config.out_indices)
    stage_names = property(lambda self: self.config.stage_names)
    num_features = property(lambda self: list(self.config.hidden_sizes))  # channels of every stage
    out_feature_channels = property(lambda self: dict(zip(self.stage_names, self.num_features, strict=True)))
    channels = property(lambda self: [self.num_features[i] for i in self.out_indices])


CLASSIFIERS = {"pvt": PvtForImageClassification, "pvt_v2": PvtV2ForImageClassification}


class AutoModelForImageClassification:
    """The classifier of the generation that the source is of: `from_pretrained` as that of the two above."""

    @classmethod
    def from_pretrained(cls, source=None, *, local_files_only=False, **options):
        place = _place(source, "pvt_v2", local_files_only)
        return CLASSIFIERS[_told(place)["model_type"]].from_pretrained(place, **options)


# --- pipelines ---


WITHOUT_EFFECT = ("timeout", "batch_size")  # nothing is waited for, and a list is answered picture by picture


class _Pipeline:
    known = WITHOUT_EFFECT  # and the options of `answer`

    def __init__(self, task, model, image_processor, options):
        _refuse_unknown(options, self.known)
        self.task, self.model, self.image_processor, self.options = task, model, image_processor, options

    def __call__(self, inputs, **options):
        """What `answer` makes of one picture: a Pillow image, a path, an array; of a list: a list of that."""
        if inputs is None:
            raise wrong("inputs", "nothing", "a picture, a path, or a list of them")
        several = isinstance(inputs, list | tuple | Iterator) and not hasattr(inputs, "read")  # an open file is one
        if several:
            answers = (self(one, **options) for one in inputs)
            return answers if isinstance(inputs, Iterator) else list(answers)
        _refuse_unknown(options, self.known)
        told = self.options | {name: value for name, value in options.items() if value is not None}
        return self.answer(inputs, **{name: value for name, value in told.items() if name not in WITHOUT_EFFECT})

    def outputs(self, picture, **options):
        if self.model.config.num_channels == 3:
            picture = _opaque(picture)
        pixels = self.image_processor(picture, return_tensors="np", **options).to(self.model.dtype)
        if len(pixels.pixel_values) != 1:
            raise wrong("inputs", f"a batch of {len(pixels.pixel_values)}", "a list of pictures")
        return self.model(**pixels, return_dict=True)


class ImageClassificationPipeline(_Pipeline):
    """One picture's labels with scores, [{"label", "score"}, …], the highest first."""

    known = ("top_k", "function_to_apply", *WITHOUT_EFFECT)

    def answer(self, picture, top_k=None, function_to_apply=None):
        """top_k: how many, by default 5. function_to_apply: "softmax", "sigmoid" or "none" instead of what fits the
        model's problem_type."""
        config = self.model.config
        scores = _scores(self.outputs(picture).logits[0], config, function_to_apply).tolist()
        labelled = [{"label": config.id2label[i], "score": score} for i, score in enumerate(scores)]
        return sorted(labelled, key=lambda one: -one["score"])[: 5 if top_k is None else top_k]


class ImageFeatureExtractionPipeline(_Pipeline):
    """One picture's last hidden state as nested lists, the axis of the batch first."""

    known = ("return_tensors", "pool", "image_processor_kwargs", *WITHOUT_EFFECT)

    def answer(self, picture, return_tensors=None, pool=None, image_processor_kwargs=None):
        """return_tensors: the array itself. image_processor_kwargs: options of the image processor."""
        if pool:
            raise wrong("pool", pool, "False: PVT has no pooled output; a classifier's logits are made from one")
        features = self.outputs(picture, **image_processor_kwargs or {})[0]
        return features if return_tensors else features.tolist()


def _opaque(picture):
    """A picture's colours alone: transformers' pipelines drop transparency, which elsewhere lies on white."""
    if isinstance(picture, str | os.PathLike) or hasattr(picture, "read"):
        _refuse_address(picture)
        picture = open_image(picture, do_convert_rgb=False)
    seen_through = getattr(picture, "has_transparency_data", False)
    return picture.convert("RGBA").convert("RGB") if seen_through else picture


def _scores(logits, config, function_to_apply):
    if function_to_apply is None:
        return answers(logits, config)[1]
    functions = {"softmax": softmax, "sigmoid": sigmoid, "none": lambda logits: logits}
    name = str(function_to_apply).lower()
    one_of(*functions)("function_to_apply", name)
    return functions[name](logits)


TASKS = {
    "image-classification": (ImageClassificationPipeline, CLASSIFIERS),
    "image-feature-extraction": (ImageFeatureExtractionPipeline, {"pvt": PvtModel, "pvt_v2": PvtV2Model}),
}


def pipeline(task, model=None, image_processor=None, *, device=None, dtype=None, **options):
    """From a picture to its labels, or to its features, in one call.

    task             "image-classification" or "image-feature-extraction"
    model            anything that `load_model` takes, or one of the models above; None: the one that ships
    image_processor  that of the model's folder, unless given; a model that is given needs one
    device, dtype    "cpu", or -1, which is the same; float32 or float64
    options          what every call shall be told: top_k, function_to_apply; pool, return_tensors

    >>> from pvt_numpy import SAMPLE_PICTURE
    >>> pipeline("image-classification")(SAMPLE_PICTURE)[0]["label"]
    'golf ball'
    """
    one_of(*TASKS)("task", task)
    DEVICE("device", None if device == -1 else device)
    kind, classes = TASKS[task]
    if not isinstance(model, _Pretrained):
        place = _place(model, "pvt_v2")
        loaded = load_model(place, _float_type(dtype, place))
        model = classes[loaded.config.model_type]._of(loaded, place)
        image_processor = image_processor or PvtImageProcessor.from_dict(loaded.preprocessing)  # for its channels
    if image_processor is None:
        raise wrong(
            "image_processor", "none beside a model that is loaded already", "PvtImageProcessor(…), or its folder"
        )
    if not callable(image_processor):
        image_processor = PvtImageProcessor.from_pretrained(image_processor)
    return kind(task, model, image_processor, options)
