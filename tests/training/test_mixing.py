"""Mixed and painted pictures: each against its published definition, written out here pixel by pixel."""

import math

import numpy as np
import pytest

from pvt_numpy.gradients import there_and_back
from pvt_numpy.layers.losses import cross_entropy
from pvt_numpy.parameters import flatten
from pvt_numpy.reference.golden import seeded_params, seeded_pixels
from pvt_numpy.training import loop, mixing
from pvt_numpy.training.data import Task
from pvt_numpy.training.state import Settings
from tests.training.test_training import V2


class Scripted:
    """A generator that gives these numbers in turn, whatever is asked, and noise of the number 7."""

    def __init__(self, *numbers):
        self.numbers, self.asked = list(numbers), []

    def _next(self, *limits):
        self.asked.append(limits)
        return self.numbers.pop(0)

    random = uniform = integers = beta = permutation = _next

    def standard_normal(self, shape):
        return np.full(shape, 7.0)


def pictures(B=3, H=6, W=8):
    return np.arange(B * 3 * H * W, dtype=np.float32).reshape(B, 3, H, W)


def test_mixup_is_the_papers_sum():
    """Zhang et al., equation 1: x = lambda x_i + (1 - lambda) x_j."""
    x, others = pictures(), pictures()[::-1]
    mixed, share = mixing.mixup(x, others, Scripted(0.25), 0.8)
    assert (share, mixed.dtype) == (0.25, np.float32)
    for place in ((0, 0, 0, 0), (1, 2, 3, 4), (2, 1, 5, 7)):
        assert mixed[place] == pytest.approx(0.25 * x[place] + 0.75 * others[place])


@pytest.mark.parametrize(("middle", "box"), [((3, 4), (2, 4, 2, 6)), ((0, 7), (0, 1, 5, 8)), ((5, 0), (4, 6, 0, 2))])
def test_cutmix_is_the_papers_box(middle, box):
    """Yun et al., algorithm 1, lines 10 to 17: sides W sqrt(1 - lambda), H sqrt(1 - lambda) around a point, cut at the
    edge, and lambda from what is left. With lambda = 3/4 the box is half as high and as wide as the 6 x 8 pixels."""
    x, others = pictures(), -1 - pictures()
    y0, y1, x0, x1 = box
    mixed, share = mixing.cutmix(x, others, Scripted(0.75, *middle), 1.0)
    for (b, c, h, w), value in np.ndenumerate(mixed):
        inside = y0 <= h < y1 and x0 <= w < x1
        assert value == (others if inside else x)[b, c, h, w]
    assert share == pytest.approx(1 - (y1 - y0) * (x1 - x0) / 48)
    assert (x == pictures()).all(), "the input was changed"


def test_one_of_the_two_mixes_half_of_the_batches_each_or_none():
    counts = {"none": 0, "mixup": 0, "cutmix": 0}
    x = pictures(B=4, H=16, W=16)
    for n in range(600):
        mixed, partners, share = mixing.mix(x, np.random.default_rng(n), 0.8, 1.0, often=0.5)
        if partners is None:
            assert (share, mixed is x) == (1.0, True)
            counts["none"] += 1
            continue
        assert sorted(partners) == [0, 1, 2, 3]
        pasted = np.isclose(mixed, x) | np.isclose(mixed, x[partners])
        counts["cutmix" if pasted.all() else "mixup"] += 1
    assert 260 < counts["none"] < 340
    assert counts["mixup"] > 100
    assert counts["cutmix"] > 100
    assert mixing.mix(x, np.random.default_rng(0), 0.0, 0.0)[1] is None
    shares = [mixing.mix(x, np.random.default_rng(n), 0.8, 0.0)[2] for n in range(2000)]
    # Beta(a, a): mean 1/2, variance 1 / (4 (2 a + 1))
    assert (np.mean(shares), np.var(shares)) == (pytest.approx(0.5, abs=0.02), pytest.approx(1 / 10.4, abs=0.01))


