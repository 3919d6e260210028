"""The energy of a mean gradient that a method's subspace reaches at every rank, from a few noisy gradients of it.

Of gradients G_i = E[G] + noise, independent and alike, ‖P·G_i‖² holds the noise's energy too. ⟨P·G_i, G_j⟩ of two does
not: its mean is ‖P·E[G]‖² for any projector P that the two did not choose.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from vxlab.analysis.matrices import check_matrix
from vxlab.errors import VxlabError

Split = tuple[Sequence[int], Sequence[int]]
"""Places of gradients that share none: those that choose directions, and those that judge them."""


def paired_energies(gradients: Tensor) -> Tensor:
    """Return ⟨G_i, G_j⟩ of every two gradients: ``(n, n)`` float64.

    Args:
        gradients: ``(n, out, in)``.
    """
    flat = _doubled(gradients).flatten(1)
    return flat @ flat.mT


def block_energies(gradients: Tensor, U: Tensor, Vh: Tensor) -> Tensor:
    """Return ⟨P_r·G_i, G_j⟩ of LoRA-XS's bases at every rank r: P_r·G = U_r·U_rᵀ·G·V_r·V_rᵀ.

    The bases are nested, so that rank r has the leading r by r block of UᵀGV: one product serves all ranks.

    Args:
        gradients: ``(n, out, in)``.
        U: ``(out, m)``, orthonormal columns, of which rank r has the first r.
        Vh: ``(m, in)``, orthonormal rows.

    Returns:
        ``(m, n, n)`` float64, rank 1 first.
    """
    cores = _doubled(U).mT @ _doubled(gradients) @ _doubled(Vh).mT
    marginal = torch.stack(
        [_corner(cores[:, :r, r - 1], cores[:, r - 1, : r - 1]) for r in range(1, cores.shape[1] + 1)]
    )
    return marginal.cumsum(0)


def row_energies(gradients: Tensor, rows: Tensor) -> Tensor:
    """Return ⟨P·G_i, G_j⟩ where row k of an update is a multiple of m_k: Σ_k ⟨g_k, m_k⟩·⟨h_k, m_k⟩ / ‖m_k‖².

    So it is of VeRA at the start, with m_k = (B_k ∘ d)·A; a row m_k = 0 reaches nothing.

    Args:
        gradients: ``(n, out, in)``.
        rows: ``(out, in)``, of m_k.

    Returns:
        ``(n, n)`` float64.
    """
    unit = torch.nn.functional.normalize(_doubled(rows), dim=1, eps=torch.finfo(torch.float64).tiny)
    along = torch.einsum("noi,oi->no", _doubled(gradients), unit)
    return along @ along.mT


def free_energies(gradients: Tensor, splits: Sequence[Split], width: int | None = None) -> Tensor:
    """Return, for each split, ⟨P_r(a), b⟩ at every rank r: a, b means of its gradients, P_r(a) a's best of rank r.

    LoRA may take any directions, so that those which one half chooses are judged by the other. Σ_{k≤r} u_kᵀ·a·bᵀ·u_k
    with u_k the singular vectors of a; at full rank ⟨a, b⟩.

    Args:
        gradients: ``(n, out, in)``.
        splits: places of gradients that choose, and of others that judge.
        width: ranks to go up to; all gradients are first put between the ``width`` leading singular directions of them
            together, on their smaller side, which is exact where ``width`` is that side, or None.

    Returns:
        ``(splits, ranks)`` float64, rank 1 first.

    Raises:
        VxlabError: a gradient is on both sides of a split, or a side is empty.
    """
    for chosen, judged in splits:
        if not chosen or not judged or set(chosen) & set(judged):
            raise VxlabError(f"a split of {list(chosen)} and {list(judged)} must have two sides that share none")
    G = _doubled(gradients)
    G = G if G.shape[1] <= G.shape[2] else G.mT
    if width is not None and width < G.shape[1]:
        G = torch.linalg.eigh((G @ G.mT).sum(0)).eigenvectors[:, -width:].mT @ G
    return torch.stack([_judged(G[list(chosen)].mean(0), G[list(judged)].mean(0)) for chosen, judged in splits])


def _judged(a: Tensor, b: Tensor) -> Tensor:
    u = torch.linalg.eigh(a @ a.mT).eigenvectors.flip(1)
    energies: Tensor = ((u.mT @ a) * (u.mT @ b)).sum(1).cumsum(0)
    return energies


def _corner(column: Tensor, row: Tensor) -> Tensor:
    return column @ column.mT + row @ row.mT


def _doubled(matrices: Tensor) -> Tensor:
    if matrices.dim() == 2:
        return check_matrix("a basis", matrices).to("cpu", torch.float64)
    return torch.stack([check_matrix("a gradient", each) for each in matrices]).to("cpu", torch.float64)
