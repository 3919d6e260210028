"""What singular values say of a matrix's rank."""

import math

import torch
from torch import Tensor

from vxlab.analysis.matrices import name_kind
from vxlab.errors import VxlabError


def energy(S: Tensor) -> Tensor:
    """Return the share of ‖W‖²_F that the first k singular triplets hold: Σ_{i≤k} σᵢ² / Σ σᵢ² for k = 1, 2, …

    Args:
        S: ``(n,)`` singular values in descending order.

    Returns:
        ``(n,)`` float64, rising to 1; NaN throughout for a zero matrix, which has no energy to share.

    Raises:
        VxlabError: S is no list of finite singular values in descending order.

    >>> energy(torch.tensor([2.0, 1.0, 1.0, 0.0])).tolist()
    [0.6666666666666666, 0.8333333333333334, 1.0, 1.0]
    """
    cumulated = _relative(S).square().cumsum(0)
    return cumulated / cumulated[-1]


def rank_for_energy(S: Tensor, share: float) -> int:
    """Return the smallest rank whose best approximation keeps a share of ‖W‖²_F (Eckart-Young: the first k triplets).

    Args:
        S: ``(n,)`` singular values in descending order.
        share: above 0, at most 1. A share of 1 counts the singular values whose square still moves the sum in
            float64, those above about 1e-8·σ₁.

    Returns:
        1 to n; 0 for a zero matrix.

    Raises:
        VxlabError: the share is out of its range, or S is no list of singular values in descending order.

    >>> rank_for_energy(torch.tensor([2.0, 1.0, 1.0, 0.0]), 0.9)
    3
    """
    if not 0 < share <= 1:
        raise VxlabError(f"share={share!r} is no share of the energy; choose one above 0 and at most 1")
    shares = energy(S)
    return 0 if shares.isnan().any() else int((shares < share).sum()) + 1


def stable_rank(S: Tensor) -> float:
    """Return ‖W‖²_F / ‖W‖²₂ = Σ σᵢ² / σ₁²: between 1 and the rank, and blind to small singular values.

    Args:
        S: ``(n,)`` singular values in descending order.

    Returns:
        The stable rank; 0 for a zero matrix.

    Raises:
        VxlabError: S is no list of finite singular values in descending order.

    Source: Rudelson and Vershynin, Sampling from large matrices (2007), Journal of the ACM 54(4).

    >>> stable_rank(torch.tensor([2.0, 1.0, 1.0, 0.0]))
    1.5
    """
    return float(_relative(S).square().sum().nan_to_num(0.0))


def effective_rank(S: Tensor) -> float:
    """Return exp(−Σ pᵢ·ln pᵢ) with pᵢ = σᵢ / Σ σⱼ: how many equal singular values would be as spread as these.

    Args:
        S: ``(n,)`` singular values in descending order.

    Returns:
        Between 1 and the rank; 0 for a zero matrix.

    Raises:
        VxlabError: S is no list of finite singular values in descending order.

    Source: Roy and Vetterli, The effective rank: a measure of effective dimensionality (EUSIPCO 2007), definition 1.

    >>> round(effective_rank(torch.tensor([5.0, 5.0, 5.0, 0.0])), 12)
    3.0
    """
    relative = _relative(S)
    if relative.isnan().any():
        return 0.0
    shares = relative / relative.sum()
    return math.exp(float(torch.special.entr(shares).sum()))


def condition_number(S: Tensor) -> float:
    """Return σ₁ / σ_n, how unevenly the matrix stretches.

    Args:
        S: ``(n,)`` singular values in descending order. For an update those of its factors' rank, so that the zeros
            beyond it do not count.

    Returns:
        1 or more; infinite where σ_n = 0, and beyond about 1e15 no more than a sign that σ_n is 0 up to rounding; NaN
        for a zero matrix.

    Raises:
        VxlabError: S is no list of finite singular values in descending order.

    >>> condition_number(torch.tensor([8.0, 4.0, 2.0]))
    4.0
    """
    return float(1 / _relative(S)[-1])


def _relative(S: Tensor) -> Tensor:
    """Return S / σ₁ in float64, whose squares neither overflow nor vanish; NaN for a zero matrix."""
    if not isinstance(S, Tensor) or S.dim() != 1 or not S.numel() or not S.is_floating_point():
        raise VxlabError(f"S is {name_kind(S)}; give one or more singular values, a tensor (n,) of a floating dtype")
    values = S.detach().to("cpu", torch.float64)
    if not values.isfinite().all() or (values < 0).any() or (values.diff() > 0).any():
        raise VxlabError("S is no spectrum: singular values are finite, 0 or more, and in descending order; sort them")
    return values / values[0]
