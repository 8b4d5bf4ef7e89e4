"""The three losses between logits and labels, chosen as Hugging Face does.

Source: `transformers`' ForSequenceClassificationLoss; `torch.nn.functional.cross_entropy`, `mse_loss` and
`binary_cross_entropy_with_logits`, each averaged.
"""

import numpy as np

from .activations import sigmoid

IGNORED = -100  # a label that PyTorch's cross-entropy leaves out


def loss_kind(num_labels, labels, problem_type=None):
    """Which of the three losses applies: the configured one, or by the number of labels and their type.

    >>> loss_kind(10, np.array([3, 7])), loss_kind(1, np.array([0.5, 2.0])), loss_kind(3, np.ones((2, 3)))
    ('single_label_classification', 'regression', 'multi_label_classification')
    """
    if problem_type is not None:
        return problem_type
    if num_labels == 1:
        return "regression"
    return "single_label_classification" if labels.dtype.kind in "iu" else "multi_label_classification"


def loss(logits, labels, problem_type=None):
    """The loss as a number of the logits' type. logits (B, num_labels); labels as the chosen loss wants them."""
    return LOSSES[loss_kind(logits.shape[-1], labels, problem_type)](logits, labels)


def cross_entropy(logits, labels, label_smoothing=0.0):
    """The mean of -log softmax(logits)[label]: how surprised the model is by the truth, in nats.

    With label smoothing s the truth counts 1 - s, and s is spread evenly over all labels.

    logits  (B, num_labels);  labels (B,), whole numbers from 0 to num_labels - 1; -100 leaves a picture out;
            if all are left out the mean is NaN, as in PyTorch

    >>> round(float(cross_entropy(np.zeros((2, 10)), np.array([3, 7]))), 4)  # log 10: it knows nothing
    2.3026
    """
    log_probs, rows, kept = _picked(logits, labels)
    truth = -log_probs[rows, kept]
    return ((1 - label_smoothing) * truth - label_smoothing * log_probs[rows].mean(axis=-1)).mean()


def _picked(logits, labels):
    """log softmax of the logits (B, num_labels), the rows whose label counts, and these labels."""
    labels, num_labels = np.asarray(labels), logits.shape[-1]
    if labels.shape not in ((len(logits),), (len(logits), 1)):
        raise ValueError(f"labels: found shape {labels.shape}; expected one for each of the {len(logits)} pictures")
    labels = labels.reshape(-1)
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels: found {labels.dtype}; expected whole numbers from 0 to {num_labels - 1}")
    bad = labels[(labels != IGNORED) & ((labels < 0) | (labels >= num_labels))]
    if bad.size:
        raise ValueError(f"labels: found {bad[0]}; expected whole numbers from 0 to {num_labels - 1}")
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    rows = np.flatnonzero(labels != IGNORED)
    return log_probs, rows, labels[rows]


def mean_square(logits, labels):
    """The mean of (logit - label)², for a single output per picture or for labels shaped as the logits."""
    return np.square(logits - _like(logits, labels)).mean()


def binary_cross_entropy(logits, labels):
    """Each logit against its own 0-or-1 label: the mean of max(z, 0) - z y + log(1 + exp(-|z|)).

    labels  (B, num_labels)
    """
    labels = _like(logits, labels)
    return (np.maximum(logits, 0) - logits * labels + np.log1p(np.exp(-np.abs(logits)))).mean()


def _like(logits, labels):
    labels = np.asarray(labels, logits.dtype)
    if labels.shape != logits.shape and (logits.shape[-1] != 1 or labels.shape != logits.shape[:1]):
        raise ValueError(f"labels: found shape {labels.shape}; expected {logits.shape}, as the logits")
    return labels.reshape(logits.shape)


LOSSES = {
    "single_label_classification": cross_entropy,
    "regression": mean_square,
    "multi_label_classification": binary_cross_entropy,
}


def loss_backward(dy, logits, labels, problem_type=None):
    """dy, the gradient of the loss itself, 1 as a rule, carried back to the logits: (B, num_labels)."""
    return LOSS_BACKWARDS[loss_kind(logits.shape[-1], labels, problem_type)](dy, logits, labels)


def cross_entropy_backward(dy, logits, labels, label_smoothing=0.0):
    """What the model said less what it should have said: dlogits = dy (softmax(logits) - truth) / pictures.

    For truth t, any weights that sum to 1, a picture's loss is -sum of t_k log p_k = log(sum exp z) - sum of t_k z_k,
    and the slope of log(sum exp z) is softmax(z). Label -100 gives a row of zeros.
    """
    log_probs, rows, kept = _picked(logits, labels)
    num_labels = logits.shape[-1]
    difference = np.exp(log_probs[rows]) - logits.dtype.type(label_smoothing / num_labels)
    difference[np.arange(len(rows)), kept] -= 1 - label_smoothing
    dlogits = np.zeros_like(logits)
    dlogits[rows] = difference * (dy / max(len(rows), 1))
    return dlogits


def mean_square_backward(dy, logits, labels):
    """dlogits = dy 2 (logits - labels) / numbers."""
    return (logits - _like(logits, labels)) * (dy * 2 / logits.size)


def binary_cross_entropy_backward(dy, logits, labels):
    """As for cross-entropy: dlogits = dy (sigmoid(logits) - labels) / numbers."""
    return (sigmoid(logits) - _like(logits, labels)) * (dy / logits.size)


LOSS_BACKWARDS = {
    "single_label_classification": cross_entropy_backward,
    "regression": mean_square_backward,
    "multi_label_classification": binary_cross_entropy_backward,
}
