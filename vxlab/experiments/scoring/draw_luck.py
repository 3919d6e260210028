"""How much the luck of a draw moves scores and differences: all candidates learn from the same few draws of rows."""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
from scipy.special import fdtri

from vxlab.experiments.scoring.formulas import Array
from vxlab.experiments.scoring.seed_luck import UNSTEADY, Luck, seed_luck


def draw_luck(scores: Mapping[str, Array]) -> dict[str, Luck]:
    """Return each candidate's luck over draws: as :func:`seed_luck` has it, on the freedom of the draws alone.

    Candidates share their draws, so what one has by a good draw the others have too: more candidates tell no more of
    how much a draw matters.

    Args:
        scores: candidate to its scores by draw, (draws,).
    """
    most = max(map(len, scores.values()), default=0)
    return {name: luck._replace(freedom=min(luck.freedom, most - 1)) for name, luck in seed_luck(scores).items()}


def paired_luck(scores: Mapping[str, Array]) -> dict[tuple[str, str], Luck]:
    """Return the luck of every pair's difference on one draw, for candidates on the same draws, two or more.

    What a draw does to all alike cancels. What is left, how one and the other take a draw and the seeds of the two
    runs, is pooled: with the residuals e of scores less their candidate's and their draw's mean, the variance of a
    difference is 2·Σ e² / ((C - 1)·(D - 1)). Candidates of one family take a draw alike, and pairs of two families then
    differ more than the pool says: so the freedom is not (C - 1)·(D - 1), but that times Box's ε, as the residuals have
    it; and the pair's own variance is kept beside as the least. A candidate that stands out keeps its pairs' own.

    Args:
        scores: candidate to its scores, (draws,) in the same order of draws.

    Source:
        Box, Some theorems on quadratic forms applied in the study of analysis of variance problems II, 1954. Greenhouse
        and Geisser, On methods in the analysis of profile data, 1959.
    """
    steady = dict(scores)
    while len(steady) > 2 and (name := _unsteady(steady)) is not None:
        del steady[name]
    pool = _pooled(steady)
    found = {}
    for a, b in combinations(scores, 2):
        own = float(np.var(scores[a] - scores[b], ddof=1))
        alone = Luck(own, len(scores[a]) - 1, own)
        found[a, b] = pool._replace(own=own) if a in steady and b in steady else alone
    return found


def widening(draws: int, overlap: float) -> float:
    """Return how many times as large the variance of a mean over draws is, as the draws share rows: 1 + D·ρ / (1 - ρ).

    Two draws of k rows from a class's n have k²/n of them in common, so that their scores correlate by ρ = k/n, and
    differ less than draws of fresh rows would: their variance is (1 - ρ) of that, and no number of draws tells how far
    other rows than these n would lie.

    Args:
        draws: of which the mean is.
        overlap: ρ, 0 to below 1.

    Source:
        Nadeau and Bengio, Inference for the generalization error, Machine Learning 2003, for resampled training sets.

    >>> widening(5, 0.0), widening(5, 0.5)
    (1.0, 6.0)
    """
    return 1 + draws * overlap / (1 - overlap)


def _centred(scores: Mapping[str, Array]) -> Array:
    """Return the (candidates, draws) residuals of scores less their candidate's and their draw's mean."""
    table: Array = np.array(list(scores.values()), dtype=np.float64)
    table -= table.mean(axis=0)
    table -= table.mean(axis=1, keepdims=True)
    return table


def _pooled(scores: Mapping[str, Array]) -> Luck:
    residuals = _centred(scores)
    candidates, draws = residuals.shape
    if candidates < 2:
        return Luck(0.0, 1, 0.0)
    covariance = residuals @ residuals.T / (draws - 1)
    squares = float((covariance**2).sum())
    # Box's ε times C - 1: how many directions of difference the draws move apart from each other.
    directions = float(np.trace(covariance)) ** 2 / squares if squares > 0 else 1.0
    variance = 2 * float(np.trace(covariance)) / (candidates - 1)
    return Luck(variance, max(1.0, directions) * (draws - 1), variance)


def _unsteady(scores: Mapping[str, Array]) -> str | None:
    """Return the candidate that takes the draws too differently to be one of these, as after a collapsed run."""
    table, (candidates, draws) = _centred(scores), (len(scores), len(next(iter(scores.values()))))
    total = float((table**2).sum())
    # A candidate's distance from the mean of the others: its own part of the squares, on draws - 1 degrees of freedom.
    own = (table**2).sum(axis=1) * candidates / (candidates - 1)
    largest, rest_freedom = int(own.argmax()), (candidates - 2) * (draws - 1)
    rest = total - float(own[largest])
    limit = fdtri(draws - 1, rest_freedom, 1 - UNSTEADY / candidates)
    stands_out = rest > 0 and own[largest] / (draws - 1) > limit * rest / rest_freedom
    return list(scores)[largest] if stands_out else None
