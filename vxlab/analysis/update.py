"""What training added to a weight, as an object: a low-rank product of thin factors, or a whole matrix."""

import math
from functools import cached_property

import torch
from torch import Tensor

from vxlab.analysis.gram import gram_norm, gram_product, triangle
from vxlab.analysis.matrices import ROUNDING, check_matrix, name_kind
from vxlab.analysis.spectrum import energy
from vxlab.checks import require_count
from vxlab.errors import VxlabError
from vxlab.spectra import Triplets, column_signs


class Update:
    """ΔW = left·right ``(out, in)``, held as its two thin factors, from which everything is computed.

    The factors are taken as exact, and results are float64 on the CPU. They depend on the product only: left·M and
    M⁻¹·right are the same update.

    Args:
        left: ``(out, r)`` of any floating dtype and device.
        right: ``(r, in)``.

    Raises:
        VxlabError: a factor is no matrix of real floating-point numbers, is empty, or holds NaN or infinite values, or
            their ranks differ.

    >>> update = Update(torch.tensor([[3.0], [4.0]]), torch.tensor([[0.0, 2.0]]))
    >>> update.shape, update.norm(), update.to_matrix().tolist()
    ((2, 2), 10.0, [[0.0, 6.0], [0.0, 8.0]])
    """

    def __init__(self, left: Tensor, right: Tensor) -> None:
        self.left = check_matrix("the update's left factor", left)
        self.right = check_matrix("the update's right factor", right)
        if left.shape[1] != right.shape[0]:
            raise VxlabError(
                f"the update's factors are {tuple(left.shape)} and {tuple(right.shape)}, so left has {left.shape[1]} "
                f"columns and right {right.shape[0]} rows; both numbers are the rank r"
            )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.shape[0]}×{self.shape[1]}, r={self.left.shape[1]}>"

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in) of ΔW."""
        return self.left.shape[0], self.right.shape[1]

    def transpose(self) -> "Update":
        """Return ΔWᵀ."""
        return Update(self.right.mT, self.left.mT)

    def to_matrix(self) -> Tensor:
        """Return ΔW itself, ``(out, in)``."""
        left, right = self._wide()
        return left @ right

    def norm(self) -> float:
        """Return ``‖ΔW‖_F``: √tr((leftᵀ·left)·(right·rightᵀ)), and ΔW is formed only where its factors cancel."""
        norm = gram_norm(*self._wide())
        return float(torch.linalg.matrix_norm(self.to_matrix())) if math.isnan(norm) else norm

    def relative_norm(self, weight: Tensor) -> float:
        """Return ``‖ΔW‖_F / ‖W‖_F``: how far training moved the layer, in units of its weight.

        Args:
            weight: W, ``(out, in)``.

        Returns:
            The ratio, 0 where nothing moved; infinite for an update of a zero weight.
        """
        update, norm = self.norm(), float(torch.linalg.matrix_norm(weight.detach().double()))
        if not norm:
            return math.inf if update else 0.0
        return update / norm

    def rounding(self) -> float:
        """Return the singular value up to which one counts as 0: max(out, in, r)·2⁻⁵²·‖left‖_F·‖right‖_F.

        Computing with the factors is off by as much where they cancel, however small the product's own σ₁ is.
        """
        left, right = self._wide()
        longest: int = max(*left.shape, *right.shape)
        return longest * ROUNDING * float(left.norm()) * float(right.norm())

    def svd(self) -> Triplets:
        """Return the thin singular value decomposition of ΔW.

        With the QR factorisations left = Q₁·R₁ and rightᵀ = Q₂·R₂, the small R₁·R₂ᵀ = P·diag(S)·Tᵀ gives
        ΔW = (Q₁·P)·diag(S)·(Q₂·T)ᵀ. Signs follow one rule: the entry of largest magnitude in each left vector is
        positive.

        Returns:
            k = min(out, r, in) triplets: U ``(out, k)``, S ``(k,)`` in descending order, Vh ``(k, in)``. U's columns
            and Vh's rows are orthonormal even where ΔW has a lower rank or is zero: its singular values are then 0 up
            to rounding, about 1e-16 of ‖left‖·‖right‖, and their vectors arbitrary.

        >>> U, S, Vh = Update(torch.tensor([[3.0], [4.0]]), torch.tensor([[0.0, 2.0]])).svd()
        >>> U.shape, [round(value, 12) for value in S.tolist()], Vh.abs().tolist()
        (torch.Size([2, 1]), [10.0], [[0.0, 1.0]])
        """
        Q1, core, Q2 = _reduced(*self._wide())
        P, S, Th = torch.linalg.svd(core, full_matrices=False)
        U, Vh = Q1 @ P, Th @ Q2.mT
        signs = column_signs(U)
        return Triplets(U * signs, S, signs[:, None] * Vh)

    def singular_values(self) -> Tensor:
        """Return the singular values of ΔW, those of R₁·R₂ᵀ as in :meth:`svd`, in less time and memory.

        Returns:
            ``(min(out, r, in),)`` in descending order; all 0 for a zero update.
        """
        values: Tensor = torch.linalg.svdvals(triangle(self.left) @ triangle(self.right.mT).mT)
        return values

    def energy(self, rank: int) -> float:
        """Return the share of ‖ΔW‖²_F in the first ``rank`` singular triplets; NaN for a zero update.

        >>> Update(torch.eye(2), torch.diag(torch.tensor([2.0, 1.0]))).energy(1)
        0.8
        """
        require_count("rank", rank)
        return float(energy(self.singular_values())[:rank][-1])

    def reduce(self) -> tuple[Tensor | None, Tensor, Tensor | None]:
        """Return Q₁ ``(out, ·)``, a small core and Q₂ ``(in, ·)``, the bases orthonormal: ΔW = Q₁·core·Q₂ᵀ.

        Of a full update the core is ΔW itself, and None stands for the identity.
        """
        return _reduced(*self._wide())

    def cosine(self, other: "Update") -> float:
        """Return the cosine of two flattened updates: ``⟨ΔW_a, ΔW_b⟩ / (‖ΔW_a‖_F·‖ΔW_b‖_F)``.

        ``⟨L_a·R_a, L_b·R_b⟩ = Σ (L_aᵀL_b) ∘ (R_a·R_bᵀ)`` needs r×r products alone, and a norm two symmetric ones; no
        ΔW is formed, unless the factors of one cancel almost wholly. That takes about 2·r²·(out + in) multiplications
        where forming takes 2·r·out·in, so half at r = 256 in a layer of 1024×1024, and memory of r's size.

        Args:
            other: of the same out and in; the ranks may differ.

        Returns:
            −1 to 1, good to 1e-10; NaN where an update is zero to rounding, for it has no direction.

        Raises:
            VxlabError: the updates differ in shape.

        >>> e = torch.eye(3)
        >>> round(Update(e[:, :1], e[:1]).cosine(Update(e[:, :2], e[:2])), 12)  # one of two equal directions is shared
        0.707106781187
        """
        a, b = self._beside(other)
        norms = gram_norm(*a) * gram_norm(*b)
        return gram_product(a, b) / norms if norms > 0 else self._formed_cosine(other)

    def inner_product(self, other: "Update") -> float:
        """Return ``⟨ΔW_a, ΔW_b⟩``.

        Divided by the norms it is the cosine: where spectra are known, ‖ΔW‖² = Σσᵢ², and this half of the work is
        enough.

        Raises:
            VxlabError: the updates differ in shape.
        """
        return gram_product(*self._beside(other))

    def _beside(self, other: "Update") -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Return both updates' factors in float64 on the CPU, after a check that they are of one shape."""
        if self.shape != check_update("the other update", other).shape:
            raise VxlabError(f"updates of shapes {self.shape} and {other.shape} cannot be compared; take one layer's")
        return self._wide(), other._wide()

    def _formed_cosine(self, other: "Update") -> float:
        """Return the cosine by forming both updates: where their factors cancel, every digit counts."""
        x, y = (update.to_matrix().flatten() for update in (self, other))
        if float(x.norm()) <= self.rounding() or float(y.norm()) <= other.rounding():
            return math.nan
        return float((x / x.norm()) @ (y / y.norm()))

    def _wide(self) -> tuple[Tensor, Tensor]:
        return self.left.to("cpu", torch.float64), self.right.to("cpu", torch.float64)


