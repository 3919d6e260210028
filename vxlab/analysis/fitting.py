"""The best that LoRA, LoRA-XS and LiDB can do at a given matrix, in closed form."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vxlab.analysis.matrices import ROUNDING
from vxlab.errors import VxlabError
from vxlab.spectra import all_values


class Fit(NamedTuple):
    """m matrices fitted by ``T ≈ left @ right``, in float64 on the CPU."""

    error: Tensor
    """(m,) ``‖T − left·right‖²_F``; divided by out·in it is the mean squared error"""
    left: Tensor
    """(m, out, r)"""
    right: Tensor
    """(m, r, in)"""


def fit_lora(targets: Tensor, rank: int) -> Fit:
    """Fit the best matrix of a rank: the first r singular triplets.

    The error is the tail ``Σ_{k>r} σ_k²``: 0 from r = min(out, in) on.

    Args:
        targets: T, ``(m, out, in)`` of any floating dtype and device, finite.
        rank: r, 1 or more.

    Raises:
        VxlabError: the targets are no such stack, or the rank is below 1.

    >>> fit_lora(torch.diag(torch.tensor([3.0, 2.0, 1.0]))[None], rank=1).error
    tensor([5.], dtype=torch.float64)

    Source: Eckart and Young, The approximation of one matrix by another of lower rank, Psychometrika 1936.
    """
    U, S, Vh = torch.linalg.svd(checked_targets(targets), full_matrices=False)
    _check_rank(rank)
    left = U[..., :rank] * S[:, None, :rank]
    return Fit(S[:, rank:].square().sum(-1), left, Vh[:, :rank])


def lora_errors(targets: Tensor, ranks: Sequence[int]) -> Tensor:
    """Return :func:`fit_lora`'s errors at several ranks, ``(m, len(ranks))``, from one decomposition.

    >>> lora_errors(torch.diag(torch.tensor([3.0, 2.0, 1.0]))[None], [1, 2, 3])
    tensor([[5., 1., 0.]], dtype=torch.float64)
    """
    stack = checked_targets(targets)
    wide = stack.shape[-2] < stack.shape[-1]  # LAPACK takes less than half the time for a tall matrix
    squares = torch.stack(all_values([*(stack.mT if wide else stack)])).square()
    for rank in ranks:
        _check_rank(rank)
    return torch.stack([squares[:, rank:].sum(-1) for rank in ranks], dim=-1)


def fit_lora_xs(targets: Tensor, left: Tensor, right: Tensor) -> Fit:
    """Fit ``T ≈ left·R·right`` in R: ``R = left⁺·T·right⁺``, which is least squares.

    Only the spaces of the bases matter to the error, so Σ on either side changes nothing here, although it changes
    training.

    Args:
        targets: T, ``(m, out, in)``.
        left: ``(out, r)`` for all targets, or ``(m, out, r)``; its columns may depend on each other.
        right: ``(r, in)`` or ``(m, r, in)``.

    Raises:
        VxlabError: shapes that do not fit, or targets that are no stack of finite matrices.

    >>> identity = torch.eye(3)
    >>> fit_lora_xs(torch.full((1, 3, 3), 2.0), identity[:, :2], identity[:2]).error
    tensor([20.], dtype=torch.float64)

    Source: Bałazy et al., LoRA-XS (2024), arXiv 2405.17604, where the bases are W's singular vectors.
    """
    targets = checked_targets(targets)
    left, right = _basis("left", left, targets, -2), _basis("right", right, targets, -1)
    core = _least_squares(right.mT, _least_squares(left, targets).mT).mT
    return _fitted(targets, left @ core, right)


def fit_lidb(targets: Tensor, left: Tensor, right: Tensor, rank: int) -> Fit:
    """Fit ``T ≈ left·X·right`` in X of a rank: LiDB's A·B between its two frozen bases.

    With Q_l and Q_r orthonormal bases of the two spaces, X is the best of its rank at ``Q_lᵀ·T·Q_r``; what T has
    outside the spaces is lost whatever the rank.

    Args:
        targets: T, ``(m, out, in)``.
        left: A_aux, ``(out, a)`` for all targets, or ``(m, out, a)``; its columns may depend on each other.
        right: B_aux, ``(b, in)`` or ``(m, b, in)``; so may its rows.
        rank: r, 1 or more.

    Raises:
        VxlabError: shapes that do not fit, targets that are no stack of finite matrices, or a rank below 1.

    >>> identity = torch.eye(3)
    >>> fit_lidb(torch.diag(torch.tensor([3.0, 2.0, 1.0]))[None], identity[:, :2], identity[:2], rank=1).error
    tensor([5.], dtype=torch.float64)

    Source: Ruiz et al., HyperDreamBooth (2023), arXiv 2307.06949, Lightweight DreamBooth.
    """
    targets = checked_targets(targets)
    left, right = _basis("left", left, targets, -2), _basis("right", right, targets, -1)
    Q_left, Q_right = _orthonormal(left), _orthonormal(right.mT)
    core = fit_lora(Q_left.mT @ targets @ Q_right, rank)
    return _fitted(targets, Q_left @ core.left, core.right @ Q_right.mT)


def checked_targets(targets: Tensor) -> Tensor:
    """Return a stack of matrices in float64 on the CPU.

    Raises:
        VxlabError: it is no ``(m, out, in)`` with entries, or holds NaN or infinite values.
    """
    if targets.ndim != 3 or not targets.numel():
        raise VxlabError(f"targets {tuple(targets.shape)} is not a stack of matrices; give (m, out, in)")
    stack = targets.detach().cpu().double()
    if not stack.isfinite().all():
        raise VxlabError(f"targets {tuple(targets.shape)} holds NaN or infinite values; give finite ones")
    return stack


def _least_squares(columns: Tensor, wanted: Tensor) -> Tensor:
    """Return columns⁺ @ wanted, by a QR that finds columns which depend on others."""
    solution: Tensor = torch.linalg.lstsq(columns.expand(len(wanted), -1, -1), wanted, driver="gelsy").solution
    return solution


def _orthonormal(columns: Tensor) -> Tensor:
    """Return orthonormal bases of column spaces, with columns of 0 where they have fewer dimensions than columns.

    A QR would fill up with directions outside the space. The threshold is :func:`column_basis`'s; in a stack, ranks
    differ from matrix to matrix, so no column is dropped.
    """
    U, S, _ = torch.linalg.svd(columns, full_matrices=False)
    inside = S.gt(max(columns.shape[-2:]) * ROUNDING * S[..., :1])
    return torch.where(inside[..., None, :], U, 0.0)


def _fitted(targets: Tensor, left: Tensor, right: Tensor) -> Fit:
    right = right.expand(len(targets), *right.shape[-2:])
    # From the residual itself: ‖T‖² − ‖fit‖² loses the digits of a small error.
    return Fit((targets - left @ right).square().sum((-2, -1)), left, right)


def _basis(name: str, basis: Tensor, targets: Tensor, side: int) -> Tensor:
    m, out_features, in_features = targets.shape
    fits = basis.ndim == 2 or (basis.ndim == 3 and len(basis) == m)
    if not fits or basis.shape[side] != targets.shape[side]:
        wanted = f"({out_features}, r)" if side == -2 else f"(r, {in_features})"
        raise VxlabError(
            f"{name} {tuple(basis.shape)} does not fit targets {tuple(targets.shape)}; give {wanted}, or {m} of these"
        )
    return basis.detach().cpu().double()


def _check_rank(rank: int) -> None:
    if rank < 1:
        raise VxlabError(f"rank={rank} is below 1; choose 1 or more")
