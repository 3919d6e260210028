"""Metrics against scikit-learn and SciPy, intervals against their coverage."""

import time

import datasets
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from vxlab.errors import VxlabError
from vxlab.experiments.scoring.metrics import compute, interval
from vxlab.experiments.tasks.task import Task

CLASS_ORACLES = {
    "accuracy": sklearn.metrics.accuracy_score,
    "matthews": sklearn.metrics.matthews_corrcoef,
    "f1_macro": lambda true, predicted: sklearn.metrics.f1_score(true, predicted, average="macro"),
}
REAL_ORACLES = {
    "pearson": lambda x, y: scipy.stats.pearsonr(x, y).statistic,
    "spearman": lambda x, y: scipy.stats.spearmanr(x, y).statistic,
}


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("seed", range(5))
def test_class_metrics_agree_with_scikit_learn(classes, seed):
    random = np.random.default_rng(seed)
    logits, labels = random.normal(size=(200, classes)), random.integers(0, classes, 200)
    logits[np.arange(200), labels] += 0.7
    scores = compute(list(CLASS_ORACLES), logits, labels)
    for name, oracle in CLASS_ORACLES.items():
        assert scores[name] == pytest.approx(oracle(labels, logits.argmax(1)), abs=1e-12)
    if classes == 2:
        f1 = compute(["f1"], logits, labels)["f1"]
        assert f1 == pytest.approx(sklearn.metrics.f1_score(labels, logits.argmax(1)), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_correlations_agree_with_scipy_ties_included(seed):
    random = np.random.default_rng(seed)
    targets = np.round(random.uniform(0, 5, 150), 0)
    outputs = np.round(targets + random.normal(size=150), 1)
    for name, oracle in REAL_ORACLES.items():
        assert compute([name], outputs, targets)[name] == pytest.approx(oracle(outputs, targets), abs=1e-12)
        assert compute([name], outputs[:, None], targets) == compute([name], outputs, targets)


def test_scores_worked_out_by_hand():
    labels, predictions = np.array([1, 1, 1, 0, 0, 0, 0, 0]), np.array([1, 1, 0, 1, 0, 0, 0, 0])
    scores = compute(["accuracy", "f1", "matthews"], predictions, labels)
    # TP 2, FN 1, FP 1, TN 4
    assert scores == pytest.approx({"accuracy": 6 / 8, "f1": 4 / 6, "matthews": (2 * 4 - 1) / 15})
    assert list(scores) == ["accuracy", "f1", "matthews"]


@pytest.mark.parametrize("name", ["pearson", "spearman", "matthews"])
def test_a_constant_prediction_correlates_0_without_a_warning(name):
    assert compute([name], np.ones(10), np.arange(10) % 2) == {name: 0.0}


def test_nearly_constant_outputs_keep_their_correlation():
    assert compute(["pearson"], 1e-200 * np.arange(10), np.arange(10))["pearson"] == pytest.approx(1)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["accuracy", "f1", "f1_macro", "matthews", "pearson", "spearman"])
def test_one_broken_prediction_makes_the_score_nan(name, broken):
    labels = np.arange(10) % 2
    logits = np.eye(2)[labels]
    logits[3, 0] = broken
    flat = labels.astype(float)
    flat[3] = broken
    for predictions in (logits, flat):
        if name not in REAL_ORACLES or predictions.ndim == 1:
            assert np.isnan(compute([name], predictions, labels)[name])
            assert np.isnan(interval(name, predictions, labels)).all()


def test_predictions_are_left_as_they_were():
    outputs = np.array([1.0, np.inf, 2.0])
    compute(["pearson"], outputs, np.arange(3))
    assert np.isinf(outputs[1])


@pytest.mark.parametrize("hits", [0, 1, 50, 99, 100])
def test_the_interval_of_accuracy_is_wilsons(hits):
    z, n, p = scipy.stats.norm.ppf(0.975), 100, hits / 100
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    found = interval("accuracy", np.arange(100) < hits, np.ones(100, dtype=int))
    assert found == pytest.approx((middle - half, middle + half), abs=1e-9)


