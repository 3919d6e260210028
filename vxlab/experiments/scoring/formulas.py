"""The metrics' formulas: of counted classes, of two columns of numbers, and of summed statistics of texts."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vxlab.experiments.scoring.text_formulas import OF_SUMS

Array = NDArray[Any]


def score_metric(name: str, predicted: Array, true: Array) -> float:
    """Return one metric of predictions already checked: ``(items,)`` classes or outputs, or its statistics; no NaN."""
    if name in OF_SUMS:
        return float(OF_SUMS[name](predicted.sum(axis=0)))
    if name in OF_COUNTS:
        return float(OF_COUNTS[name](counts(predicted, true)))
    return OF_VALUES[name](predicted, true)


def counts(predicted: Array, true: Array) -> Array:
    """Count (true, predicted) pairs: ``(classes, classes)``."""
    p, t = predicted.astype(np.int64), true.astype(np.int64)
    classes = int(max(p.max(), t.max())) + 1
    return np.bincount(t * classes + p, minlength=classes**2).reshape(classes, classes)


def number_values(values: Array) -> Array:
    """Number the distinct values from 0 up."""
    return np.unique(values, return_inverse=True)[1]


def pearson_of_ranks(predicted: Array, true: Array) -> float:
    """Correlate the ranks of two arrays of such numbers, or of parts of them; ties share their mean rank."""
    how_many = np.bincount(predicted), np.bincount(true)
    p, t = ((count.cumsum() - (count - 1) / 2) for count in how_many)
    return _pearson(p[predicted], t[true])


# These are scikit-learn's and SciPy's definitions (the tests hold them equal), without their checks of every call: a
# bootstrap makes thousands of calls, at milliseconds each there. Those of classes take a stack of counts at once.
def _accuracy(pairs: Array) -> Array:
    return np.asarray(_hits(pairs) / pairs.sum(axis=(-2, -1)))


def _f1(pairs: Array) -> Array:
    return np.asarray(_f1_by_class(pairs)[..., 1] if pairs.shape[-1] > 1 else np.zeros(pairs.shape[:-2]))


def _f1_macro(pairs: Array) -> Array:
    occurs = pairs.sum(axis=-2) + pairs.sum(axis=-1) > 0
    return np.asarray((_f1_by_class(pairs) * occurs).sum(axis=-1) / occurs.sum(axis=-1))


def _f1_by_class(pairs: Array) -> Array:
    total = pairs.sum(axis=-2) + pairs.sum(axis=-1)  # 2TP + FP + FN
    return np.asarray(2 * np.diagonal(pairs, axis1=-2, axis2=-1) / np.where(total > 0, total, 1))


def _matthews(pairs: Array) -> Array:
    pairs = pairs.astype(np.float64)
    items, by_true, by_predicted = pairs.sum(axis=(-2, -1)), pairs.sum(axis=-1), pairs.sum(axis=-2)
    covariance = _hits(pairs) * items - (by_true * by_predicted).sum(axis=-1)
    spread = (items**2 - (by_true**2).sum(axis=-1)) * (items**2 - (by_predicted**2).sum(axis=-1))
    return np.asarray(np.where(spread > 0, covariance, 0) / np.sqrt(np.where(spread > 0, spread, 1)))


def _hits(pairs: Array) -> Array:
    return np.asarray(np.trace(pairs, axis1=-2, axis2=-1))


def _pearson(predicted: Array, true: Array) -> float:
    if np.ptp(predicted) == 0 or np.ptp(true) == 0:
        return 0.0
    # Dividing by the range first keeps the squares of tiny differences from vanishing.
    p, t = ((values - values.mean()) / np.ptp(values) for values in (predicted, true))
    return float(np.clip((p / np.linalg.norm(p)) @ (t / np.linalg.norm(t)), -1, 1))


def _spearman(predicted: Array, true: Array) -> float:
    return pearson_of_ranks(number_values(predicted), number_values(true))


OF_COUNTS: dict[str, Callable[[Array], Array]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "f1_macro": _f1_macro,
    "matthews": _matthews,
}
"""(..., classes, classes) counts of (true, predicted) to (...) scores"""
OF_VALUES: dict[str, Callable[[Array, Array], float]] = {"pearson": _pearson, "spearman": _spearman}
METRICS = (*OF_COUNTS, *OF_VALUES, *OF_SUMS)
