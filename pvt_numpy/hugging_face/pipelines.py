"""From a picture to its labels, or to its features, in one call: transformers' `pipeline`."""

import os
from collections.abc import Iterator

from ..analysis.answers import answers
from ..analysis.calibration import calibrated
from ..checkpoints.checkpoint import load_model
from ..layers.activations import sigmoid
from ..layers.softmax import softmax
from ..pictures.decode import open_image
from ..pictures.recipes import for_channels
from ..system.checks import one_of, wrong
from .arguments import DEVICE, refuse_unknown
from .files import float_type_at, json_at, place_of
from .image_processor import PvtImageProcessor, refuse_address
from .models import CLASSIFIERS, Pretrained, PvtModel, PvtV2Model

WITHOUT_EFFECT = ("timeout", "batch_size")  # nothing is waited for, and a list is answered picture by picture


class _Pipeline:
    known = WITHOUT_EFFECT  # and the options of `answer`

    def __init__(self, task, model, image_processor, options):
        refuse_unknown(options, self.known)
        self.task, self.model, self.image_processor, self.options = task, model, image_processor, options

    def __call__(self, inputs, **options):
        """What `answer` makes of one picture: a Pillow image, a path, an array; of a list: a list of that."""
        if inputs is None:
            raise wrong("inputs", "nothing", "a picture, a path, or a list of them")
        several = isinstance(inputs, list | tuple | Iterator) and not hasattr(inputs, "read")  # an open file is one
        if several:
            answers = (self(one, **options) for one in inputs)
            return answers if isinstance(inputs, Iterator) else list(answers)
        refuse_unknown(options, self.known)
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
        scores = _scores(self.outputs(picture).logits[0], self.model, function_to_apply).tolist()
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
        refuse_address(picture)
        picture = open_image(picture, do_convert_rgb=False)
    seen_through = getattr(picture, "has_transparency_data", False)
    return picture.convert("RGBA").convert("RGB") if seen_through else picture


def _scores(logits, model, function_to_apply):
    if function_to_apply is None:
        return answers(calibrated(logits, model), model.config)[1]
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
    if not isinstance(model, Pretrained):
        place = place_of(model, "pvt_v2")
        told = json_at(place, "preprocessor_config.json")
        unread = "hf" if told or image_processor else None  # the folder's recipe, if the image processor reads it
        loaded = load_model(place, float_type_at(dtype, place), recipe=unread)
        model = classes[loaded.config.model_type]._of(loaded, place)
        if image_processor is None:
            recipe, _ = for_channels(told or loaded.preprocessing, loaded.config.num_channels)
            image_processor = PvtImageProcessor.from_dict(recipe)
    if task == "image-classification" and not model.config.num_labels:
        raise wrong("model", "one without a classifier", "one with labels; its features: image-feature-extraction")
    if image_processor is None:
        raise wrong(
            "image_processor", "none beside a model that is loaded already", "PvtImageProcessor(…), or its folder"
        )
    if not callable(image_processor):
        image_processor = PvtImageProcessor.from_pretrained(image_processor)
    return kind(task, model, image_processor, options)
