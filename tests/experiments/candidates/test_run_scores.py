"""Scores with their intervals, and differences of two runs, against hand computation and simulation."""

import math
import time

import numpy as np
import pytest
import scipy.stats
import toy_records as toy

from vxlab import VxlabError
from vxlab.experiments.candidates.run_scores import paired_difference, score_table
from vxlab.experiments.scoring.significance import compare_two

LABELS = np.array([0, 1] * 100)


def _hits(wrong: int, first: int = 0) -> np.ndarray:
    """Of 200 items, ``wrong`` ones from ``first`` on are missed."""
    hits = np.ones(200, dtype=bool)
    hits[first : first + wrong] = False
    return hits


@pytest.fixture
def record(tmp_path):
    return toy.run_record(tmp_path / "vera", toy.logits_with(_hits(40), LABELS), LABELS)


def test_the_table_holds_the_trivial_answer_each_run_and_wilsons_interval(record, tmp_path):
    head = toy.run_record(tmp_path / "head", toy.logits_with(_hits(60), LABELS), LABELS)
    table = score_table({"vera": record, "head only": head})
    assert list(table.columns) == ["answer", "score", "low", "high"]
    assert list(table["answer"]) == ["most frequent class", "vera", "head only"]
    assert list(table["score"]) == pytest.approx([0.5, 0.8, 0.7])
    z, n, p = scipy.stats.norm.ppf(0.975), 200, 0.8
    middle, half = (p + z**2 / (2 * n)), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    bounds = [(middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)]
    assert list(table.loc[1, ["low", "high"]]) == pytest.approx(bounds)
    assert table.loc[0, ["low", "high"]].isna().all()


def test_another_metric_is_scored_by_its_own_definition(record):
    table = score_table({"vera": record}, metric="f1")
    predicted = np.where(_hits(40), LABELS, 1 - LABELS)
    hits = int((predicted & LABELS).sum())
    assert table.loc[1, "score"] == pytest.approx(2 * hits / (predicted.sum() + LABELS.sum()))
    assert table.loc[1, "low"] < table.loc[1, "score"] < table.loc[1, "high"]


def test_a_regression_is_scored_beside_the_training_mean(tmp_path):
    random = np.random.default_rng(0)
    targets = random.normal(size=300).astype(np.float32)
    outputs = (targets + random.normal(size=300)).astype(np.float32)[:, None]
    table = score_table({"vera": toy.run_record(tmp_path / "vera", outputs, targets)})
    assert list(table["answer"]) == ["training mean", "vera"]
    correlation = scipy.stats.pearsonr(outputs[:, 0], targets).statistic
    assert list(table["score"]) == pytest.approx([0, correlation], abs=1e-6)


def test_a_diverged_run_has_a_row_without_a_score(record, tmp_path):
    table = score_table({"vera": toy.diverged_record(tmp_path / "diverged", record), "head only": record})
    assert table.loc[1, "answer"] == "vera (diverged)"
    assert table.loc[1, ["score", "low", "high"]].isna().all()
    assert table.loc[2, "score"] == pytest.approx(0.8)


def test_tables_that_make_no_sense_are_refused(record, tmp_path):
    with pytest.raises(VxlabError, match="metric='acuracy' is not reported for toy; choose one of accuracy, f1"):
        score_table({"vera": record}, metric="acuracy")
    with pytest.raises(VxlabError, match="records is empty; give one run or more"):
        score_table({})
    with pytest.raises(VxlabError, match="holds no predictions for split='trial'"):
        paired_difference(record, record, split="trial")
    other = toy.run_record(tmp_path / "b", toy.logits_with(_hits(1), LABELS), LABELS, task={**record.task, "name": "b"})
    with pytest.raises(VxlabError, match=r"several tasks \(toy, b\); compare runs on one task"):
        score_table({"a": record, "b": other})


def test_runs_on_other_items_of_one_name_are_refused(record, tmp_path):
    fewer = toy.run_record(tmp_path / "b", toy.logits_with(_hits(1)[:50], LABELS[:50]), LABELS[:50])
    other = toy.run_record(tmp_path / "c", toy.logits_with(_hits(1), 1 - LABELS), 1 - LABELS)
    for each, counts in ((fewer, "200 and 50"), (other, "200 and 200")):
        with pytest.raises(VxlabError, match=rf"predicted other test items of toy \({counts}\)"):
            score_table({"a": record, "b": each})


def test_a_split_without_a_trivial_score_is_refused(record):
    with pytest.raises(VxlabError, match=r"split='train'.*choose one of test"):
        score_table({"vera": record}, split="train")


def test_a_run_differs_from_itself_by_nothing(record):
    for metric in ("accuracy", "f1", "f1_macro", "matthews"):
        value, low, high = (difference := paired_difference(record, record, metric))[:3]
        assert (value, low) == (0, -high)
        assert 0 < high < 0.03  # two items of 200
        assert not difference.seen


