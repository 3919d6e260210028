"""How far two subspaces agree: principal angles, overlap, the energy inside, each with what chance would give."""

import torch
from torch import Tensor

from vxlab.analysis.matrices import ROUNDING, check_matrix, column_basis
from vxlab.analysis.update import Update, check_update
from vxlab.checks import require_count
from vxlab.errors import VxlabError


def principal_angles(A: Tensor, B: Tensor) -> Tensor:
    """Return the principal angles between two column spaces.

    With orthonormal bases Qa and Qb, cos θᵢ are the singular values of QaᵀQb and sin θᵢ those of Q − Q'·Q'ᵀQ, Q the
    smaller basis and Q' the larger. Each angle is taken from both, atan2(sin, cos), for the arccosine of a cosine near
    1 loses half of the digits and the arcsine of a sine near 1 as many.

    Args:
        A: ``(n, a)``, any columns that span the first space; they need not be orthonormal or independent.
        B: ``(n, b)``, of the second.

    Returns:
        ``(min(rank A, rank B),)`` float64 on the CPU, radians in [0, π/2], ascending; empty where A or B is zero.

    Raises:
        VxlabError: A or B is no matrix of finite real numbers, or their row counts differ.

    Source: Björck and Golub, Numerical methods for computing angles between linear subspaces (1973); Knyazev and
    Argentati (2002), algorithm 3.1. ``scipy.linalg.subspace_angles`` returns the same in descending order, but takes
    tiny angles from the arccosine where large ones stand beside them.

    >>> plane, line = torch.eye(3)[:, :2], torch.tensor([[0.0], [1.0], [1.0]])
    >>> principal_angles(plane, line)
    tensor([0.7854], dtype=torch.float64)
    """
    smaller, larger = sorted(_bases(A, B), key=lambda basis: basis.shape[1])
    products = larger.mT @ smaller
    return _angles(products, smaller - larger @ products)


def overlap(A: Tensor, B: Tensor) -> float:
    """Return how much of the smaller column space lies in the other: ‖QaᵀQb‖²_F / min(a, b) = mean cos² θᵢ.

    Args:
        A: ``(n, a)``, columns that span the first space; they need not be orthonormal or independent, a counts the
            independent ones.
        B: ``(n, b)``, of the second.

    Returns:
        0 where the spaces are orthogonal, 1 where one holds the other, :func:`chance_overlap` on average between
        unrelated ones; NaN where A or B is zero, for it spans nothing.

    Raises:
        VxlabError: A or B is no matrix of finite real numbers, or their row counts differ.

    Source: Hu et al., LoRA (2021), arXiv 2106.09685, section 7.2, for all columns at once.

    >>> round(overlap(torch.eye(3)[:, :2], torch.tensor([[0.0], [1.0], [1.0]])), 12)
    0.5
    """
    Qa, Qb = _bases(A, B)
    smaller = min(Qa.shape[1], Qb.shape[1])
    return float((Qa.mT @ Qb).square().sum() / smaller) if smaller else float("nan")


def chance_overlap(n: int, a: int, b: int) -> float:
    """Return the mean overlap of two unrelated subspaces, one at least uniformly random: max(a, b) / n.

    A random b-dimensional space has the mean projector (b/n)·I, so ‖QaᵀQb‖²_F is a·b/n on average.

    Args:
        n: of the whole space.
        a: dimensions of the first, 1 to n.
        b: dimensions of the second, 1 to n.

    Raises:
        VxlabError: a dimension is out of its range.

    >>> chance_overlap(768, 8, 16)
    0.020833333333333332
    """
    _require_dimensions(n, a=a, b=b)
    return max(a, b) / n


