"""Every metric of a sweep's candidates, and what each gains over the untuned base, with intervals."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from vxlab.adapters import Base
from vxlab.experiments.scoring import NO_DRAWS, Array, Difference, compare_all, compute, holm, interval
from vxlab.experiments.sweeps import Comparison, drawn_shares, lucks_of

METRIC_COLUMNS = (
    "candidate", "metric", "score", "n", "low", "high", "gain", "gain_low", "gain_high", "p_holm", "seeds", "scores",
    "error", "freedom",
)  # fmt: skip
_NO_GAIN = (math.nan, math.nan, math.nan, math.nan, False)


class ReportedRuns(NamedTuple):
    """What a sweep's reported runs answered to the test items, those that finished."""

    predictions: dict[str, dict[Any, Array]]
    """by candidate and seed, or (draw, seed) where they learned from several draws of shots"""
    labels: Array
    """(items,)"""
    units: Array | None
    """(items,) the number of each one's unit, None where each is one"""
    base: str | None
    """the untuned base among the candidates"""
    drawn: Mapping[str, float] = NO_DRAWS
    """by candidate, the share of its class's rows that a draw takes"""

    def only(self, items: Array) -> "ReportedRuns":
        """Return the answers to some of the items.

        Args:
            items: (items,) of bool.
        """
        predictions = {name: {seed: each[items] for seed, each in runs.items()} for name, runs in self[0].items()}
        units = None if self.units is None else self.units[items]
        return self._replace(predictions=predictions, labels=self.labels[items], units=units)


def metric_scores(result: Comparison, items: Array | None = None) -> pd.DataFrame:
    """Return one row a metric and candidate of a sweep of models that answer in words.

    Columns: ``candidate``, ``metric``; ``score``, the mean over the ``n`` reported runs that finished and in which the
    metric could be computed, ``scores``, theirs in the order of their seeds, and for one run alone ``low`` and
    ``high``, its 95 % interval over test inputs; ``gain``, ``gain_low``, ``gain_high``, the score less the untuned
    base's with its 95 % interval over test inputs and, where ``seeds`` says so, training seeds; ``error`` and
    ``freedom``, the gain's standard error and its degrees of freedom; ``p_holm``, two-sided, adjusted for all
    candidates of the metric. NaN where there is no such run, and of gains where there is no base.

    Args:
        result: of a fair sweep.
        items: (test items,) of bool: those that are scored; None is all.
    """
    runs = reported_runs(result)
    runs = runs if items is None else runs.only(items)
    metrics = next(iter(result.records.values())).task["metrics"]
    rows = [row for metric in metrics for row in _rows(metric, _with(metric, runs))]
    return pd.DataFrame(rows, columns=list(METRIC_COLUMNS))


def reported_runs(result: Comparison) -> ReportedRuns:
    """Return the answers of a sweep's reported runs that finished.

    Args:
        result: of a fair sweep.
    """
    reports = result.runs[(result.runs["stage"] == "report") & (result.runs["status"] == "finished")]
    found: dict[str, dict[Any, Array]] = {name: {} for name in result.fair.names}
    labels = units = None
    for key, candidate, luck in zip(reports["key"], reports["candidate"], lucks_of(reports), strict=True):
        record = result.records[key]
        predicted, truth = record.predictions()
        found[candidate][luck] = predicted.numpy()
        labels, units = truth.numpy(), record.units()
    assert labels is not None  # a comparison has a report run that finished
    base = next((name for name, each in result.fair.names.items() if isinstance(each.method, Base)), None)
    drawn = drawn_shares(reports, result.records)
    return ReportedRuns({name: runs for name, runs in found.items() if runs}, labels, units, base, drawn)


def _with(metric: str, runs: ReportedRuns) -> ReportedRuns:
    """Return the runs in which a metric could be computed: without its library, or Java, it is NaN."""
    known = {
        name: {seed: each for seed, each in own.items() if not math.isnan(compute([metric], each, runs.labels)[metric])}
        for name, own in runs.predictions.items()
    }
    return runs._replace(predictions=known)


def _rows(metric: str, runs: ReportedRuns) -> list[dict[str, Any]]:
    gains = gains_over_base(metric, runs)
    adjusted = holm([each.p for each in gains.values()])
    p_holm = dict(zip(gains, adjusted.tolist(), strict=True))
    rows = []
    for name, own in runs.predictions.items():
        scores = [compute([metric], own[seed], runs.labels)[metric] for seed in sorted(own)]
        low = high = math.nan
        if len(own) == 1:
            low, high = interval(metric, next(iter(own.values())), runs.labels, units=runs.units)
        gain = gains.get(name)
        told = (gain.difference, gain.low, gain.high, p_holm[name], gain.covers_seeds) if gain else _NO_GAIN
        wobble = (gain.error, gain.freedom) if gain else (math.nan, math.nan)
        mean = float(np.mean(scores)) if scores else math.nan
        row = (name, metric, mean, len(own), low, high, *told, tuple(scores), *wobble)
        rows.append(dict(zip(METRIC_COLUMNS, row, strict=True)))
    return rows


def gains_over_base(metric: str, runs: ReportedRuns) -> dict[str, Difference]:
    """Return each candidate's expected score less the untuned base's; {} where there is no base.

    Args:
        metric: of the runs' task.
        runs: in all of which it could be computed.
    """
    base, predictions = runs.base, runs.predictions
    if base is None or base not in predictions:
        return {}
    # The base comes first, so that of every pair with it the difference is turned alike.
    ordered = {base: predictions[base]} | predictions
    compared = compare_all(ordered, runs.labels, metric, units=runs.units, fixed=[base], drawn=runs.drawn)
    return {name: compared[base, name].turned() for name in predictions if name != base}