def test_the_bootstrap_interval_of_pearson_is_near_fishers():
    random = np.random.default_rng(0)
    x = random.normal(size=2000)
    y = 0.6 * x + 0.8 * random.normal(size=2000)
    start = time.process_time()
    low, high = interval("pearson", x, y)
    interval("spearman", x, y)
    assert time.process_time() - start < 4
    fisher = scipy.stats.pearsonr(x, y).confidence_interval()
    assert (low, high) == pytest.approx((fisher.low, fisher.high), abs=0.01)


@pytest.mark.parametrize("name", ["f1", "f1_macro", "matthews"])
def test_bootstrap_intervals_hold_the_score_repeat_and_widen_with_the_level(name):
    random = np.random.default_rng(1)
    labels = random.integers(0, 2, 300)
    predictions = np.where(random.random(300) < 0.8, labels, 1 - labels)
    score = compute([name], predictions, labels)[name]
    low, high = interval(name, predictions, labels)
    assert low < score < high
    assert (low, high) == interval(name, predictions, labels)
    wide = interval(name, predictions, labels, level=0.99)
    assert wide[0] < low
    assert high < wide[1]


def task_of(labels, names, metrics):
    splits = {split: datasets.Dataset.from_dict({"text": list(map(str, own)), "label": own})
              for split, own in labels.items()}  # fmt: skip
    return Task("own", splits, len(names) or 1, names, metrics, "", "", "")


def clustered(random, units=100, score=0.8, shared=1.0, mean=25):
    """Return (items,) of bool, right or not, and units of unequal size whose items are hard or easy together."""
    sizes = np.maximum(1, random.lognormal(np.log(mean), 0.8, units).astype(int))
    of = np.repeat(np.arange(units), sizes)
    ease = scipy.stats.norm.ppf(score) * np.sqrt(1 + shared**2) + shared * random.standard_normal(units)[of]
    return ease + random.standard_normal(len(of)) > 0, of


@pytest.mark.parametrize("name", ["accuracy", "f1", "f1_macro", "matthews", "pearson", "spearman"])
def test_units_of_one_item_change_nothing_and_repeated_items_tell_nothing_new(name):
    random = np.random.default_rng(5)
    labels = random.integers(0, 2, 150)
    answers = np.where(random.random(150) < 0.8, labels, 1 - labels)
    alone = interval(name, answers, labels)
    assert interval(name, answers, labels, units=random.permutation(150)) == alone
    repeated = interval(name, np.repeat(answers, 7), np.repeat(labels, 7), units=np.repeat(np.arange(150), 7))
    # But for Student's quantile at 149 in the place of the normal one; of resamples, further percentiles.
    assert np.ptp(repeated) / np.ptp(alone) == pytest.approx(1.008, abs=0.001 if name == "accuracy" else 0.03)


@pytest.mark.parametrize(("units", "score", "shared"), [(40, 0.8, 1.0), (100, 0.6, 0.5), (100, 0.95, 0.7)])
def test_the_interval_over_units_holds_the_expected_accuracy_where_that_over_items_does_not(units, score, shared):
    held = np.zeros((400, 2), dtype=bool)
    for number in range(400):
        right, of = clustered(np.random.default_rng(number), units, score, shared)
        for place, given in enumerate((None, of)):
            low, high = interval("accuracy", right, np.ones(len(right), dtype=int), units=given)
            held[number, place] = low <= score <= high
    over_items, over_units = held.mean(axis=0)
    assert over_items < 0.85
    assert 0.93 <= over_units <= 0.99


