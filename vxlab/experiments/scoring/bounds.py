"""Intervals of scores whose error rate is all that is uncertain: accuracies, and perfect scores."""

import math

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from vxlab.experiments.scoring.formulas import OF_COUNTS, Array
from vxlab.experiments.scoring.jackknife import wobbles
from vxlab.experiments.scoring.unit_statistics import Units


def of_accuracy(right: Array, units: Units, level: float) -> tuple[float, float]:
    """Return Wilson's interval of a share of items: with units, at the number of independent items they are worth.

    Their effective number is items / design effect, at least 1, which is the variance over units (the jackknife's) to
    that of independent items, and the normal quantile becomes Student's at the units' degrees of freedom.

    Args:
        right: (items,) of bool.
        units: of the items.
        level: coverage.

    Source:
        Korn and Graubard, Confidence intervals for proportions with small expected number of positive counts
        estimated from survey data, 1998. Dean and Pagano, Evaluating confidence interval methods for binomial
        proportions in clustered surveys, 2015.
    """
    share, items = float(right.mean()), len(right)
    if units.single:
        return _wilson(share, items, float(ndtri((1 + level) / 2)))
    by_unit = float(np.var(wobbles("accuracy", right, np.ones(items), units), ddof=1))
    effect = units.design_effect(by_unit, share * (1 - share) / (items - 1))
    return _wilson(share, items / effect, float(stdtrit(units.freedom(effect), (1 + level) / 2)))


def tail(units: Units, level: float) -> float:
    """Return the share of resamples to leave out at either end of a percentile interval.

    Of units that hold several items fewer than (1 - level) / 2, Φ(-t·√((f + 1) / f)) with Student's t at the f degrees
    of freedom: the percentiles of few units' resamples lie too near.

    Args:
        units: of the items.
        level: coverage.

    Source:
        Hesterberg, What teachers should know about the bootstrap, 2015, on the expanded percentile interval.
    """
    if units.single:
        return (1 - level) / 2
    freedom = units.freedom(1)
    return float(ndtr(-float(stdtrit(freedom, (1 + level) / 2)) * math.sqrt((freedom + 1) / freedom)))


def of_perfect(name: str, true: Array, units: Units, level: float) -> tuple[float, float]:
    """Return the interval of a perfect score: from the metric at the largest error rate that Wilson's interval allows.

    The errors are spread evenly, over the items and over the other classes. NaN where there are no other classes.

    Args:
        name: a metric of classes.
        true: (items,) classes.
        units: of the items.
        level: coverage.
    """
    sizes = np.bincount(true.astype(np.int64))
    sizes = sizes if name == "f1" else sizes[sizes > 0]
    if len(sizes) < 2:
        return math.nan, math.nan
    right, _ = of_accuracy(np.ones(len(true), dtype=bool), units, level)
    wrong = (np.ones((len(sizes), len(sizes))) - np.eye(len(sizes))) * (1 - right) / (len(sizes) - 1)
    return float(OF_COUNTS[name](sizes[:, None] * (wrong + right * np.eye(len(sizes))))), 1.0


def _wilson(share: float, items: float, quantile: float) -> tuple[float, float]:
    more = quantile**2 / items
    middle, half = share + more / 2, math.sqrt(more * (share * (1 - share) + more / 4))
    low, high = (middle - half) / (1 + more), (middle + half) / (1 + more)
    # Rounding must not move the ends that are certain.
    return (0.0 if share == 0 else low), (1.0 if share == 1 else high)
