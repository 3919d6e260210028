"""The singular values of an update, from its thin factors, and what they say of its rank."""

import math

import torch
from scipy.linalg import lapack
from torch import Tensor

from vxlab.analysis.matrices import Update, factors_of, name_kind
from vxlab.errors import VxlabError
from vxlab.spectra.weights import Triplets, column_signs

BLOCK = 256
"""Rows that are widened to float64 and folded into the triangle at a time: as many as take no more memory than the
core of rank 256 that comes after, and twice the speed of 64."""


def update_svd(update: Update) -> Triplets:
    """Return the thin singular value decomposition of ΔW = left·right without forming it.

    With the QR factorisations left = Q₁·R₁ and rightᵀ = Q₂·R₂, the small R₁·R₂ᵀ = P·diag(S)·Tᵀ gives
    ΔW = (Q₁·P)·diag(S)·(Q₂·T)ᵀ. Signs follow one rule: the entry of largest magnitude in each left vector is positive.

    Args:
        update: left ``(out, r)`` and right ``(r, in)`` of any floating dtype and device, taken as exact.

    Returns:
        k = min(out, r, in) triplets in float64 on the CPU: U ``(out, k)``, S ``(k,)`` in descending order, Vh
        ``(k, in)``. U's columns and Vh's rows are orthonormal even where ΔW has a lower rank or is zero: its singular
        values are then 0 up to rounding, about 1e-16 of ‖left‖·‖right‖, and their vectors arbitrary.

    Raises:
        VxlabError: a factor is no matrix of real floating-point numbers, is empty, or holds NaN or infinite values, or
            their ranks differ.

    >>> U, S, Vh = update_svd((torch.tensor([[3.0], [4.0]]), torch.tensor([[0.0, 2.0]])))
    >>> U.shape, [round(value, 12) for value in S.tolist()], Vh.abs().tolist()
    (torch.Size([2, 1]), [10.0], [[0.0, 1.0]])
    """
    left, right = (factor.to("cpu", torch.float64) for factor in factors_of(update))
    (Q1, R1), (Q2, R2) = torch.linalg.qr(left), torch.linalg.qr(right.mT)
    P, S, Th = torch.linalg.svd(R1 @ R2.mT, full_matrices=False)
    U, Vh = Q1 @ P, Th @ Q2.mT
    signs = column_signs(U)
    return Triplets(U * signs, S, signs[:, None] * Vh)


def update_singular_values(update: Update) -> Tensor:
    """Return the singular values of ΔW = left·right without forming it: those of R₁·R₂ᵀ, as in :func:`update_svd`.

    Args:
        update: left ``(out, r)`` and right ``(r, in)`` of any floating dtype and device, taken as exact.

    Returns:
        ``(min(out, r, in),)`` float64 on the CPU, in descending order; all 0 for a zero update.

    Raises:
        VxlabError: as :func:`update_svd`.

    >>> update_singular_values((torch.tensor([[3.0], [4.0]]), torch.tensor([[0.0, 2.0]]))).tolist()
    [10.0]
    """
    left, right = factors_of(update)
    values: Tensor = torch.linalg.svdvals(_core(left, right))
    return values


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


def _core(left: Tensor, right: Tensor) -> Tensor:
    """Return a matrix of ΔW's singular values with at most r rows and columns."""
    return _triangle(left) @ _triangle(right.mT).mT


def _triangle(factor: Tensor) -> Tensor:
    """Return R of factor = Q·R in float64, or the factor where it has no more rows than columns.

    The rows come in blocks, each folded into the triangle so far: neither Q nor a float64 copy of the factor is made.
    """
    rows, rank = factor.shape
    if rows <= rank:
        return factor.to("cpu", torch.float64)
    # Columns one after another, as LAPACK has them, so that it works in place.
    triangle = torch.zeros(rank, rank, dtype=torch.float64).T
    block = torch.empty(rank, min(BLOCK, rows), dtype=torch.float64).T
    for part in torch.split(factor, BLOCK):
        block[: len(part)] = part
        block[len(part) :] = 0
        lapack.dtpqrt(0, min(32, rank), triangle.numpy(), block.numpy(), overwrite_a=True, overwrite_b=True)
    return triangle


def _relative(S: Tensor) -> Tensor:
    """Return S / σ₁ in float64, whose squares neither overflow nor vanish; NaN for a zero matrix."""
    if not isinstance(S, Tensor) or S.dim() != 1 or not S.numel() or not S.is_floating_point():
        raise VxlabError(f"S is {name_kind(S)}; give one or more singular values, a tensor (n,) of a floating dtype")
    values = S.detach().to("cpu", torch.float64)
    if not values.isfinite().all() or (values < 0).any() or (values.diff() > 0).any():
        raise VxlabError("S is no spectrum: singular values are finite, 0 or more, and in descending order; sort them")
    return values / values[0]
