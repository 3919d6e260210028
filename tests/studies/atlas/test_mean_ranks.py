"""Mean ranks against SciPy's and Demšar's figures, and what is left out of them."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import friedmanchisquare

from vxlab.studies.atlas.mean_ranks import complete_block, mean_ranks, nemenyi


def table(scores, names=None):
    """Return (tasks, candidates) scores as rows."""
    scores = np.asarray(scores, dtype=float)
    names = names or [f"c{i}" for i in range(scores.shape[1])]
    return pd.DataFrame(
        [(f"t{i}", name, score) for i, row in enumerate(scores) for name, score in zip(names, row, strict=True)],
        columns=["task", "candidate", "mean"],
    )


@pytest.mark.parametrize("ties", [False, True])
def test_friedmans_statistic_is_scipys(ties):
    scores = np.random.default_rng(0).normal(size=(12, 5))
    scores = scores.round(0) if ties else scores
    found, known = mean_ranks(table(scores)), friedmanchisquare(*scores.T)
    assert found.statistic == pytest.approx(known.statistic)
    assert found.p == pytest.approx(known.pvalue, abs=0.02)  # of 12 tasks chi-squared is about right


def test_the_p_value_of_few_tasks_is_that_of_all_orders():
    # Two tasks that agree wholly on three candidates: one of six orders does.
    assert mean_ranks(table([[3, 2, 1], [3, 2, 1]])).p == pytest.approx(1 / 6, abs=0.015)


@pytest.mark.parametrize(("candidates", "q"), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)])
def test_critical_differences_are_demsars(candidates, q):
    assert nemenyi(candidates, 14) == pytest.approx(q * np.sqrt(candidates * (candidates + 1) / 84), rel=5e-4)


def test_the_highest_score_has_rank_one_and_ties_share_theirs():
    found = mean_ranks(table([[90, 80, 80], [90, 70, 80 - 1e-13]], ["a", "b", "c"])).table
    assert found["candidate"].tolist() == ["a", "c", "b"]
    assert found["ranks"].tolist() == [(1, 1), (2.5, 2), (2.5, 3)]


def test_equal_candidates_seldom_differ():
    random = np.random.default_rng(2)
    found = [mean_ranks(table(random.normal(size=(6, 8)))) for _ in range(100)]
    assert np.mean([np.ptp(each.table["mean_rank"]) >= each.critical for each in found]) <= 0.07


def test_nothing_is_imputed_and_what_lacks_is_named():
    scores = table([[3, 2, 1, 4], [3, 2, 1, np.nan], [3, 2, 1, np.nan], [np.nan, np.nan, 5, np.nan]])
    whole, left_out = complete_block(scores)
    assert whole.shape == (3, 3)
    assert left_out.to_dict("records") == [
        {"what": "t3", "why": "lacks 3 of 4 candidates"}, {"what": "c3", "why": "lacks on t1, t2"}
    ]  # fmt: skip
    assert mean_ranks(scores).tasks == ("t0", "t1", "t2")


def test_a_candidate_without_a_row_lacks_as_one_without_a_score():
    scores = table([[3, 2, 1], [3, 2, 1]]).drop(index=5)
    assert mean_ranks(scores).left_out["what"].tolist() == ["c2"]


@pytest.mark.parametrize("scores", [[[1, 2, 3]], [[1.0], [2.0]], [[np.nan, 1], [2, np.nan]]])
def test_one_task_or_one_candidate_is_not_ranked(scores):
    found = mean_ranks(table(scores))
    assert found.undefined.startswith("Mean ranks need two tasks and two candidates on each")
    assert found.table.empty
    assert np.isnan(found.critical)


def test_candidates_that_tie_everywhere_are_not_told_apart():
    found = mean_ranks(table(np.ones((4, 3))))
    assert found.p == 1
    assert found.table["alike"].all()
