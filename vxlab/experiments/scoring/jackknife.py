"""How far a score moves with other test items, unit by unit: the jackknife's pseudo-values, or resamples."""

import math

import numpy as np

from vxlab.experiments.scoring.formulas import OF_COUNTS, Array, counts
from vxlab.experiments.scoring.text_formulas import OF_SUMS
from vxlab.experiments.scoring.unit_statistics import Units

_AT_ONCE = 2**21  # numbers in a stack of counts


def wobbles(name: str, predicted: Array, true: Array, units: Units) -> Array:
    """Return numbers whose variance (divisor one less than they are) is that of a score under other units.

    -(G - 1) / √G · (score without unit g), for each of the G units. Left out whole, a large unit weighs more than its
    share, which makes up for how well the score fits it: without that, intervals over few and unequal units are
    too narrow. Of two candidates on the same items their differences are the wobbles of the score's difference.

    Args:
        name: a metric of classes, or of sums.
        predicted: (items,) classes, or (items, columns) the metric's own statistics.
        true: (items,) classes, which a metric of sums does not look at.
        units: of the items.

    Returns:
        (units,).

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 11. MacKinnon, Nielsen and Webb,
        Leverage, influence, and the jackknife in clustered regression models, 2023.
    """
    total = len(units.sizes)
    return -(total - 1) / math.sqrt(total) * _without_each(name, predicted, true, units)


def _without_each(name: str, predicted: Array, true: Array, units: Units) -> Array:
    """Return the scores without each unit."""
    if name in OF_SUMS:
        by_unit = units.sums(predicted)
        return OF_SUMS[name](by_unit.sum(axis=0) - by_unit)
    all_items = counts(predicted, true)
    classes = len(all_items)
    kind = true.astype(np.int64) * classes + predicted.astype(np.int64)
    if units.single:  # items alike in class and answer count alike
        kinds, place = np.unique(kind, return_inverse=True)
        of, many = np.arange(len(kinds)), len(kinds)
    else:
        kinds, of, many, place = kind, units.of, len(units.sizes), np.arange(len(units.sizes))
    step = max(1, _AT_ONCE // classes**2)
    scores = [
        OF_COUNTS[name](all_items - _counts_in(kinds, of, start, min(start + step, many), classes))
        for start in range(0, many, step)
    ]
    return np.concatenate(scores)[place]


def _counts_in(kinds: Array, of: Array, start: int, stop: int, classes: int) -> Array:
    """Return the (stop - start, classes, classes) counts of the units from ``start`` on."""
    here = (of >= start) & (of < stop)
    places = (of[here] - start) * classes**2 + kinds[here]
    return np.bincount(places, minlength=(stop - start) * classes**2).reshape(-1, classes, classes)
