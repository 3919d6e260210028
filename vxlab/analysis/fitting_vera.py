"""The best that VeRA can do at a given matrix: its two vectors fitted by a search with many starts."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from vxlab.analysis.fitting import checked_targets
from vxlab.errors import VxlabError
from vxlab.spectra import in_threads

STARTS = 24
"""Random starts of a round; a quarter of them goes on after a few steps, and two go to the end."""
ROUNDS = 8
"""Rounds of starts at most, for a matrix whose error each round still lowers."""
_GAIN = 1e-3  # a round that lowers the error by a smaller share gained nothing
_PATIENCE = 2  # such rounds in a row, and the search ends
_ZERO = 1e-14  # of ‖T‖²: an error that rounding makes
_SETTLED = 1e-6  # a Newton step that lowers the error by a smaller share is the last
_RIDGE = 1e-11  # of the mean diagonal: normal equations of more unknowns than matrix entries are singular
_BLOCK = 1 << 17  # float64 numbers, 1 MiB: stacks of matrices that leave the processor's cache take four times as long


class VeraFit(NamedTuple):
    """VeRA fitted to m matrices, ``T ≈ diag(b)·B·diag(d)·A``, in float64 on the CPU."""

    error: Tensor
    """(m,) ``‖T − fit‖²_F``"""
    b: Tensor
    """(m, out)"""
    d: Tensor
    """(m, r); b and d share a scale, chosen so that d's entries have a root mean square of 1"""
    rounds: Tensor
    """(m,) rounds of starts that each matrix took"""


def fit_vera(
    targets: Tensor, A: Tensor, B: Tensor, *, starts: int = STARTS, rounds: int = ROUNDS, seed: int = 0
) -> VeraFit:
    """Fit ``T ≈ diag(b)·B·diag(d)·A`` in b and d, least squares, searched until further starts gain nothing.

    With K = A·Aᵀ and P = B ∘ (T·Aᵀ): for a given d the best b is, row by row, ``b_i = (P·d)_i / q_i`` with
    ``q_i = (B_i ∘ d)ᵀ·K·(B_i ∘ d)``; for a given b the best d solves ``[(Bᵀ·diag(b²)·B) ∘ K]·d = Pᵀ·b``. The error
    has many local minima. A round takes random d, alternates the two a few times, and goes on with the better ones by
    Newton's method on the error as a function of d alone (b eliminated), damped so that it only falls. Rounds are
    repeated, matrix by matrix, until two in a row lower the error by less than a thousandth.

    Args:
        targets: T, ``(m, out, in)``, finite.
        A: ``(r, in)`` for all targets, or ``(m, r, in)``, one for each. Its scale does not matter, nor does B's.
        B: ``(out, r)`` or ``(m, out, r)``.
        starts: random starts of a round, 1 or more.
        rounds: rounds at most, 1 or more.
        seed: of the starts.

    Returns:
        The best fit found; a zero target has error 0 and b = 0. On random 10×10 matrices its mean error is within 1 %
        of the best of 50 starts that are all followed to the end; at ranks from 40 on, a single matrix's may be a few
        percent above.

    Raises:
        VxlabError: shapes that do not fit, targets that are not finite, or no starts.

    >>> A, B = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0], [3.0]])
    >>> float(fit_vera(torch.tensor([[[1.0, 2.0], [-5.0, -10.0]]]), A, B).error) < 1e-12
    True

    Source: Kopiczko, Blankevoort, Asano, VeRA (ICLR 2024), arXiv 2310.11454, equation 2; its Figure 6 fits random
    matrices by gradient descent instead.
    """
    if min(starts, rounds) < 1:
        raise VxlabError(f"starts={starts}, rounds={rounds}: give 1 or more of each")
    problem = _problem(checked_targets(targets), A, B)
    generator = torch.Generator().manual_seed(seed)
    m, _, rank = problem.B.shape
    total = problem.T.square().sum((-2, -1))
    error, d = torch.full_like(total, torch.inf), torch.ones(m, rank).double()
    taken, fruitless, active = torch.zeros(m).long(), torch.zeros(m).long(), torch.arange(m)
    while len(active) and int(taken.max()) < rounds:
        d0 = torch.randn(len(active), starts, rank, generator=generator, dtype=torch.float64)
        found, lower = _round(problem.of(active), d0)
        taken[active] += 1
        fruitless[active] = torch.where(lower < (1 - _GAIN) * error[active], 0, fruitless[active] + 1)
        better = lower < error[active]
        error[active[better]], d[active[better]] = lower[better], found[better]
        active = active[(fruitless[active] < _PATIENCE) & (error[active] > _ZERO * total[active])]
    return VeraFit(error, _point(problem, d[:, None]).b[:, 0], d, taken)


