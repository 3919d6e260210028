"""The share of a full gradient that an adapter can follow: its projection on the adapter's tangent space."""

import math

import torch
from torch import Tensor

from vxlab.analysis.matrices import ROUNDING, check_matrix, column_basis, name_kind
from vxlab.analysis.subspaces import energy_inside
from vxlab.analysis.update import FullUpdate
from vxlab.checks import require_count
from vxlab.errors import VxlabError


def project(gradient: Tensor, U: Tensor | None = None, Vh: Tensor | None = None) -> Tensor:
    """Return the part of a matrix whose columns lie in U's column space and whose rows in Vh's row space.

    p(G) = P_U·G·P_V with the orthogonal projectors of both spaces. p is linear and leaves what is inside as it is: for
    an update ΔW = −η·Σ G_t that lies in the subspace, −η·Σ p(G_t) = p(ΔW) = ΔW.

    Args:
        gradient: G ``(out, in)``, or any matrix.
        U: ``(out, a)``, columns that span the outputs' subspace, orthonormal or not, independent or not; None for all.
        Vh: ``(b, in)``, rows that span the inputs' subspace; None for all.

    Returns:
        ``(out, in)`` float64 on the CPU.

    Raises:
        VxlabError: a matrix is empty or holds NaN, or a basis does not fit the gradient.

    Source: Bałazy et al., LoRA-XS (2024), arXiv 2405.17604, theorem 3.1.
    """
    G, Qu, Qv = _against(gradient, U, Vh)
    left = G if Qu is None else Qu @ (Qu.mT @ G)
    return left if Qv is None else (left @ Qv) @ Qv.mT


def captured_share(gradient: Tensor, U: Tensor | None = None, Vh: Tensor | None = None) -> float:
    """Return ‖p(G)‖²_F / ‖G‖²_F, the share of a gradient's energy inside a pair of subspaces.

    It is :func:`vxlab.analysis.subspaces.energy_inside` of a gradient however small; 1 where no space is given. By
    theorem 3.1 of LoRA-XS no pair of r dimensions keeps more than G's own top singular vectors, :func:`best_capture`;
    unrelated ones keep (a/out)·(b/in) on average. Between LoRA-XS's bases it is the share in the tangent space
    {U·dR·Vh}, the same at every step; Σ on either side changes nothing, for it does not turn the space.

    Args:
        gradient: G ``(out, in)``.
        U: as in :func:`project`.
        Vh: as in :func:`project`.

    Returns:
        0 to 1; 0 where a basis is zero, NaN for a zero gradient.

    Raises:
        VxlabError: as :func:`project`.

    >>> round(captured_share(torch.diag(torch.tensor([2.0, 1.0])), U=torch.tensor([[3.0], [0.0]])), 12)
    0.8
    """
    G = _scaled(gradient)
    return _share(G, G) if U is None and Vh is None else energy_inside(FullUpdate(G), U, Vh)


def best_capture(gradient: Tensor, rank: int) -> float:
    """Return the largest share of a gradient's energy that a matrix of some rank can hold: Σ_{i≤r} σᵢ² / Σ σᵢ².

    Args:
        gradient: G ``(out, in)``.
        rank: r, 1 or more; from min(out, in) on the share is 1.

    Returns:
        0 to 1; NaN for a zero gradient.

    Raises:
        VxlabError: the rank is no positive integer, or the gradient is empty or holds NaN.

    Source: Eckart and Young, The approximation of one matrix by another of lower rank (1936).

    >>> best_capture(torch.diag(torch.tensor([2.0, 1.0])), 1)
    0.8
    """
    require_count("rank", rank)
    return float(best_captures(gradient)[:rank][-1])


def best_captures(gradient: Tensor) -> Tensor:
    """Return :func:`best_capture` for the ranks 1, 2, …, min(out, in): ``(min(out, in),)`` float64 on the CPU."""
    G = _scaled(gradient)
    smaller = G if G.shape[0] <= G.shape[1] else G.mT
    # Squared singular values are all that counts here, and a third of an SVD's price.
    squared = torch.linalg.eigvalsh(smaller @ smaller.mT).flip(0).clamp_min(0)
    cumulated = squared.cumsum(0)
    shares: Tensor = cumulated / cumulated[-1]
    return shares


def lora_capture(gradient: Tensor, A: Tensor, B: Tensor | None = None) -> float:
    """Return the share of a gradient in LoRA's tangent space {dB·A + B·dA}.

    At the start B = 0, so the first step changes B alone and the share is ‖G·P_A‖² / ‖G‖². Later B's column space adds
    what it holds of the rest: what is missed is ‖(I − P_B)·G·(I − P_A)‖² / ‖G‖².

    Args:
        gradient: G ``(out, in)``.
        A: ``(r, in)``.
        B: ``(out, r)``; None for 0, as training starts.

    Returns:
        0 to 1; NaN for a zero gradient.

    Raises:
        VxlabError: a matrix is empty or holds NaN, or does not fit the gradient.
    """
    G = _scaled(gradient)
    inside = project(G, Vh=A)
    if B is not None:
        inside = inside + project(G - inside, U=B)
    return _share(inside, G)


