"""Differences between candidates pooled over tasks, from one reference or of every pair."""

import math
from collections.abc import Collection, Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from vxlab.checks import require_known
from vxlab.experiments.scoring import LEVEL, holm, over_units
from vxlab.studies.atlas.gather import AcrossTasks
from vxlab.studies.atlas.mean_ranks import complete_block
from vxlab.studies.atlas.random_effects import Pooled, pool_tasks

REFERENCES = ("full fine-tuning", "head only", "probe")
"""What differences are from where nothing else is asked for: the first of these that is on the most tasks."""
POOLED_COLUMNS = [
    "a", "b", "difference", "low", "high", "p", "p_holm", "seen", "n", "between", "plain", "plain_low", "plain_high",
    "error", "by_task",
]  # fmt: skip


def usual_reference(across: AcrossTasks) -> str:
    """Return the candidate that others are compared with where none is named."""
    counts = across.scores["candidate"].value_counts()
    known = [name for name in REFERENCES if name in counts.index]
    return str(max(known, key=lambda name: int(counts[name]))) if known else str(counts.index[0])


def pool_pair(
    across: AcrossTasks, a: str, b: str, *, without: Collection[str] = (), spreads: Mapping[str, float] | None = None
) -> tuple[Pooled, dict[str, float]]:
    """Return the difference of a less b over the tasks that both ran on, and that on each.

    Args:
        across: one model's tasks.
        a: a candidate.
        b: another.
        without: tasks that do not count.
        spreads: task to what its differences are divided by; a task that it lacks, or has 0 of, does not count.
    """
    own = of_two(across, a, b)
    own = own[~own["task"].isin(without)]
    unit = np.ones(len(own)) if spreads is None else own["task"].map(spreads).to_numpy(dtype=np.float64)
    unit = np.where(unit > 0, unit, np.nan)
    differences = own["difference"].to_numpy(dtype=np.float64) / unit
    errors = own["error"].to_numpy(dtype=np.float64) / unit
    return pool_tasks(differences, errors), dict(zip(own["task"], differences.tolist(), strict=True))


def task_spreads(across: AcrossTasks) -> dict[str, float]:
    """Return each task's standard deviation of the mean scores of the candidates that are on all tasks."""
    whole, _ = complete_block(across.scores)
    return {str(task): float(spread) for task, spread in whole.std(axis=1, ddof=1).items()}


def pooled_differences(across: AcrossTasks, reference: str | None = None, *, standardise: bool = False) -> pd.DataFrame:
    """Pool the difference of every pair over the tasks that both ran on, or of every candidate from one.

    Tasks are the unit: another task like these is what an interval speaks of. Each task's first metric counts in
    points whatever it is, or standardised. Where a pair lacks on a task the task does not count for it: nothing is
    imputed.

    Args:
        across: one model's tasks.
        reference: a candidate, from which the differences then are; None takes every pair.
        standardise: whether differences are divided by their task's spread (:func:`task_spreads`), taken as known.

    Returns:
        One row a pair, the largest difference first from a reference, else in the candidates' order: ``a``, ``b``;
        ``difference`` (a less b), ``low``, ``high`` (95 %), ``p`` and ``error`` of
        :func:`vxlab.studies.atlas.pool_tasks`; ``p_holm`` and ``seen`` after Holm over the table's pairs; ``n`` tasks;
        ``between``, the standard deviation of the true difference from task to task; ``plain``, ``plain_low`` and
        ``plain_high``, the unweighted mean over tasks with the interval of a bootstrap over them (Student's of fewer
        than eight tasks, for which resampling is too narrow); ``by_task``, the tasks' own differences. Intervals are
        NaN of one task.

    Raises:
        VxlabError: no such candidate.
    """
    names = across.candidates
    if reference is not None:
        require_known([reference], names, "reference: there is no candidate", "there are")
        pairs = [(name, reference) for name in names if name != reference]
    else:
        pairs = list(combinations(names, 2))
    spreads = task_spreads(across) if standardise else None
    table = pd.DataFrame([_row(across, a, b, spreads) for a, b in pairs], columns=POOLED_COLUMNS)
    table = table[table["n"] > 0].reset_index(drop=True)
    table["p_holm"] = holm(table["p"].to_numpy(dtype=np.float64))
    table["seen"] = table["p_holm"] <= LEVEL
    return table if reference is None else table.sort_values("difference", ascending=False, ignore_index=True)


def of_two(across: AcrossTasks, a: str, b: str) -> pd.DataFrame:
    """Return a pair's rows by task, its differences a less b; empty where the two were never compared.

    Args:
        across: one model's tasks.
        a: a candidate.
        b: another.
    """
    pairs = across.pairs
    first, second = pairs["a"].to_numpy(), pairs["b"].to_numpy()
    straight, turned = (first == a) & (second == b), (first == b) & (second == a)  # each task in its own order
    own = pairs[straight | turned]
    sign = np.where(turned[straight | turned], -1, 1)
    turned_to: pd.DataFrame = own.assign(a=a, b=b, difference=sign * own["difference"])
    return turned_to


def _row(across: AcrossTasks, a: str, b: str, spreads: Mapping[str, float] | None) -> list[object]:
    found, by_task = pool_pair(across, a, b, spreads=spreads)
    plain = over_units(by_task.values())
    return [
        a, b, *found.evidence[:3], found.p, math.nan, False, len(by_task), found.between, *plain[:3], found.error,
        by_task,
    ]  # fmt: skip
