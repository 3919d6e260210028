"""What thin factors alone say of their product left·right: its norm, its inner products, and its triangles."""

import math

import torch
from scipy.linalg import lapack
from torch import Tensor

BLOCK = 256
"""Rows that are widened to float64 and folded into the triangle at a time: as many as take no more memory than the
core of rank 256 that comes after, and twice the speed of 64."""

STRIP = 128
"""Rows of a symmetric Gram matrix that are computed at a time, from the diagonal on: 3/4 of it at rank 256, where fewer
rows would save operations and lose as much to small products."""

CANCELS = 1e-4
"""Below this share ‖left·right‖² / (‖left‖²·‖right‖²) the factors cancel, and Gram matrices would cost more than four
of float64's sixteen digits. Random factors of rank r are at 1/r."""


def gram_product(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> float:
    """Return ``⟨L_a·R_a, L_b·R_b⟩ = Σ (L_aᵀL_b) ∘ (R_a·R_bᵀ)``, a strip of columns at a time.

    Args:
        a: float64 left ``(out, r)`` and right ``(r, in)``, not checked.
        b: the same of the other matrix; the ranks may differ.
    """
    total = 0.0
    for left, right in zip(torch.split(b[0], 2 * STRIP, dim=1), torch.split(b[1], 2 * STRIP), strict=True):
        total += _dot(a[0].mT @ left, a[1] @ right.mT)
    return total


def gram_norm(left: Tensor, right: Tensor) -> float:
    """Return ‖left·right‖_F from the upper triangles of leftᵀ·left and right·rightᵀ, or NaN where the factors cancel.

    Args:
        left: float64 ``(out, r)``, not checked.
        right: ``(r, in)``.
    """
    total = left_trace = right_trace = 0.0
    for start in range(0, left.shape[1], STRIP):
        stop = start + STRIP
        P, Q = left[:, start:stop].mT @ left[:, start:], right[start:stop] @ right[start:].mT
        total += 2 * _dot(P, Q) - _dot(P[:, :STRIP], Q[:, :STRIP])
        left_trace, right_trace = left_trace + float(P.trace()), right_trace + float(Q.trace())
    return math.sqrt(total) if total > CANCELS * left_trace * right_trace else math.nan


def triangle(factor: Tensor) -> Tensor:
    """Return R of factor = Q·R in float64, or the factor where it has no more rows than columns.

    The rows come in blocks, each folded into the triangle so far: neither Q nor a float64 copy of the factor is made.

    Args:
        factor: ``(n, r)`` of any floating dtype and device.
    """
    rows, rank = factor.shape
    if rows <= rank:
        return factor.to("cpu", torch.float64)
    # Columns one after another, as LAPACK has them, so that it works in place.
    folded = torch.zeros(rank, rank, dtype=torch.float64).T
    block = torch.empty(rank, min(BLOCK, rows), dtype=torch.float64).T
    for part in torch.split(factor, BLOCK):
        block[: len(part)] = part
        block[len(part) :] = 0
        lapack.dtpqrt(0, min(32, rank), folded.numpy(), block.numpy(), overwrite_a=True, overwrite_b=True)
    return folded


def _dot(a: Tensor, b: Tensor) -> float:
    return float(torch.dot(a.reshape(-1), b.reshape(-1)))