class _Problem(NamedTuple):
    """Targets and frozen pairs, and the two products that every step needs."""

    T: Tensor
    A: Tensor
    B: Tensor
    K: Tensor
    P: Tensor

    def of(self, members: Tensor | slice) -> "_Problem":
        return _Problem(*(each[members] for each in self))


class _Point(NamedTuple):
    """The error at d, (m, starts, r), with the best b for it, and what derivatives need."""

    error: Tensor
    b: Tensor
    q: Tensor
    M: Tensor
    """B·diag(d)·A, (m, starts, out, in)"""


def _problem(targets: Tensor, A: Tensor, B: Tensor) -> _Problem:
    m, out_features, in_features = targets.shape
    rank = A.shape[-2] if A.ndim > 1 else 0
    sides = A.shape[-2:] == (rank, in_features) and B.shape[-2:] == (out_features, rank) and rank
    if not sides or any(each.shape[:-2] not in ((), (m,)) for each in (A, B)):
        raise VxlabError(
            f"A {tuple(A.shape)} and B {tuple(B.shape)} do not fit targets {tuple(targets.shape)}; "
            f"give A (r, {in_features}) and B ({out_features}, r), or {m} of each"
        )
    A, B = (each.detach().cpu().double().expand(m, -1, -1) for each in (A, B))
    return _Problem(targets, A, B, A @ A.mT, B * (targets @ A.mT))


