"""`explore`: pictures and models in, one HTML page out, with the facts put into the template.

Nothing that comes from outside (a file's name, a label, a model's origin) reaches the page as HTML: all of it goes
through one JSON block in which no `<` survives, and the page's code puts it in place as text.
"""

import json
import os
import re
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from ..analysis.answers import predictions
from ..analysis.observe import observe
from ..analysis.rollout import cell_sizes, pyramid_rollout
from ..checkpoints.checkpoint import Model, load_model
from ..config import variant_name
from ..layers.attention import POOLED
from ..parameters import flatten
from ..pictures.processor import preprocess
from ..pictures.recipes import FILTERS, PICTURE_CHANNELS, RECIPES, at_size, size_dict
from ..system.checks import wrong
from ..system.files import atomic_file, check_writable
from ..system.paths import EXPLORER, SHIPPED
from .pack import WANTED, encode, pack
from .picture import LARGEST_INPUT, one_picture, shown_picture

SCRIPTS = tuple(f"{name}.js" for name in ("numbers", "state", "words", "paint", "picture", "heads", "map", "onward",
                                          "arithmetic", "facts", "save", "tour", "controls"))  # fmt: skip


@dataclass(frozen=True, repr=False)
class Page:
    """A finished page: `html` is its text. A notebook shows it in place."""

    name: str
    html: str

    def __repr__(self):
        return f"<explorer page for {self.name}, {len(self.html.encode()) / 1e6:.2f} MB>"

    def _repr_html_(self):
        """The page in a frame of its own, so that it and the notebook leave each other's style alone."""
        style = 'style="width:100%;height:900px;border:0" loading="lazy"'
        return f'<iframe title="Attention explorer" srcdoc="{escape(self.html)}" {style}></iframe>'

    def save(self, path):
        """Writes the page; the file appears at `path` whole or not at all."""
        with atomic_file(path) as file:
            file.write(self.html.encode("utf-8"))


def explore(image, model=None, path=None, *, size=None, name=None, source=None):
    """A `Page` on what the tokens of `image` attend to, in every head of every block.

    Lists of pictures and models make one page, on which the reader chooses among all pairs of them.

    image  a path, a binary file, a Pillow image or an array; or a list of them
    model  a `Model`, or what `load_model` takes; or a list of them; None: the model that ships
    path   where to write the page; None: nowhere
    size   pixels on a side (at most 512), or (height, width), instead of the recipe's own; a crop keeps its proportion
    name   to show for the picture; None: the file's
    source what `--model` is called in the line of Python that draws a view again; None: as `model` or its origin says
           name and source are lists too if there are several
    """
    images, models = listed("image", image), listed("model", model)
    names, sources = one_each("name", name, images, "picture"), one_each("source", source, models, "model")
    if path is not None:
        check_writable(path, *(one for one in images if isinstance(one, str | os.PathLike)))
    names = [name_of(one) if name is None else readable(name) for one, name in zip(images, names, strict=True)]
    facts = []
    for model, source in zip(models, sources, strict=True):
        if not isinstance(model, Model):
            source, model = source or model, load_model(model)
        facts += [facts_of(image, model, name, size, source) for image, name in zip(images, names, strict=True)]
    name = names[0] + (f" and {len(facts) - 1} more" if len(facts) > 1 else "")
    page = Page(name, insert(name, facts if len(facts) > 1 else facts[0]))
    if path is not None:
        page.save(path)
    return page


def listed(name, given):
    """What is given, as a list of at least one."""
    if not isinstance(given, list | tuple):
        return [given]
    if not given:
        raise wrong(name, "an empty list", "at least one")
    return given


def one_each(name, given, these, what):
    """What is given, as a list as long as `these`: one for each, or the same for all."""
    if not isinstance(given, list | tuple):
        return [given] * len(these)
    if len(given) != len(these):
        raise wrong(name, len(given), f"{len(these)}, one for each {what}")
    return given


def name_of(image):
    """What a picture is called: the name of a path or of a file; else only a text says one."""
    given = getattr(image, "name", image)
    return readable(Path(given).name if isinstance(given, str) else "picture")


def readable(name):
    """A file's name may hold bytes that are no text."""
    return name.encode("utf-8", "replace").decode()


