"""From the last stage's tokens to the logits: v1 reads its class token, v2 averages all tokens."""

from .linear import linear


def class_token_head(x, weight=None, bias=None):
    """v1: the first token carries the picture.

    x       (B, 1 + N, C)    normalised tokens, the class token first
    weight  (num_labels, C)  or None for a model without a head
    bias    (num_labels,)

    Returns logits (B, num_labels), and the pooled features (B, C) they were made from (the same without a head).
    """
    return _classify(x[:, 0], weight, bias)


def mean_pool_head(x, weight=None, bias=None):
    """v2: the mean over the tokens carries the picture. x (B, N, C); the rest as in `class_token_head`."""
    return _classify(x.mean(axis=1), weight, bias)


def _classify(pooled, weight, bias):
    return (pooled if weight is None else linear(pooled, weight, bias)), pooled
