"""The three losses between logits and labels, chosen as Hugging Face does.

Source: `transformers`' ForSequenceClassificationLoss; `torch.nn.functional.cross_entropy`, `mse_loss` and
`binary_cross_entropy_with_logits`, each averaged.
"""

import numpy as np

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

    logits  (B, K);  labels (B,), whole numbers from 0 to K - 1; -100 leaves a picture out

    >>> round(float(cross_entropy(np.zeros((2, 10)), np.array([3, 7]))), 4)  # log 10: it knows nothing
    2.3026
    """
    log_probs, rows, kept = _picked(logits, labels)
    truth = -log_probs[rows, kept]
    return ((1 - label_smoothing) * truth - label_smoothing * log_probs[rows].mean(axis=-1)).mean()


def _picked(logits, labels):
    """log softmax of the logits (B, K), the rows whose label counts, and these labels."""
    labels = np.asarray(labels).reshape(-1)
    K = logits.shape[-1]
    if labels.shape != logits.shape[:1]:
        raise ValueError(f"labels have shape {labels.shape}; expected one for each of the {len(logits)} pictures")
    bad = labels[(labels != IGNORED) & ((labels < 0) | (labels >= K))]
    if labels.dtype.kind not in "iu" or bad.size:
        raise ValueError(f"label {bad[0] if bad.size else labels[0]!r}; expected a whole number from 0 to {K - 1}")
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    rows = np.flatnonzero(labels != IGNORED)
    return log_probs, rows, labels[rows]


def mean_square(logits, labels):
    """The mean of (logit - label)², for a single output per picture or for labels shaped as the logits."""
    return np.square(logits - _like(logits, labels)).mean()


def binary_cross_entropy(logits, labels):
    """Each logit against its own 0-or-1 label: the mean of max(z, 0) - z y + log(1 + exp(-|z|)). labels (B, K)."""
    labels = _like(logits, labels)
    return (np.maximum(logits, 0) - logits * labels + np.log1p(np.exp(-np.abs(logits)))).mean()


def _like(logits, labels):
    labels = np.asarray(labels, logits.dtype)
    if labels.size != logits.size:
        raise ValueError(f"labels have shape {labels.shape}; expected {logits.shape}, as the logits")
    return labels.reshape(logits.shape)


LOSSES = {
    "single_label_classification": cross_entropy,
    "regression": mean_square,
    "multi_label_classification": binary_cross_entropy,
}
