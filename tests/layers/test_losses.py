"""The losses: against sums over single numbers, PyTorch's three, and differences. They are chosen as Hugging Face does,
and labels that do not fit are refused."""

import math
import re

import numpy as np
import pytest

from pvt_numpy.layers.losses import (
    LOSSES,
    binary_cross_entropy,
    cross_entropy,
    cross_entropy_backward,
    loss,
    loss_kind,
    mean_square,
)
from tests.layers.helpers import Case, Layer, proofs
from tests.layers.test_softmax import SOFTMAX


def slow_cross_entropy(logits, labels, label_smoothing=0.0):
    found = []
    for z, label in zip(logits, labels, strict=True):
        if label != -100:
            surprise = -np.log(SOFTMAX(z))
            found.append((1 - label_smoothing) * surprise[label] + label_smoothing * math.fsum(surprise) / len(z))
    return math.fsum(found) / len(found)


def slow_mean_square(logits, labels):
    return math.fsum((z - y) ** 2 for z, y in zip(logits.ravel(), labels.ravel(), strict=True)) / logits.size


def slow_binary_cross_entropy(logits, labels):
    pairs = [(1 / (1 + math.exp(-z)), y) for z, y in zip(logits.ravel(), labels.ravel(), strict=True)]
    return -math.fsum(y * math.log(p) + (1 - y) * math.log(1 - p) for p, y in pairs) / len(pairs)


def torch_cross_entropy(F, logits, labels, **options):
    return F.cross_entropy(logits, logits.new_tensor(labels).long(), **options)


def torch_mean_square(F, logits, labels):
    return F.mse_loss(logits, logits.new_tensor(labels).reshape(logits.shape))


def torch_binary_cross_entropy(F, logits, labels):
    return F.binary_cross_entropy_with_logits(logits, logits.new_tensor(labels))


def cases(kind, twins, shape, labels):
    """The loss by itself, and as `loss` chooses it."""
    for name in (kind, "loss"):
        yield Case(Layer(f"losses.{name}", *twins), {"logits": shape}, {"labels": labels}, kind, scale=3)


LABELS, SOME, SHARES = np.array([0, 4, 2, 2]), np.array([3, 0, -100, 1]), np.random.default_rng(0).random((4, 5))
CASES = [
    *cases("cross_entropy", (slow_cross_entropy, torch_cross_entropy), (4, 5), LABELS),
    *cases("mean_square", (slow_mean_square, torch_mean_square), (4, 1), np.array([0.5, 2, -1, 3])),
    *cases("binary_cross_entropy", (slow_binary_cross_entropy, torch_binary_cross_entropy), (4, 5), SHARES),
]
CASES.append(CASES[0]._replace(options={"labels": SOME}, label="some"))
CASES.append(CASES[0]._replace(options={"labels": SOME, "label_smoothing": 0.1}, label="smoothed"))
MISTAKES = {
    "no smoothing": ("cross_entropy-smoothed", "losses.cross_entropy", lambda right, label_smoothing, **o: right(**o)),
}
test_loops, test_pytorch, test_gradients, test_mistakes = proofs(CASES, MISTAKES)


@pytest.mark.parametrize(("loss", "labels", "sentence"), [
    (cross_entropy, [0, 5], "labels: found 5; expected whole numbers from 0 to 4"),
    (cross_entropy, [0, -1], "labels: found -1; expected whole numbers from 0 to 4"),
    (cross_entropy, [0.5, 1.0], "labels: found float64; expected whole numbers from 0 to 4"),
    (cross_entropy, [0, 1, 2], "labels: found shape (3,); expected one for each of the 2 pictures"),
    (cross_entropy, [[0, 1]], "labels: found shape (1, 2); expected one for each of the 2 pictures"),
    (mean_square, np.zeros((2, 4)), "labels: found shape (2, 4); expected (2, 5), as the logits"),
    (mean_square, np.zeros((5, 2)), "labels: found shape (5, 2); expected (2, 5), as the logits"),
    (binary_cross_entropy, np.zeros((2, 4)), "found shape (2, 4); expected (2, 5), as the logits")])  # fmt: skip
def test_labels_that_do_not_fit_are_refused(loss, labels, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        loss(np.zeros((2, 5)), np.array(labels))


def test_a_batch_in_which_no_label_counts_has_no_gradient():
    assert not cross_entropy_backward(1.0, np.ones((2, 5)), np.array([-100, -100])).any()


@pytest.mark.parametrize(("num_labels", "labels", "problem_type", "chosen"), [
    (1, np.array([0.5, 2]), None, "regression"),
    (1, np.array([0, 2]), None, "regression"),
    (2, np.array([0, 1]), None, "single_label_classification"),
    (2, np.array([0, 1], np.int32), None, "single_label_classification"),
    (2, np.array([[0.0, 1]]), None, "multi_label_classification"),
    (2, np.array([[0.0, 1]]), "regression", "regression"),
    (1, np.array([[1.0]]), "multi_label_classification", "multi_label_classification")])  # fmt: skip
def test_the_loss_is_chosen_by_the_labels(num_labels, labels, problem_type, chosen):
    assert loss_kind(num_labels, labels, problem_type) == chosen
    logits = np.random.default_rng(0).normal(size=(len(labels), num_labels))
    assert loss(logits, labels, problem_type) == LOSSES[chosen](logits, labels)
