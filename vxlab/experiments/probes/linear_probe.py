"""A linear classifier or a ridge regression on given features, its strength chosen by cross-validation."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vxlab.errors import VxlabError
from vxlab.experiments.scoring import compute

Array = NDArray[np.float64]

CLASS_STRENGTHS = tuple(float(f"{10 ** (step / 2):.3g}") for step in range(-8, 5))
"""C of the logistic regression, from the strongest penalty: the loss is Σ cross-entropy + ‖W‖²/(2C)."""
RIDGE_STRENGTHS = tuple(float(f"{10 ** (step / 2):.3g}") for step in range(10, -3, -1))
"""α of the ridge regression, from the strongest penalty: the loss is Σ (y - ŷ)² + α‖w‖²."""
FOLDS = 5
ABSENT = -1e4
"""The logit of a class that no training row has: its probability is 0."""

_STEPS, _TOLERANCE = 10_000, 1e-5
_STILL = 1e-5
"""A feature whose spread is so small a share of its mean is constant but for rounding."""


class Linear(NamedTuple):
    """A fitted map from features to logits, or to the answer of a regression."""

    weight: Array
    """(outputs, width), for features as they are; of two classes, half the coefficients and their negatives"""
    bias: Array
    """(outputs,)"""

    def logits(self, features: NDArray[Any]) -> Array:
        """Return (rows, outputs); their softmax is the classifier's probability."""
        return features.astype(np.float64) @ self.weight.T + self.bias


class Strength(NamedTuple):
    """A penalty, and how it was found."""

    value: float
    folds: int
    """of the cross-validation; 0 where there can be none, and validation chose"""
    edge: str
    """``low`` or ``high`` where it is the least or the greatest tried, else "" """


def strengths(num_labels: int) -> tuple[float, ...]:
    """Return the strengths tried, from the strongest penalty on."""
    return RIDGE_STRENGTHS if num_labels == 1 else CLASS_STRENGTHS


def fit(features: NDArray[Any], labels: NDArray[Any], num_labels: int, strength: float) -> Linear:
    """Fit scikit-learn's LogisticRegression (multinomial), or its Ridge, on features standardised on these rows.

    Args:
        features: (rows, width).
        labels: (rows,) class ids, or targets.
        num_labels: number of classes; 1 means regression.
        strength: C, or α.

    Raises:
        VxlabError: the solver does not converge.
    """
    X = features.astype(np.float64)
    mean, spread = X.mean(0), X.std(0)
    spread[spread <= _STILL * np.abs(mean)] = 1.0
    Z = (X - mean) / spread
    weight, bias = _ridge(Z, labels, strength) if num_labels == 1 else _classes(Z, labels, num_labels, strength)
    weight = weight / spread
    return Linear(weight, bias - weight @ mean)


def cross_validate(
    features: NDArray[Any],
    labels: NDArray[Any],
    num_labels: int,
    metric: str,
    units: NDArray[Any] | None = None,
    done: Callable[[], object] = lambda: None,
) -> Strength | None:
    """Return the strength whose predictions of held-out rows score best, of equals the one of the strongest penalty.

    Classes are spread over the folds alike, and rows of one unit stay together. There are as many folds as the most
    frequent class has rows, or as there are units, where these are fewer than :data:`FOLDS`. Every fold's model is
    fitted and standardised on the other folds alone, and all held-out predictions are scored at once.

    Args:
        features: (rows, width) of the training split.
        labels: (rows,) class ids, or targets.
        num_labels: number of classes; 1 means regression.
        metric: whose score decides.
        units: (rows,) what is independent; None: every row.
        done: called after each strength.

    Returns:
        The strength; None where there are not two folds.

    Raises:
        VxlabError: as :func:`fit`.
    """
    folds = _folds(labels, num_labels, units)
    if len(folds) < 2:
        return None
    tried = strengths(num_labels)
    scores = []
    for strength in tried:
        held_out = np.empty((len(labels), num_labels))
        for train, held in folds:
            held_out[held] = fit(features[train], labels[train], num_labels, strength).logits(features[held])
        scores.append(compute([metric], held_out, labels)[metric])
        done()
    return best_strength(scores, num_labels, len(folds))


def best_strength(scores: list[float], num_labels: int, folds: int) -> Strength:
    """Return the strength with the best of the scores of :func:`strengths`, the first of equals."""
    tried, best = strengths(num_labels), int(np.argmax(scores))
    edge = {min(tried): "low", max(tried): "high"}.get(tried[best], "")
    return Strength(tried[best], folds, edge)


def _folds(
    labels: NDArray[Any], num_labels: int, units: NDArray[Any] | None
) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Return (train, held-out) rows of each fold, the same at every call; none where two folds cannot be had."""
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    most = len(labels) if num_labels == 1 else int(np.bincount(labels).max())
    number = min(FOLDS, most, len(labels) if units is None else len(np.unique(units)))
    if number < 2:
        return []
    plain, grouped = (KFold, GroupKFold) if num_labels == 1 else (StratifiedKFold, StratifiedGroupKFold)
    kind = plain if units is None else grouped
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")  # which some folds then lack
        folds = kind(number, shuffle=True, random_state=0).split(labels, labels, units)
        return [(train, held) for train, held in folds if len(train) and len(held)]


def _classes(Z: Array, labels: NDArray[Any], num_labels: int, C: float) -> tuple[Array, Array]:
    weight, bias = np.zeros((num_labels, Z.shape[1])), np.full(num_labels, ABSENT)
    present = np.unique(labels)
    if len(present) == 1:  # as in a fold that lacks a rare class
        bias[present] = 0.0
        return weight, bias
    coefficients, intercepts = _logistic(Z, labels, C)
    if len(present) == 2:
        coefficients, intercepts = (np.concatenate([-each, each]) / 2 for each in (coefficients, intercepts))
    weight[present], bias[present] = coefficients, intercepts
    return weight, bias


def _logistic(Z: Array, labels: NDArray[Any], C: float) -> tuple[Array, Array]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    # Matrices of a probe's size leave BLAS's threads waiting for one another: two take many times as long as one. And
    # with one the digits do not depend on how many there are.
    with warnings.catch_warnings(), threadpool_limits(1, user_api="blas"):
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            fitted = LogisticRegression(C=C, tol=_TOLERANCE, max_iter=_STEPS).fit(Z, labels)
        except ConvergenceWarning as error:
            raise VxlabError(
                f"the probe's classifier at C={C:g} did not converge within {_STEPS:,} steps ({error}); try another "
                "model or precision='float32'"
            ) from error
    return fitted.coef_, fitted.intercept_


def _ridge(Z: Array, targets: NDArray[Any], alpha: float) -> tuple[Array, Array]:
    from sklearn.linear_model import Ridge

    fitted = Ridge(alpha=alpha).fit(Z, targets)
    return fitted.coef_[None], np.array([fitted.intercept_])
