"""Spatial-reduction attention: against each head of each query by itself, PyTorch, and differences.

The keys are the map after a convolution of stride R, or averaged to 7 x 7 (linear SRA). A tail of the grid that fills
no R x R square is in no key.
"""

import math

import numpy as np
import pytest

from pvt_numpy.layers.run import Run
from tests.layers.helpers import Case, Layer, proofs, weights
from tests.layers.test_activations import FORMS
from tests.layers.test_convolution import CONV
from tests.layers.test_layernorm import NORM
from tests.layers.test_linear import LINEAR
from tests.layers.test_resize import POOL
from tests.layers.test_softmax import SOFTMAX


def slow_attend(q, k, v, heads):
    """Each head of each query on its own: q · k over the keys, softmax, and the mean of the values."""
    B, N, C = q.shape
    probs, mixed = np.zeros((B, heads, N, k.shape[1])), np.zeros(q.shape)
    for b, h, n in np.ndindex(B, heads, N):
        part = np.s_[h * C // heads : (h + 1) * C // heads]
        scores = [math.fsum(q[b, n, part] * key[part]) / math.sqrt(C / heads) for key in k[b]]
        probs[b, h, n] = SOFTMAX(np.array(scores))
        mixed[b, n, part] = sum(p * value[part] for p, value in zip(probs[b, h, n], v[b], strict=True))
    return mixed, probs


def torch_attend(F, q, k, v, heads):
    q, k, v = (tokens.unflatten(-1, (heads, -1)).transpose(1, 2) for tokens in (q, k, v))
    probs = F.softmax(q @ k.mT / math.sqrt(q.shape[-1]), -1)
    return (probs @ v).transpose(1, 2).flatten(2), probs


def twin_attend(x, reduced, q, kv, proj, heads):
    keys_values, C = LINEAR(reduced, **kv), x.shape[-1]
    mixed, probs = ATTEND(LINEAR(x, **q), keys_values[..., :C], keys_values[..., C:], heads)
    return LINEAR(mixed, **proj), probs


def twin_attention(x, grid, q, kv, proj, sr=None, norm=None, heads=1, ratio=1, eps=0.0):
    reduced = x
    if ratio > 1:
        squares = CONV(x.reshape(len(x), *grid, -1), **sr, stride=ratio)
        reduced = NORM(squares.reshape(len(x), -1, x.shape[-1]), **norm, eps=eps)
    return twin_attend(x, reduced, q, kv, proj, heads)


def twin_linear_attention(x, grid, q, kv, proj, sr, norm, heads=1, eps=0.0):
    pooled = CONV(POOL(x.reshape(len(x), *grid, -1), 7), **sr).reshape(len(x), 49, -1)
    return twin_attend(x, FORMS["gelu"](NORM(pooled, **norm, eps=eps)), q, kv, proj, heads)


def arrays(N, C, sr=0, bias=True):
    found = {"x": (2, N, C), "q": weights(C, C, bias=bias), "kv": weights(2 * C, C, bias=bias), "proj": weights(C, C)}
    return found | ({"sr": weights(C, C, sr, sr), "norm": weights(C)} if sr else {})


ATTEND = Layer("attention.attend", slow_attend, torch_attend)
SRA = Layer("attention.attention", twin_attention)
POOLED = Layer("attention.linear_attention", twin_linear_attention)
CASES = [
    Case(SRA, arrays(12, 8), {"grid": (3, 4), "heads": 2, "ratio": 1, "eps": 1e-6}, "R1"),
    Case(SRA, arrays(13, 6, bias=False), {"grid": (3, 4), "heads": 3, "ratio": 1, "eps": 1e-6}, "class-token"),
    Case(SRA, arrays(24, 8, sr=2), {"grid": (4, 6), "heads": 2, "ratio": 2, "eps": 1e-6}, "R2"),
    Case(SRA, arrays(35, 6, sr=3), {"grid": (5, 7), "heads": 1, "ratio": 3, "eps": 1e-5}, "R3-tail"),
    Case(POOLED, arrays(12, 6, sr=1), {"grid": (3, 4), "heads": 2, "eps": 1e-6}, "3x4"),
    Case(POOLED, arrays(80, 4, sr=1), {"grid": (10, 8), "heads": 1, "eps": 1e-5}, "10x8"),
]
MISTAKES = {
    "values before keys": ("attention-R1", "attention.attend", "kv"),
    "no bias": ("attention-R2", "attention.linear", "bias"),
    "the other eps": ("attention-R3-tail", "attention.layer_norm", "eps"),
    "samples for means": ("linear_attention-10x8", "resize.pooling_matrix", "samples"),
}
test_loops, test_pytorch, test_gradients, test_mistakes = proofs(CASES, MISTAKES)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rows_sum_to_1(case):
    _, probs = case.forward(case.numbers())
    np.testing.assert_allclose(probs.sum(-1), 1, rtol=1e-14)


def test_tail_pixels_are_no_part_of_any_key():
    case = CASES[3]
    changed = case.numbers()["x"].reshape(2, 5, 7, 6).copy()
    changed[:, 3:] = 9  # the two last rows of five fill no 3 x 3 square, nor does the last column of seven
    changed[:, :, 6] = -9
    seen, other = {}, {}
    for watcher, more in ((seen, {}), (other, {"x": changed.reshape(2, 35, 6)})):
        run = Run("attn", watchers=(watcher,))
        case._replace(options=case.options | {"run": run}).forward(case.numbers() | more)
    assert (seen["attn.k"] == other["attn.k"]).all()
    assert (seen["attn.q"] != other["attn.q"]).any()
