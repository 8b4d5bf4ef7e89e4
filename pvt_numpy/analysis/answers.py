"""What a person reads in a model's logits: chances, or plain numbers.

Source: `transformers`' image-classification pipeline (`function_to_apply`), whose choice of the function this is.
"""

import numpy as np

from ..layers.activations import sigmoid
from ..layers.softmax import softmax
from .calibration import calibrated


def answers(logits, config):
    """(what they are called, the numbers in float64, shaped as the logits (..., num_labels)).

    "value"        regression: an output is the answer itself
    "probability"  each output by itself, by the sigmoid, if any number of labels may be true at once
                   (multi_label_classification) or there is but one; else one of all labels is true: the softmax

    >>> from pvt_numpy.config import PvtV2Config
    >>> for kind in ("single_label_classification", "multi_label_classification", "regression"):
    ...     name, numbers = answers(np.array([0.0, 2.0]), PvtV2Config(problem_type=kind))
    ...     print(name, numbers.round(3))
    probability [0.119 0.881]
    probability [0.5   0.881]
    value [0. 2.]
    """
    logits = np.asarray(logits, np.float64)
    if config.problem_type == "regression":
        return "value", logits
    one_by_one = config.problem_type == "multi_label_classification" or config.num_labels == 1
    return "probability", sigmoid(logits) if one_by_one else softmax(logits)


def predictions(logits, model, top_k=5):
    """The `top_k` largest of one picture's logits (num_labels,), the largest first; [] for a model without a head.

    Dicts with index, label, logit, and what `answers` makes of it under that name: "probability" or "value". If the
    model has been calibrated, it makes it of the logits over the model's temperature.
    """
    if not model.config.num_labels:
        return []
    name, numbers = answers(calibrated(logits, model), model.config)
    order = np.argsort(-logits, kind="stable")[:top_k]
    return [{"index": int(i), "label": model.label_names[i], "logit": float(logits[i]), name: float(numbers[i])}
            for i in order]  # fmt: skip
