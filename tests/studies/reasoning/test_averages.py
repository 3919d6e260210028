"""Means over sets against what is worked out by hand, and their intervals against Student's of the parts."""

import numpy as np
import pandas as pd
import pytest
from made_up_results import BASE, made_up
from scipy.stats import t

import vxlab
from vxlab.studies.reasoning import AVERAGE_COLUMNS, set_averages, set_scores


def random_hits(share: float, items: int, seed: int) -> list[int]:
    return (np.random.default_rng(seed).random(items) < share).astype(int).tolist()


def result_of(items: int, shares: dict[str, float], metric: str = "acc", seeds: int = 3) -> vxlab.Comparison:
    hits = {
        name: {seed: random_hits(share, items, 10 * number + seed) for seed in range(1 if name == BASE else seeds)}
        for number, (name, share) in enumerate(shares.items())
    }
    return made_up(hits, metric)


@pytest.fixture
def no_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vxlab.studies.reasoning.by_set.find_test_rows", lambda result: None)


@pytest.mark.usefixtures("no_rows")
def test_sets_that_were_trained_on_one_by_one_have_independent_gains() -> None:
    shares = {BASE: 0.4, "LoRA": 0.6, "VeRA": 0.5}
    results = {"a": result_of(60, shares), "b": result_of(90, shares), "c": result_of(40, shares, "gsm8k")}
    scores = set_scores(results)
    table = set_averages(results, scores)
    assert tuple(table.columns) == AVERAGE_COLUMNS
    assert set(table["sets"]) == {"a, b"}  # c is scored by another metric, and is alone
    assert list(table["candidate"]) == [BASE, "LoRA", "VeRA"]
    own = scores[scores["headline"] & scores["set"].isin(["a", "b"]) & (scores["candidate"] == "LoRA")]
    row = table.set_index("candidate").loc["LoRA"]
    assert row["score"] == pytest.approx(own["score"].mean())
    assert row["gain"] == pytest.approx(own["gain"].mean())
    variances = (own["error"] / 2) ** 2
    freedom = variances.sum() ** 2 / (variances**2 / own["freedom"]).sum()
    half = t.ppf(0.975, freedom) * np.sqrt(variances.sum())
    np.testing.assert_allclose(row[["gain_low", "gain_high"]].tolist(), [row["gain"] - half, row["gain"] + half])
    assert np.isnan(table.loc[0, "gain"])


@pytest.mark.usefixtures("no_rows")
def test_a_candidate_that_lacks_a_set_has_no_mean_and_one_set_alone_has_none() -> None:
    results = {"a": result_of(60, {BASE: 0.4, "LoRA": 0.6}), "b": result_of(60, {BASE: 0.4, "VeRA": 0.6})}
    assert list(set_averages(results, set_scores(results))["candidate"]) == [BASE]
    alone = {"a": results["a"]}
    assert set_averages(alone, set_scores(alone)).empty


def test_one_model_on_several_sets_has_the_mean_of_their_accuracies(monkeypatch: pytest.MonkeyPatch) -> None:
    of = np.array(["small"] * 20 + ["large"] * 100)
    monkeypatch.setattr("vxlab.studies.reasoning.by_set.find_test_rows", lambda result: {"set": of.tolist()})
    results = {"mixture": result_of(120, {"LoRA": 0.7, BASE: 0.4}, "answer_word")}
    scores = set_scores(results)
    table = set_averages(results, scores).set_index("candidate")
    by_set = scores[scores["headline"]].pivot(index="candidate", columns="set", values="score")
    np.testing.assert_allclose(table["score"], by_set.mean(axis=1)[table.index])
    assert list(table.index) == [BASE, "LoRA"]
    gain = by_set.loc["LoRA"].mean() - by_set.loc[BASE].mean()
    assert table.loc["LoRA", "gain"] == pytest.approx(gain)


def test_the_interval_over_sets_of_one_model_is_that_of_stratified_items(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one run each, over items alone: the error is near that of a mean of strata, and not below it."""
    sizes = {"small": 150, "large": 600}
    of = np.repeat(list(sizes), list(sizes.values()))
    monkeypatch.setattr("vxlab.studies.reasoning.by_set.find_test_rows", lambda result: {"set": of.tolist()})
    result = result_of(750, {BASE: 0.5, "LoRA": 0.6}, "answer_word", seeds=1)
    row = set_averages({"mixture": result}, pd.DataFrame({"sweep": [], "set": [], "headline": [], "metric": []}).astype(
        {"headline": bool})).set_index("candidate").loc["LoRA"]  # fmt: skip
    hits = [np.asarray(record.statistics)[:, :] for record in result.records.values()]  # type: ignore[attr-defined]
    columns = _columns("answer_word")
    moved = hits[1][:, columns.start] - hits[0][:, columns.start]
    error = np.sqrt(sum(np.var(moved[of == name], ddof=1) / size for name, size in sizes.items())) / 2
    found = (row["gain_high"] - row["gain_low"]) / 2 / 1.96
    assert error <= found <= 1.1 * error
    assert not row["seeds"]


def _columns(metric: str) -> slice:
    from vxlab.experiments.scoring.text_formulas import COLUMNS

    return COLUMNS[metric]
