"""Means of a similarity table with intervals over training seeds, and whether similarity rises with depth."""

import math
from collections.abc import Callable, Sequence

import pandas as pd

from vxlab.checks import require_choice, require_known
from vxlab.experiments.scoring import Evidence, from_error, holm, no_evidence
from vxlab.studies.weight_similarity.table import MEASURES


def over_seeds(table: pd.DataFrame, statistic: Callable[[pd.DataFrame], float]) -> Evidence:
    """Return a statistic of a similarity table, with an interval whose unit is the training seed.

    Pairs share runs, runs of one seed share their task head's start and their batches, and the layers of one run are
    trained together. So neither pairs nor layers are independent, seeds are: each is left out in turn with every pair
    that it is in (the jackknife of a U-statistic), and the interval is Student's with one degree of freedom less than
    seeds. It holds for these layers, this task and these frozen matrices.

    Args:
        table: rows with ``first_seed`` and ``second_seed``.
        statistic: of such rows; NaN for rows that do not suffice.

    Source: Arvesen, Jackknifing U-statistics (1969); Efron and Stein, The jackknife estimate of variance (1981), who
    show that it does not underestimate the variance on average.

    >>> import pandas as pd
    >>> table = pd.DataFrame({"first_seed": [0, 1, 2], "second_seed": [0, 1, 2], "cosine": [1.0, 2.0, 3.0]})
    >>> [round(each, 3) for each in over_seeds(table, lambda rows: rows["cosine"].mean())[:3]]  # mean ± 4.303·1/√3
    [2.0, -0.484, 4.484]
    """
    value = float(statistic(table))
    seeds = sorted({*table["first_seed"], *table["second_seed"]})
    left = [float(statistic(table[(table["first_seed"] != s) & (table["second_seed"] != s)])) for s in seeds]
    n = len(seeds)
    if n < 2 or not all(math.isfinite(each) for each in (value, *left)):
        return no_evidence(value, n)
    centre = sum(left) / n
    error = math.sqrt((n - 1) / n * sum((each - centre) ** 2 for each in left))
    return from_error(value, error, n - 1, n)


def by_layer(table: pd.DataFrame, measure: str = "cosine") -> pd.DataFrame:
    """Return the mean of a measure over pairs, for each kind and layer, with its interval over seeds.

    Returns:
        Columns ``kind, layer, block, role, mean, low, high, pairs, seeds``, and ``chance`` where the measure has it.
    """
    require_choice("measure", measure, MEASURES)
    return _summed(table, ["kind", "layer", "block", "role"], measure)


def by_kind(table: pd.DataFrame, measure: str = "cosine") -> pd.DataFrame:
    """Return the mean of a measure over pairs and layers, for each kind and role, with its interval over seeds.

    Returns:
        Columns as :func:`by_layer`, without layer and block.
    """
    require_choice("measure", measure, MEASURES)
    return _summed(table, ["kind", "role"], measure)


def mean_of(table: pd.DataFrame, kind: str, measure: str = "cosine") -> Evidence:
    """Return the mean of a measure over a kind's pairs and layers; NaN where the table has none of that kind."""
    return over_seeds(table[table["kind"] == kind], lambda rows: rows[measure].mean())


def difference(table: pd.DataFrame, kind: str, other: str, measure: str = "cosine") -> Evidence:
    """Return the mean of one kind less that of another; seeds are left out of both at once."""
    rows = table[table["kind"].isin([kind, other])]
    return over_seeds(rows, lambda rows: _mean(rows, kind, measure) - _mean(rows, other, measure))


def share(table: pd.DataFrame, kind: str, ceiling: str, measure: str = "cosine") -> Evidence:
    """Return the mean of one kind as a share of another's."""
    rows = table[table["kind"].isin([kind, ceiling])]

    def ratio(rows: pd.DataFrame) -> float:
        whole = _mean(rows, ceiling, measure)
        return _mean(rows, kind, measure) / whole if whole else math.nan

    return over_seeds(rows, ratio)


def trend(table: pd.DataFrame, kinds: Sequence[str] | None = None, measure: str = "cosine") -> pd.DataFrame:
    """Test whether a measure rises with depth, for each kind.

    Two questions. Could the order of the layers be chance? Kendall's τ between block and mean over pairs, its p from
    the exact distribution over all orders (two-sided; with n blocks no p is below 2/n!). Does the rise repeat with
    other seeds? The rise of the least-squares line from the first block to the last, with its interval over seeds.
    The first takes the layers as exchangeable, the second takes them as they are.

    Args:
        table: of one role; several layers of a block are averaged.
        kinds: which to test; None takes all.
        measure: one of :data:`MEASURES`.

    Returns:
        One row a kind: ``kind, rise, low, high, tau, p, p_holm, blocks, seeds``, with Holm's correction over the kinds
        asked for. Fewer than three blocks have no p.

    Raises:
        VxlabError: a kind or the measure is not in the table.
    """
    require_choice("measure", measure, MEASURES)
    known, rows = list(dict.fromkeys(table["kind"])), []
    require_known(kinds or (), known, "the table has no kind")
    for kind in known if kinds is None else kinds:
        own = table[table["kind"] == kind]
        rise = over_seeds(own, lambda rows: _rise(rows, measure))
        tau, p = _kendall(own, measure)
        described = {"kind": kind, "rise": rise.value, "low": rise.low, "high": rise.high, "tau": tau, "p": p}
        rows.append({**described, "blocks": own["block"].nunique(), "seeds": rise.units})
    tested = pd.DataFrame(rows)
    tested.insert(6, "p_holm", holm(list(tested["p"])))
    return tested


def _summed(table: pd.DataFrame, places: list[str], measure: str) -> pd.DataFrame:
    rows = []
    for place, own in table.groupby(places, sort=False):
        found = over_seeds(own, lambda rows: rows[measure].mean())
        row = {**dict(zip(places, place, strict=True)), "mean": found.value, "low": found.low, "high": found.high}
        row |= {"pairs": own[["first", "second"]].drop_duplicates().shape[0], "seeds": found.units}
        chance = f"{measure}_chance"
        rows.append({**row, "chance": own[chance].mean() if chance in own else math.nan})
    return pd.DataFrame(rows)


def _mean(rows: pd.DataFrame, kind: str, measure: str) -> float:
    return float(rows.loc[rows["kind"] == kind, measure].mean())


def _profile(rows: pd.DataFrame, measure: str) -> "pd.Series[float]":
    """Return the mean by block; a block without a value is left out."""
    return rows.groupby("block")[measure].mean().dropna()


def _rise(rows: pd.DataFrame, measure: str) -> float:
    import numpy as np

    profile = _profile(rows, measure)
    if len(profile) < 2:
        return math.nan
    depth = profile.index.to_numpy(dtype=float)
    return float(np.polyfit(depth, profile.to_numpy(), 1)[0] * (depth[-1] - depth[0]))


def _kendall(rows: pd.DataFrame, measure: str) -> tuple[float, float]:
    from scipy.stats import kendalltau

    profile = _profile(rows, measure)
    if len(profile) < 3:
        return math.nan, math.nan
    # Ties have no exact distribution, and occur where values are equal by construction only.
    method = "exact" if profile.is_unique else "auto"
    found = kendalltau(profile.index.to_numpy(), profile.to_numpy(), method=method)
    return float(found.statistic), float(found.pvalue)
