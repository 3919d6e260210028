"""The mean accuracy over several sets, as the papers report it, and what each candidate gains in it over the base."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from vxlab.experiments.scoring import COLUMNS, SHARES, Array, Difference, from_error, holm
from vxlab.experiments.sweeps import Comparison
from vxlab.studies import ReportedRuns, gains_over_base, reported_runs
from vxlab.studies.reasoning.by_set import headline_metric, parts_of

AVERAGE_COLUMNS = ("sets", "metric", "candidate", "score", "gain", "gain_low", "gain_high", "p_holm", "seeds")


class _Row(NamedTuple):
    candidate: str
    score: float
    gain: Difference | None


def set_averages(results: Mapping[str, Comparison], scores: pd.DataFrame) -> pd.DataFrame:
    """Return the unweighted mean over sets of each candidate's accuracy, and what it gains over the base's.

    A mean is of sets that are scored by one metric, two or more, and of candidates that have a score on each of them.
    Sets that were trained on one by one have different test items and different runs, so the variances of their gains
    add up, and the degrees of freedom are Welch and Satterthwaite's. Of one model that was trained on all of them the
    runs are the same, and a seed that is lucky is so on every set: there each item counts by one over the items of its
    set, and the gain in that mean is compared over items and seeds as any other.

    Columns: ``sets`` (their names), ``metric``, ``candidate``, ``score``, ``gain`` with its 95 % interval, ``p_holm``
    (adjusted for the candidates of one mean) and ``seeds`` (whether interval and p allow for other training seeds).

    Args:
        results: of a fair sweep each, by the name of what it was trained on.
        scores: from :func:`vxlab.studies.reasoning.set_scores`, of these.
    """
    tables = [*_over_sweeps(scores), *_within_sweeps(results)]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(AVERAGE_COLUMNS))


def _over_sweeps(scores: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield the mean over sets that were trained on one by one."""
    parts = scores.groupby("sweep")["set"].nunique()
    alone = scores[scores["headline"] & scores["metric"].isin(SHARES) & (scores["sweep"].map(parts) == 1)]
    for metric, rows in alone.groupby("metric", sort=False):
        sets = list(dict.fromkeys(rows["set"]))
        if len(sets) < 2:
            continue
        of_each = [
            _Row(str(name), float(own["score"].mean()), _joined_gain(own))
            for name, own in rows.groupby("candidate", sort=False)
            if len(own) == len(sets) and own["score"].notna().all()
        ]
        yield _table(sets, str(metric), of_each)


def _joined_gain(own: pd.DataFrame) -> Difference | None:
    """Return the mean of gains that are independent, one a set."""
    gains, errors, freedoms = (own[name].to_numpy(dtype=float) for name in ("gain", "error", "freedom"))
    if np.isnan(gains).any():
        return None
    parts = (errors / len(own)) ** 2
    error, variance = math.sqrt(parts.sum()), float(parts.sum())
    freedom = variance**2 / float((parts**2 / freedoms).sum()) if variance > 0 else math.inf
    found = from_error(float(gains.mean()), error, freedom)
    p = min(1.0, 2 * min(found.tails(0)))
    return Difference(found.value, found.low, found.high, p, bool(own["seeds"].all()), error, freedom)


def _within_sweeps(results: Mapping[str, Comparison]) -> Iterator[pd.DataFrame]:
    """Yield the mean over the sets of each sweep that was tested on several."""
    for sweep, result in results.items():
        parts = dict(parts_of(sweep, result))
        if len(parts) < 2:
            continue
        metric = headline_metric(next(iter(result.records.values())).task["metrics"])
        if metric not in SHARES:
            continue
        runs = weigh_alike(reported_runs(result), metric, [each for each in parts.values() if each is not None])
        gains = gains_over_base(metric, runs)
        base_first = sorted(runs.predictions, key=lambda name: name != runs.base)
        yield _table(
            list(parts), metric, [_Row(name, _mean(runs, name, metric), gains.get(name)) for name in base_first]
        )


def weigh_alike(runs: ReportedRuns, metric: str, parts: Sequence[Array]) -> ReportedRuns:
    """Return answers whose share of hits is the unweighted mean of the sets': each item by one over its set's items.

    Args:
        runs: answers to the items of all sets.
        metric: one of items that are right or wrong.
        parts: of each set (items,) of bool, its items; each is of one set.
    """
    weight = np.zeros(len(runs.labels))
    for part in parts:
        weight[part] = len(weight) / (len(parts) * part.sum())
    columns = COLUMNS[metric]

    def weigh(statistics: Array) -> Array:
        weighed = statistics.copy()
        weighed[:, columns] = statistics[:, columns] * weight[:, None]
        return weighed

    weighed = {name: {seed: weigh(each) for seed, each in own.items()} for name, own in runs.predictions.items()}
    return runs._replace(predictions=weighed)


def _mean(runs: ReportedRuns, name: str, metric: str) -> float:
    sums = [each[:, COLUMNS[metric]].sum(axis=0) for each in runs.predictions[name].values()]
    return float(np.mean([hits / items for hits, items in sums]))


def _table(sets: Sequence[str], metric: str, rows: Sequence[_Row]) -> pd.DataFrame:
    gained = [row.candidate for row in rows if row.gain is not None]
    adjusted = dict(zip(gained, holm([row.gain.p for row in rows if row.gain is not None]).tolist(), strict=True))
    told = [
        (
            ", ".join(sets), metric, row.candidate, row.score,
            *((row.gain.difference, row.gain.low, row.gain.high) if row.gain else (math.nan,) * 3),
            adjusted.get(row.candidate, math.nan), bool(row.gain and row.gain.covers_seeds),
        )
        for row in rows
    ]  # fmt: skip
    return pd.DataFrame(told, columns=list(AVERAGE_COLUMNS))
