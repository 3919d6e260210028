"""Differences to the base: paired on the same items alone, and those of any two runs on one task."""

import math

import numpy as np
import pytest
from scipy.stats import ttest_rel
from toy_evaluations import METRIC, evaluation

import vxlab
from vxlab.experiments.evaluations.differences import paired_differences
from vxlab.experiments.scoring.significance import compare_two

RANDOM = np.random.default_rng(0)
BASE, TUNED = (RANDOM.random(200) < share for share in (0.4, 0.6))


def test_a_difference_is_that_of_two_runs_on_one_task() -> None:
    found = paired_differences({"a": {0: evaluation(TUNED, "a")}}, evaluation(BASE), METRIC)["a"]
    labels = np.zeros(200)
    assert found == pytest.approx(compare_two({0: 1 - TUNED}, {0: 1 - BASE}, labels, "accuracy"), nan_ok=True)
    assert found.difference == TUNED.mean() - BASE.mean()
    assert found.seen
    assert not found.covers_seeds


def test_values_of_any_size_have_students_interval() -> None:
    base = RANDOM.normal(5, 2, 300)
    tuned = base + RANDOM.normal(0.3, 1, 300)
    found = paired_differences({"a": {0: evaluation(tuned, "a")}}, evaluation(base), METRIC)["a"]
    assert found.p == pytest.approx(float(ttest_rel(tuned, base).pvalue), rel=0.3)
    assert found.difference == pytest.approx(float((tuned - base).mean()))


def test_seeds_are_the_other_level() -> None:
    seeds = {seed: evaluation(RANDOM.random(200) < 0.3 + 0.2 * seed, str(seed)) for seed in range(3)}
    together = paired_differences({"a": seeds}, evaluation(BASE), METRIC)["a"]
    alone = paired_differences({"a": {1: seeds[1]}}, evaluation(BASE), METRIC)["a"]
    assert together.covers_seeds
    assert together.high - together.low > alone.high - alone.low
    assert together.difference == pytest.approx(np.mean([one.scores[METRIC] for one in seeds.values()]) - BASE.mean())


@pytest.mark.parametrize(
    "changed", [{"documents": ("other",) * 200}, {"task": "arc_challenge"}, {"documents": ("one",)}]
)
def test_other_items_are_not_paired(changed: dict[str, object]) -> None:
    with pytest.raises(vxlab.VxlabError, match=r"other items .* so they cannot be paired"):
        paired_differences({"a": {0: evaluation(TUNED, "a", **changed)}}, evaluation(BASE), METRIC)


def test_what_is_no_mean_of_items_has_no_interval() -> None:
    base, tuned = (evaluation(BASE, run, items={}, scores={METRIC: score}) for run, score in (("", 20.0), ("a", 25.0)))
    found = paired_differences({"a": {0: tuned}}, base, METRIC)["a"]
    assert found.difference == 5.0
    assert all(map(math.isnan, found[1:4]))
    gaps = evaluation(np.where(np.arange(200) < 9, np.nan, TUNED), "a")
    assert math.isnan(paired_differences({"a": {0: gaps}}, evaluation(BASE), METRIC)["a"].p)
    single = paired_differences({"a": {0: evaluation([1], "a")}}, evaluation([0]), METRIC)["a"]
    assert (single.difference, math.isnan(single.p)) == (1.0, True)


def test_items_that_all_lack_a_value_are_left_out() -> None:
    base, tuned = (evaluation(np.where(np.arange(200) < 9, np.nan, each)) for each in (BASE, TUNED))
    found = paired_differences({"a": {0: tuned}}, base, METRIC)["a"]
    short = paired_differences({"a": {0: evaluation(TUNED[9:])}}, evaluation(BASE[9:]), METRIC)["a"]
    assert found == pytest.approx(short, nan_ok=True)
