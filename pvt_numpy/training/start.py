"""What a training starts from, and what it leaves: a model that already sees, with a head for the new classes.

Source: Yosinski et al., "How transferable are features in deep neural networks?" (2014): what a network has learned of
one set of classes serves another; only the last matrix is tied to them.
"""

import json
from collections import Counter
from dataclasses import asdict, fields, replace

import numpy as np

from ..analysis.cost import memory
from ..checkpoints.checkpoint import Model
from ..config import PvtConfig, smallest_side, stage_grids
from ..fast.cores import for_pieces
from ..fast.pieces import piece_size
from ..layers.position import resize_positions
from ..parameters import unflatten
from ..pictures.recipes import RECIPES, at_size
from ..system.checks import is_whole, wrong
from ..system.memory import check_memory
from .data import DRAWN, folder_task, shapes_task
from .freeze import HEAD_ONLY, check_freeze
from .report import as_csv, settings_line
from .state import Settings, fresh

NANO = {"hidden_sizes": (32, 64, 128, 192), "depths": (2, 2, 2, 2), "num_attention_heads": (1, 2, 4, 4),
        "mlp_ratios": (4, 4, 4, 4), "sequence_reduction_ratios": (4, 2, 1, 1), "patch_sizes": (4, 2, 2, 1),
        "strides": (4, 2, 2, 1), "layer_norm_eps": 1e-6}  # fmt: skip
USES = {  # what a training is for -> the defaults that differ from those of `Settings`
    "from nothing": {"drop_path": 0.1, "image_size": 64},
    "fine-tuning": {"drop_path": 0.05, "epochs": 15, "batch": 16, "microbatch": 8, "rate": 2e-4, "averaging": 0.98,
                    "smallest_crop": 0.5},
    "the head alone": {"drop_path": 0.0, "epochs": 40, "batch": 16, "rate": 2e-3, "averaging": 0.98, "smoothing": 0.0,
                       "smallest_crop": 0.5},
}  # fmt: skip


def nano_config(image_size, num_labels, drop_path_rate=0.1):
    """PVT v1 for small pictures: 1.6 million parameters; at 64 pixels grids of 16, 8, 4 and 4 tokens a side.

    The last stage keeps the grid of the third, for a 2 x 2 grid would leave its class token little to look at.
    """
    return PvtConfig(image_size=image_size, num_labels=num_labels, drop_path_rate=drop_path_rate, **NANO)


def use_of(model, freeze):
    """Which of `USES` it is."""
    return "from nothing" if model is None else "the head alone" if freeze == HEAD_ONLY else "fine-tuning"


def begin(source, learned=None, shape=None, **given):
    """A training that has not begun, and its task, from a loaded Model or else from nothing in this configuration.

    given  drop_path, image_size, and what `Settings` has; what is missing has the defaults of its use

    Raises ValueError that names the setting, before pictures are read. `source` is none of `given`.
    """
    given = USES[use_of(learned, given.get("freeze"))] | given
    drop_path, image_size = given.pop("drop_path"), given.pop("image_size", None)
    if unknown := given.keys() - {one.name for one in fields(Settings)}:
        known = ", ".join(["image_size", "drop_path", *(one.name for one in fields(Settings))])
        raise wrong(", ".join(sorted(unknown)), "no setting of that name", known)
    config = learned.config if learned else shape
    recipe = learned.preprocessing if learned else RECIPES["hf"]
    settings = Settings(source, **given)
    if settings.split and (settings.validation or source == "shapes"):
        raise wrong("split", f"{settings.split:g} beside pictures to measure with", "one of the two")
    if config.num_channels != 3:
        raise wrong("num_channels", config.num_channels, "3, for pictures are learnt from in colour")
    side = side_of(recipe) if image_size is None else image_size
    if not is_whole(side, 1):
        raise wrong("image_size", side, "a whole number of pixels")
    config = replace(config, image_size=side, drop_path_rate=drop_path)
    check_freeze(settings.freeze, config)
    if side < (least := smallest_side(config)):
        raise wrong("image_size", side, f"at least {least}, of which every stage can make keys")
    task = make_task(settings, config, recipe)
    if learned is None:
        return fresh(settings, replace(config, num_labels=len(task.labels), problem_type=None)), task
    model, kept = with_head_for(learned, task.labels, np.random.default_rng(settings.seed))
    model = at_image_size(model, side)
    start = {"origin": learned.origin, "preprocessing": recipe, "known": len(kept)}
    return fresh(settings, replace(model.config, drop_path_rate=drop_path), model.params, start), task


