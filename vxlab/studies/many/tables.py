"""Ratios of timed rounds, with their intervals, as tables."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from vxlab.experiments.scoring import Evidence, of_median
from vxlab.studies.many.throughput import MIXED, ONE, THEIRS


def throughput_table(seconds: pd.DataFrame) -> pd.DataFrame:
    """Return how fast mixed batches are, a row for each of :func:`mixed_throughput`'s.

    Columns: ``candidate``, ``stage``, ``rows``, ``tokens``; ``one``, ``mixed`` and ``peft``, median seconds; ``speed``,
    the median over rounds of one adapter's seconds ÷ the mixed batch's (1: no cost at all), ``speed_low`` and
    ``speed_high``, its 95 % interval by the sign test (missing below six rounds); ``over_peft`` with its ``_low`` and
    ``_high``, PEFT's seconds ÷ the mixed batch's; and ``in_a_second``, rows of a mixed batch in a second.
    """
    rows = []
    for row in seconds.to_dict("records"):
        median = {name: float(np.median(row[name])) if len(row[name]) else np.nan for name in (ONE, MIXED, THEIRS)}
        found = _three("speed", row[ONE], row[MIXED]) | _three("over_peft", row[THEIRS], row[MIXED])
        own = {name: row[name] for name in ("candidate", "stage", "rows", "tokens")}
        rows.append(own | median | found | {"in_a_second": row["rows"] / median[MIXED]})
    return pd.DataFrame(rows)


def pace_table(pace: pd.DataFrame) -> pd.DataFrame:
    """Return how many times as fast runs are in one pass, a row for each of :func:`stacking_pace`'s.

    Columns: ``candidate``, ``texts``, ``tokens``, ``width``, ``reason``; ``alone`` and ``stacked``, median seconds of a
    run's step; ``times_faster``, the median over rounds of their ratio, with its ``_low`` and ``_high``.
    """
    rows = []
    for row in pace.to_dict("records"):
        own = {name: row[name] for name in ("candidate", "texts", "tokens", "width", "reason")}
        median = {name: float(np.median(row[name])) if len(row[name]) else np.nan for name in ("alone", "stacked")}
        rows.append(own | median | _three("times_faster", row["alone"], row["stacked"]))
    return pd.DataFrame(rows)


def ratio_of(above: Sequence[float], below: Sequence[float]) -> Evidence:
    """Return the evidence of the median ratio of seconds, paired by round; NaN without any."""
    if not len(above):
        return of_median([])
    return of_median([a / b for a, b in zip(above, below, strict=True)])


def _three(name: str, above: Sequence[float], below: Sequence[float]) -> dict[str, Any]:
    found = ratio_of(above, below)
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