def vera_capture(
    gradient: Tensor, A: Tensor, B: Tensor, lambda_b: Tensor, lambda_d: Tensor, vectors: str = "both"
) -> float:
    """Return the share of a gradient in VeRA's tangent space {diag(db)·B·diag(d)·A + diag(b)·B·diag(dd)·A}.

    b's part: row i of the update is a multiple of mᵢ = (Bᵢ ∘ d)·A, which keeps Σᵢ (gᵢ·mᵢ)² / ‖mᵢ‖². At the start b = 0
    and that is all. Later d's r directions add what they reach beyond it, found from r×r products.

    Args:
        gradient: G ``(out, in)``.
        A: ``(r, in)``.
        B: ``(out, r)``.
        lambda_b: b ``(out,)``.
        lambda_d: d ``(r,)``.
        vectors: which train: ``both``, ``b`` or ``d``.

    Returns:
        0 to 1; NaN for a zero gradient.

    Raises:
        VxlabError: a tensor is empty or holds NaN, whether ``vectors`` names it or not; they do not fit each other; or
            ``vectors`` is unknown.
    """
    if vectors not in ("both", "b", "d"):
        raise VxlabError(f"vectors={vectors!r} is unknown; choose both, b or d")
    G = _scaled(gradient)
    A, B = (_doubled(check_matrix(name, matrix)) for name, matrix in (("A", A), ("B", B)))
    b, d = (_doubled(_vector(name, each)) for name, each in (("lambda_b", lambda_b), ("lambda_d", lambda_d)))
    _require_vera_shapes(G, A, B, b, d)
    rows = (B * d) @ A if vectors != "d" else torch.zeros_like(G)
    rows = torch.nn.functional.normalize(rows, dim=1, eps=torch.finfo(torch.float64).tiny)
    along = (G * rows).sum(1)
    kept = float(along @ along)
    if vectors != "b" and bool(b.any()):  # d cannot move what b multiplies by 0
        left = b[:, None] * B
        shared = left * (rows @ A.mT)  # of d's directions with b's
        gram, reached = (left.mT @ left) * (A @ A.mT), ((left.mT @ G) * A).sum(1)
        kept += _kept(gram - shared.mT @ shared, reached - shared.mT @ along, float(gram.trace()))
    return _ratio(kept, G)


def _kept(gram: Tensor, reached: Tensor, scale: float) -> float:
    """Return reachedᵀ·gram⁺·reached, the energy in the span of vectors with these products; 0 where they vanish."""
    values, vectors = torch.linalg.eigh(gram)
    independent = values > len(values) * ROUNDING * scale
    return float(((vectors.mT @ reached)[independent].square() / values[independent]).sum())


def _against(gradient: Tensor, U: Tensor | None, Vh: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return G in float64 on the CPU and orthonormal bases ``(out, a)`` and ``(in, b)``."""
    G = check_matrix("the gradient", gradient).to("cpu", torch.float64)
    Qu = None if U is None else column_basis(_fitting("U", U, 0, G), "U")
    Qv = None if Vh is None else column_basis(_fitting("Vh", Vh, 1, G).mT, "Vh")
    return G, Qu, Qv


def _fitting(name: str, basis: Tensor, side: int, G: Tensor) -> Tensor:
    known = check_matrix(name, basis)
    if known.shape[side] != G.shape[side]:
        wanted = ("(out, a)", "(b, in)")[side]
        raise VxlabError(f"{name} is {tuple(known.shape)} and the gradient {tuple(G.shape)}; {name} is {wanted}")
    return known


def _doubled(values: Tensor) -> Tensor:
    return values.to("cpu", torch.float64)


def _vector(name: str, values: Tensor) -> Tensor:
    """Return a vector detached, after a check that it is one of finite real numbers."""
    if not isinstance(values, Tensor) or values.dim() != 1 or not values.is_floating_point() or values.is_meta:
        raise VxlabError(f"{name} is {name_kind(values)}; give a vector of real floating-point numbers, a torch tensor")
    if not values.isfinite().all():
        raise VxlabError(f"{name}, {tuple(values.shape)}, holds NaN or infinite values; give finite ones")
    return values.detach()


def _require_vera_shapes(G: Tensor, A: Tensor, B: Tensor, b: Tensor, d: Tensor) -> None:
    shapes = tuple(part.shape for part in (A, B, b, d))
    out_features, in_features = G.shape
    rank = len(d)
    if shapes != ((rank, in_features), (out_features, rank), (out_features,), (rank,)):
        found = ", ".join(str(tuple(shape)) for shape in shapes)
        raise VxlabError(
            f"A, B, b and d are {found} and the gradient {tuple(G.shape)}; give (r, in), (out, r), (out,) and (r,)"
        )


def _scaled(gradient: Tensor) -> Tensor:
    """Return G in float64 on the CPU by its largest entry, so that its squares neither overflow nor vanish."""
    G = check_matrix("the gradient", gradient).to("cpu", torch.float64)
    largest = float(G.abs().max())
    return G / largest if largest else G


def _share(inside: Tensor, whole: Tensor) -> float:
    return _ratio(float(inside.square().sum()), whole)


def _ratio(energy: float, whole: Tensor) -> float:
    all_of_it = float(whole.square().sum())
    return min(energy / all_of_it, 1.0) if all_of_it else math.nan
