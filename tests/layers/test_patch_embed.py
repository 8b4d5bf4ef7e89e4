"""Patch embeddings are a convolution and a norm, and say which grid their tokens stand on: against the twins of both,
with loops and in PyTorch, and differences. v1 drops the tail that fills no patch; v2 puts half a patch of zeros around.
"""

from tests.layers.helpers import Case, Layer, proofs, weights
from tests.layers.test_convolution import CONV
from tests.layers.test_layernorm import NORM


def twin_patch_embed(x, proj, norm, stride, eps, padding=0):
    y = CONV(x, **proj, stride=stride, padding=padding)
    return NORM(y.reshape(len(x), -1, y.shape[-1]), **norm, eps=eps), y.shape[1:3]


def twin_overlapping_patch_embed(x, proj, norm, stride, eps):
    return twin_patch_embed(x, proj, norm, stride, eps, padding=proj["weight"].shape[-1] // 2)


def arrays(size, patch):
    return {"x": size, "proj": weights(6, 3, patch, patch), "norm": weights(6)}


SQUARES = Layer("patch_embed.patch_embed", twin_patch_embed)
OVERLAPPING = Layer("patch_embed.overlapping_patch_embed", twin_overlapping_patch_embed)
CASES = [
    Case(SQUARES, arrays((2, 9, 11, 3), 4), {"stride": 4, "eps": 1e-6}, "4-4"),
    Case(SQUARES, arrays((1, 9, 11, 3), 3), {"stride": 2, "eps": 1e-5}, "3-2"),
    Case(OVERLAPPING, arrays((2, 9, 11, 3), 7), {"stride": 4, "eps": 1e-6}, "7-4"),
    Case(OVERLAPPING, arrays((2, 5, 6, 3), 3), {"stride": 2, "eps": 1e-3}, "3-2"),
    Case(OVERLAPPING, arrays((2, 5, 6, 3), 4), {"stride": 2, "eps": 1e-6}, "4-2"),
]
MISTAKES = {"not normalised": ("patch_embed-4-4", "patch_embed.patch_embed", "no-embed-norm")}
test_loops, test_pytorch, test_gradients, test_mistakes = proofs(CASES, MISTAKES)


def test_their_grids():
    assert [case.forward(case.numbers())[1] for case in CASES] == [(2, 2), (4, 5), (3, 3), (3, 3), (3, 4)]
