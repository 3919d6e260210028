"""The largest singular triplets of a large matrix, at a fraction of a decomposition's price, where they converge.

A block Krylov space in float32 finds the subspace; float64 turns it into triplets and measures their residuals, which
alone decide whether they are used.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

ANGLE = 3e-5
"""Largest angle, in radians, that the residuals leave between an accepted direction and the exact subspace.

Of a triplet it is ``‖Wᵀ·u − σ·v‖`` over the gap between σ and the last value computed, some beyond those asked for. The
energy captured then falls short of the best by a share of less than ``ANGLE²``, 1e-9. What float32 leaves is usually a
thirtieth of it.
"""

LEAST_SIDE = 2048
"""Matrices with a smaller side below this are decomposed in full: it takes a second."""

LARGEST_SHARE = 1 / 16
"""Largest share of the singular triplets for which this pays."""

_BLOCK = 32  # fewer columns at a time converge in a smaller space, but move the matrix through memory as often
_SPACE = 3 / 8  # of the smaller side: a larger Krylov space costs as much as it would save
_JUDGED = 0.3  # of the steps, after which what converges can be told from what does not;
_FILLED = 2.5  # and not before the space is this many times what is kept
_ACCELERATION = 2.5  # the residuals' logarithm falls this many times faster later on, from a flat spectrum's measured
_ROWS = 256  # widened to float64 at a time


class Leading(NamedTuple):
    """The largest triplets of W, in descending order, in float64 on the matrix's device."""

    U: Tensor
    """(out, count)"""
    S: Tensor
    """(count,)"""
    V: Tensor
    """(in, count)"""
    values: Tensor
    """(more than count,); those beyond the next one are lower bounds"""


def is_worthwhile(weight: Tensor, count: int) -> bool:
    """Say whether the largest triplets of a matrix are looked for here: it is large, they are few, it is no float64.

    Args:
        weight: W, ``(out, in)``.
        count: how many triplets.
    """
    n = min(weight.shape)
    return n >= LEAST_SIDE and count <= LARGEST_SHARE * n and weight.dtype != torch.float64


