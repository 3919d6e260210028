"""What chance alone would give: randomly rotated updates, and intervals of means by resampling."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from vxlab.analysis.update import Update, check_update
from vxlab.errors import VxlabError

FEW = 8
"""Below so many values resampling knows too little of their spread, and Student's t is taken."""


class RotationTest(NamedTuple):
    """A cosine beside those of the same two updates after random rotations of one."""

    cosine: float
    p: float
    """two-sided: how often chance is at least as far from 0; from 1/(samples + 1) to 1"""
    low: float
    """of the middle 95 % of what chance gives"""
    high: float


def rotate(update: Update, seed: int) -> Update:
    """Return an update with the same singular values and uniformly random singular vectors on both sides.

    Args:
        update: ΔW.
        seed: of the rotations.

    Returns:
        float64 factors of k = min(out, r, in) columns and rows on the CPU.
    """
    generator = torch.Generator().manual_seed(seed)
    S = check_update("update", update).singular_values()
    U, V = (_random_frame(n, len(S), generator) for n in update.shape)
    return Update(U * S, V.mT)


def rotation_test(a: Update, b: Update, samples: int = 200, seed: int = 0) -> RotationTest:
    """Test whether two updates are more alike, or more opposed, than b's singular values alone would make them.

    Args:
        a: one update.
        b: the other update of the same layer; it is :func:`rotate` for every sample.
        samples: 40 or more; p cannot fall below 1/(samples + 1).
        seed: of the rotations.

    Returns:
        The cosine, its p-value and the middle 95 % of chance; all NaN where an update is zero.

    Raises:
        VxlabError: as :meth:`~vxlab.analysis.update.Update.cosine`, or too few samples.

    Source: of (1 + count) / (1 + samples): Phipson and Smyth, Permutation p-values should never be zero (2010).
    """
    if samples < 40:
        raise VxlabError(f"samples={samples} cannot show the outer 5 % of chance; choose 40 or more")
    observed = check_update("a", a).cosine(b)
    if math.isnan(observed):
        return RotationTest(math.nan, math.nan, math.nan, math.nan)
    chance = _drawn(a.singular_values(), b.singular_values(), a.shape, samples, seed)
    p = (1 + int((np.abs(chance) >= abs(observed)).sum())) / (1 + samples)
    low, high = np.quantile(chance, [0.025, 0.975])
    return RotationTest(observed, p, float(low), float(high))


def bootstrap_interval(values: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """Return the mean of independent values and its 95 % interval, a bootstrap's from eight values on.

    Percentiles of 10,000 resampled means, taken further out as Student's t is. Resampled means reach no further than
    the values themselves, so of fewer than eight the interval is Student's own: in 1,500 draws it covers the mean of 2
    to 6 normal or uniform values 93 to 95 times in 100 and of exponential ones 87 to 91 times, where percentiles taken
    further out cover that of 2, 3 and 4 normal values 47, 75 and 87 times. It may leave the range that values can have.

    Args:
        values: one a unit that was drawn independently, such as a matrix, a batch or a training seed; NaN are left
            out. Layers of one run are not independent.
        seed: of the resampling.

    Returns:
        mean, low and high; the latter two NaN for fewer than two values, all NaN for none.

    Source: Hesterberg, What teachers should know about the bootstrap (2015), The American Statistician 69(4), section
    5.3, the expanded percentile interval.

    >>> bootstrap_interval([2.0, 2.0, 2.0])
    (2.0, 2.0, 2.0)
    """
    known = np.array([value for value in values if not math.isnan(value)], dtype=np.float64)
    n = len(known)
    if n < 2:
        return (float(known[0]) if n else math.nan), math.nan, math.nan
    if n < FEW:
        mean, half = float(known.mean()), float(stats.t.ppf(0.975, n - 1) * known.std(ddof=1)) / math.sqrt(n)
        return mean, mean - half, mean + half
    tail = expanded_tail(0.025, n)
    low, high = np.quantile(resampled_means(known, seed), [tail, 1 - tail])
    return float(known.mean()), float(low), float(high)


def resampled_means(values: NDArray[np.float64], seed: int = 0) -> NDArray[np.float64]:
    """Return 10,000 means of as many values drawn again with replacement."""
    n = len(values)
    means: NDArray[np.float64] = values[np.random.default_rng(seed).integers(0, n, (10_000, n))].mean(axis=1)
    return means


def expanded_tail(tail: float, n: int) -> float:
    """Return the share of resampled means beyond the one-sided limit of a tail: Φ(√(n/(n - 1))·t), t of n - 1.

    Source: as :func:`bootstrap_interval`.
    """
    return float(stats.norm.cdf(math.sqrt(n / (n - 1)) * stats.t.ppf(tail, n - 1)))


def _drawn(first: Tensor, second: Tensor, shape: tuple[int, int], samples: int, seed: int) -> NDArray[np.float64]:
    """Draw the cosine of diag(first) and a random rotation U·diag(second)·Vᵀ: Σ_ij firstᵢ·secondⱼ·U_ij·V_ij.

    Only how the two lie to each other matters, so the first one's singular vectors may be the coordinates.
    """
    generator = torch.Generator().manual_seed(seed)
    first, second = first / first.norm(), second / second.norm()
    drawn = np.empty(samples)
    for i in range(samples):
        U, V = (_random_frame(n, len(second), generator)[: len(first)] for n in shape)
        drawn[i] = float(first @ (U * V) @ second)
    return drawn


def _random_frame(n: int, k: int, generator: torch.Generator) -> Tensor:
    """Return ``(n, k)`` uniformly random orthonormal columns: of a QR factorisation with a positive diagonal."""
    Q, R = torch.linalg.qr(torch.randn(n, k, generator=generator, dtype=torch.float64))
    frame: Tensor = Q * R.diagonal().sign()
    return frame