def overlap_grid(A: Tensor, B: Tensor) -> Tensor:
    """Return the overlap of the space of A's first i columns with that of B's first j, for all i and j.

    φ(i, j) = ‖Q_{a,i}ᵀ·Q_{b,j}‖²_F / min(i, j), where Q's columns are orthonormalised one after another, in their
    order. Give singular vectors in descending order of their values, as LoRA's Figures 3 and 4 do.

    Args:
        A: ``(n, a)`` columns in order of importance.
        B: ``(n, b)`` likewise.

    Returns:
        ``(a, b)`` float64 on the CPU, φ(i, j) at [i - 1, j - 1], each in [0, 1]. A column that depends on those before
        it adds no dimension: i and j then count the independent ones. NaN before the first column other than zero.

    Raises:
        VxlabError: A or B is no matrix of finite real numbers, or their row counts differ.

    Source: Hu et al., LoRA (2021), arXiv 2106.09685, section 7.2, equation 4 (φ, with singular vectors).

    >>> overlap_grid(torch.eye(3)[:, :2], torch.eye(3)[:, [1, 0]])
    tensor([[0., 1.],
            [1., 1.]], dtype=torch.float64)
    """
    A, B = _pair(A, B)
    (Qa, ranks_a), (Qb, ranks_b) = _nested(A), _nested(B)
    squares = (Qa.mT @ Qb).square().cumsum(0).cumsum(1)
    return squares / torch.minimum(ranks_a[:, None], ranks_b)


def chance_grid(n: int, a: int, b: int) -> Tensor:
    """Return :func:`overlap_grid`'s mean for unrelated columns, one side at least uniformly random: max(i, j) / n.

    Args:
        n: of the whole space.
        a: columns of the first matrix, 1 to n.
        b: columns of the second, 1 to n.

    Returns:
        ``(a, b)`` float64.

    Raises:
        VxlabError: a dimension is out of its range.

    >>> chance_grid(4, 2, 3)
    tensor([[0.2500, 0.5000, 0.7500],
            [0.5000, 0.5000, 0.7500]], dtype=torch.float64)
    """
    _require_dimensions(n, a=a, b=b)
    rows, columns = (torch.arange(1, count + 1, dtype=torch.float64) for count in (a, b))
    return torch.maximum(rows[:, None], columns) / n


def energy_inside(update: Update, U: Tensor | None = None, Vh: Tensor | None = None) -> float:
    """Return the share of an update's energy that its projection on a column and a row space keeps.

    ‖P_U·ΔW·P_V‖²_F / ‖ΔW‖²_F with P_U the projector on U's columns, P_V that on Vh's rows; a space that is not given
    is not projected on. A factored update is never formed.

    Args:
        update: ΔW.
        U: ``(out, u)``, columns that span the column space; they need not be orthonormal or independent.
        Vh: ``(v, in)``, rows that span the row space, as an SVD returns them.

    Returns:
        Between 0 and 1, :func:`chance_energy_inside` on average for unrelated spaces; 0 for a zero U or Vh, which spans
        nothing, NaN for a zero update, which has no energy to share.

    Raises:
        VxlabError: neither space is given, a matrix is not one of finite real numbers, or their shapes disagree.

    >>> update = Update(torch.tensor([[3.0], [4.0]]), torch.tensor([[0.0, 2.0]]))
    >>> round(energy_inside(update, U=torch.tensor([[1.0], [0.0]])), 12)
    0.36
    """
    if U is None and Vh is None:
        raise VxlabError("neither U nor Vh is given, so there is nothing to project on; give one or both")
    Q1, core, Q2 = check_update("update", update).reduce()
    kept = core
    if U is not None:
        kept = _coordinates("U", check_matrix("U", U), Q1, len(core)).mT @ kept
    if Vh is not None:
        kept = kept @ _coordinates("Vh", check_matrix("Vh", Vh).mT, Q2, core.shape[1])
    share = float((torch.linalg.matrix_norm(kept) / torch.linalg.matrix_norm(core)).square())
    return min(share, 1.0)  # NaN stays


def chance_energy_inside(shape: tuple[int, int], u_rank: int | None = None, v_rank: int | None = None) -> float:
    """Return the mean of :func:`energy_inside` over uniformly random spaces: (u / out)·(v / in).

    Args:
        shape: (out, in) of the update.
        u_rank: u, dimensions of the column space, 1 to out; None where it is not projected on.
        v_rank: v, dimensions of the row space, 1 to in; None where it is not projected on.

    Raises:
        VxlabError: a dimension is out of its range.

    >>> chance_energy_inside((768, 3072), u_rank=192, v_rank=768)
    0.0625
    """
    sides = zip(shape, (u_rank, v_rank), ("u_rank", "v_rank"), strict=True)
    chance = 1.0
    for n, rank, name in sides:
        if rank is not None:
            _require_dimensions(n, **{name: rank})
            chance *= rank / n
    return chance


