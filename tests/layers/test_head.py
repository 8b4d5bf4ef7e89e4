"""The heads: v1 reads its class token, v2 the mean of all tokens; a model without a head gives what it has read.
Against their twins, with loops and in PyTorch, and differences."""

from tests.layers.helpers import Case, Layer, proofs, weights
from tests.layers.test_linear import LINEAR


def twin_class_token_head(x, **weights):
    return (LINEAR(x[:, 0], **weights) if weights else x[:, 0]), x[:, 0]


def twin_mean_pool_head(x, **weights):
    return twin_class_token_head(sum(x[:, n : n + 1] for n in range(x.shape[1])) / x.shape[1], **weights)


FIRST = Layer("head.class_token_head", twin_class_token_head)
MEAN = Layer("head.mean_pool_head", twin_mean_pool_head)
CASES = [
    *(Case(layer, {"x": (2, 5, 6), **weights(4, 6)}) for layer in (FIRST, MEAN)),
    *(Case(layer, {"x": (2, 5, 6)}, label="bare") for layer in (FIRST, MEAN)),
]
MISTAKES = {
    "class token last": ("class_token_head", "head.class_token_head", "class-token"),
}
test_loops, test_pytorch, test_gradients, test_mistakes = proofs(CASES, MISTAKES)


def test_without_a_head_the_features_are_the_logits():
    for case in CASES[2:]:
        logits, pooled = case.forward(case.numbers())
        assert logits is pooled
