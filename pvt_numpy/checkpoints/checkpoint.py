"""Models in and out of files: strict loading of every public format, and our own self-contained safetensors file.

Our file holds float32 or float16 arrays under our names, and in its metadata (texts, JSON) the keys `pvt_numpy.format`,
`config`, `labels`, `preprocessing` and `origin`: nothing else is needed to run the model.
Left out: downloads (`hub`), other people's names (`names`), variants and recipes (`identify`), bytes (`sources`),
files that appear whole or not at all (`files`).
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..config import PvtConfig, PvtV2Config, config_from_dict, config_to_dict, variant_name
from ..parameters import channels_last, flatten, parameter_shapes, unflatten
from ..system.files import atomic_file
from ..system.paths import SHIPPED
from .identify import identify, known_variant, our_shapes
from .names import file_names
from .sources import FOLDER_FILES, Source, open_source, parse_json

FORMAT_KEY, FORMAT = "pvt_numpy.format", "1"
SHOWN_IN_FULL = 24  # wrong names listed one by one; beyond that, groups of them as `stages.2.blocks.4.*`


@dataclass(frozen=True)
class Model:
    """A model ready to run.

    config         PvtConfig or PvtV2Config
    params         nested dict of arrays, as `forward` takes it
    labels         the class names in the order of the logits, or None
    preprocessing  the arguments for `preprocess`
    origin         where it comes from, for people: format, source, recipe and what its makers wrote down
    """

    config: PvtConfig | PvtV2Config
    params: dict = field(repr=False)  # millions of numbers
    labels: tuple[str, ...] | None = None
    preprocessing: dict = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)

    @property
    def label_names(self):
        """A name for every output: the labels, or transformers' stand-ins LABEL_0, LABEL_1, ... for want of them."""
        return self.labels or tuple(f"LABEL_{i}" for i in range(self.config.num_labels))


def load_model(source=None, dtype=np.float32, local_files_only=False):
    """The Model in `source`, its parameters in `dtype` (float32 or float64).

    source  a file of ours; a folder with Hugging Face's or timm's files; a single .safetensors or (with PyTorch
            installed) .pth file of the official code, timm or Hugging Face; a published name, or the id of a PVT on
            the Hub, which is downloaded on first use unless `local_files_only`; None: the model that ships

    Raises ValueError or FileNotFoundError with one sentence: damaged files, and in one message every parameter that
    is missing, unexpected, of another shape, or not finite.
    """
    if dtype not in (np.float32, np.float64, "float32", "float64"):
        raise ValueError(f"dtype is {dtype}; expected float32 or float64")
    path, name, short_name = _locate(source, local_files_only)
    opened = open_source(path)
    if FORMAT_KEY in opened.metadata:
        config, labels, preprocessing, origin = _read_metadata(opened.metadata, name)
        kind, bare = "ours", False
    else:
        identity = identify(opened, name, short_name)
        config, labels, preprocessing = identity.config, identity.labels, identity.preprocessing
        kind, bare, origin = identity.kind, identity.bare, identity.origin
    params = _read_params(opened, name, config, kind, bare, dtype)
    return Model(config, params, labels, preprocessing, origin)


def save_model(path, model, dtype="float32"):
    """Writes `model` as one self-contained file, in float32 or float16.

    The file appears at `path` whole or not at all, and equal models give equal bytes. Raises ValueError where the
    parameters do not fit the configuration, or hold numbers that `dtype` cannot.
    """
    flat = flatten(model.params)
    shapes = {name: np.shape(value) for name, value in flat.items()}
    _check_names(Source(Path(path), shapes, flat.get), "the model", model.config, "ours", False)
    labels = None if model.labels is None else list(model.labels)
    if labels is not None and len(labels) != model.config.num_labels:
        raise ValueError(f"the model has {len(labels)} labels; expected num_labels = {model.config.num_labels}")
    metadata = {
        FORMAT_KEY: FORMAT,
        "config": config_to_dict(model.config),
        "labels": labels,
        "preprocessing": model.preprocessing,
        "origin": model.origin,
    }
    metadata = {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in metadata.items()
    }
    write_safetensors(path, {name: flat[name] for name in parameter_shapes(model.config)}, metadata, dtype)


