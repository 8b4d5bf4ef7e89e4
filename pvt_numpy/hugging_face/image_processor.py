"""PvtImageProcessor: the options of Hugging Face's page over `pictures.processor.preprocess`."""

import re

import numpy as np

from ..checkpoints.checkpoint import load_model
from ..pictures.processor import pad, preprocess
from ..pictures.recipes import OPTIONS, RECIPES, preprocessing_from_hf, size_dict
from ..system.checks import one_of, rule, wrong
from .arguments import DEVICE, as_array, as_tensor, refuse_unknown
from .files import json_at, json_text, place_of, write_json
from .outputs import BatchFeature, Named

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
        refuse_unknown(options, DEFAULTS)
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
        return BatchFeature(pixel_values=as_tensor(batch) if options["return_tensors"] == "pt" else batch)

    @classmethod
    def from_pretrained(cls, source=None, *, local_files_only=False, **options):
        """The image processor of a folder, of a preprocessor_config.json, or of anything that `load_model` takes, whose
        recipe then is the one that its makers used; None: the v2 that ships. And options to change."""
        place = place_of(source, "pvt_v2", local_files_only)
        values = json_at(place, "preprocessor_config.json")
        return cls.from_dict(load_model(place).preprocessing if values is None else values, **options)

    @classmethod
    def from_dict(cls, image_processor_dict, **options):
        """An image processor from the dict of a preprocessor_config.json, and options to change. Another one's, as
        ViT's, is translated, with its own defaults; of PVT's unknown options are kept."""
        refuse_unknown(options, DEFAULTS)
        rule(lambda values: isinstance(values, dict), "a dict of options")("image_processor_dict", image_processor_dict)
        told = image_processor_dict
        is_pvt = str(told.get("image_processor_type") or told.get("feature_extractor_type") or "Pvt").startswith("Pvt")
        recipe = preprocessing_from_hf(told | {"do_pad": None} if is_pvt else told)  # which refuses what has no meaning
        return cls(**(told | {"resample": recipe["resample"]} if is_pvt else recipe) | options)

    def to_dict(self):
        """Every option that is set, and what was given beside them."""
        values = {name: value for name, value in vars(self).items() if name not in UNSAID or value != UNSAID[name]}
        return values | {"image_processor_type": type(self).__name__}

    def to_json_string(self):
        return json_text(self.to_dict())

    def save_pretrained(self, save_directory):
        """Writes preprocessor_config.json into a folder; returns the paths of what was written."""
        return write_json(save_directory, "preprocessor_config.json", self.to_json_string())

    def __repr__(self):
        return f"{type(self).__name__} {self.to_json_string()}"


AutoImageProcessor = PvtImageProcessor  # the page's examples name it so


def _pictures(images, name="images", grey=False):
    """The pictures one by one, out of lists, lists of lists, and batches."""
    if isinstance(images, list | tuple):
        for i, image in enumerate(images):
            yield from _pictures(image, f"{name}[{i}]", grey)
        return
    images = as_array(name, images)
    refuse_address(images)
    is_picture = hasattr(images, "__array__") or hasattr(images, "read") or hasattr(images, "__fspath__")
    if not is_picture and not isinstance(images, str) and not hasattr(images, "getbands"):
        raise TypeError(str(wrong(name, type(images).__name__, "a picture, a path, an array or a tensor, or a list")))
    if isinstance(images, np.ndarray) and images.ndim == 4:
        yield from images
    elif grey and isinstance(images, np.ndarray) and images.ndim != 2:
        raise wrong(name, f"an array of shape {images.shape}", '(height, width), as input_data_format="none" says')
    else:
        yield images


def refuse_address(picture):
    if isinstance(picture, str) and re.match(r"\w{2,}://|data:image", picture):
        raise wrong(picture[:80], "an address", "a path: pictures are not downloaded here, save it first")
