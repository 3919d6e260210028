"""What tuning showed: validation by learning rate, the choice, and whether it lies on an edge."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from vxlab.experiments import RunSpec, rank_of

COLUMNS = [
    "candidate", "method", "rank", "learning_rate", "head_learning_rate", "ends_after", "median", "low", "high", "n",
    "diverged", "failed", "chosen", "edge", "head_edge",
]  # fmt: skip

_RATES = ["learning_rate", "head_learning_rate"]
_OF_RATES = ["candidate", "method", "rank", *_RATES]


def tuning_table(runs: pd.DataFrame, tuning_seeds: int) -> pd.DataFrame:
    """Return one row for each candidate and pair of learning rates, in the order of the rates.

    ``median``, ``low`` and ``high`` are of validation over the ``n`` tuning seeds that finished. The median chooses
    among the rates that ran on every tuning seed, a run that diverged or failed counting as the worst there is; of
    several equals one inside the range. Where every rate lost half of its runs or more, what is left chooses. ``edge``
    is ``low`` or ``high`` where the chosen rate is the lowest or highest tried for its candidate, "" elsewhere and
    where one rate alone was tried; ``head_edge`` says the same of the head's rate.

    Of runs that took a share of their steps (``ends_after`` below 1) it is the validation loss that stands there, and
    its lowest median chooses: so early a classifier often gives one answer to all texts still, whatever its rate.

    Args:
        runs: the tuning runs, with the columns ``candidate`` and ``method`` (as shown) and the store's; of a candidate
            all after the same share of their steps.
        tuning_seeds: how many seeds a rate needs to be chosen.
    """
    groups = runs.groupby(_OF_RATES, sort=True, dropna=False)
    rows = [dict(zip(_OF_RATES, rates, strict=True)) | _of_group(group) for rates, group in groups]
    table = pd.DataFrame(rows)
    table[["chosen", "edge", "head_edge"]] = False, "", ""
    for _, own in table.groupby("candidate"):
        best = _best(own[own["ran"] >= tuning_seeds], own)
        if best is not None:
            apart = not own["learning_rate"].equals(own["head_learning_rate"])  # the head alone has one rate
            edges = _edge(own["learning_rate"], best), _edge(own["head_learning_rate"], best) if apart else ""
            table.loc[best, ["chosen", "edge", "head_edge"]] = True, *edges
    order = {name: i for i, name in enumerate(dict.fromkeys(runs["candidate"]))}
    return table.sort_values("candidate", key=lambda names: names.map(order), kind="stable", ignore_index=True)[COLUMNS]


def untuned_table(specs: Sequence[tuple[str, str, RunSpec]]) -> pd.DataFrame:
    """Return the table of a sweep in which nothing was tried: each candidate's one rate, chosen without a score.

    Args:
        specs: of each candidate its name, its method as shown, and a run.
    """
    rows = [
        dict(
            zip(
                COLUMNS, (name, method, rank_of(spec.method), spec.learning_rate, spec.head_learning_rate), strict=False
            )
        )
        for name, method, spec in specs
    ]
    none = {"ends_after": 1.0, "median": np.nan, "low": np.nan, "high": np.nan, "n": 0, "diverged": 0, "failed": 0}
    return pd.DataFrame(rows).assign(**none, chosen=True, edge="", head_edge="")[COLUMNS]


def with_stages(runs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tell apart, of runs that nobody planned, those that chose the learning rate and those that are reported.

    Seeds (and draws) of a candidate that ran at several rates are tuning runs, and validation chooses; the others at
    the chosen rate are reported, or all there where there are no others. Where nothing finished, or there is no rate to
    choose, all are reported. Runs that took a share of their steps are tuning runs, and never reported; those of the
    largest share at which several rates ran choose.

    Args:
        runs: those that ended, as :func:`tuning_table` takes them.

    Returns:
        The runs, candidate by candidate, with their ``stage`` (tuning or report), and the tuning table.
    """
    parts = [_stages_of_one(own) for _, own in runs.groupby("candidate", sort=False)]
    tuned = [table for _, table in parts if len(table)]
    tuning = pd.concat(tuned, ignore_index=True) if tuned else pd.DataFrame(columns=COLUMNS)
    return pd.concat([staged for staged, _ in parts]), tuning


