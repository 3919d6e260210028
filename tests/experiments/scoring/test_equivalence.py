"""Tests of equivalence and of non-inferiority against SciPy's t-tests and tables whose truth is known."""

import math

import numpy as np
import pytest
import scipy.stats

from vxlab.errors import VxlabError
from vxlab.experiments.scoring.equivalence import equivalence_p, noninferiority_p
from vxlab.experiments.scoring.evidence import from_error
from vxlab.experiments.scoring.significance import Difference, compare_two

NOTHING = Difference(*(math.nan,) * 4, covers_seeds=False).evidence()


def test_the_two_one_sided_tests_are_those_of_a_one_sample_t_test():
    values = np.random.default_rng(0).normal(0.01, 0.05, 40)
    compared = from_error(values.mean(), scipy.stats.sem(values), 39)
    less = scipy.stats.ttest_1samp(values, 0.03, alternative="less").pvalue
    more = scipy.stats.ttest_1samp(values, -0.03, alternative="greater").pvalue
    assert equivalence_p(compared, 0.03) == pytest.approx(max(less, more))
    assert noninferiority_p(compared, 0.03) == pytest.approx(more)


@pytest.mark.parametrize("difference", [-0.02, 0.0, 0.004, 0.03])
def test_equivalence_is_shown_where_the_90_percent_interval_lies_within_the_margin(difference):
    compared = from_error(difference, 0.004, 12)
    half = scipy.stats.t.ppf(0.95, 12) * 0.004
    for margin in (0.005, 0.0071, 0.0072, 0.02, 0.05):
        inside = -margin < difference - half and difference + half < margin
        assert (equivalence_p(compared, margin) < 0.05) == inside


def test_a_difference_that_was_not_seen_is_not_equality():
    compared = from_error(0.0, 0.02, 5)
    assert 2 * min(compared.tails(0)) == 1
    assert equivalence_p(compared, 0.01) > 0.05


def test_candidates_a_margin_apart_are_called_equivalent_in_at_most_5_percent_of_tables():
    labels, found = np.ones(800, int), []
    for number in range(200):
        random = np.random.default_rng(number)
        shared = random.standard_normal(800)
        a, b = (
            {s: (shared + random.standard_normal(800) > -each).astype(int) for s in range(3)} for each in (1.0, 0.7936)
        )  # Φ(1/√2) - Φ(0.7936/√2) = 0.0475
        found.append(equivalence_p(compare_two(a, b, labels).evidence(), 0.0475) <= 0.05)
    assert np.mean(found) <= 0.07


def test_what_was_not_compared_is_not_equivalent():
    assert math.isnan(equivalence_p(NOTHING, 0.01))
    assert math.isnan(noninferiority_p(NOTHING, 0.01))


@pytest.mark.parametrize("margin", [0, -0.01, math.inf, math.nan])
def test_a_margin_is_above_0(margin):
    with pytest.raises(VxlabError, match=f"margin={margin}: give the largest difference that does not matter"):
        equivalence_p(from_error(0, 1, 5), margin)