class FullUpdate(Update):
    """ΔW ``(out, in)`` of any rank, as full fine-tuning leaves it: an update whose factors are itself and the identity.

    Args:
        matrix: ΔW of any floating dtype and device.

    Raises:
        VxlabError: it is no matrix of finite real numbers.

    >>> FullUpdate(torch.diag(torch.tensor([3.0, 4.0]))).singular_values().tolist()
    [4.0, 3.0]
    """

    def __init__(self, matrix: Tensor) -> None:
        self.left = check_matrix("the update", matrix).to("cpu", torch.float64)

    @cached_property
    def right(self) -> Tensor:  # type: ignore[override]
        """The identity, ``(in, in)``."""
        return torch.eye(self.left.shape[1], dtype=torch.float64)

    @property
    def shape(self) -> tuple[int, int]:
        out_features, in_features = self.left.shape
        return out_features, in_features

    def to_matrix(self) -> Tensor:
        return self.left

    def norm(self) -> float:
        return float(torch.linalg.matrix_norm(self.left))

    def svd(self) -> Triplets:
        """Return the thin singular value decomposition of ΔW, its signs as LAPACK leaves them."""
        return Triplets(*torch.linalg.svd(self.left, full_matrices=False))

    def singular_values(self) -> Tensor:
        values: Tensor = torch.linalg.svdvals(self.left)
        return values

    def reduce(self) -> tuple[None, Tensor, None]:
        return None, self.left, None


def check_update(name: str, update: Update) -> Update:
    """Return an update as it is, after a check that it is one.

    Args:
        name: what to call it in an error.
        update: what a caller gave.

    Raises:
        VxlabError: it is none, such as a pair of factors or a matrix that is not wrapped.
    """
    if not isinstance(update, Update):
        raise VxlabError(
            f"{name} is {name_kind(update)}; give Update(left, right) of left (out, r) and right (r, in), or "
            "FullUpdate(matrix) of the matrix (out, in) itself"
        )
    return update


def _reduced(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    (Q1, R1), (Q2, R2) = torch.linalg.qr(left), torch.linalg.qr(right.mT)
    return Q1, R1 @ R2.mT, Q2
