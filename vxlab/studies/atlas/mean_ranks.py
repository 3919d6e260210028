"""Which candidates come first over several tasks: mean ranks, and how far two must lie apart to differ."""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd

from vxlab.experiments.scoring import LEVEL, Array
from vxlab.words import number_of

_SHUFFLES = 10_000


class MeanRanks(NamedTuple):
    """Candidates by their mean rank over tasks, the best first."""

    table: pd.DataFrame
    """one row a candidate: ``candidate``, ``mean_rank``, ``ranks`` (1 the best, by task), ``alike`` (not told from the
    best)"""
    tasks: tuple[str, ...]
    critical: float
    """the difference of two mean ranks from which they differ (Nemenyi); NaN where it is not defined"""
    statistic: float
    """Friedman's, corrected for ties"""
    p: float
    """that no candidate is better than another, by shuffling each task's ranks"""
    left_out: pd.DataFrame
    """``what`` (a task or a candidate) and ``why``"""
    undefined: str = ""
    """why there is nothing to rank"""


def mean_ranks(scores: pd.DataFrame) -> MeanRanks:
    """Rank candidates on each task by their mean score, and compare the means of their ranks over tasks.

    Only candidates with a score on each of the tasks are ranked: none is imputed. So where some are lacking, what lacks
    the largest share, a task or a candidate, is left out, again and again, until every candidate that is left is on
    every task that is left. Friedman's statistic over T tasks and C candidates with mean ranks R_c is
    12·T / (C·(C + 1))·Σ (R_c − (C + 1) / 2)², divided by 1 − Σ (g³ − g) / (T·(C³ − C)) over groups of g tied ranks. Its
    p-value is of 10,000 shuffles, for with few tasks χ² is far off. Two candidates differ where their mean ranks are
    q·√(C·(C + 1) / (6·T)) apart, √2·q being the studentized range's 95th percentile (Nemenyi).

    A mean rank depends on which other candidates are ranked beside it, and says nothing of how much a candidate scores.

    Args:
        scores: one row a task and candidate: ``task``, ``candidate`` and ``mean``, higher being better; NaN lacks.

    Source: Demšar, Statistical comparisons of classifiers over multiple data sets, 2006; Benavoli, Corani and Mangili,
    Should we really use post-hoc tests based on mean-ranks?, 2016, for what they do not say.
    """
    whole, left_out = complete_block(scores)
    tasks, candidates = whole.shape
    undefined = ""
    if tasks < 2 or candidates < 2:
        undefined = f"Mean ranks need two tasks and two candidates on each; there are {number_of(tasks, 'task')} with "
        undefined += f"{number_of(candidates, 'candidate')} on each."
        return MeanRanks(_empty(), tuple(whole.index), *(math.nan,) * 3, left_out, undefined)
    # Equal scores that were summed in another order differ in their last digits.
    ranks = whole.round(9).rank(axis=1, ascending=False).to_numpy(dtype=np.float64)
    critical, statistic = nemenyi(candidates, tasks), float(_friedman(ranks))
    means = ranks.mean(axis=0)
    table = pd.DataFrame(
        {"candidate": whole.columns, "mean_rank": means, "ranks": [tuple(each) for each in ranks.T.tolist()],
         "alike": means - means.min() < critical}
    )  # fmt: skip
    table = table.sort_values("mean_rank", kind="stable", ignore_index=True)
    return MeanRanks(table, tuple(whole.index), critical, statistic, _shuffled(ranks, statistic), left_out)


def nemenyi(candidates: int, tasks: int) -> float:
    """Return the critical difference of two mean ranks at the 5 % level.

    >>> round(nemenyi(5, 14), 3)  # 2.728·√(5·6 / (6·14))
    1.63
    """
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(1 - LEVEL, candidates, math.inf)) / math.sqrt(2)
    return q * math.sqrt(candidates * (candidates + 1) / (6 * tasks))


def complete_block(scores: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the (tasks, candidates) means in which none is lacking, and what was left out, with why.

    Args:
        scores: as :func:`mean_ranks` takes it.
    """
    whole = scores.pivot_table(index="task", columns="candidate", values="mean", sort=False, dropna=False)
    whole = whole.reindex(index=list(dict.fromkeys(scores["task"])), columns=list(dict.fromkeys(scores["candidate"])))
    told = []
    while len(whole) and whole.isna().to_numpy().any():
        of_task, of_candidate = whole.isna().mean(axis=1), whole.isna().mean(axis=0)
        # A task with one candidate compares nothing, whatever share of the others it lacks.
        alone = whole.index[whole.notna().sum(axis=1) < 2]
        if len(alone) or of_task.max() > of_candidate.max():
            task, of = str(alone[0] if len(alone) else of_task.idxmax()), len(whole.columns)
            told.append((task, f"lacks {round(of_task[task] * of)} of {of} candidates"))
            whole = whole.drop(index=task)
        else:
            name = str(of_candidate.idxmax())
            told.append((name, f"lacks on {', '.join(whole.index[whole[name].isna()])}"))
            whole = whole.drop(columns=name)
    return whole, pd.DataFrame(told, columns=["what", "why"])


def _empty() -> pd.DataFrame:
    return pd.DataFrame(columns=["candidate", "mean_rank", "ranks", "alike"])


def _friedman(ranks: Array) -> Array:
    """Return the statistic of (..., tasks, candidates) ranks; NaN where all tie on every task."""
    tasks, candidates = ranks.shape[-2:]
    # The spread of the ranks within tasks holds the correction for ties.
    spread = ((ranks - (candidates + 1) / 2) ** 2).sum(axis=(-2, -1)) / (tasks * (candidates - 1))
    between = tasks * ((ranks.mean(axis=-2) - (candidates + 1) / 2) ** 2).sum(axis=-1)
    with np.errstate(invalid="ignore"):
        statistic: Array = between / spread
    return statistic


def _shuffled(ranks: Array, statistic: float) -> float:
    """Return how often shuffled ranks reach the statistic; from 1/10,001 to 1."""
    if math.isnan(statistic):
        return 1.0
    random = np.random.default_rng(0)
    reached = 0
    for _ in range(10):
        drawn = random.permuted(np.broadcast_to(ranks, (_SHUFFLES // 10, *ranks.shape)), axis=-1)
        reached += int((_friedman(drawn) >= statistic - 1e-9).sum())
    return (1 + reached) / (1 + _SHUFFLES)
