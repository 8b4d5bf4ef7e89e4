"""The names of Hugging Face's PVT pages over the functions of this package: `from transformers import …` becomes
`from pvt_numpy import …`, and `"pt"` becomes `"np"`.

    processor, model = PvtImageProcessor.from_pretrained(), PvtV2ForImageClassification.from_pretrained()
    outputs = model(**processor(images=picture, return_tensors="np"))
    print(model.config.id2label[outputs.logits.argmax(-1).item()])

Nothing is computed here: `model.forward`, `gradients.loss_and_gradients` and `pictures.processor.preprocess` do that,
and are what is worth reading. This room only answers to the names, arguments and results of the other library.

Source: the documented behaviour of transformers 5.24 (models `pvt` and `pvt_v2`, `PvtImageProcessor`, the pipelines
"image-classification" and "image-feature-extraction"). What differs is said where it does.
Left out: devices, half precision, autograd, uploads, and pictures from an address.
"""

from .configurations import PvtConfig, PvtV2Config
from .image_processor import AutoImageProcessor, PvtImageProcessor
from .models import (
    AutoModelForImageClassification,
    PvtForImageClassification,
    PvtModel,
    PvtV2Backbone,
    PvtV2ForImageClassification,
    PvtV2Model,
)
from .pipelines import pipeline

__all__ = [
    "AutoImageProcessor",
    "AutoModelForImageClassification",
    "PvtConfig",
    "PvtForImageClassification",
    "PvtImageProcessor",
    "PvtModel",
    "PvtV2Backbone",
    "PvtV2Config",
    "PvtV2ForImageClassification",
    "PvtV2Model",
    "pipeline",
]
