"""One candidate of a sweep beside those that a reader would weigh it against."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from vxlab.errors import VxlabError
from vxlab.experiments import has_ranks_by_layer
from vxlab.experiments.candidates.pairs import of_pair
from vxlab.words import nearest

_SHOWN = ["candidate", "n", "diverged", "mean", "scores", "backbone", "bytes_stored", "step_seconds", "peak_memory"]


def neighbours(summary: pd.DataFrame, pairs: pd.DataFrame, candidate: str) -> pd.DataFrame:
    """Return a candidate and its neighbours: the next ranks, each other method's nearest in size, and what has no rank.

    Nearest is by the ratio of trained backbone parameters; for what trains none there, the other methods' smallest.

    Args:
        summary: one row a candidate.
        pairs: one row a pair of candidates.
        candidate: its name in the summary.

    Returns:
        One row each, the candidate first: ``relation``; from the summary ``candidate``, ``n``, ``diverged``,
        ``mean``, ``scores``, ``backbone``, ``bytes_stored``, ``step_seconds`` and ``peak_memory``; and of the
        pair ``difference`` (the candidate's score minus the neighbour's), ``low``, ``high`` and ``seen``, missing
        where the two were not compared.

    Raises:
        VxlabError: the summary has no such candidate.
    """
    names = list(summary["candidate"])
    if candidate not in names:
        raise VxlabError(f"candidate={candidate!r} is not in this sweep{nearest(candidate, names, 'it has')}")
    every = list(summary.itertuples(index=False))
    own = every[names.index(candidate)]
    related = {candidate: "this one"} | _next_ranks(every, own) | _nearest(every, own)
    rows = summary.iloc[[names.index(name) for name in related]][_SHOWN].reset_index(drop=True)
    rows.insert(0, "relation", list(related.values()))
    return rows.join(pd.DataFrame([of_pair(pairs, candidate, other) for other in related]))


def _next_ranks(every: Sequence[Any], own: Any) -> dict[str, str]:
    if pd.isna(own.rank):
        return {}
    same = [row for row in every if (row.method, row.targets) == (own.method, own.targets) and pd.notna(row.rank)]
    below = max((row for row in same if row.rank < own.rank), key=lambda row: row.rank, default=None)
    above = min((row for row in same if row.rank > own.rank), key=lambda row: row.rank, default=None)
    return {row.candidate: f"next rank {side}" for row, side in ((below, "below"), (above, "above")) if row is not None}


def _nearest(every: Sequence[Any], own: Any) -> dict[str, str]:
    """Return each other method's rank, or ranks by layer, nearest in size, and the methods that have none."""
    others = [row for row in every if row.method != own.method and pd.notna(row.backbone)]
    size = 1 if pd.isna(own.backbone) else max(own.backbone, 1)
    ranked: dict[str, list[Any]] = {}
    for row in others:
        if _has_ranks(row) and row.backbone > 0:
            ranked.setdefault(row.method, []).append(row)
    closest = [min(rows, key=lambda row: abs(math.log(row.backbone / size))) for rows in ranked.values()]
    references = dict.fromkeys((row.candidate for row in others if not _has_ranks(row)), "no rank")
    return {row.candidate: "nearest in size" for row in closest} | references


def _has_ranks(row: Any) -> bool:
    return pd.notna(row.rank) or has_ranks_by_layer(row.method)
