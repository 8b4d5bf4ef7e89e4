"""The models of Hugging Face's PVT pages, over `model.forward` and `gradients.loss_and_gradients`."""

import os
import warnings

import numpy as np

from ..checkpoints.checkpoint import load_model
from ..checkpoints.export import hf_fields, one_epsilon, renamed, uncalibrated
from ..checkpoints.safetensors_file import write_safetensors
from ..config import check_seed, config_from_dict, config_to_dict, variant_name
from ..gradients import loss_and_gradients
from ..model import forward
from ..parameters import flatten, init_params, parameter_shapes, unflatten
from ..system.checks import one_of, wrong
from .arguments import as_array, float_types, refuse_unknown, without_autograd
from .configurations import PvtConfig, PvtV2Config
from .files import fields_of, float_type_at, json_at, json_text, made_folder, place_of, told_at, write_json
from .outputs import BackboneOutput, BaseModelOutput, ImageClassifierOutput, Loss32, Loss64


class Pretrained:
    """A configuration and its parameters: `model.config`, and `model.params`, the nested dict of the functions.

    config  a PvtConfig or PvtV2Config, as the class wants
    seed    of the fresh parameters, which `initializer_range` spreads
    dtype   float32 or float64
    """

    config_class, has_head, device = None, False, "cpu"
    temperature = None  # of a file that `evaluate --calibrate` has written: the pipeline divides the logits by it
    outputs = BaseModelOutput

    def __init__(self, config, *, seed=0, dtype="float32"):
        self.config = self._own(config)
        self.params = init_params(self._built(self.config), np.random.default_rng(seed), float_type_at(dtype))
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
        place = place_of(source, cls.config_class.model_type, local_files_only)
        dtype = float_type_at(changes.pop("torch_dtype", dtype), place)
        loaded = load_model(place, dtype, recipe="hf")  # the folder's own is the image processor's to read
        return cls._of(loaded, place, config, seed, ignore_mismatched_sizes, local_files_only, **changes)

    @classmethod
    def _of(cls, loaded, place, config=None, seed=0, ignore_mismatched_sizes=False, local_files_only=False, **changes):
        cls._own(loaded.config)
        if config is None:
            values = fields_of(loaded, json_at(place, "config.json"))
        else:
            is_place = isinstance(config, str | os.PathLike)
            if is_place:
                config = cls.config_class.from_pretrained(config, local_files_only=local_files_only)
            values = cls._own(config).to_dict()
        config = cls.config_class.from_dict(values)
        refuse_unknown(changes, config.to_dict())
        model = cls.__new__(cls)
        model.config, model._noise = cls.config_class.from_dict(values, **changes), None
        model.params = model._fitted(loaded.params, place, seed, ignore_mismatched_sizes)
        same_head = cls.has_head and model.config.num_labels == loaded.config.num_labels
        model.temperature = loaded.temperature if same_head else None
        return model

    def _fitted(self, params, place, seed, ignore_mismatched_sizes):
        """Loaded parameters as this class has them: without a classifier, or with a fresh one, which is said."""
        built, flat = self._built(self.config), flatten(params)
        shapes = parameter_shapes(built)
        flat = {name: array for name, array in flat.items() if name in shapes or not name.startswith("head.")}
        odd = [name for name in flat.keys() ^ shapes.keys() if not name.startswith("head.")]
        misfits = [f"{name} {flat[name].shape}" for name in flat.keys() & shapes if flat[name].shape != shapes[name]]
        if odd or (misfits and not ignore_mismatched_sizes):
            lists = {"missing": sorted(shapes.keys() & odd), "unexpected": sorted(flat.keys() & odd)}
            found = "; ".join(f"{what} {', '.join(names[:3])}" for what, names in lists.items() if names)
            way = "" if odd else ", or ignore_mismatched_sizes=True to draw those of another shape afresh"
            raise wrong(place, found or ", ".join(sorted(misfits)[:3]), f"the configuration's{way}")
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
        arrays = (
            as_array("pixel_values", pixel_values),
            self.params,
            self._built(self.config),
            as_array("labels", labels),
        )
        return forward(*arrays, attentions, states, seed=self._next_seed())

    def _answer(self, return_dict, *values):
        output = self.outputs(*values)
        return output if (self.config.return_dict if return_dict is None else return_dict) else output.to_tuple()

    def train(self, seed=0):
        """From now on dropout and drop path act, in each call otherwise, and the same again after the same `seed`."""
        if seed is False:  # PyTorch's train(False)
            return self.eval()
        noise = (0 if seed is True else seed, 0)
        check_seed(noise)
        self._noise = noise
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
        for kind in float_types(*targets, device, dtype):
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
        for remark in (one_epsilon(config), self.temperature and uncalibrated(self.temperature)):
            if remark:
                warnings.warn(f"{save_directory}: {remark}", stacklevel=2)
        text = json_text(values)
        write_safetensors(made_folder(save_directory) / "model.safetensors", self.state_dict(), {"format": "pt"}, dtype)
        write_json(save_directory, "config.json", text)

    __getattr__ = without_autograd

    def __repr__(self):
        name = variant_name(self.config) or self.config.model_type
        return f"{type(self).__name__}({name}, {self.num_parameters():,} parameters, {self.dtype})"


class _Classifier(Pretrained):
    has_head, outputs = True, ImageClassifierOutput

    def __call__(self, pixel_values, labels=None, output_attentions=None, output_hidden_states=None, return_dict=None):
        """As of the model without a head; labels, for the loss: (B,) whole numbers, or as config.problem_type wants."""
        out = self._forward(pixel_values, labels, output_attentions, output_hidden_states)
        loss = out.loss if out.loss is None else (Loss32 if out.loss.dtype == np.float32 else Loss64)(out.loss)
        return self._answer(return_dict, loss, out.logits, out.hidden_states, out.attentions)

    def loss_and_gradients(self, pixel_values, labels, label_smoothing=0.0):
        """The loss, and its gradient for every parameter under the names of `state_dict()`: what stands in for
        `loss.backward()`."""
        arrays = as_array("pixel_values", pixel_values), self.params, self.config, as_array("labels", labels)
        loss, _, gradients = loss_and_gradients(*arrays, label_smoothing, self._next_seed())
        return loss, self._renamed(gradients)


class PvtModel(Pretrained):
    """PVT v1 without a classifier: last_hidden_state (B, 1 + N, C), the class token first. See `model.Output`."""

    config_class = PvtConfig


class PvtForImageClassification(_Classifier):
    """PVT v1 with a classifier: logits (B, num_labels)."""

    config_class = PvtConfig


class PvtV2Model(Pretrained):
    """PVT v2 without a classifier: last_hidden_state (B, C, H, W). See `model.Output`."""

    config_class = PvtV2Config


class PvtV2ForImageClassification(_Classifier):
    """PVT v2 with a classifier: logits (B, num_labels)."""

    config_class = PvtV2Config


class PvtV2Backbone(Pretrained):
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
        place = place_of(source, "pvt_v2", local_files_only)
        model_type = told_at(place)["model_type"]
        one_of(*CLASSIFIERS)(f"{place}: model_type", model_type)
        return CLASSIFIERS[model_type].from_pretrained(place, **options)
