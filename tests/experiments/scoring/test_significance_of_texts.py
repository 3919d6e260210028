"""Comparisons of runs that write: their error against a bootstrap's, their false verdicts, and what is left out."""

import math

import numpy as np
import pytest
import toy_texts

from vxlab.experiments.scoring.against_trivial import against_trivial
from vxlab.experiments.scoring.metrics import compute, resample
from vxlab.experiments.scoring.significance import compare_all, compare_two
from vxlab.experiments.scoring.text_formulas import COLUMNS
from vxlab.experiments.scoring.text_statistics import text_statistics

HERE = ["log_likelihood", "bleu", "nist", "exact_match"]


def write_runs(seed, wrong, items=200, seeds=1):
    """Return candidates' runs on the same items: of each the share of words that it puts wrong is given."""
    random = np.random.default_rng(seed)
    references = toy_texts.write_references(random, items)
    hard = random.normal(-2, 0.5, items)
    runs = {}
    for name, share in zip("abcdefghi", wrong, strict=False):
        runs[name] = {}
        for each in range(seeds):
            logs = np.column_stack([10 * (hard - share + random.normal(0, 0.2, items)), np.full(items, 10)])
            texts = toy_texts.write_texts(random, references, share)
            runs[name][each] = text_statistics(HERE, logs, texts, references)
    return runs


@pytest.mark.parametrize("metric", HERE)
@pytest.mark.parametrize("unit", [1, 10])
def test_the_error_is_that_of_a_paired_bootstrap(metric, unit):
    runs = write_runs(0, [0.1, 0.15], items=400)
    labels, units = np.arange(400), np.arange(400) // unit
    found = compare_two(runs["a"], runs["b"], labels, metric, units=None if unit == 1 else units)
    errors = []
    for each in (None, units):
        a, b = (resample(metric, runs[name][0], labels, 3000, each) for name in "ab")
        errors.append(np.std(a - b))
    assert found.error == pytest.approx(max(errors) if unit > 1 else errors[0], rel=0.1)
    scores = [compute([metric], runs[name][0], labels)[metric] for name in "ab"]
    assert found.difference == pytest.approx(scores[0] - scores[1])


def test_of_a_mean_over_tokens_of_one_number_it_is_the_paired_t_test():
    runs = write_runs(1, [0.1, 0.15], items=50)
    found = compare_two(runs["a"], runs["b"], np.arange(50), "log_likelihood")
    each = (runs["a"][0][:, 0] - runs["b"][0][:, 0]) / 10
    spread = sum(np.var(runs[name][0][:, 0] / 10, ddof=1) for name in "ab") / 2
    assert found.difference == pytest.approx(each.mean())
    assert found.error**2 == pytest.approx(np.var(each, ddof=1) / 50 + 2 * spread / 50**2)


def test_a_scale_changes_nothing_but_the_scale():
    runs = write_runs(2, [0.1, 0.12, 0.1], items=60, seeds=2)
    larger = {
        name: {s: np.hstack([100 * each[:, :1], each[:, 1:]]) for s, each in own.items()} for name, own in runs.items()
    }
    for pair, found in compare_all(runs, np.arange(60), "log_likelihood").items():
        other = compare_all(larger, np.arange(60), "log_likelihood")[pair]
        assert other.p == pytest.approx(found.p)
        assert other.error == pytest.approx(100 * found.error)


def test_items_repeated_as_one_unit_tell_no_more_than_the_items_once():
    runs = write_runs(3, [0.1, 0.2], items=40)
    repeated = {name: {s: np.repeat(each, 5, axis=0) for s, each in own.items()} for name, own in runs.items()}
    for metric in HERE:
        once = compare_all(runs, np.arange(40), metric)["a", "b"]
        often = compare_all(repeated, np.arange(200), metric, units=np.arange(200) // 5)["a", "b"]
        assert often.difference == pytest.approx(once.difference)
        assert often.error == pytest.approx(once.error, rel=0.02)


@pytest.mark.parametrize("metric", ["bleu", "nist", "log_likelihood"])
@pytest.mark.parametrize("seeds", [1, 2])
def test_equal_candidates_are_told_apart_in_at_most_5_percent_of_100_tables(metric, seeds):
    told = 0
    for number in range(100):
        runs = write_runs([number, seeds], [0.2, 0.2], items=40, seeds=seeds)
        told += compare_all(runs, np.arange(40), metric)["a", "b"].seen
    assert told <= 9  # of 100 at 5 %, more in 1 % of studies


def test_the_better_writer_is_told():
    found = compare_all(write_runs(4, [0.05, 0.25], seeds=2), np.arange(200), "bleu")["a", "b"]
    assert found.seen
    assert 0 < found.low < found.difference


def test_a_metric_that_was_left_out_takes_no_run_from_the_others():
    runs = write_runs(5, [0.05, 0.25], items=60, seeds=2)
    expected = compare_all(runs, np.arange(60), "nist")["a", "b"]
    for run in (*runs["a"].values(), *runs["b"].values()):
        run[:, COLUMNS["bleu"]] = np.nan
    assert compare_all(runs, np.arange(60), "nist")["a", "b"] == expected
    assert math.isnan(compare_all(runs, np.arange(60), "bleu")["a", "b"].difference)


def test_alike_texts_differ_by_nothing_and_prove_little_of_few_items():
    run = write_runs(6, [0.1], items=6)["a"][0]
    for metric in HERE:
        found = compare_two({0: run}, {0: run.copy()}, np.arange(6), metric)
        assert (found.difference, found.p) == (0, 1)
        assert found.high - found.low > 0.05


@pytest.mark.parametrize("metric", ["bleu", "log_likelihood"])
def test_candidates_are_weighed_against_what_learned_nothing(metric):
    runs = write_runs(7, [0.05, 0.3, 0.3], seeds=2)
    base = runs.pop("c")[0]
    found = against_trivial(runs, np.arange(200), metric, constant=base)
    assert found["a"].beaten
    assert not found["b"].beaten
    scores = (
        compute([metric], runs["a"][0], np.arange(200))[metric],
        compute([metric], runs["a"][1], np.arange(200))[metric],
    )
    assert found["a"].difference == pytest.approx(np.mean(scores) - compute([metric], base, np.arange(200))[metric])
