"""Units: how many items count as one, and how much a variance over units is worth."""

import numpy as np
import pytest

from vxlab.experiments.scoring.unit_statistics import units_of


def test_of_equal_units_the_freedom_is_one_less_than_they_are_whatever_goes_together():
    units = units_of(np.repeat(np.arange(30), 4), 120)
    assert [units.freedom(together) for together in (1, 2, 4, 9)] == pytest.approx([29] * 4)
    assert units_of(None, 50).freedom(1) == pytest.approx(49)


def test_unequal_units_are_worth_fewer_and_fewest_where_they_go_together():
    sizes = np.array([1, 2, 3, 5, 40])
    units = units_of(np.repeat(np.arange(5), sizes), 51)
    apart, whole = units.freedom(1), units.freedom(units.whole)
    assert apart == pytest.approx(max(1, 51**2 / (sizes**2).sum() - 1))
    assert whole == 1
    assert units.whole == pytest.approx((sizes**2).sum() / 51)


def test_satterthwaites_freedom_is_that_of_the_variance_of_sums_over_units():
    """Of normal items that correlate in their units, the variance's own variance tells its freedom: 2·mean² / var."""
    random, sizes = np.random.default_rng(0), np.repeat([2, 5, 20], 20)
    units, alike = units_of(np.repeat(np.arange(60), sizes), sizes.sum()), 0.3
    sums = random.standard_normal((20_000, 60)) * np.sqrt(sizes * (1 + (sizes - 1) * alike))
    variances = (sums**2).sum(axis=1)
    expected = 2 * variances.mean() ** 2 / variances.var()
    assert units.freedom(1 + alike * (units.whole - 1)) + 1 == pytest.approx(expected, rel=0.05)


def test_a_design_effect_is_a_ratio_of_variances_and_at_least_1():
    units = units_of(np.repeat(np.arange(100), 10), 1000)
    many = 0.25 / 1000  # of a share of a half: so many errors that nothing else matters
    assert units.design_effect(5 * many * 99 / 100, many) == pytest.approx(5, rel=0.05)
    assert units.design_effect(0.3 * many, many) == 1


def test_without_errors_a_design_effect_is_the_worst_there_can_be():
    units = units_of(np.repeat(np.arange(100), 10), 1000)
    assert units.design_effect(0.0, 0.0) == units.whole == 10
    one = 1 / 1000**2  # an error, alone: as good as nothing
    assert 3 < units.design_effect(one * 100 / 99, one * 1000 / 999) < 10


def test_an_item_repeated_as_one_unit_counts_once_however_few_differ():
    units = units_of(np.repeat(np.arange(50), 6), 300)
    for errors in (1, 3, 20):
        by_item = 6 * errors / 300**2 * 300 / 299
        by_unit = 36 * errors / 300**2 * 50 / 49
        assert units.design_effect(by_unit, by_item) == pytest.approx(6)


def test_resamples_hold_whole_units():
    units = units_of(np.array(["b", "a", "b", "c"]), 4)
    assert units.items(np.array([0, 0, 2])).tolist() == [1, 1, 3]  # named in order: a, b, c
    assert units.items(np.array([1, 2, 1])).tolist() == [0, 0, 2, 2, 3]