def _stages_of_one(runs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    if runs["learning_rate"].isna().all():
        return runs.assign(stage="report"), pd.DataFrame(columns=COLUMNS)
    rates, whole = runs[_RATES].apply(tuple, axis="columns"), runs["ends_after"] == 1
    lucks = [runs["seed"], runs["draw"], runs["ends_after"]]
    several = rates.groupby(lucks, dropna=False).transform("nunique") > 1
    tried = runs[several] if several.any() else runs
    tried = tried[tried["ends_after"] == tried["ends_after"].max()]
    tuning = tuning_table(tried, int(tried.groupby(_RATES, dropna=False).size().max()))
    chosen = tuning[tuning["chosen"]]
    there = whole if chosen.empty else whole & (rates == tuple(chosen[_RATES].iloc[0]))
    reported = there if chosen.empty or not (there & ~several).any() else there & ~several
    return runs.assign(stage=pd.Series(np.where(reported, "report", "tuning"), index=runs.index)), tuning


def finalists(runs: pd.DataFrame, most: int) -> "dict[str, list[tuple[float, float]]]":
    """Return each candidate's best pairs of rates on the first tuning seed.

    Args:
        runs: as :func:`tuning_table` takes them; the first seed is 0.
        most: so many a candidate.
    """
    table = tuning_table(runs[runs["seed"] == 0], 1)
    ranked = table.assign(merit=_merit(table)).sort_values("merit", ascending=False, kind="stable", na_position="last")
    best = ranked.groupby("candidate").head(most)
    groups = best.groupby("candidate", sort=False)[_RATES]
    return {str(name): list(own.itertuples(index=False, name=None)) for name, own in groups}


def sides(table: pd.DataFrame) -> dict[str, str]:
    """Return for each candidate on which side of its range its best lies: ``low`` or ``high``.

    An edge decides; inside the range, the better of the chosen rate's two neighbours. Where every run was lost, the
    lower rates are to be tried.
    """
    told = {}
    for name, own in table.assign(merit=_merit(table)).groupby("candidate"):
        by_rate = own.groupby("learning_rate")["merit"].max().fillna(-np.inf)
        edge, rate = next(own.loc[own["chosen"], ["edge", "learning_rate"]].itertuples(index=False), ("low", np.nan))
        told[str(name)] = edge or ("high" if _rises(by_rate, rate) else "low")
    return told


def _rises(by_rate: "pd.Series[float]", chosen: float) -> bool:
    """Say whether the rate above the chosen one did better than that below."""
    rates = list(by_rate.index)
    place = rates.index(chosen)
    beside = [by_rate[rates[i]] if 0 <= i < len(rates) else -np.inf for i in (place - 1, place + 1)]
    return bool(beside[0] < beside[1])


def _merit(table: pd.DataFrame) -> "pd.Series[float]":
    """Return by what the rows of a tuning table are ranked; the highest is the best."""
    return table["median"].where(table["ends_after"] == 1, -table["median"])


def _of_group(group: pd.DataFrame) -> dict[str, Any]:
    ends_after = float(group["ends_after"].iloc[0])
    column, sign = ("validation", 1) if ends_after == 1 else ("validation_loss", -1)
    scores = group[column].to_numpy(dtype=float)
    finished = scores[np.isfinite(scores)]
    spread = (np.median(finished), finished.min(), finished.max()) if len(finished) else (np.nan,) * 3
    return {
        "ends_after": ends_after,
        **dict(zip(("median", "low", "high"), spread, strict=True)),
        "n": len(finished),
        "diverged": int((group["status"] == "diverged").sum()),
        "failed": int((group["status"] == "failed").sum()),
        "ran": len(group),
        "choice": float(np.median(np.where(np.isfinite(scores), sign * scores, -np.inf))),
    }


def _best(complete: pd.DataFrame, tried: pd.DataFrame) -> Any:
    """Return the index of the row to choose among those complete; None where every run was lost."""
    for ranked in (complete["choice"], _merit(complete)):
        scores = ranked.fillna(-np.inf)
        if len(scores) and np.isfinite(scores.max()):
            ties = list(scores.index[scores == scores.max()])
            ties = [each for each in ties if not _edge(tried["learning_rate"], each)] or ties
            return ties[(len(ties) - 1) // 2]
    return None


def _edge(tried: "pd.Series[float]", best: Any) -> str:
    if tried.nunique() == 1:
        return ""
    return "low" if tried[best] == tried.min() else "high" if tried[best] == tried.max() else ""