def leading_triplets(weight: Tensor, count: int) -> Leading | None:
    """Return the largest singular triplets; None where they do not converge, or something larger was missed.

    Block Golub-Kahan-Lanczos, its right vectors fully reorthogonalised, builds a Krylov space from a fixed start in
    float32. The best right vectors in it, V, a quarter more than asked for, are refined by one product in float64:
    the decomposition of W·V turns them into triplets with W·V = U·diag(S), and what that leaves of Wᵀ·U − V·diag(S)
    is compared with :data:`ANGLE`. Residuals say that triplets are W's, not that they are its largest: a second,
    independent start is driven through what V leaves of W, and nothing above the last triplet may turn up.

    On another device, or with other threads, rounding in float32 moves a direction by about 1e-6 radians.

    Args:
        weight: W, ``(out, in)``, of any floating dtype but float64 and any device, finite and not zero throughout.
        count: how many triplets.

    Source: Golub, Luk and Overton, A block Lanczos method for computing the singular values and corresponding singular
    vectors of a matrix (1981); block size and number of steps against the gap: Musco and Musco, Randomized block
    Krylov methods (2015), arXiv 1504.05477.
    """
    W, exponent = _scaled(weight)
    wanted = count + 1  # the next one tells whether the last stands apart
    transposed = W.mT.contiguous()  # products with Wᵀ take half the time
    right = _subspace(W, transposed, wanted, wanted + max(16, wanted // 4))
    if right is None:
        return None
    U, S, V = _ritz_triplets(W, right)
    residuals = (_times(transposed, U[:, :wanted]) - V[:, :wanted] * S[:wanted]).norm(dim=0)
    if not _largest_angle(residuals, S) <= ANGLE or _norm_beside(W, transposed, V) > S[count - 1]:
        return None
    values = S * 2.0**exponent
    return Leading(U[:, :count], values[:count], V[:, :count], values)


def _scaled(weight: Tensor) -> tuple[Tensor, int]:
    """Return W in float32 with entries whose squares float32 can hold, and the power of two it was divided by."""
    W = weight.detach().float()
    exponent = math.frexp(float(torch.stack(W.aminmax()).abs().max()))[1]
    exponent = max(-126, min(exponent, 126)) if abs(exponent) > 30 else 0
    return (W * 2.0**-exponent if exponent else W), exponent


def _subspace(W: Tensor, transposed: Tensor, wanted: int, kept: int) -> Tensor | None:
    """Return approximate right singular vectors ``(in, kept)`` in float64; None where the first do not converge."""
    steps = int(_SPACE * min(W.shape)) // _BLOCK
    right = W.new_empty((steps + 1) * _BLOCK, W.shape[1]).mT  # its columns lie one after the other in memory
    right[:, :_BLOCK] = _normalise(_gaussian(W, seed=0))[0]
    B = torch.zeros(steps * _BLOCK, steps * _BLOCK, dtype=torch.float64, device=W.device)  # leftᵀ·W·right
    judged = max(_JUDGED * steps, _FILLED * kept / _BLOCK)
    left, check, before = W.new_empty(W.shape[0], 0), -(-3 * kept // _BLOCK), (0, math.inf)
    for step in range(1, steps + 1):
        start, stop = (step - 1) * _BLOCK, step * _BLOCK
        left, coefficients = _orthogonal(W @ right[:, start:stop], left)
        B[stop - len(coefficients) : stop, start:stop] = coefficients
        new, coefficients = _orthogonal(transposed @ left, right[:, :stop])
        right[:, stop : stop + _BLOCK] = new
        if step in (check, steps):
            values, vectors = _largest(B[:stop, :stop], kept)
            # Wᵀ·left leaves the space by the last block alone.
            tails = (B[start:stop, :stop] @ vectors / values)[:, :wanted]
            angle = _largest_angle((coefficients[stop:].double() @ tails).norm(dim=0), values)
            if angle <= ANGLE / 3:
                return right[:, :stop].double() @ vectors
            if not math.isfinite(angle) or (step >= judged and not _is_hopeful(angle, before, step, steps)):
                return None
            check, before = step + max(2, step // 6), (step, angle)
    return None


def _largest_angle(residuals: Tensor, values: Tensor) -> float:
    """Return the largest angle to the exact subspace that residuals allow; not finite where there is no gap."""
    return float((residuals / (values[: len(residuals)] - values[-1])).max())


def _largest(B: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the largest singular values and right singular vectors of a small matrix."""
    squares, vectors = torch.linalg.eigh(B.mT @ B)
    return squares.flip(0)[:count].clamp_min(0).sqrt(), vectors.flip(1)[:, :count]


def _is_hopeful(angle: float, before: tuple[int, float], step: int, steps: int) -> bool:
    """Say whether an angle that falls as it does, and faster later on, gets there in the steps that are left."""
    rate = math.log(before[1] / angle) / (step - before[0])
    return math.log(angle) - _ACCELERATION * rate * (steps - step) <= math.log(ANGLE / 3)


def _orthogonal(block: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """Return an orthonormal basis Q of what a block adds, and its coefficients in the basis and in Q.

    Twice each, so that Q stays orthonormal to the basis where the block adds next to nothing.
    """
    inside = basis.mT @ block
    Q, R = _normalise(block - basis @ inside)
    again = basis.mT @ Q
    Q, correction = _normalise(Q - basis @ again)
    return Q, torch.cat([inside + again @ R, correction @ R])


def _normalise(block: Tensor) -> tuple[Tensor, Tensor]:
    """Return Q and R of a block, by Cholesky's factor of its Gram matrix in float64, which hardly needs LAPACK."""
    wide = block.double()
    R, failed = torch.linalg.cholesky_ex(wide.mT @ wide, upper=True)
    if failed:  # columns that depend on each other, to float64
        Q, R = torch.linalg.qr(wide)
    else:
        Q = torch.linalg.solve_triangular(R, wide, upper=True, left=False)
    return Q.to(block.dtype), R.to(block.dtype)


def _ritz_triplets(W: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the best triplets whose right vectors lie in a space: W·V = U·diag(S) holds as written."""
    V = torch.linalg.qr(right).Q
    U, S, rotation = torch.linalg.svd(_times(W, V), full_matrices=False)
    return U, S, V @ rotation.mT


def _norm_beside(W: Tensor, transposed: Tensor, V: Tensor) -> float:
    """Return a lower bound of ‖W − W·V·Vᵀ‖₂, from a few power iterations on vectors that the start had no part in."""
    V = V.float()
    Y = W @ _beside(_gaussian(W, seed=1), V)
    for _ in range(2):
        Y = W @ _beside(transposed @ Y, V)
    return float(torch.linalg.matrix_norm(Y, 2))


def _beside(X: Tensor, V: Tensor) -> Tensor:
    """Return an orthonormal basis of X without what of it lies in V."""
    return _normalise(X - V @ (V.mT @ X))[0]


def _times(W: Tensor, X: Tensor) -> Tensor:
    """Return W·X in float64, without a copy of W in it."""
    return torch.cat([W[i : i + _ROWS].double() @ X for i in range(0, len(W), _ROWS)])


def _gaussian(W: Tensor, seed: int) -> Tensor:
    # Drawn on the CPU, so that every device starts from the same.
    return torch.randn(W.shape[1], _BLOCK, generator=torch.Generator().manual_seed(seed)).to(W.device)
