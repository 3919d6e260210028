"""What a score costs: the front of best trades, partners of like size, and VeRA's gain per 1,000 parameters."""

import math

import numpy as np
import pandas as pd

from vxlab.errors import VxlabError
from vxlab.experiments.scoring import LEVEL
from vxlab.words import nearest

COUNTED = ("backbone", "bytes_stored")
"""Costs that are counted, and so have an order. Step times and peak memory of a sweep's runs were taken beside other
runs, on a CPU as resident memory: of them no front is drawn."""

ALIKE = 2.0
"""How many times as many parameters still match: a method whose nearest rank is farther off has none that matches."""


def pareto_front(table: pd.DataFrame, score: str = "mean", cost: str = "backbone") -> "pd.Series[bool]":
    """Mark the rows that no other row beats: none scores as high for less, nor higher for as little.

    Rows that tie in both are on the front together. The front takes scores at their word: whether a difference is
    more than luck is for :func:`vxlab.experiments.candidates.pairs_table` to say. A candidate not shown to beat the
    trivial answer, which costs nothing, is on no front and beats nobody.

    Args:
        table: one row a candidate; perhaps with ``p_trivial``, its p-value against the trivial answer.
        score: a column, higher is better.
        cost: a column, lower is better, such as ``backbone`` or ``bytes_stored``; it is taken at its word, too.

    Returns:
        Whether each row is on the front, under the table's index; False where score or cost is missing.

    Raises:
        VxlabError: the table lacks a column.

    >>> import pandas as pd
    >>> pareto_front(pd.DataFrame({"mean": [0.8, 0.9, 0.7], "backbone": [10, 20, 15]})).tolist()
    [True, True, False]
    """
    scores, costs = _numbers(table, score), _numbers(table, cost)
    if "p_trivial" in table:  # NaN where nothing was tested
        scores = np.where(_numbers(table, "p_trivial") > LEVEL, np.nan, scores)
    known = ~np.isnan(scores) & ~np.isnan(costs)
    # beaten[i, j]: row j beats row i; a comparison with NaN is False.
    no_worse = (scores >= scores[:, None]) & (costs <= costs[:, None])
    better = (scores > scores[:, None]) | (costs < costs[:, None])
    return pd.Series(known & ~(no_worse & better).any(axis=1), index=table.index, name="front")


def matched_pairs(summary: pd.DataFrame) -> list[tuple[str, str, float]]:
    """Pair each candidate with the one of every other method that is nearest to it in trained backbone parameters.

    Nearest is by ratio: 8,000 is nearer to 4,000 than 1,000 is. Of two as near, the smaller. Candidates that train
    nothing in the backbone have no partner, and neither have those whose nearest has more than :data:`ALIKE` times
    their parameters, or fewer than that part of them.

    Args:
        summary: a row a candidate, with ``candidate``, ``method`` and ``backbone``.

    Returns:
        (a, b, parameters of a / parameters of b), each pair once and in the table's order; two candidates are a pair
        when one is the other's nearest, and near enough.

    Raises:
        VxlabError: the table lacks a column.

    >>> import pandas as pd
    >>> rows = [("L1", "LoRA", 1000), ("L2", "LoRA", 1600), ("L3", "LoRA", 4000), ("V", "VeRA", 800)]
    >>> matched_pairs(pd.DataFrame(rows, columns=["candidate", "method", "backbone"]))
    [('L1', 'V', 1.25), ('L2', 'V', 2.0)]
    """
    sizes, methods, names = _numbers(summary, "backbone"), summary["method"].tolist(), summary["candidate"].tolist()
    trained = [i for i in range(len(names)) if sizes[i] > 0]
    found: set[tuple[int, int]] = set()
    for i in trained:
        for method in {methods[j] for j in trained} - {methods[i]}:
            others = [j for j in trained if methods[j] == method]
            nearest = min(others, key=lambda j: (abs(math.log(sizes[j] / sizes[i])), sizes[j]))
            if 1 / ALIKE <= sizes[i] / sizes[nearest] <= ALIKE:
                found.add((min(i, nearest), max(i, nearest)))
    return [(names[i], names[j], float(sizes[i] / sizes[j])) for i, j in sorted(found)]


def gain_per_thousand(summary: pd.DataFrame, head_score: float, score: str = "mean") -> "pd.Series[float]":
    """Return VeRA's relative gain per 1,000 parameters: 100 · (score / head_score) / (backbone / 1000).

    It is the score in percent of what the head alone reaches, shared out over the thousands of trained backbone
    parameters. It favours small counts by construction: scores differ by a few percent and counts by factors of ten,
    so it ranks candidates nearly as 1 / parameters does, and one that learns nothing still has a high one.

    Args:
        summary: a row a candidate, with ``backbone`` and the score's column.
        head_score: the score of training the task head alone, on the same task and metric; above 0.
        score: the column to use.

    Returns:
        Percent per 1,000 parameters, under the table's index; NaN where the backbone is not trained.

    Raises:
        VxlabError: ``head_score`` is not above 0, or the table lacks a column.

    Source:
        Kopiczko et al., VeRA: Vector-based random matrix adaptation, 2024, Figure 4.

    >>> import pandas as pd
    >>> gain_per_thousand(pd.DataFrame({"mean": [0.9], "backbone": [4000]}), head_score=0.75).tolist()
    [30.0]
    """
    if not head_score > 0:
        raise VxlabError(f"head_score={head_score}: the gain is over the head alone, whose score must be above 0")
    scores, sizes = _numbers(summary, score), _numbers(summary, "backbone")
    thousands = np.where(sizes > 0, sizes, np.nan) / 1000
    return pd.Series(100 * (scores / head_score) / thousands, index=summary.index, name="gain_per_thousand")


def _numbers(table: pd.DataFrame, column: str) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    if column not in table:
        raise VxlabError(f"the table has no column {column!r}{nearest(column, table.columns, 'it has')}")
    return table[column].to_numpy(dtype=np.float64, na_value=np.nan)
