"""Scores by set against those worked out by hand: the base first, and the sets of one model by the rows' own words."""

import numpy as np
import pandas as pd
import pytest
from made_up_results import BASE, made_up

import vxlab
from vxlab.experiments.scoring import compare_two, holm
from vxlab.experiments.scoring.text_formulas import COLUMNS
from vxlab.studies.reasoning import SET_COLUMNS, set_scores
from vxlab.studies.reasoning.by_set import headline_metric


def no_rows(result: vxlab.Comparison) -> None:
    return None


def first(right: int, items: int = 40) -> list[int]:
    """Return hits on the first so many items."""
    return [int(item < right) for item in range(items)]


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> vxlab.Comparison:
    monkeypatch.setattr("vxlab.studies.reasoning.by_set.find_test_rows", no_rows)
    hits = {"LoRA": {1: first(30), 0: first(26)}, BASE: {0: first(20)}, "VeRA": {0: first(10), 1: first(14)}}
    return made_up(hits, losses={"LoRA": 1.0, BASE: 2.0, "VeRA": 3.0})


def test_the_base_comes_first_and_gains_are_means_less_its_score(alone: vxlab.Comparison) -> None:
    table = set_scores({"arc": alone})
    assert tuple(table.columns) == SET_COLUMNS
    accuracy = table[table["headline"]]
    assert list(accuracy["candidate"]) == [BASE, "LoRA", "VeRA"]
    assert list(table["metric"]) == ["acc"] * 3 + ["log_likelihood"] * 3
    np.testing.assert_allclose(accuracy["score"], [0.5, 0.7, 0.3])
    np.testing.assert_allclose(accuracy["gain"], [np.nan, 0.2, -0.2])
    assert accuracy["scores"].tolist() == [(0.5,), (0.65, 0.75), (0.25, 0.35)]
    np.testing.assert_allclose(table[table["metric"] == "log_likelihood"]["gain"], [np.nan, 1.0, -1.0])
    assert (accuracy["trivial"] == 0.25).all()
    assert set(accuracy["trivial_name"]) == {"most frequent position"}
    assert list(accuracy["parameters"]) == [0, 100, 100]
    assert set(table["items"]) == {40}


def test_intervals_are_over_items_and_seeds_and_p_is_for_the_candidates_of_one_set(alone: vxlab.Comparison) -> None:
    rows = set_scores({"arc": alone}).query("headline").set_index("candidate")
    runs = {
        name: {int(key[-1]): each.statistics for key, each in alone.records.items() if key.startswith(name)}  # type: ignore[attr-defined]
        for name in rows.index
    }
    # Three candidates' seeds are pooled there, so that two alone know less of them: the same mean, and an interval.
    two = compare_two(runs["LoRA"], runs[BASE], np.arange(40), "acc")
    assert rows.loc["LoRA", "gain"] == pytest.approx(two.difference)
    low, high = rows.loc["LoRA", ["gain_low", "gain_high"]]
    assert low < 0.2 < high
    assert rows.loc["LoRA", "seeds"]
    error, freedom = rows.loc["LoRA", ["error", "freedom"]]
    assert high - low == pytest.approx(2 * error * _quantile(freedom))
    single = [_p(rows.loc[name, "gain"], rows.loc[name, "error"], rows.loc[name, "freedom"]) for name in rows.index[1:]]
    np.testing.assert_allclose(rows["p_holm"].iloc[1:], holm(single))


def test_one_model_is_scored_on_each_set_that_the_test_rows_name(monkeypatch: pytest.MonkeyPatch) -> None:
    of = np.array(["piqa", "boolq"] * 10 + ["piqa"] * 20)
    monkeypatch.setattr("vxlab.studies.reasoning.by_set.find_test_rows", lambda result: {"set": of.tolist()})
    generator = np.random.default_rng(0)
    hits = {BASE: {0: generator.integers(0, 2, 40).tolist()}, "LoRA": {0: generator.integers(0, 2, 40).tolist()}}
    table = set_scores({"mixture": made_up(hits, "answer_word")}).query("headline")
    assert list(zip(table["sweep"], table["set"], table["items"], strict=True)) == [
        ("mixture", "piqa", 30), ("mixture", "piqa", 30), ("mixture", "boolq", 10), ("mixture", "boolq", 10),
    ]  # fmt: skip
    expected = [np.array(hits[name][0])[of == each].mean() for each in ("piqa", "boolq") for name in (BASE, "LoRA")]
    np.testing.assert_allclose(table["score"], expected)


def test_without_a_base_there_are_scores_and_no_gains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vxlab.studies.reasoning.by_set.find_test_rows", no_rows)
    table = set_scores({"arc": made_up({"LoRA": {0: first(30)}})})
    assert table["gain"].isna().all()
    assert table.query("headline")["score"].tolist() == [0.75]


def test_the_headline_is_the_accuracy_by_the_published_rule() -> None:
    assert headline_metric(["acc", "acc_norm", "log_likelihood"]) == "acc"
    assert headline_metric(["log_likelihood", "math", "math_strict"]) == "math"


def test_statistics_of_other_metrics_are_not_looked_at(alone: vxlab.Comparison) -> None:
    for record in alone.records.values():
        record.statistics[:, COLUMNS["bleu"]] = np.inf  # type: ignore[attr-defined]
    assert np.isfinite(set_scores({"arc": alone}).query("headline")["score"]).all()


def _quantile(freedom: float) -> float:
    from scipy.stats import t

    return float(t.ppf(0.975, freedom))


def _p(gain: float, error: float, freedom: float) -> float:
    from scipy.stats import t

    return 2 * float(t.sf(abs(gain) / error, freedom))


def test_tables_of_several_results_stand_one_under_the_other(alone: vxlab.Comparison) -> None:
    table = set_scores({"a": alone, "b": alone})
    pd.testing.assert_frame_equal(
        table[table["sweep"] == "a"].drop(columns=["sweep", "set"]).reset_index(drop=True),
        table[table["sweep"] == "b"].drop(columns=["sweep", "set"]).reset_index(drop=True),
    )
