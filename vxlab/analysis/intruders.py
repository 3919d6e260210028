"""Singular directions of an adapted weight that the weight did not have before."""

import math
from dataclasses import dataclass
from functools import cache

import torch
from scipy.integrate import quad
from torch import Tensor

from vxlab.analysis.matrices import check_matrix, column_basis
from vxlab.analysis.update import Update, check_update
from vxlab.errors import VxlabError


@dataclass(frozen=True)
class Intruders:
    """How many of W + ΔW's leading left singular vectors are unlike all of W's."""

    count: int
    """similarities below the threshold"""
    similarities: Tensor
    """``(top,)`` float64: max_i |cos(u'_j, u_i)| of W + ΔW's j-th left singular vector with W's"""
    chance: float
    """the mean similarity of a direction drawn at random, see :func:`chance_similarity`"""


def intruder_dimensions(weight: Tensor, update: Update, top: int = 10, threshold: float = 0.5) -> Intruders:
    """Count the intruder dimensions of W + ΔW: leading singular directions that are far from all of W's.

    The j-th left singular vector u'_j of W + ΔW, j ≤ top, is an intruder where max_i |u'_jᵀ·u_i| < threshold over W's
    left singular vectors u_i. A threshold near the chance level counts only directions that are no more like W's than
    a random one is; the paper's 0.5 counts any in which no single vector of W has a quarter of the length squared.

    Vectors count as W's where its singular value is above max(out, in)·2⁻⁵²·σ₁, for the others are an arbitrary basis
    of what W does not reach. So where out > in, or W is rank-deficient, W's vectors do not span all outputs, and the
    part of u'_j outside W's column space has cosine 0 with them all: an update that writes there is an intruder, and
    the chance level is lower. Where singular values of W coincide (an identity, a random orthogonal matrix) their
    vectors are an arbitrary choice too, and a small update turns them: similarities then say nothing.

    Args:
        weight: W ``(out, in)`` of any floating dtype and device, before the update.
        update: ΔW.
        top: k, how many leading vectors to look at, 1 to min(out, in).
        threshold: ε, above 0, at most 1.

    Returns:
        The count, the k similarities in descending order of W + ΔW's singular values, and the chance level. Where
        W + ΔW has a rank below k the similarities beyond it are NaN and do not count; where W is zero all are 0.

    Raises:
        VxlabError: top or threshold is out of its range, W or the update is no matrix of finite real numbers, or their
            shapes differ.

    Source: Shuttleworth et al., LoRA vs full fine-tuning: an illusion of equivalence (2024), arXiv 2410.21228,
    algorithm 1, with the absolute cosine, for singular vectors have no sign.

    >>> weight, planted = torch.diag(torch.tensor([3.0, 2.0, 1.0])), torch.tensor([[1.0], [1.0], [1.0]])
    >>> intruder_dimensions(weight, Update(100 * planted, planted.T), top=1, threshold=0.9).count
    1
    >>> intruder_dimensions(weight, Update(0 * planted, planted.T), top=3).similarities.tolist()
    [1.0, 1.0, 1.0]
    """
    W = check_matrix("weight", weight).to("cpu", torch.float64)
    delta = check_update("update", update).to_matrix()
    _check(W, delta, top, threshold)
    before, after = column_basis(W), column_basis(W + delta)[:, :top]
    similarities = torch.full((top,), math.nan, dtype=torch.float64)
    # A row of zeros stands for the empty maximum: nothing is like a zero weight.
    cosines = torch.nn.functional.pad((before.mT @ after).abs(), (0, 0, 0, 1))
    similarities[: after.shape[1]] = cosines.amax(0)
    return Intruders(int((similarities < threshold).sum()), similarities, chance_similarity(len(W), before.shape[1]))


@cache
def chance_similarity(n: int, vectors: int) -> float:
    """Return the mean largest |cosine| of a random direction with m orthonormal vectors: E max |gᵢ| / E ‖g‖.

    A Gaussian vector's direction is independent of its length, so the mean over directions is the quotient of the
    means, exactly: E max |gᵢ| = ∫₀^∞ 1 − erf(t/√2)ᵐ dt over m normal numbers, E ‖g‖ = √2·Γ((n+1)/2) / Γ(n/2) over n.

    Args:
        n: dimensions of the space.
        vectors: m, 0 to n.

    Returns:
        Between 0 (m = 0) and 1 (n = 1), about √(2·ln m / n) for many.

    Raises:
        VxlabError: the number of vectors is out of its range.

    >>> round(chance_similarity(768, 768), 3), round(chance_similarity(2, 1) * math.pi, 12)
    (0.121, 2.0)
    """
    if n < 1 or not 0 <= vectors <= n:
        raise VxlabError(f"vectors={vectors!r} of n={n!r} are no orthonormal vectors of a space; choose 0-n of n ≥ 1")
    if not vectors:
        return 0.0
    # Beyond 12 standard deviations 1 − erf is below 1e-32.
    largest, _ = quad(lambda t: 1 - math.erf(t / math.sqrt(2)) ** vectors, 0, 12, epsabs=1e-12, limit=200)
    length = math.sqrt(2) * math.exp(math.lgamma((n + 1) / 2) - math.lgamma(n / 2))
    return float(largest / length)


def _check(weight: Tensor, delta: Tensor, top: int, threshold: float) -> None:
    if weight.shape != delta.shape:
        raise VxlabError(
            f"weight is {tuple(weight.shape)} and its update {tuple(delta.shape)}; give W and ΔW of one layer"
        )
    if isinstance(top, bool) or not isinstance(top, int) or not 1 <= top <= min(weight.shape):
        raise VxlabError(
            f"top={top!r} is no number of leading singular vectors of a weight {tuple(weight.shape)}; choose "
            f"1-{min(weight.shape)}"
        )
    if not 0 < threshold <= 1:
        raise VxlabError(f"threshold={threshold!r} is no cosine to stay below; choose one above 0, at most 1")
