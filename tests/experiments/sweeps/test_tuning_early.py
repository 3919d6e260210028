"""Tuning by runs that ended early: the lowest validation loss chooses, and no such run is ever reported."""

import math
from typing import Any

import pandas as pd
import pytest

from vxlab.experiments.sweeps.comparison import summary_table
from vxlab.experiments.sweeps.tuning import finalists, sides, tuning_table, with_stages

NAN = math.nan
RATES = (1e-3, 1e-2, 1e-1)


def run(rate: float, seed: int = 0, share: float = 0.25, loss: float = 0.7, score: float = 0.5, **other: Any) -> Any:
    status = "diverged" if math.isnan(score) else "finished" if share == 1 else "ended early"
    return {
        "candidate": "LoRA r=8", "method": "LoRA", "rank": 8, "targets": "query", "learning_rate": rate,
        "head_learning_rate": 5e-3, "seed": seed, "shots": None, "draw": None, "ends_after": share,
        "validation": score, "validation_loss": loss,
        "status": status, "test": 0.8 if status == "finished" else NAN, "backbone": 8, "head": 2, "bytes_stored": 40,
        "step_seconds": 0.1, "train_seconds": 1.0, "peak_memory": 0, **other,
    }  # fmt: skip


def table(*runs: Any) -> pd.DataFrame:
    return pd.DataFrame(runs).astype({"rank": "Int64", "backbone": "Int64", "head": "Int64"})


def stages(*runs: Any) -> tuple[list[str], Any]:
    """Return the stage of each run, and the rate that was chosen."""
    staged, tuning = with_stages(table(*runs))
    chosen = tuning.loc[tuning["chosen"], "learning_rate"]
    return staged.sort_index()["stage"].tolist(), chosen.iloc[0] if len(chosen) else None


EARLY = [run(1e-3, loss=0.69, score=0.58), run(1e-2, loss=0.6, score=0.57), run(1e-1, loss=0.9, score=0.5)]


def test_the_lowest_loss_chooses_whatever_the_score() -> None:
    found = tuning_table(table(*EARLY), 1)
    assert found.loc[found["chosen"], "learning_rate"].tolist() == [1e-2]
    assert found["median"].tolist() == [0.69, 0.6, 0.9]
    assert set(found["ends_after"]) == {0.25}


def test_whole_runs_choose_by_their_score_as_before() -> None:
    found = tuning_table(table(*({**each, "ends_after": 1.0} for each in EARLY)), 1)
    assert found.loc[found["chosen"], "learning_rate"].tolist() == [1e-3]


@pytest.mark.parametrize("loss", [NAN, math.inf])
def test_what_diverged_is_the_worst(loss: float) -> None:
    lost = [run(1e-3, loss=0.7), run(1e-2, loss=loss, score=NAN), run(1e-1, loss=0.8)]
    found = tuning_table(table(*lost), 1)
    assert found.loc[found["chosen"], ["learning_rate", "edge"]].to_numpy().tolist() == [[1e-3, "low"]]
    assert found["diverged"].tolist() == [0, 1, 0]


def test_finalists_and_the_side_to_widen_go_by_the_loss_too() -> None:
    assert finalists(table(*EARLY), 2) == {"LoRA r=8": [(1e-2, 5e-3), (1e-3, 5e-3)]}
    assert sides(tuning_table(table(*EARLY), 1)) == {"LoRA r=8": "low"}
    falling = [run(rate, loss=loss) for rate, loss in zip(RATES, (0.9, 0.7, 0.6), strict=True)]
    assert sides(tuning_table(table(*falling), 1)) == {"LoRA r=8": "high"}


def test_runs_that_ended_early_choose_and_whole_ones_are_reported() -> None:
    whole = [run(1e-2, seed, share=1) for seed in (1, 2)]
    assert stages(*EARLY, *whole) == (["tuning"] * 3 + ["report"] * 2, 1e-2)


def test_a_whole_run_of_a_tuning_seed_at_one_rate_has_not_chosen() -> None:
    assert stages(*EARLY, run(1e-3, 0, share=1, score=0.9)) == (["tuning"] * 4, 1e-2)
    assert stages(*EARLY, run(1e-2, 0, share=1, score=0.9)) == (["tuning"] * 3 + ["report"], 1e-2)


def test_whole_runs_at_several_rates_choose_over_those_that_ended_early() -> None:
    scored = [run(rate, 0, share=1, score=score) for rate, score in zip(RATES, (0.7, 0.8, 0.9), strict=True)]
    assert stages(*EARLY, *scored, run(1e-1, 1, share=1)) == (["tuning"] * 6 + ["report"], 1e-1)


def test_of_two_shares_the_larger_chooses() -> None:
    further = [run(rate, share=0.5, loss=loss) for rate, loss in zip(RATES, (0.5, 0.6, 0.7), strict=True)]
    assert stages(*EARLY, *further) == (["tuning"] * 6, 1e-3)


@pytest.mark.parametrize("runs", [EARLY, EARLY[:1], [run(1e-3, score=NAN, loss=NAN), run(1e-2, score=NAN, loss=NAN)]])
def test_without_a_whole_run_nothing_is_reported(runs: list[Any]) -> None:
    staged, tuning = with_stages(table(*runs))
    assert set(staged["stage"]) == {"tuning"}
    (row,) = summary_table(staged, tuning).to_dict("records")
    assert (row["n"], row["diverged"], row["scores"], row["tuning_runs"]) == (0, 0, (), len(runs))
    assert math.isnan(row["mean"])


def test_one_that_diverged_early_is_not_a_report_that_diverged() -> None:
    lost = {"loss": NAN, "score": NAN}
    runs = [run(1e-2, loss=0.6), run(1e-1, **lost), run(1e-2, 1, share=1), run(1e-2, 2, **lost)]
    staged, tuning = with_stages(table(*runs))
    (row,) = summary_table(staged, tuning).to_dict("records")
    assert (row["n"], row["diverged"]) == (1, 0)
