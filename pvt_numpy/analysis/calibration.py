"""How far measured numbers can be trusted: an interval around an accuracy, and whether 90 % means nine times in ten.

Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference" (1927); Guo et al., "On
Calibration of Modern Neural Networks" (2017): the expected calibration error in 15 bins (equation 3), and temperature
scaling (section 4.2), which divides all logits by one number: no answer changes, only how sure it is.
"""

import math

import numpy as np

from ..layers.softmax import softmax

BINS = 15
TEMPERATURES = 0.05, 20.0  # outside of these, photos say nothing that a temperature could mend


def wilson_interval(right, count, z=1.96):
    """The shares of right answers, from and to, that fit `right` of `count` measured, at 95 % for z = 1.96.

    >>> [round(share, 3) for share in wilson_interval(115, 120)]
    [0.906, 0.982]
    """
    share, spread = right / count, z * z / count
    middle = share + spread / 2
    half = z * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    return max(0.0, (middle - half) / (1 + spread)), min(1.0, (middle + half) / (1 + spread))


def calibration_error(logits, labels):
    """How far, on average, the model's confidence is from its accuracy, among answers of about the same confidence.

    logits (n, num_labels);  labels (n,), whole numbers. 0 is perfect: of all answers given at 80 %, 80 % are right.
    """
    probabilities = softmax(np.asarray(logits, np.float64))
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = [abs(right[bins == b].sum() - confidence[bins == b].sum()) for b in range(BINS)]
    return float(sum(gaps) / len(labels))


def fit_temperature(logits, labels):
    """The temperature T for which softmax(logits / T) is least surprised by the labels: the minimum of cross-entropy.

    In b = 1 / T the cross-entropy is convex, so its slope, mean over pictures of sum of p z less z of the truth, has
    one zero, which halving an interval finds. Above 1: the model was too sure. If there is none from 0.05 to 20, as for
    answers that are all right, the nearer end is returned.
    """
    logits = np.asarray(logits, np.float64)
    truth = logits[np.arange(len(labels)), labels]

    def slope(b):
        return ((softmax(b * logits) * logits).sum(axis=1) - truth).mean()

    low, high = (1 / T for T in reversed(TEMPERATURES))
    if slope(low) > 0 or slope(high) < 0:
        return TEMPERATURES[1] if slope(low) > 0 else TEMPERATURES[0]
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 1 / low


def calibrated(logits, model):
    """The logits that probabilities are made of: over the model's temperature, if it has been calibrated."""
    return logits if model.temperature is None else np.asarray(logits, np.float64) / model.temperature
