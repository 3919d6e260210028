"""Tuning: the median of validation chooses, and a choice on the edge of its range is told."""

import math
from typing import Any

import pandas as pd
import pytest

from vxlab.experiments.sweeps.tuning import COLUMNS, finalists, sides, tuning_table

NAN = math.nan


def runs(scores: dict[tuple[float, int], float], candidate: str = "LoRA r=8", **fixed: Any) -> pd.DataFrame:
    """Return tuning runs from validation scores by learning rate and seed; NaN diverged."""
    rows = [
        {
            "candidate": candidate, "method": "LoRA", "rank": 8, "learning_rate": rate, "head_learning_rate": 5e-3,
            "seed": seed, "validation": score, "status": "diverged" if math.isnan(score) else "finished",
            "validation_loss": NAN, "ends_after": 1.0, **fixed,
        }
        for (rate, seed), score in scores.items()
    ]  # fmt: skip
    return pd.DataFrame(rows).astype({"rank": "Int64"})


def chosen(table: pd.DataFrame) -> tuple[float, str]:
    row = table[table["chosen"]].iloc[0]
    return row["learning_rate"], row["edge"]


def test_the_median_over_seeds_chooses_and_not_the_best_run() -> None:
    lucky = {(1e-3, 0): 0.9, (1e-3, 1): 0.5, (1e-3, 2): 0.5, (1e-2, 0): 0.7, (1e-2, 1): 0.7, (1e-2, 2): 0.6}
    lucky |= {(1e-1, seed): 0.1 for seed in range(3)}
    table = tuning_table(runs(lucky), 3)
    assert list(table.columns) == COLUMNS
    assert chosen(table) == (1e-2, "")
    first = table.iloc[0]
    assert (first["median"], first["low"], first["high"], first["n"]) == (0.5, 0.5, 0.9, 3)


@pytest.mark.parametrize(
    ("scores", "edge"),
    [((0.9, 0.8, 0.7), "low"), ((0.7, 0.8, 0.9), "high"), ((0.7, 0.9, 0.8), ""), ((0.7, 0.9, 0.9), "")],
)
def test_a_choice_on_the_edge_is_flagged(scores: tuple[float, ...], edge: str) -> None:
    table = tuning_table(runs({(rate, 0): score for rate, score in zip((1e-3, 1e-2, 1e-1), scores, strict=True)}), 1)
    assert chosen(table)[1] == edge


def test_one_rate_alone_has_no_edge() -> None:
    assert chosen(tuning_table(runs({(1e-3, 0): 0.8}), 1)) == (1e-3, "")


def test_of_equals_the_one_in_their_middle_is_chosen() -> None:
    table = tuning_table(runs({(rate, 0): 0.6 for rate in (1e-4, 1e-3, 1e-2)}), 1)
    assert chosen(table) == (1e-3, "")


def test_a_run_that_diverged_counts_as_the_worst() -> None:
    scores = {(1e-3, 0): 0.7, (1e-3, 1): 0.7, (1e-2, 0): 0.9, (1e-2, 1): NAN}
    table = tuning_table(runs(scores), 2)
    assert chosen(table)[0] == 1e-3
    assert table.loc[table["learning_rate"] == 1e-2, ["n", "diverged"]].iloc[0].tolist() == [1, 1]
    assert table["median"].max() == 0.9  # what finished is shown as it is


def test_where_every_run_diverged_nothing_is_chosen() -> None:
    table = tuning_table(runs({(1e-3, 0): NAN, (1e-2, 0): NAN}), 1)
    assert not table["chosen"].any()
    assert sides(table) == {"LoRA r=8": "low"}  # every rate was too high


def test_a_failed_run_is_told_apart_from_a_diverged_one() -> None:
    table = tuning_table(pd.concat([runs({(1e-3, 0): 0.7}), runs({(1e-2, 0): NAN}, status="failed")]), 1)
    assert table[["diverged", "failed"]].iloc[1].tolist() == [0, 1]


def test_rates_that_did_not_reach_the_last_seed_cannot_be_chosen() -> None:
    table = tuning_table(runs({(1e-3, 0): 0.7, (1e-3, 1): 0.7, (1e-2, 0): 0.99}), 2)
    assert chosen(table)[0] == 1e-3


def test_candidates_keep_their_order_and_their_own_choice() -> None:
    both = pd.concat([runs({(1e-3, 0): 0.7, (1e-2, 0): 0.6}, "z"), runs({(1e-3, 0): 0.1, (1e-2, 0): 0.2}, "a")])
    table = tuning_table(both, 1)
    assert list(dict.fromkeys(table["candidate"])) == ["z", "a"]
    assert table[table["chosen"]]["learning_rate"].tolist() == [1e-3, 1e-2]


def test_finalists_are_the_best_on_the_first_seed() -> None:
    scores = {(1e-4, 0): 0.5, (1e-3, 0): 0.7, (1e-2, 0): 0.8, (1e-1, 0): NAN, (1e-4, 1): 0.99}
    assert finalists(runs(scores), 2) == {"LoRA r=8": [(1e-2, 5e-3), (1e-3, 5e-3)]}


@pytest.mark.parametrize(
    ("scores", "side"), [((0.9, 0.8, 0.7), "low"), ((0.5, 0.9, 0.8), "high"), ((0.8, 0.9, 0.5), "low")]
)
def test_the_side_to_widen_is_where_the_best_lies(scores: tuple[float, ...], side: str) -> None:
    table = tuning_table(runs({(rate, 0): score for rate, score in zip((1e-3, 1e-2, 1e-1), scores, strict=True)}), 1)
    assert sides(table) == {"LoRA r=8": side}


def test_where_every_rate_lost_a_run_what_is_left_chooses() -> None:
    scores = {(1e-3, 0): 0.7, (1e-3, 1): NAN, (1e-2, 0): 0.9, (1e-2, 1): NAN, (1e-1, 0): NAN, (1e-1, 1): NAN}
    assert chosen(tuning_table(runs(scores), 2)) == (1e-2, "")


def test_a_heads_rate_on_the_edge_is_flagged_too() -> None:
    both = pd.concat([runs({(1e-3, 0): 0.7}, head_learning_rate=head) for head in (5e-4, 1e-3)])
    both["validation"] = [0.7, 0.8]
    table = tuning_table(both, 1)
    assert table.loc[table["chosen"], ["edge", "head_edge"]].iloc[0].tolist() == ["", "high"]


def test_the_head_alone_has_one_rate_and_one_edge() -> None:
    scores = runs({(1e-3, 0): 0.7, (1e-2, 0): 0.8})
    table = tuning_table(scores.assign(head_learning_rate=scores["learning_rate"]), 1)
    assert table.loc[table["chosen"], ["edge", "head_edge"]].iloc[0].tolist() == ["high", ""]
