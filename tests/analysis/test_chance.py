"""What chance gives: rotated updates, the test that uses them, and intervals of means."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

from vxlab.analysis.chance import bootstrap_interval, rotate, rotation_test
from vxlab.analysis.similarity import chance_cosine
from vxlab.analysis.update import Update
from vxlab.errors import VxlabError


def _update(out=9, rank=3, into=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = {"generator": generator, "dtype": torch.float64}
    return Update(torch.randn(out, rank, **draw), torch.randn(rank, into, **draw))


@pytest.mark.parametrize(("out", "rank", "into"), [(9, 3, 7), (4, 6, 5), (2, 1, 1), (6, 2, 3)])
def test_a_rotated_update_keeps_its_singular_values_alone(out, rank, into):
    update = _update(out, rank, into)
    turned = rotate(update, 1)
    before, after = (np.linalg.svd(each.to_matrix().numpy(), compute_uv=False) for each in (update, turned))
    np.testing.assert_allclose(after, before, atol=1e-12)
    assert [turned.left.shape, turned.right.shape] == [(out, min(out, rank, into)), (min(out, rank, into), into)]
    assert turned.left.equal(rotate(update, 1).left)
    assert not turned.left.equal(rotate(update, 2).left)


def test_rotations_prefer_no_direction():
    update = _update(3, 1, 2)
    corners = torch.stack([rotate(update, seed).to_matrix() for seed in range(1000)])
    size = float(update.to_matrix().square().mean())
    assert corners.mean(0).abs().max() < 0.1 * math.sqrt(size)
    np.testing.assert_allclose(corners.square().mean(0).numpy(), size, rtol=0.2)


def test_the_rotation_test_draws_what_rotated_updates_give():
    a, b = _update(8, 2, 6, 1), _update(8, 3, 6, 2)
    found = rotation_test(a, b, samples=1000, seed=3)
    direct = [a.cosine(rotate(b, seed)) for seed in range(1000)]
    low, high = np.quantile(direct, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.05)
    assert found.cosine == a.cosine(b)
    assert found.p == pytest.approx((np.abs(direct) >= abs(found.cosine)).mean(), abs=0.06)
    assert found == rotation_test(a, b, samples=1000, seed=3)


def test_related_updates_are_found_and_unrelated_ones_are_not():
    a = _update(30, 4, 20, 1)
    related = Update(a.left + 2 * _update(30, 4, 20, 2).left, a.right)
    assert rotation_test(a, related).p == pytest.approx(1 / 201)
    low = [rotation_test(a, _update(30, 4, 20, seed), samples=40, seed=seed).p < 0.05 for seed in range(10, 70)]
    assert sum(low) <= 9  # of 60 about 3


def test_the_interval_of_chance_is_centred_and_as_wide_as_the_stated_spread():
    found = rotation_test(_update(30, 4, 20, 1), _update(30, 4, 20, 2), samples=1000)
    spread = chance_cosine((30, 20))
    assert found.low < 0 < found.high
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(spread, rel=0.1)


def test_a_zero_update_cannot_be_tested_and_few_samples_are_refused():
    zero = Update(torch.zeros(9, 1), torch.ones(1, 7))
    assert all(math.isnan(value) for value in rotation_test(_update(), zero))
    with pytest.raises(VxlabError, match=r"samples=20 .* choose 40 or more"):
        rotation_test(_update(), _update(), samples=20)


@pytest.mark.parametrize("n", [2, 3, 4, 6, 12])
def test_bootstrap_intervals_cover_the_mean_about_as_often_as_they_say(n):
    random = np.random.default_rng(n)
    intervals = [bootstrap_interval(random.normal(3, 2, n), seed) for seed in range(200)]
    covered = np.mean([low <= 3 <= high for _, low, high in intervals])
    assert 0.91 <= covered <= 0.99  # percentiles, expanded or not, reach the least and the largest value: 0.5 at n = 2


def test_intervals_of_few_values_are_students():
    values = [1.0, 2.0, 4.0]
    t = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert bootstrap_interval(values) == pytest.approx((7 / 3, t.low, t.high), rel=1e-12)


def test_bootstrap_intervals_of_few_values_are_defined():
    assert bootstrap_interval([1.0, 2.0, 3.0])[0] == 2
    assert bootstrap_interval([1.0, math.nan, 3.0]) == bootstrap_interval([1.0, 3.0])
    mean, low, high = bootstrap_interval([5.0])
    assert (mean, math.isnan(low), math.isnan(high)) == (5, True, True)
    assert all(math.isnan(value) for value in bootstrap_interval([]))