def describe(model):
    """One line about `model`: what it is, where it comes from, its epsilons and its recipe.

    >>> from pvt_numpy.config import VARIANTS
    >>> describe(Model(VARIANTS["pvt_tiny"], {"head": {"bias": np.zeros(1000)}}, origin={"source": "x.pth"}))
    'pvt_tiny, 1,000 parameters, 1000 outputs; from x.pth; layer norm eps 1e-06 throughout; recipe not recorded'
    """
    config, origin = model.config, model.origin
    count = sum(array.size for array in flatten(model.params).values())
    eps = f"{config.layer_norm_eps:g}"
    if config.embed_eps == config.layer_norm_eps:
        eps += " throughout"
    else:
        eps += f", {config.embed_eps:g} in patch embeddings and SRA"
    source = " of ".join(origin[key] for key in ("source", "format") if key in origin) or "no recorded source"
    return (
        f"{variant_name(config) or config.model_type}, {count:,} parameters, {config.num_labels or 'no'} outputs; "
        f"from {source}; layer norm eps {eps}; recipe {origin.get('recipe', 'not recorded')}"
    )


def write_safetensors(path, arrays, metadata, dtype):
    """Writes named arrays and a table of texts as a safetensors file, atomically and always in the same bytes.

    The format: the header's length (8 bytes, little-endian), the header (JSON, padded with spaces to 8 bytes), the
    arrays one after another. The safetensors library, which reads our files, would order the metadata by chance.
    """
    if dtype not in ("float32", "float16"):
        raise ValueError(f"dtype is {dtype!r}; expected 'float32' or 'float16'")
    code, stored = {"float32": ("F32", np.dtype("<f4")), "float16": ("F16", np.dtype("<f2"))}[dtype]
    _refuse_too_large(arrays, stored)
    header, end = {"__metadata__": metadata}, 0
    for name, value in arrays.items():
        start, end = end, end + value.size * stored.itemsize
        header[name] = {"dtype": code, "shape": list(value.shape), "data_offsets": [start, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":"))
    text = text.encode("utf-8", "replace")  # the origin notes the name of a file, which may hold bytes that are no text
    text += b" " * (-len(text) % 8)
    with atomic_file(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for value in arrays.values():
            file.write(np.ascontiguousarray(value, dtype=stored).tobytes())


def _refuse_too_large(arrays, stored):
    limit = float(np.finfo(stored).max)
    wrong = [name for name, value in arrays.items() if not np.abs(value).max(initial=0) <= limit]  # also for NaN
    if wrong:
        raise ValueError(f"{stored.name} reaches to {limit:g}, and these parameters do not fit: {', '.join(wrong)}")


def _locate(source, local_files_only):
    """(path, name for messages, name to note in the origin) of what `load_model` was asked for."""
    path = SHIPPED if source is None else Path(source)
    if path.exists() or source is None:
        return path, str(path), (path.parent if path.name in FOLDER_FILES else path).resolve().name
    from . import hub

    if hub.is_hub_name(source) or source == path.stem:  # a bare word can only be meant as a published name
        return Path(hub.download(source, local_files_only=local_files_only)), source, source
    raise FileNotFoundError(f"{source}: no such file or folder, and not the name of a published model")


def _read_metadata(metadata, path):
    """(config, labels, preprocessing, origin) out of one of our own files."""
    if metadata[FORMAT_KEY] != FORMAT:
        raise ValueError(f"{path}: {FORMAT_KEY} is {metadata[FORMAT_KEY]!r}; this version reads {FORMAT!r}")
    values = {}
    for key, kinds in (("config", dict), ("labels", (list, type(None))), ("preprocessing", dict), ("origin", dict)):
        try:
            values[key] = parse_json(metadata[key])
        except KeyError:
            raise ValueError(f"{path}: the metadata lacks {key!r}") from None
        except ValueError as error:
            raise ValueError(f"{path}: the metadata's {key!r} is not valid JSON: {error}") from None
        if not isinstance(values[key], kinds):
            raise ValueError(f"{path}: the metadata's {key!r} is a JSON {type(values[key]).__name__}")
    try:
        config = config_from_dict(values["config"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    # Elsewhere a field that is not there means Hugging Face's default; here it means that something was lost.
    if wrong := set(values["config"]) ^ set(config_to_dict(config)):
        listed = ", ".join(sorted(wrong))
        raise ValueError(f"{path}: the metadata's 'config' lacks fields, or has ones that no model has: {listed}")
    labels = values["labels"]
    if labels is not None and (len(labels) != config.num_labels or not all(isinstance(x, str) for x in labels)):
        raise ValueError(f"{path}: the metadata has {len(labels)} labels; expected {config.num_labels} texts")
    _check_preprocessing(path, values["preprocessing"])
    origin = {key: str(value) for key, value in values["origin"].items()}
    return config, None if labels is None else tuple(labels), values["preprocessing"], origin


def _check_preprocessing(path, values):
    from ..pictures.recipes import OPTIONS, RECIPES, check_options

    unknown = [key for key in values if key not in OPTIONS]
    if unknown:
        raise ValueError(f"{path}: the metadata's 'preprocessing' has unknown entries: {', '.join(unknown)}")
    try:
        check_options(RECIPES["hf"] | values)
    except ValueError as error:
        raise ValueError(f"{path}: the metadata's 'preprocessing': {error}") from None


def _read_params(opened, name, config, kind, bare, dtype):
    """The nested parameters, checked against the one table of shapes. One array is in transit at a time."""
    _check_names(opened, name, config, kind, bare)
    flat, not_finite = {}, []
    for ours in parameter_shapes(config):
        parts = [opened.read(part) for part in file_names(ours, kind, bare)]
        with np.errstate(over="ignore"):  # reported below, by name
            value = (parts[0] if len(parts) == 1 else np.concatenate(parts)).astype(dtype, copy=False)
        if not np.isfinite(value).all():
            not_finite.append(ours)
        flat[ours] = channels_last(value)
    if not_finite:
        raise ValueError(f"{name}: not finite (NaN or infinite): {', '.join(_shorten(not_finite, flat))}")
    return unflatten(flat)


def _check_names(opened, name, config, kind, bare):
    """Raises one ValueError that names every missing, unexpected and misshapen parameter as the file calls them."""
    found = opened.shapes
    if sum(config.depths) > len(found):
        raise ValueError(
            f"{name}: the configuration has {sum(config.depths)} blocks (depths), the file {len(found)} parameters"
        )
    expected = {}
    for ours, shape in parameter_shapes(config).items():
        parts = file_names(ours, kind, bare)
        expected |= {part: (shape[0] // len(parts), *shape[1:]) for part in parts}
    misshapen = [part for part, shape in expected.items() if found.get(part, shape) != shape]
    shown = [f"{part} is {found[part]}, expected {expected[part]}" for part in misshapen]
    lists = {
        "missing": _shorten([part for part in expected if part not in found], expected),
        "unexpected": _shorten([part for part in sorted(found) if part not in expected], found),
        "of another shape": shown if len(shown) <= SHOWN_IN_FULL else [shown[0], *_shorten(misshapen[1:], expected)],
    }
    if not any(lists.values()):
        return
    fitting, other = variant_name(config), known_variant(our_shapes(opened, kind, bare))
    hint = f" (these are the parameters of {other})" if other not in (None, fitting) else ""
    said = "; ".join(f"{what}: {', '.join(names)}" for what, names in lists.items() if names)
    raise ValueError(f"{name}: the parameters do not fit {fitting or 'the configuration'}{hint}; {said}")


def _shorten(names, everything):
    """`names`; where they are many, a group of them that is complete in `everything` as `group.*`."""
    if len(names) <= SHOWN_IN_FULL:
        return list(names)
    kept, chosen, shown = set(everything) - set(names), set(), []
    for name in names:
        parts = name.split(".")
        groups = (".".join(parts[:n]) + "." for n in range(1, len(parts)))
        group = next((g for g in groups if not any(other.startswith(g) for other in kept)), None)
        text = name if group is None else f"{group}*"
        if text not in chosen:
            chosen.add(text)
            shown.append(text)
    return shown
