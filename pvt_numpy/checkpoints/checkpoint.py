"""Models in and out of files: strict loading of every public format, and our own self-contained safetensors file.

Our file holds float32 or float16 arrays under our names, and in its metadata (texts, JSON) the keys `pvt_numpy.format`,
`config`, `labels`, `preprocessing` and `origin`: nothing else is needed to run the model; `temperature`, if it has been
calibrated. `sources` opens files, `safetensors_file` reads and writes them, `names` and `identify` know other people's,
`published` knows what is on the Hub, `hub` downloads it.
Left out: parts of a model, such as a backbone's parameters without the head that its configuration has.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..config import PvtConfig, PvtV2Config, config_from_dict, config_to_dict, variant_name
from ..parameters import channels_last, flatten, parameter_shapes, unflatten
from ..pictures.recipes import RECIPES, check_options, for_channels
from ..system.checks import counted, is_number, one_of, rule, wrong
from ..system.files import check_not_dangling
from ..system.paths import SHIPPED, SHIPPED_MODELS
from .identify import Identity, asked_for, identify, known_variant, our_shapes
from .inside import choose, without_class_row
from .names import file_names
from .safetensors_file import read_safetensors, write_safetensors
from .sources import FOLDER_FILES, FORMAT_KEY, open_source
from .strict_json import parse_json

FORMAT = "1"
METADATA = {"config": dict, "labels": (list, type(None)), "preprocessing": dict, "origin": dict}  # and what JSON holds
NOTES = ("chosen", "weights", "left aside")  # of the origin that `describe` shows: which part of a file was taken
SHOWN_IN_FULL = 24  # wrong names listed one by one; beyond that, groups of them as `stages.2.blocks.4.*`


@dataclass(frozen=True)
class Model:
    """A model ready to run.

    config         PvtConfig or PvtV2Config
    params         nested dict of arrays, as `forward` takes it
    labels         the class names in the order of the logits, or None
    preprocessing  the arguments for `preprocess`
    origin         its history, for people: format, source, recipe and what its makers wrote down
    temperature    softmax(logits / temperature) are calibrated probabilities; None: not calibrated
    """

    config: PvtConfig | PvtV2Config
    params: dict = field(repr=False)  # millions of numbers
    labels: tuple[str, ...] | None = None
    preprocessing: dict = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)
    temperature: float | None = None

    @property
    def label_names(self):
        """A name for every output: the labels, or transformers' stand-ins LABEL_0, LABEL_1, ... for want of them."""
        return self.labels or tuple(f"LABEL_{i}" for i in range(self.config.num_labels))


def load_model(source=None, dtype=np.float32, local_files_only=False, recipe=None, weights=None, prefix=None):
    """The Model in `source`, its parameters in `dtype` (float32 or float64).

    source  a file of ours; a folder with Hugging Face's or timm's files; a single .safetensors or (with PyTorch
            installed) .pth file of the official code, timm or Hugging Face; the name of a model that ships; a
            published name, or the id of a PVT on the Hub, which is downloaded on first use unless `local_files_only`;
            None: the v2 that ships
    recipe  a name of RECIPES: how pictures are prepared, whatever the files say of it, readable or not
    weights "raw" or "ema", of a training checkpoint that keeps both; None: the averaged ones (ema) if there are any
    prefix  which one, of several PVTs in a file: parts of what stands before its names, such as "student.backbone"

    Raises ValueError or FileNotFoundError with one sentence: damaged files, and in one message every parameter that
    is missing, unexpected, of another shape, or not finite.
    """
    if dtype not in (np.float32, np.float64, "float32", "float64"):
        raise wrong("dtype", dtype, "float32 or float64")
    one_of(None, *RECIPES)("recipe", recipe)
    path, name, short_name = _locate(source, local_files_only)
    opened = open_source(path, preprocessor=recipe is None)
    ours, notes = FORMAT_KEY in opened.metadata, {}
    if not ours or weights or prefix is not None:
        opened, notes = choose(opened, name, weights, prefix)
    found = _read_metadata(opened.metadata, name, recipe) if ours else identify(opened, name, short_name, recipe)
    params = _read_params(opened, name, found, dtype)
    preprocessing, remark = for_channels(found.preprocessing, found.config.num_channels)
    origin = found.origin | notes
    if "format" in origin:  # a model trained here has no other name
        origin = {"source": short_name} | origin
    if remark:
        origin = origin | {"recipe": origin.get("recipe", "not recorded") + remark}
    temperature = _read_temperature(opened.metadata, name) if ours else None
    return Model(found.config, params, found.labels, preprocessing, origin, temperature)