def test_a_perfect_score_is_not_certain():
    labels = np.arange(300) % 3 == 0
    perfect = {name: interval(name, labels, labels.astype(int)) for name in CLASS_ORACLES | {"f1": None}}
    wilson = 300 / (300 + scipy.stats.norm.ppf(0.975) ** 2)
    assert perfect["accuracy"] == pytest.approx((wilson, 1))
    assert all(high == 1 for _, high in perfect.values())
    # As many errors as that, spread evenly over both classes, by hand.
    hits, misses, alarms = 100 * wilson, 100 * (1 - wilson), 200 * (1 - wilson)
    assert perfect["f1"][0] == pytest.approx(2 * hits / (2 * hits + misses + alarms))
    assert 0.9 < perfect["matthews"][0] < perfect["f1_macro"][0] < 1
    films = interval("accuracy", labels, labels.astype(int), units=np.arange(300) // 30)
    assert films[0] < perfect["accuracy"][0] - 0.1  # ten films, which may be alike


@pytest.mark.parametrize("items", [4, 10, 16, 40])
def test_few_items_give_no_interval_of_zero_width_though_a_resample_may_lack_a_class(items):
    labels = np.arange(items) % 2
    for name in ("accuracy", "f1", "f1_macro", "matthews"):
        low, high = interval(name, labels, labels)
        assert low < 1 - 0.03
        assert high == 1
    for name in REAL_ORACLES:  # of four items one resample in eight is constant, and scores 0
        low, high = interval(name, labels * 1.0, labels * 1.0)
        assert (low, high) == (0, 1) if items == 4 else np.isnan([low, high]).all()


@pytest.mark.parametrize("name", REAL_ORACLES)
@pytest.mark.parametrize("outputs", [np.arange(50), -np.arange(50.0), np.ones(50)])
def test_a_correlation_that_no_resample_moves_has_no_interval(name, outputs):
    assert np.isnan(interval(name, outputs, np.arange(50) * 2.0 + 1)).all()


@pytest.mark.parametrize("name", ["f1", "f1_macro", "matthews"])
def test_a_constant_answer_has_no_interval_of_zero_width(name):
    low, high = interval(name, np.zeros(60, dtype=int), np.arange(60) % 2)
    assert (np.isnan(low) and np.isnan(high)) or low < high
    assert np.isnan(interval(name, np.zeros(60, dtype=int), np.zeros(60, dtype=int))).all()


def test_units_that_make_no_sense_are_refused():
    labels = np.arange(6) % 2
    with pytest.raises(VxlabError, match=r"units has the shape \(5,\); give one unit for each of the 6 items, or None"):
        interval("accuracy", labels, labels, units=np.arange(5))
    with pytest.raises(VxlabError, match=r"all 6 items are of one unit.*test on items of 2 units or more"):
        interval("f1", labels, labels, units=np.zeros(6))


def test_a_constant_answer_scores_what_it_hits():
    task = task_of({"train": [1, 1, 0], "test": [0, 0, 0, 1]}, ("no", "yes"), ("accuracy", "f1"))
    assert task.constant == 1
    scores = compute(["accuracy", "f1"], np.full(4, task.constant), np.array([0, 0, 0, 1]))
    assert scores == pytest.approx({"accuracy": 0.25, "f1": 0.4})


def test_a_constant_answer_of_a_regression_scores_0():
    task = task_of({"train": [1.0, 4.5], "test": [0.5, 2.0]}, (), ("pearson",))
    assert task.constant == 2.75
    assert compute(["pearson"], np.full(2, task.constant), np.array([0.5, 2.0])) == {"pearson": 0.0}


def test_bad_requests_are_refused_by_name():
    labels = np.arange(6) % 3
    with pytest.raises(VxlabError, match="unknown metric 'acuracy'; did you mean 'accuracy'"):
        compute(["acuracy"], labels, labels)
    with pytest.raises(VxlabError, match="more than two classes; ask for f1_macro"):
        compute(["f1"], labels, labels)
    with pytest.raises(VxlabError, match="accuracy of 5 predictions and 6 labels"):
        compute(["accuracy"], labels[1:], labels)
    with pytest.raises(VxlabError, match="accuracy of 0 predictions"):
        compute(["accuracy"], labels[:0], labels[:0])
    with pytest.raises(VxlabError, match="level=95: a confidence level lies between 0 and 1"):
        interval("accuracy", labels, labels, level=95)
