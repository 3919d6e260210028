"""Candidates against the trivial answer, where it is known which of them learned anything."""

import math

import numpy as np
import pytest
import scipy.stats

from vxlab.experiments.scoring.against_trivial import against_trivial
from vxlab.experiments.scoring.metrics import compute
from vxlab.experiments.scoring.significance import holm


def guessing(random, items=300, candidates=4, seeds=3, unit=1):
    """Return candidates that learned nothing, on labels of which 55 % are of class 0, and units."""
    of = np.arange(items) // unit
    labels = (random.random(items) < 0.45).astype(int)
    leaning = 0.8 * random.standard_normal((candidates, 1, of.max() + 1))[:, :, of]
    answers = (leaning + random.standard_normal((candidates, seeds, items)) > 0).astype(int)
    return {str(i): dict(enumerate(each)) for i, each in enumerate(answers)}, labels, of if unit > 1 else None


def test_one_run_is_tested_as_one_sided_over_items():
    random = np.random.default_rng(0)
    labels = (random.random(400) < 0.4).astype(int)
    good = np.where(random.random(400) < 0.7, labels, 1 - labels)
    found = against_trivial({"good": {0: good}}, labels, constant=0)["good"]
    oracle = scipy.stats.ttest_rel((good == labels) * 1.0, (labels == 0) * 1.0, alternative="greater")
    assert found.difference == pytest.approx(np.mean(good == labels) - np.mean(labels == 0))
    assert oracle.pvalue <= found.p < 1.2 * oracle.pvalue
    assert not found.covers_seeds


def test_holm_is_over_the_candidates_and_worse_than_trivial_is_not_beaten():
    random = np.random.default_rng(1)
    labels = (random.random(500) < 0.4).astype(int)
    runs = {
        str(rate): {s: np.where(random.random(500) < rate, labels, 1 - labels) for s in range(2)}
        for rate in (0.9, 0.64, 0.3)
    }
    found = against_trivial(runs, labels, constant=0)
    assert [each.p_holm for each in found.values()] == pytest.approx(holm([each.p for each in found.values()]))
    assert (found["0.9"].beaten, found["0.3"].beaten) == (True, False)
    assert found["0.3"].p > 0.99


@pytest.mark.parametrize("unit", [1, 15])
def test_of_candidates_that_learned_nothing_none_is_said_to_beat_the_trivial_answer(unit):
    false = [
        any(each.beaten for each in against_trivial(runs, labels, constant=0, units=units).values())
        for runs, labels, units in (guessing(np.random.default_rng(number), unit=unit) for number in range(200))
    ]
    assert np.mean(false) <= 0.05


@pytest.mark.parametrize("metric", ["f1", "f1_macro"])
def test_a_guess_at_random_does_not_beat_a_constant_answer_though_its_f1_is_higher(metric):
    seen, higher = [], []
    for number in range(50):
        random = np.random.default_rng(number)
        labels = (random.random(400) < 0.3).astype(int)
        guess = {0: random.integers(0, 2, 400)}
        found = against_trivial({"guess": guess}, labels, metric, constant=0)["guess"]
        seen.append(found.beaten)
        higher.append(found.low > 0)
    assert np.mean(higher) > 0.5
    assert np.mean(seen) <= 0.1
    good = np.where(random.random(400) < 0.8, labels, 1 - labels)
    assert against_trivial({"good": {0: good}}, labels, metric, constant=0)["good"].beaten


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
def test_a_correlation_is_compared_with_0(metric):
    random = np.random.default_rng(2)
    targets = random.standard_normal(120)
    runs = {"some": {0: targets + random.standard_normal(120)}, "none": {0: random.standard_normal(120)}}
    found = against_trivial(runs, targets, metric, constant=0.3)
    assert (found["some"].beaten, found["none"].beaten) == (True, False)
    assert found["some"].difference == pytest.approx(compute([metric], runs["some"][0], targets)[metric])


def test_the_constant_answer_and_a_candidate_without_a_run_beat_nothing():
    labels = np.arange(200) % 2
    found = against_trivial({"constant": {0: 0 * labels}, "lost": {0: np.full(200, np.nan)}}, labels, constant=0)
    assert found["constant"].difference == 0
    assert math.isnan(found["lost"].p_holm)
    assert not any(each.beaten for each in found.values())