def save_model(path, model, dtype="float32"):
    """Writes `model` as one self-contained file, in float32 or float16.

    The file appears at `path` whole or not at all, and equal models give equal bytes. Raises ValueError if the
    parameters do not fit the configuration, or hold numbers that `dtype` cannot.
    """
    one_of("float32", "float16")("dtype", dtype)
    flat, labels = flatten(model.params), None if model.labels is None else list(model.labels)
    _check_names({name: np.shape(value) for name, value in flat.items()}, "the model", model.config, "ours", False)
    if labels is not None and len(labels) != model.config.num_labels:
        raise wrong("the model", counted(len(labels), "label"), f"num_labels = {model.config.num_labels}")
    values = {"config": config_to_dict(model.config), "labels": labels}
    values |= {"preprocessing": model.preprocessing, "origin": model.origin}
    values |= {} if model.temperature is None else {"temperature": model.temperature}
    metadata = {FORMAT_KEY: FORMAT} | {key: json.dumps(value, ensure_ascii=False) for key, value in values.items()}
    write_safetensors(path, {name: flat[name] for name in _expected(model.config, flat)}, metadata, dtype)


def is_ours(path):
    """Whether this is a file that `save_model` has written; ValueError if it is damaged."""
    with open(path, "rb") as file:
        is_safetensors = file.read(9)[8:] == b"{"
    return is_safetensors and FORMAT_KEY in read_safetensors(path)[0]


def set_temperature(path, temperature):
    """Writes the temperature into one of our files, which stays otherwise as it is, to the last bit."""
    metadata, shapes, read = read_safetensors(path)
    arrays = {name: read(name) for name in shapes}
    del read  # it holds the file open, which Windows would not replace then
    dtype = "float16" if all(array.dtype == np.float16 for array in arrays.values()) else "float32"
    write_safetensors(path, arrays, metadata | {"temperature": json.dumps(temperature)}, dtype)


def describe(model):
    """One line about `model`: what it is, its source, its epsilons and its recipe.

    >>> from pvt_numpy.config import VARIANTS
    >>> describe(Model(VARIANTS["pvt_tiny"], {"head": {"bias": np.zeros(1000)}}, origin={"source": "x.pth"}))
    'pvt_tiny, 1,000 parameters, 1000 outputs; from x.pth; layer norm eps 1e-06 throughout; recipe not recorded'
    """
    config, origin = model.config, model.origin
    count = sum(array.size for array in flatten(model.params).values())
    outputs = f"{config.num_labels or 'no'} output{'s' * (config.num_labels != 1)}"
    if config.model_type == "pvt" and "stages" in model.params and "cls_token" not in model.params["stages"][-1]:
        outputs = "no class token and no outputs"
    other = f", {config.embed_eps:g} in patch embeddings and SRA"
    eps = f"{config.layer_norm_eps:g}" + (" throughout" if config.embed_eps == config.layer_norm_eps else other)
    if config.problem_type not in (None, "single_label_classification"):
        outputs += f" ({config.problem_type})"
    source = " of ".join(origin[key] for key in ("source", "format") if key in origin) or "no recorded source"
    more = "".join(f"; {key} {note}" for key, note in chosen_notes(model).items())
    return (
        f"{variant_name(config) or config.model_type}, {count:,} parameters, {outputs}; "
        f"from {source}{more}; layer norm eps {eps}; recipe {origin.get('recipe', 'not recorded')}"
        + (f"; probabilities calibrated (temperature {model.temperature:.3g})" if model.temperature else "")
    )


def chosen_notes(model):
    """Which weights of a file or a folder were taken, and what was left aside: {} if there was no choice."""
    return {key: model.origin[key] for key in NOTES if key in model.origin}


def _locate(source, local_files_only):
    """(path, name for messages, name to note in the origin) of what `load_model` was asked for."""
    if source == "":
        raise wrong("the model", "an empty name", "a file, a folder or the name of a model (classify --list-models)")
    path = SHIPPED if source is None else Path(source)
    if source in SHIPPED_MODELS and not path.exists():
        path = SHIPPED_MODELS[source]
    if path.exists() or source is None:
        return path, str(path), (path.parent if path.name in FOLDER_FILES else path).resolve().name
    check_not_dangling(path)
    from . import hub, published

    if published.is_hub_name(source) or source == path.stem:  # a bare word can only be meant as a published name
        return Path(hub.download(source, local_files_only=local_files_only)), source, published.plain_name(source)
    raise FileNotFoundError(f"{source}: found no such file or folder; expected one, or the name of a published model")


