"""PvtConfig and PvtV2Config with everything that Hugging Face's configurations carry beside the numbers."""

import warnings
from dataclasses import FrozenInstanceError, dataclass, field, fields

from ..checkpoints.export import hf_fields, one_epsilon
from ..config import PvtConfig as PlainPvtConfig
from ..config import PvtV2Config as PlainPvtV2Config
from ..config import config_from_dict, config_to_dict
from ..system.checks import FLAG, is_whole, one_of, rule, wrong
from .arguments import refuse_unknown
from .files import json_text, place_of, told_at, write_json

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
        if "id2label" in values and "label2id" not in values:
            others.pop("label2id", None)  # that of the names before
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
        return f"{type(self).__name__} {json_text(values | self.others)}"

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
        numbers = config_to_dict(config_from_dict(values))  # where a file's names are exchanged, and no change's
        values |= changes
        numbers |= {name: changes[name] for name in changes if name in numbers}
        numbers = config_to_dict(config_from_dict(numbers))
        return cls(**{name: value for name, value in values.items() if value is not None} | numbers)

    @classmethod
    def from_pretrained(cls, source=None, *, local_files_only=False, **changes):
        """The configuration of a folder, a config.json, or anything that `load_model` takes, and changes to its fields.

        Of a published name the whole checkpoint is downloaded.
        """
        values = told_at(place_of(source, cls.model_type, local_files_only))
        refuse_unknown(changes, cls.from_dict(values).to_dict())
        return cls.from_dict(values, **changes)

    def to_json_string(self):
        """The text of a config.json for transformers; a ValueError if that cannot express this configuration, and a
        warning if it has two epsilons, of which the second is lost."""
        text = json_text(hf_fields(self) | self.others)
        if remark := one_epsilon(self):
            warnings.warn(remark, stacklevel=2)
        return text

    def save_pretrained(self, save_directory):
        """Writes config.json into a folder, which is made if it is not there."""
        write_json(save_directory, "config.json", self.to_json_string())


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
