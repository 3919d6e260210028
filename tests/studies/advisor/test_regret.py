"""The regret of allocations and the verdict on the advice, on trials whose truth is known."""

import numpy as np
import pandas as pd
import pytest

import vxlab
from vxlab.studies.advisor import cell_scores, regret_table, trial_verdict
from vxlab.studies.advisor.trial import TRIAL_RANKS, TRIAL_TASKS


def trial(by_energy: float, verdict: str = "allocation", noise: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Return a trial in which ranks by energy are so much better than uniform ones, and random ones 4 points worse."""
    generator = np.random.default_rng(seed)
    truth = {"uniform": 0.7, "by energy": 0.7 + by_energy, "random-00": 0.66, "random-01": 0.66, "only up": 0.6}
    rows = []
    for task in TRIAL_TASKS:
        for method, ranks in TRIAL_RANKS.items():
            for rank in ranks:
                for name, score in truth.items():
                    for run in (1, 2, 3) if name in ("uniform", "by energy") else (1,):
                        found = score + noise * generator.normal(size=2)
                        rows.append((task, method, rank, 1, name, verdict, 1, 1e-3, run, *found, False))
    columns = [
        "task", "method", "budget_rank", "budget", "allocation", "verdict", "backbone", "learning_rate", "seed",
        "validation", "test", "diverged",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def over_all(runs: pd.DataFrame) -> pd.DataFrame:
    found = regret_table(runs)
    return found[(found["task"] == "all") & (found["method"] == "all")].set_index("kind")


def test_regret_is_none_of_the_best_and_one_of_the_worst() -> None:
    found = over_all(trial(0.05))
    assert found.loc["by energy", "regret"] == pytest.approx(0)
    assert found.loc["advised", "regret"] == pytest.approx(0)
    assert found.loc["one module", "regret"] == pytest.approx(1)
    assert found.loc["uniform", "regret"] == pytest.approx(1 / 3)
    assert found.loc["random", "difference"] == pytest.approx(-0.04)


def test_where_the_advice_abstains_it_is_uniform() -> None:
    found = over_all(trial(0.05, verdict="uniform"))
    assert found.loc["advised", "regret"] == pytest.approx(found.loc["uniform", "regret"])
    assert any("abstaining was wrong" in sentence for sentence in trial_verdict(trial(0.05, verdict="uniform")))
    assert any("abstaining was right" in sentence for sentence in trial_verdict(trial(-0.05, verdict="unknown")))
    runs = trial(0.05, verdict="uniform")
    turned = (runs["allocation"] == "by energy") & (runs["task"] == "sst2")
    runs.loc[turned, "test"] -= 0.2
    assert any("abstaining is not shown to have cost" in sentence for sentence in trial_verdict(runs))


def test_what_too_few_runs_do_not_tell_is_not_said() -> None:
    runs = trial(0.05, verdict="allocation")
    one = (runs["task"] == "sst2") & (runs["method"] == "vera") & (runs["budget_rank"] == 16)
    runs.loc[one, "verdict"] = "uniform"
    assert "in one cell, which does not tell" in trial_verdict(runs)[3]
    apart = (runs["allocation"] == "by energy") & (runs["seed"] > 1)
    runs.loc[apart & (runs["task"] == "sst2"), "seed"] = 9  # no two seeds in common
    assert "Of 26 cells with ranks by layer 8 have too few seeds in common" in trial_verdict(runs)[1]


def test_the_oracle_is_chosen_on_validation_so_that_luck_on_test_is_no_regret() -> None:
    runs = trial(0.0)
    lucky = runs["allocation"] == "only up"
    runs.loc[lucky, "test"] = 0.99  # and its validation score is the lowest
    cells = cell_scores(runs)
    assert (cells["missed"] + cells["score"]).unique() == pytest.approx([0.7])


def test_there_is_no_regret_before_random_allocations_have_run() -> None:
    runs = trial(0.05)
    found = over_all(runs[~runs["allocation"].str.startswith("random")])
    assert found["regret"].isna().all()
    assert found.loc["by energy", "difference"] == pytest.approx(0.05)


def test_half_of_no_regret_is_no_bar_to_pass() -> None:
    runs = trial(0.0)
    runs.loc[runs["allocation"].str.startswith("random"), "test"] = 0.8  # validation says otherwise
    assert any("says nothing" in sentence for sentence in trial_verdict(runs))


@pytest.mark.parametrize(("by_energy", "told"), [(0.05, "better than"), (-0.05, "worse than"), (0.0, "no better than")])
def test_the_verdict_is_computed(by_energy: float, told: str) -> None:
    sentences = trial_verdict(trial(by_energy, noise=0.01))
    assert f"**{told} uniform ones**" in sentences[-1]
    assert ("it fails" in sentences[1]) == (by_energy < 0)


def test_equal_allocations_are_seldom_told_apart() -> None:
    told = [trial_verdict(trial(0.0, noise=0.02, seed=seed))[-1] for seed in range(5)]
    assert sum("no better than" not in sentence for sentence in told) <= 2


def test_a_run_that_diverged_has_the_lowest_score_of_its_cell() -> None:
    runs = trial(0.05)
    lost = (runs["allocation"] == "by energy") & (runs["seed"] == 1)
    runs.loc[lost, ["test", "validation"]] = np.nan
    runs.loc[lost, "diverged"] = True
    cells = cell_scores(runs).set_index("kind")
    assert cells.loc["by energy", "score"].unique() == pytest.approx([(0.6 + 2 * 0.75) / 3])


def test_the_rule_of_thumb_is_the_middle_rank_and_never_above_the_budget() -> None:
    runs = trial(0.0)
    runs.loc[(runs["allocation"] == "uniform") & (runs["budget_rank"] == 4) & (runs["method"] == "lora"), "test"] = 0.9
    cells = cell_scores(runs)
    own = cells[(cells["kind"] == "rule of thumb") & (cells["method"] == "lora")]
    assert own.groupby("budget_rank")["score"].first().to_dict() == pytest.approx({1: 0.7, 4: 0.9, 16: 0.9})


def test_a_table_that_lacks_a_column_or_a_cell_s_uniform_ranks_is_refused() -> None:
    with pytest.raises(vxlab.VxlabError, match="no column 'verdict'"):
        regret_table(trial(0.0).drop(columns="verdict"))
    runs = trial(0.0)
    with pytest.raises(vxlab.VxlabError, match="no run of uniform ranks"):
        regret_table(runs[runs["allocation"] != "uniform"])