def _read_metadata(metadata, name, recipe):
    """The Identity that one of our own files states; `name` is what messages call the file, `recipe` as in identify."""
    if metadata[FORMAT_KEY] != FORMAT:
        raise wrong(f"{name}: {FORMAT_KEY}", repr(metadata[FORMAT_KEY]), f"{FORMAT!r}, which this version reads")
    values = {}
    for key, types in METADATA.items():
        entry = f"{name}: the metadata's {key!r}"
        if key not in metadata:
            raise wrong(entry, "nothing", "a JSON text")
        try:
            values[key] = parse_json(metadata[key])
        except ValueError as error:
            raise wrong(entry, f"no valid JSON ({error})", "a JSON text") from None
        if not isinstance(values[key], types):
            expected = "a list or null" if key == "labels" else "an object"
            raise wrong(entry, f"a JSON {type(values[key]).__name__}", expected)
    if recipe:
        values["origin"]["recipe"], values["preprocessing"] = asked_for(recipe)
    try:
        config = config_from_dict(values["config"])
        check_options(RECIPES["hf"] | values["preprocessing"])
    except ValueError as error:
        raise ValueError(f"{name}: the metadata's {error}") from None
    # Elsewhere a field that is not there means Hugging Face's default; here it means that something was lost.
    if odd := set(values["config"]) ^ set(config_to_dict(config)):
        odd = ", ".join(sorted(odd))
        raise wrong(f"{name}: the metadata's 'config'", f"too few or unknown fields, {odd}", "all fields")
    labels = values["labels"]
    if labels is not None and (len(labels) != config.num_labels or not all(isinstance(x, str) for x in labels)):
        raise wrong(f"{name}: the metadata's 'labels'", counted(len(labels), "label"), f"{config.num_labels} texts")
    origin = {key: str(value) for key, value in values["origin"].items()}
    return Identity("ours", False, config, None if labels is None else tuple(labels), values["preprocessing"], origin)


def _read_temperature(metadata, name):
    """The temperature that one of our own files states, or None."""
    try:
        temperature = parse_json(metadata.get("temperature", "null"))
        rule(lambda T: T is None or is_number(T, 0.01, 100), "a number from 0.01 to 100")("'temperature'", temperature)
    except ValueError as error:
        raise ValueError(f"{name}: the metadata's {error}") from None
    return temperature


def _read_params(opened, name, found, dtype):
    """The nested parameters, checked against the one table of shapes. One array is in transit at a time."""
    expected = _expected(found.config, opened.shapes, found.maker, found.bare)
    opened = without_class_row(opened, expected, found.maker, found.bare)
    told = ", as config.json beside it says" if opened.config and Path(name).is_file() else ""
    _check_names(opened.shapes, name, found.config, found.maker, found.bare, told)
    flat, not_finite = {}, []
    for ours in expected:
        parts = [opened.read(part) for part in file_names(ours, found.maker, found.bare)]
        with np.errstate(over="ignore"):  # reported below, by name
            value = (parts[0] if len(parts) == 1 else np.concatenate(parts)).astype(dtype, copy=False)
        if not np.isfinite(value).all():
            not_finite.append(ours)
        flat[ours] = channels_last(value)
    if not_finite:
        raise wrong(name, f"NaN or infinite numbers in {', '.join(_shorten(not_finite, flat))}", "finite ones")
    return unflatten(flat)


def _expected(config, found, maker="ours", bare=False):
    """Our name -> shape of what a file with the names `found` must hold: a detector's v1 has no class token."""
    token = file_names(f"stages.{len(config.depths) - 1}.cls_token", maker, bare) if config.model_type == "pvt" else ()
    return parameter_shapes(config, class_token=any(name in found for name in token))


def _check_names(found, name, config, maker, bare, told=""):
    """Raises one ValueError that names every missing, unexpected and misshapen parameter as the file calls them.

    `found`: the file's names -> shapes; `maker`, `bare`: whose names they are, as `names.recognise` tells; `told`: who
    says that it should be this configuration.
    """
    if sum(config.depths) > len(found):  # before a table of as many is made
        most = f"at most {len(found)}, as many as the file has parameters"
        raise wrong(f"{name}: the configuration's depths", f"{sum(config.depths)} blocks", most)
    expected = {}
    for ours, shape in _expected(config, found, maker, bare).items():
        parts = file_names(ours, maker, bare)
        expected |= dict.fromkeys(parts, (shape[0] // len(parts), *shape[1:]))
    misshapen = [part for part, shape in expected.items() if found.get(part, shape) != shape]
    shown = [f"{part} is {found[part]}, expected {expected[part]}" for part in misshapen]
    lists = {
        "missing": _shorten([part for part in expected if part not in found], expected),
        "unexpected": _shorten([part for part in sorted(found) if part not in expected], found),
        "of another shape": shown if len(shown) <= SHOWN_IN_FULL else [shown[0], *_shorten(misshapen[1:], expected)],
    }
    if not any(lists.values()):
        return
    fitting, other = variant_name(config), known_variant(our_shapes(found, maker, bare))
    whose = "that do not fit" if other in (None, fitting) else f"of {other}"
    said = "; ".join(f"{what}: {', '.join(names)}" for what, names in lists.items() if names)
    raise wrong(name, f"parameters {whose} ({said})", f"those of {fitting or 'the configuration'}{told}")


def _shorten(names, everything):
    """`names`; if they are many, a group of them that is complete in `everything` as `group.*`."""
    if len(names) <= SHOWN_IN_FULL:
        return list(names)
    kept, shown = set(everything) - set(names), {}
    for name in names:
        parts = name.split(".")
        groups = (".".join(parts[:n]) + "." for n in range(1, len(parts)))
        group = next((g for g in groups if not any(other.startswith(g) for other in kept)), None)
        shown[name if group is None else f"{group}*"] = True
    return list(shown)
