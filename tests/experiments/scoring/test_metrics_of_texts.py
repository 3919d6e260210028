"""Scores of texts with their intervals: against metrics of resampled texts, and what is NaN or refused."""

import numpy as np
import pytest
import toy_texts
from sacrebleu.metrics import BLEU

from vxlab.errors import VxlabError
from vxlab.experiments.scoring.metrics import compute, in_words, interval, resample
from vxlab.experiments.scoring.text_formulas import COLUMNS, TEXT_METRICS, WIDTH
from vxlab.experiments.scoring.text_statistics import text_statistics

HERE = ["log_likelihood", "bleu", "nist", "exact_match"]


def written(seed=0, items=60, wrong=0.3):
    random = np.random.default_rng(seed)
    references = toy_texts.write_references(random, items)
    texts = toy_texts.write_texts(random, references, wrong)
    logs = np.column_stack([random.normal(-20, 6, items), random.integers(5, 16, items)])
    return text_statistics(HERE, logs, texts, references), texts, references


def test_a_bootstrap_scores_the_texts_it_draws():
    statistics, texts, references = written()
    metric = BLEU(lowercase=True, tokenize="13a", smooth_method="none")
    random = np.random.RandomState(0)
    expected = []
    for _ in range(50):
        drawn = random.randint(60, size=60)
        most = max(len(references[item]) for item in drawn)
        streams = [[dict(enumerate(references[item])).get(n) for item in drawn] for n in range(most)]
        expected.append(metric.corpus_score([texts[item] for item in drawn], streams).score / 100)
    np.testing.assert_allclose(resample("bleu", statistics, np.arange(60), 50), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("metric", HERE)
def test_a_bootstrap_of_units_draws_them_whole(metric):
    statistics, _, _ = written()
    units = np.random.default_rng(1).integers(0, 12, 60)
    random = np.random.RandomState(0)
    expected = []
    for _ in range(20):
        drawn = random.randint(12, size=12)
        items = np.concatenate([np.flatnonzero(units == unit) for unit in drawn])
        expected.append(compute([metric], statistics[items], items)[metric])
    np.testing.assert_allclose(resample(metric, statistics, np.arange(60), 20, units), expected, atol=1e-12)


@pytest.mark.parametrize("metric", HERE)
def test_an_interval_holds_the_score_repeats_and_widens_with_the_level_and_over_units(metric):
    statistics, _, _ = written(items=300, wrong=0.05)
    labels = np.arange(300)
    low, high = interval(metric, statistics, labels)
    assert low < compute([metric], statistics, labels)[metric] < high
    assert interval(metric, statistics, labels) == (low, high)
    wide = interval(metric, statistics, labels, level=0.99)
    assert wide[0] < low < high < wide[1]
    repeated = interval(metric, np.repeat(statistics[:30], 10, axis=0), labels, units=labels // 10)
    alone = interval(metric, statistics[:30], labels[:30])
    assert repeated[1] - repeated[0] >= 0.99 * (alone[1] - alone[0]) > high - low


@pytest.mark.parametrize("metric", ["bleu", "nist", "log_likelihood", "exact_match"])
def test_an_interval_covers_the_score_of_very_many_items(metric):
    statistics, _, _ = written(items=3000, wrong=0.1)
    true = compute([metric], statistics, np.arange(3000))[metric]
    random = np.random.default_rng(2)
    found = [interval(metric, statistics[random.integers(3000, size=150)], np.arange(150)) for _ in range(200)]
    assert 0.90 <= np.mean([low <= true <= high for low, high in found]) <= 0.99


def test_all_items_and_none_matched_have_wilsons_interval():
    rows = np.full((100, WIDTH), np.nan)
    rows[:, COLUMNS["exact_match"]] = [0, 1]
    labels = np.arange(100)
    assert interval("exact_match", rows, labels) == interval("accuracy", np.zeros(100), np.ones(100, dtype=int))
    rows[:, COLUMNS["exact_match"].start] = 1
    assert interval("exact_match", rows, labels) == interval("accuracy", np.ones(100), np.ones(100, dtype=int))


def test_where_all_resamples_score_alike_there_is_no_interval():
    statistics, _, _ = written(wrong=0.3)
    statistics[:, COLUMNS["bleu"].start + 3] = 0  # no four words match anywhere
    assert compute(["bleu"], statistics, np.arange(60))["bleu"] == 0
    assert np.isnan(interval("bleu", statistics, np.arange(60))).all()


def test_a_metric_that_is_nan_leaves_the_others_alone():
    statistics, _, _ = written()
    statistics[7, COLUMNS["bleu"].start] = np.nan
    statistics[8, COLUMNS["nist"]] = np.inf
    labels = np.arange(60)
    scores = compute(TEXT_METRICS, statistics, labels)
    assert [name for name in TEXT_METRICS if np.isfinite(scores[name])] == ["log_likelihood", "exact_match"]
    assert np.isnan(interval("bleu", statistics, labels)).all()
    assert np.isnan(resample("nist", statistics, labels, 3)).all()
    assert np.isfinite(interval("exact_match", statistics, labels)).all()


def test_log_likelihoods_score_with_and_without_the_texts():
    statistics, _, _ = written()
    labels, alone = np.arange(60), statistics[:, :2]
    expected = alone[:, 0].sum() / alone[:, 1].sum()
    assert compute(["log_likelihood"], alone, labels)["log_likelihood"] == pytest.approx(expected)
    assert compute(["log_likelihood"], alone, labels) == compute(["log_likelihood"], statistics, labels)
    assert interval("log_likelihood", alone, labels) == interval("log_likelihood", statistics, labels)


def test_statistics_are_left_as_they_were():
    statistics, _, _ = written()
    statistics[0, 0] = np.inf
    compute(["log_likelihood"], statistics, np.arange(60))
    assert np.isinf(statistics[0, 0])


@pytest.mark.parametrize("shape", [(60, 2), (60,), (60, 11)])
def test_predictions_without_a_metrics_statistics_are_refused(shape):
    with pytest.raises(VxlabError, match=r"bleu of predictions of the shape .* no statistics of it"):
        compute(["bleu"], np.zeros(shape), np.arange(60))


def test_the_fields_names():
    assert [in_words(name) for name in TEXT_METRICS] == [
        "log-likelihood per token", "BLEU", "NIST", "METEOR", "ROUGE-L", "CIDEr", "exact match",
        "GSM8K accuracy", "strict GSM8K accuracy", "last number as written", "number after ####", "last number",
        "number at the end", "MATH accuracy", "strict MATH accuracy", "choice named first", "letter named first",
        "letter at the end",
    ]  # fmt: skip