def _round(problem: _Problem, d: Tensor) -> tuple[Tensor, Tensor]:
    """Return the best d of a round, and its error, for each matrix."""
    size = max(1, _BLOCK // (2 * d.shape[-1] ** 2))
    blocks = [slice(i, i + size) for i in range(0, len(d), size)]
    found = in_threads(lambda block: _searched(problem.of(block), d[block]), blocks)
    return torch.cat([each for each, _ in found]), torch.cat([lower for _, lower in found])


def _searched(problem: _Problem, d: Tensor) -> tuple[Tensor, Tensor]:
    """Take all starts a few steps, a quarter of them some more, and two of those to the end."""
    d = _two_at_a_time(_alternated, problem, d, 6)
    d = _two_at_a_time(_newton, problem, _best(problem, d, max(1, d.shape[1] // 4)), 8)
    d = _newton(problem, _best(problem, d, 2), 30)
    d = _best(problem, d, 1)
    return d[:, 0], _point(problem, d).error[:, 0]


def _two_at_a_time(
    stage: Callable[[_Problem, Tensor, int], Tensor], problem: _Problem, d: Tensor, steps: int
) -> Tensor:
    width = max(2, _BLOCK // (len(d) * d.shape[-1] ** 2))
    return torch.cat([stage(problem, d[:, i : i + width], steps) for i in range(0, d.shape[1], width)], dim=1)


def _best(problem: _Problem, d: Tensor, keep: int) -> Tensor:
    order = _point(problem, d).error.argsort(dim=1)[:, :keep, None]
    return d.gather(1, order.expand(-1, -1, d.shape[-1]))


def _alternated(problem: _Problem, d: Tensor, steps: int) -> Tensor:
    """Solve for b and for d in turn."""
    for _ in range(steps):
        b = _point(problem, d).b
        G = _gram(problem, b)
        diagonal = G.diagonal(dim1=-2, dim2=-1)
        diagonal += _RIDGE * diagonal.mean(-1, keepdim=True)
        d = _unit(_solved(G, b @ problem.P, d))
    return d


def _newton(problem: _Problem, d: Tensor, steps: int) -> Tensor:
    """Lower the error by Newton steps in d; one that would raise it is taken back and damped more."""
    point = _point(problem, d)
    damping = torch.full_like(point.error, 1e-2)
    for _ in range(steps):
        moved = _unit(d - _step(problem, d, point, damping))
        new = _point(problem, moved)
        fell = new.error < point.error
        gain = torch.where(fell, point.error - new.error, 0.0)
        settled = bool((gain <= _SETTLED * point.error)[fell | (damping < 1)].all())
        d = torch.where(fell[..., None], moved, d)
        point = _Point(*(torch.where(_like(fell, old), each, old) for each, old in zip(new, point, strict=True)))
        damping = torch.where(fell, damping * 0.3, damping * 8).clamp(1e-9, 1e3)
        if settled:
            break
    return d


def _step(problem: _Problem, d: Tensor, point: _Point, damping: Tensor) -> Tensor:
    """Return H⁻¹·gradient, H the damped Hessian of the error in d with b eliminated: the Schur complement in both."""
    H = _gram(problem, point.b)
    gradient = (H @ d[..., None])[..., 0] - point.b @ problem.P
    mixed = 2 * point.b[..., None] * problem.B[:, None] * _times(point.M, problem.A.mT) - problem.P[:, None]
    mixed /= point.q.clamp_min(torch.finfo(torch.float64).tiny).sqrt()[..., None]
    diagonal = H.diagonal(dim1=-2, dim2=-1)
    damped = diagonal * damping[..., None]
    H -= mixed.mT @ mixed
    diagonal += damped
    return _solved(H, gradient, torch.zeros_like(d))


def _point(problem: _Problem, d: Tensor) -> _Point:
    M = _times(problem.B[:, None] * d[..., None, :], problem.A)
    q = M.square().sum(-1)
    b = torch.where(q > 0, (problem.T[:, None] * M).sum(-1) / q, 0.0)
    # From the residual itself: where a row of M all but vanishes, ‖T‖² − Σ(P·d)²/q promises an error that is not had.
    return _Point((problem.T[:, None] - b[..., None] * M).square().sum((-2, -1)), b, q, M)


def _gram(problem: _Problem, b: Tensor) -> Tensor:
    G = problem.B[:, None].mT @ (b.square()[..., None] * problem.B[:, None])
    G *= problem.K[:, None]
    return G


def _solved(H: Tensor, right: Tensor, otherwise: Tensor) -> Tensor:
    """Solve H·x = right where H is positive definite."""
    factor, failed = torch.linalg.cholesky_ex(H)
    return torch.where((failed == 0)[..., None], torch.cholesky_solve(right[..., None], factor)[..., 0], otherwise)


def _times(X: Tensor, Y: Tensor) -> Tensor:
    """Return X (m, starts, out, k) times Y (m, k, n): one product a matrix, without copies of Y for its starts."""
    m, starts, rows, _ = X.shape
    return (X.flatten(1, 2) @ Y).reshape(m, starts, rows, Y.shape[-1])


def _unit(d: Tensor) -> Tensor:
    """Scale d to entries of root mean square 1; b takes the scale up. A zero d, of a zero target, stays."""
    size = d.square().mean(-1, keepdim=True).sqrt()
    return torch.where(size > 0, d / size, d)


def _like(condition: Tensor, tensor: Tensor) -> Tensor:
    return condition.reshape(condition.shape + (1,) * (tensor.ndim - condition.ndim))
