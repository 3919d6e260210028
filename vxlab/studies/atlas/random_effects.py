"""One difference over several tasks: what it is expected to be on another task like these."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vxlab.errors import VxlabError
from vxlab.experiments.scoring import Array, Evidence, from_error, no_evidence

_STEPS = 64
"""points between which each round looks for the variance between tasks"""
_ROUNDS = 8


class Pooled(NamedTuple):
    """A difference pooled over tasks, in the unit of the differences."""

    evidence: Evidence
    """of the mean over tasks like these; over so many tasks as it says"""
    between: float = math.nan
    """τ, the standard deviation of the true difference from task to task; NaN of fewer than two tasks"""
    error: float = math.nan
    """standard error of the mean"""

    @property
    def p(self) -> float:
        """Two-sided p-value of no difference."""
        return 2 * min(self.evidence.tails(0))


def pool_tasks(differences: Sequence[float] | Array, errors: Sequence[float] | Array) -> Pooled:
    """Pool a difference over tasks, which are the unit: the random-effects mean with Hartung's and Knapp's interval.

    The difference y_t of task t, of standard error s_t, is drawn around a true one that is itself drawn around μ with
    variance τ². τ² is the restricted maximum likelihood's; w_t = 1 / (s_t² + τ²) and μ = Σ w_t·y_t / Σ w_t. Its
    variance is max(1, q) / Σ w_t, q = Σ w_t·(y_t − μ)² / (T − 1), and its interval Student's of T − 1 degrees of
    freedom. Without the 1 the interval of a few tasks that happen to agree would be narrower than their own errors
    allow.

    A pair's own tasks alone tell how much it varies from one to another. Candidates of one family follow each other
    from task to task, and of two families do not: an error pooled over pairs is too small for the one kind, which it
    tells apart more often than it says, and hides small differences of the other.

    Args:
        differences: (tasks,) one a task; NaN where it was not measured, and left out.
        errors: (tasks,) their standard errors, above 0; NaN is left out.

    Returns:
        Of one task its difference without an interval; of none NaN.

    Raises:
        VxlabError: the two are of different lengths, a number is infinite, or an error is not above 0.

    Source:
        DerSimonian and Laird, Meta-analysis in clinical trials, 1986, for the model. Viechtbauer, Bias and efficiency
        of meta-analytic variance estimators in the random-effects model, 2005, for REML. Hartung and Knapp, On tests of
        the overall treatment effect in meta-analysis with normally distributed responses, 2001; Sidik and Jonkman, A
        simple confidence interval for meta-analysis, 2002. Röver, Knapp and Friede, Hartung-Knapp-Sidik-Jonkman
        approach and its modification for random-effects meta-analysis with few studies, 2015, for the 1.

    >>> found = pool_tasks([2.1, 1.4, 3.0, 1.9], [0.5, 0.6, 0.5, 0.7])
    >>> print(found.evidence.in_words("+.2f", " points", over="4 tasks"), round(found.between, 2))
    +2.16 points (+1.03 to +3.29, 4 tasks) 0.43
    """
    y, s = np.asarray(differences, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    if y.shape != s.shape or y.ndim != 1:
        raise VxlabError(f"differences has shape {y.shape} and errors {s.shape}; give one error a task")
    known = ~(np.isnan(y) | np.isnan(s))
    y, s = y[known], s[known]
    if not (np.isfinite(y).all() and np.isfinite(s).all() and (s > 0).all()):
        raise VxlabError(f"errors={s.tolist()} of differences={y.tolist()}: give finite numbers, and errors above 0")
    if len(y) < 2:
        return Pooled(no_evidence(float(y[0]) if len(y) else math.nan, len(y)))
    tau = math.sqrt(_between(y, s**2))
    weights = 1 / (s**2 + tau**2)
    mean = float((weights * y).sum() / weights.sum())
    q = float((weights * (y - mean) ** 2).sum()) / (len(y) - 1)
    error = math.sqrt(max(1.0, q) / float(weights.sum()))
    return Pooled(from_error(mean, error, len(y) - 1, len(y)), tau, error)


def _between(y: Array, within: Array) -> float:
    """Return the variance between tasks of the highest restricted likelihood, 0 or above."""
    low, high = 0.0, 4 * float(np.var(y, ddof=1)) + float(np.ptp(y)) ** 2
    if high == 0:
        return 0.0
    # The likelihood may have two tops: a whole range is looked over, finer and finer, and not climbed.
    grid = np.concatenate([[0.0], np.geomspace(1e-8 * high, high, _STEPS)])
    for _ in range(_ROUNDS):
        best = int(np.argmax(_likelihood(grid, y, within)))
        low, high = grid[max(0, best - 1)], grid[min(len(grid) - 1, best + 1)]
        grid = np.linspace(low, high, _STEPS)
    return float(grid[int(np.argmax(_likelihood(grid, y, within)))])


def _likelihood(between: Array, y: Array, within: Array) -> Array:
    """Return the logarithm of the restricted likelihood of each variance between tasks, but for a constant."""
    weights = 1 / (within + between[:, None])
    means = (weights * y).sum(axis=1, keepdims=True) / weights.sum(axis=1, keepdims=True)
    fit = (weights * (y - means) ** 2).sum(axis=1)
    likelihood: Array = (np.log(weights).sum(axis=1) - np.log(weights.sum(axis=1)) - fit) / 2
    return likelihood