def sampled_angles(n: int, a: int, b: int, samples: int = 100, seed: int = 0) -> Tensor:
    """Draw the principal angles between two unrelated subspaces, one of them uniformly random: the chance level.

    Only their relative position matters, so one space is fixed to the first coordinates: the cosines are the singular
    values of the other basis's first rows, the sines those of the rest.

    Args:
        n: of the whole space.
        a: dimensions of the first, 1 to n.
        b: dimensions of the second, 1 to n.
        samples: draws, 1 or more.
        seed: of the draws.

    Returns:
        ``(samples, min(a, b))`` float64, radians, ascending in each row.

    Raises:
        VxlabError: a dimension or the number of samples is out of its range.

    >>> sampled_angles(384, 8, 8, samples=20).shape
    torch.Size([20, 8])
    """
    _require_dimensions(n, a=a, b=b)
    require_count("samples", samples)
    larger, smaller = max(a, b), min(a, b)
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for _ in range(samples):
        Q = torch.linalg.qr(torch.randn(n, smaller, generator=generator, dtype=torch.float64)).Q
        drawn.append(_angles(Q[:larger], Q[larger:]))
    return torch.stack(drawn)


def _angles(cosine_matrix: Tensor, sine_matrix: Tensor) -> Tensor:
    """Return angles, ascending, from two matrices of k columns whose singular values are their cosines and sines."""
    k = cosine_matrix.shape[1]
    found = (torch.linalg.svdvals(matrix) for matrix in (cosine_matrix, sine_matrix))
    # Fewer rows than columns leave out singular values that are 0.
    cosines, sines = (torch.nn.functional.pad(values, (0, k - len(values))) for values in found)
    return torch.atan2(sines.flip(0), cosines)


def _nested(A: Tensor) -> tuple[Tensor, Tensor]:
    """Return orthonormal columns that span A's first i columns for every i, and how many of them do.

    A column that depends on those before it becomes 0.
    """
    n, a = A.shape
    Q = torch.zeros(n, a, dtype=torch.float64)
    for i, column in enumerate(A.mT):
        size = torch.linalg.vector_norm(column)
        rest = column / size if size else column
        for _ in range(2):  # once leaves rounding along the earlier columns, twice does not
            rest = rest - Q[:, :i] @ (Q[:, :i].mT @ rest)
        if (left_over := torch.linalg.vector_norm(rest)) > max(n, a) * ROUNDING:
            Q[:, i] = rest / left_over
    return Q, Q.any(0).double().cumsum(0)


def _bases(A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    A, B = _pair(A, B)
    return column_basis(A), column_basis(B)


def _pair(A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    A, B = check_matrix("A", A).to("cpu", torch.float64), check_matrix("B", B).to("cpu", torch.float64)
    if len(A) != len(B):
        raise VxlabError(
            f"A is {tuple(A.shape)} and B {tuple(B.shape)}, whose columns lie in different spaces; give matrices with "
            "the same number of rows"
        )
    return A, B


def _coordinates(name: str, columns: Tensor, Q: Tensor | None, size: int) -> Tensor:
    """Return a basis of the columns' space: its products with Q's columns where there is a Q."""
    basis, size = column_basis(columns), size if Q is None else len(Q)
    if len(basis) != size:
        given, needed = ("rows", f"({size}, u)") if name == "U" else ("columns", f"(v, {size})")
        raise VxlabError(f"{name} has {len(basis)} {given}, but the matrix needs {size}; give {name} {needed}")
    return basis if Q is None else Q.mT @ basis


def _require_dimensions(n: int, **dimensions: int) -> None:
    require_count("n", n)
    for name, value in dimensions.items():
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= n:
            raise VxlabError(f"{name}={value!r} is no dimension of a subspace of a space of n={n}; choose 1-{n}")
