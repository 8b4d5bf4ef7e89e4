"""The Pyramid Vision Transformer, v1 and v2, in pure NumPy.

    import pvt_numpy
    model = pvt_numpy.load_model()                                   # the model that ships; or a file, a folder, a name
    x = pvt_numpy.preprocess("photo.jpg", **model.preprocessing)     # (B, 3, H, W) float32
    out = pvt_numpy.forward(x, model.params, model.config)           # out.logits (B, num_labels)
    maps = pvt_numpy.pyramid(x, model.params, model.config)          # four (B, C, H, W) maps
    mine = pvt_numpy.finetune("my_photos", freeze="head-only")       # a model for your classes, a sub-folder each

Read `layers/` and `model.py` to understand PVT. Each command is a module: `python -m pvt_numpy.classify --help`.
"""

# ruff: noqa: E402 - what stands first comes first: the imports take a moment, in which a command can be stopped
from .system import stopping

stopping.begin()

from importlib import import_module

from .checkpoints.checkpoint import Model, load_model, save_model
from .config import VARIANTS
from .fast import plain, threads
from .model import Output, forward, pyramid
from .parameters import init_params, parameter_shapes
from .pictures.processor import preprocess
from .pictures.recipes import RECIPES
from .system.paths import SAMPLE_PICTURE

__version__ = "1.0.0"
HUGGING_FACE = ("AutoImageProcessor", "AutoModelForImageClassification", "PvtConfig", "PvtForImageClassification",
                "PvtImageProcessor", "PvtModel", "PvtV2Backbone", "PvtV2Config", "PvtV2ForImageClassification",
                "PvtV2Model", "pipeline")  # fmt: skip
__all__ = ["RECIPES", "SAMPLE_PICTURE", "VARIANTS", "Model", "Output", "explore", "finetune", "forward",
           "init_params", "load_model", "parameter_shapes", "plain", "preprocess", "pyramid", "save_model",
           "threads", *HUGGING_FACE]  # fmt: skip


def __getattr__(name):
    """What a forward pass does not need, a page, training and Hugging Face's names, is imported when asked for."""
    if name == "explore":
        return import_module(".explorer.page", __name__).explore
    if name == "finetune":
        return import_module(".training.finetune", __name__).finetune
    if name in HUGGING_FACE:
        return getattr(import_module(".hugging_face", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})
