"""Every metric of a sweep's candidates, and what each gains over the untuned base, with intervals."""

import math
from typing import Any

import numpy as np
import pandas as pd

from vxlab.adapters import Base
from vxlab.experiments.scoring import Array, Difference, compare_all, compute, holm, interval
from vxlab.experiments.sweeps import Comparison

METRIC_COLUMNS = (
    "candidate", "metric", "score", "n", "low", "high", "gain", "gain_low", "gain_high", "p_holm", "seeds",
)  # fmt: skip
_NO_GAIN = (math.nan, math.nan, math.nan, math.nan, False)


def metric_scores(result: Comparison) -> pd.DataFrame:
    """Return one row a metric and candidate of a sweep of models that write.

    Columns: ``candidate``, ``metric``; ``score``, the mean over the ``n`` reported runs that finished and in which the
    metric could be computed, and for one run alone ``low`` and ``high``, its 95 % interval over test inputs; ``gain``,
    ``gain_low``, ``gain_high``, the score less the untuned base's with its 95 % interval over test inputs and, where
    ``seeds`` says so, training seeds; ``p_holm``, two-sided, adjusted for all candidates of the metric. NaN where there
    is no such run, and of gains where there is no base.

    Args:
        result: of a fair sweep.
    """
    predictions, labels, units = _predictions(result)
    base = next((name for name, each in result.fair.names.items() if isinstance(each.method, Base)), None)
    metrics = next(iter(result.records.values())).task["metrics"]
    rows = [row for metric in metrics for row in _rows(metric, _with(metric, predictions, labels), labels, units, base)]
    return pd.DataFrame(rows, columns=list(METRIC_COLUMNS))


def _predictions(result: Comparison) -> tuple[dict[str, dict[int, Array]], Array, Array | None]:
    """Return the reported runs' predictions by candidate and seed, the labels, and the units."""
    reports = result.runs[(result.runs["stage"] == "report") & (result.runs["status"] == "finished")]
    found: dict[str, dict[int, Array]] = {name: {} for name in result.fair.names}
    labels = units = None
    for key, candidate, seed in zip(reports["key"], reports["candidate"], reports["seed"], strict=True):
        record = result.records[key]
        predicted, truth = record.predictions()
        found[candidate][0 if pd.isna(seed) else int(seed)] = predicted.numpy()
        labels, units = truth.numpy(), record.units()
    assert labels is not None  # a comparison has a report run that finished
    return {name: runs for name, runs in found.items() if runs}, labels, units


def _with(metric: str, predictions: dict[str, dict[int, Array]], labels: Array) -> dict[str, dict[int, Array]]:
    """Return the runs in which a metric could be computed: without its library, or Java, it is NaN."""
    return {
        name: {seed: each for seed, each in runs.items() if not math.isnan(compute([metric], each, labels)[metric])}
        for name, runs in predictions.items()
    }


def _rows(
    metric: str, predictions: dict[str, dict[int, Array]], labels: Array, units: Array | None, base: str | None
) -> list[dict[str, Any]]:
    gains = _gains(metric, predictions, labels, units, base)
    adjusted = holm([each.p for each in gains.values()])
    p_holm = dict(zip(gains, adjusted.tolist(), strict=True))
    rows = []
    for name, runs in predictions.items():
        scores = [compute([metric], each, labels)[metric] for each in runs.values()]
        low = high = math.nan
        if len(runs) == 1:
            low, high = interval(metric, next(iter(runs.values())), labels, units=units)
        gain = gains.get(name)
        told = (gain.difference, gain.low, gain.high, p_holm[name], gain.covers_seeds) if gain else _NO_GAIN
        row = (name, metric, float(np.mean(scores)) if scores else math.nan, len(runs), low, high, *told)
        rows.append(dict(zip(METRIC_COLUMNS, row, strict=True)))
    return rows


def _gains(
    metric: str, predictions: dict[str, dict[int, Array]], labels: Array, units: Array | None, base: str | None
) -> dict[str, Difference]:
    if base is None or base not in predictions:
        return {}
    # The base comes first, so that of every pair with it the difference is turned alike.
    ordered = {base: predictions[base]} | predictions
    compared = compare_all(ordered, labels, metric, units=units, fixed=[base])
    return {name: compared[base, name].turned() for name in predictions if name != base}
