"""One candidate of a sweep beside those that a reader would weigh it against."""

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np

from vxlab.errors import VxlabError
from vxlab.experiments.pairs import of_pair

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = ["candidate", "n", "diverged", "median", "q1", "q3", "backbone", "bytes_stored", "step_seconds", "peak_memory"]


def neighbours(summary: "pd.DataFrame", pairs: "pd.DataFrame", candidate: str) -> "pd.DataFrame":
    """Return a candidate and its neighbours: the next ranks, each other method's nearest in size, and what has no rank.

    Nearest is by the ratio of trained backbone parameters; for what trains none there, the other methods' smallest.

    Args:
        summary: one row a candidate.
        pairs: one row a pair of candidates.
        candidate: its name in the summary.

    Returns:
        One row each, the candidate first: ``relation``; from the summary ``candidate``, ``n``, ``diverged``,
        ``median``, ``q1``, ``q3``, ``backbone``, ``bytes_stored``, ``step_seconds`` and ``peak_memory``; and of the
        pair ``difference`` (the candidate's score minus the neighbour's), ``low``, ``high`` and ``seen``, missing
        where the two were not compared.

    Raises:
        VxlabError: the summary has no such candidate.
    """
    import pandas as pd

    names = list(summary["candidate"])
    if candidate not in names:
        near = get_close_matches(candidate, names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise VxlabError(f"candidate={candidate!r} is not in this sweep; {hint}It has {', '.join(names)}")
    own = summary[summary["candidate"] == candidate].iloc[0]
    related = {candidate: "this one"} | _next_ranks(summary, own) | _nearest(summary, own)
    rows = summary.set_index("candidate", drop=False).loc[list(related), _SHOWN].reset_index(drop=True)
    rows.insert(0, "relation", list(related.values()))
    return rows.join(pd.DataFrame([of_pair(pairs, candidate, other) for other in related]))


def _next_ranks(summary: "pd.DataFrame", own: Any) -> dict[str, str]:
    import pandas as pd

    if pd.isna(own["rank"]):
        return {}
    same = summary[(summary["method"] == own["method"]) & (summary["targets"] == own["targets"])]
    below = same[(same["rank"] < own["rank"]).fillna(False)].sort_values("rank")["candidate"].tail(1)
    above = same[(same["rank"] > own["rank"]).fillna(False)].sort_values("rank")["candidate"].head(1)
    return dict.fromkeys(below, "next rank below") | dict.fromkeys(above, "next rank above")


def _nearest(summary: "pd.DataFrame", own: Any) -> dict[str, str]:
    """Return each other method's rank that is nearest in size, and the methods that have none."""
    import pandas as pd

    others = summary[summary["method"] != own["method"]].dropna(subset=["backbone"])
    ranked = others[others["rank"].notna() & (others["backbone"] > 0)]
    size = 1 if pd.isna(own["backbone"]) else max(own["backbone"], 1)
    distance = np.abs(np.log(ranked["backbone"].astype(float) / size))
    nearest = distance.groupby(ranked["method"], sort=False).idxmin()
    references = others.loc[others["rank"].isna(), "candidate"]
    return dict.fromkeys(ranked.loc[nearest, "candidate"], "nearest in size") | dict.fromkeys(references, "no rank")