def test_a_clearly_better_run_is_seen_either_way_round(record, tmp_path):
    worse = toy.run_record(tmp_path / "worse", toy.logits_with(_hits(90), LABELS), LABELS)
    better = paired_difference(record, worse)
    assert better.difference == pytest.approx(0.25)
    assert 0 < better.low < better.difference < better.high
    assert better.seen
    turned = paired_difference(worse, record)
    assert turned.seen
    assert turned[:3] == pytest.approx((-better.difference, -better.high, -better.low))


def test_the_interval_of_a_difference_is_the_paired_one(record, tmp_path):
    """30 items right in the one run only and 10 in the other only: a variance by hand, and no larger."""
    other = toy.run_record(tmp_path / "other", toy.logits_with(_hits(60, first=10), LABELS), LABELS)
    found = paired_difference(record, other)
    first, second = _hits(40), _hits(60, first=10)
    gains, losses = (first & ~second).mean(), (~first & second).mean()
    assert (gains, losses) == (30 / 200, 10 / 200)
    half = 1.96 * math.sqrt((gains + losses - (gains - losses) ** 2) / 200)
    assert found.difference == pytest.approx(0.1)
    assert (found.low, found.high) == pytest.approx((0.1 - half, 0.1 + half), abs=0.01)


def test_equal_runs_are_rarely_told_apart(tmp_path):
    """Of 200 simulated pairs of equal accuracy at most 8 % may be seen to differ (5 % are meant to be)."""
    random, labels, seen = np.random.default_rng(0), np.arange(250) % 2, 0
    for i in range(200):
        shared, coins = random.random(250) < 0.7, random.random((2, 250)) < 0.5
        pair = [
            toy.run_record(tmp_path / f"{i}-{j}", toy.logits_with(shared | coin, labels), labels)
            for j, coin in enumerate(coins)
        ]
        seen += paired_difference(*pair).seen
    assert 2 <= seen <= 16


def test_a_difference_repeats_exactly(record, tmp_path):
    other = toy.run_record(tmp_path / "other", toy.logits_with(_hits(55, first=9), LABELS), LABELS)
    assert paired_difference(record, other) == paired_difference(record, other)


@pytest.mark.parametrize("metric", ["accuracy", "f1", "matthews", "pearson", "spearman"])
def test_a_difference_over_2500_items_takes_at_most_2_seconds(metric, tmp_path):
    random = np.random.default_rng(0)
    regression = metric in ("pearson", "spearman")
    labels = random.normal(size=2500) if regression else random.integers(0, 2, 2500)
    columns = 1 if regression else 2
    pair = [
        toy.run_record(tmp_path / str(i), random.normal(size=(2500, columns)), labels, task_metrics=(metric,))
        for i in range(2)
    ]
    start = time.process_time()  # and not the clock on the wall: other tests may run beside this one
    paired_difference(*pair, metric)
    assert time.process_time() - start < 2


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro"])
def test_a_difference_is_the_one_that_sweeps_report(metric, record, tmp_path):
    """One rule: with units and without, the same numbers as compare gives."""
    hits, units = _hits(60, first=30), np.arange(200) // 8
    for own, given in (({}, None), ({"units": units}, units)):
        logits = [toy.logits_with(each, LABELS) for each in (_hits(40), hits)]
        pair = [
            toy.run_record(tmp_path / f"{i}", each, LABELS, task_metrics=("accuracy", "f1_macro"), **own)
            for i, each in enumerate(logits)
        ]
        expected = compare_two({0: logits[0]}, {5: logits[1]}, LABELS, metric, given)
        assert paired_difference(*pair, metric) == expected


def test_scores_and_differences_count_units_and_not_items(tmp_path):
    """Each item eight times, as one unit, has the intervals of the items once."""
    few = [_hits(40), _hits(60, first=10)]
    once = [toy.run_record(tmp_path / f"a{i}", toy.logits_with(each, LABELS), LABELS) for i, each in enumerate(few)]
    labels, units = np.repeat(LABELS, 8), np.repeat(np.arange(200), 8)
    often = [
        toy.run_record(tmp_path / f"b{i}", toy.logits_with(np.repeat(each, 8), labels), labels, units=units)
        for i, each in enumerate(few)
    ]
    assert tuple(paired_difference(*often)) == pytest.approx(tuple(paired_difference(*once)))
    tables = [score_table(dict(zip("ab", each, strict=True))) for each in (once, often)]
    narrow, wide = (table.loc[1:, "high"] - table.loc[1:, "low"] for table in tables)
    assert list(wide) == pytest.approx(list(narrow), rel=0.02)


def test_runs_that_cannot_be_paired_are_refused(record, tmp_path):
    shorter = toy.run_record(tmp_path / "short", toy.logits_with(_hits(3)[:50], LABELS[:50]), LABELS[:50])
    turned = toy.run_record(tmp_path / "turned", toy.logits_with(_hits(3), 1 - LABELS), 1 - LABELS)
    for other in (shorter, turned):
        with pytest.raises(VxlabError, match="predicted other test items, so they cannot be paired; run both on one"):
            paired_difference(record, other)
    with pytest.raises(VxlabError, match=r"\(diverged\) holds no predictions"):
        paired_difference(record, toy.diverged_record(tmp_path / "diverged", record))