def facts_of(image, model, name, size=None, source=None):
    """What the page knows of one picture and one model; the arguments are those of `explore`, model and name known."""
    if model.config.num_channels not in PICTURE_CHANNELS:
        name = model.origin.get("source", "the model")
        raise wrong(name, f"a model of {model.config.num_channels} channels", "1, 3 or 4, which can be shown")
    recipe = at_size(model.preprocessing, None if size is None else size_dict("image size", size).values())
    picture = one_picture(image, recipe)
    pixel_values = preprocess(picture, **recipe | {"data_format": "channels_first"})
    H, W = pixel_values.shape[2:]
    if max(H, W) > LARGEST_INPUT:
        raise wrong(name, f"{W} x {H} pixels for the model", f"at most {LARGEST_INPUT} on a side (give a size)")
    logits, trace = observe(model, pixel_values, name, WANTED)
    uri, width, height, squashed = shown_picture(picture, recipe, H, W)
    return {
        "file": name,
        "picture": {"src": uri, "width": width, "height": height, "squashed": squashed},
        "input": [H, W],
        "model": model_facts(model, recipe) | {"options": plot_options(model, recipe, (H, W), source)},
        "predictions": predictions(logits[0], model),
        "stages": [stage | geometry(model.config, i, (H, W)) for i, stage in enumerate(pack(trace, model))],
        "rollout": [packed_map(share) for share in pyramid_rollout(trace, model.config)],
    }


def geometry(config, i, input_hw):
    """Where stage i's tokens and keys lie, in fractions of the picture: token (r, c) starts at (r * cell[0], …)."""
    cell = [cell_sizes(config)[i] / n for n in input_hw]
    return {"cell": cell, "ratio": config.sr_ratios[i], "pooled": POOLED if config.linear_attention else 0}


def model_facts(model, recipe):
    """Name, size, origin and recipe of the model, for people."""
    variant = variant_name(model.config) or model.config.model_type
    return {
        "name": model.origin.get("source") or variant,
        "variant": variant,
        "version": 1 if model.config.model_type == "pvt" else 2,
        "parameters": sum(array.size for array in flatten(model.params).values()),
        "origin": {key: value for key, value in model.origin.items() if key != "source"},
        "preprocessing": in_words(recipe),
    }


def plot_options(model, recipe, input_hw, source=None):
    """What `plots` is told beside the picture, so that it prepares it alike: of files only the names."""
    source = source or model.origin.get("source") or SHIPPED.stem
    options = {} if source == SHIPPED.stem else {"--model": Path(source).name if Path(source).exists() else source}
    if recipe["do_resize"]:
        options["--image-size"] = "{}x{}".format(*input_hw)
        for name, known in RECIPES.items():
            if at_size(known, input_hw) == at_size(recipe, input_hw):
                options["--recipe"] = name
    return [word for option in options.items() for word in map(str, option)]


def in_words(recipe):
    """What the recipe does to a picture.

    >>> in_words(at_size({}))
    'squashed to 224 × 224 (bicubic)'
    """
    steps = []
    if recipe["do_resize"]:
        size, how = recipe["size"], list(FILTERS)[recipe["resample"]]
        if "height" in size:
            steps.append(f"squashed to {size['width']} × {size['height']} ({how})")
        else:
            steps.append(", ".join(f"{key.replace('_', ' ')} resized to {n}" for key, n in size.items()) + f" ({how})")
    if recipe["do_center_crop"]:
        steps.append("the middle {width} × {height} cut out".format(**recipe["crop_size"]))
    return ", ".join(steps) or "not resized"


def packed_map(share):
    """A map (H, W) of shares as 8-bit fractions of its largest."""
    largest = float(share.max())
    return {"grid": list(share.shape), "largest": largest,
            "bytes": encode(np.rint(share / largest * 255).astype(np.uint8))}  # fmt: skip


def insert(name, facts):
    """The template with style, scripts and data in place; `facts` of one picture, or a list of several."""
    parts = {
        "title": escape(name),
        "style": (EXPLORER / "style.css").read_text(encoding="utf-8"),
        "data": as_json(facts),
        "scripts": "\n".join((EXPLORER / script).read_text(encoding="utf-8") for script in SCRIPTS),
    }
    template = (EXPLORER / "template.html").read_text(encoding="utf-8")
    # one pass, so that nothing inserted is ever searched for placeholders
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def as_json(facts):
    """JSON that may stand inside a script element: `</script>` and `<!--` cannot occur, as no < is left in it.

    >>> as_json({"label": "</script>"})
    '{"label":"\\\\u003c/script>"}'
    """
    text = json.dumps(facts, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")