def test_erasing_paints_the_rectangle_that_was_drawn():
    """Zhong et al., algorithm 1: area S_e = S uniform, height sqrt(S_e r_e), width sqrt(S_e / r_e), any corner."""
    x = np.zeros((2, 3, 8, 8), np.float32)
    rng = Scripted(np.array([0.1, 0.9]), 0.25, 0.0, 2, 3)  # the first picture; a quarter, square, at (2, 3)
    painted = mixing.erase(x, rng, 0.25)
    expected = np.zeros((2, 3, 8, 8))
    expected[0, :, 2:6, 3:7] = 7
    np.testing.assert_array_equal(painted, expected)
    assert not x.any()
    # shares of the area of 2 to 33 %, and heights over widths of 0.3 to 1 / 0.3, as DeiT has them; corners that fit
    assert rng.asked == [(2,), (0.02, 1 / 3), (math.log(0.3), -math.log(0.3)), (5,), (5,)]
    many = mixing.erase(np.zeros((800, 3, 20, 20), np.float32), np.random.default_rng(0), 0.25)
    shares = (many[:, 0] != 0).mean(axis=(1, 2))
    assert 160 < (shares > 0).sum() < 240
    assert 0.01 < shares[shares > 0].min() < shares.max() < 0.37
    assert np.std(many[many != 0]) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_a_mixed_batch_is_measured_against_both_labels(share):
    """With labels y = share y_a + (1 - share) y_b, smoothed, the loss is -sum of y log p; the slope by differences."""
    rng, labels, partners = np.random.default_rng(0), np.array([0, 1, 2, 2]), np.array([2, 1, 0, 1])
    logits = rng.standard_normal((4, 6))
    batch = loop.Batch(np.zeros((4, 1)), labels, partners, share)
    soft = share * np.eye(6)[labels] + (1 - share) * np.eye(6)[partners]
    soft = 0.9 * soft + 0.1 / 6

    def expected(z):
        return -(soft * (z - np.log(np.exp(z).sum(axis=1, keepdims=True)))).sum(axis=1).mean()

    value, dlogits = batch.loss(logits, 0.1)
    assert value == pytest.approx(expected(logits), rel=1e-12)
    for place in np.ndindex(4, 6):
        nudge = np.zeros((4, 6))
        nudge[place] = 1e-6
        slope = (expected(logits + nudge) - expected(logits - nudge)) / 2e-6
        assert dlogits[place] == pytest.approx(slope, abs=1e-8)
    assert batch.right(np.eye(6)[labels]) == (4 if share > 0.5 else 1)
    assert batch.right(np.eye(6)[partners]) == (1 if share > 0.5 else 4)


def test_a_batch_is_painted_over_and_mixed_with_its_own_pictures_and_their_labels():
    """Every picture is as bright as its label's number, so that what is mixed says with what, and how much."""

    def drawn(indices, rng):
        labels = indices % 6
        return np.repeat(labels.astype(np.float32), 3 * 8 * 8).reshape(-1, 3, 8, 8), labels

    task = Task(tuple("abcdef"), 24, drawn, None, {}, {})
    mixed = loop.next_batch(Settings("x", batch=8, mixup=0.8), task, 3, at=4)
    expected = mixed.share * mixed.labels + (1 - mixed.share) * mixed.partners
    np.testing.assert_allclose(mixed.inputs[:, 0, 0, 0], expected, rtol=1e-5)
    assert (mixed.partners != mixed.labels).any()
    painted = loop.next_batch(Settings("x", batch=8, erasing=1.0), task, 3, at=4)
    assert painted.partners is None
    assert ((painted.inputs != painted.labels[:, None, None, None]).any(axis=(1, 2, 3))).all()
    plain = loop.next_batch(Settings("x", batch=8), task, 3, at=4)
    assert (plain.inputs == drawn(plain.labels, None)[0]).all()
    assert (plain.labels == painted.labels).all(), "the order of the pictures depends on what is done with them"


def test_an_unmixed_batch_is_plain_cross_entropy_to_the_last_bit():
    logits, labels = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32), np.array([0, 1, 2, 5])
    assert loop.Batch(None, labels).loss(logits, 0.1)[0] == cross_entropy(logits, labels, 0.1)


def test_the_way_back_ends_at_the_lowest_stage_that_learns():
    """The gradients above are those of the whole way, and nothing is carried further."""
    params, x = seeded_params(V2, 3), seeded_pixels((2, 3, 16, 16), 0)
    upstream = np.random.default_rng(0).standard_normal((2, 6))
    whole, part = (there_and_back(lambda _: (0, upstream), x, params, V2, seed=5, lowest=n) for n in (0, 1))
    above = {name for name in flatten(whole[3]) if not name.startswith("stages.0.")}
    assert set(flatten(part[3])) == above != set(flatten(whole[3]))
    assert all((flatten(part[3])[name] == flatten(whole[3])[name]).all() for name in above)
    assert part[2].shape == (2, 8, 4, 4), "the gradient of what stage 2 was given"
