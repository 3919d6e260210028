"""Changes of scores and of orders against those worked out by hand, on bases whose hits are made up."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up_results import Hits, made_up

import vxlab
from vxlab.experiments.candidates import pairs_table
from vxlab.experiments.scoring import compare_all, from_error
from vxlab.studies.quantised import order_changes, scheme_scores
from vxlab.studies.quantised.scores import KEPT, NOT_TOLD, ONE_SIDED, REVERSED

ITEMS = 400


def right(share: float, seed: int = 0) -> list[int]:
    """Return hits on so large a share of the items; which, the seed moves a little."""
    return [int((item * 7 + seed) % ITEMS < share * ITEMS) for item in range(ITEMS)]


def on_base(scores: dict[str, float], seeds: int = 3) -> vxlab.Comparison:
    """Return a sweep's result in which each candidate is right on a share of the items, in every run."""
    hits: Hits = {name: {seed: right(share, seed) for seed in range(seeds)} for name, share in scores.items()}
    return finished(hits)


def finished(hits: Hits) -> vxlab.Comparison:
    result: Any = made_up(hits)
    runs = {
        name: {
            int(key.rsplit(" ")[-1]): each.statistics for key, each in result.records.items() if key.startswith(name)
        }
        for name in hits
    }
    summary = pd.DataFrame([
        {
            "candidate": name, "method": name, "rank": 2, "backbone": 100, "mean": np.mean([*own.values()]),
            "scores": tuple(map(np.mean, own.values())), "n": len(own), "diverged": 0, "learning_rate": 1e-3,
            "edge": "", "above": True, "fixed": False,
        }
        for name, own in hits.items()
    ])  # fmt: skip
    pairs = pairs_table(runs, np.arange(len(next(iter(runs.values()))[0])), "acc", summary)
    return SimpleNamespace(**vars(result) | {"summary": summary, "pairs": pairs, "metric": "acc"})  # type: ignore[return-value]


def test_changes_are_scores_less_those_on_the_float_base() -> None:
    results = {"float": on_base({"A": 0.8, "B": 0.6}), "nf4": on_base({"A": 0.7, "B": 0.6})}
    table = scheme_scores(results)
    assert table["scheme"].tolist() == ["float", "float", "nf4", "nf4"]
    np.testing.assert_allclose(table["score"], [0.8, 0.6, 0.7, 0.6])
    np.testing.assert_allclose(table["change"], [np.nan, np.nan, -0.1, 0.0], atol=1e-12)
    assert table["seen"].tolist() == [False, False, True, False]
    np.testing.assert_allclose(table["gain"], [0.55, 0.35, 0.45, 0.35])  # a constant answer is right on a quarter
    assert (table["gain_low"] < table["gain"]).all()
    assert (table["gain"] < table["gain_high"]).all()
    below = table.iloc[2]
    assert below["low"] < -0.1 < below["high"] < 0
    assert below["p_holm"] <= 0.05


def test_intervals_are_those_of_all_candidates_of_all_bases_compared_at_once() -> None:
    results = {"float": on_base({"A": 0.8, "B": 0.6}), "int8": on_base({"A": 0.78, "B": 0.66})}
    runs = {
        f"{name} {scheme}": {
            int(key[-1]): each.statistics for key, each in result.records.items() if key.startswith(name)
        }
        for scheme, result in results.items()
        for name in ("A", "B")
    }
    wanted = compare_all(runs, np.arange(ITEMS), "acc")["A float", "A int8"].turned()
    row = scheme_scores(results).iloc[2]
    assert (row["change"], row["low"], row["high"]) == pytest.approx(wanted[:3])
    a, b = wanted, compare_all(runs, np.arange(ITEMS), "acc")["B float", "B int8"].turned()
    (shift,) = order_changes(results).to_dict("records")
    found = from_error(-0.02 - 0.06, a.error + b.error, min(a.freedom, b.freedom))
    assert (shift["shift"], shift["low"], shift["high"]) == pytest.approx(found[:3])


@pytest.mark.parametrize(
    ("before", "after", "order"),
    [
        ({"A": 0.9, "B": 0.6}, {"A": 0.899, "B": 0.6}, KEPT),
        ({"A": 0.9, "B": 0.6}, {"A": 0.6, "B": 0.9}, REVERSED),
        ({"A": 0.9, "B": 0.6}, {"A": 0.601, "B": 0.6}, ONE_SIDED),
        ({"A": 0.6, "B": 0.6}, {"A": 0.601, "B": 0.6}, NOT_TOLD),
    ],
)
def test_an_order_is_changed_only_where_both_bases_show_it(
    before: dict[str, float], after: dict[str, float], order: str
) -> None:
    (row,) = order_changes({"float": on_base(before), "nf4": on_base(after)}).to_dict("records")
    assert row["order"] == order
    assert row["shift"] == pytest.approx(after["A"] - after["B"] - before["A"] + before["B"], abs=2e-3)
    assert row["seen"] == (order in (REVERSED, ONE_SIDED))


def test_a_candidate_without_a_run_on_one_base_has_no_change_and_no_order() -> None:
    whole = on_base({"A": 0.8, "B": 0.6})
    lacking = on_base({"A": 0.8, "B": 0.6})
    lacking.runs.loc[lacking.runs["candidate"] == "B", "status"] = "diverged"
    lacking.pairs.loc[:, "difference"] = np.nan
    results = {"float": whole, "nf4": lacking}
    assert np.isnan(scheme_scores(results)["change"].iloc[-1])
    assert order_changes(results).empty


def test_bases_that_were_tested_on_other_items_are_refused() -> None:
    other = finished({"A": {0: [1, 0] * 10}, "B": {0: [1, 1] * 10}})
    with pytest.raises(vxlab.VxlabError, match="nf4 was tested on other items than float"):
        scheme_scores({"float": on_base({"A": 0.8, "B": 0.6}), "nf4": other})