def task_of(training):
    """The task of a training that goes on."""
    return make_task(training.settings, training.config, training.start.get("preprocessing", RECIPES["hf"]))


def make_task(settings, config, recipe):
    """The data that the settings name, prepared by the recipe for a model of this configuration."""
    check_room(settings, config)
    side = config.image_hw[0]
    if settings.data == "shapes":
        return shapes_task(side, settings.seed, settings.drawn)
    return folder_task(settings.data, settings.validation, side, settings.keep_size, settings.smallest_crop,
                       settings.jitter, settings.skip_unreadable, recipe, settings.split, settings.seed)  # fmt: skip


def check_room(settings, config):
    """Refuses pictures too large for the memory there is: before the first one is drawn or read."""
    H, W = config.image_hw
    there_and_back, there = (memory(config, (H, W), training) for training in (True, False))
    pictures = (3 * settings.batch + DRAWN * (settings.data == "shapes")) * 12 * H * W
    needed = pictures + for_pieces() * max(settings.microbatch * there_and_back, piece_size(H * W) * there)
    check_memory("--image-size", f"{H} x {W} pixels", needed, "; --microbatch-size 1 and --threads 1 need less")


def trained(training, task):
    """The Model that the training has come to: the averaged parameters, with all that their user needs to know."""
    began, side = training.start.get("origin", {"recipe": "hf"}), training.config.image_hw[0]
    recipe = began.get("recipe", "not recorded").partition(", at ")[0]
    if recipe not in RECIPES or side_of(RECIPES[recipe]) != side:
        recipe += f", at {side} x {side}"
    origin = {"format": "pvt_numpy.train", "recipe": recipe}  # called by its file's name, whatever that will be
    if training.start:
        source = " of ".join(began[key] for key in ("source", "format") if key in began)
        kept = {key: text for key, text in began.items() if key not in ("source", "measured")}
        origin = kept | origin | {"started from": source}
        if before := [began[key] for key in ("trained before", "training") if key in began]:
            origin["trained before"] = "; ".join(before)
    origin |= {"training": settings_line(training.settings, training.config), "history": as_csv(training.history)}
    settings = asdict(training.settings)  # but for the paths, which are of one machine
    origin["settings"] = json.dumps({name: settings[name] for name in settings if name not in ("data", "validation")})
    return Model(training.config, unflatten(training.arrays["average"]), task.labels, task.recipe, origin)


def side_of(recipe):
    """The side of the square that the recipe makes of a picture."""
    recipe = at_size(recipe)
    size = recipe["crop_size"] if recipe["do_center_crop"] else recipe["size"] if recipe["do_resize"] else {}
    sides = {size.get(side) for side in ("height", "width")}
    if len(sides) > 1 or None in sides:
        raise wrong("image_size", "none, beside a recipe that makes no squares", "a number of pixels")
    return sides.pop()


def with_head_for(model, labels, rng):
    """The model with one output for each of `labels`, in their order.

    The row of a class that the model already knows, by its name, is kept; the others are drawn, as `init_params` draws
    them. A name that stands for two outputs is not known. Returns the new Model and the labels whose rows were kept.
    """
    config = replace(model.config, num_labels=len(labels), problem_type=None)
    weight = rng.normal(0, config.initializer_range, (len(labels), config.hidden_sizes[-1])).astype(np.float32)
    bias = np.zeros(len(labels), np.float32)
    known, asked = places(model.labels or ()), places(labels)
    kept = {name: (known[name], asked[name]) for name in asked if name in known}
    for source, target in kept.values():
        weight[target], bias[target] = (model.params["head"][part][source] for part in ("weight", "bias"))
    params = model.params | {"head": {"weight": weight, "bias": bias}}
    return replace(model, config=config, params=params, labels=tuple(labels)), [labels[t] for _, t in kept.values()]


def at_image_size(model, side):
    """The model for pictures of side x side: v1's position tables are resized, once, to learn on at that size."""
    config, stages = replace(model.config, image_size=side), list(model.params["stages"])
    if config.model_type == "pvt":
        grids = zip(stages, stage_grids(model.config), stage_grids(config), strict=True)
        stages = [stage | {"pos_embed": resize_positions(stage["pos_embed"], *pair)} for stage, *pair in grids]
    return replace(model, config=config, params=model.params | {"stages": stages})


def places(labels):
    """name -> its place, of the names that are there once; small letters and spaces for capitals and underscores.

    >>> places(("Golf_ball", "crane", "crane"))
    {'golf ball': 0}
    """
    names = [label.lower().replace("_", " ") for label in labels]
    often = Counter(names)
    return {name: i for i, name in enumerate(names) if often[name] == 1}
